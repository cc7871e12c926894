package pdf

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sealkeeper/signer/placement"
)

// TestSamples seals every PDF of the sample documents: ok gets a signature that poppler finds and qpdf has no new complaint about, refuse gets
// a named error, and the others get either.
func TestSamples(t *testing.T) {
	dir := "../../../shared/samples/documents"
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("SKIPPED: no sample documents: %v", err)
	}
	var manifest map[string]struct {
		Expectation struct{ Seal, Why string }
	}
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	for file, m := range manifest {
		if !strings.HasSuffix(file, ".pdf") {
			continue
		}
		t.Run(file, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			out, err := sealed(t, doc, onFirstPage(t, doc))
			switch {
			case err != nil && !named(err):
				t.Errorf("an error without a name: %v", err)
			case m.Expectation.Seal == "ok" && err != nil:
				t.Errorf("refused: %v", err)
			case m.Expectation.Seal == "refuse" && err == nil:
				t.Errorf("sealed; %s", m.Expectation.Why)
			case err == nil:
				accepted(t, doc, out)
			}
		})
	}
}

// onFirstPage asks for a stamp of at most 40 mm that the first page can hold.
func onFirstPage(t *testing.T, doc []byte) Request {
	d, err := Open(doc, Limits{})
	if err != nil {
		return request(t)
	}
	size := d.Pages()[0]
	s := min(40, size.WidthMM/2, size.HeightMM/2)
	return request(t, placement.Stamp{Page: 1, X: size.WidthMM - s, Y: size.HeightMM - s, W: s, H: s})
}

var allNamed = []error{ErrNotPDF, ErrTail, ErrXref, ErrObject, ErrSyntax, ErrDepth, ErrLimit, ErrFilter, ErrEncrypted, ErrXFA, ErrPageTree, ErrPageBox, ErrForm,
	ErrRequest, ErrPage, ErrStamp, ErrStampOutside, ErrDocMDP, ErrCertify}

func named(err error) bool {
	return slices.ContainsFunc(allNamed, func(n error) bool { return errors.Is(err, n) })
}

// accepted asks poppler and qpdf.
func accepted(t *testing.T, doc, out []byte) {
	t.Helper()
	_, before := tool(t, doc, "qpdf", "--check")
	if said, after := tool(t, out, "qpdf", "--check"); after > before {
		t.Errorf("qpdf exits %d, before %d:\n%s", after, before, said)
	}
	said, _ := tool(t, out, "pdfsig", "-nocert")
	if !strings.Contains(said, "Test Signer") || !strings.Contains(said, "Total document signed") {
		t.Errorf("pdfsig:\n%s", said)
	}
	if i := strings.Index(said, "Signer Certificate Common Name: Test Signer"); i >= 0 && !strings.Contains(said[i:], "Signature is Valid.") {
		t.Errorf("pdfsig:\n%s", said)
	}
}
