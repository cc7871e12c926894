package draw_test

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	idraw "image/draw"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"golang.org/x/image/bmp"

	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/seal/impression"
	"sealkeeper/softhsm-test/synthetic"
)

func engraved(t testing.TB, e synthetic.Enterprise, kind string, dpi int) []byte {
	t.Helper()
	at := slices.Index([]string{"01", "02", "03", "05"}, kind)
	file, _, _, err := draw.Seal(draw.Spec{Type: kind, Name: e.Name, TaxNumber: e.USCC, Person: e.LegalRep, Code: e.Seals[at].Code, DPI: dpi})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func decoded(t testing.TB, file []byte) *impression.Picture {
	t.Helper()
	p, err := impression.Decode(file, impression.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// dressed is one picture in other dresses: formats, backgrounds, margins, shades, resolutions.
func dressed(t testing.TB, e synthetic.Enterprise, kind string) map[string][]byte {
	t.Helper()
	file := engraved(t, e, kind, 600)
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	laid := func(paper color.Color, left, top, right, bottom int) image.Image {
		r := img.Bounds()
		out := image.NewNRGBA(image.Rect(0, 0, r.Dx()+left+right, r.Dy()+top+bottom))
		idraw.Draw(out, out.Rect, image.NewUniform(paper), image.Point{}, idraw.Src)
		idraw.DrawMask(out, r.Add(image.Pt(left, top)), img, r.Min, inkOf(img), r.Min, idraw.Over)
		return out
	}
	asJPEG := func(m image.Image, quality int) []byte {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var asBMP, clear bytes.Buffer
	if err := bmp.Encode(&asBMP, img); err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(&clear, laid(color.Transparent, 0, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"BMP": asBMP.Bytes(), "transparent": clear.Bytes(), "JPEG 90": asJPEG(img, 90), "JPEG 50": asJPEG(img, 50), "JPEG 25": asJPEG(img, 25),
		"cream paper": asJPEG(laid(color.NRGBA{250, 245, 225, 255}, 0, 0, 0, 0), 80), "margin": asJPEG(laid(color.White, 31, 7, 80, 55), 80),
		"300 dpi": engraved(t, e, kind, 300), "400 dpi": engraved(t, e, kind, 400), "800 dpi": engraved(t, e, kind, 800),
	}
}

// inkOf is a mask of what is not paper.
func inkOf(img image.Image) *image.Alpha {
	m := image.NewAlpha(img.Bounds())
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			_, g, _, _ := img.At(x, y).RGBA()
			m.SetAlpha(x, y, color.Alpha{uint8(255 - g>>8)})
		}
	}
	return m
}

// enterprises is how many are told apart; docs/benchmarks.md gives the figures of more.
var enterprises = flag.Int("enterprises", 40, "enterprises whose seals are told apart")

func printed(t testing.TB, p *impression.Picture) impression.Print {
	t.Helper()
	out, err := impression.NewPrint(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func found(a, b impression.Print) bool {
	keys := a.Keys()
	return slices.ContainsFunc(b.Probes(), func(p string) bool { return slices.Contains(keys, p) })
}

// TestOnePictureInAnyDress: a picture is found again, and recognised, in another format, background, margin, shade and resolution.
func TestOnePictureInAnyDress(t *testing.T) {
	for at, kind := range []string{draw.TypeName, draw.TypeFinance, draw.TypeInvoice, draw.TypePerson} {
		e := synthetic.New("likeness", 30+at)
		p := decoded(t, engraved(t, e, kind, 600))
		least, farthest := 1.0, 0
		for dress, file := range dressed(t, e, kind) {
			q := decoded(t, file)
			least, farthest = min(least, impression.Likeness(p, q)), max(farthest, printed(t, p).Distance(printed(t, q)))
			if !found(printed(t, p), printed(t, q)) {
				t.Errorf("type %s as %s is not found again, %d bits differ", kind, dress, printed(t, p).Distance(printed(t, q)))
			}
			if l := impression.Likeness(p, q); l < impression.MinLikeness {
				t.Errorf("type %s as %s: likeness %.2f", kind, dress, l)
			}
		}
		t.Logf("type %s in ten dresses: likeness %.2f or more, %d bits or fewer differ", kind, least, farthest)
	}
}

// TestTwoEnterprisesAreNoOne: the round seals of different enterprises are not taken for one another, even where the names differ in a
// single character.
func TestTwoEnterprisesAreNoOne(t *testing.T) {
	for _, kind := range []string{draw.TypeName, draw.TypeFinance, draw.TypeInvoice} {
		seen := map[string]int{} // who has a key
		pictures, prints := make([]*impression.Picture, *enterprises), make([]impression.Print, *enterprises)
		met, most, nearest := 0, 0.0, 384
		compare := func(a, b *impression.Picture) {
			l := impression.Likeness(a, b)
			if most = max(most, l); l >= impression.MinLikeness {
				t.Errorf("type %s: two enterprises' seals have a likeness of %.2f", kind, l)
			}
		}
		for n := range *enterprises {
			pictures[n] = decoded(t, engraved(t, synthetic.New("distinct", n), kind, 150))
			prints[n] = printed(t, pictures[n])
			for _, k := range prints[n].Probes() {
				if other, taken := seen[k]; taken {
					met++
					compare(pictures[n], pictures[other])
				}
			}
			for _, k := range prints[n].Keys() {
				seen[k] = n
			}
			near := 0
			for m := range n {
				if prints[n].Distance(prints[m]) < prints[n].Distance(prints[near]) {
					near = m
				}
			}
			if n > 0 {
				nearest = min(nearest, prints[n].Distance(prints[near]))
				compare(pictures[n], pictures[near]) // the most alike of all
			}
		}
		for n := range 4 {
			e := synthetic.New("distinct", 100+n)
			a := decoded(t, engraved(t, e, kind, 150))
			r := []rune(e.Name)
			r[6+n%2] = '舟'
			e.Name = string(r)
			compare(a, decoded(t, engraved(t, e, kind, 150)))
		}
		t.Logf("type %s, %d enterprises: %d meetings by key, nearest %d bits, likeness %.2f or less", kind, *enterprises, met, nearest, most)
		if met > *enterprises/10 {
			t.Errorf("type %s: %d of %d filings would have to open another's impression", kind, met, *enterprises)
		}
	}
}
