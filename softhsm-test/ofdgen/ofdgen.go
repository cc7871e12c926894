// Package ofdgen writes plain documents in OFD (GB/T 33190) for demos and tests.
//
// Its one promise: the same arguments give the same document, and under one Go
// release the same bytes; no clock and no map order takes part. Every page says
// 演示数据 in its heading and in a pale watermark.
//
// Limits: A4 portrait, one font for headings and one for text, both named and
// not embedded, no pictures and no signatures. It writes only well-made
// documents.
package ofdgen

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// PageWidth and PageHeight are the size of every page in millimetres.
const (
	PageWidth  = 210
	PageHeight = 297
)

// Places kept free of text on the last page, beside the words that ask for the
// seals: the top left corner of a legal-name seal of 40 × 40 mm and that of a
// legal representative's seal of 20 × 20 mm, in millimetres.
const (
	NameSealX, NameSealY     = 62, 218
	PersonSealX, PersonSealY = 148, 228
)

// Document writes a document of at least the given number of pages (one if it
// is less). Each of lines is a paragraph; they are wrapped and spread evenly,
// and pages are added when they need more room. Without lines every page holds
// sample text. The last page has room for two seals.
func Document(title string, pages int, lines ...string) []byte {
	d := document{title: title, id: identify(title, pages, lines)}
	for i, body := range layOut(max(pages, 1), lines) {
		d.addPage(i, body)
	}
	for i := range d.pages {
		d.finishPage(i)
	}
	return d.zip()
}

// identify gives the DocID: 32 hexadecimal digits over all arguments.
func identify(title string, pages int, lines []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "ofdgen/1\x00%q\x00%d\x00%q", title, pages, lines))
	return fmt.Sprintf("%x", sum[:16])
}

// part is one file of the package.
type part struct{ name, content string }

// zip packs the parts, OFD.xml first, each with the same fixed time.
func (d *document) zip() []byte {
	parts := []part{
		{"OFD.xml", d.root()},
		{"Doc_0/Document.xml", d.body()},
		{"Doc_0/PublicRes.xml", publicRes},
		{"Doc_0/DocumentRes.xml", documentRes},
	}
	for i, p := range d.pages {
		parts = append(parts, part{fmt.Sprintf("Doc_0/Pages/Page_%d/Content.xml", i), p.content()})
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, p := range parts {
		f, err := w.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Deflate, Modified: created})
		if err == nil {
			_, err = f.Write([]byte(p.content))
		}
		must(err)
	}
	must(w.Close())
	return out.Bytes()
}

// created is the time of every document, so that bytes do not depend on when
// they were made.
var created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// must stops on an error of writing into memory, which cannot happen: names are
// short and a bytes.Buffer grows or ends the program.
func must(err error) {
	if err != nil {
		panic("ofdgen: writing into memory: " + err.Error())
	}
}

// wrap breaks one paragraph: the first line is indented by two characters, and
// a closing mark never begins a line but hangs into the margin.
func wrap(paragraph string) []textLine {
	var out []textLine
	line, width, indent := strings.Builder{}, 0.0, 2.0 // widths in full-width characters
	flush := func() {
		out = append(out, textLine{line.String(), indent})
		line.Reset()
		width, indent = 0, 0
	}
	for _, r := range paragraph {
		w := advance(r)
		if width+indent+w > charsPerLine && !strings.ContainsRune("，。；：、！？）》」』”’…", r) {
			flush()
		}
		line.WriteRune(r)
		width += w
	}
	flush()
	return out
}

// textLine is one line of text, indented by a number of full-width characters.
type textLine struct {
	text   string
	indent float64
}

// advance is the width of a character in full-width characters.
func advance(r rune) float64 {
	if r < 0x2000 && r != '·' && r != '×' {
		return 0.5
	}
	return 1
}

// layOut gives the lines of each page.
func layOut(pages int, paragraphs []string) [][]textLine {
	if len(paragraphs) == 0 {
		paragraphs = sampleText(pages)
	}
	share := (len(paragraphs) + pages - 1) / pages
	var out [][]textLine
	for range pages {
		n := min(share, len(paragraphs))
		var page []textLine
		for _, p := range paragraphs[:n] {
			page = append(page, wrap(p)...)
		}
		paragraphs = paragraphs[n:]
		for len(page) > linesPerPage {
			out, page = append(out, page[:linesPerPage]), page[linesPerPage:]
		}
		out = append(out, page)
	}
	return out
}
