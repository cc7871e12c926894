// Package pdfgen writes plain PDF documents for demos and tests.
//
// Its one promise: the same arguments give the same bytes. Every page says DEMO in its heading.
//
// Limits: A4 portrait, Latin text in Helvetica, which every reader has; no pictures, no signatures, one cross-reference table.
package pdfgen

import (
	"bytes"
	"fmt"
	"strings"
)

// PageWidth and PageHeight are the size of every page in millimetres.
const (
	PageWidth  = 210
	PageHeight = 297
)

// SealHere stands on the last page, for placing a seal by keyword.
const SealHere = "Seal here"

// Document writes a document of the given number of pages, at least one, with lines of ASCII text on each.
func Document(title string, pages int, lines ...string) []byte {
	pages = max(pages, 1)
	d := &document{}
	kids := make([]string, pages)
	for i := range pages {
		kids[i] = fmt.Sprintf("%d 0 R", 4+2*i)
	}
	d.object("<< /Type /Catalog /Pages 2 0 R >>")
	d.object(fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] >>", pages, strings.Join(kids, " ")))
	d.object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
	for i := range pages {
		d.object(fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595.276 841.89] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>", 5+2*i))
		text := content(title, i+1, pages, lines)
		d.object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(text), text))
	}
	return d.bytes()
}

func content(title string, page, of int, lines []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "BT /F1 16 Tf 60 780 Td (DEMO - %s) Tj ET\n", escape(title))
	fmt.Fprintf(&b, "BT /F1 10 Tf 60 760 Td (page %d of %d) Tj ET\n", page, of)
	for i, l := range lines {
		fmt.Fprintf(&b, "BT /F1 12 Tf 60 %d Td (%s) Tj ET\n", 720-20*i, escape(l))
	}
	if page == of {
		fmt.Fprintf(&b, "BT /F1 12 Tf 340 220 Td (%s) Tj ET\n", SealHere)
	}
	return b.String()
}

func escape(s string) string { return strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(s) }

// document collects objects in the order of their numbers.
type document struct{ objects []string }

func (d *document) object(body string) { d.objects = append(d.objects, body) }

func (d *document) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	offsets := make([]int, len(d.objects))
	for i, body := range d.objects {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, body)
	}
	at := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, at)
	return b.Bytes()
}
