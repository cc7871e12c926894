// Package paper writes the papers that the bureau issues (电子营业执照, 电子印章制作证书, 电子印章注销证书) as OFD pages (GB/T 33190).
//
// Its one promise: a paper's bytes follow from its facts alone, under one release of the compressor. No clock and no map order takes part.
//
//	facts ─► sheets of labels, text and lines ─► OFD package, Place of the seal on each page ─► sealed elsewhere
//
// Text is text: every character can be searched and copied. Fonts are named, none is embedded, so a reader shows its own. What is drawn are
// straight lines and the modules of a QR code; no impression and no picture of one is among them (law 5).
//
// Limits: the national layout in spirit, without the national emblem. Of a code that is made up, every page says 演示数据.
package paper

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
)

// Paper is a finished document without its seal.
type Paper struct {
	OFD    []byte
	Places []Place // where the issuer's seal belongs, one on each page
}

// Place is the centre of a seal's picture, in millimetres from the page's top left corner.
type Place struct {
	Page int // from 1
	X, Y float64
}

// document collects sheets while it counts identifiers.
type document struct {
	title     string
	id        string
	created   string // a date of the facts
	synthetic bool
	sheets    []*sheet
	code      modules // the last QR code
	lastID    int
}

// newDocument names the document by its facts.
func newDocument(kind, title, created string, synthetic bool, facts any) (*document, error) {
	b, err := json.Marshal(facts)
	if err != nil {
		return nil, fmt.Errorf("naming the paper: %w", err)
	}
	sum := gm.SM3([]byte("sealkeeper-paper-1\n"+kind+"\n"), b)
	return &document{title: title, id: hex.EncodeToString(sum[:16]), created: created, synthetic: synthetic, lastID: lastShared}, nil
}

func (d *document) newID() int {
	d.lastID++
	return d.lastID
}

// packed is the time of every file in the package: bytes do not depend on when they were made.
var packed = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ofd packs the sheets.
func (d *document) ofd() ([]byte, error) {
	parts := []struct{ name, content string }{
		{"OFD.xml", d.root()}, {"Doc_0/Document.xml", d.body()}, {"Doc_0/PublicRes.xml", publicRes}, {"Doc_0/DocumentRes.xml", documentRes},
	}
	for i, s := range d.sheets {
		parts = append(parts, struct{ name, content string }{fmt.Sprintf("Doc_0/Pages/Page_%d/Content.xml", i), s.content()})
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, p := range parts {
		f, err := w.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Deflate, Modified: packed})
		if err == nil {
			_, err = f.Write([]byte(p.content))
		}
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", p.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing the paper: %w", err)
	}
	return out.Bytes(), nil
}
