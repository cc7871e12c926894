package verify_test

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/trust"
	"sealkeeper/softhsm-test/pdfgen"
)

// cause is a fixture for a finding that no sample document shows.
type cause struct {
	what string // is wrong
	make func(t *testing.T, f *fixture) []byte
}

// inFile puts another text into a file of the package.
func inFile(name, from, to string) func(*testing.T, *fixture) []byte {
	return func(t *testing.T, f *fixture) []byte {
		if !strings.Contains(f.files[name], from) {
			t.Fatalf("%s does not hold %s", name, from)
		}
		f.files[name] = strings.Replace(f.files[name], from, to, 1)
		return f.build(t)
	}
}

// inSignature does so in Signature.xml before it is signed.
func inSignature(from, to string) func(*testing.T, *fixture) []byte {
	return func(t *testing.T, f *fixture) []byte {
		f.signatureXML = func(s string) string { return strings.Replace(s, from, to, 1) }
		return f.build(t)
	}
}

// asPDF is a plain PDF document, changed.
func asPDF(change func(t *testing.T, doc []byte) []byte) func(*testing.T, *fixture) []byte {
	return func(t *testing.T, f *fixture) []byte {
		f.name = "x.pdf"
		return change(t, pdfgen.Document("contract", 1))
	}
}

// inForm gives a PDF document a form whose one field is object 90.
func inForm(objects map[int]string) func(*testing.T, *fixture) []byte {
	return asPDF(func(t *testing.T, doc []byte) []byte {
		objects[catalogObject] = with(t, object(t, doc, catalogObject), "/AcroForm << /Fields [90 0 R] >>")
		return revise(doc, objects)
	})
}

const (
	listFile    = "Doc_0/Signs/Signatures.xml"
	endOfRecord = 22 // bytes of a package's end record
)

// foundBy are the fixtures by code.
// encloseDraft has a document enclose and protect a draft, leave OFD.xml open, and be turned to the draft afterwards.
func encloseDraft(w *world) {
	w.add("Doc_0/Draft.xml", strings.Replace(documentXML, `BaseLoc="Pages/Page_0`, `BaseLoc="Pages/Page_1`, 1))
	w.add("Doc_0/Pages/Page_1/Content.xml", pageXML)
	w.protect = func(n string) bool { return n != "OFD.xml" }
	w.after = func(files map[string][]byte) {
		files["OFD.xml"] = bytes.Replace(files["OFD.xml"], []byte("Doc_0/Document.xml"), []byte("Doc_0/Draft.xml"), 1)
	}
}

var foundBy = map[string]cause{
	"crl": {"a revocation list is none", func(t *testing.T, f *fixture) []byte {
		f.opts.CRLs = append(f.opts.CRLs, []byte("x"))
		return f.build(t)
	}},
	"trust-list": {"a trust list ran out", func(t *testing.T, f *fixture) []byte {
		f.opts.TrustLists = []*trust.List{published(t, "4103", 1, now.Add(-time.Hour), trust.Item{Kind: trust.Authority, Name: "演示根", Certificate: f.root.der})}
		return f.build(t)
	}},
	"too-large":          {"more bytes than allowed", func(t *testing.T, f *fixture) []byte { f.opts.MaxBytes = 100; return f.build(t) }},
	"unknown-kind":       {"a text", func(_ *testing.T, f *fixture) []byte { f.name = "x.txt"; return []byte("演示数据") }},
	"interrupted":        {"the caller gave up", func(t *testing.T, f *fixture) []byte { return f.build(t) }},
	"ofd-entries":        {"OFDEntries.xml names no value", func(t *testing.T, f *fixture) []byte { f.add("OFDEntries.xml", "<DocEntries/>"); return f.build(t) }},
	"ofd-missing-file":   {"the document is not there", inFile("OFD.xml", "Doc_0/Document.xml", "Doc_9/Document.xml")},
	"ofd-no-document":    {"OFD.xml names no document", func(t *testing.T, f *fixture) []byte { f.files["OFD.xml"] = "<OFD/>"; return f.build(t) }},
	"ofd-root-element":   {"OFD.xml is another kind of file", func(t *testing.T, f *fixture) []byte { f.files["OFD.xml"] = "<Document/>"; return f.build(t) }},
	"ofd-signature":      {"Signature.xml has two SignedInfo", inSignature("</ofd:SignedInfo>", "</ofd:SignedInfo><ofd:SignedInfo/>")},
	"ofd-signature-type": {"a signature of an unknown type", inFile(listFile, `"Seal"`, `"Stamp"`)},
	"ofd-signatures":     {"more signatures than are judged", func(t *testing.T, f *fixture) []byte { f.files[listFile] = listOf(257); return f.build(t) }},
	"ofd-too-large":      {"OFD.xml of more than 16 MiB", inFile("OFD.xml", "</ofd:OFD>", strings.Repeat(" ", 16<<20)+"</ofd:OFD>")},
	"relative-signature": {"a signature that builds on another", inFile(listFile, "Type=", `Relative="s000" Type=`)},
	"stamp-without-page": {"a stamp on a page that is not there", inSignature(`PageRef="1"`, `PageRef="7"`)},
	"page-missing":       {"a page that is not there", inFile("Doc_0/Document.xml", "</ofd:Pages>", `<ofd:Page ID="2" BaseLoc="Pages/none.xml"/></ofd:Pages>`)},
	"versions":           {"a document of several versions", inFile("OFD.xml", "</ofd:DocBody>", `<ofd:Versions><ofd:Version ID="1" BaseLoc="x"/></ofd:Versions></ofd:DocBody>`)},
	"xml-elements":       {"400,001 elements in OFD.xml", inFile("OFD.xml", "</ofd:OFD>", strings.Repeat("<a/>", 400_001)+"</ofd:OFD>")},
	"xml-encoding":       {"OFD.xml in GBK", inFile("OFD.xml", "UTF-8", "GBK")},
	"xml-malformed":      {"OFD.xml is cut", inFile("OFD.xml", "</ofd:OFD>", "")},
	"xml-base":           {"xml:base in the list", inFile(listFile, `<ofd:Signature ID`, `<ofd:Signature xml:base="../Evil/" ID`)},
	"another-document": {"DocRoot turned to an enclosed draft, OFD.xml open", func(t *testing.T, f *fixture) []byte {
		encloseDraft(f.world)
		return f.build(t)
	}},
	"hidden-signature":   {"a Signature inside another element of the list", inFile(listFile, `</ofd:Signatures>`, `<x><ofd:Signature ID="s009" BaseLoc="Sign_9/Signature.xml"/></x></ofd:Signatures>`)},
	"xml-two-attributes": {"BaseLoc in two namespaces", inFile(listFile, `BaseLoc=`, `xmlns:x="x" x:BaseLoc="Sign_1/Signature.xml" BaseLoc=`)},
	"xml-token":          {"a text of more than 1 MiB", inFile("OFD.xml", "</ofd:OFD>", strings.Repeat("x", 1<<20)+"</ofd:OFD>")},
	"zip-entries":        {"20,001 entries", func(t *testing.T, f *fixture) []byte { return entries(f.build(t), 20_001) }},
	"zip-local-header":   {"an entry compressed in two ways", func(t *testing.T, f *fixture) []byte { b := f.build(t); b[8]++; return b }},
	"zip-overlap":        {"an entry within another", func(t *testing.T, _ *fixture) []byte { return overlapping(t) }},
	"zip-special-file":   {"a pipe", func(t *testing.T, _ *fixture) []byte { return special(t) }},
	"pdf-eof":            {"no end of file", asPDF(func(_ *testing.T, b []byte) []byte { return bytes.Replace(b, []byte("%%EOF"), []byte("%%EOX"), 1) })},
	"pdf-external":       {"a stream in another file", inForm(map[int]string{90: "<< /Length 1 /F (x) >>\nstream\nx\nendstream"})},
	"pdf-form-loop":      {"a field within itself", inForm(map[int]string{90: "<< /T (a) /Kids [90 0 R] >>"})},
	"pdf-loop":           {"an object that is itself", inForm(map[int]string{90: "90 0 R"})},
	"pdf-limits":         {"fields 40 deep", inForm(map[int]string{90: strings.Repeat("<< /Kids [", 40) + strings.Repeat("] >>", 40)})},
	"pdf-depth":          {"an object of 200 arrays in one another", inForm(map[int]string{90: strings.Repeat("[", 200) + strings.Repeat("]", 200)})},
	"pdf-signature":      {"a signature that is a number", inForm(map[int]string{90: "<< /FT /Sig /T (a) /V 5 >>"})},
	"pdf-stream":         {"a stream of another length than it says", inForm(map[int]string{90: "<< /Length 99 >>\nstream\nx\nendstream"})},
	"pdf-duplicate-key":  {"a key twice", inForm(map[int]string{90: "<< /T (a) /T (b) >>"})},
	"pdf-xref-duplicate": {"one object listed in two places", asPDF(func(_ *testing.T, b []byte) []byte {
		return bytes.Replace(b, []byte("xref\n0 "), []byte("xref\n1 1\n0000000001 00000 n \n0 "), 1)
	})},
	"pdf-bomb":            {"an object stream that expands a thousand times", asPDF(func(t *testing.T, _ []byte) []byte { return bomb(t) })},
	"pdf-page-tree":       {"a page tree 101 deep", deepTree},
	"pdf-trailing-bytes":  {"bytes behind the end", asPDF(func(_ *testing.T, b []byte) []byte { return append(b, "x"...) })},
	"zip-comment":         {"a comment", func(t *testing.T, f *fixture) []byte { b := f.build(t); b[len(b)-2] = 1; return append(b, 'x') }},
	"two-signature-lists": {"two lists", inFile("OFD.xml", "</ofd:DocBody>", "<ofd:Signatures>x</ofd:Signatures></ofd:DocBody>")},
}

// entries claims another number of entries.
func entries(b []byte, n uint16) []byte {
	end := b[len(b)-endOfRecord:]
	binary.LittleEndian.PutUint16(end[8:], n)
	binary.LittleEndian.PutUint16(end[10:], n)
	return b
}

// overlapping is a package whose second entry lies in the bytes of the first.
func overlapping(t *testing.T) []byte {
	inner := pack(t, []string{"b"}, map[string][]byte{"b": []byte("x")})
	inner = inner[:bytes.Index(inner, []byte("PK\x01\x02"))]
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	put := func(name string, method uint16, b []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	put("a", zip.Store, inner)
	put("b", zip.Deflate, []byte("x"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()
	second := bytes.LastIndex(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[second+42:], 30+1) // behind the local header of a
	return b
}

func special(t *testing.T) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	h := &zip.FileHeader{Name: "OFD.xml"}
	h.SetMode(fs.ModeNamedPipe | 0o600)
	if _, err := z.CreateHeader(h); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bomb is a document whose catalog lies in an object stream of little more than nothing.
func bomb(t *testing.T) []byte {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(append([]byte("1 0 << >>"), make([]byte, 4<<20)...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b := []byte("%PDF-1.7\n")
	box := len(b)
	b = append(b, fmt.Sprintf("2 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n", packed.Len(), packed.String())...)
	at := len(b)
	rows := []byte{0, 0, 0, 0, 2, 0, 2, 0, 1, 0, byte(box), 0, 1, byte(at >> 8), byte(at), 0}
	return append(b, fmt.Sprintf("3 0 obj\n<< /Type /XRef /Size 4 /W [1 2 1] /Root 1 0 R /Length %d >>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", len(rows), rows, at)...)
}

// deepTree is a signed document with a page tree that our writer would not touch, and a revision behind it.
func deepTree(t *testing.T, f *fixture) []byte {
	f.name = "x.pdf"
	p := &paper{fixture: f, t: t}
	p.key, p.cert = ecdsaParty(t, f, 12)
	const flat, deep = "[4 0 R  ]", "[100 0 R]"
	objects := map[int]string{2: "<< /Type /Pages /Count 1 /Kids " + flat + " >>"}
	for n := 100; n <= 200; n++ {
		objects[n] = fmt.Sprintf("<< /Type /Pages /Count 1 /Kids [%d 0 R] >>", n+1)
	}
	objects[201] = "<< /Type /Page /Parent 200 0 R /MediaBox [0 0 9 9] >>"
	p.swap = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(flat), []byte(deep)) }
	sealed := p.pades(revise(pdfgen.Document("contract", 1), objects), 0)
	return revise(sealed, map[int]string{300: "<< /A 1 >>"})
}

// codesOf are the codes of findings, and those of refusals that a check tells of.
func codesOf(r verify.Report) map[string]bool {
	out := map[string]bool{}
	all := slices.Clone(r.Findings)
	for _, s := range r.Signatures {
		all = append(all, s.Checks...)
	}
	refusal := regexp.MustCompile(`(?:^|: )((?:zip|xml|ofd|pdf)-[a-z0-9-]+): `)
	for _, c := range all {
		out[c.Code] = true
		for _, m := range refusal.FindAllStringSubmatch(c.Detail, -1) {
			out[m[1]] = true
		}
	}
	return out
}

// emitted are the codes of findings and refusals in the source of the verifier.
func emitted(t *testing.T) []string {
	t.Helper()
	code := regexp.MustCompile(`(?:\.find|\brefuse|\bunsupported)\("([a-z0-9-]+)"`)
	found := map[string]bool{"zip-unlisted-bytes": true} // chosen between two
	for _, pattern := range []string{"*.go", "pdf/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range code.FindAllSubmatch(b, -1) {
				found[string(m[1])] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// TestFindingsOneByOne: every finding and refusal that the verifier knows is met, by a fixture made here or by a sample document.
func TestFindingsOneByOne(t *testing.T) {
	dir := filepath.Join(samplesDir(t), "documents")
	shown := map[string]string{}
	for code, c := range foundBy {
		f := newFixture(t)
		b := c.make(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		if code == "interrupted" {
			cancel()
		}
		r := verify.Document(ctx, f.name, b, f.opts)
		cancel()
		if !codesOf(r)[code] {
			t.Errorf("%s: %s is not named\n%s", c.what, code, r.Text(verify.English))
		}
		shown[code] = c.what
	}
	var all map[string]struct{}
	manifest(t, dir, &all)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := verify.Document(t.Context(), filepath.Base(name), readSample(t, dir, name), verify.Options{Now: now, Roots: []*gm.Certificate{}})
		for code := range codesOf(r) {
			if shown[code] == "" {
				shown[code] = "`" + filepath.Base(name) + "`"
			}
		}
	}
	var rows strings.Builder
	for _, code := range emitted(t) {
		if shown[code] == "" {
			t.Errorf("no fixture shows %s", code)
		}
		fmt.Fprintf(&rows, "| `%s` | %s |\n", code, shown[code])
	}
	holdTable(t, findingsTable, rows.String())
}
