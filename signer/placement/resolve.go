package placement

import (
	"fmt"
)

// Page is the visible size of a page in millimetres.
type Page struct{ WidthMM, HeightMM float64 }

// Find returns where a text stands on a page (1 for the first), in reading order: the box of each occurrence.
type Find func(text string, page int) ([]Rect, error)

// Resolve works out the stamps of a plan on a document, in the plan's order. find may be nil when the plan has no keywords. Errors: the named
// ones of this package, and those of find.
func (p Plan) Resolve(pages []Page, find Find) ([]Stamp, error) {
	if p.Empty() || len(pages) == 0 {
		return nil, fmt.Errorf("nothing to place, or no page: %w", ErrPlan)
	}
	if len(p.Keywords)+len(p.Riding)+len(p.Facing) > MaxItems {
		return nil, fmt.Errorf("more than %d items: %w", MaxItems, ErrPlan)
	}
	r := resolver{pages: pages, find: find}
	r.stamps = append(r.stamps, p.Stamps...)
	for i, k := range p.Keywords {
		r.do("keyword", i, func() error { return r.keyword(k) })
	}
	for i, s := range p.Riding {
		r.do("riding seam", i, func() error { return r.riding(s) })
	}
	for i, f := range p.Facing {
		r.do("facing seam", i, func() error { return r.facing(f) })
	}
	if r.err == nil && len(r.stamps) > MaxStamps {
		return nil, fmt.Errorf("%d stamps, at most %d: %w", len(r.stamps), MaxStamps, ErrTooMany)
	}
	return r.stamps, r.err
}

// resolver collects stamps until the first error.
type resolver struct {
	pages  []Page
	find   Find
	stamps []Stamp
	err    error
}

func (r *resolver) do(what string, i int, step func() error) {
	if r.err != nil {
		return
	}
	if err := step(); err != nil {
		r.stamps, r.err = nil, fmt.Errorf("%s %d: %w", what, i+1, err)
	}
}

// span is the pages of a range, first and last.
func (r *resolver) span(g Range) (first, last int, err error) {
	first, last = max(g.From, 1), g.To
	if last == 0 {
		last = len(r.pages)
	}
	switch {
	case g.From < 0 || g.To < 0 || first > last:
		return 0, 0, fmt.Errorf("pages %d to %d: %w", g.From, g.To, ErrPlan)
	case last > len(r.pages):
		return 0, 0, fmt.Errorf("page %d of %d: %w", last, len(r.pages), ErrPage)
	}
	return first, last, nil
}

// sized refuses what is no size.
func sized(w, h float64) error {
	a, fine := Micrometres(w)
	b, fineToo := Micrometres(h)
	if !fine || !fineToo || a <= 0 || b <= 0 {
		return fmt.Errorf("size %s: %w", Fixed(w, h), ErrPlan)
	}
	return nil
}

func finite(v ...float64) error {
	for _, mm := range v {
		if _, ok := Micrometres(mm); !ok {
			return fmt.Errorf("coordinate %s: %w", Fixed(mm), ErrPlan)
		}
	}
	return nil
}

func (r *resolver) keyword(k Keyword) error {
	first, last, err := r.span(k.Pages)
	if err != nil {
		return err
	}
	if err := sized(k.W, k.H); err != nil {
		return err
	}
	if err := finite(k.DX, k.DY); err != nil {
		return err
	}
	if k.Text == "" || len(k.Text) > MaxKeyword || r.find == nil {
		return fmt.Errorf("text of %d bytes, 1 to %d: %w", len(k.Text), MaxKeyword, ErrPlan)
	}
	var found []Stamp
	for page := first; page <= last; page++ {
		boxes, err := r.find(k.Text, page)
		if err != nil {
			return err
		}
		for _, b := range boxes {
			found = append(found, Stamp{Page: page, X: b.X + b.W/2 + k.DX - k.W/2, Y: b.Y + b.H/2 + k.DY - k.H/2, W: k.W, H: k.H})
		}
		if len(found) > MaxStamps {
			return fmt.Errorf("more than %d occurrences: %w", MaxStamps, ErrTooMany)
		}
	}
	return r.pick(found, k.Occurrence)
}

// pick takes every occurrence, or the n-th from either end.
func (r *resolver) pick(found []Stamp, n int) error {
	at := n - 1
	if n < 0 {
		at = len(found) + n
	}
	switch {
	case n == 0 && len(found) > 0:
		r.stamps = append(r.stamps, found...)
	case n != 0 && at >= 0 && at < len(found):
		r.stamps = append(r.stamps, found[at])
	default:
		return fmt.Errorf("found %d times: %w", len(found), ErrKeywordNotFound)
	}
	return nil
}

// riding cuts the picture into strips across the edge. When the pages are fanned out, each shows its strip: on the right and the bottom edge the
// first page has the leftmost or topmost one, on the left and the top edge the last page has it. Strips are cut on whole micrometres, so that together
// they are the picture, no more and no less.
func (r *resolver) riding(s Riding) error {
	first, last, err := r.span(s.Pages)
	if err != nil {
		return err
	}
	if err := sized(s.W, s.H); err != nil {
		return err
	}
	if err := finite(s.Margin, place(s.At, 0)); err != nil {
		return err
	}
	across := s.Edge == Left || s.Edge == Right
	if !across && s.Edge != Top && s.Edge != Bottom || s.Margin < 0 || s.MaxStrips < 0 || s.MaxStrips == 1 || first == last {
		return fmt.Errorf("edge %.20q, margin %s, strips %d, pages %d to %d: %w", s.Edge, Fixed(s.Margin), s.MaxStrips, first, last, ErrPlan)
	}
	for from := first; from <= last; {
		n := strips(last-from+1, s.MaxStrips)
		for i := range n {
			r.stamps = append(r.stamps, s.strip(from+i, i, n, r.pages[from+i-1]))
		}
		from += n
	}
	if len(r.stamps) > MaxStamps {
		return fmt.Errorf("%d strips: %w", len(r.stamps), ErrTooMany)
	}
	return nil
}

// strips says into how many the picture is cut on the next pages: at most most, and never so that a single page is left over.
func strips(pages, most int) int {
	switch {
	case most == 0 || pages <= most:
		return pages
	case pages == most+1:
		return (pages + 1) / 2
	}
	return most
}

// strip is the i-th of n on a page.
func (s Riding) strip(page, i, n int, p Page) Stamp {
	out := Stamp{Page: page, W: s.W, H: s.H}
	if s.Edge == Left || s.Edge == Top {
		i = n - 1 - i
	}
	if s.Edge == Left || s.Edge == Right {
		a, b := cut(s.W, i, n), cut(s.W, i+1, n)
		out.Y, out.Clip = place(s.At, (p.HeightMM-s.H)/2), &Rect{X: a, W: b - a, H: s.H}
		out.X = s.Margin - a // the strip's left side on the left edge
		if s.Edge == Right {
			out.X = p.WidthMM - s.Margin - b
		}
	} else {
		a, b := cut(s.H, i, n), cut(s.H, i+1, n)
		out.X, out.Clip = place(s.At, (p.WidthMM-s.W)/2), &Rect{Y: a, W: s.W, H: b - a}
		out.Y = s.Margin - a
		if s.Edge == Bottom {
			out.Y = p.HeightMM - s.Margin - b
		}
	}
	return out.rounded()
}

// cut is where the i-th of n strips begins, on a whole micrometre.
func cut(size float64, i, n int) float64 {
	um, _ := Micrometres(size) // sized
	return float64(um*int64(i)/int64(n)) / 1000
}

// rounded puts a stamp on whole micrometres.
func (s Stamp) rounded() Stamp {
	for _, v := range []*float64{&s.X, &s.Y, &s.W, &s.H, &s.Clip.X, &s.Clip.Y, &s.Clip.W, &s.Clip.H} {
		if um, ok := Micrometres(*v); ok {
			*v = float64(um) / 1000
		}
	}
	return s
}

// facing lays the picture over each pair of the range: pages 1 and 2, 3 and 4, and so on from its first page.
func (r *resolver) facing(f Facing) error {
	first, last, err := r.span(f.Pages)
	if err != nil {
		return err
	}
	if err := sized(f.W, f.H); err != nil {
		return err
	}
	ratio := f.Ratio
	if ratio == 0 {
		ratio = 0.5
	}
	left, ok := Micrometres(f.W * ratio)
	whole, _ := Micrometres(f.W)
	if !ok || left <= 0 || left >= whole || finite(place(f.At, 0)) != nil || last == first {
		return fmt.Errorf("ratio %s, pages %d to %d: %w", Fixed(f.Ratio), first, last, ErrPlan)
	}
	for page := first; page < last; page += 2 {
		l, p, q := float64(left)/1000, r.pages[page-1], r.pages[page]
		r.stamps = append(r.stamps,
			Stamp{Page: page, X: p.WidthMM - l, Y: place(f.At, (p.HeightMM-f.H)/2), W: f.W, H: f.H, Clip: &Rect{W: l, H: f.H}}.rounded(),
			Stamp{Page: page + 1, X: -l, Y: place(f.At, (q.HeightMM-f.H)/2), W: f.W, H: f.H, Clip: &Rect{X: l, W: f.W - l, H: f.H}}.rounded())
	}
	if len(r.stamps) > MaxStamps {
		return fmt.Errorf("%d stamps: %w", len(r.stamps), ErrTooMany)
	}
	return nil
}

func place(at *float64, otherwise float64) float64 {
	if at != nil {
		return *at
	}
	return otherwise
}
