package cms_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
)

// folder is a place where OpenSSL works.
type folder struct {
	t   testing.TB
	dir string
}

func (f folder) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) read(name string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f folder) openssl(line string) (string, error) {
	c := exec.Command("openssl", strings.Fields(line)...)
	c.Dir = f.dir
	out, err := c.CombinedOutput()
	return string(out), err
}

func (f folder) must(line string) string {
	f.t.Helper()
	out, err := f.openssl(line)
	if err != nil {
		f.t.Fatalf("openssl %s: %v\n%s", line, err, out)
	}
	return out
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestOpenSSLVerifies: openssl cms -verify accepts the RFC form of P-256 and RSA, attached and detached, with signing time and as PAdES,
// and refuses changed content.
func TestOpenSSLVerifies(t *testing.T) {
	for _, a := range []cms.Algorithm{cms.ECDSAP256, cms.RSA2048} {
		id := newIdentity(t, a)
		for name, r := range map[string]cms.Request{
			"detached":         {SigningTime: noon},
			"attached":         {SigningTime: noon, Content: content},
			"PAdES":            {SigningCertificateV2: true},
			"NULL parameters":  {SigningTime: noon, Null: true},
			"without contents": {DigestContent: true},
		} {
			r.Form, r.Algorithm, r.Digest = cms.RFC, a, digest(a, content)
			f := folder{t, t.TempDir()}
			f.write("s.der", build(t, id, r))
			f.write("c.pem", pemCert(id.cert))
			f.write("content", content)
			f.write("changed", append(slices.Clone(content), '!'))
			with := func(file string) string {
				line := "cms -verify -binary -inform DER -in s.der -CAfile c.pem -purpose any -no_check_time -cades -out out"
				if !r.SigningCertificateV2 {
					line = strings.Replace(line, " -cades", "", 1)
				}
				if r.Content == nil && !r.DigestContent {
					line += " -content " + file
				}
				return line
			}
			if out, err := f.openssl(with("content")); err != nil || !strings.Contains(strings.ToLower(out), "verification successful") {
				t.Errorf("%d %s: %v\n%s", a, name, err, out)
			}
			if r.Content != nil && !bytes.Equal(f.read("out"), content) {
				t.Errorf("%d %s: OpenSSL takes out other content", a, name)
			}
			if out, err := f.openssl(with("changed")); r.Content == nil && !r.DigestContent && err == nil {
				t.Errorf("%d %s: OpenSSL takes changed content: %s", a, name, out)
			}
		}
	}
}

var elements = regexp.MustCompile(`(?m)^ *(\d+):d=(\d+) +hl=(\d+) l= *(\d+) (?:cons|prim): (.*?) *(?::.*)?$`)

// TestSM2ByExtraction has OpenSSL check the SM2 value over the attributes that asn1parse finds, as it does for no SignedData of SM2 itself.
func TestSM2ByExtraction(t *testing.T) {
	id := newIdentity(t, cms.SM2)
	for name, r := range map[string]cms.Request{
		"GM":      {SigningTime: noon},
		"RFC 501": {Form: cms.RFC, SM2WithSM3: true, Null: true, SigningTime: noon, Content: content},
		"PAdES":   {Form: cms.RFC, SigningCertificateV2: true},
	} {
		r.Digest = gm.SM3(content)
		der := build(t, id, r)
		f := folder{t, t.TempDir()}
		f.write("s.der", der)
		f.write("c.pem", pemCert(id.cert))
		f.write("content", content)
		var attributes, value []byte
		for _, m := range elements.FindAllStringSubmatch(f.must("asn1parse -inform DER -in s.der"), -1) {
			at, header, length := must(strconv.Atoi(m[1])), must(strconv.Atoi(m[3])), must(strconv.Atoi(m[4]))
			switch {
			case m[2] == "5" && m[5] == "cont [ 0 ]":
				attributes = slices.Clone(der[at : at+header+length])
			case m[2] == "5" && strings.HasPrefix(m[5], "OCTET STRING"):
				value = der[at+header : at+header+length]
			}
		}
		if attributes == nil || value == nil {
			t.Fatalf("%s: OpenSSL finds no SignerInfo", name)
		}
		attributes[0] = 0x31
		f.write("sa.der", attributes)
		f.write("sig.der", value)
		f.write("pub.pem", []byte(f.must("x509 -in c.pem -noout -pubkey")))
		if out := f.must("dgst -sm3 -verify pub.pem -sigopt distid:1234567812345678 -signature sig.der sa.der"); !strings.Contains(out, "Verified OK") {
			t.Errorf("%s: %s", name, out)
		}
		digest := f.must("dgst -sm3 content")
		if !strings.Contains(f.must("asn1parse -inform DER -in sa.der"), strings.ToUpper(strings.TrimSpace(digest[strings.LastIndex(digest, " ")+1:]))) {
			t.Errorf("%s: messageDigest is not OpenSSL's SM3 of the content", name)
		}
	}
}

// TestOpenSSLPrints: OpenSSL's own reader of the whole structure agrees on every field that it prints.
func TestOpenSSLPrints(t *testing.T) {
	id, ca := newIdentity(t, cms.SM2), newIdentity(t, cms.SM2)
	d, err := cms.Prepare(cms.Request{Form: cms.RFC, Certificate: id.cert, Chain: [][]byte{ca.cert}, Digest: gm.SM3(content), Content: content, SigningTime: noon})
	if err != nil {
		t.Fatal(err)
	}
	stamp := build(t, id, cms.Request{Form: cms.RFC, Digest: gm.SM3(content), Content: content, ContentType: cms.OIDTSTInfo})
	out, err := d.Assemble(id.sign(d.Attributes()), stamp)
	if err != nil {
		t.Fatal(err)
	}
	f := folder{t, t.TempDir()}
	f.write("s.der", out)
	text := f.must("cms -inform DER -in s.der -cmsout -print")
	for _, want := range []string{"contentType: pkcs7-signedData", "version: 1", "algorithm: sm3", "eContentType: pkcs7-data", "Mar  4 12:00:00 2026 GMT",
		"id-smime-aa-timeStampToken", "1.2.156.10197.1.301.1"} {
		if !strings.Contains(text, want) {
			t.Errorf("OpenSSL does not print %q", want)
		}
	}
	if n := strings.Count(text, "d.certificate:"); n < 2 {
		t.Errorf("%d certificates in\n%s", n, text)
	}
}
