package draw

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
)

// Defect is one thing wrong with a filed picture, for tests of those who
// receive it.
type Defect int

// The defects. DefectSize draws the seal 8 mm too large in both directions and
// says so in the returned millimetres; all others keep the stated size.
const (
	DefectNone      Defect = iota
	DefectBlue             // blue ink
	DefectSize             // 8 mm too large each way
	DefectJPEG             // re-encoded as JPEG of poor quality
	DefectGIF              // re-encoded as GIF, a format nobody files
	DefectTruncated        // the file breaks off half way
	DefectRotated          // the seal sits 12° askew
	DefectHuge             // a valid PNG of 10,000 × 10,000 pixels in few bytes
)

const (
	oversizeMM     = 8
	rotationDefect = 12 * degree
	hugeSide       = 10000
)

// shades is the number of colours from paper to full ink. Four fit two bits a
// pixel, which makes a picture a third smaller than sixteen do; at 600 dpi print
// and screen show no difference. Every signature embeds the picture of its seal.
const shades = 4

var (
	red  = color.NRGBA{R: 0xE6, G: 0x00, B: 0x12, A: 0xFF}
	blue = color.NRGBA{R: 0x12, G: 0x3C, B: 0xC8, A: 0xFF}
)

// encode writes the canvas in the format that spec asks for.
func encode(c *canvas, spec Spec) ([]byte, error) {
	ink := red
	if spec.Defect == DefectBlue {
		ink = blue
	}
	img := picture(c, palette(ink, spec.Transparent))
	var out bytes.Buffer
	switch spec.Defect {
	case DefectJPEG:
		err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 25})
		return out.Bytes(), err
	case DefectGIF:
		err := gif.Encode(&out, img, nil)
		return out.Bytes(), err
	case DefectHuge:
		return encodePNG(blank{img.Palette}, spec.DPI)
	}
	file, err := encodePNG(img, spec.DPI)
	if spec.Defect == DefectTruncated {
		file = file[:len(file)/2]
	}
	return file, err
}

// palette runs from paper to ink: opaque mixtures on white, or ink of growing
// opacity on nothing.
func palette(ink color.NRGBA, transparent bool) color.Palette {
	out := make(color.Palette, shades)
	for i := range out {
		if transparent {
			out[i] = color.NRGBA{R: ink.R, G: ink.G, B: ink.B, A: uint8(i * 255 / (shades - 1))}
			continue
		}
		blend := func(c uint8) uint8 { return uint8(255 - (255-int(c))*i/(shades-1)) }
		out[i] = color.NRGBA{R: blend(ink.R), G: blend(ink.G), B: blend(ink.B), A: 0xFF}
	}
	return out
}

func picture(c *canvas, p color.Palette) *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, c.w, c.h), p)
	for i, ink := range c.ink {
		img.Pix[i] = uint8((int(ink)*(shades-1) + 127) / 255)
	}
	return img
}

// blank is a picture of paper that needs no memory for its pixels.
type blank struct{ palette color.Palette }

func (b blank) ColorModel() color.Model         { return b.palette }
func (b blank) Bounds() image.Rectangle         { return image.Rect(0, 0, hugeSide, hugeSide) }
func (b blank) At(int, int) color.Color         { return b.palette[0] }
func (b blank) ColorIndexAt(int, int) (i uint8) { return 0 }

// headerLength is the PNG signature and the IHDR chunk, which come first.
const headerLength = 8 + 12 + 13

// encodePNG writes img and records its resolution: PNG (ISO/IEC 15948) 11.3.5.3
// wants pHYs before the first IDAT, and the standard library writes none.
func encodePNG(img image.Image, dpi int) ([]byte, error) {
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("encoding PNG: %w", err)
	}
	perMetre := uint32(math.Round(float64(dpi) / mmPerInch * 1000))
	chunk := binary.BigEndian.AppendUint32(nil, 9)
	chunk = append(chunk, "pHYs"...)
	chunk = binary.BigEndian.AppendUint32(chunk, perMetre)
	chunk = binary.BigEndian.AppendUint32(chunk, perMetre)
	chunk = append(chunk, 1) // unit: the metre
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	file := out.Bytes()
	return bytes.Join([][]byte{file[:headerLength], chunk, file[headerLength:]}, nil), nil
}
