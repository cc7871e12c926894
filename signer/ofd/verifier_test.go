package ofd_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/signer/ofd"
	"sealkeeper/signer/verify"
)

// TestVerifierReads hands every sealed sample to the product's verifier, which shares no code with this package: the new signature's
// references hold and nothing of the document is left open. The signed value is no SES_Signature here, so that check alone fails.
func TestVerifierReads(t *testing.T) {
	dir := "../../../shared/samples/documents"
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("SKIPPED: no sample documents: %v", err)
	}
	var manifest map[string]struct{ Expectation struct{ Seal string } }
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	for name, m := range manifest {
		if !strings.HasSuffix(name, ".ofd") || m.Expectation.Seal != "ok" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			report := verify.Document(context.Background(), name, sealed(t, doc), verify.Options{})
			if len(report.Signatures) != 1 {
				t.Fatalf("%d signatures read, findings %+v", len(report.Signatures), report.Findings)
			}
			results := map[string]verify.Result{}
			for _, c := range report.Signatures[0].Checks {
				results[c.Code] = c.Result
			}
			if results["references"] != verify.Pass || results["coverage"] != verify.Pass {
				t.Errorf("checks %+v", report.Signatures[0].Checks)
			}
			for _, f := range report.Findings {
				if f.Result != verify.Note {
					t.Errorf("finding %+v", f)
				}
			}
		})
	}
}

func sealed(t *testing.T, doc []byte) []byte {
	t.Helper()
	p, err := ofd.Open(doc, ofd.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Prepare(ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 10, Y: 10, W: 30, H: 30}}, Seal: []byte("opaque"),
		SignatureTime: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), ProviderName: "Sealkeeper"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Embed([]byte("opaque"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
