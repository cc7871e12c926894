package impression

import (
	"math"
	"slices"
)

// MinLikeness is the least Likeness of two pictures of one seal. See docs/benchmarks.md for how far the two kinds of pairs lie apart.
const MinLikeness = 0.65

const (
	likeSide = 96  // cells of the common frame
	likeSpan = 2.0 // its half side in standard deviations of the ink
	window   = 10
)

// Likeness says how much two pictures are of one seal, whatever their format, background, resolution, shade and margin: both are laid on one
// another by the centre and the spread of their ink, and the overlap (shared ink over all ink) is that of the place where it is least, for
// seals of one town differ in a single character. 0 when a picture has no ink. It does not follow a turn or a picture that was retouched.
func Likeness(a, b *Picture) float64 {
	ca, errA := a.cover(printSide).centred()
	cb, errB := b.cover(printSide).centred()
	if errA != nil || errB != nil {
		return 0
	}
	fa, fb := ca.frame(), cb.frame()
	var all []float64
	for y := 0; y+window <= likeSide; y += window / 2 {
		for x := 0; x+window <= likeSide; x += window / 2 {
			if overlap, inked := windowOverlap(fa, fb, x, y); inked {
				all = append(all, overlap)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	return slices.Min(all)
}

// frame lays the ink into the common frame.
func (c *cover) frame() []float64 {
	out := make([]float64, likeSide*likeSide)
	darkest := c.darkest()
	for y := range likeSide {
		for x := range likeSide {
			fx := (float64(x)+0.5-likeSide/2)/(likeSide/2)*likeSpan*c.sx + c.cx - 0.5
			fy := (float64(y)+0.5-likeSide/2)/(likeSide/2)*likeSpan*c.sy + c.cy - 0.5
			out[y*likeSide+x] = c.at(fx, fy) / darkest
		}
	}
	return out
}

// darkest is the cover of full ink: nine cells in ten that are mostly ink have no more.
func (c *cover) darkest() float64 {
	most := slices.Max(c.ink)
	var sum, n float64
	for _, v := range c.ink {
		if v > most/2 {
			sum, n = sum+v, n+1
		}
	}
	return sum / n
}

// at reads the ink between four pixels; beyond the picture there is none.
func (c *cover) at(x, y float64) float64 {
	x0, y0 := math.Floor(x), math.Floor(y)
	fx, fy, sum := x-x0, y-y0, 0.0
	for dy, wy := range [2]float64{1 - fy, fy} {
		for dx, wx := range [2]float64{1 - fx, fx} {
			if px, py := int(x0)+dx, int(y0)+dy; px >= 0 && py >= 0 && px < c.w && py < c.h {
				sum += c.ink[py*c.w+px] * wx * wy
			}
		}
	}
	return sum
}

// windowOverlap is the overlap within one window; a window with hardly any ink says nothing.
func windowOverlap(a, b []float64, x, y int) (overlap float64, inked bool) {
	var both, either float64
	for j := y; j < y+window; j++ {
		for i := x; i < x+window; i++ {
			va, vb := a[j*likeSide+i], b[j*likeSide+i]
			both, either = both+min(va, vb), either+max(va, vb)
		}
	}
	return both / either, either >= 0.2*window*window
}
