package signer_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify"
)

// sampleDir finds the test documents beside the repository, or skips.
func sampleDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "..", "shared", "samples", "documents")
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skipf("SKIPPED: no sample documents: %v", err)
	}
	return dir
}

// TestSampleDocuments: every OFD of the collection is either sealed so that the verifier finds nothing wrong with our signature, or
// refused by name before the key is used.
func TestSampleDocuments(t *testing.T) {
	dir := sampleDir(t)
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]struct {
		Expectation struct {
			Seal *string `json:"seal"`
		} `json:"expectation"`
	}
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sealed, refused := 0, 0
	for name, m := range manifest {
		if !strings.HasSuffix(name, ".ofd") {
			continue
		}
		want := "either"
		if m.Expectation.Seal != nil {
			want = *m.Expectation.Seal
		}
		t.Run(name, func(t *testing.T) {
			if w.sealSample(t, filepath.Join(dir, name), want) {
				sealed++
			} else {
				refused++
			}
		})
	}
	t.Logf("%d sealed, %d refused", sealed, refused)
}

func (w *world) sealSample(t *testing.T, path, want string) bool {
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := signer.Request{ID: "sample-" + filepath.Base(path), Kind: signer.KindOFD, Seal: sealName, Purpose: purpose, Document: doc,
		Plan: placement.Plan{Stamps: []placement.Stamp{{Page: 1, W: 10, H: 10}}}, BodyDigest: gm.SM3(doc)}
	if len(doc) == 0 {
		return false // an empty body is refused as a request
	}
	r.Approval = w.approve(t, r, nil)
	signs := w.token.Stats().Signs
	rel, err := w.Sign(t.Context(), w.dept, r)
	if err != nil {
		if want == "ok" || !errors.Is(err, signer.ErrDocument) || w.token.Stats().Signs != signs {
			t.Errorf("refused: %v (%d signatures)", err, w.token.Stats().Signs-signs)
		}
		return false
	}
	if want == "refuse" {
		t.Error("sealed, should be refused")
	}
	ours := 0
	report := verify.Document(t.Context(), path, rel.Document, verify.Options{Roots: []*gm.Certificate{w.rootCert}, Now: w.clock.now()})
	for _, s := range report.Signatures {
		if s.ESID != sealName {
			continue
		}
		ours++
		for _, c := range s.Checks {
			if c.Result == verify.Fail {
				t.Errorf("%s: %s", c.Code, c.Detail)
			}
		}
	}
	if ours != 1 {
		t.Errorf("our signature is found %d times:\n%s", ours, report.Text(verify.English))
	}
	return true
}
