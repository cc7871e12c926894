// Package impression reads the picture of a seal (印模) as public security filed it, measures it, and derives the picture that goes
// into an e-seal.
//
// Its one promise is that nothing is drawn, cleaned or altered (law 5): the derived picture differs from the filed one in file format
// and background transparency alone, and how far the two overlap is measured on the finished file. Headers are checked before a
// single pixel is decoded.
//
// Limits: PNG, BMP and JPEG; whether the text on a seal is right is for people to see.
package impression

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"

	"sealkeeper/internal/gm"
)

// Formats of a picture, named as in SES_ESPictureInfo.
const (
	PNG = "PNG"
	BMP = "BMP"
	JPG = "JPG"
)

var (
	// ErrFormat says that bytes are not a PNG, BMP or JPEG file that can be decoded.
	ErrFormat = errors.New("picture is not a readable PNG, BMP or JPEG file")
	// ErrTruncated says that the file ends before its picture does.
	ErrTruncated = errors.New("picture file is cut short")
	// ErrTooLarge says that the file has more bytes than the limit.
	ErrTooLarge = errors.New("picture file is too large")
	// ErrTooManyPixels says that the picture would decode to more pixels than the limit; nothing was decoded.
	ErrTooManyPixels = errors.New("picture has too many pixels")
)

// Limits bound what Decode accepts.
type Limits struct {
	MaxBytes  int // of the file
	MaxPixels int // width × height
	MaxSide   int // either side, in pixels
}

// DefaultLimits hold every impression in use: 45 mm at 1,200 dots per inch is 2,126 pixels a side. A decoded picture takes at most
// four times MaxPixels bytes.
var DefaultLimits = Limits{MaxBytes: 8 << 20, MaxPixels: 8_000_000, MaxSide: 4096}

// Picture is a decoded impression.
type Picture struct {
	Format        string   // PNG, BMP or JPG
	Width, Height int      // pixels
	Digest        [32]byte // SM3 of the file as received

	pixels *image.NRGBA
}

// decoders by the first bytes of a file; its name and its sender's word do not count.
var decoders = []struct {
	format, magic string
	config        func(io.Reader) (image.Config, error)
	decode        func(io.Reader) (image.Image, error)
}{
	{PNG, "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
	{BMP, "BM", bmp.DecodeConfig, bmp.Decode},
	{JPG, "\xff\xd8\xff", jpeg.DecodeConfig, jpeg.Decode},
}

// Decode reads a picture file. Errors: ErrTooLarge, ErrFormat, ErrTooManyPixels (decided on the header), ErrTruncated.
func Decode(b []byte, l Limits) (*Picture, error) {
	if len(b) > l.MaxBytes {
		return nil, fmt.Errorf("decoding picture of %d bytes, limit %d: %w", len(b), l.MaxBytes, ErrTooLarge)
	}
	for _, d := range decoders {
		if !bytes.HasPrefix(b, []byte(d.magic)) {
			continue
		}
		c, err := d.config(bytes.NewReader(b))
		if err != nil {
			return nil, decodeError(d.format, b, err)
		}
		if err := l.check(c.Width, c.Height); err != nil {
			return nil, err
		}
		img, err := d.decode(bytes.NewReader(b))
		if err != nil {
			return nil, decodeError(d.format, b, err)
		}
		pixels := toNRGBA(img)
		return &Picture{d.format, c.Width, c.Height, gm.SM3(b), pixels}, nil
	}
	return nil, fmt.Errorf("decoding picture of %d bytes: %w", len(b), ErrFormat)
}

func (l Limits) check(width, height int) error {
	if width < 1 || height < 1 {
		return fmt.Errorf("decoding picture of %d×%d pixels: %w", width, height, ErrFormat)
	}
	if width > l.MaxSide || height > l.MaxSide || width > l.MaxPixels/height {
		return fmt.Errorf("decoding picture of %d×%d pixels, limit %d in all and %d a side: %w", width, height, l.MaxPixels, l.MaxSide, ErrTooManyPixels)
	}
	return nil
}

// decodeError tells a file that was cut from one that is wrong. The decoders are no help: what they say depends on where the cut is.
func decodeError(format string, b []byte, err error) error {
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch format {
	case PNG:
		cut = cut || !bytes.Contains(b, []byte("IEND\xae\x42\x60\x82"))
	case JPG:
		cut = cut || !bytes.Contains(b, []byte("\xff\xd9"))
	}
	if cut {
		return fmt.Errorf("decoding %s of %d bytes: %w", format, len(b), ErrTruncated)
	}
	return fmt.Errorf("decoding %s: %w: %w", format, ErrFormat, err)
}

// toNRGBA brings every colour model to 8 bits with straight alpha. Pictures of those models pass unchanged; 16 bits lose their lower
// half.
func toNRGBA(img image.Image) *image.NRGBA {
	r := img.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	if m, ok := img.(*image.RGBA); ok && m.Opaque() {
		img = &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect} // premultiplied or not is the same then
	}
	for y := range r.Dy() {
		row := out.Pix[y*out.Stride : y*out.Stride+4*r.Dx()]
		switch m := img.(type) {
		case *image.NRGBA:
			copy(row, m.Pix[y*m.Stride:])
		case *image.Paletted:
			paletteRow(row, m.Pix[y*m.Stride:], m.Palette)
		default:
			for x := range r.Dx() {
				put(row[4*x:], color.NRGBAModel.Convert(img.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA))
			}
		}
	}
	return out
}

func paletteRow(row, indexes []byte, palette color.Palette) {
	for x := range len(row) / 4 {
		if i := int(indexes[x]); i < len(palette) {
			put(row[4*x:], color.NRGBAModel.Convert(palette[i]).(color.NRGBA))
		}
	}
}

func put(p []byte, c color.NRGBA) { p[0], p[1], p[2], p[3] = c.R, c.G, c.B, c.A }

// onWhite returns the colour of a pixel (R, G, B, A) when laid on white paper.
func onWhite(p []byte) (r, g, b int) {
	a := int(p[3])
	lay := func(c byte) int { return (int(c)*a + 255*(255-a) + 127) / 255 }
	return lay(p[0]), lay(p[1]), lay(p[2])
}

// ink is how much a pixel covers white paper, 0 (white) to 255.
func ink(r, g, b int) int { return 255 - min(r, g, b) }

// inkThreshold is the cover from which a pixel counts as ink. Faded scans stay above it, paper and JPEG noise below.
const inkThreshold = 77
