package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
)

// picture is a plain ring on a clear ground, 20 kB or so; nothing of an impression.
func picture() []byte {
	const size = 600
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			dx, dy := x-size/2, y-size/2
			if r := dx*dx + dy*dy; r < 290*290 && r > 270*270 {
				m.SetNRGBA(x, y, color.NRGBA{R: 200, A: uint8(160 + (x*31+y*17)%96)})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}
