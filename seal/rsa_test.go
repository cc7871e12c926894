package seal_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

var (
	oidRSASHA1   = []byte{6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5}
	oidRSASHA256 = []byte{6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11}
)

// rsaSeal makes a v1 seal whose maker signs with RSA.
func rsaSeal(t testing.TB, bits int, oid []byte, hash crypto.Hash, spoil bool) *seal.Seal {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "演示制章人"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	info := build{t: t}.info(1, seq(octets(cert)))
	h := hash.New()
	h.Write(seq(info, octets(cert), oid))
	value, err := rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	if spoil {
		value[9] ^= 1
	}
	s, err := seal.Parse(seq(info, seq(octets(cert), oid, bitString(0, value))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRSAOfV1: GM/T 0031-2014 allows RSA; what stands under SHA-1 or a short key is not called good.
func TestRSAOfV1(t *testing.T) {
	for name, c := range map[string]struct {
		seal *seal.Seal
		want error
	}{
		"SHA-256":          {rsaSeal(t, 2048, oidRSASHA256, crypto.SHA256, false), nil},
		"SHA-256, changed": {rsaSeal(t, 2048, oidRSASHA256, crypto.SHA256, true), gm.ErrSignature},
		"SHA-1":            {rsaSeal(t, 2048, oidRSASHA1, crypto.SHA1, false), seal.ErrWeak},
		"SHA-1, changed":   {rsaSeal(t, 2048, oidRSASHA1, crypto.SHA1, true), gm.ErrSignature},
		"1024 bits":        {rsaSeal(t, 1024, oidRSASHA256, crypto.SHA256, false), seal.ErrWeak},
	} {
		if err := c.seal.VerifySignature(); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	b := build{t, newPair(t, "u", 9)}
	info := b.info(4, b.list())
	s, err := seal.Parse(seq(info, octets(b.pair.cert), oidRSASHA256, bitString(0, b.sign(info))))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VerifySignature(); !errors.Is(err, seal.ErrAlgorithm) {
		t.Errorf("RSA in v4: %v", err)
	}
	v1 := seq(b.info(1, seq(octets(b.pair.cert))), seq(octets(b.pair.cert), oidRSASHA256, bitString(0, make([]byte, 256))))
	if s, err = seal.Parse(v1); err != nil {
		t.Fatal(err)
	}
	if err := s.VerifySignature(); !errors.Is(err, gm.ErrKey) {
		t.Errorf("RSA by an SM2 certificate: %v", err)
	}
}

// TestTimestamped: only a v5 seal without a stamp takes one, and stays what its maker signed.
func TestTimestamped(t *testing.T) {
	b := build{t, newPair(t, "u", 9)}
	token := seq(number(1))
	v5 := b.seal(b.info(5, b.list()))
	stamped, err := seal.Timestamped(v5, token)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.Parse(stamped)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VerifySignature(); err != nil || !bytes.Equal(s.Timestamp, token) || len(s.Notes) != 0 || s.Generation != seal.V5 {
		t.Errorf("%v, stamp %x, notes %v", err, s.Timestamp, s.Notes)
	}
	for name, c := range map[string]struct {
		der, token []byte
		want       error
	}{
		"v4":             {b.seal(b.info(4, b.list())), token, seal.ErrTimestamp},
		"v1":             {b.sealV1(), token, seal.ErrTimestamp},
		"stamped before": {stamped, token, seal.ErrTimestamp},
		"no seal":        {[]byte("x"), token, seal.ErrStructure},
		"no token":       {v5, nil, seal.ErrTimestamp},
		"two elements":   {v5, append(bytes.Clone(token), 5, 0), seal.ErrTimestamp},
	} {
		if _, err := seal.Timestamped(c.der, c.token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
