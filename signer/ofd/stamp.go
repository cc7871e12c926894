package ofd

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"sealkeeper/internal/gm"
)

// Rect is a rectangle in millimetres.
type Rect struct{ X, Y, W, H float64 }

// Stamp is one place where the seal's picture stands. Millimetres from the page's top left corner, y downwards; values count to the
// micrometre (three decimals, halves rounded away from zero) everywhere.
type Stamp struct {
	Page       int     // 1 for the first page
	X, Y, W, H float64 // the whole picture
	Clip       *Rect   // the visible part, relative to X, Y; nil for all of it (a riding stamp shows a strip on each page)
}

const (
	placementDomain = "sealkeeper-placement-v1"
	toleranceUM     = 10      // a stamp may leave its page by 10 µm: page sizes are often converted from points
	reachMM         = 100_000 // beyond this no coordinate is meant
)

// PlacementDigest is what the owner's approval says about the stamps: SM3 over UTF-8 lines, each ended by LF, first the line
// sealkeeper-placement-v1 and then, for each stamp in order,
//
//	<page> <x> <y> <w> <h>
//	<page> <x> <y> <w> <h> clip <x> <y> <w> <h>
//
// the second form for a clipped stamp; the page in decimal, millimetres with exactly three decimals and no sign but a minus.
// Test vector: the stamps {1, 150, 230.5, 40, 40} and {2, 190, 100, 40, 40, clip 0 0 20 40} give the text
//
//	sealkeeper-placement-v1
//	1 150.000 230.500 40.000 40.000
//	2 190.000 100.000 40.000 40.000 clip 0.000 0.000 20.000 40.000
//
// and the digest 6a6b237ddbc565c06c4381d60beb1b09d2cb7e5a2313da48435af5377461589f.
func PlacementDigest(stamps []Stamp) [32]byte {
	var b strings.Builder
	b.WriteString(placementDomain + "\n")
	for _, s := range stamps {
		fmt.Fprintf(&b, "%d %s", s.Page, fixed(s.X, s.Y, s.W, s.H))
		if c := s.Clip; c != nil {
			b.WriteString(" clip " + fixed(c.X, c.Y, c.W, c.H))
		}
		b.WriteByte('\n')
	}
	return gm.SM3([]byte(b.String()))
}

// fixed writes millimetres with three decimals. Values that Prepare refuses still get a text of their own.
func fixed(v ...float64) string {
	s := make([]string, len(v))
	for i, mm := range v {
		if um, ok := micrometres(mm); ok {
			s[i] = fmt.Sprintf("%s%d.%03d", sign(um), abs(um)/1000, abs(um)%1000)
		} else {
			s[i] = strconv.FormatFloat(mm, 'e', -1, 64)
		}
	}
	return strings.Join(s, " ")
}

// box writes an ST_Box: the same values without superfluous zeros.
func box(v ...float64) string {
	s := strings.Fields(fixed(v...))
	for i := range s {
		s[i] = strings.TrimRight(strings.TrimRight(s[i], "0"), ".")
	}
	return strings.Join(s, " ")
}

// micrometres rounds a finite coordinate within reach.
func micrometres(mm float64) (int64, bool) {
	if math.IsNaN(mm) || math.Abs(mm) > reachMM {
		return 0, false
	}
	return int64(math.Round(mm * 1000)), true
}

func abs(v int64) int64 { return max(v, -v) }

func sign(v int64) string {
	if v < 0 {
		return "-"
	}
	return ""
}

// rectUM is a rectangle in micrometres.
type rectUM struct{ x, y, w, h int64 }

func toUM(x, y, w, h float64) (rectUM, bool) {
	var r rectUM
	ok := true
	for _, c := range []struct {
		to *int64
		mm float64
	}{{&r.x, x}, {&r.y, y}, {&r.w, w}, {&r.h, h}} {
		um, fine := micrometres(c.mm)
		*c.to, ok = um, ok && fine
	}
	return r, ok && r.w > 0 && r.h > 0
}

// within reports whether r lies in a w × h area, tolerance allowed.
func (r rectUM) within(w, h int64) bool {
	return r.x >= -toleranceUM && r.y >= -toleranceUM && r.x+r.w <= w+toleranceUM && r.y+r.h <= h+toleranceUM
}

// checkStamps refuses what cannot be placed; what is visible of a stamp must lie on its page.
func (p *Package) checkStamps(stamps []Stamp) error {
	if len(stamps) == 0 || len(stamps) > p.lim.Pages {
		return fmt.Errorf("%d stamps: %w", len(stamps), ErrStamp)
	}
	for i, s := range stamps {
		if err := p.checkStamp(s); err != nil {
			return fmt.Errorf("stamp %d: %w", i+1, err)
		}
	}
	return nil
}

func (p *Package) checkStamp(s Stamp) error {
	if s.Page < 1 || s.Page > len(p.pages) {
		return fmt.Errorf("page %d of %d: %w", s.Page, len(p.pages), ErrPage)
	}
	visible, ok := toUM(s.X, s.Y, s.W, s.H)
	if !ok {
		return fmt.Errorf("boundary %s: %w", fixed(s.X, s.Y, s.W, s.H), ErrStamp)
	}
	if s.Clip != nil {
		c, ok := toUM(s.Clip.X, s.Clip.Y, s.Clip.W, s.Clip.H)
		if !ok || !c.within(visible.w, visible.h) {
			return fmt.Errorf("clip %s: %w", fixed(s.Clip.X, s.Clip.Y, s.Clip.W, s.Clip.H), ErrStamp)
		}
		visible = rectUM{visible.x + c.x, visible.y + c.y, c.w, c.h}
	}
	page := p.pages[s.Page-1]
	w, _ := micrometres(page.WidthMM) // finite: parseBox
	h, _ := micrometres(page.HeightMM)
	if !visible.within(w, h) {
		return fmt.Errorf("%s on a page of %s mm: %w", fixed(s.X, s.Y, s.W, s.H), fixed(page.WidthMM, page.HeightMM), ErrStampOutside)
	}
	return nil
}
