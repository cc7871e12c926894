package pdf

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/signer/placement"
)

// page makes a document of one page with the given content and fonts; further objects begin at 5.
func written(content, fonts string, more ...string) []byte {
	objects := append([]string{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595.276 841.89] /Resources << /Font << " + fonts + " >> >> /Contents 4 0 R >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content)}, more...)
	return assembled(objects)
}

const helvetica = "/F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /FirstChar 32 /LastChar 122 /Widths [%s] >>"

func even(n int) string { return strings.TrimSpace(strings.Repeat("500 ", n)) }

func TestFind(t *testing.T) {
	simple := fmt.Sprintf(helvetica, even(91))
	cmap := "/CIDInit begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange 2 beginbfchar <0001> <76D6> <0002> <7AE0> endbfchar 1 beginbfrange <0010> <0012> <5904> endbfrange endcmap"
	type0 := "/F << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /ToUnicode 5 0 R /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /DW 1000 >>] >>"
	stream := fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(cmap), cmap)
	gbk := "/F << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /GBK-EUC-H /DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 >>] >>"
	ucs := "/F << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /UniGB-UCS2-H /DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 >>] >>"
	box := func(x, y, w, size float64) placement.Rect { // of a line that begins at x, y in points
		return placement.Rect{X: x / pointsPerMM, Y: (841.89 - y - size*4/5) / pointsPerMM, W: w / pointsPerMM, H: size / pointsPerMM}
	}
	for name, c := range map[string]struct {
		doc  []byte
		text string
		want []placement.Rect
	}{
		"one line":                {written("BT /F 10 Tf 100 700 Td (Seal here) Tj ET", simple), "here", []placement.Rect{box(125, 700, 20, 10)}},
		"blanks do not count":     {written("BT /F 10 Tf 100 700 Td (Seal here) Tj ET", simple), "Sealhere", []placement.Rect{box(100, 700, 45, 10)}},
		"twice":                   {written("BT /F 10 Tf 100 700 Td (ab ab) Tj ET", simple), "ab", []placement.Rect{box(100, 700, 10, 10), box(115, 700, 10, 10)}},
		"in pieces, kerned":       {written("BT /F 10 Tf 100 700 Td [(Se) -100 (al)] TJ ET", simple), "Seal", []placement.Rect{box(100, 700, 21, 10)}},
		"piece by piece":          {written("BT /F 10 Tf 1 0 0 1 100 700 Tm (Se) Tj 1 0 0 1 110 700 Tm (al) Tj ET", simple), "Seal", []placement.Rect{box(100, 700, 20, 10)}},
		"scaled by the page":      {written("2 0 0 2 0 0 cm BT /F 10 Tf 50 350 Td (Seal) Tj ET", simple), "Seal", []placement.Rect{box(100, 700, 40, 20)}},
		"octal and escapes":       {written(`BT /F 10 Tf 100 700 Td (\123\145a\154\)) Tj ET`, simple), "Seal)", []placement.Rect{box(100, 700, 25, 10)}},
		"next line":               {written("BT /F 10 Tf 12 TL 100 700 Td (Se) Tj T* (al) Tj ET", simple), "Seal", nil},
		"not there":               {written("BT /F 10 Tf 100 700 Td (Seal) Tj ET", simple), "seal", nil},
		"glyph numbers":           {written("BT /F 10 Tf 100 700 Td <000100020011> Tj ET", type0, stream), "盖章处"[:6], []placement.Rect{box(100, 700, 20, 10)}},
		"range of the map":        {written("BT /F 10 Tf 100 700 Td <00010010> Tj ET", type0, stream), "盖处", []placement.Rect{box(100, 700, 20, 10)}},
		"GBK":                     {written("BT /F 10 Tf 100 700 Td <B8C7D5C2> Tj ET", gbk), "盖章", []placement.Rect{box(100, 700, 20, 10)}},
		"Unicode":                 {written("BT /F 10 Tf 100 700 Td <76D67AE0> Tj ET", ucs), "盖章", []placement.Rect{box(100, 700, 20, 10)}},
		"after an inline image":   {written("BI /W 1 /H 1 ID \x01(EI EI BT /F 10 Tf 100 700 Td (Seal) Tj ET", simple), "Seal", []placement.Rect{box(100, 700, 20, 10)}},
		"nothing is found for ''": {written("BT /F 10 Tf 100 700 Td (Seal) Tj ET", simple), " ", nil},
	} {
		d, err := Open(c.doc, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := d.Find(c.text, 1)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
			continue
		}
		for i := range got {
			if math.Abs(got[i].X-c.want[i].X)+math.Abs(got[i].Y-c.want[i].Y)+math.Abs(got[i].W-c.want[i].W)+math.Abs(got[i].H-c.want[i].H) > 0.01 {
				t.Errorf("%s: %v, want %v", name, got[i], c.want[i])
			}
		}
	}
}

// TestFindOnTurnedPages: wherever the page is turned to, the seal set on the word covers it as shown.
func TestFindOnTurnedPages(t *testing.T) {
	for _, extra := range []string{"", "/Rotate 90", "/Rotate 180", "/Rotate 270", "/CropBox [50 60 500 740] /Rotate 90"} {
		d, err := Open(plain(1, extra), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		stamps, err := placement.Plan{Keywords: []placement.Keyword{{Text: "Page 1", W: 40, H: 40}}}.Resolve(d.Pages(), d.Find)
		if err != nil || len(stamps) != 1 {
			t.Fatalf("%s: %v, %v", extra, stamps, err)
		}
		s, p := stamps[0], d.pages[0]
		x, y := p.visible(72+3*12, 700+12*0.6) // about the middle of six characters of 24 points
		if math.Abs(s.X+20-x) > 8 || math.Abs(s.Y+20-y) > 8 {
			t.Errorf("%q: the seal's centre is %f %f, the word's %f %f", extra, s.X+20, s.Y+20, x, y)
		}
	}
}

func TestFindRefusals(t *testing.T) {
	d, err := Open(plain(1, ""), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Find("x", 2); !errors.Is(err, ErrPage) {
		t.Errorf("page 2 of 1: %v", err)
	}
	plan := placement.Plan{Keywords: []placement.Keyword{{Text: "nowhere", W: 40, H: 40}}}
	if _, err := plan.Resolve(d.Pages(), d.Find); !errors.Is(err, placement.ErrKeywordNotFound) {
		t.Errorf("a word that is not there: %v", err)
	}
}

// TestFindInSamples reads the text of every page of every sample that opens: found or named, never more.
func TestFindInSamples(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/samples/documents/*/*.pdf")
	if len(files) == 0 {
		t.Skip("SKIPPED: no sample documents")
	}
	read := 0
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(doc, Limits{})
		if err != nil {
			continue
		}
		for n := range d.Pages() {
			if _, err := d.Find("e", n+1); err != nil && !named(err) {
				t.Errorf("%s page %d: %v", file, n+1, err)
			} else if err == nil {
				read++
			}
		}
	}
	if read < 100 {
		t.Errorf("%d pages were read", read)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(plain(2, "/Rotate 90"))
	f.Add(written("BT /F 10 Tf 100 700 Td <76D67AE0> Tj ET", "/F << /Subtype /Type0 /Encoding /UniGB-UCS2-H >>"))
	files, _ := filepath.Glob("../../../shared/samples/documents/*/*.pdf")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && len(b) < 8<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{Objects: 10_000, Stream: 1 << 20, Expanded: 4 << 20, Pages: 100}
		d, err := Open(b, lim)
		if err != nil {
			if !named(err) {
				t.Fatalf("no name: %v", err)
			}
			return
		}
		for n := range d.Pages() {
			if _, err := d.Find("Seal", n+1); err != nil && !named(err) {
				t.Fatalf("no name: %v", err)
			}
		}
		draft, err := d.Prepare(request(t, placement.Stamp{Page: 1, X: 0, Y: 0, W: 1, H: 1}))
		if err != nil {
			if !named(err) {
				t.Fatalf("no name: %v", err)
			}
			return
		}
		out, err := draft.Embed([]byte{0x30, 0})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Open(out, lim); err != nil && !errors.Is(err, ErrLimit) || err == nil && again.Signatures() != d.Signatures()+1 {
			t.Fatalf("what leaves does not open, or with another number of signatures: %v", err)
		}
	})
}

func FuzzEmbed(f *testing.F) {
	d, err := Open(plain(1, ""), Limits{})
	if err != nil {
		f.Fatal(err)
	}
	r := request(f, placement.Stamp{Page: 1, X: 10, Y: 10, W: 10, H: 10})
	r.Reserve = 64
	draft, err := d.Prepare(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(draft.Prepared())
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Embed(b, []byte{1})
		if err == nil && len(out) != len(b) {
			t.Fatal("another length")
		}
		if err != nil && !errors.Is(err, ErrPrepared) && !errors.Is(err, ErrReserve) {
			t.Fatalf("no name: %v", err)
		}
	})
}
