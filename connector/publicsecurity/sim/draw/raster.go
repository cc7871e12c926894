package draw

import (
	"cmp"
	"slices"
)

// Fixed-point units of the rasteriser: 256 to the pixel, 16 sample lines to the
// pixel row.
const (
	unit    = 256
	samples = 16
	step    = unit / samples
)

// point is a position on the canvas in 1/256 pixel, y down.
type point struct{ x, y int64 }

// canvas collects ink: one byte of coverage per pixel, 0 clear to 255 full.
type canvas struct {
	w, h int
	ink  []uint8

	// lines holds the crossings of one shape, by sample line. The coverage of
	// one pixel row is the running sum of rise plus part. All are kept between
	// shapes to spare allocations.
	lines      [][]crossing
	rise, part []int64
}

// crossing is where an outline passes a sample line, and in which direction.
type crossing struct {
	x   int64
	dir int8
}

func newCanvas(w, h int) *canvas {
	return &canvas{w: w, h: h, ink: make([]uint8, w*h), rise: make([]int64, w+2), part: make([]int64, w+2)}
}

// fill inks the area inside contours by the non-zero rule. Only the rows of the
// shape's own box are visited. Everything is integer arithmetic: a float
// rasteriser may round differently where a compiler fuses multiply and add.
func (c *canvas) fill(contours [][]point) {
	top, bottom := c.rows(contours)
	if top >= bottom {
		return
	}
	c.reset((bottom - top) * samples)
	for _, contour := range contours {
		for i, p := range contour {
			c.edge(p, contour[(i+1)%len(contour)], top)
		}
	}
	for row := top; row < bottom; row++ {
		c.sweep(row, c.lines[(row-top)*samples:(row-top+1)*samples])
	}
}

// rows gives the half-open range of pixel rows that contours can touch.
func (c *canvas) rows(contours [][]point) (top, bottom int) {
	top, bottom = c.h, 0
	for _, contour := range contours {
		for _, p := range contour {
			top = min(top, int(p.y>>8))
			bottom = max(bottom, int(p.y>>8)+1)
		}
	}
	return max(top, 0), min(bottom, c.h)
}

func (c *canvas) reset(n int) {
	if n > len(c.lines) {
		c.lines = append(c.lines, make([][]crossing, n-len(c.lines))...)
	}
	for i := range n {
		c.lines[i] = c.lines[i][:0]
	}
}

// edge records where the line from p to q passes the sample lines below row
// top. Sample lines lie in the middle of each sixteenth of a row.
func (c *canvas) edge(p, q point, top int) {
	dir := int8(1)
	if p.y > q.y {
		p, q, dir = q, p, -1
	}
	origin := int64(top) * unit
	first := max(ceilDiv(p.y-origin-step/2, step), 0)
	last := min(ceilDiv(q.y-origin-step/2, step), int64(min(len(c.lines), (c.h-top)*samples)))
	for i := first; i < last; i++ {
		y := origin + i*step + step/2
		x := p.x + floorDiv((y-p.y)*(q.x-p.x), q.y-p.y)
		c.lines[i] = append(c.lines[i], crossing{x, dir})
	}
}

// sweep turns the crossings of one pixel row into ink.
func (c *canvas) sweep(row int, lines [][]crossing) {
	clear(c.rise)
	clear(c.part)
	for _, line := range lines {
		slices.SortFunc(line, func(a, b crossing) int {
			return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.dir, b.dir))
		})
		winding, from := 0, int64(0)
		for _, x := range line {
			if winding == 0 {
				from = x.x
			}
			winding += int(x.dir)
			if winding == 0 {
				c.span(from, x.x)
			}
		}
	}
	ink := c.ink[row*c.w : (row+1)*c.w]
	sum := int64(0)
	for i := range ink {
		sum += c.rise[i]
		ink[i] = uint8(min(int64(ink[i])+(sum+c.part[i])*255/(unit*samples), 255))
	}
}

// span adds the stretch [from, to) of one sample line to the row's coverage.
// Whole pixels are noted as a rise at their start and a fall at their end.
func (c *canvas) span(from, to int64) {
	from, to = max(from, 0), min(to, int64(c.w)*unit)
	if from >= to {
		return
	}
	i, j := from/unit, to/unit
	c.part[i] += unit*(i+1) - from
	c.part[j] -= unit*(j+1) - to
	c.rise[i+1] += unit
	c.rise[j+1] -= unit
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func ceilDiv(a, b int64) int64 { return -floorDiv(-a, b) }
