package pdf_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sealkeeper/signer/verify/pdf"
	"sealkeeper/softhsm-test/pdfgen"
)

// file writes objects 1 to n with a table; trailer is what follows /Root, HERE in it the place of the table.
func file(trailer string, objects ...string) []byte {
	b := []byte("%PDF-1.7\n")
	table := "0000000000 65535 f \n"
	for i, o := range objects {
		table += fmt.Sprintf("%010d 00000 n \n", len(b))
		b = append(b, fmt.Sprintf("%d 0 obj\n%s\nendobj\n", i+1, o)...)
	}
	return append(b, fmt.Sprintf("xref\n0 %d\n%strailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, table, len(objects)+1,
		strings.ReplaceAll(trailer, "HERE", fmt.Sprint(len(b))), len(b))...)
}

const (
	catalog = "<< /Type /Catalog /Pages 2 0 R >>"
	pages   = "<< /Type /Pages /Count 0 /Kids [] >>"
)

// TestRefusals: what two readers could understand differently is refused by name.
func TestRefusals(t *testing.T) {
	good := file("", catalog, pages)
	replace := func(from, to string) []byte {
		if !bytes.Contains(good, []byte(from)) {
			t.Fatalf("%q is not there", from)
		}
		return bytes.Replace(good, []byte(from), []byte(to), 1)
	}
	form := func(fields string, more ...string) []byte {
		return file("", append([]string{"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [" + fields + "] >> >>", pages}, more...)...)
	}
	for name, c := range map[string]struct {
		b           []byte
		code        string
		unsupported bool
	}{
		"empty":                         {nil, "pdf-header", false},
		"bytes before the header":       {append([]byte("x\n"), good...), "pdf-header", false},
		"a version of letters":          {replace("%PDF-1.7", "%PDF-x.7"), "pdf-header", false},
		"no end":                        {replace("%%EOF", "%%EOX"), "pdf-eof", false},
		"bytes behind the end":          {append(bytes.Clone(good), "x"...), "pdf-trailing-bytes", false},
		"no startxref":                  {replace("startxref", "startxxxx"), "pdf-startxref", false},
		"startxref of letters":          {replace("startxref\n", "startxref\nx"), "pdf-startxref", false},
		"a table that is not there":     {replace("xref\n0 3", "xrxf\n0 3"), "pdf-object", false},
		"one object listed twice":       {replace("xref\n0 3\n", "xref\n1 1\n0000000001 00000 n \n0 3\n"), "pdf-xref-duplicate", false},
		"more entries than bytes":       {replace("xref\n0 3\n", "xref\n0 900000\n"), "pdf-xref", false},
		"one object in two places":      {hybrid(15), "pdf-xref-duplicate", false},
		"a section before itself":       {file("/Prev HERE", catalog, pages), "pdf-xref-loop", false},
		"a key twice":                   {file("", "<< /Type /Catalog /Pages 2 0 R /Pages 3 0 R >>", pages), "pdf-duplicate-key", false},
		"encrypted":                     {file("/Encrypt 2 0 R", catalog, pages), "pdf-encrypted", true},
		"no catalog":                    {file("", "[]", pages), "pdf-catalog", false},
		"another object than listed":    {replace("1 0 obj", "7 0 obj"), "pdf-object", false},
		"nested too deep":               {file("", "<< /Type /Catalog /AcroForm "+strings.Repeat("[", 200)+strings.Repeat("]", 200)+" >>", pages), "pdf-depth", false},
		"a form that leads to itself":   {form("3 0 R", "<< /T (a) /Kids [3 0 R] >>"), "pdf-form-loop", false},
		"a form too deep":               {form(deepForm()), "pdf-limits", true},
		"a stream of another length":    {form("3 0 R", "<< /Length 99 >>\nstream\nx\nendstream"), "pdf-stream", false},
		"a stream of another file":      {form("3 0 R", "<< /Length 1 /F (x) >>\nstream\nx\nendstream"), "pdf-external", false},
		"a reference to itself":         {form("3 0 R", "3 0 R"), "pdf-loop", false},
		"an object stream that is none": {xrefStream("/Type /ObjX", 0), "pdf-object-stream", false},
		"a filter that is not read":     {xrefStream("/Type /ObjStm /N 1 /First 4 /Filter /LZWDecode", 0), "pdf-filter", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := everything(t.Context(), c.b)
			var r *pdf.Refusal
			if !errors.As(err, &r) || r.Code != c.code || r.Unsupported != c.unsupported {
				t.Errorf("%v, want %s", err, c.code)
			}
		})
	}
	if err := everything(t.Context(), good); err != nil {
		t.Errorf("the file without a fault: %v", err)
	}
}

// deepForm is fields within fields, all of them direct.
func deepForm() string {
	return strings.Repeat("<< /T (a) /Kids [", 40) + strings.Repeat("] >>", 40)
}

// xrefStream is a file whose catalog lies in object stream 2, which has the given dictionary.
func xrefStream(dict string, index byte) []byte {
	b := []byte("%PDF-1.7\n")
	at2 := len(b)
	content := "1 0 << /Type /Catalog /Pages 9 0 R >>"
	b = append(b, fmt.Sprintf("2 0 obj\n<< %s /Length %d >>\nstream\n%s\nendstream\nendobj\n", dict, len(content), content)...)
	at3 := len(b)
	row := func(kind, at, third byte) []byte { return []byte{kind, at, third} }
	rows := bytes.Join([][]byte{row(0, 0, 0), row(2, 2, index), row(1, byte(at2), 0), row(1, byte(at3), 0)}, nil)
	return append(b, fmt.Sprintf("3 0 obj\n<< /Type /XRef /Size 4 /W [1 1 1] /Root 1 0 R /Length %d >>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", len(rows), rows, at3)...)
}

// hybrid is a file whose table says that object 2 stands at a byte, or with 0 that it is free, and whose stream beside it knows where it is.
func hybrid(listed int) []byte {
	b := []byte("%PDF-1.7\n")
	b = append(b, "1 0 obj\n"+catalog+"\nendobj\n"...)
	at2 := len(b)
	b = append(b, "2 0 obj\n"+pages+"\nendobj\n"...)
	at3, rows := len(b), []byte{1, byte(at2), 0}
	b = append(b, fmt.Sprintf("3 0 obj\n<< /Type /XRef /Size 4 /W [1 1 1] /Index [2 1] /Length %d >>\nstream\n%s\nendstream\nendobj\n", len(rows), rows)...)
	kind := "n"
	if listed == 0 {
		kind = "f"
	}
	return append(b, fmt.Sprintf("xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n%010d 00000 %s \ntrailer\n<< /Size 4 /Root 1 0 R /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n",
		listed, kind, at3, len(b))...)
}

// TestHybrid: what the table of a hybrid file hides is found in the stream beside it.
func TestHybrid(t *testing.T) {
	d, err := pdf.Open(t.Context(), hybrid(0))
	if err != nil {
		t.Fatal(err)
	}
	if gaps, err := d.Layout(); err != nil || len(gaps) > 0 {
		t.Errorf("bytes that belong to nothing: %v, %v", gaps, err)
	}
}

// TestObjectStreams: the catalog is found in an object stream, and only at the place that is listed.
func TestObjectStreams(t *testing.T) {
	good := "/Type /ObjStm /N 1 /First 4"
	if err := everything(t.Context(), xrefStream(good, 0)); err != nil {
		t.Error(err)
	}
	var r *pdf.Refusal
	if err := everything(t.Context(), xrefStream(good, 1)); !errors.As(err, &r) || r.Code != "pdf-object-stream" {
		t.Errorf("another place: %v", err)
	}
}

// TestInterrupted: a caller that gave up is not kept waiting.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := pdfgen.Document("x", 2000)
	if err := everything(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := everything(t.Context(), b); err != nil {
		t.Errorf("the same document, uninterrupted: %v", err)
	}
}
