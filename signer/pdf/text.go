package pdf

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode"

	"sealkeeper/signer/placement"
)

// Bounds of reading one page's text.
const (
	maxOperators = 2_000_000
	maxGlyphs    = 200_000
	maxForms     = 8 // forms inside forms
)

// glyph is one character as it stands on the page.
type glyph struct {
	text   string // usually one character
	x0, y0 float64
	x1, y1 float64 // where the next one begins
	size   float64 // of the font, in user space
}

// Find returns where a text stands on a page (1 for the first), in the order of the page's content, in millimetres as the page is shown. White
// space does not count, in neither; the text must stand in one line. It reads the text layer: characters whose font gives no way back to Unicode
// and text in pictures are not found.
func (d *Document) Find(text string, pageNo int) ([]placement.Rect, error) {
	if pageNo < 1 || pageNo > len(d.pages) {
		return nil, fmt.Errorf("page %d of %d: %w", pageNo, len(d.pages), ErrPage)
	}
	p := d.pages[pageNo-1]
	r := reader{d: d, fonts: map[string]*font{}}
	if err := r.page(p); err != nil {
		return nil, fmt.Errorf("text of page %d: %w", pageNo, err)
	}
	var found []placement.Rect
	for _, span := range search(r.glyphs, squeeze(text)) {
		found = append(found, p.shown(r.glyphs[span[0]:span[1]]))
	}
	return found, nil
}

func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

// search finds the runs of glyphs that spell a text in one line. Found runs do not overlap.
func search(glyphs []glyph, text string) (spans [][2]int) {
	if text == "" {
		return nil
	}
	for i := 0; i < len(glyphs); i++ {
		if glyphs[i].text == "" || !strings.HasPrefix(text, glyphs[i].text) {
			continue
		}
		rest, j := text, i
		for j < len(glyphs) && rest != "" {
			g := glyphs[j]
			if !strings.HasPrefix(rest, g.text) || j > i && !follows(glyphs[j-1], g) {
				break
			}
			rest = rest[len(g.text):]
			j++
		}
		if rest == "" {
			spans = append(spans, [2]int{i, j})
			i = j - 1
		}
	}
	return spans
}

// follows reports whether b stands behind a in the same line, blanks between them allowed.
func follows(a, b glyph) bool {
	dx, dy := a.x1-a.x0, a.y1-a.y0
	length := math.Hypot(dx, dy)
	if length == 0 {
		dx, length = 1, 1
	}
	ux, uy := dx/length, dy/length
	gx, gy := b.x0-a.x1, b.y0-a.y1
	along, across := gx*ux+gy*uy, math.Abs(gx*uy-gy*ux)
	size := max(a.size, b.size)
	return across < size/2 && along > -size && along < 3*size
}

// shown is the box of some glyphs on the page as it is shown, in millimetres. Characters are taken to reach from a fifth of the font size below
// their line to four fifths above it.
func (p page) shown(glyphs []glyph) placement.Rect {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, g := range glyphs {
		dx, dy := g.x1-g.x0, g.y1-g.y0
		length := math.Hypot(dx, dy)
		if length == 0 {
			dx, length = 1, 1
		}
		ux, uy := -dy/length*g.size, dx/length*g.size // up, at a right angle to the line
		for _, c := range [][2]float64{{g.x0 - ux/5, g.y0 - uy/5}, {g.x1 - ux/5, g.y1 - uy/5}, {g.x0 + ux*4/5, g.y0 + uy*4/5}, {g.x1 + ux*4/5, g.y1 + uy*4/5}} {
			x, y := p.visible(c[0], c[1])
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
		}
	}
	return placement.Rect{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}
}

// visible is the inverse of user, in millimetres.
func (p page) visible(ux, uy float64) (x, y float64) {
	switch p.rotate {
	case 90:
		x, y = uy-p.box.y0, ux-p.box.x0
	case 180:
		x, y = p.box.x1-ux, uy-p.box.y0
	case 270:
		x, y = p.box.y1-uy, p.box.x1-ux
	default:
		x, y = ux-p.box.x0, p.box.y1-uy
	}
	k := p.unit / pointsPerMM
	return x * k, y * k
}

// matrix is a b c d e f of ISO 32000 8.3.3.
type matrix [6]float64

var identity = matrix{1, 0, 0, 1, 0, 0}

// times is m followed by n.
func (m matrix) times(n matrix) matrix {
	return matrix{m[0]*n[0] + m[1]*n[2], m[0]*n[1] + m[1]*n[3], m[2]*n[0] + m[3]*n[2], m[2]*n[1] + m[3]*n[3],
		m[4]*n[0] + m[5]*n[2] + n[4], m[4]*n[1] + m[5]*n[3] + n[5]}
}

func (m matrix) apply(x, y float64) (float64, float64) {
	return m[0]*x + m[2]*y + m[4], m[1]*x + m[3]*y + m[5]
}

// state is the part of the graphics state that text needs.
type state struct {
	ctm                     matrix
	font                    *font
	size, char, word, scale float64
	leading, rise           float64
}

// reader interprets the content of one page as far as text needs.
type reader struct {
	d      *Document
	fonts  map[string]*font // by resource object
	glyphs []glyph
	ops    int

	state
	stack    []state
	tm, line matrix
}

func (r *reader) page(p page) error {
	contents, err := r.d.f.list(p.dict.get("Contents"))
	if err != nil {
		return err
	}
	var all bytes.Buffer
	for _, c := range contents {
		s, ok := c.(stream)
		if !ok {
			continue
		}
		b, err := r.d.f.decode(s)
		if err != nil {
			return err
		}
		if all.Len()+len(b) > r.d.f.lim.Stream {
			return fmt.Errorf("content beyond %d bytes: %w", r.d.f.lim.Stream, ErrLimit)
		}
		all.Write(b)
		all.WriteByte('\n')
	}
	r.state = state{ctm: identity, scale: 1}
	return r.run(all.Bytes(), r.d.resources(p), 0)
}

// resources are the page's own, or those of the nearest node above it.
func (d *Document) resources(p page) dict {
	n := p.dict
	for range d.f.lim.Depth {
		if n.has("Resources") || !n.has("Parent") {
			break
		}
		o, err := d.f.resolve(n.get("Parent"))
		parent, ok := o.(dict)
		if err != nil || !ok {
			break
		}
		n = parent
	}
	o, err := d.f.resolve(n.get("Resources"))
	res, ok := o.(dict)
	if err != nil || !ok {
		return dict{}
	}
	return res
}

// run interprets content. Operators that have nothing to do with text are passed over, and so is what cannot be read.
func (r *reader) run(b []byte, resources dict, depth int) error {
	l := &lexer{b: b, depth: r.d.f.lim.Depth}
	var args []object
	for {
		l.skip()
		if l.pos >= len(b) {
			return nil
		}
		if r.ops++; r.ops > maxOperators || len(r.glyphs) > maxGlyphs {
			return fmt.Errorf("%d operators, %d characters: %w", r.ops, len(r.glyphs), ErrLimit)
		}
		if c := b[l.pos]; c == '/' || c == '(' || c == '<' || c == '[' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' {
			o, err := l.object()
			if err != nil {
				l.pos++
				continue
			}
			if args = append(args, o); len(args) > 64 {
				args = args[1:]
			}
			continue
		}
		op := l.word()
		if op == "" {
			l.pos++
			continue
		}
		if op == "ID" {
			skipImage(l)
		}
		if err := r.operator(op, args, resources, depth); err != nil {
			return err
		}
		args = args[:0]
	}
}

// skipImage passes the data of an inline image.
func skipImage(l *lexer) {
	for l.pos+3 < len(l.b) {
		if space(l.b[l.pos]) && l.b[l.pos+1] == 'E' && l.b[l.pos+2] == 'I' && space(l.b[l.pos+3]) {
			l.pos += 3
			return
		}
		l.pos++
	}
	l.pos = len(l.b)
}

// numbers reads the last n arguments.
func numbers(args []object, n int) ([]float64, bool) {
	if len(args) < n {
		return nil, false
	}
	out := make([]float64, n)
	for i, o := range args[len(args)-n:] {
		v, ok := real(o)
		if !ok || math.Abs(v) > 1e9 {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

func (r *reader) operator(op string, args []object, resources dict, depth int) error {
	switch op {
	case "q":
		if len(r.stack) < 512 {
			r.stack = append(r.stack, r.state)
		}
	case "Q":
		if n := len(r.stack); n > 0 {
			r.state, r.stack = r.stack[n-1], r.stack[:n-1]
		}
	case "cm":
		if v, ok := numbers(args, 6); ok {
			r.ctm = matrix(v).times(r.ctm)
		}
	case "Do":
		return r.form(args, resources, depth)
	case "Tf":
		return r.setFont(args, resources)
	case "BT":
		r.tm, r.line = identity, identity
	case "Tj", "'", "\"", "TJ":
		r.showing(op, args)
	default:
		r.textState(op, args)
	}
	return nil
}

// textState is the operators that set a value or move the line.
func (r *reader) textState(op string, args []object) {
	n := map[string]int{"Tc": 1, "Tw": 1, "Tz": 1, "TL": 1, "Ts": 1, "Td": 2, "TD": 2, "Tm": 6, "T*": 0}
	count, known := n[op]
	v, ok := numbers(args, count)
	if !known || !ok {
		return
	}
	switch op {
	case "Tc":
		r.char = v[0]
	case "Tw":
		r.word = v[0]
	case "Tz":
		r.scale = v[0] / 100
	case "TL":
		r.leading = v[0]
	case "Ts":
		r.rise = v[0]
	case "Td":
		r.move(v[0], v[1])
	case "TD":
		r.leading = -v[1]
		r.move(v[0], v[1])
	case "Tm":
		r.tm, r.line = matrix(v), matrix(v)
	case "T*":
		r.move(0, -r.leading)
	}
}

func (r *reader) move(x, y float64) {
	r.line = matrix{1, 0, 0, 1, x, y}.times(r.line)
	r.tm = r.line
}

func (r *reader) showing(op string, args []object) {
	if len(args) == 0 {
		return
	}
	if op == "\"" {
		if v, ok := numbers(args[:len(args)-1], 2); ok {
			r.word, r.char = v[0], v[1]
		}
	}
	if op == "'" || op == "\"" {
		r.move(0, -r.leading)
	}
	last := args[len(args)-1]
	if list, ok := last.(array); ok && op == "TJ" {
		for _, o := range list {
			if v, ok := real(o); ok {
				r.tm = matrix{1, 0, 0, 1, -v / 1000 * r.size * r.scale, 0}.times(r.tm)
			}
			r.show(o)
		}
		return
	}
	r.show(last)
}

// show places the characters of one string.
func (r *reader) show(o object) {
	t, ok := o.(text)
	if !ok || r.font == nil {
		return
	}
	for _, c := range r.font.codes(stringBytes(t)) {
		w := c.width/1000*r.size + r.char
		if c.blank {
			w += r.word
		}
		w *= r.scale
		m := matrix{1, 0, 0, 1, 0, r.rise}.times(r.tm).times(r.ctm)
		x0, y0 := m.apply(0, 0)
		x1, y1 := m.apply(w, 0)
		ux, uy := m.apply(0, r.size)
		if s := squeeze(c.text); s != "" && len(r.glyphs) <= maxGlyphs {
			r.glyphs = append(r.glyphs, glyph{s, x0, y0, x1, y1, math.Hypot(ux-x0, uy-y0)})
		}
		r.tm = matrix{1, 0, 0, 1, w, 0}.times(r.tm)
	}
}

// form interprets a form that the content shows.
func (r *reader) form(args []object, resources dict, depth int) error {
	if len(args) == 0 || depth >= maxForms {
		return nil
	}
	o, err := r.d.resource(resources, "XObject", args[len(args)-1])
	s, ok := o.(stream)
	if err != nil || !ok || s.get("Subtype") != name("Form") {
		return err
	}
	b, err := r.d.f.decode(s)
	if err != nil {
		return err
	}
	own, err := r.d.f.resolve(s.get("Resources"))
	if err != nil {
		return err
	}
	if d, ok := own.(dict); ok {
		resources = d
	}
	saved, stack := r.state, r.stack
	if m, ok := s.get("Matrix").(array); ok {
		if v, ok := numbers(m, 6); ok && len(m) == 6 {
			r.ctm = matrix(v).times(r.ctm)
		}
	}
	err = r.run(b, resources, depth+1)
	r.state, r.stack = saved, stack
	return err
}

// resource looks a name up in a category.
func (d *Document) resource(resources dict, category name, key object) (object, error) {
	n, ok := key.(name)
	o, err := d.f.resolve(resources.get(category))
	list, fine := o.(dict)
	if err != nil || !ok || !fine {
		return null{}, err
	}
	return d.f.resolve(list.get(n))
}

// setFont reads a font once for each resource dictionary and name.
func (r *reader) setFont(args []object, resources dict) error {
	if len(args) < 2 {
		return nil
	}
	if v, ok := numbers(args, 1); ok {
		r.size = v[0]
	}
	o, err := r.d.resource(resources, "Font", args[len(args)-2])
	if err != nil {
		return err
	}
	d, ok := o.(dict)
	if !ok {
		r.font = nil
		return nil
	}
	var key bytes.Buffer
	write(&key, d)
	if r.fonts[key.String()] == nil {
		f, err := r.d.readFont(d)
		if err != nil {
			return err
		}
		r.fonts[key.String()] = f
	}
	r.font = r.fonts[key.String()]
	return nil
}

// stringBytes decodes a string object.
func stringBytes(t text) []byte {
	if len(t) == 0 {
		return nil
	}
	if t[0] == '<' {
		b, _ := unhex(t[1:]) // the lexer has seen to its form
		return b
	}
	var out []byte
	for b := t[1 : len(t)-1]; len(b) > 0; b = b[1:] {
		if b[0] != '\\' || len(b) == 1 {
			out = append(out, b[0])
			continue
		}
		b = b[1:]
		if i := strings.IndexByte("nrtbf", b[0]); i >= 0 {
			out = append(out, "\n\r\t\b\f"[i])
		} else if b[0] >= '0' && b[0] <= '7' {
			v, n := 0, 0
			for n < 3 && n < len(b) && b[n] >= '0' && b[n] <= '7' {
				v, n = v*8+int(b[n]-'0'), n+1
			}
			out, b = append(out, byte(v)), b[n-1:]
		} else if b[0] == '\r' || b[0] == '\n' {
			if b[0] == '\r' && len(b) > 1 && b[1] == '\n' {
				b = b[1:]
			}
		} else {
			out = append(out, b[0])
		}
	}
	return out
}
