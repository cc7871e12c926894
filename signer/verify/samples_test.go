package verify_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify"
)

// samplesDir finds the collection of real files beside the repository.
func samplesDir(t testing.TB) string {
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
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "samples")
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skipf("SKIPPED: the samples are not present beside the repository: %v", err)
	}
	return dir
}

func manifest(t testing.TB, dir string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func readSample(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSamples(t *testing.T) {
	dir := samplesDir(t)
	var all map[string]struct {
		Expect struct {
			Signatures []struct {
				ID     string
				Checks map[string]verify.Result
			}
			Verdict string `json:"verdict_without_trust_anchors"`
		}
	}
	manifest(t, dir, &all)
	seen := 0
	for name, m := range all {
		if len(m.Expect.Signatures) == 0 {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			xml, _ := os.ReadFile(filepath.Join(dir, filepath.Dir(name), "Signature.xml")) // absent beside most
			r := verify.Document(t.Context(), name, readSample(t, dir, name), verify.Options{Now: now, SignatureXML: xml})
			if len(r.Signatures) != len(m.Expect.Signatures) {
				t.Fatalf("%d signatures, want %d\n%s", len(r.Signatures), len(m.Expect.Signatures), r.Text(verify.English))
			}
			for i, want := range m.Expect.Signatures {
				compareSignature(t, r.Signatures[i], want.ID, want.Checks)
			}
			if r.Verdict == verify.Valid || m.Expect.Verdict == "invalid" && r.Verdict != verify.Invalid {
				t.Errorf("verdict %s, want %s", r.Verdict, m.Expect.Verdict)
			}
			if r.Verdict == verify.Invalid && m.Expect.Verdict != "invalid" {
				onlyTimesFail(t, r)
			}
		})
	}
	if seen < 20 {
		t.Errorf("only %d samples in the manifest", seen)
	}
}

func compareSignature(t *testing.T, got verify.Signature, id string, want map[string]verify.Result) {
	t.Helper()
	if got.ID != id {
		t.Errorf("signature %q, want %q", got.ID, id)
	}
	for code, result := range want {
		found := verify.Result("")
		for _, c := range got.Checks {
			if c.Code == code {
				found = c.Result
			}
		}
		if found != result {
			t.Errorf("signature %s: %s is %q, want %q", id, code, found, result)
		}
	}
}

// onlyTimesFail demands that nothing but time makes an intact sample invalid.
func onlyTimesFail(t *testing.T, r verify.Report) {
	t.Helper()
	for _, s := range r.Signatures {
		for _, c := range s.Checks {
			timely := c.Code == verify.CodeSigningTime || c.Code == verify.CodeSealValidity || c.Code == verify.CodeMakerCertificate
			if c.Result == verify.Fail && !timely {
				t.Errorf("%s fails: %s", c.Code, c.Detail)
			}
		}
	}
	for _, c := range r.Findings {
		if c.Result == verify.Fail {
			t.Errorf("finding %s: %s", c.Code, c.Detail)
		}
	}
}

// causes names the code that each hostile file must be refused by, where the manifest leaves no doubt about the cause.
var causes = map[string]string{
	"not-a-zip-24bytes.ofd": "not-a-package", "syn-zero-bytes.ofd": "not-a-package",
	"syn-docroot-dotdot.ofd": "ofd-path", "syn-docroot-empty.ofd": "ofd-docroot", "syn-docroot-self.ofd": "ofd-docroot", "syn-page-dotdot.ofd": "ofd-path",
	"syn-signed-case-ref.ofd": verify.CodeReferences, "syn-signed-checkmethod-none.ofd": verify.CodeDocumentDigest,
	"syn-signed-content-changed.ofd": verify.CodeReferences, "syn-signed-docroot-moved.ofd": "uncovered-content",
	"syn-signed-dup-entry-content.ofd": "zip-duplicate-name", "syn-signed-extra-file.ofd": "uncovered-file",
	"syn-signed-page-file-removed.ofd": verify.CodeReferences, "syn-signed-reference-removed.ofd": verify.CodeDocumentDigest,
	"syn-signed-seal-copy-changed.ofd": verify.CodeSealCopy, "syn-signed-second-docbody.ofd": "unsigned-document",
	"syn-signed-signature-dup-id.ofd": "duplicate-signature", "syn-signed-signatures-two-lists.ofd": "two-signature-lists",
	"syn-signed-signedvalue-foreign.ofd": verify.CodeDocumentDigest, "syn-signed-signedvalue-truncated.ofd": verify.CodeStructure,
	"syn-signed-stamp-moved.ofd":        verify.CodeDocumentDigest,
	"syn-xml-billion-laughs-ofdxml.ofd": "xml-dtd", "syn-xml-external-entity.ofd": "xml-dtd", "syn-xml-deep-content.ofd": "xml-depth",
	"syn-xml-many-attrs.ofd": "xml-attributes", "syn-xml-trailing-root.ofd": "xml-two-roots", "syn-xml-two-docroots.ofd": "ofd-docroot",
	"syn-zip-bomb-100m-resource.ofd": "zip-bomb", "syn-zip-bomb-overlap-small.ofd": "zip-two-names", "syn-zip-case-ofdxml.ofd": "zip-similar-names",
	"syn-zip-cd-offset.ofd": "zip-directory", "syn-zip-cd-truncated.ofd": "zip-directory", "syn-zip-crc-wrong.ofd": "zip-damaged",
	"syn-zip-dup-ofdxml.ofd": "zip-duplicate-name", "syn-zip-encrypted-flag.ofd": "zip-encrypted", "syn-zip-hidden-local.ofd": "zip-unlisted-bytes",
	"syn-zip-local-name-differs.ofd": "zip-two-names", "syn-zip-method-bzip2.ofd": "zip-method", "syn-zip-name-absolute.ofd": "zip-name",
	"syn-zip-name-backslash.ofd": "zip-name", "syn-zip-name-control.ofd": "zip-name", "syn-zip-name-dotdot.ofd": "zip-name",
	"syn-zip-name-empty.ofd": "zip-name", "syn-zip-name-longname.ofd": "zip-name", "syn-zip-name-rtl.ofd": "zip-name",
	"syn-zip-size-lies-small.ofd": "zip-size-lies", "syn-zip-slash-variants.ofd": "zip-name", "syn-zip-symlink.ofd": "zip-symlink",
	"syn-zip-tail.ofd": "zip-trailing-bytes", "syn-zip-two-archives.ofd": "zip-two-archives",
	"dss-pdf-double-signer-info.pdf": verify.CodeStructure, "dss-pdf-signed-added-page.pdf": verify.CodeReferences,
	"dss-replace.pdf": verify.CodeReferences, "pyhanko-one-byterange.pdf": verify.CodeReferences, "pyhanko-tail-uncovered.pdf": verify.CodeReferences,
	"pyhanko-form-update-override-appearance-stream-sneaky.pdf": verify.CodeReferences, "pyhanko-pdf-sig-with-econtent.pdf": verify.CodeDocumentDigest,
	"rub-shadow-hide-form-4-manipulated.pdf": verify.CodeReferences, "rub-shadow-hide-replace-v1-4-manipulated.pdf": verify.CodeReferences,
	"mkl-usf_01_Empty_Contents.pdf": verify.CodeReferences, "mkl-usf_03_Null_Contents.pdf": verify.CodeReferences, "mkl-usf_05_No_Contents.pdf": verify.CodeReferences,
	"syn-sig-byterange-negative.pdf": verify.CodeReferences, "syn-sig-byterange-overlap.pdf": verify.CodeReferences, "syn-sig-contents-literal.pdf": verify.CodeReferences,
	"syn-xref-prev-self.pdf": "pdf-xref-loop", "pyhanko-minimal-aes256.pdf": "pdf-encrypted", "qpdf-enc1.pdf": "pdf-encrypted", "pdfbox-data-000001.pdf": "pdf-trailing-bytes",
	"qpdf-leading-junk.pdf": "pdf-header", "pdfcpu-testPAdES_BB.pdf": verify.CodeSignerCertificate, "dss-DSS-1683.pdf": verify.CodeSignatureValue,
	"signserver-sample-signed-version-16.pdf": verify.CodeDocumentDigest, "pyhanko-ed448-disallowed-hash.pdf": verify.CodeSignatureValue,
	"syn-seal-bitflip-info.esl": verify.CodeSealSignature, "syn-seal-bitflip-signature.esl": verify.CodeSealSignature, "syn-seal-sig-zero.esl": verify.CodeSealSignature,
}

func TestDocuments(t *testing.T) {
	dir := filepath.Join(samplesDir(t), "documents")
	var all map[string]struct {
		Expectation struct {
			Verify    string
			VerifyNot []verify.Verdict `json:"verify_not"`
			Why       string
		}
	}
	manifest(t, dir, &all)
	seen := 0
	for name, m := range all {
		seen++
		t.Run(name, func(t *testing.T) {
			b := readSample(t, dir, name)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := verify.Document(t.Context(), filepath.Base(name), b, verify.Options{Now: now})
			runtime.ReadMemStats(&after)
			want := m.Expectation
			for _, not := range want.VerifyNot {
				if r.Verdict == not {
					t.Errorf("verdict %s, although %s", r.Verdict, want.Why)
				}
			}
			if (want.Verify == "refuse" || want.Verify == "invalid") && r.Verdict != verify.Invalid || want.Verify == "indeterminate" && r.Verdict != verify.IndeterminateResult {
				t.Errorf("verdict %s, want %s: %s\n%s", r.Verdict, want.Verify, want.Why, r.Text(verify.English))
			}
			if code, known := causes[filepath.Base(name)]; known {
				if result, _ := resultOf(r, code); result == "" || result == verify.Pass {
					t.Errorf("%s is not named: %s\n%s", code, want.Why, r.Text(verify.English))
				}
			}
			// All allocations of the run together stay within the bound of a package, and a fixed share for the work itself.
			bound := uint64(max(64<<20, 20*len(b)) + 32<<20)
			if used := after.TotalAlloc - before.TotalAlloc; used > bound {
				t.Errorf("%d bytes allocated for an input of %d", used, len(b))
			}
		})
	}
	if seen < 200 {
		t.Errorf("only %d documents in the manifest", seen)
	}
}

// TestSampleBareSignature: the bare value of a real package fits a certificate that stands in a real seal's list.
func TestSampleBareSignature(t *testing.T) {
	dir := samplesDir(t)
	s, err := seal.Parse(readSample(t, dir, "seal-v4-ofdrw/UserV4.esl"))
	if err != nil {
		t.Fatal(err)
	}
	var signers []*gm.Certificate
	for _, der := range s.Info.Certs {
		c, err := gm.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, c)
	}
	r := verify.Document(t.Context(), "DigitalSign.ofd", readSample(t, dir, "ofd-sign-bare/DigitalSign.ofd"), verify.Options{Now: now, Signers: signers})
	if result, detail := resultOf(r, verify.CodeSignatureValue); result != verify.Pass {
		t.Errorf("%s: %s\n%s", result, detail, r.Text(verify.English))
	}
}
