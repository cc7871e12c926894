package draw

import (
	"math"
	"sort"
)

// arcText is a line of characters on an ellipse about the centre, centred on
// the top and read left to right.
type arcText struct {
	a, b     float64 // half-axes of the line through the characters' middles
	height   float64 // of a character, mm
	maxWidth float64
	spanDeg  float64 // opening of the arc
	maxSlot  float64 // a short name does not spread further apart than this
}

// bracketWeight is the share of a full slot that a narrow character takes.
const bracketWeight = 0.62

// draw inks name. Long names are squeezed in width first, then the arc opens,
// and only past 28 characters does the height give way.
func (t arcText) draw(p *pen, name string) error {
	face, err := newTypeface(song)
	if err != nil {
		return err
	}
	var glyphs []glyph
	var weights []float64
	total := 0.0
	for _, r := range name {
		g, err := face.glyph(r)
		if err != nil {
			return err
		}
		weight := 1.0
		if g.narrow() {
			weight = bracketWeight
		}
		glyphs, weights, total = append(glyphs, g), append(weights, weight), total+weight
	}
	span, height := t.spanDeg, t.height
	if total > 20 {
		span = max(span, 280)
	}
	if total > 28 {
		height = min(height, 3.8)
	}
	curve := measureArc(t.a, t.b, span*degree)
	slot := min(curve.length/total, t.maxSlot)
	width := min(t.maxWidth, 0.92*slot)
	at := -slot * total / 2
	for i, g := range glyphs {
		at += weights[i] * slot / 2
		if len(g.contours) > 0 {
			p.shape(g.contours, g.inBox(width, height).then(curve.place(at)))
		}
		at += weights[i] * slot / 2
	}
	return nil
}

// arc measures an ellipse by length about its top, so that characters stand at
// equal distances: equal angles would crowd them on an oval.
type arc struct {
	a, b   float64
	span   float64
	length float64
	run    []float64 // length from the start of the arc, by step
}

const arcSteps = 4000

func measureArc(a, b, span float64) arc {
	out := arc{a: a, b: b, span: span, run: make([]float64, arcSteps+1)}
	last := out.point(-span / 2)
	for i := 1; i <= arcSteps; i++ {
		p := out.point(-span/2 + span*float64(i)/arcSteps)
		out.run[i] = out.run[i-1] + math.Hypot(p.x-last.x, p.y-last.y)
		last = p
	}
	out.length = out.run[arcSteps]
	return out
}

// point is the place at parameter t, zero at the top, growing clockwise.
func (c arc) point(t float64) vec {
	s, k := math.Sincos(t)
	return vec{c.a * s, -c.b * k}
}

// place moves a shape about the origin to the point at signed length s from
// the top and turns it with the tangent there.
func (c arc) place(s float64) affine {
	want := c.length/2 + s
	i := min(max(sort.SearchFloat64s(c.run, want), 1), arcSteps)
	part := (want - c.run[i-1]) / (c.run[i] - c.run[i-1])
	t := -c.span/2 + c.span*(float64(i-1)+part)/arcSteps
	sin, cos := math.Sincos(t)
	at := c.point(t)
	return rotated(math.Atan2(c.b*sin, c.a*cos)).then(shifted(at.x, at.y))
}

// line inks characters in boxes of w × h millimetres, gap apart, centred on
// (0, y).
func line(p *pen, text string, y, w, h, gap float64) error {
	face, err := newTypeface(song)
	if err != nil {
		return err
	}
	runes := []rune(text)
	x := -(w + gap) * float64(len(runes)-1) / 2
	for _, r := range runes {
		g, err := face.glyph(r)
		if err != nil {
			return err
		}
		p.shape(g.contours, g.inBox(w, h).then(shifted(x, y)))
		x += w + gap
	}
	return nil
}

// digitFace loads the digit font with the height of its digits in em.
func digitFace() (*typeface, float64, error) {
	face, err := newTypeface(digits)
	if err != nil {
		return nil, 0, err
	}
	seven, err := face.glyph('7')
	if err != nil {
		return nil, 0, err
	}
	return face, -seven.min.y, nil
}

// digitLine inks text centred on (0, y) in equal slots of width/len(text),
// each character of height h and at most w wide.
func digitLine(p *pen, text string, y, width, w, h float64) error {
	face, capHeight, err := digitFace()
	if err != nil {
		return err
	}
	slot := width / float64(len(text))
	for i, r := range text {
		g, err := face.glyph(r)
		if err != nil {
			return err
		}
		x := (float64(i)+0.5)*slot - width/2
		p.shape(g.contours, g.onLine(w, h, capHeight).then(shifted(x, y)))
	}
	return nil
}

// printedCode inks the seal code along the bottom of an ellipse, left to right
// with the digits' heads towards the centre.
func printedCode(p *pen, code string, a, b, h, slot float64) error {
	if code == "" {
		return nil
	}
	face, capHeight, err := digitFace()
	if err != nil {
		return err
	}
	bottom := measureArc(a, b, math.Pi)
	for i, r := range code {
		g, err := face.glyph(r)
		if err != nil {
			return err
		}
		s := (float64(i) - float64(len(code)-1)/2) * slot
		// The lower half is the upper one seen in a mirror: same x, other y.
		m := bottom.place(s)
		m = affine{a: m.a, b: -m.b, c: -m.c, d: m.d, e: m.e, f: -m.f}
		p.shape(g.contours, g.onLine(slot*0.8, h, capHeight).then(m))
	}
	return nil
}
