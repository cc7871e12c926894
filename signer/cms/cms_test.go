package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/signeddata"
)

var (
	noon    = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	content = []byte("演示数据: a document of the bureau\n")
)

// identity is a self-signed certificate and the function that signs a message under its key.
type identity struct {
	cert []byte
	sign func(message []byte) []byte
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func template(cn string) *gm.Certificate {
	return &gm.Certificate{SerialNumber: big.NewInt(0x91), Subject: pkix.Name{Country: []string{"CN"}, Organization: []string{"示例"}, CommonName: cn},
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(10, 0, 0), KeyUsage: gm.KeyUsageDigitalSignature | gm.KeyUsageContentCommitment}
}

func newIdentity(t testing.TB, a cms.Algorithm) identity {
	t.Helper()
	switch a {
	case cms.ECDSAP256:
		k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		tpl := template("示例 P-256")
		return identity{must(gm.CreateCertificate(tpl, tpl, &k.PublicKey, k)), func(m []byte) []byte {
			d := sha256.Sum256(m)
			return must(ecdsa.SignASN1(rand.Reader, k, d[:]))
		}}
	case cms.RSA2048:
		k := must(rsa.GenerateKey(rand.Reader, 2048))
		tpl := template("示例 RSA")
		return identity{must(gm.CreateCertificate(tpl, tpl, &k.PublicKey, k)), func(m []byte) []byte {
			d := sha256.Sum256(m)
			return must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, d[:]))
		}}
	}
	k := must(softkey.Generate(nil))
	tpl := template("示例 SM2")
	tpl.SignatureAlgorithm = gm.SM2WithSM3
	return identity{must(gm.CreateCertificate(tpl, tpl, k.Public().ECDSA(), k.Signer())), func(m []byte) []byte { return must(k.Sign(m)) }}
}

func digest(a cms.Algorithm, b []byte) [32]byte {
	if a == cms.SM2 {
		return gm.SM3(b)
	}
	return sha256.Sum256(b)
}

func build(t testing.TB, id identity, r cms.Request) []byte {
	t.Helper()
	r.Certificate = id.cert
	d, err := cms.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Assemble(id.sign(d.Attributes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRoundTrip makes every variant and has the strict reader judge it, which must find nothing to note.
func TestRoundTrip(t *testing.T) {
	for _, a := range []cms.Algorithm{cms.SM2, cms.ECDSAP256, cms.RSA2048} {
		id := newIdentity(t, a)
		for name, r := range map[string]cms.Request{
			"GM detached":        {SigningTime: noon},
			"GM attached":        {SigningTime: noon, Content: content},
			"RFC detached":       {Form: cms.RFC, SigningTime: noon},
			"RFC attached":       {Form: cms.RFC, SigningTime: noon, Content: content},
			"PAdES":              {Form: cms.RFC, SigningCertificateV2: true},
			"501 with NULL":      {SM2WithSM3: true, Null: true, SigningTime: noon, SigningCertificateV2: true},
			"year 2051":          {SigningTime: noon.AddDate(25, 0, 0)},
			"time-stamp content": {Form: cms.RFC, ContentType: cms.OIDTSTInfo, Content: content},
			"empty content":      {SigningTime: noon, Content: []byte{}},
		} {
			r.Algorithm, r.Digest = a, digest(a, content)
			original := content
			if r.Content != nil && len(r.Content) == 0 {
				r.Digest, original = digest(a, nil), nil
			}
			out := build(t, id, r)
			s, err := signeddata.Parse(out)
			if err != nil {
				t.Errorf("%d %s: %v", a, name, err)
				continue
			}
			i := s.Signer()
			if err := errors.Join(i.VerifyContent(original), s.VerifyValue(original)); err != nil {
				t.Errorf("%d %s: %v", a, name, err)
			}
			if _, err := s.Covers(append(slices.Clone(original), 0)); !errors.Is(err, signeddata.ErrDigest) {
				t.Errorf("%d %s: changed content: %v", a, name, err)
			}
			if len(s.AllNotes()) != 0 {
				t.Errorf("%d %s: notes %v", a, name, s.AllNotes())
			}
			if (s.Content == nil) != (r.Content == nil) || !i.SigningTime.Equal(r.SigningTime) || s.GM != (r.Form == cms.GM) {
				t.Errorf("%d %s: read back as %+v", a, name, s)
			}
			if err := i.MatchCertificate(); (err == nil) != r.SigningCertificateV2 {
				t.Errorf("%d %s: signing certificate: %v", a, name, err)
			}
			if err := i.VerifyDigest(r.Digest[:]); err != nil {
				t.Errorf("%d %s: by digest: %v", a, name, err)
			}
		}
	}
}

// TestDigestContent is the shape of some OFD products: 32 bytes of SM3 enclosed and signed without attributes.
func TestDigestContent(t *testing.T) {
	id := newIdentity(t, cms.SM2)
	out := build(t, id, cms.Request{Digest: gm.SM3(content), DigestContent: true})
	s, err := signeddata.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	form, err := s.Covers(content)
	if err != nil || form != signeddata.FormDigest || s.Signer().Attributes != nil {
		t.Errorf("%v %v", form, err)
	}
	if err := s.VerifyValue(content); err != nil {
		t.Error(err)
	}
	if _, err := s.Covers([]byte("other")); !errors.Is(err, signeddata.ErrDigest) {
		t.Errorf("other content: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	sm2, p256 := newIdentity(t, cms.SM2), newIdentity(t, cms.ECDSAP256)
	good := cms.Request{Certificate: sm2.cert, Digest: gm.SM3(content)}
	var likeAttributes [32]byte
	copy(likeAttributes[:], "\x31\x1E")
	for name, c := range map[string]struct {
		change func(*cms.Request)
		want   error
	}{
		"no digest":                   {func(r *cms.Request) { r.Digest = [32]byte{} }, cms.ErrDigest},
		"digest of other content":     {func(r *cms.Request) { r.Content = []byte("other") }, cms.ErrDigest},
		"SHA-256 given for SM3":       {func(r *cms.Request) { r.Content, r.Digest = content, sha256.Sum256(content) }, cms.ErrDigest},
		"no certificate":              {func(r *cms.Request) { r.Certificate = nil }, cms.ErrCertificate},
		"certificate with bytes more": {func(r *cms.Request) { r.Certificate = append(slices.Clone(sm2.cert), 0) }, cms.ErrCertificate},
		"key of another kind":         {func(r *cms.Request) { r.Certificate = p256.cert }, cms.ErrCertificate},
		"SM2 key for P-256":           {func(r *cms.Request) { r.Algorithm = cms.ECDSAP256 }, cms.ErrCertificate},
		"EC key for RSA":              {func(r *cms.Request) { r.Algorithm = cms.RSA2048 }, cms.ErrCertificate},
		"broken chain":                {func(r *cms.Request) { r.Chain = [][]byte{[]byte("no")} }, cms.ErrCertificate},
		"unknown algorithm":           {func(r *cms.Request) { r.Algorithm = 9 }, cms.ErrRequest},
		"unknown form":                {func(r *cms.Request) { r.Form = 9 }, cms.ErrRequest},
		"digest as content and time":  {func(r *cms.Request) { r.DigestContent, r.SigningTime = true, noon }, cms.ErrRequest},
		"digest like attributes":      {func(r *cms.Request) { r.DigestContent, r.Digest = true, likeAttributes }, cms.ErrRequest},
		"impossible content type":     {func(r *cms.Request) { r.ContentType = []int{9, 9} }, cms.ErrRequest},
		"year 10000":                  {func(r *cms.Request) { r.SigningTime = noon.AddDate(8000, 0, 0) }, cms.ErrRequest},
	} {
		r := good
		c.change(&r)
		if _, err := cms.Prepare(r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestAssembleRefuses: a value that does not verify leaves nothing behind, however it is wrong.
func TestAssembleRefuses(t *testing.T) {
	for _, a := range []cms.Algorithm{cms.SM2, cms.ECDSAP256, cms.RSA2048} {
		id := newIdentity(t, a)
		d, err := cms.Prepare(cms.Request{Algorithm: a, Certificate: id.cert, Digest: digest(a, content)})
		if err != nil {
			t.Fatal(err)
		}
		sound := id.sign(d.Attributes())
		flipped := slices.Clone(sound)
		flipped[len(flipped)-1] ^= 1
		for name, v := range map[string][]byte{"none": nil, "flipped": flipped, "bytes more": append(slices.Clone(sound), 0), "short": sound[1:],
			"over the content": id.sign(content), "of another key": newIdentity(t, a).sign(d.Attributes())} {
			if out, err := d.Assemble(v, nil); !errors.Is(err, cms.ErrSignature) || out != nil {
				t.Errorf("%d, value %s: %v", a, name, err)
			}
		}
		for name, ts := range map[string][]byte{"empty": {}, "garbage": []byte("no"), "BER": {0x30, 0x80, 0, 0}, "bytes more": {0x30, 1, 5, 0}} {
			if _, err := d.Assemble(sound, ts); !errors.Is(err, cms.ErrTimestamp) {
				t.Errorf("%d, time stamp %s: %v", a, name, err)
			}
		}
		one, two := must(d.Assemble(sound, nil)), must(d.Assemble(sound, nil))
		if !bytes.Equal(one, two) {
			t.Errorf("%d: the same value gives other bytes", a)
		}
	}
}

// TestLaw11KeySeesOwnAttributesOnly: whatever a request says, what the key is shown is a SET of attributes of the four kinds written here,
// around the digest, or 32 bytes that are too short for any other structure.
func TestLaw11KeySeesOwnAttributesOnly(t *testing.T) {
	id := newIdentity(t, cms.SM2)
	forged := build(t, id, cms.Request{Digest: gm.SM3([]byte("forged"))})
	own := []string{signeddata.OIDContentType, signeddata.OIDMessageDigest, signeddata.OIDSigningTime, signeddata.OIDSigningCertificateV2}
	for name, r := range map[string]cms.Request{
		"plain": {}, "all": {SigningTime: noon, SigningCertificateV2: true}, "attributes as content": {Content: must(cms.Prepare(cms.Request{Certificate: id.cert,
			Digest: gm.SM3(content)})).Attributes()}, "a signature as content": {Content: forged}, "digest": {DigestContent: true},
	} {
		r.Certificate, r.Digest = id.cert, gm.SM3(content)
		if r.Content != nil {
			r.Digest = gm.SM3(r.Content)
		}
		d := must(cms.Prepare(r))
		if r.DigestContent {
			if !bytes.Equal(d.Attributes(), r.Digest[:]) {
				t.Errorf("%s: the key is shown %x", name, d.Attributes())
			}
			continue
		}
		s := must(signeddata.Parse(must(d.Assemble(id.sign(d.Attributes()), nil)))).Signer()
		if !bytes.Equal(s.Attributes, d.Attributes()) || !bytes.Equal(s.MessageDigest, r.Digest[:]) {
			t.Errorf("%s: the key is shown %x", name, d.Attributes())
		}
		for _, a := range s.Signed {
			if !slices.Contains(own, a.OID) {
				t.Errorf("%s: attribute %s", name, a.OID)
			}
		}
	}
}

// TestSignatory: a signer read once gives the same bytes, for values that custody verified no other checks than of their form, and fits its own algorithm alone.
func TestSignatory(t *testing.T) {
	for _, a := range []cms.Algorithm{cms.SM2, cms.ECDSAP256, cms.RSA2048} {
		id, ca := newIdentity(t, a), newIdentity(t, cms.SM2)
		by := must(cms.NewSignatory(a, id.cert, [][]byte{ca.cert}))
		d := must(cms.Prepare(cms.Request{Algorithm: a, Certificate: id.cert, Chain: [][]byte{ca.cert}, Digest: digest(a, content)}))
		same := must(cms.Prepare(cms.Request{Algorithm: a, Signatory: by, Digest: digest(a, content)}))
		value := id.sign(d.Attributes())
		if !bytes.Equal(d.Attributes(), same.Attributes()) || !bytes.Equal(must(d.Assemble(value, nil)), must(same.AssembleVerified(value, nil))) {
			t.Errorf("%d: other bytes", a)
		}
		if _, err := same.Assemble(newIdentity(t, a).sign(d.Attributes()), nil); !errors.Is(err, cms.ErrSignature) {
			t.Errorf("%d, a value of another key: %v", a, err)
		}
		if a != cms.RSA2048 {
			if _, err := same.AssembleVerified(value[1:], nil); !errors.Is(err, cms.ErrSignature) {
				t.Errorf("%d, a cut value: %v", a, err)
			}
		}
		for name, r := range map[string]cms.Request{"and a certificate": {Algorithm: a, Signatory: by, Certificate: id.cert}, "of another algorithm": {Algorithm: a%cms.RSA2048 + 1, Signatory: by}} {
			r.Digest = digest(a, content)
			if _, err := cms.Prepare(r); !errors.Is(err, cms.ErrRequest) {
				t.Errorf("%d, signatory %s: %v", a, name, err)
			}
		}
		if _, err := cms.NewSignatory(a, id.cert[1:], nil); !errors.Is(err, cms.ErrCertificate) {
			t.Errorf("%d, a cut certificate: %v", a, err)
		}
		if _, err := cms.NewSignatory(a, id.cert, [][]byte{{1}}); !errors.Is(err, cms.ErrCertificate) {
			t.Errorf("%d, a broken chain: %v", a, err)
		}
	}
}
