package signer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/seal"
	"sealkeeper/signer"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/tsa"
	"sealkeeper/signer/verify/signeddata"
)

// authority connects the appliance's own time-stamp authority.
func (w *world) authority(t testing.TB) {
	t.Helper()
	create := func(p keystore.Purpose, a hsm.Algorithm) *keystore.Key {
		key, err := w.keys.Create(t.Context(), audit.Actor{Role: "appliance", ID: "test"}, keystore.Want{Purpose: p, Label: string(p), Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	stamping := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8}}
	sm2, p256 := create(keystore.PurposeTSASM2, hsm.SM2), create(keystore.PurposeTSAP256, hsm.ECDSAP256)
	leaf := w.template("示例时间戳", w.clock.now().AddDate(-1, 0, 0), w.clock.now().AddDate(9, 0, 0))
	leaf.ExtraExtensions = []pkix.Extension{stamping}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例P-256根"}, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, IsCA: true, BasicConstraintsValid: true}
	end := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "示例时间戳"}, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, ExtraExtensions: []pkix.Extension{stamping}}
	der, err := x509.CreateCertificate(rand.Reader, end, root, p256.Standard(), ca)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Stamper, err = tsa.New(tsa.Config{Store: w.st, Policy: "1.2.3.4.1", Now: w.clock.now,
		SM2: tsa.Identity{Key: sm2, Certificate: w.certificate(t, leaf, w.rootCert, sm2.Public()).Raw}, P256: tsa.Identity{Key: p256, Certificate: der}})
	if err != nil {
		t.Fatal(err)
	}
	w.restart(t)
}

func stamped(r signer.Request) signer.Request {
	r.Timestamp = true
	return r
}

// TestTimestamp: the token is over the signature value, stands in SES_Signature and SignedData and in the record, and the same request has the same
// token again.
func TestTimestamp(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	w.authority(t)
	for name, r := range map[string]signer.Request{
		"digest": stamped(w.digestRequest(t, "digest")), "ofd": stamped(w.ofdRequest(t, "ofd")),
		"gm": stamped(w.cmsRequest(t, "gm", signer.ProfileGM, []byte("x"), false)), "rfc": stamped(w.cmsRequest(t, "rfc", signer.ProfileRFC, []byte("x"), true)),
	} {
		rel := mustSign(t, w, r)
		value, der := []byte(nil), []byte(nil)
		if r.Kind == signer.KindCMS {
			s := parseCMS(t, rel.Signature).Signer()
			value, der = s.Value, s.Timestamp
		} else {
			s, err := seal.ParseSignature(rel.Signature)
			if err != nil {
				t.Fatal(err)
			}
			value, der = s.Value, s.Timestamp
		}
		checkToken(t, name, der, value)
		if rec := recordOf(t, w, rel); !bytes.Equal(rec.Timestamp, der) || rec.NoTimestamp != "" {
			t.Errorf("%s: the record has another token", name)
		}
		w.clock.passes(3e9)
		w.restart(t)
		if again := mustSign(t, w, r); !bytes.Equal(again.Document, rel.Document) {
			t.Errorf("%s: asked again it is something else", name)
		}
	}
}

func checkToken(t *testing.T, name string, der, value []byte) {
	t.Helper()
	token, err := signeddata.ParseToken(der)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	d := gm.SM3(value)
	alg := timestamp.SM3
	if name == "rfc" {
		d, alg = sha256.Sum256(value), timestamp.SHA256
	}
	if err := errors.Join(token.Verify(), token.CoversDigest(alg.OID(), d[:])); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestTimestampPolicy: with no authority to be had nothing is released, or the signature says that it has none; and the suspension that came while
// the authority was asked wins.
func TestTimestampPolicy(t *testing.T) {
	w := newWorld(t)
	down := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(down.Close)
	var err error
	if w.cfg.Stamper, err = timestamp.NewClient(timestamp.ClientConfig{URL: down.URL, Roots: gm.NewCertPool(), Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	w.restart(t)
	r := stamped(w.digestRequest(t, "refused"))
	size := w.recordsNow()
	rel, err := w.Sign(t.Context(), w.dept, r)
	wantErr(t, err, signer.ErrTimestamp)
	wantErr(t, err, timestamp.ErrUnavailable)
	if st := w.Stats(); rel.Document != nil || st.Released != 0 || st.Discarded != 1 || w.recordsNow() != size {
		t.Errorf("released %v, %+v", rel.Document != nil, st)
	}
	w.cfg.WithoutStamp = true
	w.restart(t)
	rel = mustSign(t, w, r) // the approval was not spent
	s, err := seal.ParseSignature(rel.Signature)
	if err != nil || s.Timestamp != nil || recordOf(t, w, rel).NoTimestamp == "" {
		t.Errorf("a time stamp of %d bytes, record says %q (%v)", len(s.Timestamp), rel.Record.NoTimestamp, err)
	}
	if again := mustSign(t, w, r); !bytes.Equal(again.Document, rel.Document) || again.Record.NoTimestamp == "" {
		t.Error("asked again it is something else")
	}
}

// TestTimestampSuspension: a suspension that is durable before the releasing commit wins although signature and time stamp were made before it.
func TestTimestampSuspension(t *testing.T) {
	w := newWorld(t)
	w.authority(t)
	r := stamped(w.digestRequest(t, "late"))
	w.hook.next(func() { w.suspend(t, sealName) }, nil)
	_, err := w.Sign(t.Context(), w.dept, r)
	wantErr(t, err, signer.ErrSealInactive)
}

// TestPage: a published signature is found by its page alone; nobody guesses one, and it dies with nothing.
func TestPage(t *testing.T) {
	w := newWorld(t)
	w.cfg.Pages = "https://seal.example"
	w.restart(t)
	r := w.digestRequest(t, "page")
	r.Page = true
	rel := mustSign(t, w, r)
	other := mustSign(t, w, w.digestRequest(t, "no-page"))
	if len(rel.Record.Page) != 26 || rel.PageURL != "https://seal.example/v/"+rel.Record.Page || other.PageURL != "" {
		t.Fatalf("page %q, address %q, and %q of the other", rel.Record.Page, rel.PageURL, other.PageURL)
	}
	rec, raw, err := w.FindPage(t.Context(), rel.Record.Page)
	if err != nil || raw.Index != rel.Index || rec.Seal != sealName {
		t.Errorf("record %d of %s (%v)", raw.Index, rec.Seal, err)
	}
	for _, id := range []string{"", "x", rel.Record.Page[:25], rel.Record.Page[:25] + "!", "aaaaaaaaaaaaaaaaaaaaaaaaaa", rel.Record.Page + "a"} {
		_, _, err := w.FindPage(t.Context(), id)
		wantErr(t, err, signer.ErrUnknown)
	}
	w.restart(t)
	if again := mustSign(t, w, r); again.PageURL != rel.PageURL || !bytes.Equal(again.Document, rel.Document) {
		t.Error("asked again it has another page")
	}
	w.hook.next(nil, store.ErrUnavailable)
	lost := w.digestRequest(t, "lost")
	lost.Page = true
	_, err = w.Sign(t.Context(), w.dept, lost)
	wantErr(t, err, store.ErrUnavailable)
}
