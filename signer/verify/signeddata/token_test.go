package signeddata_test

import (
	"errors"
	"testing"
	"time"

	"sealkeeper/signer/verify/signeddata"
)

// stamp makes the forgery a time-stamp token around info. Its certificate is not one for time stamps.
func (f *forgery) stamp(k *key, info []byte) {
	f.outer, f.inner, f.version, f.content = signeddata.OIDSignedData, signeddata.OIDTSTInfo, 3, info
	f.signed = [][]byte{attribute(signeddata.OIDContentType, oid(f.inner)), attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, info))),
		attribute(signeddata.OIDSigningCertificateV2, tlv(0x30, tlv(0x30, tlv(0x30, octets(hashed(signeddata.OIDSHA256, k.cert))))))}
}

// tst is TSTInfo with anything behind its time.
func tst(at string, more ...[]byte) []byte {
	parts := [][]byte{number(1), oid("1.2.156.10197.99.1"), tlv(0x30, algorithm(signeddata.OIDSM3), octets(hashed(signeddata.OIDSM3, content))),
		number(77), tlv(0x18, []byte(at))}
	return tlv(0x30, append(parts, more...)...)
}

func tokens() map[string][]byte {
	return map[string][]byte{
		"plain": tst("20260304120000Z"),
		"all": tst("20260304120000.123456789Z", tlv(0x30, number(2), tlv(0x80, []byte{0x01, 0xF4}), tlv(0x81, []byte{9})), tlv(0x01, []byte{0xFF}), number(-5),
			tlv(0xA0, tlv(0xA4, tlv(0x30))), tlv(0xA1, tlv(0x30, oid("1.2.3"), octets(nil)))),
	}
}

func TestTokenFields(t *testing.T) {
	k := sm2Key()
	token, err := signeddata.ParseToken(k.forge(func(f *forgery) { f.stamp(k, tokens()["all"]) }))
	if err != nil {
		t.Fatal(err)
	}
	if token.Policy != "1.2.156.10197.99.1" || token.Serial.Int64() != 77 || !token.GenTime.Equal(noon.Add(123456789)) || token.Accuracy != 2500009*time.Microsecond ||
		!token.Ordering || token.Nonce.Int64() != -5 || len(token.TSA) != 4 || len(token.Extensions) != 1 || token.DigestOID != signeddata.OIDSM3 || len(token.Notes) != 0 {
		t.Errorf("%+v", token)
	}
	if err := token.Covers(content); err != nil {
		t.Error(err)
	}
	if err := token.CoversDigest(signeddata.OIDSHA256, hashed(signeddata.OIDSM3, content)); !errors.Is(err, signeddata.ErrImprint) {
		t.Errorf("the digest under another name: %v", err)
	}
	// The signer is no time-stamp authority; everything before that passes.
	if err := token.Verify(); !errors.Is(err, signeddata.ErrPurpose) {
		t.Errorf("purpose: %v", err)
	}
}

func TestTokenForms(t *testing.T) {
	k := sm2Key()
	for name, c := range map[string]struct {
		info  []byte
		want  error
		notes string
	}{
		"plain":                  {tokens()["plain"], nil, ""},
		"one digit of a second":  {tst("20260304120000.5Z"), nil, ""},
		"zero at the end":        {tst("20260304120000.50Z"), nil, "time-form"},
		"ordering FALSE":         {tst("20260304120000Z", tlv(0x01, []byte{0})), nil, "default"},
		"ordering of BER":        {tst("20260304120000Z", tlv(0x01, []byte{1})), signeddata.ErrToken, ""},
		"no zone":                {tst("20260304120000"), signeddata.ErrToken, ""},
		"local time":             {tst("20260304120000+0800"), signeddata.ErrToken, ""},
		"ten digits of a second": {tst("20260304120000.1234567891Z"), signeddata.ErrToken, ""},
		"sign in the fraction":   {tst("20260304120000.-1Z"), signeddata.ErrToken, ""},
		"month 13":               {tst("20261304120000Z"), signeddata.ErrToken, ""},
		"accuracy of 1000 ms":    {tst("20260304120000Z", tlv(0x30, tlv(0x80, []byte{0x03, 0xE8}))), signeddata.ErrToken, ""},
		"accuracy negative":      {tst("20260304120000Z", tlv(0x30, number(-1))), signeddata.ErrToken, ""},
		"accuracy out of order":  {tst("20260304120000Z", tlv(0x30, tlv(0x81, []byte{1}), tlv(0x80, []byte{1}))), signeddata.ErrToken, ""},
		"critical extension":     {tst("20260304120000Z", tlv(0xA1, tlv(0x30, oid("1.2.3"), tlv(1, []byte{0xFF}), octets(nil)))), signeddata.ErrToken, ""},
		"bytes behind":           {append(tst("20260304120000Z"), 0), signeddata.ErrToken, ""},
		"nonce of 65 octets":     {tst("20260304120000Z", tlv(2, append([]byte{1}, make([]byte, 64)...))), signeddata.ErrToken, ""},
		"empty":                  {[]byte{}, signeddata.ErrToken, ""},
	} {
		token, err := signeddata.ParseToken(k.forge(func(f *forgery) { f.stamp(k, c.info) }))
		if !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err == nil && codes(token.Notes) != c.notes {
			t.Errorf("%s: notes %v", name, token.Notes)
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"data":        {k.forge(func(f *forgery) { f.content = content }), signeddata.ErrToken},
		"detached":    {k.forge(func(f *forgery) { f.stamp(k, nil); f.content = nil }), signeddata.ErrToken},
		"large":       {make([]byte, signeddata.MaxTokenSize+1), signeddata.ErrSize},
		"two signers": {k.forge(func(f *forgery) { f.stamp(k, tokens()["plain"]); f.signers = 2 }), signeddata.ErrSigners},
	} {
		if _, err := signeddata.ParseTokenWith(c.b, signeddata.Options{Signers: 3}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
