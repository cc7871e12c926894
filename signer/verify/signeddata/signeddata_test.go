package signeddata_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify/signeddata"
)

// TestSound: every algorithm and form that is accepted, with exactly the notes it deserves.
func TestSound(t *testing.T) {
	sm2 := sm2Key()
	pss := algorithm(signeddata.OIDPSS, tlv(0x30, tlv(0xA0, algorithm(signeddata.OIDSHA256)),
		tlv(0xA1, algorithm("1.2.840.113549.1.1.8", algorithm(signeddata.OIDSHA256))), tlv(0xA2, number(32))))
	p256, p384 := ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256), ecKey(elliptic.P384(), signeddata.OIDECDSASHA384, signeddata.OIDSHA384)
	rfc := func(f *forgery) {
		f.outer, f.inner = signeddata.OIDSignedData, signeddata.OIDData
		f.signed[0] = attribute(signeddata.OIDContentType, oid(f.inner))
	}
	raw := func(b []byte) []byte { r := must(gm.DecodeSignature(b)); return r[:] }
	for name, c := range map[string]struct {
		key    *key
		change func(*forgery)
		notes  string
	}{
		"GM":                    {sm2, nil, ""},
		"RFC":                   {sm2, rfc, ""},
		"attached":              {sm2, func(f *forgery) { f.content = content }, ""},
		"bare":                  {sm2, func(f *forgery) { f.bare = true }, ""},
		"bare and attached":     {sm2, func(f *forgery) { f.bare, f.content = true, content }, ""},
		"bare P-256":            {p256, func(f *forgery) { f.bare = true }, ""},
		"signature 501":         {sm2, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDSM2WithSM3) }, ""},
		"signature 501 NULL":    {sm2, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDSM2WithSM3, []byte{5, 0}) }, ""},
		"signature 301":         {sm2, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDSM2) }, "algorithm"},
		"digests list 501":      {sm2, func(f *forgery) { f.digests = [][]byte{algorithm(signeddata.OIDSM2WithSM3)} }, "digest-set digest-set"},
		"digests list too much": {sm2, func(f *forgery) { f.digests = append(f.digests, algorithm(signeddata.OIDSHA256)) }, ""},
		"value of 64 bytes":     {sm2, func(f *forgery) { f.value = raw }, "value-form"},
		"attributes out of order": {sm2, func(f *forgery) {
			slices.SortFunc(f.signed, func(a, b []byte) int { return bytes.Compare(b, a) })
			f.sort = false
		}, "attribute-order"},
		"key identifier":          {sm2, func(f *forgery) { f.sid, f.signerV = tlv(0x80, sm2.parsed.SubjectKeyId), 3 }, ""},
		"version 3 for no reason": {sm2, func(f *forgery) { f.signerV = 3 }, "version"},
		"version 4":               {sm2, func(f *forgery) { f.version = 4 }, "version"},
		"mixed types":             {sm2, func(f *forgery) { f.outer = signeddata.OIDSignedData }, "mixed-types"},
		"other certificates":      {sm2, func(f *forgery) { f.certificates = [][]byte{p256.cert, tlv(0xA1, number(1)), sm2.cert, sm2.cert} }, "other"},
		"revocation lists":        {sm2, func(f *forgery) { f.crls = [][]byte{tlv(0x30, number(1)), tlv(0xA1, oid("1.2.3"), number(1))} }, "other"},
		"empty unsigned set":      {sm2, func(f *forgery) { f.unsigned = [][]byte{} }, "other"},
		"two time stamps": {sm2, func(f *forgery) {
			f.unsigned = [][]byte{attribute(signeddata.OIDTimeStampToken, tlv(0x30, number(1)), tlv(0x30, number(2)))}
		}, "timestamps"},
		"signing time": {sm2, func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("260304120000Z"))))
		}, ""},
		"signing time in BER": {sm2, func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("260304200000+0800"))))
		}, "time-form"},
		"signing time of 2051": {sm2, func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningTime, tlv(0x18, []byte("20510304120000Z"))))
		}, ""},
		"P-256":              {p256, rfc, ""},
		"P-256 by key's OID": {p256, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDECKey) }, "algorithm"},
		"P-384":              {p384, rfc, ""},
		"RSA":                {rsaKey(2048, signeddata.OIDRSA, signeddata.OIDSHA256), rfc, ""},
		"RSA SHA-384":        {rsaKey(2048, signeddata.OIDSHA384RSA, signeddata.OIDSHA384), rfc, ""},
		"RSA SHA-512":        {rsaKey(2048, signeddata.OIDSHA512RSA, signeddata.OIDSHA512), rfc, ""},
		"RSA SHA-1":          {rsaKey(2048, signeddata.OIDSHA1RSA, signeddata.OIDSHA1), rfc, "weak"},
		"RSA with SHA-1":     {rsaKey(2048, signeddata.OIDRSA, signeddata.OIDSHA1), rfc, "weak"},
		"RSA of 1024 bits":   {rsaKey(1024, signeddata.OIDRSA, signeddata.OIDSHA256), rfc, "short-key"},
		"RSA-PSS":            {rsaKey(2048, signeddata.OIDPSS, signeddata.OIDSHA256), func(f *forgery) { f.sigAlgorithm = pss }, ""},
	} {
		s, err := signeddata.Parse(c.key.forge(c.change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Signer().VerifyContent(content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if form, err := s.Covers(content); err != nil {
			t.Errorf("%s: covers: %v %v", name, form, err)
		}
		if got := codes(s.AllNotes()); got != c.notes {
			t.Errorf("%s: notes %q, want %q: %v", name, got, c.notes, s.AllNotes())
		}
		if weak := s.Signer().Weak() != ""; weak != (c.notes == "weak" || c.notes == "short-key") {
			t.Errorf("%s: weak: %v", name, weak)
		}
		if err := s.Signer().VerifyContent(append(slices.Clone(content), 0)); s.Content == nil && err == nil {
			t.Errorf("%s: takes other content", name)
		}
	}
}

// TestRefused: one deviation each, refused at the stage and by the name written here.
func TestRefused(t *testing.T) {
	k, other := sm2Key(), sm2Key()
	p256 := ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256)
	md := attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, content)))
	ct := attribute(signeddata.OIDContentType, oid(signeddata.OIDGMData))
	signed := func(all ...[]byte) func(*forgery) { return func(f *forgery) { f.signed = all } }
	for name, c := range map[string]struct {
		change func(*forgery)
		want   error
	}{
		"another content type":         {func(f *forgery) { f.outer = "1.2.840.113549.1.7.3" }, signeddata.ErrContentInfo},
		"no signer":                    {func(f *forgery) { f.signers = 0 }, signeddata.ErrSigners},
		"two signers":                  {func(f *forgery) { f.signers = 2 }, signeddata.ErrSigners},
		"bytes behind":                 {func(f *forgery) { f.after = []byte{0} }, signeddata.ErrTrailing},
		"bytes inside":                 {func(f *forgery) { f.tail = []byte{5, 0} }, signeddata.ErrStructure},
		"contentType differs":          {signed(attribute(signeddata.OIDContentType, oid(signeddata.OIDData)), md), signeddata.ErrContentType},
		"contentType missing":          {signed(md), signeddata.ErrAttributes},
		"contentType twice":            {signed(ct, ct, md), signeddata.ErrAttributes},
		"contentType of two values":    {signed(attribute(signeddata.OIDContentType, oid("1.2.3"), oid(signeddata.OIDGMData)), md), signeddata.ErrAttributes},
		"contentType without value":    {signed(attribute(signeddata.OIDContentType), md), signeddata.ErrAttributes},
		"messageDigest missing":        {signed(ct), signeddata.ErrAttributes},
		"messageDigest twice":          {signed(ct, md, md), signeddata.ErrAttributes},
		"messageDigest of two":         {signed(ct, attribute(signeddata.OIDMessageDigest, octets([]byte("a")), octets([]byte("b")))), signeddata.ErrAttributes},
		"messageDigest no octets":      {signed(ct, attribute(signeddata.OIDMessageDigest, number(1))), signeddata.ErrStructure},
		"no attribute at all":          {signed([][]byte{}...), signeddata.ErrAttributes},
		"signing time twice":           {signed(ct, md, attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("260304120000Z"))), attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("260304120001Z")))), signeddata.ErrAttributes},
		"signing time in words":        {signed(ct, md, attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("noon")))), signeddata.ErrStructure},
		"other content, no attributes": {func(f *forgery) { f.inner, f.bare = signeddata.OIDTSTInfo, true }, signeddata.ErrAttributes},
		"two certificates, one name":   {func(f *forgery) { f.certificates = [][]byte{k.cert, flip(k.cert)} }, signeddata.ErrCertificate},
		"certificate no sequence":      {func(f *forgery) { f.certificates = [][]byte{number(1)} }, signeddata.ErrStructure},
		"too many certificates":        {func(f *forgery) { f.certificates = slices.Repeat([][]byte{tlv(0x30)}, 257) }, signeddata.ErrStructure},
		"too many attributes": {func(f *forgery) {
			f.signed = append(f.signed, slices.Repeat([][]byte{attribute("1.2.3", number(1))}, 127)...)
		}, signeddata.ErrStructure},
		"too many values": {func(f *forgery) {
			f.signed = append(f.signed, attribute("1.2.3", slices.Repeat([][]byte{number(1)}, 129)...))
		}, signeddata.ErrStructure},
		"too many digests":     {func(f *forgery) { f.digests = slices.Repeat(f.digests, 65) }, signeddata.ErrStructure},
		"empty key identifier": {func(f *forgery) { f.sid = tlv(0x80) }, signeddata.ErrStructure},
	} {
		if s, err := signeddata.Parse(k.forge(c.change)); !errors.Is(err, c.want) || s != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		key    *key
		change func(*forgery)
		want   error
	}{
		"digest of other content": {k, func(f *forgery) {
			f.signed[1] = attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, []byte("other"))))
		}, signeddata.ErrDigest},
		"digest cut short": {k, func(f *forgery) {
			f.signed[1] = attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, content)[:31]))
		}, signeddata.ErrDigest},
		"digest empty":             {k, func(f *forgery) { f.signed[1] = attribute(signeddata.OIDMessageDigest, octets(nil)) }, signeddata.ErrDigest},
		"value changed":            {k, func(f *forgery) { f.value = flip }, signeddata.ErrSignature},
		"value with bytes more":    {k, func(f *forgery) { f.value = func(b []byte) []byte { return append(b, 0) } }, signeddata.ErrSignature},
		"value empty":              {k, func(f *forgery) { f.value = func([]byte) []byte { return nil } }, signeddata.ErrSignature},
		"value of another key":     {k, func(f *forgery) { f.value = func([]byte) []byte { return other.sign(tlv(0x31, f.signed...)) } }, signeddata.ErrSignature},
		"P-256 value changed":      {p256, func(f *forgery) { f.value = flip }, signeddata.ErrSignature},
		"certificate not enclosed": {k, func(f *forgery) { f.certificates = nil }, signeddata.ErrCertificate},
		"certificate of another":   {k, func(f *forgery) { f.certificates = [][]byte{p256.cert} }, signeddata.ErrCertificate},
		"unknown algorithm":        {k, func(f *forgery) { f.sigAlgorithm = algorithm("1.3.101.112") }, signeddata.ErrAlgorithm},
		"typing error 10197.501":   {k, func(f *forgery) { f.sigAlgorithm = algorithm("1.2.156.10197.501") }, signeddata.ErrAlgorithm},
		"ECDSA named for SM2 key":  {k, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDECDSASHA256) }, signeddata.ErrAlgorithm},
		"SM2 named for P-256 key":  {p256, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDSM2Sign) }, signeddata.ErrAlgorithm},
		"two different digests":    {p256, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDECDSASHA384) }, signeddata.ErrAlgorithm},
		"RSA named for P-256 key":  {p256, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDSHA256RSA) }, signeddata.ErrCertificate},
		"PSS without parameters":   {p256, func(f *forgery) { f.sigAlgorithm = algorithm(signeddata.OIDPSS) }, signeddata.ErrAlgorithm},
		"PSS of two digests": {p256, func(f *forgery) {
			f.sigAlgorithm = algorithm(signeddata.OIDPSS, tlv(0x30, tlv(0xA0, algorithm(signeddata.OIDSHA256))))
		}, signeddata.ErrAlgorithm},
		"unknown digest":        {k, func(f *forgery) { f.digest = "1.2.3" }, signeddata.ErrAlgorithm},
		"attributes as content": {k, func(f *forgery) { f.bare, f.content = true, tlv(0x31, f.signed...) }, signeddata.ErrAmbiguous},
	} {
		s, err := signeddata.Parse(c.key.forge(c.change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Signer().VerifyContent(append([]byte{}, cmpContent(s)...)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func cmpContent(s *signeddata.SignedData) []byte {
	if s.Content != nil {
		return s.Content
	}
	return content
}

// TestBareByDigest: without attributes a digest is enough for ECDSA and RSA, never for SM2, whose Z stands before the content.
func TestBareByDigest(t *testing.T) {
	bare := func(f *forgery) { f.bare = true }
	p256 := ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256)
	s := must(signeddata.Parse(p256.forge(bare)))
	if err := s.Signer().VerifyDigest(hashed(p256.digest, content)); err != nil {
		t.Error(err)
	}
	if err := s.Signer().VerifyDigest(hashed(p256.digest, nil)); !errors.Is(err, signeddata.ErrSignature) {
		t.Errorf("other digest: %v", err)
	}
	k := sm2Key()
	s = must(signeddata.Parse(k.forge(bare)))
	if err := s.Signer().VerifyDigest(hashed(k.digest, content)); !errors.Is(err, signeddata.ErrContent) {
		t.Errorf("SM2: %v", err)
	}
	if err := s.VerifyValue(nil); !errors.Is(err, signeddata.ErrContent) {
		t.Errorf("no content: %v", err)
	}
	if form, err := s.Covers(content); form != signeddata.FormBare || err != nil {
		t.Errorf("%v %v", form, err)
	}
	if err := s.Signer().MatchDigest(hashed(k.digest, content)); !errors.Is(err, signeddata.ErrAttributes) {
		t.Errorf("no messageDigest: %v", err)
	}
}

// TestForms: the ways in which OFD's Type="Sign" speaks of Signature.xml.
func TestForms(t *testing.T) {
	k := sm2Key()
	digest := hashed(k.digest, content)
	text := []byte(base64.StdEncoding.EncodeToString(digest))
	enclose := func(c []byte, bare bool) func(*forgery) {
		return func(f *forgery) {
			f.content, f.bare = c, bare
			f.signed[1] = attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, c)))
		}
	}
	for name, c := range map[string]struct {
		change func(*forgery)
		form   signeddata.Form
		want   error
	}{
		"digest, bare":           {enclose(digest, true), signeddata.FormDigest, nil},
		"digest, attributes":     {enclose(digest, false), signeddata.FormDigest, nil},
		"digest in base64, bare": {enclose(text, true), signeddata.FormDigestBase64, nil},
		"original":               {enclose(content, false), signeddata.FormAttached, nil},
		"detached":               {nil, signeddata.FormDetached, nil},
		"digest of another":      {enclose(hashed(k.digest, []byte("other")), true), "", signeddata.ErrDigest},
		"another original":       {enclose([]byte("other"), false), "", signeddata.ErrDigest},
		"digest of a digest only": {func(f *forgery) {
			f.signed[1] = attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, digest)))
		}, signeddata.FormDetached, signeddata.ErrDigest},
	} {
		s := must(signeddata.Parse(k.forge(c.change)))
		form, err := s.Covers(content)
		if form != c.form || !errors.Is(err, c.want) {
			t.Errorf("%s: %q %v", name, form, err)
		}
		if err := s.VerifyValue(content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	k := sm2Key()
	two := k.forge(func(f *forgery) { f.signers = 2 })
	if s, err := signeddata.ParseWith(two, signeddata.Options{Signers: 2}); err != nil || len(s.Signers) != 2 {
		t.Errorf("two signers: %v", err)
	}
	sound := k.forge(nil)
	if _, err := signeddata.ParseWith(sound, signeddata.Options{MaxBytes: len(sound) - 1}); !errors.Is(err, signeddata.ErrSize) {
		t.Errorf("size: %v", err)
	}
	padded := append(slices.Clone(sound), make([]byte, 100)...)
	if s, err := signeddata.ParseWith(padded, signeddata.Options{Padding: true}); err != nil || codes(s.Notes) != "padding" || !bytes.Equal(s.Raw, sound) {
		t.Errorf("padding: %v", err)
	}
	for name, b := range map[string][]byte{"zeros without the option": padded, "other bytes": append(slices.Clone(padded), 1)} {
		if _, err := signeddata.ParseWith(b, signeddata.Options{Padding: name == "other bytes"}); !errors.Is(err, signeddata.ErrTrailing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	absent := must(signeddata.Parse(k.forge(func(f *forgery) { f.certificates = nil })))
	if err := absent.Signer().Supply(ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256).cert, k.cert); err != nil {
		t.Error(err)
	}
	if err := absent.VerifyValue(nil); err != nil {
		t.Errorf("certificate supplied: %v", err)
	}
}

func TestFields(t *testing.T) {
	k := sm2Key()
	stamp := tlv(0x30, number(7))
	s := must(signeddata.Parse(k.forge(func(f *forgery) {
		f.signed = append(f.signed, attribute(signeddata.OIDSigningTime, tlv(0x17, []byte("260304120000Z"))))
		f.unsigned = [][]byte{attribute("1.2.3", number(1)), attribute(signeddata.OIDTimeStampToken, stamp)}
	})))
	i := s.Signer()
	if !i.SigningTime.Equal(noon) || i.SigningTime.Location() != time.UTC || !bytes.Equal(i.Timestamp, stamp) || !bytes.Equal(i.Issuer, k.parsed.RawIssuer) ||
		!bytes.Equal(i.Certificate, k.cert) || i.Attributes[0] != 0x31 || len(i.Signed) != 3 || len(i.Unsigned) != 2 || !s.GM || s.Content != nil {
		t.Errorf("%+v", i)
	}
	c := must(i.Signatory())
	if c.CommonName != "示例 SM2" || c.Key == nil || !bytes.Equal(c.Issuer, k.parsed.RawIssuer) {
		t.Errorf("%+v", c)
	}
}

// TestSharesInput: enclosed content, which may be a whole document, is not copied.
func TestSharesInput(t *testing.T) {
	in := sm2Key().forge(func(f *forgery) { f.content = bytes.Repeat([]byte("p"), 1<<20) })
	s := must(signeddata.Parse(in))
	at := bytes.Index(in, s.Content)
	if at < 0 || &s.Content[0] != &in[at] {
		t.Error("the content was copied")
	}
}

// TestSigningCertificate: the attribute of RFC 5035 and its older form, in every way to be right and wrong.
func TestSigningCertificate(t *testing.T) {
	k, other := sm2Key(), sm2Key()
	is := func(issuer []byte, serial int64) []byte {
		return tlv(0x30, tlv(0x30, tlv(0xA4, issuer)), number(serial))
	}
	v2 := func(parts ...[]byte) func(*forgery) {
		return func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningCertificateV2, tlv(0x30, tlv(0x30, tlv(0x30, parts...)))))
		}
	}
	sha256Of, sm3Of := octets(hashed(signeddata.OIDSHA256, k.cert)), octets(hashed(signeddata.OIDSM3, k.cert))
	for name, c := range map[string]struct {
		change func(*forgery)
		want   error
	}{
		"absent":         {nil, signeddata.ErrESS},
		"SHA-256":        {v2(sha256Of), nil},
		"SM3":            {v2(algorithm(signeddata.OIDSM3), sm3Of), nil},
		"SM3 unnamed":    {v2(sm3Of), signeddata.ErrESS},
		"issuer, serial": {v2(sha256Of, is(k.parsed.RawIssuer, 0x91)), nil},
		"other serial":   {v2(sha256Of, is(k.parsed.RawIssuer, 0x92)), signeddata.ErrESS},
		"other issuer":   {v2(sha256Of, is(tlv(0x30), 0x91)), signeddata.ErrESS},
		"other cert":     {v2(octets(hashed(signeddata.OIDSHA256, other.cert))), signeddata.ErrESS},
		"unknown digest": {v2(algorithm("1.2.3"), sha256Of), signeddata.ErrAlgorithm},
		"version 1": {func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningCertificate, tlv(0x30, tlv(0x30, tlv(0x30, octets(hashed(signeddata.OIDSHA1, k.cert)))))))
		}, nil},
		"version 1 other": {func(f *forgery) {
			f.signed = append(f.signed, attribute(signeddata.OIDSigningCertificate, tlv(0x30, tlv(0x30, tlv(0x30, octets(hashed(signeddata.OIDSHA1, other.cert)))))))
		}, signeddata.ErrESS},
	} {
		s := must(signeddata.Parse(k.forge(c.change)))
		if err := s.Signer().MatchCertificate(); !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := signeddata.Parse(k.forge(v2())); !errors.Is(err, signeddata.ErrStructure) {
		t.Errorf("empty ESSCertID: %v", err)
	}
}

// TestDefectiveCertificate: forbidden bytes in a name make the strict reader fail; the signature is judged all the same, with a note.
func TestDefectiveCertificate(t *testing.T) {
	for _, k := range []*key{sm2Key(), ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256)} {
		// The common name becomes an IA5String, which may not hold the bytes it holds.
		broken := bytes.ReplaceAll(k.cert, []byte("\x06\x03\x55\x04\x03\x0C"), []byte("\x06\x03\x55\x04\x03\x16"))
		name := bytes.ReplaceAll(k.parsed.RawIssuer, []byte("\x06\x03\x55\x04\x03\x0C"), []byte("\x06\x03\x55\x04\x03\x16"))
		serial := der(func(b *cryptobyte.Builder) { b.AddASN1BigInt(k.parsed.SerialNumber) })
		s, err := signeddata.Parse(k.forge(func(f *forgery) { f.certificates, f.sid = [][]byte{broken}, tlv(0x30, name, serial) }))
		if err != nil {
			t.Fatal(err)
		}
		if codes(s.AllNotes()) != "certificate" {
			t.Errorf("notes %v", s.AllNotes())
		}
		if err := s.Signer().VerifyContent(content); err != nil {
			t.Error(err)
		}
		if c := must(s.Signer().Signatory()); c.Defect == nil || c.ForTimestamps() == nil {
			t.Errorf("%+v", c)
		}
	}
}

// indefinite rewrites every constructed element down to depth as BER would, with indefinite length.
func indefinite(b []byte, depth int) []byte {
	in, out := cryptobyte.String(b), []byte(nil)
	for !in.Empty() {
		var whole, inner cryptobyte.String
		tag := in[0]
		in.ReadASN1Element(&whole, tags.Tag(tag))
		if tag&0x20 == 0 || depth == 0 {
			out = append(out, whole...)
			continue
		}
		whole.ReadASN1(&inner, tags.Tag(tag))
		out = slices.Concat(out, []byte{tag, 0x80}, indefinite(inner, depth-1), []byte{0, 0})
	}
	return out
}

// TestBER: indefinite lengths at any depth are refused by name, and the conversion gives back the very DER.
func TestBER(t *testing.T) {
	k := sm2Key()
	sound := k.forge(func(f *forgery) { f.content = content })
	for depth := 1; depth <= 5; depth++ {
		ber := indefinite(sound, depth)
		if _, err := signeddata.Parse(ber); !errors.Is(err, signeddata.ErrBER) {
			t.Errorf("depth %d: %v", depth, err)
		}
		s, err := signeddata.ParseWith(append(ber, 0, 0), signeddata.Options{BER: true, Padding: true})
		if err != nil || !bytes.Equal(s.Raw, sound) || codes(s.Notes) != "ber padding" {
			t.Errorf("depth %d: %v", depth, err)
			continue
		}
		if err := s.VerifyValue(nil); err != nil {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
	split := slices.Concat([]byte{0x24, 0x80}, octets(content[:5]), octets(content[5:]), []byte{0, 0})
	for name, b := range map[string][]byte{
		"split, indefinite": split,
		"split, definite":   tlv(0x24, octets(content[:5]), octets(nil), octets(content[5:])),
	} {
		ber := bytes.Replace(indefinite(sound, 5), octets(content), b, 1)
		s, err := signeddata.ParseWith(ber, signeddata.Options{BER: true})
		if err != nil || !bytes.Equal(s.Raw, sound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := signeddata.Parse(bytes.Replace(sound, tlv(0xA0, octets(content)), tlv(0xA0, tlv(0x24, octets(content[:2]))), 1)); err == nil {
		t.Error("a split string without the option is accepted")
	}
	for name, b := range map[string][]byte{"no end": {0x30, 0x80, 2, 1, 1}, "split of other": {0x30, 0x80, 0x24, 0x80, 2, 1, 1, 0, 0, 0, 0}, "length of length": {0x30, 0x80, 4, 0xFF, 0},
		"long tag": {0x30, 0x80, 0x3F, 1, 0, 0, 0}, "length beyond": {0x30, 0x80, 4, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0}} {
		if _, err := signeddata.ParseWith(b, signeddata.Options{BER: true}); !errors.Is(err, signeddata.ErrStructure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileNesting: four megabytes of opened elements are refused at the first of them, or at the depth limit, without memory to speak of.
func TestHostileNesting(t *testing.T) {
	open := []byte(strings.Repeat("\x30\x80", 2<<20))
	nested := []byte(strings.Repeat("\x24\x80", 2<<20))
	for name, c := range map[string]struct {
		b    []byte
		o    signeddata.Options
		want error
	}{
		"strict":       {open, signeddata.Options{}, signeddata.ErrBER},
		"converting":   {open, signeddata.Options{BER: true}, signeddata.ErrStructure},
		"split octets": {append([]byte{0x30, 0x80}, nested...), signeddata.Options{BER: true}, signeddata.ErrStructure},
		"too large":    {make([]byte, signeddata.MaxSize+1), signeddata.Options{}, signeddata.ErrSize},
		"tiny":         {[]byte{0x30, 0x80}, signeddata.Options{BER: true}, signeddata.ErrStructure},
		"empty":        {nil, signeddata.Options{BER: true}, signeddata.ErrStructure},
		"text":         {[]byte("-----BEGIN CMS-----"), signeddata.Options{BER: true}, signeddata.ErrStructure},
	} {
		var err error
		if grown := testing.AllocsPerRun(1, func() { _, err = signeddata.ParseWith(c.b, c.o) }); grown > 200 {
			t.Errorf("%s: %v allocations", name, grown)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestLaw06AttributesAreHashedAsReceived: attributes that stand in another order than DER's were signed in that order. A reader that sorts
// them first would reject them, and would take a value over what was never sent.
func TestLaw06AttributesAreHashedAsReceived(t *testing.T) {
	k := sm2Key()
	backwards := func(f *forgery) {
		slices.SortFunc(f.signed, func(a, b []byte) int { return bytes.Compare(b, a) })
		f.sort = false
	}
	s := must(signeddata.Parse(k.forge(backwards)))
	if err := s.Signer().VerifyContent(content); err != nil {
		t.Errorf("signed as it stands: %v", err)
	}
	sorted := must(signeddata.Parse(k.forge(nil))).Signer().Attributes
	s = must(signeddata.Parse(k.forge(func(f *forgery) {
		backwards(f)
		f.value = func([]byte) []byte { return k.sign(sorted) }
	})))
	if err := s.Signer().VerifyContent(content); !errors.Is(err, signeddata.ErrSignature) {
		t.Errorf("signed in another order: %v", err)
	}
}
