package e2e

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/client"
	"sealkeeper/signer"
	"sealkeeper/softhsm-test/ofdgen"
)

// documents are OFD packages that nobody may seal, each rightly approved by its owner. The small ones are made here; the collection
// beside the repository adds more where it is present.
func (g *ground) documents(t *testing.T) {
	document := func(name, code string, status int, content func(t *testing.T) []byte, stamps ...client.Stamp) {
		g.signing("document "+name, code, status, signer.ErrDocument, func(t *testing.T) asking {
			return g.approved(t, askOFD(g.main.seals["01"], content(t), stamps...), g.main.phone)
		})
	}
	good := func(*testing.T) []byte { return ofdgen.Document("示例文件（演示数据）", 1) }
	document("not a package", "ofd-not-zip", 422, func(*testing.T) []byte { return []byte("示例") })
	document("zip bomb", "ofd-bomb", 422, changed("Doc_0/Res/bomb.bin", strings.Repeat("\x00", 96<<20)))
	document("name that leaves the package", "ofd-entry-name", 422, changed("../../etc/passwd", "x"))
	document("location that leaves the package", "ofd-path", 422, edited("Doc_0/Document.xml", `BaseLoc="Pages/Page_0/Content.xml"`, `BaseLoc="../../../x"`))
	document("missing document", "ofd-doc-root", 422, without("Doc_0/Document.xml"))
	document("missing page", "ofd-missing-part", 422, without("Doc_0/Pages/Page_0/Content.xml"))
	document("missing OFD.xml", "ofd-missing-part", 422, without("OFD.xml"))
	document("entity expansion", "ofd-entity", 422, changed("OFD.xml", `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><OFD>&b;</OFD>`))
	document("external entity", "ofd-entity", 422, changed("OFD.xml", `<!DOCTYPE x SYSTEM "file:///etc/passwd"><OFD/>`))
	document("cut in half", "ofd-not-zip", 422, func(t *testing.T) []byte { b := good(t); return b[:len(b)/2] })
	document("name twice", "ofd-duplicate", 422, changed("OFD.XML", "x"))
	document("stamp outside the page", "stamp-outside", 422, good, client.Stamp{Page: 1, X: 200, Y: 200, W: 40, H: 40})
	document("page that does not exist", "no-such-page", 422, good, client.Stamp{Page: 2, X: 100, Y: 200, W: 40, H: 40})
	document("stamp without a size", "stamp", 422, good, client.Stamp{Page: 1, X: 100, Y: 100})

	dir := filepath.Join(root(t), "..", "shared", "samples", "documents", "hostile")
	if _, err := os.Stat(dir); err != nil {
		t.Logf("SKIPPED the collected hostile packages, the ones made here are tested: %v", err)
		return
	}
	for name, code := range map[string]string{
		"syn-zip-bomb-100m-resource": "ofd-bomb", "syn-zip-bomb-overlap-small": "ofd-bomb", "syn-xml-billion-laughs-ofdxml": "ofd-entity",
		"syn-xml-external-entity": "ofd-entity", "syn-xml-deep-content": "ofd-depth", "syn-zip-name-dotdot": "ofd-entry-name", "syn-zip-name-absolute": "ofd-entry-name",
		"syn-page-dotdot": "ofd-path", "syn-docroot-dotdot": "ofd-path", "syn-pages-50k": "ofd-too-many-pages", "syn-zip-symlink": "ofd-entry-kind",
		"syn-zip-encrypted-flag": "ofd-encrypted", "syn-zip-two-archives": "ofd-zip-structure", "syn-zip-crc-wrong": "ofd-entry-data",
		"syn-box-nan": "ofd-page-box", "syn-zip-method-bzip2": "ofd-method",
	} {
		document("collected "+name, code, 422, func(t *testing.T) []byte { return mustOf(os.ReadFile(filepath.Join(dir, name+".ofd")))(t) })
	}
}

// root is the repository.
func root(t testing.TB) string {
	t.Helper()
	dir := mustOf(os.Getwd())(t)
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
	}
}

// changed is a good package with one part written anew or added, edited one with a text replaced, without one with a part left out.
func changed(name, content string) func(t *testing.T) []byte {
	return func(t *testing.T) []byte {
		return repacked(t, func(part string, b []byte) ([]byte, bool) { return b, part != name }, name, content)
	}
}

func edited(name, old, with string) func(t *testing.T) []byte {
	return func(t *testing.T) []byte {
		return repacked(t, func(part string, b []byte) ([]byte, bool) {
			if part != name {
				return b, true
			}
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("%s does not hold %s", name, old)
			}
			return bytes.ReplaceAll(b, []byte(old), []byte(with)), true
		})
	}
}

func without(name string) func(t *testing.T) []byte {
	return func(t *testing.T) []byte {
		return repacked(t, func(part string, b []byte) ([]byte, bool) { return b, part != name })
	}
}

// repacked writes a good package anew: keep says what becomes of each part; more are further names and contents.
func repacked(t *testing.T, keep func(part string, b []byte) ([]byte, bool), more ...string) []byte {
	t.Helper()
	doc := ofdgen.Document("示例文件（演示数据）", 1)
	in := mustOf(zip.NewReader(bytes.NewReader(doc), int64(len(doc))))(t)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	put := func(name string, b []byte) {
		p := mustOf(w.Create(name))(t)
		if _, err := p.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range in.File {
		r := mustOf(f.Open())(t)
		b, ok := keep(f.Name, mustOf(io.ReadAll(r))(t))
		r.Close()
		if ok {
			put(f.Name, b)
		}
	}
	for i := 0; i < len(more); i += 2 {
		put(more[i], []byte(more[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
