package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/pdf"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/pdfgen"
)

// paper is a PDF that is signed and then, perhaps, tampered with.
type paper struct {
	*fixture
	t    testing.TB
	key  *ecdsa.PrivateKey // of the document key, P-256
	cert []byte
	swap func([]byte) []byte // exchanges bytes of what was prepared, before it is signed
}

func newPaper(t testing.TB) *paper {
	t.Helper()
	p := &paper{fixture: newFixture(t), t: t}
	p.name = "x.pdf"
	p.key, p.cert = ecdsaParty(t, p.fixture, 12)
	return p
}

func (p *paper) must(b []byte, err error) []byte {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func dot(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// prepare lays a signature into a document.
func (p *paper) prepare(doc []byte, subFilter string, certify int) *pdf.Draft {
	return p.prepareAt(doc, subFilter, certify, placement.Stamp{Page: 1, X: 20, Y: 20, W: 40, H: 40})
}

// prepareAt lays a signature into a document that is shown at stamps, or nowhere.
func (p *paper) prepareAt(doc []byte, subFilter string, certify int, stamps ...placement.Stamp) *pdf.Draft {
	p.t.Helper()
	d, err := pdf.Open(doc, pdf.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	draft, err := d.Prepare(pdf.Request{Stamps: stamps, Picture: dot(p.t), Time: p.at, Filter: "Adobe.PPKLite", SubFilter: subFilter,
		Name: "示例（演示数据）", Certify: certify, Reserve: 12 << 10})
	if err != nil {
		p.t.Fatal(err)
	}
	return draft
}

func covered(draft *pdf.Draft) []byte {
	parts := draft.Covered()
	return slices.Concat(parts[:]...)
}

func hashOf(draft *pdf.Draft, gm3 bool) [32]byte {
	whole := covered(draft)
	if gm3 {
		return gm.SM3(whole)
	}
	return sha256.Sum256(whole)
}

// pades signs with the document key, as profile pades.
func (p *paper) pades(doc []byte, certify int) []byte {
	p.t.Helper()
	draft := p.prepare(doc, "ETSI.CAdES.detached", certify)
	digest := hashOf(draft, false)
	if p.swap != nil {
		digest = sha256.Sum256(p.swap(covered(draft)))
	}
	d, err := cms.Prepare(cms.Request{Form: cms.RFC, Algorithm: cms.ECDSAP256, Certificate: p.cert, Digest: digest, SigningCertificateV2: true})
	if err != nil {
		p.t.Fatal(err)
	}
	e := sha256.Sum256(d.Attributes())
	value := p.must(ecdsa.SignASN1(rand.Reader, p.key, e[:]))
	var token []byte
	if p.stamp != nil {
		token = p.stamp(value)
	}
	out := p.must(draft.Embed(p.must(d.Assemble(value, token))))
	if p.swap != nil {
		out = p.swap(out)
	}
	return out
}

// gm signs with the seal key, as profile gm.
func (p *paper) gm(doc []byte) []byte {
	p.t.Helper()
	draft := p.prepare(doc, "adbe.pkcs7.detached", 0)
	d, err := cms.Prepare(cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: p.signer.der, Digest: hashOf(draft, true), SigningTime: p.at})
	if err != nil {
		p.t.Fatal(err)
	}
	value := p.must(p.signer.key.Sign(d.Attributes()))
	return p.must(draft.Embed(p.must(d.Assemble(value, p.stamp(value)))))
}

func (p *paper) judged(doc []byte) verify.Report {
	p.t.Helper()
	return verify.Document(p.t.Context(), p.name, doc, p.opts)
}

var (
	startXRef = regexp.MustCompile(`startxref\s+(\d+)`)
	sizeOf    = regexp.MustCompile(`/Size (\d+)`)
	rootOf    = regexp.MustCompile(`/Root (\d+) 0 R`)
)

func lastMatch(re *regexp.Regexp, b []byte) int {
	all := re.FindAllSubmatch(b, -1)
	n, _ := strconv.Atoi(string(all[len(all)-1][1]))
	return n
}

// revise appends a revision that writes objects anew; its trailer keeps the catalog.
func revise(doc []byte, objects map[int]string) []byte {
	out := append(bytes.Clone(doc), '\n')
	size, root, prev := lastMatch(sizeOf, doc), lastMatch(rootOf, doc), lastMatch(startXRef, doc)
	var numbers []int
	for n := range objects {
		numbers = append(numbers, n)
		size = max(size, n+1)
	}
	slices.Sort(numbers)
	var table strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&table, "%d 1\n%010d 00000 n \n", n, len(out))
		out = append(out, fmt.Sprintf("%d 0 obj\n%s\nendobj\n", n, objects[n])...)
	}
	at := len(out)
	return append(out, fmt.Sprintf("xref\n%strailer\n<< /Size %d /Root %d 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n", table.String(), size, root, prev, at)...)
}

// object is the newest body of an object that stands outside object streams.
func object(t testing.TB, doc []byte, n int) string {
	t.Helper()
	start := bytes.LastIndex(doc, fmt.Appendf(nil, "\n%d 0 obj", n))
	if start < 0 {
		t.Fatalf("no object %d", n)
	}
	body := doc[start+len(fmt.Sprintf("\n%d 0 obj", n)):]
	return strings.TrimSpace(string(body[:bytes.Index(body, []byte("endobj"))]))
}

func stream(content string) string {
	return fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content)
}

const (
	catalogObject, pageObject, contentObject = 1, 4, 5 // of pdfgen's documents
)

// with adds an entry to a dictionary.
func with(t testing.TB, body, entry string) string {
	t.Helper()
	key, _, _ := strings.Cut(entry, " ")
	if strings.Contains(body, key+" ") {
		t.Fatalf("%s stands already in %s", key, body)
	}
	i := strings.LastIndex(body, ">>")
	return body[:i] + entry + " " + body[i:]
}

// TestSoundPDF: what either profile makes is valid, alone, stamped, certified and followed by another signature.
func TestSoundPDF(t *testing.T) {
	plain := pdfgen.Document("contract", 2)
	for name, c := range map[string]struct {
		make func(*paper) []byte
		n    int
	}{
		"pades":                     {func(p *paper) []byte { return p.pades(plain, 0) }, 1},
		"pades without time stamp":  {func(p *paper) []byte { p.stamp = nil; return p.pades(plain, 0) }, 1},
		"gm":                        {func(p *paper) []byte { return p.gm(plain) }, 1},
		"both":                      {func(p *paper) []byte { return p.gm(p.pades(plain, 0)) }, 2},
		"certified, no changes":     {func(p *paper) []byte { return p.pades(plain, 1) }, 1},
		"certified, signed further": {func(p *paper) []byte { return p.gm(p.pades(plain, 2)) }, 2},
		"a line end behind":         {func(p *paper) []byte { return append(p.pades(plain, 0), '\n') }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaper(t)
			r := p.judged(c.make(p))
			if r.Verdict != verify.Valid || len(r.Signatures) != c.n || r.Kind != verify.KindPDF || len(r.Findings) != 0 {
				t.Fatal(r.Text(verify.English))
			}
			for _, s := range r.Signatures {
				if s.Generation != "pdf" || s.Type != "sign" || s.SignedAt != "2026-02-10T00:00:00Z" {
					t.Errorf("%+v", s)
				}
			}
			if result, _ := resultOf(r, verify.CodeCoverage); result != verify.Pass && !(c.n == 2 && result == verify.Note) {
				t.Errorf("coverage is %s", result)
			}
		})
	}
}

// TestTamperedPDF: every shape of the published attacks, made from our own signed documents, has its name.
func TestTamperedPDF(t *testing.T) {
	plain := pdfgen.Document("contract", 2)
	signature := regexp.MustCompile(`/ByteRange ?\[[^\]]*\]`)
	contents := regexp.MustCompile(`/Contents ?<[0-9A-Fa-f]+>`)
	replace := func(re *regexp.Regexp, to func(string) string) func(*paper, []byte) []byte {
		return func(p *paper, b []byte) []byte {
			at := re.FindAllIndex(b, -1)
			if len(at) == 0 {
				p.t.Fatalf("%s is not there", re)
			}
			last := at[len(at)-1]
			return slices.Concat(b[:last[0]], []byte(to(string(b[last[0]:last[1]]))), b[last[1]:])
		}
	}
	same := func(from, to string) func(*paper, []byte) []byte {
		return func(p *paper, b []byte) []byte {
			if len(from) != len(to) || !bytes.Contains(b, []byte(from)) {
				p.t.Fatalf("%q is not there", from)
			}
			return bytes.Replace(b, []byte(from), []byte(to), 1)
		}
	}
	numbers := func(to func(n [4]int) string) func(*paper, []byte) []byte {
		return replace(signature, func(s string) string {
			var n [4]int
			if _, err := fmt.Sscanf(s[strings.Index(s, "["):], "[%d %d %d %d", &n[0], &n[1], &n[2], &n[3]); err != nil {
				t.Fatal(err)
			}
			out := "/ByteRange [" + to(n) + "]"
			return out + strings.Repeat(" ", max(0, len(s)-len(out)))
		})
	}
	page := func(p *paper, b []byte) string { return object(p.t, b, pageObject) }
	note := func(p *paper, b []byte) []byte {
		annots := regexp.MustCompile(`/Annots ?\[`).ReplaceAllString(page(p, b), "/Annots [90 0 R ")
		if !strings.Contains(annots, "90 0 R") {
			p.t.Fatal("the page has no annotations")
		}
		return revise(b, map[int]string{pageObject: annots, 90: "<< /Type /Annot /Subtype /FreeText /Rect [0 0 500 500] /Contents (other) /DA (/Helv 12 Tf) >>"})
	}
	for name, c := range map[string]struct {
		certify int
		tamper  func(*paper, []byte) []byte
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		"a byte of the page":      {0, same("page 1 of 2", "page 7 of 2"), verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"ISA: the page's content": {0, func(_ *paper, b []byte) []byte { return revise(b, map[int]string{contentObject: stream("BT ET")}) }, verify.CodeReferences, verify.Fail, verify.Invalid},
		"ISA: the catalog": {0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{catalogObject: with(p.t, object(p.t, b, catalogObject), "/OpenAction 90 0 R"), 90: "<< /S /JavaScript /JS (x) >>"})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"ISA: a page added": {0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{2: "<< /Type /Pages /Count 3 /Kids [4 0 R 6 0 R 90 0 R] >>", 90: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"ISA: a font": {0, func(_ *paper, b []byte) []byte {
			return revise(b, map[int]string{3: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"ISA: without cross-reference": {0, func(_ *paper, b []byte) []byte {
			return append(bytes.Clone(b), "\n5 0 obj\n<< /Length 5 >>\nstream\nBT ET\nendstream\nendobj\n"...)
		}, "pdf-trailing-bytes", verify.Fail, verify.Invalid},
		"ISA: with a second %%EOF": {0, func(_ *paper, b []byte) []byte {
			return append(bytes.Clone(b), "\n5 0 obj\n<< /Length 5 >>\nstream\nBT ET\nendstream\nendobj\n%%EOF\n"...)
		}, "pdf-startxref", verify.Fail, verify.Invalid},
		"nothing shown is changed":    {0, func(_ *paper, b []byte) []byte { return revise(b, map[int]string{90: "<< /A 1 >>"}) }, verify.CodeCoverage, verify.Note, verify.Valid},
		"an annotation over the page": {0, note, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"an annotation, certified":    {2, note, verify.CodeReferences, verify.Fail, verify.Invalid},
		"an annotation, allowed":      {3, note, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"evidence for the long term": {1, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{catalogObject: with(p.t, object(p.t, b, catalogObject), "/DSS 90 0 R"), 90: "<< /Certs [] >>"})
		}, verify.CodeCoverage, verify.Note, verify.Valid},
		"SWA: the range moved":    {0, numbers(func(n [4]int) string { return fmt.Sprintf("%d %d %d %d", n[0], n[1], n[2]-100, n[3]+100) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"SWA: the gap holds more": {0, numbers(func(n [4]int) string { return fmt.Sprintf("%d %d %d %d", n[0], n[1]-10, n[2], n[3]) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"a range that overlaps":   {0, numbers(func(n [4]int) string { return fmt.Sprintf("%d %d %d %d", n[0], n[1]+n[1], n[2], n[3]) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"a range that ends early": {0, numbers(func(n [4]int) string { return fmt.Sprintf("%d %d %d %d", n[0], n[1], n[2], n[3]-50) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"a range behind the end":  {0, numbers(func(n [4]int) string { return fmt.Sprintf("%d %d %d %d", n[0], n[1], n[2], n[3]+1) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"a range from 1":          {0, numbers(func(n [4]int) string { return fmt.Sprintf("1 %d %d %d", n[1]-1, n[2], n[3]) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"a negative range":        {0, numbers(func(n [4]int) string { return fmt.Sprintf("-1 %d %d %d", n[1], n[2], n[3]) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: no range":           {0, same("/ByteRange", "/XyteRange"), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: an empty range":     {0, numbers(func([4]int) string { return "" }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: a range of null":    {0, replace(signature, func(s string) string { return "/ByteRange null" + strings.Repeat(" ", len(s)-len("/ByteRange null")) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: no contents":        {0, replace(contents, func(s string) string { return strings.Replace(s, "Contents", "Xontents", 1) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: contents of null":   {0, replace(contents, func(s string) string { return "/Contents null" + strings.Repeat(" ", len(s)-len("/Contents null")) }), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: contents of zeros": {0, replace(contents, func(s string) string {
			i := strings.Index(s, "<")
			return s[:i+1] + strings.Repeat("0", len(s)-i-2) + ">"
		}), verify.CodeReferences, verify.Fail, verify.Invalid},
		"USF: contents of one byte": {0, replace(contents, func(s string) string {
			i := strings.Index(s, "<")
			return s[:i+1] + "01" + strings.Repeat("0", len(s)-i-4) + ">"
		}), verify.CodeStructure, verify.Fail, verify.Invalid},
		"the signature removed": {0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{catalogObject: "<< /Type /Catalog /Pages 2 0 R >>"})
		}, "unsigned", verify.Indeterminate, verify.IndeterminateResult},
		"nothing signed": {0, func(*paper, []byte) []byte { return plain }, "unsigned", verify.Indeterminate, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaper(t)
			r := p.judged(c.tamper(p, p.pades(plain, c.certify)))
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != c.verdict {
				t.Errorf("%s is %q and the verdict %s, want %q and %s\n%s", c.code, got, r.Verdict, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}

// TestShadowPDF: content that lies ready in the signed revision and is turned to afterwards.
func TestShadowPDF(t *testing.T) {
	p := newPaper(t)
	prepared := revise(pdfgen.Document("contract", 1), map[int]string{90: stream("BT /F1 40 Tf 60 400 Td (other) Tj ET")})
	sealed := p.pades(prepared, 0)
	if r := p.judged(sealed); r.Verdict != verify.Valid {
		t.Fatal(r.Text(verify.English))
	}
	for name, doc := range map[string][]byte{
		"replace": revise(sealed, map[int]string{pageObject: strings.Replace(object(t, sealed, pageObject), "/Contents 5 0 R", "/Contents 90 0 R", 1)}),
		"hide":    revise(sealed, map[int]string{pageObject: strings.Replace(object(t, sealed, pageObject), "/Contents 5 0 R", "/Contents []", 1)}),
	} {
		r := p.judged(doc)
		if result, _ := resultOf(r, verify.CodeReferences); result != verify.Fail || r.Verdict != verify.Invalid {
			t.Errorf("%s: %s", name, r.Text(verify.English))
		}
	}
	// Only the cross-reference is new: object 5 is now where object 90's bytes stood, under its own number.
	hidden := append(bytes.Clone(pdfgen.Document("contract", 1)), "\n5 0 obj\n<< /Length 5 >>\nstream\nBT ET\nendstream\nendobj\n"...)
	r := p.judged(p.pades(revise(hidden, map[int]string{90: "null"}), 0))
	if result, _ := resultOf(r, "pdf-unlisted-bytes"); result != verify.Note {
		t.Errorf("%s", r.Text(verify.English))
	}
}

// TestDocumentTimeStamp: a stamp over the document is judged, and is no signature of anybody.
func TestDocumentTimeStamp(t *testing.T) {
	p := newPaper(t)
	stampOf := func(doc []byte, change bool) []byte {
		draft := p.prepareAt(doc, "ETSI.RFC3161", 0)
		whole := covered(draft)
		if change {
			whole = whole[1:]
		}
		return p.must(draft.Embed(stamper(t, p.tsa, p.at.Add(time.Hour))(whole)))
	}
	plain := pdfgen.Document("contract", 1)
	for name, c := range map[string]struct {
		doc     []byte
		result  verify.Result
		verdict verify.Verdict
	}{
		"over a signed document": {stampOf(p.pades(plain, 0), false), verify.Pass, verify.Valid},
		"over another":           {stampOf(p.pades(plain, 0), true), verify.Fail, verify.Invalid},
		"over nothing signed":    {stampOf(plain, false), verify.Pass, verify.IndeterminateResult},
	} {
		r := p.judged(c.doc)
		last := r.Signatures[len(r.Signatures)-1]
		got := verify.Result("")
		for _, check := range last.Checks {
			if check.Code == verify.CodeTimestamp {
				got = check.Result
			}
		}
		if last.Verdicts.SealOffline != verify.NotApplicable || last.Verdicts.SealStatus != verify.NotApplicable || last.Type != "timestamp" || got != c.result || r.Verdict != c.verdict {
			t.Errorf("%s: %s", name, r.Text(verify.English))
		}
	}
}

// TestSealInPDF: some platforms put a whole SES_Signature into Contents.
func TestSealInPDF(t *testing.T) {
	p := newPaper(t)
	draft := p.prepare(pdfgen.Document("contract", 1), "SES", 0)
	sealed := p.must(draft.Embed(p.sign(t, p.seal(t), covered(draft))))
	r := p.judged(sealed)
	if s := r.Signatures[0]; r.Verdict != verify.Valid || s.Type != "seal" || s.ESID != p.info.ESID {
		t.Error(r.Text(verify.English))
	}
	r = p.judged(bytes.Replace(sealed, []byte("page 1 of 1"), []byte("page 2 of 1"), 1))
	if result, _ := resultOf(r, verify.CodeDocumentDigest); result != verify.Fail || r.Verdict != verify.Invalid {
		t.Error(r.Text(verify.English))
	}
}

// TestPdfsigAgrees: poppler and we say the same of the same files.
func TestPdfsigAgrees(t *testing.T) {
	program, err := exec.LookPath("pdfsig")
	if err != nil {
		t.Skipf("SKIPPED, nothing was compared: %v (make deps installs poppler-utils)", err)
	}
	p := newPaper(t)
	p.stamp = nil // poppler looks for other anchors of stamps than ours
	sealed := p.pades(pdfgen.Document("contract", 1), 0)
	changed := bytes.Replace(sealed, []byte("page 1 of 1"), []byte("page 2 of 1"), 1)
	for name, c := range map[string]struct {
		doc  []byte
		says string
		ours verify.Verdict
	}{
		"as signed": {sealed, "Signature is Valid", verify.Valid},
		"changed":   {changed, "Digest Mismatch", verify.Invalid},
	} {
		path := filepath.Join(t.TempDir(), "x.pdf")
		if err := os.WriteFile(path, c.doc, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.CommandContext(t.Context(), program, "-nocert", path).CombinedOutput()
		if r := p.judged(c.doc); !strings.Contains(string(out), c.says) || r.Verdict != c.ours {
			t.Errorf("%s: pdfsig says\n%s\nwe say\n%s", name, out, r.Text(verify.English))
		}
	}
}
