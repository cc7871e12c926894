package ofd

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// glyph is one character of the text layer, in millimetres of the page.
type glyph struct {
	r      rune
	p      vec     // left end of its base line
	wide   vec     // along its base line, as far as it reaches
	up     vec     // one em, from the base line upwards
	dir    vec     // of the line it stands in, one long
	offset float64 // of that line from the origin, at a right angle to dir
	at     float64 // where it begins along dir
	length float64 // how far it reaches along dir
}

type vec struct{ x, y float64 }

func (a vec) plus(b vec) vec      { return vec{a.x + b.x, a.y + b.y} }
func (a vec) times(k float64) vec { return vec{a.x * k, a.y * k} }
func (a vec) dot(b vec) float64   { return a.x*b.x + a.y*b.y }
func (a vec) size() float64       { return math.Hypot(a.x, a.y) }
func (a vec) usable() bool        { return a.size() > 0 && !math.IsInf(a.size(), 0) } // false for NaN, too
func (a vec) unit() vec           { return a.times(1 / a.size()) }
func (a vec) parallel(b vec) bool { return math.Abs(a.unit().dot(b.unit())) > 0.9 }
func fit(v float64) bool          { return math.Abs(v) <= 1e6 } // millimetres that mean anything; false for NaN
func opaque(alpha, visible string) bool {
	return strings.TrimSpace(alpha) != "0" && visible != "false" && visible != "0"
}

// matrix is a CTM: x' = ax + cy + e, y' = bx + dy + f (GB/T 33190 §8.1).
type matrix [6]float64

func (m matrix) turn(v vec) vec { return vec{m[0]*v.x + m[2]*v.y, m[1]*v.x + m[3]*v.y} }
func (m matrix) move(v vec) vec { return m.turn(v).plus(vec{m[4], m[5]}) }

// textReader collects the glyphs of one page part and the templates it stands on.
type textReader struct {
	limit     int
	glyphs    []glyph
	behind    []string // identifiers of templates under the page, and over it
	above     []string
	object    textObject
	templates int
}

// textObject is the TextObject being read (GB/T 33190 §11.2).
type textObject struct {
	shown  bool
	corner vec
	ctm    matrix
	size   float64
	scale  float64 // HScale
	code   xml.StartElement
	last   vec // X and Y of the TextCode before, which the next one may leave out
}

// within reports whether a path ends in a text object of the page's own content, not in a clip or an unknown element.
func within(path []string) bool {
	if len(path) < 4 || path[0] != "Page" || path[1] != "Content" || path[2] != "Layer" {
		return false
	}
	return !slices.ContainsFunc(path[3:len(path)-1], func(s string) bool { return s != "PageBlock" })
}

func (t *textReader) open(path []string, e xml.StartElement, _ span) (bool, error) {
	n := len(path)
	switch {
	case is(path, "Page", "Template"):
		t.template(attr(e, "TemplateID"), attr(e, "ZOrder"))
	case path[n-1] == "TextObject" && within(path):
		t.object = newTextObject(e)
	case path[n-1] == "TextCode" && n > 1 && path[n-2] == "TextObject" && within(path[:n-1]):
		t.object.code = e.Copy()
		return t.object.shown, nil
	}
	return false, nil
}

func (t *textReader) template(id, order string) {
	if t.templates++; t.templates > maxTemplates {
		return // readers show a handful; what is not read is not found
	}
	if order == "Foreground" {
		t.above = append(t.above, id)
	} else {
		t.behind = append(t.behind, id)
	}
}

func (t *textReader) close(path []string, text string, _ span) error {
	n := len(path)
	if path[n-1] != "TextCode" || n < 2 || path[n-2] != "TextObject" || !within(path[:n-1]) || !t.object.shown {
		return nil
	}
	t.glyphs = append(t.glyphs, t.object.set(text)...)
	if len(t.glyphs) > t.limit {
		return fmt.Errorf("more than %d characters on a page: %w", t.limit, ErrText)
	}
	return nil
}

// newTextObject reads the attributes that say where text stands. An object whose numbers cannot be used shows nothing, and one that is
// not visible is nothing to put a seal on.
func newTextObject(e xml.StartElement) textObject {
	o := textObject{ctm: matrix{1, 0, 0, 1, 0, 0}, scale: 1}
	box, boxed := numbers(attr(e, "Boundary"), 4)
	size, sized := numbers(attr(e, "Size"), 1)
	if !boxed || !sized || size[0] <= 0 {
		return o
	}
	o.corner, o.size = vec{box[0], box[1]}, size[0]
	if s := attr(e, "CTM"); s != "" {
		m, ok := numbers(s, 6)
		if !ok {
			return o
		}
		o.ctm = matrix(m)
	}
	if h, ok := numbers(attr(e, "HScale"), 1); ok && h[0] > 0 {
		o.scale = h[0]
	}
	o.last.y = o.size // what readers take where a first TextCode has no Y
	painted := attr(e, "Fill") != "false" || attr(e, "Stroke") == "true"
	o.shown = painted && opaque(attr(e, "Alpha"), attr(e, "Visible")) && o.ctm.turn(vec{1, 0}).usable() && o.ctm.turn(vec{0, 1}).usable()
	return o
}

// numbers reads exactly n finite numbers within reach.
func numbers(s string, n int) ([]float64, bool) {
	f := strings.Fields(s)
	if len(f) != n {
		return nil, false
	}
	out := make([]float64, n)
	for i := range f {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil || !fit(v) {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// set lays one TextCode's characters out.
func (o *textObject) set(text string) []glyph {
	if x, ok := numbers(attr(o.code, "X"), 1); ok {
		o.last.x = x[0]
	}
	if y, ok := numbers(attr(o.code, "Y"), 1); ok {
		o.last.y = y[0]
	}
	text = strings.Trim(text, "\r\n\t") // of pretty-printed XML; blanks are characters with a place
	dx, dy := newDeltas(attr(o.code, "DeltaX")), newDeltas(attr(o.code, "DeltaY"))
	natural := !dx.given && !dy.given
	var out []glyph
	p := o.last
	for _, r := range text {
		w := advance(r) * o.size * o.scale
		step := vec{dx.next(), dy.next()}
		if natural {
			step.x = w
		}
		if step.x > 0 && step.x < w && step.y == 0 {
			w = step.x // set closer than usual
		}
		out = append(out, glyph{r: r, p: o.corner.plus(o.ctm.move(p)), wide: o.ctm.turn(vec{w, 0}), up: o.ctm.turn(vec{0, -o.size})})
		p = p.plus(step)
		if !fit(p.x) || !fit(p.y) {
			break // the rest is off any page
		}
	}
	o.align(out)
	return slices.DeleteFunc(out, func(g glyph) bool { return unicode.IsSpace(g.r) || !fit(g.p.x) || !fit(g.p.y) })
}

// align finds the line that each glyph stands in: along its base line, or down a column where the next character stands beneath.
func (o *textObject) align(gs []glyph) {
	for i := range gs {
		g := &gs[i]
		g.dir = g.wide.unit()
		from, to := i, i+1
		if to == len(gs) {
			from, to = i-1, i
		}
		if from >= 0 {
			step := gs[to].p.plus(gs[from].p.times(-1))
			if step.usable() && step.size() > g.up.size()/2 && !step.parallel(g.wide) {
				g.dir = step.unit()
			}
		}
		g.length = g.wide.size()
		if !g.dir.parallel(g.wide) {
			g.length = g.up.size()
		}
		g.at, g.offset = g.p.dot(g.dir), g.p.dot(vec{-g.dir.y, g.dir.x})
	}
}

// deltas is an ST_Array of distances, where "g n d" stands for n times d (GB/T 33190 §11.3).
type deltas struct {
	fields []string
	given  bool
	again  int // how often last still counts
	last   float64
}

func newDeltas(s string) *deltas {
	f := strings.Fields(s)
	return &deltas{fields: f, given: len(f) > 0}
}

// next is the distance to the next character. A list that is too short goes on with its last distance, as readers do; what is no number ends it.
func (d *deltas) next() float64 {
	if d.again > 0 {
		d.again--
		return d.last
	}
	if len(d.fields) >= 3 && d.fields[0] == "g" {
		n, err := strconv.Atoi(d.fields[1])
		v, ok := numbers(d.fields[2], 1)
		if err != nil || n < 1 || !ok {
			d.fields = nil
			return d.last
		}
		d.fields, d.again, d.last = d.fields[3:], n-1, v[0]
		return d.last
	}
	if len(d.fields) > 0 {
		if v, ok := numbers(d.fields[0], 1); ok {
			d.fields, d.last = d.fields[1:], v[0]
		} else {
			d.fields = nil
		}
	}
	return d.last
}

// advance is the usual width of a character in em: fonts need not be in the package, and Chinese ones agree on this.
func advance(r rune) float64 {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth, width.EastAsianAmbiguous:
		return 1
	}
	return 0.5
}

// readApart returns the content of an entry anew, apart from what Open shares, so that several may read at a time.
func (a *archive) readApart(e *entry) io.Reader {
	b := archive{b: a.b}
	return b.open(e)
}
