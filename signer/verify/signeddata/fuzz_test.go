package signeddata_test

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sealkeeper/signer/verify/signeddata"
)

// seeds are sound values of each kind, the sample values where they are at hand, and the shapes that killed other readers.
func seeds(f *testing.F) {
	k, p256 := sm2Key(), ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256)
	for _, key := range []*key{k, p256} {
		f.Add(key.forge(nil))
		f.Add(key.forge(func(f *forgery) { f.bare, f.content = true, content }))
		f.Add(indefinite(key.forge(func(f *forgery) { f.content = content }), 5))
	}
	for _, s := range []string{"\x1F\x80", "\x30\x81", "\x30\x84\x01", "\x5F\x4D", "\x30\x82\x06", "\x30\x80", "\x30\x80\x24\x80\x04\x00\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	if dir, err := filepath.Abs("../../../../shared/samples/documents/pdf"); err == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.pdf"))
		for _, file := range files {
			if st, err := os.Stat(file); err == nil && st.Size() < 100<<10 {
				for _, v := range values(f, file) {
					f.Add(v)
				}
			}
		}
	}
}

// FuzzParse: no panic; what the strict reader takes, the lenient one takes too and reads alike; Raw is the input; a bit more is refused.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		lenient, lerr := signeddata.ParseWith(b, signeddata.Options{Signers: 4, BER: true, Padding: true})
		if lerr == nil {
			again, err := signeddata.ParseWith(lenient.Raw, signeddata.Options{Signers: 4})
			if err != nil || !bytes.Equal(again.Raw, lenient.Raw) {
				t.Fatalf("what was read is not read again: %v", err)
			}
			lenient.VerifyValue(content)
			lenient.Covers(content)
			lenient.Signer().MatchCertificate()
		}
		s, err := signeddata.Parse(b)
		if err != nil {
			return
		}
		if lerr != nil || !bytes.Equal(s.Raw, b) || !bytes.Equal(lenient.Raw, b) || len(s.Signers) != 1 {
			t.Fatalf("strict and lenient differ: %v", lerr)
		}
		if _, err := signeddata.Parse(append(bytes.Clone(b), 0)); !errors.Is(err, signeddata.ErrTrailing) {
			t.Fatalf("one byte more: %v", err)
		}
		s.Signer().VerifyContent(content)
		s.Signer().VerifyDigest(content)
	})
}

// FuzzToken: no panic, and what is read keeps the promises of its fields.
func FuzzToken(f *testing.F) {
	k := sm2Key()
	for _, info := range tokens() {
		f.Add(k.forge(func(f *forgery) { f.stamp(k, info) }))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := signeddata.ParseTokenWith(b, signeddata.Options{BER: true, Padding: true})
		if err != nil {
			return
		}
		if token.Serial.Sign() <= 0 || token.Serial.BitLen() > 160 || token.GenTime.IsZero() || token.Accuracy < 0 || token.Policy == "" {
			t.Fatalf("%+v", token)
		}
		token.Covers(content)
		token.Verify()
	})
}

// FuzzCertificate: the reader of defective certificates never panics and agrees with itself.
func FuzzCertificate(f *testing.F) {
	k := sm2Key()
	f.Add(k.cert)
	f.Add(bytes.ReplaceAll(k.cert, []byte("\x06\x03\x55\x04\x03\x0C"), []byte("\x06\x03\x55\x04\x03\x16")))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := signeddata.ReadCertificate(b)
		if err != nil {
			if !errors.Is(err, signeddata.ErrCertificate) {
				t.Fatal(err)
			}
			return
		}
		if c.X509 != nil && !bytes.Equal(c.Issuer, c.X509.RawIssuer) {
			t.Fatalf("issuer %x, strict reader %x", c.Issuer, c.X509.RawIssuer)
		}
		c.ForTimestamps()
	})
}
