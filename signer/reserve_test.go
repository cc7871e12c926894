package signer_test

import (
	"bytes"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/access"
	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/seal"
	"sealkeeper/signer"
	softhsmtest "sealkeeper/softhsm-test"
)

const sealUSB = "41030200000009"

// usb is the owner's token with a seal's key in it.
type usb struct {
	token  *hsm.Module
	birth  hsm.Birth
	public *gm.PublicKey
}

// newUSBWorld is a world with a seal whose key is in a second token, which its custody does not have.
func newUSBWorld(t *testing.T) (*world, *usb) {
	t.Helper()
	k := softhsmtest.New(t) // before the first one is opened: SoftHSM2 looks for tokens once
	w := newWorld(t)
	return w, withUSB(t, w, k)
}

func withUSB(t *testing.T, w *world, k *softhsmtest.Token) *usb {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	u := &usb{}
	if u.token, err = hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.token.Close() })
	if u.birth, err = u.token.Generate(t.Context(), hsm.GenerateRequest{ID: hsm.ObjectID(random(16)), Label: "seal", Algorithm: hsm.SM2}); err != nil {
		t.Fatal(err)
	}
	if u.public, err = gm.NewPublicKey(u.birth.Public); err != nil {
		t.Fatal(err)
	}
	template := &gm.CertificateRequest{Subject: pkix.Name{CommonName: "order/1/01"}, SignatureAlgorithm: gm.SM2WithSM3}
	csr, err := gm.CreateCertificateRequest(template, gm.NewSigner(u.public, func(m []byte) ([]byte, error) { return u.sign(t, m), nil }))
	if err != nil {
		t.Fatal(err)
	}
	key, d, err := w.keys.Enrol(t.Context(), keystore.Enrolment{Birth: u.birth, Request: csr, Ref: "order/1/01", Witness: audit.Actor{Role: "operator-system", ID: "示例"}})
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, store.Mutation{Put: d.Put, Expect: d.Expect, Audit: d.Audit})
	w.enterOf(t, register.Seal{ESID: sealUSB, USCC: uscc, Enterprise: "洛阳老城示例商贸有限公司", Type: "01", Name: "示例章", LicenceVersion: 1}, key, w.clock.now().Add(-time.Hour), w.clock.now().AddDate(3, 0, 0))
	w.change(t, sealUSB, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Activate(v, w.collected())
		return d, err
	})
	w.grant(t, "grant-usb", func(g *access.Grant) {
		g.Seals, g.Kinds = []string{sealUSB}, []string{"cms", "digest", "ofd"}
	})
	return u
}

func (u *usb) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	m := u.public.NewMessage().Keep()
	m.Write(message)
	raw, err := u.token.Sign(t.Context(), hsm.SignRequest{Key: u.birth.ID, Algorithm: hsm.SM2, Digest: m.E(), Message: m.Preimage()})
	if err != nil {
		t.Fatal(err)
	}
	der, err := gm.EncodeSignature(raw)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// answer lays out what the offer is for, as the owner's machine does, and has the token sign it.
func (u *usb) answer(t testing.TB, w *world, r signer.Request, o signer.Offer) [][]byte {
	t.Helper()
	r.Approval = nil // the owner's machine has the document and the plan, nothing else
	contents, err := signer.Outline(r, o, u.public, w.clock.now(), signer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, c := range contents {
		all = append(all, u.sign(t, c))
	}
	return all
}

// ask is a request for a signature by the seal on the USB key.
func (w *world) ask(t testing.TB, kind, id string) signer.Request {
	t.Helper()
	r := w.delegated(id)
	r.Seal, r.Delegation = sealUSB, ""
	switch kind {
	case signer.KindOFD, "list":
		r = w.ofdRequest(t, id)
		r.Seal, r.Integrity = sealUSB, kind == "list"
	case signer.KindCMS:
		r.Kind = signer.KindCMS
	}
	r.Approval = w.approve(t, r, nil)
	return r
}

func reserve(t testing.TB, w *world, r signer.Request) signer.Offer {
	t.Helper()
	o, err := w.Reserve(t.Context(), w.dept, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestUSBSealSigns: what a key outside signed leaves as what a key here signed does, and the same request is answered with the same bytes afterwards, by
// either call, with no key at hand.
func TestUSBSealSigns(t *testing.T) {
	w, u := newUSBWorld(t)
	for _, kind := range []string{signer.KindDigest, signer.KindOFD, "list", signer.KindCMS} {
		t.Run(kind, func(t *testing.T) {
			r := w.ask(t, kind, "request-"+kind)
			o, size := reserve(t, w, r), w.recordsNow()
			if w.recordsNow() != size || o.Token != u.birth.Token.Serial || o.Key != u.birth.ID.String() {
				t.Errorf("offer %+v", o)
			}
			rel, err := w.Release(t.Context(), w.dept, r.ID, o.Reservation, u.answer(t, w, r, o))
			if err != nil {
				t.Fatal(err)
			}
			if rel.Record.KeyToken != u.birth.Token.Serial || w.recordsNow() != size+1 {
				t.Errorf("record %+v", rel.Record)
			}
			if kind == signer.KindDigest {
				sig, err := seal.ParseSignature(rel.Signature)
				if err != nil || sig.DataHash != r.Digest || u.public.VerifyTwice(sig.TBS, sig.Value) != nil {
					t.Errorf("the signature does not hold: %v", err)
				}
			}
			w.restart(t)
			if o, err := w.Reserve(t.Context(), w.dept, r); err != nil || o.Reservation != "" {
				t.Errorf("reserved again after it was answered: %+v, %v", o, err)
			}
			if again := mustSign(t, w, r); !again.Duplicate || !bytes.Equal(again.Document, rel.Document) {
				t.Error("the same request was answered with something else")
			}
		})
	}
	if st := w.Stats(); st.Signed != 0 || st.Released != 0 || st.Discarded != 0 {
		t.Errorf("signatures of the owner's token count as the appliance's: %+v", st)
	}
}

// TestUSBSealRefusals: a reservation serves once, its own client and request, for two minutes, a signature by the registered key over what was laid out.
func TestUSBSealRefusals(t *testing.T) {
	w, u := newUSBWorld(t)
	altered := func(der []byte) []byte {
		b := bytes.Clone(der)
		b[len(b)-1] ^= 1
		return b
	}
	d := access.Client{ID: access.ClientID([]byte("another")), Name: "示例部门", Role: access.RoleDepartment}
	if _, err := w.acc.Register(t.Context(), nil, w.security, d); err != nil {
		t.Fatal(err)
	}
	other := d.Actor()
	n := 0
	for name, c := range map[string]struct {
		release func(r signer.Request, o signer.Offer, sigs [][]byte) (signer.Released, error)
		want    error
	}{
		"altered": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, [][]byte{altered(s[0])})
		}, signer.ErrSignature},
		"by another key": {func(r signer.Request, o signer.Offer, _ [][]byte) (signer.Released, error) {
			der, err := w.maker.Sign(u.contents(t, w, r, o)[0])
			if err != nil {
				t.Fatal(err)
			}
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, [][]byte{der})
		}, signer.ErrSignature},
		"of another document": {func(r signer.Request, o signer.Offer, _ [][]byte) (signer.Released, error) {
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, [][]byte{u.sign(t, append(u.contents(t, w, r, o)[0], 0))})
		}, signer.ErrSignature},
		"too many": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, append(s, s[0]))
		}, signer.ErrRequestForm},
		"expired": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			w.clock.passes(2 * time.Minute)
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, s)
		}, signer.ErrReservation},
		"another client": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			return w.Release(t.Context(), other, r.ID, o.Reservation, s)
		}, signer.ErrReservation},
		"another request": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			return w.Release(t.Context(), w.dept, r.ID+"x", o.Reservation, s)
		}, signer.ErrReservation},
		"replaced": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			reserve(t, w, r)
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, s)
		}, signer.ErrReservation},
		"restarted": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			w.restart(t)
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, s)
		}, signer.ErrReservation},
		"disk full": {func(r signer.Request, o signer.Offer, s [][]byte) (signer.Released, error) {
			w.hook.next(nil, store.ErrUnavailable)
			return w.Release(t.Context(), w.dept, r.ID, o.Reservation, s)
		}, store.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			n++
			r := w.ask(t, signer.KindDigest, fmt.Sprint("request-", n))
			o := reserve(t, w, r)
			sigs, size := u.answer(t, w, r, o), w.recordsNow()
			rel, err := c.release(r, o, sigs)
			wantErr(t, err, c.want)
			if rel.Signature != nil || w.recordsNow() != size {
				t.Error("something was released")
			}
			if _, err := w.Release(t.Context(), w.dept, r.ID, o.Reservation, sigs); name != "another client" && name != "another request" {
				wantErr(t, err, signer.ErrReservation) // it served its one call
			}
		})
	}
}

func (u *usb) contents(t testing.TB, w *world, r signer.Request, o signer.Offer) [][]byte {
	t.Helper()
	c, err := signer.Outline(r, o, u.public, w.clock.now(), signer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUSBSealSuspendedBetween: what changes between the two calls wins, and is named.
func TestUSBSealSuspendedBetween(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(*world, signer.Request)
		want error
	}{
		"suspended": {func(w *world, _ signer.Request) { w.suspend(t, sealUSB) }, signer.ErrSealInactive},
		"suspended and resumed": {func(w *world, _ signer.Request) {
			w.suspend(t, sealUSB)
			w.change(t, sealUSB, func(s register.Seal, v store.Version) (register.Draft, error) {
				_, d, err := s.Lift(v, register.Change{Actor: w.security.Audit(), Reason: register.ReasonMisuse, Time: w.clock.now()})
				return d, err
			})
		}, signer.ErrReservation},
		"grant withdrawn": {func(w *world, _ signer.Request) {
			if _, err := w.acc.WithdrawGrant(t.Context(), nil, w.security, "grant-usb", "演示"); err != nil {
				t.Error(err)
			}
		}, access.ErrNotEntitled},
		"client disabled": {func(w *world, _ signer.Request) {
			if _, err := w.acc.Disable(t.Context(), nil, w.security, w.dept.Client, "演示"); err != nil {
				t.Error(err)
			}
		}, access.ErrNotEntitled},
	} {
		t.Run(name, func(t *testing.T) {
			w, u := newUSBWorld(t)
			r := w.ask(t, signer.KindDigest, "request-1")
			o := reserve(t, w, r)
			sigs := u.answer(t, w, r, o)
			c.act(w, r)
			rel, err := w.Release(t.Context(), w.dept, r.ID, o.Reservation, sigs)
			wantErr(t, err, c.want)
			rs, lerr := w.st.Records(t.Context(), 0, 1000)
			if rel.Signature != nil || lerr != nil || countSignatures(t, rs) != 0 {
				t.Errorf("released after the change was acknowledged (%v)", lerr)
			}
		})
	}
}

// TestUSBSealHeld: what holds signing back holds back either call.
func TestUSBSealHeld(t *testing.T) {
	w, u := newUSBWorld(t)
	held := errors.New("no checkpoint")
	var now error
	w.cfg.Hold = func() error { return now }
	w.restart(t)
	r := w.ask(t, signer.KindDigest, "request-1")
	o := reserve(t, w, r)
	sigs := u.answer(t, w, r, o)
	now = held
	size := w.recordsNow()
	rel, err := w.Release(t.Context(), w.dept, r.ID, o.Reservation, sigs)
	wantErr(t, err, held)
	_, reserving := w.Reserve(t.Context(), w.dept, w.ask(t, signer.KindDigest, "request-2"))
	wantErr(t, reserving, held)
	if rel.Signature != nil || w.recordsNow() != size {
		t.Error("something was released")
	}
}

// TestUSBSealKeyElsewhere: a key outside never signs here, a key here is never reserved, and nobody learns which before they are entitled.
func TestUSBSealKeyElsewhere(t *testing.T) {
	w, _ := newUSBWorld(t)
	_, err := w.Sign(t.Context(), w.dept, w.ask(t, signer.KindDigest, "request-1"))
	wantErr(t, err, keystore.ErrOutside)
	_, err = w.Reserve(t.Context(), w.dept, w.digestRequest(t, "request-2"))
	wantErr(t, err, signer.ErrKeyInside)
	stranger := w.dept
	stranger.Client = access.ClientID([]byte("stranger"))
	for _, r := range []signer.Request{w.ask(t, signer.KindDigest, "request-3"), w.digestRequest(t, "request-4")} {
		_, err = w.Reserve(t.Context(), stranger, r)
		wantErr(t, err, access.ErrNotEntitled)
	}
	for i := range 9 { // bounded for each client
		if _, err = w.Reserve(t.Context(), w.dept, w.ask(t, signer.KindDigest, fmt.Sprint("many-", i))); i < 8 && err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, err, signer.ErrReservations)
	w.clock.passes(2 * time.Minute)
	reserve(t, w, w.ask(t, signer.KindDigest, "later"))
}

// TestLaw11OutlineSignsWhatItBuilt: an appliance that would have something else signed than the owner's document gets nothing.
func TestLaw11OutlineSignsWhatItBuilt(t *testing.T) {
	w, u := newUSBWorld(t)
	r := w.ask(t, signer.KindOFD, "request-1")
	o := reserve(t, w, r)
	for name, change := range map[string]func(*signer.Request, *signer.Offer){
		"another document":     func(r *signer.Request, _ *signer.Offer) { r.Document = append(bytes.Clone(r.Document), 0) },
		"another place":        func(r *signer.Request, _ *signer.Offer) { r.Plan.Stamps = stamps[:1] },
		"another mode":         func(_ *signer.Request, o *signer.Offer) { o.Options.WholeDocument = true },
		"a page not asked for": func(_ *signer.Request, o *signer.Offer) { o.Options.URL = "https://seal.example/v/x" },
		"another seal":         func(_ *signer.Request, o *signer.Offer) { o.Seal = sealName },
		"another time":         func(_ *signer.Request, o *signer.Offer) { o.Time = o.Time.Add(-time.Hour) },
		"a moment later":       func(_ *signer.Request, o *signer.Offer) { o.Time = o.Time.Add(time.Second) },
		"a digest of its own":  func(_ *signer.Request, o *signer.Offer) { o.Contents = [][32]byte{gm.SM3([]byte("x"))} },
		"two signatures":       func(_ *signer.Request, o *signer.Offer) { o.Contents = append(o.Contents, o.Contents[0]) },
	} {
		r, o := r, o
		change(&r, &o)
		if c, err := signer.Outline(r, o, u.public, w.clock.now(), signer.Limits{}); err == nil || c != nil {
			t.Errorf("%s was laid out", name)
		}
	}
	if _, err := signer.Outline(r, o, w.maker.Public(), w.clock.now(), signer.Limits{}); err == nil {
		t.Error("a seal of another key was laid out")
	}
}
