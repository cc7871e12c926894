package pdf

import (
	"bytes"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sealkeeper/signer/placement"
)

// rendered has poppler draw the first page at 50 dots an inch.
func rendered(t *testing.T, doc []byte) image.Image {
	t.Helper()
	if _, err := exec.LookPath("pdftoppm"); err != nil {
		t.Skip("SKIPPED: pdftoppm is not installed")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "document.pdf")
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "50", "-png", "-singlefile", "-cropbox", file, filepath.Join(dir, "page")).CombinedOutput(); err != nil {
		t.Fatalf("pdftoppm: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "page.png"))
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func red(m image.Image, x, y int) bool {
	r, g, _, _ := m.At(x, y).RGBA()
	return r>>8 > 150 && g>>8 < 110
}

// TestWhereItShows: on pages that are turned, cropped, moved and scaled, the ring stands where it was asked for as the page is shown, upright, lets the
// page through in its middle, and touches nothing outside.
func TestWhereItShows(t *testing.T) {
	for name, extra := range map[string]string{
		"plain": "", "turned 90": "/Rotate 90", "turned 180": "/Rotate 180", "turned 270": "/Rotate 270", "turned -90": "/Rotate -90",
		"cropped": "/CropBox [50 60 500 700]", "cropped and turned": "/CropBox [50 60 500 700] /Rotate 90", "scaled": "/UserUnit 1.5",
	} {
		t.Run(name, func(t *testing.T) {
			doc := plain(1, extra)
			before := rendered(t, doc)
			d, err := Open(doc, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			size := d.Pages()[0]
			// The upper half of the ring alone, so that what is not upright shows.
			s := placement.Stamp{Page: 1, X: size.WidthMM - 70, Y: 20, W: 50, H: 50, Clip: &placement.Rect{W: 50, H: 25}}
			out, err := sealed(t, doc, request(t, s))
			if err != nil {
				t.Fatal(err)
			}
			after := rendered(t, out)
			if after.Bounds() != before.Bounds() {
				t.Fatalf("the page is %v, was %v", after.Bounds(), before.Bounds())
			}
			shows(t, before, after, size, s)
		})
	}
}

func shows(t *testing.T, before, after image.Image, size placement.Page, s placement.Stamp) {
	t.Helper()
	r := after.Bounds()
	kx, ky := float64(r.Dx())/size.WidthMM, float64(r.Dy())/size.HeightMM
	at := func(x, y float64) (int, int) { return int(x * kx), int(y * ky) }
	for what, p := range map[string]struct {
		x, y float64
		red  bool
	}{
		"top of the ring": {s.X + 25, s.Y + 3.5, true}, "its left": {s.X + 3.5, s.Y + 22, true}, "its right": {s.X + 46.5, s.Y + 22, true},
		"its middle": {s.X + 25, s.Y + 20, false}, "its lower half": {s.X + 25, s.Y + 46.5, false},
	} {
		if x, y := at(p.x, p.y); red(after, x, y) != p.red {
			t.Errorf("%s at %d,%d: red is %v", what, x, y, !p.red)
		}
	}
	x0, y0 := at(s.X, s.Y)
	x1, y1 := at(s.X+s.W, s.Y+s.Clip.H)
	inside := image.Rect(x0-1, y0-1, x1+2, y1+2)
	changed := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if before.At(x, y) != after.At(x, y) && !image.Pt(x, y).In(inside) {
				changed++
			}
		}
	}
	if changed > 0 {
		t.Error(fmt.Sprint(changed, " pixels outside the stamp changed"))
	}
}

// TestPageShowsThrough: under the clear middle of the ring the page's own text stays.
func TestPageShowsThrough(t *testing.T) {
	doc := plain(1, "")
	before := rendered(t, doc)
	out, err := sealed(t, doc, request(t, placement.Stamp{Page: 1, X: 15, Y: 25, W: 50, H: 50}))
	if err != nil {
		t.Fatal(err)
	}
	after := rendered(t, out)
	dark := func(m image.Image) (n int) {
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				if r, g, b, _ := m.At(x, y).RGBA(); r>>8 < 80 && g>>8 < 80 && b>>8 < 80 {
					n++
				}
			}
		}
		return n
	}
	if a, b := dark(after), dark(before); b == 0 || a < b*2/3 {
		t.Errorf("%d dark pixels, %d before", a, b)
	}
}
