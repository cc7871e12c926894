package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/seal"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/pdfgen"
	"sealkeeper/softhsm-test/stage"
)

// owner is an enterprise's desk: its USB key, and a machine that has nothing of the appliance's but the department's certificate.
type owner struct {
	*scene
	usb    *softhsmtest.Token
	token  *hsm.Module // open in this process, by open alone
	prefix string      // of the reference to the seal's key
	dir    string
}

// at runs sealctl on the owner's machine, with the tokens of conf plugged in.
func (o *owner) at(t *testing.T, role, conf string, args ...string) (int, string, string) {
	t.Helper()
	cmd := o.As(t.Context(), role, args...)
	cmd.Dir = o.dir
	for i, v := range cmd.Env {
		if strings.HasPrefix(v, "SOFTHSM2_CONF=") {
			cmd.Env[i] = "SOFTHSM2_CONF=" + conf
		}
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, _ := cmd.Output()
	return cmd.ProcessState.ExitCode(), string(out), errs.String()
}

// newOwner goes from the licence event to a collected set whose seal 01 has its key on the enterprise's USB key.
func newOwner(t *testing.T, s *scene) (*owner, *enterprise) {
	t.Helper()
	dir := t.TempDir()
	o := &owner{scene: s, dir: dir, prefix: filepath.Join(dir, "seal"), usb: mustOf(softhsmtest.InitToken(t.Context(), filepath.Join(dir, "usb"), "usb-key"))(t)}
	e := s.newEnterprise()
	if err := s.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil {
		t.Fatal(err)
	}
	enrol := func(role, order, sealType, out string) (int, string, string) {
		return o.at(t, role, o.usb.Conf, "token", "enrol", "--module", o.usb.Module, "--profile", "softhsm2-sm2", "--serial", o.usb.Serial, "--pin-file", o.usb.PINFile,
			"--seal", sealType, "--order", order, "--out", out)
	}
	bad := filepath.Join(dir, "bad")
	for role, row := range map[string][3]string{"department": {e.order, "01", "not-entitled"}, "system": {e.order, "09", "not-ordered"}} {
		if code, _, errs := enrol(role, row[0], row[1], bad); code != 2 || !strings.Contains(errs, row[2]) {
			t.Errorf("enrolment by %s for seal %s: %d %s", role, row[1], code, errs)
		}
		if _, err := os.Stat(bad + ".key.yaml"); err == nil {
			t.Error("a refused key left its reference")
		}
	}
	if code, _, errs := enrol("system", e.order, "01", o.prefix); code != 0 {
		t.Fatalf("enrol: %d %s", code, errs)
	}
	if err := s.file(t.Context(), e, set...); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitMade(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := enrol("system", e.order, "02", bad); code != 2 || !strings.Contains(errs, "not-ordered") {
		t.Errorf("a key for a set that is made: %d %s", code, errs)
	}
	if err := s.collect(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return o, e
}

// consented gives the department a grant and the owner's delegation for every kind.
func (o *owner) consented(t *testing.T, e *enterprise) string {
	t.Helper()
	kinds := []string{"cms", "digest", "ofd", "pdf"}
	if err := o.grant(t.Context(), func(g *access.Grant) { g.Seals, g.Kinds = []string{e.seals["01"]}, kinds }); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	d := mustOf(e.phone.Delegate(access.Delegation{ID: client.NewKey(), Seal: e.seals["01"], Client: o.clientID(t, "department"), Purposes: []string{purpose}, Kinds: kinds,
		NotBefore: now.Add(-time.Minute), Expires: now.AddDate(0, 1, 0), Count: 1000}))(t)
	if err := o.as(t, "department").JSON(t.Context(), "POST", "/v1/delegations", nil, client.NewKey(), d, nil); err != nil {
		t.Fatal(err)
	}
	return d.ID
}

// TestUSBSeal: a seal whose key was born on the enterprise's USB key and never leaves it seals OFD, PDF, a digest and SignedData; every signature holds
// offline, has its record, and is given again under its Idempotency-Key with the key unplugged.
func TestUSBSeal(t *testing.T) {
	s := shared(t)
	o, e := newOwner(t, s)
	delegation := o.consented(t, e)
	esid := e.seals["01"]
	with := mustOf(s.as(t, "system").Seal(t.Context(), esid))(t)
	if with.Key.Token.Serial != o.usb.Serial || with.Key.ValueRead == "" {
		t.Errorf("key of the seal: %+v", with.Key)
	}
	at := func(name string) string { return filepath.Join(o.dir, name) }
	write(t, at("plain.ofd"), ofdgen.Document("usb", 2))
	write(t, at("plain.pdf"), pdfgen.Document("usb", 2))
	unplugged := mustOf(softhsmtest.InitToken(t.Context(), at("empty"), "another"))(t)
	for name, args := range map[string][]string{
		"sealed.ofd": {"ofd", "--document", at("plain.ofd"), "--stamp", "1,100,200,40,40"},
		"listed.ofd": {"ofd", "--document", at("plain.ofd"), "--stamp", "2,100,200,40,40", "--integrity"},
		"sealed.pdf": {"pdf", "--document", at("plain.pdf"), "--stamp", "1,100,200,40,40", "--reason", "演示数据"},
		"digest.ses": {"digest", "--document", at("plain.ofd")},
		"signed.p7":  {"cms", "--document", at("plain.ofd"), "--attached"},
	} {
		t.Run(name, func(t *testing.T) {
			key := client.NewKey()
			sign := append([]string{"sign"}, append(args, "--seal", esid, "--purpose", purpose, "--delegation", delegation, "--idempotency-key", key)...)
			named := []string{"--module", o.usb.Module, "--firmware", "softhsm2-sm2", "--serial", o.usb.Serial, "--pin-file", o.usb.PINFile}
			if name == "sealed.ofd" {
				named = []string{"--seal-key", o.prefix + ".key.yaml"}
			}
			if code, _, errs := o.at(t, "department", o.usb.Conf, append(append(sign, named...), "--out", at(name))...); code != 0 {
				t.Fatalf("signing: %d %s", code, errs)
			}
			if r := verified(t, s, at(name), map[bool]int{true: 0, false: 4}[!strings.HasSuffix(name, "ses")]); r.Verdict == "invalid" || len(r.Signatures) == 0 || result(r.Signatures[0], "signature-value") != "pass" {
				t.Errorf("verdict of %s: %+v", name, r)
			}
			again := at("again-" + name)
			if code, _, errs := o.at(t, "department", unplugged.Conf, append(sign, "--out", again)...); code != 0 {
				t.Fatalf("asking again without the key: %d %s", code, errs)
			}
			if !bytes.Equal(mustOf(os.ReadFile(again))(t), mustOf(os.ReadFile(at(name)))(t)) {
				t.Error("other bytes the second time")
			}
		})
	}
	o.refusals(t, e, delegation, unplugged)
}

// refusals: no key at hand, the wrong one, one that is not the appliance's to use; each named, nothing written.
func (o *owner) refusals(t *testing.T, e *enterprise, delegation string, unplugged *softhsmtest.Token) {
	plain := filepath.Join(o.dir, "plain.ofd")
	sign := []string{"sign", "digest", "--document", plain, "--seal", e.seals["01"], "--purpose", purpose, "--delegation", delegation}
	out := filepath.Join(o.dir, "never")
	other := []string{"--module", unplugged.Module, "--firmware", "softhsm2-sm2", "--serial", unplugged.Serial, "--pin-file", unplugged.PINFile}
	for name, c := range map[string]struct {
		conf string
		args []string
		code int
		says string
	}{
		"unplugged":       {unplugged.Conf, append(sign, "--seal-key", o.prefix+".key.yaml"), 1, "opening your token"},
		"another token":   {unplugged.Conf, append(sign, other...), 1, "the seal's key is in another token"},
		"without the key": {o.usb.Conf, sign, 2, "key-outside"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, errs := o.at(t, "department", c.conf, append(c.args, "--out", out)...); code != c.code || !strings.Contains(errs, c.says) {
				t.Errorf("%d %s", code, errs)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// TestUSBSealRefused: over HTTPS, between the two calls: an altered signature, one by another key, one brought twice, a suspension, a restart. Named, and
// nothing released.
func TestUSBSealRefused(t *testing.T) {
	s := own(t, stage.Config{})
	o, e := newOwner(t, s)
	delegation := o.consented(t, e)
	o.open(t)
	for _, c := range []struct {
		name, code string
		do         func(der []byte) []byte
	}{
		{"altered", "signature-wrong", func(der []byte) []byte { der[len(der)-1] ^= 1; return der }},
		{"not DER", "signature-wrong", func(der []byte) []byte { return der[:len(der)-1] }},
		{"by another key", "signature-wrong", func([]byte) []byte { return mustOf(s.registry.Key.Sign([]byte("示例")))(t) }},
		{"twice", "reservation-void", nil},
		{"restarted", "reservation-void", func(der []byte) []byte {
			if err := s.StopSeald(); err != nil {
				t.Fatal(err)
			}
			if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			return der
		}},
		{"suspended", "seal-inactive", func(der []byte) []byte {
			mustOf(s.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), e.seals["01"], client.Suspend, client.Reason{Reason: string(register.ReasonMisuse)}))(t)
			return der
		}},
	} {
		t.Run(c.name, func(t *testing.T) { o.between(t, e.seals["01"], delegation, c.code, c.do) })
	}
}

// open opens the USB key in this process, to bring what no command would.
func (o *owner) open(t *testing.T) {
	t.Helper()
	t.Setenv("SOFTHSM2_CONF", o.usb.Conf)
	profile := mustOf(mustOf(firmware.Embedded())(t).Profile("softhsm2-sm2"))(t)
	o.token = mustOf(hsm.Open(t.Context(), hsm.Config{Module: o.usb.Module, Profile: profile, Serial: o.usb.Serial, PINFile: o.usb.PINFile, LatchFile: filepath.Join(o.dir, "latch.json")}))(t)
	t.Cleanup(func() {
		if err := o.token.Close(); err != nil {
			t.Error(err)
		}
	})
}

// between reserves, has the USB key sign, does something, and releases; nil brings the signature once as it is, and then again.
func (o *owner) between(t *testing.T, esid, delegation, code string, do func([]byte) []byte) {
	a := askDigest(esid, []byte("示例"))
	a.request.Delegation = delegation
	offer := mustOf(o.as(t, "department").Reserve(t.Context(), a.key, a.request, nil))(t)
	der := o.signs(t, a, offer)
	if do == nil {
		if _, receipt, err := o.as(t, "department").Release(t.Context(), a.key, offer.Reservation, [][]byte{der}); err != nil || receipt.Leaf == "" {
			t.Fatalf("the first time: %+v, %v", receipt, err)
		}
	} else {
		der = do(der)
	}
	dept := o.as(t, "department") // the daemon may have started anew meanwhile
	if b, _, err := dept.Release(t.Context(), a.key, offer.Reservation, [][]byte{der}); client.Code(err) != code || b != nil {
		t.Errorf("%d bytes, %v; want %s", len(b), err, code)
	}
	if _, err := a.sign(t, dept); do != nil && client.Code(err) == "" {
		t.Error("the request has an answer, so something was released")
	}
}

// signs lays the digest out from the offer by package seal alone and has the USB key sign it.
func (o *owner) signs(t *testing.T, a asking, offer client.Offer) []byte {
	t.Helper()
	hash := mustOf(hex.DecodeString(a.request.Digest))(t)
	tbs := mustOf(seal.TBS{SealDER: offer.ESL, Time: offer.Time, DataHash: [32]byte(hash), PropertyInfo: "digest"}.Marshal())(t)
	public := mustOf(gm.CertificateKey(mustOf(gm.ParseCertificate(offer.Certificate))(t)))(t)
	if sum := gm.SM3(tbs); len(offer.Contents) != 1 || offer.Contents[0] != hex.EncodeToString(sum[:]) {
		t.Fatalf("the appliance laid out something else: %v", offer.Contents)
	}
	m := public.NewMessage().Keep()
	m.Write(tbs)
	id := mustOf(hsm.ParseObjectID(offer.Key))(t)
	raw := mustOf(o.token.Sign(t.Context(), hsm.SignRequest{Key: id, Algorithm: hsm.SM2, Digest: m.E(), Message: m.Preimage()}))(t)
	return mustOf(gm.EncodeSignature(raw))(t)
}
