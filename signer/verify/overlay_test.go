package verify_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/pdfgen"
)

// over paints the whole page anew: a form of this appearance.
const over = "<< /Type /XObject /Subtype /Form /BBox [0 0 600 800] /Length 23 >>\nstream\n1 g 0 0 600 800 re f   \nendstream"

// put adds references to an array of an object's newest body.
func put(t testing.TB, doc []byte, n int, array, refs string) string {
	t.Helper()
	body := object(t, doc, n)
	for _, form := range []string{"/" + array + " [", "/" + array + "["} {
		if i := strings.Index(body, form); i >= 0 {
			return body[:i+len(form)] + refs + " " + body[i+len(form):]
		}
	}
	return with(t, body, "/"+array+" ["+refs+"]")
}

// valueOf is the reference to the value of the first field that is signed.
func valueOf(t testing.TB, doc []byte) string {
	t.Helper()
	m := regexp.MustCompile(`/V (\d+ 0 R)`).FindSubmatch(doc)
	if m == nil {
		t.Fatal("no field is signed")
	}
	return string(m[1])
}

// TestOverlaidPDF: what may follow a signature is no pretext for showing something else.
func TestOverlaidPDF(t *testing.T) {
	field := func(p *paper, b []byte, objects map[int]string) []byte { // a field 90 of the form, shown on the page as 91
		objects[catalogObject], objects[pageObject] = put(p.t, b, catalogObject, "Fields", "90 0 R"), put(p.t, b, pageObject, "Annots", "91 0 R")
		return revise(b, objects)
	}
	const widget = "<< /Type /Annot /Subtype /Widget /Parent 90 0 R /F 4 /Rect [0 0 600 800] "
	plain := pdfgen.Document("contract", 1)
	prepared := func(objects map[int]string) []byte { return revise(plain, objects) }
	twoStreams := func() []byte {
		return prepared(map[int]string{pageObject: strings.Replace(object(t, plain, pageObject), "/Contents 5 0 R", "/Contents [5 0 R 80 0 R]", 1), 80: stream("q Q")})
	}
	stamped := func(p *paper, b []byte) []byte {
		allows, forbids := []byte("/P 3"), []byte("/P 1") // our writer keeps to a certification; whoever overlays does not
		draft := p.prepare(bytes.Replace(b, forbids, allows, 1), "ETSI.RFC3161", 0)
		token := stamper(p.t, p.tsa, p.at.Add(time.Hour))(bytes.Replace(covered(draft), allows, forbids, 1))
		return bytes.Replace(p.must(draft.Embed(token)), allows, forbids, 1)
	}
	for name, c := range map[string]struct {
		doc     []byte
		certify int
		tamper  func(*paper, []byte) []byte
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		"a field that signs nothing, shown by its kid": {plain, 0, func(p *paper, b []byte) []byte {
			return field(p, b, map[int]string{90: "<< /FT /Sig /T (x) /Kids [91 0 R] >>", 91: widget + "/AP << /N 92 0 R >> >>", 92: over})
		}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"a field that shows another's signature": {plain, 0, func(p *paper, b []byte) []byte {
			return field(p, b, map[int]string{90: "<< /FT /Sig /T (x) /Kids [91 0 R] /V " + valueOf(p.t, b) + " >>", 91: widget + "/AP << /N 92 0 R >> >>", 92: over})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a field that shows another's signature, certified": {plain, 2, func(p *paper, b []byte) []byte {
			return field(p, b, map[int]string{90: "<< /FT /Sig /T (x) /Kids [91 0 R] /V " + valueOf(p.t, b) + " >>", 91: widget + "/AP << /N 92 0 R >> >>", 92: over})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a field that signs nothing, shown by a stream": {plain, 0, func(p *paper, b []byte) []byte {
			return field(p, b, map[int]string{90: "<< /FT /Sig /T (x) /Kids [91 0 R] >>", 92: over,
				91: strings.Replace(widget, "/F 4 ", "", 1) + "/AP << /N 92 0 R >> /Length 1 >>\nstream\nx\nendstream"})
		}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"an annotation that is a stream": {plain, 0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{pageObject: put(p.t, b, pageObject, "Annots", "90 0 R"), 92: over,
				90: "<< /Type /Annot /Subtype /Stamp /Rect [0 0 600 800] /AP << /N 92 0 R >> /Length 1 >>\nstream\nx\nendstream"})
		}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"an annotation that is a stream, certified": {plain, 2, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{pageObject: put(p.t, b, pageObject, "Annots", "90 0 R"), 92: over,
				90: "<< /Type /Annot /Subtype /Stamp /Rect [0 0 600 800] /AP << /N 92 0 R >> /Length 1 >>\nstream\nx\nendstream"})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"forms drawn anew, by a reference": {plain, 0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{catalogObject: strings.Replace(object(p.t, b, catalogObject), "/AcroForm <<", "/AcroForm << /NeedAppearances 90 0 R", 1), 90: "true"})
		}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"a default appearance for the form, certified": {plain, 1, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{catalogObject: strings.Replace(object(p.t, b, catalogObject), "/AcroForm <<", "/AcroForm << /DA (/Helv 12 Tf 1 g) ", 1)})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a time stamp that is shown":            {plain, 0, stamped, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"a time stamp that is shown, certified": {plain, 1, stamped, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a field with a script": {plain, 0, func(p *paper, b []byte) []byte {
			return field(p, b, map[int]string{90: "<< /FT /Sig /T (x) /Kids [91 0 R] /AA << /K 92 0 R >> >>", 91: strings.Replace(widget, "600 800", "0 0", 1) + ">>", 92: "<< /S /JavaScript /JS (x) >>"})
		}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
		"a reference to nothing": {twoStreams(), 0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{pageObject: strings.Replace(object(p.t, b, pageObject), "[5 0 R", "[300 0 R", 1)})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a page of another parent": {plain, 0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{pageObject: strings.Replace(object(p.t, b, pageObject), "/Parent 2 0 R", "/Parent 90 0 R", 1),
				90: "<< /Type /Pages /Count 1 /Kids [4 0 R] /Rotate 180 >>"})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"a page that becomes a node": {plain, 0, func(p *paper, b []byte) []byte {
			return revise(b, map[int]string{pageObject: with(p.t, object(p.t, b, pageObject), "/Kids []")})
		}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"shadow: the content is a field": {prepared(map[int]string{catalogObject: with(t, object(t, plain, catalogObject), "/AcroForm 80 0 R"), 80: "<< /Fields [5 0 R] >>"}), 0,
			func(_ *paper, b []byte) []byte { return revise(b, map[int]string{contentObject: stream("BT ET")}) }, verify.CodeReferences, verify.Fail, verify.Invalid},
		"shadow: the content is an annotation": {prepared(map[int]string{pageObject: put(t, plain, pageObject, "Annots", "5 0 R")}), 0,
			func(_ *paper, b []byte) []byte { return revise(b, map[int]string{contentObject: stream("BT ET")}) }, verify.CodeReferences, verify.Fail, verify.Invalid},
		"shadow: a picture is a field's value": {prepared(map[int]string{catalogObject: with(t, object(t, plain, catalogObject), "/AcroForm 80 0 R"), 80: "<< /Fields [81 0 R] >>",
			81: "<< /FT /Tx /T (a) /V 82 0 R >>", 82: over, pageObject: strings.Replace(object(t, plain, pageObject), "/Resources <<", "/Resources << /XObject 81 0 R", 1)}), 0,
			func(_ *paper, b []byte) []byte {
				return revise(b, map[int]string{81: "<< /FT /Tx /T (a) /V 300 0 R >>", 300: strings.Replace(over, "1 g", "0 g", 1)})
			}, verify.CodeReferences, verify.Fail, verify.Invalid},
		"shadow: a field shown anew without a new value": {prepared(map[int]string{catalogObject: with(t, object(t, plain, catalogObject), "/AcroForm 80 0 R"),
			80: "<< /Fields [81 0 R] >>", pageObject: put(t, plain, pageObject, "Annots", "81 0 R"), 81: "<< /FT /Tx /T (a) /V (100) /Subtype /Widget /Rect [0 0 600 800] >>"}), 0,
			func(p *paper, b []byte) []byte {
				return revise(b, map[int]string{81: with(p.t, object(p.t, b, 81), "/AP << /N 92 0 R >>"), 92: over})
			}, verify.CodeCoverage, verify.Indeterminate, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaper(t)
			sealed := p.pades(c.doc, c.certify)
			if r := p.judged(sealed); r.Verdict != verify.Valid {
				t.Fatalf("before it was changed: %s", r.Text(verify.English))
			}
			changed := c.tamper(p, sealed)
			if bytes.Equal(changed, sealed) {
				t.Fatal("nothing was changed")
			}
			r := p.judged(changed)
			got := verify.Result("")
			for _, check := range r.Signatures[0].Checks {
				if check.Code == c.code {
					got = check.Result
				}
			}
			if got != c.result || r.Verdict != c.verdict {
				t.Errorf("%s is %q and the verdict %s, want %q and %s\n%s", c.code, got, r.Verdict, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}
