package ofd

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sealkeeper/signer/placement"
	"sealkeeper/softhsm-test/ofdgen"
)

// written is a page with the given objects in its one layer.
func written(objects string) string {
	return `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Content><ofd:Layer ID="20">` + objects + `</ofd:Layer></ofd:Content></ofd:Page>`
}

// textAt is a text object whose base line begins at 20, 30 + size.
func textAt(attributes, codes string) string {
	return `<ofd:TextObject ID="21" Boundary="20 30 120 10" Font="3" Size="5" ` + attributes + `>` + codes + `</ofd:TextObject>`
}

func TestFind(t *testing.T) {
	line := func(x, w float64) placement.Rect { return placement.Rect{X: 20 + x, Y: 30 + 5 - 4, W: w, H: 5} }
	one := func(r placement.Rect) []placement.Rect { return []placement.Rect{r} }
	for name, c := range map[string]struct {
		objects, text string
		want          []placement.Rect
	}{
		"one line":                 {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="5 5 5 5">请在此盖章</ofd:TextCode>`), "盖章", one(line(15, 10))},
		"g repeats":                {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="g 2 6 g 2 5">请在此盖章</ofd:TextCode>`), "盖章", one(line(17, 10))},
		"g and single ones":        {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="6 g 2 5 7">请在此盖章</ofd:TextCode>`), "盖章", one(line(16, 12))},
		"a list too short":         {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="6">请在此盖章</ofd:TextCode>`), "盖章", one(line(18, 11))},
		"without distances":        {textAt("", `<ofd:TextCode X="1" Y="5">Seal 盖章 here</ofd:TextCode>`), "盖章", one(line(13.5, 10))},
		"half and full width":      {textAt("", `<ofd:TextCode X="0" Y="5">甲A乙</ofd:TextCode>`), "甲A乙", one(line(0, 12.5))},
		"set closer":               {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="2 2">abc</ofd:TextCode>`), "ab", one(line(0, 4))},
		"blanks do not count":      {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="5 5 5">盖　章处</ofd:TextCode>`), "盖 章", one(line(0, 15))},
		"pretty-printed":           {textAt("", "<ofd:TextCode X=\"0\" Y=\"5\" DeltaX=\"5\">\r\n\t盖章\n</ofd:TextCode>"), "盖章", one(line(0, 10))},
		"several TextCodes":        {textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode><ofd:TextCode X="5">章</ofd:TextCode>`), "盖章", one(line(0, 10))},
		"another line":             {textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode><ofd:TextCode X="5" Y="10">章</ofd:TextCode>`), "盖章", nil},
		"too far apart":            {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="21">盖章</ofd:TextCode>`), "盖章", nil},
		"twice":                    {textAt("", `<ofd:TextCode X="0" Y="5">章盖章盖</ofd:TextCode>`), "章盖", []placement.Rect{line(0, 10), line(10, 10)}},
		"does not overlap itself":  {textAt("", `<ofd:TextCode X="0" Y="5">章章章</ofd:TextCode>`), "章章", one(line(0, 10))},
		"not there":                {textAt("", `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "签章", nil},
		"markup in text":           {textAt("", `<ofd:TextCode X="0" Y="5">A&amp;B<!-- c -->C</ofd:TextCode>`), "A&BC", one(line(0, 10))},
		"nothing is found for ''":  {textAt("", `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), " \t", nil},
		"first TextCode without Y": {textAt("", `<ofd:TextCode>盖章</ofd:TextCode>`), "盖章", one(line(0, 10))},
		"moved by CTM":             {textAt(`CTM="1 0 0 1 3 4"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", one(placement.Rect{X: 23, Y: 35, W: 10, H: 5})},
		"scaled by CTM":            {textAt(`CTM="2 0 0 2 0 0"`, `<ofd:TextCode X="0" Y="5" DeltaX="5">盖章</ofd:TextCode>`), "盖章", one(placement.Rect{X: 20, Y: 32, W: 20, H: 10})},
		"a quarter turn":           {textAt(`CTM="0 1 -1 0 0 0"`, `<ofd:TextCode X="0" Y="0" DeltaX="5">盖章</ofd:TextCode>`), "盖章", one(placement.Rect{X: 19, Y: 30, W: 5, H: 10})},
		"upside down":              {textAt(`CTM="-1 0 0 -1 0 0"`, `<ofd:TextCode X="0" Y="0" DeltaX="5">盖章</ofd:TextCode>`), "盖章", one(placement.Rect{X: 10, Y: 29, W: 10, H: 5})},
		"down a column":            {textAt("", `<ofd:TextCode X="0" Y="5" DeltaY="5 5">请盖章</ofd:TextCode>`), "盖章", one(placement.Rect{X: 20, Y: 36, W: 5, H: 10})},
		"wider letters":            {textAt(`HScale="2"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", one(line(0, 20))},
		"invisible":                {textAt(`Visible="false"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", nil},
		"without paint":            {textAt(`Fill="false"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", nil},
		"outlined":                 {textAt(`Fill="false" Stroke="true"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", one(line(0, 10))},
		"transparent":              {textAt(`Alpha="0"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", nil},
		"flattened by CTM":         {textAt(`CTM="0 0 0 1 0 0"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", nil},
		"CTM is no matrix":         {textAt(`CTM="1 0 0 NaN 0 0"`, `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`), "盖章", nil},
		"distances are no numbers": {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="g x 5">盖章</ofd:TextCode>`), "章", one(line(0, 5))},
		"endless repetition":       {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="g 2000000000 5">盖章</ofd:TextCode>`), "章", one(line(5, 5))},
		"off any page":             {textAt("", `<ofd:TextCode X="0" Y="5" DeltaX="1e6 1e6">盖盖章</ofd:TextCode>`), "章", nil},
		"in a block":               {`<ofd:PageBlock ID="9"><ofd:PageBlock ID="8">` + textAt("", `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`) + `</ofd:PageBlock></ofd:PageBlock>`, "盖章", one(line(0, 10))},
		"in a clip":                {`<ofd:PathObject><ofd:Clips><ofd:Clip><ofd:Area>` + textAt("", `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`) + `</ofd:Area></ofd:Clip></ofd:Clips></ofd:PathObject>`, "盖章", nil},
		"split over objects": {textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode>`) +
			`<ofd:TextObject Boundary="25 32 5 5" Size="5"><ofd:TextCode X="0" Y="3">章</ofd:TextCode></ofd:TextObject>`, "盖章", one(line(0, 10))},
		"split, and out of order": {`<ofd:TextObject Boundary="25 32 5 5" Size="5"><ofd:TextCode X="0" Y="3">章</ofd:TextCode></ofd:TextObject>` +
			textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode>`), "盖章", one(line(0, 10))},
		"emboldened by repeating": {textAt("", `<ofd:TextCode X="0" Y="5">盖章</ofd:TextCode>`) + textAt("", `<ofd:TextCode X="0.1" Y="5">盖章</ofd:TextCode>`), "盖章", one(line(0, 10))},
		"two sizes on one line": {textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode>`) +
			`<ofd:TextObject Boundary="25 25 10 10" Size="10"><ofd:TextCode X="0" Y="10">章</ofd:TextCode></ofd:TextObject>`, "盖章", one(placement.Rect{X: 20, Y: 27, W: 15, H: 10})},
		"in order of reading": {`<ofd:TextObject Boundary="20 80 10 10" Size="5"><ofd:TextCode X="0" Y="5">章</ofd:TextCode></ofd:TextObject>` +
			textAt("", `<ofd:TextCode X="40" Y="5">章</ofd:TextCode><ofd:TextCode X="0" Y="5">章</ofd:TextCode>`), "章",
			[]placement.Rect{line(0, 5), line(40, 5), {X: 20, Y: 81, W: 5, H: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Open(fixture(t, file{"Doc_0/Pages/Page_0/Content.xml", written(c.objects)}), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Find(c.text, 1)
			if err != nil {
				t.Fatal(err)
			}
			sameBoxes(t, got, c.want)
		})
	}
}

func sameBoxes(t *testing.T, got, want []placement.Rect) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range got {
		if math.Abs(got[i].X-want[i].X)+math.Abs(got[i].Y-want[i].Y)+math.Abs(got[i].W-want[i].W)+math.Abs(got[i].H-want[i].H) > 1e-6 {
			t.Errorf("%d: %v, want %v", i+1, got[i], want[i])
		}
	}
}

// TestFindInTemplates: text of the templates that a page names is on the page; of a template that it does not name, or that is absent, nothing is.
func TestFindInTemplates(t *testing.T) {
	document := strings.Replace(fixtureDocument, "</ofd:CommonData>", `<ofd:TemplatePage ID="50" BaseLoc="T/0.xml"/><ofd:TemplatePage ID="51" BaseLoc="T/1.xml"/><ofd:TemplatePage ID="52" BaseLoc="T/gone.xml"/></ofd:CommonData>`, 1)
	page := strings.Replace(written(textAt("", `<ofd:TextCode X="5" Y="5">章</ofd:TextCode>`)), "<ofd:Content>",
		`<ofd:Template TemplateID="50" ZOrder="Foreground"/><ofd:Template TemplateID="52"/><ofd:Template TemplateID="99"/><ofd:Content>`, 1)
	p, err := Open(fixture(t, file{"Doc_0/Document.xml", document}, file{"Doc_0/Pages/Page_0/Content.xml", page},
		file{"Doc_0/T/0.xml", written(textAt("", `<ofd:TextCode X="0" Y="5">盖</ofd:TextCode>`))},
		file{"Doc_0/T/1.xml", written(textAt("", `<ofd:TextCode X="0" Y="5">签</ofd:TextCode>`))}), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"盖章": 1, "签": 0, "盖": 1} {
		if got, err := p.Find(text, 1); err != nil || len(got) != want {
			t.Errorf("%s: %v (%v), want %d", text, got, err, want)
		}
	}
	if got, err := p.Find("盖", 2); err != nil || len(got) != 0 {
		t.Errorf("page 2: %v (%v)", got, err)
	}
}

func TestFindRefused(t *testing.T) {
	doc := fixture(t, file{"Doc_0/Pages/Page_0/Content.xml", written(textAt("", `<ofd:TextCode X="0" Y="5">请在此处盖章</ofd:TextCode>`))})
	long := fixture(t, file{"Doc_0/Pages/Page_0/Content.xml", written(textAt("", `<ofd:TextCode>`+strings.Repeat("章", maxTextCode)+`</ofd:TextCode>`))})
	for name, c := range map[string]struct {
		doc  []byte
		page int
		lim  Limits
		want error
	}{
		"page 0":              {doc, 0, Limits{}, ErrPage},
		"page 3":              {doc, 3, Limits{}, ErrPage},
		"too many characters": {doc, 1, Limits{Glyphs: 5}, ErrText},
		"just as many":        {doc, 1, Limits{Glyphs: 6}, nil},
		"too much to read":    {doc, 1, Limits{TextBytes: 100}, ErrText},
		"one endless text":    {long, 1, Limits{}, ErrXML},
	} {
		p, err := Open(c.doc, c.lim)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Find("盖章", c.page); !errors.Is(err, c.want) || (len(got) != 1) != (c.want != nil) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
}

// TestFindBesideOthers: a package is searched by several at a time.
func TestFindBesideOthers(t *testing.T) {
	p, err := Open(ofdgen.Document("演示合同", 3), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for page := 1; page <= 3; page++ {
				if got, err := p.Find("第", page); err != nil || len(got) == 0 {
					t.Errorf("page %d: %v, %v", page, got, err)
				}
			}
		})
	}
	all.Wait()
}

// TestFindInDemo: the words by the seals stand where ofdgen says it writes them, on the last page alone.
func TestFindInDemo(t *testing.T) {
	p, err := Open(ofdgen.Document("演示合同", 2), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := placement.Plan{Keywords: []placement.Keyword{{Text: "申请单位（盖章）", Occurrence: -1, W: 40, H: 40}}}.Resolve(pagesOf(p), p.Find)
	if err != nil || len(stamps) != 1 || stamps[0].Page != 2 {
		t.Fatalf("%v (%v)", stamps, err)
	}
	size := 160.0 / 38
	x, y := 25+4*size-20, ofdgen.NameSealY+18+size*0.7-20 // eight characters; 0.7 em above their foot is 0.2 below the base line
	if s := stamps[0]; math.Abs(s.X-x) > 0.05 || math.Abs(s.Y-y) > 0.05 {
		t.Errorf("stamp at %.3f, %.3f, want %.3f, %.3f", s.X, s.Y, x, y)
	}
	if _, err := p.Prepare(testRequest(stamps...)); err != nil {
		t.Error(err)
	}
	if _, err := (placement.Plan{Keywords: []placement.Keyword{{Text: "无此文字", W: 40, H: 40}}}).Resolve(pagesOf(p), p.Find); !errors.Is(err, placement.ErrKeywordNotFound) {
		t.Errorf("got %v, want ErrKeywordNotFound", err)
	}
}

func pagesOf(p *Package) []placement.Page {
	var all []placement.Page
	for _, g := range p.Pages() {
		all = append(all, placement.Page{WidthMM: g.WidthMM, HeightMM: g.HeightMM})
	}
	return all
}

// TestFindInSamples: words of other producers' documents, at the places that their XML says.
func TestFindInSamples(t *testing.T) {
	dir := sampleDir(t)
	for name, c := range map[string]struct {
		text string
		page int
		want []string // "x y w h" in whole millimetres
	}{
		"ofd/syn-data-descriptors.ofd":               {"测试文档", 1, []string{"20 21 20 5"}},
		"ofd/ofdrw-1.4-6pages-watermark.ofd":         {"主义", 1, []string{"48 27 16 8"}},
		"ofd/doc1-11pages.ofd":                       {"思之如狂", 1, []string{"59 26 15 4"}},
		"../ofd-v4-taxtest/draw_param_ref.ofd":       {"发票号码：71500013", 1, []string{"149 13 29 4"}}, // the label is the template's, the number the page's
		"../ofd-v4-ofdrw240/gen_14_digital_sign.ofd": {"SESV4数字签名", 1, []string{"47 32 22 3"}},
	} {
		doc, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
		p, err := Open(doc, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		boxes, err := p.Find(c.text, c.page)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range boxes {
			got = append(got, fmt.Sprintf("%.0f %.0f %.0f %.0f", b.X, b.Y, b.W, b.H))
		}
		if strings.Join(got, ", ") != strings.Join(c.want, ", ") {
			t.Errorf("%s, %q: %q, want %q", name, c.text, got, c.want)
		}
	}
}

// TestFindEverywhere: every sample that can be sealed can be searched, on every page, in bounded memory.
func TestFindEverywhere(t *testing.T) {
	dir, names, _ := samples(t)
	for _, name := range names {
		doc, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(doc, Limits{})
		if err != nil {
			continue
		}
		for _, g := range p.Pages() {
			if g.Index > 20 {
				break
			}
			if _, err := p.Find("章", g.Index); err != nil && !isNamed(err) {
				t.Errorf("%s, page %d: %v", name, g.Index, err)
			}
		}
	}
}
