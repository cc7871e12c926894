package ofd

import (
	"bytes"
	"math"
	"testing"
)

// FuzzFind feeds page content to the text reader and searches for a part of it.
func FuzzFind(f *testing.F) {
	f.Add([]byte(written(textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="g 2 5 6">请盖章处</ofd:TextCode>`))), "盖章")
	f.Add([]byte(written(textAt(`CTM="0 1 -1 0 3 4" HScale="2"`, `<ofd:TextCode DeltaY="5 5">abc</ofd:TextCode><ofd:TextCode X="9">d</ofd:TextCode>`))), "b")
	f.Add([]byte(`<Page><Template TemplateID="1" ZOrder="Foreground"/><Content><Layer><PageBlock/></Layer></Content></Page>`), " ")
	document := bytes.Replace([]byte(fixtureDocument), []byte("</ofd:CommonData>"), []byte(`<ofd:TemplatePage ID="1" BaseLoc="Pages/Page_1/Content.xml"/></ofd:CommonData>`), 1)
	f.Fuzz(func(t *testing.T, page []byte, text string) {
		doc := packed(t, file{"OFD.xml", fixtureOFD}, file{"Doc_0/Document.xml", string(document)}, file{"Doc_0/Pages/Page_0/Content.xml", string(page)},
			file{"Doc_0/Pages/Page_1/Content.xml", fixtureSmall})
		p, err := Open(doc, Limits{Glyphs: 10_000})
		if err != nil {
			return // FuzzXML has this
		}
		found, err := p.Find(text, 1)
		if err != nil && !isNamed(err) {
			t.Fatalf("unnamed refusal: %v", err)
		}
		for _, r := range found {
			if sum := r.X + r.Y + r.W + r.H; math.IsNaN(sum) || math.IsInf(sum, 0) || r.W < 0 || r.H < 0 {
				t.Fatalf("box %v", r)
			}
		}
	})
}

// FuzzEmbed feeds what may come back from where prepared packages are kept.
func FuzzEmbed(f *testing.F) {
	for _, change := range []func(*Request){func(*Request) {}, asSign, func(r *Request) { r.Integrity = true }} {
		b, err := prepare(f, fixture(f), change).Prepared()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(fixture(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{TotalBytes: 8 << 20, Entries: 1000}
		d, err := OpenPrepared(b, lim)
		if err == nil && d.Entries() != nil {
			if listed, err := d.WithEntriesValue([]byte("l")); err == nil {
				d = listed
			}
		}
		if err != nil {
			if !isNamed(err) {
				t.Fatalf("unnamed refusal: %v", err)
			}
			return
		}
		sealed, err := d.Embed([]byte("v"))
		if err != nil {
			t.Fatalf("embedding: %v", err)
		}
		lim.TotalBytes *= 2
		if p, err := open(sealed, 1, lim, true); err != nil || len(p.waiting) != 0 {
			t.Fatalf("the sealed package does not open: %v", err)
		}
	})
}
