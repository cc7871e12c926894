package gm_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"encoding/pem"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of GB/T 32918.5, Annex A.
const (
	katD = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
	katX = "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
	katY = "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
	katZ = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
	katE = "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640"
	katR = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
	katS = "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)

func katKey(t testing.TB) *gm.PublicKey {
	t.Helper()
	p, err := gm.NewPublicKey(unhex(t, "04"+katX+katY))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKnownAnswers(t *testing.T) {
	p, msg := katKey(t), []byte("message digest")
	if z := p.Z(); !bytes.Equal(z[:], unhex(t, katZ)) {
		t.Errorf("Z = %X", z)
	}
	if e := p.E(msg); !bytes.Equal(e[:], unhex(t, katE)) {
		t.Errorf("e = %X", e)
	}
	der, err := gm.EncodeSignature(unhex(t, katR+katS))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(msg, der); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := p.VerifyTwice(msg, der); err != nil {
		t.Errorf("VerifyTwice: %v", err)
	}
	if err := p.VerifyTwice([]byte("message digesT"), der); !errors.Is(err, gm.ErrSignature) {
		t.Errorf("changed message: %v", err)
	}
	k, err := softkey.FromScalar(unhex(t, katD))
	if err != nil || !k.Public().Equal(p) {
		t.Errorf("public key of d differs: %v", err)
	}
	abc := gm.SM3([]byte("a"), []byte("bc"))
	if hex.EncodeToString(abc[:]) != "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0" {
		t.Errorf("SM3(abc) = %x", abc)
	}
	if err := gm.SelfTest(); err != nil {
		t.Error(err)
	}
}

func TestMessageCloneIsIndependent(t *testing.T) {
	p := katKey(t)
	m := p.NewMessage()
	m.Write(bytes.Repeat([]byte("seal"), 5000))
	c := m.Clone()
	c.Write([]byte("tail"))
	want := p.E(append(bytes.Repeat([]byte("seal"), 5000), "tail"...))
	if c.E() != want {
		t.Error("clone with tail differs from one-shot e")
	}
	if m.E() != p.E(bytes.Repeat([]byte("seal"), 5000)) {
		t.Error("writing to the clone moved the original")
	}
}

func TestPointsRefused(t *testing.T) {
	good := unhex(t, "04"+katX+katY)
	off := append([]byte(nil), good...)
	off[64] ^= 1
	for name, b := range map[string][]byte{"empty": nil, "short": good[:64], "off curve": off, "compressed": append([]byte{2}, good[1:33]...),
		"infinity": {0}, "zeros": append([]byte{4}, make([]byte, 64)...)} {
		if _, err := gm.NewPublicKey(b); !errors.Is(err, gm.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

func TestSignatureEncodings(t *testing.T) {
	raw := unhex(t, katR+katS)
	der, _ := gm.EncodeSignature(raw)
	got, dev, err := gm.DecodeLenient(raw)
	if err != nil || dev != gm.DeviationRaw || !bytes.Equal(got[:], raw) {
		t.Errorf("raw64: %v %v", dev, err)
	}
	if _, dev, err := gm.DecodeLenient(der); err != nil || dev != "" {
		t.Errorf("strict: %v %v", dev, err)
	}
	// Both integers without their sign byte, as one device's firmware writes them.
	neg := append([]byte{0x30, 0x44, 0x02, 0x20}, raw[:32]...)
	neg = append(append(neg, 0x02, 0x20), raw[32:]...)
	if got, dev, err := gm.DecodeLenient(neg); err != nil || dev != gm.DeviationInteger || !bytes.Equal(got[:], raw) {
		t.Errorf("negative integers: %v %v", dev, err)
	}
	n, _ := new(big.Int).SetString("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123", 16)
	for name, b := range map[string][]byte{"empty": nil, "trailing": append(append([]byte(nil), der...), 0), "negative": neg,
		"63 bytes": raw[:63], "truncated": der[:len(der)-1]} {
		if _, err := gm.DecodeSignature(b); !errors.Is(err, gm.ErrSignatureForm) {
			t.Errorf("DecodeSignature(%s): %v", name, err)
		}
	}
	for name, b := range map[string][]byte{"r zero": append(make([]byte, 32), raw[32:]...), "s is n": append(append([]byte(nil), raw[:32]...), n.Bytes()...)} {
		if _, err := gm.EncodeSignature(b); !errors.Is(err, gm.ErrSignatureForm) {
			t.Errorf("EncodeSignature(%s): %v", name, err)
		}
		if _, _, err := gm.DecodeLenient(b); !errors.Is(err, gm.ErrSignatureForm) {
			t.Errorf("DecodeLenient(%s): %v", name, err)
		}
	}
}

func TestSignerTakesWholeMessagesOnly(t *testing.T) {
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]crypto.SignerOpts{"nil": nil, "SHA-256": crypto.SHA256, "none": crypto.Hash(0)} {
		if _, err := k.Signer().Sign(nil, make([]byte, 32), opts); !errors.Is(err, gm.ErrSignerOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateAgainstOpenSSL(t *testing.T) {
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &gm.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		SignatureAlgorithm: gm.SM2WithSM3, IsCA: true, BasicConstraintsValid: true}
	tpl.Subject.CommonName = "DEMO 演示 root"
	der, err := gm.CreateCertificate(tpl, tpl, k.Public().ECDSA(), k.Signer())
	if err != nil {
		t.Fatal(err)
	}
	c, err := gm.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := gm.CheckCertificateTwice(k.Public(), c); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	crt := write("c.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	pub, err := exec.Command("openssl", "x509", "-in", crt, "-noout", "-pubkey").Output()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", "dgst", "-sm3", "-verify", write("p.pem", pub), "-sigopt", "distid:"+gm.UserID,
		"-signature", write("s.der", c.Signature), write("tbs.der", c.RawTBSCertificate)).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("Verified OK")) {
		t.Fatalf("openssl: %v %s", err, out)
	}
}

func FuzzDecodeLenient(f *testing.F) {
	raw := unhex(f, katR+katS)
	der, _ := gm.EncodeSignature(raw)
	f.Add(raw)
	f.Add(der)
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, dev, err := gm.DecodeLenient(b)
		if err != nil {
			return
		}
		enc, err := gm.EncodeSignature(raw[:])
		if err != nil {
			t.Fatal(err)
		}
		if dev == "" && !bytes.Equal(enc, b) {
			t.Fatalf("strict input %x encodes as %x", b, enc)
		}
	})
}

// A kept message remembers what its e is of, Z in front, through clones that go their own way.
func TestKeptMessage(t *testing.T) {
	key := katKey(t)
	if key.NewMessage().Preimage() != nil {
		t.Error("a message keeps its bytes unasked")
	}
	prefix := key.NewMessage().Keep()
	prefix.Write([]byte("prefix "))
	a, b := prefix.Clone(), prefix.Clone()
	a.Write([]byte("one"))
	b.Write([]byte("another"))
	z := key.Z()
	for want, m := range map[string]*gm.Message{"prefix one": a, "prefix another": b, "prefix ": prefix} {
		if got := m.Preimage(); string(got) != string(z[:])+want || gm.SM3(got) != m.E() || m.E() != key.E([]byte(want)) {
			t.Errorf("%q: %x", want, got)
		}
	}
}
