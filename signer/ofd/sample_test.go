package ofd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// sampleDir finds the test documents beside the repository, or skips.
func sampleDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
	}
	dir = filepath.Join(dir, "..", "shared", "samples", "documents")
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skipf("SKIPPED: no sample documents: %v", err)
	}
	return dir
}

type expectation struct {
	Seal *string `json:"seal"`
	Why  string  `json:"why"`
}

// samples returns the OFD files of the manifest in order.
func samples(t testing.TB) (dir string, names []string, want map[string]expectation) {
	t.Helper()
	dir = sampleDir(t)
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]struct{ Expectation expectation }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	want = map[string]expectation{}
	for name, e := range m {
		if strings.HasSuffix(name, ".ofd") {
			names, want[name] = append(names, name), e.Expectation
		}
	}
	slices.Sort(names)
	return dir, names, want
}

// refusals says by which name a hostile sample is refused; nil means that it is sealed soundly. The manifest binds refuse and ok; where it
// leaves the answer open, this table does.
var refusals = map[string]error{
	"not-a-zip-24bytes":                ErrNotZip,
	"syn-box-nan":                      ErrPageBox,
	"syn-box-negative":                 ErrPageBox,
	"syn-docroot-dotdot":               ErrDocRoot,
	"syn-docroot-empty":                ErrDocRoot,
	"syn-docroot-self":                 ErrDocRoot,
	"syn-page-dotdot":                  ErrPath,
	"syn-pages-50k":                    ErrTooManyPages,
	"syn-signed-case-ref":              ErrMissingPart,
	"syn-signed-checkmethod-none":      nil,
	"syn-signed-content-changed":       ErrEarlierSignature,
	"syn-signed-docroot-moved":         nil,
	"syn-signed-dup-entry-content":     ErrDuplicate,
	"syn-signed-extra-file":            nil,
	"syn-signed-page-file-removed":     ErrMissingPart,
	"syn-signed-reference-removed":     ErrWholeDocument,
	"syn-signed-seal-copy-changed":     ErrEarlierSignature,
	"syn-signed-second-docbody":        nil,
	"syn-signed-signature-dup-id":      ErrDuplicate,
	"syn-signed-signatures-two-lists":  ErrXML,
	"syn-signed-signedvalue-foreign":   ErrWholeDocument,
	"syn-signed-signedvalue-truncated": ErrWholeDocument,
	"syn-signed-stamp-moved":           ErrWholeDocument,
	"syn-xml-billion-laughs-ofdxml":    ErrEntity,
	"syn-xml-deep-content":             ErrDepth,
	"syn-xml-external-entity":          ErrEntity,
	"syn-xml-many-attrs":               ErrXML,
	"syn-xml-trailing-root":            ErrXML,
	"syn-xml-two-docroots":             ErrDocRoot,
	"syn-zero-bytes":                   ErrNotZip,
	"syn-zip-10000-entries":            nil,
	"syn-zip-bomb-100m-resource":       ErrBomb,
	"syn-zip-bomb-overlap-small":       ErrBomb,
	"syn-zip-case-ofdxml":              ErrDuplicate,
	"syn-zip-cd-offset":                ErrZipStructure,
	"syn-zip-cd-truncated":             ErrZipStructure,
	"syn-zip-crc-wrong":                ErrEntryData,
	"syn-zip-dup-ofdxml":               ErrDuplicate,
	"syn-zip-encrypted-flag":           ErrEncrypted,
	"syn-zip-hidden-local":             ErrZipStructure,
	"syn-zip-local-name-differs":       ErrZipStructure,
	"syn-zip-method-bzip2":             ErrMethod,
	"syn-zip-name-absolute":            ErrEntryName,
	"syn-zip-name-backslash":           ErrEntryName,
	"syn-zip-name-control":             ErrEntryName,
	"syn-zip-name-dotdot":              ErrEntryName,
	"syn-zip-name-empty":               ErrEntryName,
	"syn-zip-name-longname":            ErrEntryName,
	"syn-zip-name-rtl":                 ErrEntryName,
	"syn-zip-nested":                   nil,
	"syn-zip-size-lies-small":          ErrEntryData,
	"syn-zip-slash-variants":           ErrEntryName,
	"syn-zip-symlink":                  ErrEntryKind,
	"syn-zip-tail":                     ErrZipStructure,
	"syn-zip-two-archives":             ErrZipStructure,
	"ofdrw-1.9-integrity-list":         ErrIntegrityList,
	"syn-zip64":                        ErrZipStructure,
}

func TestSamples(t *testing.T) {
	dir, names, want := samples(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sealed, err := sealOnce(doc)
			runtime.ReadMemStats(&after)
			// All that was ever allocated, garbage included, so a bound on the peak as well.
			if used, bound := after.TotalAlloc-before.TotalAlloc, max(20*uint64(len(doc)), 64<<20); used > bound {
				t.Errorf("allocated %d bytes in all, bound %d", used, bound)
			}
			refusal, listed := refusals[strings.TrimSuffix(filepath.Base(name), ".ofd")]
			if strings.HasPrefix(name, "hostile/") && !listed {
				t.Errorf("hostile sample without an expected outcome: %v", err)
			}
			if !errors.Is(err, refusal) || err != nil && (refusal == nil || sealed != nil) {
				t.Fatalf("got %v, want %v", err, refusal)
			}
			switch e := want[name].Seal; {
			case e != nil && *e == "ok" && err != nil:
				t.Fatalf("refused, should be sealed: %v", err)
			case e != nil && *e == "refuse" && err == nil:
				t.Fatalf("sealed, should be refused: %s", want[name].Why)
			}
			if err == nil {
				checkSealed(t, doc, sealed)
			}
		})
	}
}

// checkSealed compares a document before and after with the standard library alone.
func checkSealed(t *testing.T, doc, sealed []byte) {
	t.Helper()
	before, after := unpack(t, doc), unpack(t, sealed)
	s := readSigned(t, after)
	last := len(s.sigs) - 1
	for name, raw := range before.raw {
		changed := name == s.listName || name == "OFD.xml" && before.data[s.listName] == nil
		if !changed && !bytes.Equal(raw, after.raw[name]) {
			t.Errorf("%s: compressed bytes changed", name)
		}
	}
	if !slices.Equal(before.names, after.names[:len(before.names)]) {
		t.Errorf("order or names of the entries changed:\n%q\n%q", before.names, after.names)
	}
	dir := path.Dir(s.names[last])
	want := []string{s.listName, s.names[last], dir + "/SignedValue.dat"}
	if got := s.uncovered(after, last); !sameSet(got, want) {
		t.Errorf("not covered by the new signature: %q, want %q", got, want)
	}
	if got := string(after.data[dir+"/SignedValue.dat"]); got != "opaque signed value" {
		t.Errorf("SignedValue.dat = %q", got)
	}
	again, err := Open(sealed, Limits{Entries: 30_000})
	if err != nil {
		t.Fatalf("the sealed package does not open: %v", err)
	}
	if again.Signatures() != last+1 {
		t.Errorf("%d signatures listed, want %d", again.Signatures(), last+1)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestSignedSamples signs after other products' signatures, or refuses because they closed the document.
func TestSignedSamples(t *testing.T) {
	dir := filepath.Join(sampleDir(t), "..")
	for name, want := range map[string]error{
		"ofd-v1-fjca/00101.ofd":                   nil,
		"ofd-v4-koal/test.ofd":                    nil,
		"ofd-v4-koal-3sig/many-ofd.ofd":           nil,
		"ofd-v4-koal-tampered/test-1.ofd":         ErrEarlierSignature,
		"ofd-sign-bare/DigitalSign.ofd":           nil,
		"ofd-sign-cms/image-signs.ofd":            nil,
		"ofd-v4-riding-5p/V4RideRight.ofd":        ErrWholeDocument,
		"ofd-v4-allprotected/allprotected.ofd":    ErrWholeDocument,
		"ofd-v4-taxtest/draw_param_ref.ofd":       ErrWholeDocument,
		"ofd-v4-ofdrw240/gen_14_digital_sign.ofd": ErrWholeDocument,
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Skipf("SKIPPED: %v", err)
			}
			sealed, err := sealOnce(doc)
			if !errors.Is(err, want) || err != nil && want == nil {
				t.Fatalf("got %v, want %v", err, want)
			}
			if err == nil {
				checkSealed(t, doc, sealed)
			}
		})
	}
}
