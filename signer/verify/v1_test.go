package verify_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

func tlv(tag tags.Tag, content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return b.BytesOrPanic()
}

func integer(n byte) []byte { return []byte{2, 1, n} }

// sealV1 makes a seal of GM/T 0031-2014, signed with RSA by a maker under the root.
func sealV1(t testing.TB, w *world, oid asn1.ObjectIdentifier, hash crypto.Hash) (der []byte, maker *gm.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{SerialNumber: big.NewInt(21), Subject: pkix.Name{CommonName: "演示制章系统"}, NotBefore: made.AddDate(-1, 0, 0),
		NotAfter: made.AddDate(10, 0, 0), KeyUsage: 1, BasicConstraintsValid: true, SignatureAlgorithm: gm.SM2WithSM3}
	cert, err := gm.CreateCertificate(template, w.root.cert, key.Public(), w.root.key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	if maker, err = gm.ParseCertificate(cert); err != nil {
		t.Fatal(err)
	}
	utc := func(at time.Time) []byte { return tlv(tags.UTCTime, []byte(at.UTC().Format("060102150405Z"))) }
	algorithm, err := asn1.Marshal(oid)
	if err != nil {
		t.Fatal(err)
	}
	octets := func(b []byte) []byte { return tlv(tags.OCTET_STRING, b) }
	info := sequence(
		sequence(tlv(tags.IA5String, []byte("ES")), integer(1), tlv(tags.IA5String, []byte("test"))), tlv(tags.IA5String, []byte("41030000000001")),
		sequence(integer(1), tlv(tags.UTF8String, []byte("洛阳示例有限公司")), sequence(octets(w.signer.der)), utc(made), utc(made), utc(made.AddDate(3, 0, 0))),
		sequence(tlv(tags.IA5String, []byte("PNG")), octets([]byte("\x89PNG\r\n\x1a\n")), integer(40), integer(40)))
	h := hash.New()
	h.Write(sequence(info, octets(cert), algorithm))
	value, err := rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return sequence(info, sequence(octets(cert), algorithm, tlv(tags.BIT_STRING, append([]byte{0}, value...)))), maker
}

// TestSealOfV1WithRSA: the generation of 2014 allows RSA. Under SHA-256 it counts; under SHA-1 nothing is called valid.
func TestSealOfV1WithRSA(t *testing.T) {
	for name, c := range map[string]struct {
		oid     asn1.ObjectIdentifier
		hash    crypto.Hash
		spoil   bool
		result  verify.Result
		verdict verify.Verdict
	}{
		"SHA-256":          {asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, false, verify.Pass, verify.Valid},
		"SHA-256, changed": {asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, true, verify.Fail, verify.Invalid},
		"SHA-1":            {asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, crypto.SHA1, false, verify.Indeterminate, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			der, maker := sealV1(t, w, c.oid, c.hash)
			if c.spoil {
				der[len(der)-1] ^= 1
			}
			opts := w.options()
			opts.Makers = []*gm.Certificate{maker}
			r := verify.Document(t.Context(), "x.esl", der, opts)
			if got, _ := resultOf(r, verify.CodeSealSignature); got != c.result || r.Verdict != c.verdict || r.Signatures[0].Generation != "v1" {
				t.Errorf("%s, want %s, %s\n%s", got, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}
