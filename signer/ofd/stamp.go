package ofd

import (
	"fmt"
	"strings"

	"sealkeeper/signer/placement"
)

// Rect is a rectangle in millimetres.
type Rect = placement.Rect

// Stamp is one place where the seal's picture stands. Millimetres from the page's top left corner, y downwards; values count to the
// micrometre (three decimals, halves rounded away from zero) everywhere.
type Stamp = placement.Stamp

const toleranceUM = 10 // a stamp may leave its page by 10 µm: page sizes are often converted from points

// PlacementDigest is the digest of a plan of these stamps alone (placement.Plan.Digest).
func PlacementDigest(stamps []Stamp) [32]byte { return placement.Plan{Stamps: stamps}.Digest() }

// box writes an ST_Box: the same values without superfluous zeros.
func box(v ...float64) string {
	s := strings.Fields(placement.Fixed(v...))
	for i := range s {
		s[i] = strings.TrimRight(strings.TrimRight(s[i], "0"), ".")
	}
	return strings.Join(s, " ")
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
		um, fine := placement.Micrometres(c.mm)
		*c.to, ok = um, ok && fine
	}
	return r, ok && r.w > 0 && r.h > 0
}

// within reports whether r lies in a w × h area, tolerance allowed.
func (r rectUM) within(w, h int64) bool {
	return r.x >= -toleranceUM && r.y >= -toleranceUM && r.x+r.w <= w+toleranceUM && r.y+r.h <= h+toleranceUM
}

// checkStamps refuses what cannot be placed; what is visible of a stamp must lie on its page.
func (p *Package) checkStamps(r Request) error {
	if r.Type == Sign {
		return nil // Request.check has refused them
	}
	stamps := r.Stamps
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
		return fmt.Errorf("boundary %s: %w", placement.Fixed(s.X, s.Y, s.W, s.H), ErrStamp)
	}
	if s.Clip != nil {
		c, ok := toUM(s.Clip.X, s.Clip.Y, s.Clip.W, s.Clip.H)
		if !ok || !c.within(visible.w, visible.h) {
			return fmt.Errorf("clip %s: %w", placement.Fixed(s.Clip.X, s.Clip.Y, s.Clip.W, s.Clip.H), ErrStamp)
		}
		visible = rectUM{visible.x + c.x, visible.y + c.y, c.w, c.h}
	}
	page := p.pages[s.Page-1]
	w, _ := placement.Micrometres(page.WidthMM) // finite: parseBox
	h, _ := placement.Micrometres(page.HeightMM)
	if !visible.within(w, h) {
		return fmt.Errorf("%s on a page of %s mm: %w", placement.Fixed(s.X, s.Y, s.W, s.H), placement.Fixed(page.WidthMM, page.HeightMM), ErrStampOutside)
	}
	return nil
}
