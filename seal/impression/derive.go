package impression

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
)

// ErrDerive says that the derived picture does not cover the filed one closely enough, or could not be made.
var ErrDerive = errors.New("derived picture differs from the impression")

// MinIoU is the least overlap of the ink of both pictures: intersection over union.
const MinIoU = 0.98

// Derived is the picture that goes into a seal.
type Derived struct {
	PNG               []byte
	IoU               float64 // measured on the finished file against the filed picture
	WidthMM, HeightMM int     // whole millimetres, as SES_ESPictureInfo takes them
}

// Derive turns the filed picture into a PNG. White paper becomes transparency such that the result laid on white shows the very pixels
// filed; a picture that is already transparent keeps every pixel. Up to 256 colours are written as a palette, since every signature
// carries the picture. Error: ErrDerive.
func Derive(p *Picture, stated Size) (Derived, error) {
	return derive(p, stated, png.BestCompression)
}

// Foresee is Derive for whoever wants to know how far the pictures overlap and not the file, which is larger here: it takes a quarter of the time.
func Foresee(p *Picture, stated Size) (Derived, error) { return derive(p, stated, png.BestSpeed) }

func derive(p *Picture, stated Size, level png.CompressionLevel) (Derived, error) {
	d := Derived{WidthMM: int(math.Round(stated.WidthMM)), HeightMM: int(math.Round(stated.HeightMM))}
	if d.WidthMM < 1 || d.HeightMM < 1 {
		return Derived{}, fmt.Errorf("deriving a picture of %s: %w", stated, ErrDerive)
	}
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: level}
	if err := enc.Encode(&out, smallest(p.transparent())); err != nil {
		return Derived{}, fmt.Errorf("encoding derived picture: %w: %w", ErrDerive, err)
	}
	d.PNG = out.Bytes()
	back, err := Decode(d.PNG, Limits{MaxBytes: len(d.PNG), MaxPixels: p.Width * p.Height, MaxSide: max(p.Width, p.Height)})
	if err != nil {
		return Derived{}, fmt.Errorf("reading derived picture back: %w: %w", ErrDerive, err)
	}
	if d.IoU = Overlap(p, back); d.IoU < MinIoU {
		return Derived{}, fmt.Errorf("overlap %.4f, at least %.2f: %w", d.IoU, MinIoU, ErrDerive)
	}
	return d, nil
}

// Overlap is the intersection over union of the ink of two pictures, 0 to 1. Pictures of different pixel sizes, or without any ink,
// do not overlap.
func Overlap(a, b *Picture) float64 {
	if a.Width != b.Width || a.Height != b.Height {
		return 0
	}
	both, either := 0, 0
	for y := range a.Height {
		ra, rb := a.pixels.Pix[y*a.pixels.Stride:], b.pixels.Pix[y*b.pixels.Stride:]
		for x := range a.Width {
			inA := ink(onWhite(ra[4*x:])) >= inkThreshold
			inB := ink(onWhite(rb[4*x:])) >= inkThreshold
			if inA && inB {
				both++
			}
			if inA || inB {
				either++
			}
		}
	}
	if either == 0 {
		return 0
	}
	return float64(both) / float64(either)
}

// transparent returns the pixels with white turned into transparency, or the filed pixels where they have transparency already.
func (p *Picture) transparent() *image.NRGBA {
	for i := 3; i < len(p.pixels.Pix); i += 4 {
		if p.pixels.Pix[i] != 255 {
			return p.pixels
		}
	}
	out := image.NewNRGBA(p.pixels.Rect)
	for i := 0; i < len(out.Pix); i += 4 {
		clearWhite(out.Pix[i:], p.pixels.Pix[i:])
	}
	return out
}

// clearWhite splits an opaque colour into ink and white paper: the least alpha for which some ink colour on white gives it.
func clearWhite(out, in []byte) {
	a := ink(int(in[0]), int(in[1]), int(in[2]))
	if a == 0 {
		return
	}
	for c := range 3 {
		out[c] = byte((255*(int(in[c])-255+a) + a/2) / a)
	}
	out[3] = byte(a)
}

// smallest returns img with a palette if it has at most 256 colours, else img.
func smallest(img *image.NRGBA) image.Image {
	index := make(map[color.NRGBA]uint8, 256)
	out := image.NewPaletted(img.Rect, nil)
	for i := 0; i < len(img.Pix); i += 4 {
		c := color.NRGBA{img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3]}
		n, known := index[c]
		if !known {
			if len(index) == 256 {
				return img
			}
			n = uint8(len(index))
			index[c] = n
			out.Palette = append(out.Palette, c)
		}
		out.Pix[i/4] = n
	}
	return out
}
