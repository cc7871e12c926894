package impression_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"testing"

	"golang.org/x/image/bmp"

	"sealkeeper/internal/gm"
	"sealkeeper/seal/impression"
)

var sealRed = color.NRGBA{0xE6, 0, 0x12, 255}

// ring makes a test picture: an ellipse of ink with a soft edge and a bar, on white or transparent ground.
func ring(w, h int, c color.NRGBA, transparent bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			dx, dy := (float64(x)+0.5)/float64(w)*2-1, (float64(y)+0.5)/float64(h)*2-1
			cover := softRing(math.Hypot(dx, dy), float64(w))
			if math.Abs(dy) < 0.1 && math.Abs(dx) < 0.5 {
				cover = 1
			}
			img.SetNRGBA(x, y, lay(c, cover, transparent))
		}
	}
	return img
}

func softRing(radius, width float64) float64 {
	edge := (0.06 - math.Abs(radius-0.94)) * width / 2
	return min(1, max(0, edge+0.5))
}

func lay(c color.NRGBA, cover float64, transparent bool) color.NRGBA {
	if transparent {
		return color.NRGBA{c.R, c.G, c.B, byte(255 * cover)}
	}
	mix := func(v byte) byte { return byte(float64(v)*cover + 255*(1-cover)) }
	return color.NRGBA{mix(c.R), mix(c.G), mix(c.B), 255}
}

func encode(t testing.TB, format string, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case impression.PNG:
		err = png.Encode(&b, img)
	case impression.BMP:
		err = bmp.Encode(&b, img)
	case impression.JPG:
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(t testing.TB, b []byte) *impression.Picture {
	t.Helper()
	p, err := impression.Decode(b, impression.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// scale is pixels for millimetres at 600 dots per inch.
func scale(mm float64) int { return int(math.Round(mm / 25.4 * 600)) }

func TestDecode(t *testing.T) {
	img := ring(200, 150, sealRed, false)
	for _, format := range []string{impression.PNG, impression.BMP, impression.JPG} {
		b := encode(t, format, img)
		p := decode(t, b)
		if p.Format != format || p.Width != 200 || p.Height != 150 || p.Digest != gm.SM3(b) {
			t.Errorf("%s: %s %d×%d", format, p.Format, p.Width, p.Height)
		}
	}
}

// pngHeader is a PNG file of a signature and an IHDR that claims a size, with nothing behind.
func pngHeader(width, height uint32) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	ihdr = binary.BigEndian.AppendUint32(ihdr, height)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, ihdr...), crc32.ChecksumIEEE(ihdr))
}

const pngEnd = "\x00\x00\x00\x00IEND\xae\x42\x60\x82"

// claim rewrites the size in a JPEG or BMP file.
func claim(t *testing.T, format string, b []byte, width, height uint16) []byte {
	t.Helper()
	if format == impression.BMP {
		binary.LittleEndian.PutUint32(b[18:], uint32(width))
		binary.LittleEndian.PutUint32(b[22:], uint32(height))
		return b
	}
	i := bytes.Index(b, []byte{0xFF, 0xC0})
	binary.BigEndian.PutUint16(b[i+5:], height)
	binary.BigEndian.PutUint16(b[i+7:], width)
	return b
}

func TestDecodeRefusals(t *testing.T) {
	img := ring(64, 64, sealRed, false)
	var whole = map[string][]byte{}
	for _, f := range []string{impression.PNG, impression.BMP, impression.JPG} {
		whole[f] = encode(t, f, img)
	}
	flipped := bytes.Clone(whole[impression.PNG])
	flipped[len(flipped)-20] ^= 0xFF
	cases := []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, impression.ErrFormat},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00"), impression.ErrFormat},
		{"text", []byte("not a picture"), impression.ErrFormat},
		{"PNG of 100 megapixels", pngHeader(10_000, 10_000), impression.ErrTooManyPixels},
		{"PNG of 60,000 pixels a side", pngHeader(60_000, 60_000), impression.ErrTooManyPixels},
		{"PNG long and thin", pngHeader(100_000, 1), impression.ErrTooManyPixels},
		{"JPEG of 100 megapixels", claim(t, impression.JPG, encode(t, impression.JPG, img), 10_000, 10_000), impression.ErrTooManyPixels},
		{"BMP of 100 megapixels", claim(t, impression.BMP, encode(t, impression.BMP, img), 10_000, 10_000), impression.ErrTooManyPixels},
		{"PNG without pixels", append(pngHeader(0, 10), pngEnd...), impression.ErrFormat},
		{"PNG header only", pngHeader(10, 10), impression.ErrTruncated},
		{"PNG cut", whole[impression.PNG][:len(whole[impression.PNG])/2], impression.ErrTruncated},
		{"JPEG cut", whole[impression.JPG][:len(whole[impression.JPG])/2], impression.ErrTruncated},
		{"BMP cut", whole[impression.BMP][:len(whole[impression.BMP])/2], impression.ErrTruncated},
		{"BMP header only", whole[impression.BMP][:20], impression.ErrTruncated},
		{"PNG with a wrong checksum", flipped, impression.ErrFormat},
		{"too many bytes", make([]byte, impression.DefaultLimits.MaxBytes+1), impression.ErrTooLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if p, err := impression.Decode(c.b, impression.DefaultLimits); !errors.Is(err, c.want) || p != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	size := func(w, h float64) impression.Size { return impression.Size{WidthMM: w, HeightMM: h} }
	at600 := func(s impression.Size, c color.NRGBA) *image.NRGBA {
		return ring(scale(s.WidthMM), scale(s.HeightMM), c, false)
	}
	margin := func(s impression.Size, mm float64) image.Image {
		inner := at600(s, sealRed)
		out := ring(scale(s.WidthMM+2*mm), scale(s.HeightMM+2*mm), color.NRGBA{255, 255, 255, 255}, false)
		off := (out.Rect.Dx() - inner.Rect.Dx()) / 2
		for y := range inner.Rect.Dy() {
			copy(out.Pix[(y+off)*out.Stride+4*off:], inner.Pix[y*inner.Stride:(y+1)*inner.Stride])
		}
		return out
	}
	black, blue := color.NRGBA{0, 0, 0, 255}, color.NRGBA{0x20, 0x30, 0xC0, 255}
	cases := []struct {
		name   string
		kind   string
		img    image.Image
		stated impression.Size
		want   error
	}{
		{"legal name", "01", at600(size(40, 40), sealRed), size(40, 40), nil},
		{"legal name 42", "01", at600(size(42, 42), sealRed), size(42, 42), nil},
		{"legal name oval", "01", at600(size(45, 30), sealRed), size(45, 30), nil},
		{"legal name with margin", "01", margin(size(40, 40), 1), size(42, 42), nil},
		{"finance with margin", "02", margin(size(38, 38), 1), size(40, 40), nil},
		{"finance", "02", at600(size(38, 38), sealRed), size(38, 38), nil},
		{"invoice", "03", at600(size(40, 30), sealRed), size(40, 30), nil},
		{"invoice within tolerance", "03", at600(size(40.4, 30.4), sealRed), size(40.4, 30.4), nil},
		{"legal representative", "05", at600(size(20, 20), sealRed), size(20, 20), nil},
		{"legal representative in blue", "05", at600(size(20, 20), blue), size(20, 20), nil},
		{"transparent", "01", ring(scale(40), scale(40), sealRed, true), size(40, 40), nil},
		{"300 dots per inch", "02", ring(449, 449, sealRed, false), size(38, 38), nil},
		{"wrong size", "01", at600(size(50, 50), sealRed), size(50, 50), impression.ErrSize},
		{"invoice as circle", "03", at600(size(40, 40), sealRed), size(40, 40), impression.ErrSize},
		{"just outside the tolerance", "03", at600(size(40.7, 30), sealRed), size(40.7, 30), impression.ErrSize},
		{"small seal on a large ground", "01", margin(size(20, 20), 10), size(40, 40), impression.ErrSize},
		{"no size stated", "01", at600(size(40, 40), sealRed), size(0, 0), impression.ErrSize},
		{"size not a number", "01", at600(size(40, 40), sealRed), size(math.NaN(), 40), impression.ErrSize},
		{"distorted", "03", at600(size(40, 40), sealRed), size(40, 30), impression.ErrAspect},
		{"coarse", "01", ring(200, 200, sealRed, false), size(40, 40), impression.ErrResolution},
		{"blue", "01", at600(size(40, 40), blue), size(40, 40), impression.ErrColour},
		{"black", "02", at600(size(38, 38), black), size(38, 38), impression.ErrColour},
		{"orange", "03", at600(size(40, 30), color.NRGBA{255, 140, 0, 255}), size(40, 30), impression.ErrColour},
		{"white", "01", at600(size(40, 40), color.NRGBA{255, 255, 255, 255}), size(40, 40), impression.ErrBlank},
		{"all ink", "01", image.NewUniform(sealRed), size(40, 40), impression.ErrBlank},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if u, ok := c.img.(*image.Uniform); ok {
				c.img = filled(u)
			}
			m, err := impression.Check(decode(t, encode(t, impression.PNG, c.img)), c.stated, impression.DefaultTemplates()[c.kind])
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v (%+v)", err, c.want, m)
			}
		})
	}
}

func filled(u *image.Uniform) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, 600, 600))
	for i := range 600 * 600 {
		img.Set(i%600, i/600, u.C)
	}
	return img
}

func TestCheckOfJPEG(t *testing.T) {
	p := decode(t, encode(t, impression.JPG, ring(scale(40), scale(40), sealRed, false)))
	m, err := impression.Check(p, impression.Size{WidthMM: 40, HeightMM: 40}, impression.DefaultTemplates()["01"])
	if err != nil || m.RedShare < 0.95 || m.DPI < 599 || m.Ink.WidthMM < 39.5 || m.Ink.WidthMM > 40.1 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestLaw05DerivedPictureIsNotAltered(t *testing.T) {
	size := impression.Size{WidthMM: 39.6, HeightMM: 40}
	for name, c := range map[string]struct {
		format string
		img    image.Image
		exact  bool
	}{
		"opaque PNG":      {impression.PNG, ring(600, 600, sealRed, false), true},
		"transparent PNG": {impression.PNG, ring(600, 600, sealRed, true), true},
		"BMP":             {impression.BMP, ring(600, 600, sealRed, false), true},
		"JPEG":            {impression.JPG, ring(600, 600, sealRed, false), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := decode(t, encode(t, c.format, c.img))
			d, err := impression.Derive(p, size)
			if err != nil {
				t.Fatal(err)
			}
			if d.IoU != 1 || d.WidthMM != 40 || d.HeightMM != 40 {
				t.Errorf("IoU %v, %d×%d mm", d.IoU, d.WidthMM, d.HeightMM)
			}
			sameOnWhite(t, p.Pixels(), decode(t, d.PNG).Pixels())
			img, err := png.Decode(bytes.NewReader(d.PNG))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, _, a := img.At(0, 0).RGBA(); c.exact && a != 0 {
				t.Error("the corner is not transparent")
			}
			if _, paletted := img.(*image.Paletted); paletted != c.exact {
				t.Errorf("palette: %v", paletted)
			}
			t.Logf("%d bytes from %s", len(d.PNG), c.format)
		})
	}
}

// sameOnWhite demands that the derived picture on white paper shows the filed pixels, within the rounding of one step.
func sameOnWhite(t *testing.T, filed, derived *image.NRGBA) {
	t.Helper()
	for i := 0; i < len(filed.Pix); i += 4 {
		for c := range 3 {
			show := func(p []byte) int { return (int(p[c])*int(p[3]) + 255*(255-int(p[3])) + 127) / 255 }
			if a, b := show(filed.Pix[i:]), show(derived.Pix[i:]); a-b > 1 || b-a > 1 {
				t.Fatalf("pixel %d, channel %d: %d became %d", i/4, c, a, b)
			}
		}
	}
}

func TestDeriveRefusals(t *testing.T) {
	p := decode(t, encode(t, impression.PNG, ring(100, 100, color.NRGBA{255, 255, 255, 255}, false)))
	if _, err := impression.Derive(p, impression.Size{WidthMM: 40, HeightMM: 40}); !errors.Is(err, impression.ErrDerive) {
		t.Errorf("blank picture: %v", err)
	}
	p = decode(t, encode(t, impression.PNG, ring(100, 100, sealRed, false)))
	if _, err := impression.Derive(p, impression.Size{}); !errors.Is(err, impression.ErrDerive) {
		t.Errorf("no size: %v", err)
	}
	q := decode(t, encode(t, impression.PNG, ring(100, 90, sealRed, false)))
	if impression.Overlap(p, q) != 0 {
		t.Error("pictures of different size overlap")
	}
	if o := impression.Overlap(p, p); o != 1 {
		t.Errorf("a picture overlaps itself by %v", o)
	}
	thin := decode(t, encode(t, impression.PNG, image.NewNRGBA(image.Rect(0, 0, 100, 100))))
	if impression.Overlap(p, thin) != 0 {
		t.Error("ink overlaps nothing")
	}
}

func FuzzDecode(f *testing.F) {
	small := ring(12, 10, sealRed, true)
	for _, format := range []string{impression.PNG, impression.BMP, impression.JPG} {
		f.Add(encode(f, format, small))
	}
	f.Add(pngHeader(10_000, 10_000))
	limits := impression.Limits{MaxBytes: 1 << 16, MaxPixels: 10_000, MaxSide: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := impression.Decode(b, limits)
		if err != nil {
			return
		}
		if p.Width*p.Height > limits.MaxPixels {
			t.Fatalf("%d×%d pixels decoded", p.Width, p.Height)
		}
		size := impression.Size{WidthMM: 40, HeightMM: 40}
		if _, err := impression.Check(p, size, impression.DefaultTemplates()["01"]); err != nil && !errors.Is(err, impression.ErrBlank) {
			return
		}
		if d, err := impression.Derive(p, size); err == nil && d.IoU < impression.MinIoU {
			t.Fatalf("overlap %v was let through", d.IoU)
		}
	})
}

func BenchmarkDerive(b *testing.B) {
	p := decode(b, encode(b, impression.PNG, ring(scale(40), scale(40), sealRed, true)))
	for b.Loop() {
		if _, err := impression.Derive(p, impression.Size{WidthMM: 40, HeightMM: 40}); err != nil {
			b.Fatal(err)
		}
	}
}
