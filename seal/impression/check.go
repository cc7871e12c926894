package impression

import (
	"errors"
	"fmt"
	"math"
)

// What Check refuses.
var (
	// ErrSize says that the impression is not of a size that its seal type has.
	ErrSize = errors.New("impression has the wrong size")
	// ErrAspect says that stated millimetres and pixels do not agree: the picture would be distorted.
	ErrAspect = errors.New("impression has the wrong aspect ratio")
	// ErrResolution says that the picture has too few pixels for its size.
	ErrResolution = errors.New("impression has too few pixels for its size")
	// ErrColour says that the ink is not of the colour that the seal type demands.
	ErrColour = errors.New("impression has the wrong colour")
	// ErrBlank says that there is no ink, or nothing but ink, in the picture.
	ErrBlank = errors.New("impression shows no seal")
)

// Size is a size on paper in millimetres.
type Size struct{ WidthMM, HeightMM float64 }

func (s Size) String() string { return fmt.Sprintf("%g×%g mm", s.WidthMM, s.HeightMM) }

func (s Size) near(t Size, tolerance float64) bool {
	return math.Abs(s.WidthMM-t.WidthMM) <= tolerance && math.Abs(s.HeightMM-t.HeightMM) <= tolerance
}

// Colour is what a template demands of the ink.
type Colour string

// The colours of seal ink.
const (
	AnyColour Colour = "any"
	Red       Colour = "red"
)

// Template is what the impression of one seal type must look like.
type Template struct {
	Type        string  // 01 legal name, 02 finance, 03 invoice, 05 legal representative
	Sizes       []Size  // accepted sizes, the usual one first
	ToleranceMM float64 // for each side, and for the aspect ratio
	Colour      Colour
	MinDPI      float64
}

// DefaultTemplates are the templates by seal type. Only the invoice seal is fixed nationally (State Taxation Administration notice
// 2011 no. 7: oval 40×30 mm); the other sizes are those in common use, and a deployment may replace them.
func DefaultTemplates() map[string]Template {
	template := func(kind string, c Colour, sizes ...Size) Template {
		return Template{Type: kind, Sizes: sizes, ToleranceMM: 0.5, Colour: c, MinDPI: 300}
	}
	return map[string]Template{
		"01": template("01", Red, Size{40, 40}, Size{42, 42}, Size{38, 38}, Size{45, 30}),
		"02": template("02", Red, Size{38, 38}, Size{22, 22}),
		"03": template("03", Red, Size{40, 30}),
		"05": template("05", AnyColour, Size{20, 20}, Size{18, 18}),
	}
}

// Measure is what Check found.
type Measure struct {
	Ink      Size    // extent of the ink on paper
	DPI      float64 // the lower of the two directions
	RedShare float64 // share of the ink that is red, 0 to 1
}

// Check holds an impression against the template of its seal type. stated is the sender's word on the size of the whole picture on
// paper; the seal is as large as the template says when that size or the extent of its ink is. Errors: ErrBlank, ErrAspect, ErrSize,
// ErrResolution, ErrColour.
func Check(p *Picture, stated Size, t Template) (Measure, error) {
	if !(stated.WidthMM > 0 && stated.HeightMM > 0 && stated.WidthMM <= 500 && stated.HeightMM <= 500) {
		return Measure{}, fmt.Errorf("impression of type %s stated as %s: %w", t.Type, stated, ErrSize)
	}
	s := p.survey()
	if s.count == 0 || s.count > p.Width*p.Height*85/100 {
		return Measure{}, fmt.Errorf("impression of type %s, %d of %d pixels are ink: %w", t.Type, s.count, p.Width*p.Height, ErrBlank)
	}
	perX, perY := stated.WidthMM/float64(p.Width), stated.HeightMM/float64(p.Height)
	m := Measure{
		Ink:      Size{float64(s.maxX-s.minX+1) * perX, float64(s.maxY-s.minY+1) * perY},
		DPI:      25.4 / max(perX, perY),
		RedShare: float64(s.red) / float64(s.cover),
	}
	return m, m.judge(p, stated, t, perX)
}

func (m Measure) judge(p *Picture, stated Size, t Template, perX float64) error {
	square := Size{stated.WidthMM, float64(p.Height) * perX} // the size if pixels were square
	switch {
	case !stated.near(square, t.ToleranceMM):
		return fmt.Errorf("impression of type %s, %d×%d pixels stated as %s: %w", t.Type, p.Width, p.Height, stated, ErrAspect)
	case !t.accepts(stated, m.Ink):
		return fmt.Errorf("impression of type %s stated as %s, ink %.1f×%.1f mm, accepted %v ± %g mm: %w",
			t.Type, stated, m.Ink.WidthMM, m.Ink.HeightMM, t.Sizes, t.ToleranceMM, ErrSize)
	case m.DPI < 0.99*t.MinDPI: // whole pixels fall just short of a round figure
		return fmt.Errorf("impression of type %s with %.0f dots per inch, at least %.0f: %w", t.Type, m.DPI, t.MinDPI, ErrResolution)
	case t.Colour == Red && m.RedShare < 0.9:
		return fmt.Errorf("impression of type %s, %.0f %% of its ink is red: %w", t.Type, 100*m.RedShare, ErrColour)
	}
	return nil
}

// accepts compares the stated size, or the ink where the picture has a margin. Ink that leaves a fifth of the picture empty is too
// small for what was stated.
func (t Template) accepts(stated, ink Size) bool {
	if ink.WidthMM < 0.8*stated.WidthMM || ink.HeightMM < 0.8*stated.HeightMM {
		return false
	}
	for _, s := range t.Sizes {
		if stated.near(s, t.ToleranceMM) || ink.near(s, t.ToleranceMM) {
			return true
		}
	}
	return false
}

// survey is one pass over the ink.
type survey struct {
	count                  int // pixels of ink
	minX, minY, maxX, maxY int // their bounding box
	cover, red             int // ink of all of them, and of the red ones
}

func (p *Picture) survey() survey {
	s := survey{minX: p.Width, minY: p.Height}
	for y := range p.Height {
		row := p.pixels.Pix[y*p.pixels.Stride:]
		for x := range p.Width {
			r, g, b := onWhite(row[4*x:])
			c := ink(r, g, b)
			if c < inkThreshold {
				continue
			}
			s.count++
			s.cover += c
			if isRed(r, g, b) {
				s.red += c
			}
			s.minX, s.maxX = min(s.minX, x), max(s.maxX, x)
			s.minY, s.maxY = min(s.minY, y), max(s.maxY, y)
		}
	}
	return s
}

// isRed asks for a clear lead of red, with green and blue close enough that it is neither orange nor magenta.
func isRed(r, g, b int) bool {
	lead := r - max(g, b)
	return lead >= 40 && max(g, b)-min(g, b) <= lead
}
