package draw

import (
	"math"
	"testing"
)

func TestFillCoverage(t *testing.T) {
	square := func(x0, y0, x1, y1 int64) []point {
		return []point{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}
	}
	back := func(c []point) []point { return []point{c[3], c[2], c[1], c[0]} }
	cases := []struct {
		name     string
		contours [][]point
		want     [9]uint8 // 3 × 3 pixels
	}{
		{"one pixel", [][]point{square(256, 256, 512, 512)}, [9]uint8{4: 255}},
		{"half a pixel wide", [][]point{square(256, 256, 384, 512)}, [9]uint8{4: 127}},
		{"quarter of a pixel", [][]point{square(256, 256, 384, 384)}, [9]uint8{4: 63}},
		{"across the corner", [][]point{square(-900, -900, 256, 256)}, [9]uint8{0: 255}},
		{"far outside", [][]point{square(9000, 9000, 9900, 9900)}, [9]uint8{}},
		{"hole by opposite direction", [][]point{square(0, 0, 768, 768), back(square(256, 256, 512, 512))},
			[9]uint8{255, 255, 255, 255, 0, 255, 255, 255, 255}},
		{"no hole by same direction", [][]point{square(0, 0, 768, 768), square(256, 256, 512, 512)},
			[9]uint8{255, 255, 255, 255, 255, 255, 255, 255, 255}},
		{"flat", [][]point{{{0, 300}, {700, 300}}}, [9]uint8{}},
		{"nothing", nil, [9]uint8{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cv := newCanvas(3, 3)
			cv.fill(c.contours)
			if got := [9]uint8(cv.ink); got != c.want {
				t.Errorf("ink %v, want %v", got, c.want)
			}
		})
	}
}

// TestDiscArea compares the ink of a disc with π r².
func TestDiscArea(t *testing.T) {
	cv := newCanvas(200, 200)
	p := &pen{cv: cv, base: shifted(100, 100)}
	p.shape([][]vec{ellipse(90, 90)}, here)
	sum := 0.0
	for _, ink := range cv.ink {
		sum += float64(ink) / 255
	}
	if want := math.Pi * 90 * 90; math.Abs(sum-want) > want/500 {
		t.Errorf("area %.1f, want %.1f", sum, want)
	}
}

// TestArcSpacing holds the recipe's measure: 14 characters stand 4.86, 4.74 and
// 3.97 mm apart on the three arcs.
func TestArcSpacing(t *testing.T) {
	cases := []struct {
		name             string
		a, b, span, slot float64
	}{
		{"legal name", 15.6, 15.6, 250, 4.86},
		{"finance", 15.2, 15.2, 250, 4.74},
		{"invoice", 16.4, 11.4, 236, 3.97},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			arc := measureArc(c.a, c.b, c.span*degree)
			if got := arc.length / 14; math.Abs(got-c.slot) > 0.01 {
				t.Errorf("slot %.3f mm, want %.2f", got, c.slot)
			}
			top := arc.place(0).at(vec{})
			if math.Abs(top.x) > 1e-6 || math.Abs(top.y+c.b) > 1e-6 {
				t.Errorf("middle of the arc at %v, want the top", top)
			}
			left, right := arc.place(-10).at(vec{}), arc.place(10).at(vec{})
			if math.Abs(left.x+right.x) > 1e-3 || math.Abs(left.y-right.y) > 1e-3 {
				t.Errorf("arc leans: %v and %v", left, right)
			}
		})
	}
}
