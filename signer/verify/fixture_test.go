package verify_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify"
)

// purpose is the critical extended key usage timeStamping, without which RFC 3161 §2.3 knows no authority.
func purpose(c *gm.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
		Value: []byte("\x30\x0A\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08")}}
}

type authorityKey struct{ p party }

func (k authorityKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	return k.p.key.Sign(message)
}

type serials struct{ n uint64 }

func (s *serials) Next(context.Context) (uint64, error) { s.n++; return s.n, nil }

// stamper returns a source of time stamps of one moment.
func stamper(t testing.TB, tsa party, at time.Time) func(message []byte) []byte {
	t.Helper()
	a, err := timestamp.NewAuthority(timestamp.AuthorityConfig{Key: authorityKey{tsa}, Certificate: tsa.der, Serials: &serials{}, Policy: "1.2.3.4",
		Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return func(message []byte) []byte {
		d := gm.SM3(message)
		token, err := a.Stamp(context.Background(), timestamp.SM3, d[:])
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// list makes a revocation list of an issuer.
func list(t testing.TB, issuer party, at, next time.Time, revoked map[int64]time.Time) []byte {
	t.Helper()
	template := &gm.RevocationList{Number: big.NewInt(1), ThisUpdate: at, NextUpdate: next, SignatureAlgorithm: gm.SM2WithSM3}
	for serial, when := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, gm.RevokedCertificate{SerialNumber: big.NewInt(serial), RevocationTime: when})
	}
	der, err := gm.CreateRevocationList(template, issuer.cert, issuer.key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// fixture is a world with everything at hand that a verifier can ask for: time stamp, revocation list, pinned maker, the issuer's word.
type fixture struct {
	*world
	tsa   party
	opts  verify.Options
	state verify.SealState
	build func(testing.TB) []byte
	name  string // of the file

	content []byte // of SignedData
	request cms.Request
	spoil   func(der []byte) []byte
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{world: newWorld(t), state: verify.SealState{State: "active", Since: made}, name: "x.ofd"}
	f.tsa = newPartyWith(t, "演示时间戳", 6, usageSign, false, &f.root, purpose)
	f.stamp = stamper(t, f.tsa, f.at.Add(time.Minute))
	f.opts = f.options()
	f.opts.Makers = []*gm.Certificate{f.maker.cert}
	f.opts.CRLs = [][]byte{list(t, f.root, now.Add(-time.Hour), now.Add(time.Hour), nil)}
	f.opts.SealStatus = func(context.Context, string) (verify.SealState, error) { return f.state, nil }
	f.build = f.world.build
	return f
}

// v5 makes the seal of the fixture one of GM/T 0031-2025, stamped as given.
func (f *fixture) v5(t testing.TB, token func(value []byte) []byte) {
	f.info.Version = 5
	f.made = func(der []byte) []byte { return stampSeal(t, der, token) }
}

// signedData makes the fixture a file of SignedData over its content, detached unless the request says otherwise.
func (f *fixture) signedData(t testing.TB) {
	f.name, f.content = "x.p7s", []byte("演示原文")
	f.request = cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: f.signer.der, SigningTime: f.at}
	f.opts.Content = f.content
	f.build = f.cmsFile
}

func (f *fixture) cmsFile(t testing.TB) []byte {
	t.Helper()
	r := f.request
	if r.Digest == [32]byte{} {
		r.Digest = gm.SM3(f.content)
		if r.Algorithm != cms.SM2 {
			r.Digest = sha256.Sum256(f.content)
		}
	}
	d, err := cms.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	value, err := f.signer.key.Sign(d.Attributes())
	if err != nil {
		t.Fatal(err)
	}
	var token []byte
	if f.stamp != nil {
		token = f.stamp(value)
	}
	der, err := d.Assemble(value, token)
	if err != nil {
		t.Fatal(err)
	}
	if f.spoil != nil {
		der = f.spoil(der)
	}
	return der
}

// asSign makes the signature of the package one without seal, with the given value over Signature.xml.
func (f *fixture) asSign(value func(xml []byte) []byte) {
	f.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, `Type="Seal"`, `Type="Sign"`, 1)
	f.copied = nil
	f.value = func(original, _ []byte) []byte { return value(original) }
	f.signatureXML = func(s string) string {
		return strings.Replace(s, "<ofd:Seal><ofd:BaseLoc>Seal.esl</ofd:BaseLoc></ofd:Seal>", "", 1)
	}
	protect := f.protect
	f.protect = func(name string) bool { return name != signDir+"Seal.esl" && protect(name) }
	f.after = func(files map[string][]byte) { delete(files, signDir+"Seal.esl") }
}

// enclose returns SignedData over some bytes, by the signer of the fixture.
func (f *fixture) enclose(t testing.TB, content []byte, change func(*cms.Request)) []byte {
	t.Helper()
	r := cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: f.signer.der, Digest: gm.SM3(content), SigningTime: f.at}
	if change != nil {
		change(&r)
	}
	if r.DigestContent {
		r.SigningTime = time.Time{}
	}
	d, err := cms.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	value, err := f.signer.key.Sign(d.Attributes())
	if err != nil {
		t.Fatal(err)
	}
	der, err := d.Assemble(value, f.stamp(value))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (f *fixture) judge(t testing.TB) verify.Report {
	t.Helper()
	b := f.build(t)
	return verify.Document(t.Context(), f.name, b, f.opts)
}

// swap replaces one run of bytes, which must be there once.
func swap(t testing.TB, b, from, to []byte) []byte {
	t.Helper()
	if bytes.Count(b, from) != 1 || len(from) != len(to) {
		t.Fatalf("%d bytes stand there %d times, to be replaced by %d", len(from), bytes.Count(b, from), len(to))
	}
	return bytes.Replace(b, from, to, 1)
}

// ecdsaParty has a P-256 key under the SM2 root.
func ecdsaParty(t testing.TB, f *fixture, serial int64) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "演示文件签名"}, NotBefore: made.AddDate(-1, 0, 0),
		NotAfter: made.AddDate(10, 0, 0), KeyUsage: 1, BasicConstraintsValid: true, SignatureAlgorithm: gm.SM2WithSM3,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}}}
	der, err := gm.CreateCertificate(template, f.root.cert, key.Public(), f.root.key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// stampSeal appends a time stamp to a v5 seal.
func stampSeal(t testing.TB, der []byte, token func(value []byte) []byte) []byte {
	t.Helper()
	s, err := seal.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = seal.Timestamped(der, token(s.Signature)); err != nil {
		t.Fatal(err)
	}
	return der
}

// elements splits what stands inside a SEQUENCE.
func elements(t testing.TB, der []byte) [][]byte {
	t.Helper()
	whole := cryptobyte.String(der)
	var in, element cryptobyte.String
	if !whole.ReadASN1(&in, tags.SEQUENCE) {
		t.Fatal("no SEQUENCE")
	}
	var out [][]byte
	for !in.Empty() {
		if !in.ReadAnyASN1Element(&element, nil) {
			t.Fatal("no element")
		}
		out = append(out, element)
	}
	return out
}

func sequence(parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

// digestList makes the seal anew with a list of digests (certListType 2), which we read and never write.
func digestList(t testing.TB, f *fixture, der []byte, digest [32]byte) []byte {
	t.Helper()
	info := elements(t, elements(t, der)[0])
	property := elements(t, info[2])
	property[2] = []byte{2, 1, 2}
	property[3] = sequence(sequence([]byte("\x13\x03SM3"), append([]byte{4, 32}, digest[:]...)))
	info[2] = sequence(property...)
	message := sequence(info...)
	value, err := f.maker.key.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = seal.Assemble(message, f.maker.der, value); err != nil {
		t.Fatal(err)
	}
	return der
}

func unknownSeal(_ *testing.T, f *fixture) {
	f.opts.SealStatus = func(context.Context, string) (verify.SealState, error) {
		return verify.SealState{}, verify.ErrSealUnknown
	}
}
