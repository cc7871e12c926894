package draw

import (
	_ "embed" // the two font subsets
	"fmt"
	"math"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

var (
	//go:embed font/NotoSerifCJKsc-Bold-subset.otf
	songOTF []byte
	//go:embed font/NotoSansCJKsc-Bold-digits.otf
	digitsOTF []byte

	// song holds the Chinese text, digits what public security prints in Arial.
	song   = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(songOTF) })
	digits = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(digitsOTF) })
)

// glyph is an outline in em units, origin on the baseline, y down.
type glyph struct {
	contours [][]vec
	advance  float64
	min, max vec // box of the contours
}

// typeface loads glyphs of one font; it is not for concurrent use.
type typeface struct {
	font *sfnt.Font
	buf  sfnt.Buffer
}

func newTypeface(load func() (*sfnt.Font, error)) (*typeface, error) {
	f, err := load()
	if err != nil {
		return nil, fmt.Errorf("parsing embedded font: %w", err)
	}
	return &typeface{font: f}, nil
}

// glyph loads the outline of r, or ErrGlyph.
func (t *typeface) glyph(r rune) (glyph, error) {
	index, err := t.font.GlyphIndex(&t.buf, r)
	if err != nil {
		return glyph{}, fmt.Errorf("looking up %q: %w", r, err)
	}
	if index == 0 {
		return glyph{}, fmt.Errorf("%w %q (U+%04X)", ErrGlyph, r, r)
	}
	// At as many pixels per em as the em has units, outlines come unrounded.
	em := fixed.Int26_6(t.font.UnitsPerEm()) << 6
	segments, err := t.font.LoadGlyph(&t.buf, index, em, nil)
	if err != nil {
		return glyph{}, fmt.Errorf("loading outline of %q: %w", r, err)
	}
	g := glyph{contours: flatten(segments, float64(em))}
	advance, err := t.font.GlyphAdvance(&t.buf, index, em, font.HintingNone)
	if err != nil {
		return glyph{}, fmt.Errorf("loading advance of %q: %w", r, err)
	}
	g.advance = float64(advance) / float64(em)
	g.measure()
	return g, nil
}

func (g *glyph) measure() {
	g.min = vec{math.Inf(1), math.Inf(1)}
	g.max = vec{math.Inf(-1), math.Inf(-1)}
	for _, contour := range g.contours {
		for _, v := range contour {
			g.min = vec{min(g.min.x, v.x), min(g.min.y, v.y)}
			g.max = vec{max(g.max.x, v.x), max(g.max.y, v.y)}
		}
	}
}

// flatten turns curves into lines. Twelve pieces to a curve keep the error of a
// 5 mm character at 600 dpi well under a tenth of a pixel.
func flatten(segments sfnt.Segments, em float64) [][]vec {
	const pieces = 12
	var out [][]vec
	var last vec
	for _, s := range segments {
		var arg [3]vec
		for i, p := range s.Args {
			arg[i] = vec{float64(p.X) / em, float64(p.Y) / em}
		}
		if s.Op == sfnt.SegmentOpMoveTo {
			out, last = append(out, []vec{arg[0]}), arg[0]
			continue
		}
		contour := &out[len(out)-1]
		for i := 1; i <= pieces; i++ {
			t := float64(i) / pieces
			switch s.Op {
			case sfnt.SegmentOpLineTo:
				*contour = append(*contour, arg[0])
				last, i = arg[0], pieces
			case sfnt.SegmentOpQuadTo:
				*contour = append(*contour, mix(mix(last, arg[0], t), mix(arg[0], arg[1], t), t))
			case sfnt.SegmentOpCubeTo:
				ab, bc, cd := mix(last, arg[0], t), mix(arg[0], arg[1], t), mix(arg[1], arg[2], t)
				*contour = append(*contour, mix(mix(ab, bc, t), mix(bc, cd, t), t))
			}
		}
		last = (*contour)[len(*contour)-1]
	}
	return out
}

func mix(a, b vec, t float64) vec { return vec{a.x + (b.x-a.x)*t, a.y + (b.y-a.y)*t} }

// inBox maps g's em square to a box of w × h millimetres about the origin. The
// square is used, not the glyph's own outline, or 一 and 口 would blow up. Its
// baseline lies at 0.88 of the height. A narrow glyph (Latin, digit, bracket)
// is centred on its own ink and keeps its proportion to the square.
func (g glyph) inBox(w, h float64) affine {
	middle := 0.5
	if g.narrow() {
		middle = (g.min.x + g.max.x) / 2
	}
	return shifted(-middle, 0.38).then(scaled(w, h))
}

// narrow reports a glyph whose ink needs little more than half the em square:
// Latin letters, digits and full-width brackets, not 一 or 卜.
func (g glyph) narrow() bool {
	return g.advance < 0.9 || g.max.x-g.min.x < 0.36
}

// onLine maps g's ink to the given height, with capHeight (of the font's
// digits, in em) mapped to h, squeezed to at most w, centred on the origin.
func (g glyph) onLine(w, h, capHeight float64) affine {
	sy := h / capHeight
	sx := min(sy, w/(g.max.x-g.min.x))
	return shifted(-(g.min.x+g.max.x)/2, capHeight/2).then(scaled(sx, sy))
}
