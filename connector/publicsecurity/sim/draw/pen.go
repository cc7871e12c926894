package draw

import (
	"math"
)

// vec is a position in millimetres about the seal's centre, y down.
type vec struct{ x, y float64 }

// affine maps (x, y) to (a·x + b·y + e, c·x + d·y + f).
type affine struct{ a, b, c, d, e, f float64 }

func scaled(sx, sy float64) affine { return affine{a: sx, d: sy} }

func shifted(dx, dy float64) affine { return affine{a: 1, d: 1, e: dx, f: dy} }

// rotated turns clockwise on the page by angle radians.
func rotated(angle float64) affine {
	s, c := math.Sincos(angle)
	return affine{a: c, b: -s, c: s, d: c}
}

// then applies m first and n after it.
func (m affine) then(n affine) affine {
	return affine{
		a: n.a*m.a + n.b*m.c, b: n.a*m.b + n.b*m.d,
		c: n.c*m.a + n.d*m.c, d: n.c*m.b + n.d*m.d,
		e: n.a*m.e + n.b*m.f + n.e, f: n.c*m.e + n.d*m.f + n.f,
	}
}

func (m affine) at(p vec) vec {
	return vec{m.a*p.x + m.b*p.y + m.e, m.c*p.x + m.d*p.y + m.f}
}

// pen draws shapes given in millimetres about the seal's centre.
type pen struct {
	cv   *canvas
	base affine // millimetres to pixels, with any defect of placement
}

func newPen(cv *canvas, widthMM, heightMM, dpi int) *pen {
	k := float64(dpi) / mmPerInch
	toPixels := shifted(float64(widthMM)/2, float64(heightMM)/2).then(scaled(k, k))
	return &pen{cv: cv, base: toPixels}
}

// shape inks contours after mapping them by place into millimetres.
func (p *pen) shape(contours [][]vec, place affine) {
	m := place.then(p.base)
	out := make([][]point, len(contours))
	for i, contour := range contours {
		out[i] = make([]point, len(contour))
		for j, v := range contour {
			q := m.at(v)
			out[i][j] = point{int64(math.Round(q.x * unit)), int64(math.Round(q.y * unit))}
		}
	}
	p.cv.fill(out)
}

var here = scaled(1, 1)

// ring inks an elliptical border whose outer half-axes are a and b.
func (p *pen) ring(a, b, border float64) {
	p.shape([][]vec{ellipse(a, b), reversed(ellipse(a-border, b-border))}, here)
}

// frame inks a square border whose outer half side is r, its corners rounded.
func (p *pen) frame(r, border float64) {
	p.shape([][]vec{roundedSquare(r, 1.2), reversed(roundedSquare(r-border, 0.6))}, here)
}

// star inks a five-pointed star, first point up. The inner corners lie where
// the lines between every other point cross.
func (p *pen) star(r float64) {
	inner := r * math.Sin(18*degree) / math.Sin(126*degree)
	contour := make([]vec, 10)
	for i := range contour {
		radius := r
		if i%2 == 1 {
			radius = inner
		}
		s, c := math.Sincos(float64(i) * 36 * degree)
		contour[i] = vec{radius * s, -radius * c}
	}
	p.shape([][]vec{contour}, here)
}

const degree = math.Pi / 180

// ellipse is a 720-sided polygon: at 600 dpi its sides bend less than a
// hundredth of a pixel from the curve.
func ellipse(a, b float64) []vec {
	out := make([]vec, 720)
	for i := range out {
		s, c := math.Sincos(float64(i) * math.Pi / 360)
		out[i] = vec{a * c, b * s}
	}
	return out
}

func roundedSquare(r, corner float64) []vec {
	const arc = 24
	var out []vec
	for q := range 4 {
		s, c := math.Sincos(float64(q)*math.Pi/2 + math.Pi/4)
		centre := vec{math.Copysign(r-corner, c), math.Copysign(r-corner, s)}
		for i := range arc + 1 {
			s, c := math.Sincos((float64(q) + float64(i)/arc) * math.Pi / 2)
			out = append(out, vec{centre.x + corner*c, centre.y + corner*s})
		}
	}
	return out
}

func reversed(contour []vec) []vec {
	out := make([]vec, len(contour))
	for i, v := range contour {
		out[len(contour)-1-i] = v
	}
	return out
}
