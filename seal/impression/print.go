package impression

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrNoPrint says that a picture has no ink whose place could be measured.
var ErrNoPrint = errors.New("impression has no print")

// Bands is the number of independent parts of a Print.
const Bands = 6

// Print is the perceptual digest of a picture: what is left the same by another file format, background, resolution, shade or margin.
// It is a set of signs of random sums, far too few to draw the picture from. Two prints are alike when any of their bands is the same;
// whether two alike pictures are of one seal is for Likeness to say.
type Print struct {
	bands [Bands]uint64
	doubt [Bands][doubtful]uint8 // the bits of each band that came nearest to falling the other way
}

const (
	width    = 64 // bits of a band
	doubtful = 5

	printSide = 256 // pixels to which the longer side is brought
	rings     = 16  // of the polar grid about the centre of the ink
	sectors   = 256
	innermost = 0.6 // radii of the grid in standard deviations of the ink; a star in the middle says nothing
	outermost = 1.3
)

// NewPrint takes the print of a picture. Error: ErrNoPrint.
func NewPrint(p *Picture) (Print, error) {
	c, err := p.cover(printSide).centred()
	if err != nil {
		return Print{}, err
	}
	var out Print
	grid := c.polar()
	for b := range Bands {
		out.bands[b], out.doubt[b] = band(grid, b)
	}
	return out, nil
}

// Keys are the bands as text, one each, to be found again by Probes of a picture that is alike.
func (p Print) Keys() []string {
	keys := make([]string, Bands)
	for b := range keys {
		keys[b] = bandKey(b, p.bands[b])
	}
	return keys
}

// Probes are the keys that a picture alike may have been given: every band with its doubtful bits either way.
func (p Print) Probes() []string {
	var keys []string
	for b := range Bands {
		for choice := range 1 << doubtful {
			v := p.bands[b]
			for i, bit := range p.doubt[b] {
				if choice>>i&1 == 1 {
					v ^= 1 << bit
				}
			}
			keys = append(keys, bandKey(b, v))
		}
	}
	return keys
}

// Distance is the number of different bits of two prints, of 384.
func (p Print) Distance(q Print) int {
	n := 0
	for b := range Bands {
		n += bits.OnesCount64(p.bands[b] ^ q.bands[b])
	}
	return n
}

func bandKey(b int, v uint64) string {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], v)
	return fmt.Sprintf("1-%d-%s", b, hex.EncodeToString(raw[:])) // 1 is the version of the digest
}

// band is the signs of 64 sums over the grid, every cell added or taken away at random, and the bits of the smallest sums.
func band(grid []float64, b int) (v uint64, doubt [doubtful]uint8) {
	var least [doubtful]float64
	for i := range least {
		least[i] = math.Inf(1)
	}
	for bit := range width {
		sum, state := 0.0, uint64(b*width+bit)
		for at := 0; at < len(grid); at += 64 {
			signs := splitmix(&state)
			for i, cell := range grid[at : at+64] {
				if signs>>i&1 == 0 {
					cell = -cell
				}
				sum += cell
			}
		}
		if sum > 0 {
			v |= 1 << bit
		}
		for i, at := math.Abs(sum), 0; at < doubtful; at++ { // insertion into the sorted least
			if i < least[at] {
				copy(least[at+1:], least[at:])
				copy(doubt[at+1:], doubt[at:])
				least[at], doubt[at] = i, uint8(bit)
				break
			}
		}
	}
	return v, doubt
}

// splitmix is the next number of the SplitMix64 sequence: the signs are the same on every machine and in every version.
func splitmix(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// cover is how much ink lies where, brought to a side of at most a few hundred pixels.
type cover struct {
	w, h   int
	ink    []float64 // 0 to 1
	cx, cy float64   // centre of the ink
	sx, sy float64   // its standard deviations
}

// cover averages the ink over the pixels that fall together. Paper and its noise count as nothing.
func (p *Picture) cover(side int) *cover {
	scale := min(1, float64(side)/float64(max(p.Width, p.Height)))
	c := &cover{w: max(1, int(float64(p.Width)*scale)), h: max(1, int(float64(p.Height)*scale))}
	c.ink = make([]float64, c.w*c.h)
	share := float64(c.w) / float64(p.Width) * float64(c.h) / float64(p.Height) / 255
	perX, perY := float64(c.w)/float64(p.Width), float64(c.h)/float64(p.Height)
	for y := range p.Height {
		row := p.pixels.Pix[y*p.pixels.Stride:]
		y0, y1, fy := split(y, perY, c.h)
		for x := range p.Width {
			i := ink(onWhite(row[4*x:]))
			if i < inkThreshold {
				continue
			}
			x0, x1, fx := split(x, perX, c.w)
			v := float64(i) * share
			c.ink[y0*c.w+x0] += v * (1 - fy) * (1 - fx)
			c.ink[y0*c.w+x1] += v * (1 - fy) * fx
			c.ink[y1*c.w+x0] += v * fy * (1 - fx)
			c.ink[y1*c.w+x1] += v * fy * fx
		}
	}
	return c
}

// split says into which two cells of a coarser row a pixel falls, and which share of it into the second.
func split(at int, per float64, cells int) (first, second int, share float64) {
	from, to := float64(at)*per, float64(at+1)*per
	first = min(int(from), cells-1)
	edge := float64(first + 1)
	if to <= edge {
		return first, first, 0
	}
	return first, min(first+1, cells-1), (to - edge) / (to - from)
}

// centred measures where the ink lies.
func (c *cover) centred() (*cover, error) {
	var m, x1, y1, x2, y2 float64
	for y := range c.h {
		for x := range c.w {
			v, fx, fy := c.ink[y*c.w+x], float64(x)+0.5, float64(y)+0.5
			m, x1, y1, x2, y2 = m+v, x1+v*fx, y1+v*fy, x2+v*fx*fx, y2+v*fy*fy
		}
	}
	if m == 0 {
		return nil, ErrNoPrint
	}
	c.cx, c.cy = x1/m, y1/m
	c.sx, c.sy = math.Sqrt(max(0, x2/m-c.cx*c.cx)), math.Sqrt(max(0, y2/m-c.cy*c.cy))
	if c.sx < 1 || c.sy < 1 {
		return nil, ErrNoPrint
	}
	return c, nil
}

// polar lays the ink into rings and sectors about its centre, and takes away what is the same for a good way round: borders, and where
// there is writing at all, say nothing of whose seal it is.
func (c *cover) polar() []float64 {
	grid := make([]float64, rings*sectors)
	for y := range c.h {
		for x := range c.w {
			v := c.ink[y*c.w+x]
			if v == 0 {
				continue
			}
			dx, dy := (float64(x)+0.5-c.cx)/c.sx, (float64(y)+0.5-c.cy)/c.sy
			r := (math.Hypot(dx, dy)/math.Sqrt2 - innermost) / (outermost - innermost) * rings
			a := (math.Atan2(dy, dx)/math.Pi + 1) / 2 * sectors
			spread(grid, r-0.5, a-0.5, v)
		}
	}
	for r := range rings {
		row := grid[r*sectors : (r+1)*sectors]
		copy(row, level(row))
	}
	return grid
}

// level takes the mean of its surroundings from every sector of a ring.
func level(row []float64) []float64 {
	const reach = 4
	out := make([]float64, len(row))
	for i := range row {
		mean := 0.0
		for d := -reach; d <= reach; d++ {
			mean += row[(i+d+len(row))%len(row)] / (2*reach + 1)
		}
		out[i] = row[i] - mean
	}
	return out
}

// spread divides v among the four cells round a place, so that a hair's breadth of displacement changes little.
func spread(grid []float64, r, a, v float64) {
	r0, a0 := math.Floor(r), math.Floor(a)
	fr, fa := r-r0, a-a0
	for dr, wr := range [2]float64{1 - fr, fr} {
		ring := int(r0) + dr
		if ring < 0 || ring >= rings {
			continue
		}
		for da, wa := range [2]float64{1 - fa, fa} {
			grid[ring*sectors+(int(a0)+da+sectors)%sectors] += v * wr * wa
		}
	}
}
