package signeddata_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"sealkeeper/signer/verify/signeddata"
)

// samples returns the folder of shared samples, beside the repository.
func samples(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	s := filepath.Join(filepath.Dir(dir), "shared", "samples")
	if _, err := os.Stat(s); err != nil {
		t.Skipf("SKIPPED: the shared samples are not here: %v", err)
	}
	return s
}

var contents = regexp.MustCompile(`/Contents\s*<([0-9A-Fa-f\s]{200,})>`)

// values returns the /Contents values of a PDF, padding and all; a plain search is enough for files whose dictionaries are in the clear.
func values(t testing.TB, file string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, m := range contents.FindAllSubmatch(b, -1) {
		digits := bytes.Join(bytes.Fields(m[1]), nil)
		if len(digits)%2 == 1 {
			digits = append(digits, '0')
		}
		v := make([]byte, len(digits)/2)
		if _, err := hex.Decode(v, digits); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func inZip(t testing.TB, file, name string) []byte {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPDFSamples reads every signature value of the sample documents: each parses with a sound signature over its attributes, or is
// refused by the name written here.
func TestPDFSamples(t *testing.T) {
	dir := filepath.Join(samples(t), "documents")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]error{"dss-pdf-double-signer-info.pdf": signeddata.ErrSigners}
	unverified := map[string]error{"pyhanko-ed448-disallowed-hash.pdf": signeddata.ErrAlgorithm,
		"dss-DSS-1683.pdf": signeddata.ErrContent, "mkl-isa_G.pdf": signeddata.ErrAlgorithm, "pyhanko-sig-no-signed-attrs.pdf": signeddata.ErrContent}
	n := 0
	for _, file := range files {
		for _, v := range values(t, file) {
			n++
			name := filepath.Base(file)
			s, err := signeddata.ParseWith(v, signeddata.Options{BER: true, Padding: true})
			if want := refused[name]; !errors.Is(err, want) || (err != nil) != (want != nil) {
				t.Errorf("%s: parsing: %v, want %v", name, err, want)
			}
			if err != nil {
				continue
			}
			if err := s.VerifyValue(nil); !errors.Is(err, unverified[name]) || (err != nil) != (unverified[name] != nil) {
				t.Errorf("%s: value: %v, want %v", name, err, unverified[name])
			}
			t.Logf("%s: %s/%s %v", name, signeddata.Name(s.Signer().SignatureOID), signeddata.Name(s.Signer().DigestOID), s.AllNotes())
		}
	}
	if n < 40 {
		t.Errorf("%d signature values, the samples hold more", n)
	}
}

func TestOFDSignSample(t *testing.T) {
	file := filepath.Join(samples(t), "ofd-sign-cms", "image-signs.ofd")
	value, original := inZip(t, file, "Doc_0/Signs/Sign_0/SignedValue.dat"), inZip(t, file, "Doc_0/Signs/Sign_0/Signature.xml")
	if _, err := signeddata.Parse(value); !errors.Is(err, signeddata.ErrBER) {
		t.Fatalf("the sample is BER: %v", err)
	}
	s, err := signeddata.ParseWith(value, signeddata.Options{BER: true})
	if err != nil {
		t.Fatal(err)
	}
	if !s.GM || s.ContentType != signeddata.OIDGMData || s.Signer().SignatureOID != signeddata.OIDSM2Sign || !slices.ContainsFunc(s.Notes,
		func(n signeddata.Note) bool { return n.Code == signeddata.NoteBER }) {
		t.Errorf("%+v", s)
	}
	if form, err := s.Covers(original); err != nil || form != signeddata.FormDetached {
		t.Errorf("covers: %v %v", form, err)
	}
	if err := s.VerifyValue(original); err != nil {
		t.Errorf("value: %v", err)
	}
}

// TestTimestampSample: the one real time stamp in the samples is over its signature's value, and sound in all but the age of its rules: its
// certificate is named by SHA-1 (RFC 2634), as was usual.
func TestTimestampSample(t *testing.T) {
	file := filepath.Join(samples(t), "documents", "pdf", "openpdf-pdf_digital_signature_timestamp.pdf")
	s, err := signeddata.ParseWith(values(t, file)[0], signeddata.Options{Padding: true})
	if err != nil {
		t.Fatal(err)
	}
	token, err := signeddata.ParseToken(s.Signer().Timestamp)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Covers(s.Signer().Value); err != nil {
		t.Error(err)
	}
	if err := token.Verify(); err != nil {
		t.Error(err)
	}
	if id := token.Signed.Signer().CertID; id == nil || id.DigestOID != signeddata.OIDSHA1 || token.DigestOID != signeddata.OIDSHA256 {
		t.Errorf("%+v", token)
	}
}
