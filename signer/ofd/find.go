package ofd

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sealkeeper/signer/placement"
)

// ErrText: the text of the pages is more than Find reads (Limits.Glyphs, Limits.TextBytes).
var ErrText = errors.New("too much text to search")

const (
	maxTemplates = 64       // of one page
	maxTextCode  = 64 << 10 // bytes of one TextCode
	maxOver      = 8        // characters in one place that are compared
)

// Find returns where a text stands on a page (1 for the first), from top to bottom and in a line from left to right, in millimetres as Stamp
// counts them: the box of each occurrence, nothing when there is none. White space does not count, in neither; the text must stand in one line,
// however many objects it is cut into. It reads the page's own text objects and those of its templates: text of annotations, of composite
// objects and in pictures is not found, nor what is not visible.
//
// Boxes follow DeltaX, DeltaY, CTM and, where fonts would count, the usual widths: a full em for Chinese, half of one for the rest.
// Errors: ErrPage, ErrText, and those of Open for a part that cannot be read.
func (p *Package) Find(text string, page int) ([]placement.Rect, error) {
	if page < 1 || page > len(p.pages) {
		return nil, fmt.Errorf("page %d of %d: %w", page, len(p.pages), ErrPage)
	}
	want := squeeze(text)
	if want == "" {
		return nil, nil
	}
	glyphs, err := p.glyphs(page)
	if err != nil {
		return nil, fmt.Errorf("text of page %d: %w", page, err)
	}
	var found []placement.Rect
	for _, line := range lines(glyphs) {
		for _, run := range search(line, []rune(want)) {
			found = append(found, boxOf(run))
		}
	}
	return found, nil
}

func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}

// glyphs reads a page and its templates.
func (p *Package) glyphs(page int) ([]glyph, error) {
	own, err := p.textOf(p.parts[page-1], p.lim.Glyphs)
	if err != nil {
		return nil, err
	}
	all := own.glyphs
	for _, id := range slices.Concat(own.behind, own.above) {
		part := p.templates[id]
		if part == "" || p.arc.byName[part] == nil {
			continue // a template that is absent shows nothing
		}
		t, err := p.textOf(part, p.lim.Glyphs-len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, t.glyphs...)
	}
	return all, nil
}

// textOf reads one part, within what all searches of this package may read.
func (p *Package) textOf(part string, limit int) (*textReader, error) {
	e, err := p.arc.file(part)
	if err != nil {
		return nil, err
	}
	if p.searched.Add(int64(e.usize)) > p.lim.TextBytes {
		return nil, fmt.Errorf("more than %d bytes searched: %w", p.lim.TextBytes, ErrText)
	}
	t := &textReader{limit: limit}
	return t, walkXML(part, p.arc.readApart(e), "Page", p.lim, visitor{open: t.open, close: t.close, text: maxTextCode})
}

// lines sorts glyphs into lines, by direction, and from the top down.
func lines(glyphs []glyph) [][]glyph {
	angle := func(g glyph) int { return (int(math.Round(math.Atan2(g.dir.y, g.dir.x)*180/math.Pi)) + 360) % 360 }
	slices.SortStableFunc(glyphs, func(a, b glyph) int {
		return cmp.Or(cmp.Compare(angle(a), angle(b)), cmp.Compare(a.offset, b.offset))
	})
	var out [][]glyph
	for from := 0; from < len(glyphs); {
		first, to := glyphs[from], from+1
		for to < len(glyphs) && angle(glyphs[to]) == angle(first) && glyphs[to].offset-first.offset < first.up.size()/3 {
			to++
		}
		line := glyphs[from:to]
		slices.SortStableFunc(line, func(a, b glyph) int { return cmp.Compare(a.at, b.at) })
		out, from = append(out, unrepeated(line)), to
	}
	return out
}

// unrepeated leaves out a character that is printed over itself, as some producers embolden.
func unrepeated(line []glyph) []glyph {
	out := line[:0]
	for _, g := range line {
		double := false
		for i := len(out) - 1; i >= max(0, len(out)-maxOver) && g.at-out[i].at < g.length/4; i-- {
			double = double || out[i].r == g.r
		}
		if !double {
			out = append(out, g)
		}
	}
	return out
}

// search finds the runs of one line that spell a text. They do not overlap.
func search(line []glyph, text []rune) (runs [][]glyph) {
	for i := 0; i+len(text) <= len(line); i++ {
		n := 0
		for n < len(text) && line[i+n].r == text[n] && (n == 0 || follows(line[i+n-1], line[i+n])) {
			n++
		}
		if n == len(text) {
			runs = append(runs, line[i:i+n])
			i += n - 1
		}
	}
	return runs
}

// follows reports whether b is near enough to a to be read on: blanks between them count for nothing.
func follows(a, b glyph) bool {
	gap, em := b.at-a.at-a.length, max(a.up.size(), b.up.size())
	return gap > -em && gap < 3*em
}

// boxOf is the upright box around some glyphs. Characters are taken to reach from a fifth of an em below their base line to four fifths above.
func boxOf(run []glyph) placement.Rect {
	low, high := vec{math.Inf(1), math.Inf(1)}, vec{math.Inf(-1), math.Inf(-1)}
	for _, g := range run {
		foot, head := g.p.plus(g.up.times(-0.2)), g.p.plus(g.up.times(0.8))
		for _, c := range []vec{foot, head, foot.plus(g.wide), head.plus(g.wide)} {
			low, high = vec{min(low.x, c.x), min(low.y, c.y)}, vec{max(high.x, c.x), max(high.y, c.y)}
		}
	}
	return placement.Rect{X: low.x, Y: low.y, W: high.x - low.x, H: high.y - low.y}
}
