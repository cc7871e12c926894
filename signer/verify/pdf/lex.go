package pdf

import (
	"bytes"
	"slices"
	"strconv"
)

// This file reads the syntax of ISO 32000-1 7.2 and 7.3 strictly: what the standard leaves to a reader's mercy is refused.

const (
	maxDepth    = 100       // of arrays and dictionaries within one object
	maxElements = 400_000   // of one object
	maxToken    = 127       // bytes of a number or keyword
	maxObjects  = 1<<23 - 1 // highest object number, that of ISO 32000-1 annex C
	maxName     = 1024      // bytes of a name as written
	maxInteger  = 1<<53 - 1 // of what any reader computes exactly
)

// reader walks bytes of the file, or of an object stream.
type reader struct {
	doc   *Document
	src   []byte
	pos   int
	base  int64 // of src in the file; -1 in an object stream
	elems int   // read so far
}

func (d *Document) readerAt(pos int64) *reader { return &reader{doc: d, src: d.src, pos: int(pos)} }

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool { return bytes.IndexByte([]byte("()<>[]{}/%"), c) >= 0 }

func isRegular(c byte) bool { return !isSpace(c) && !isDelimiter(c) }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (r *reader) bad(format string, args ...any) *Refusal {
	f := refuse("pdf-syntax", format, args...)
	if r.base >= 0 {
		f.Detail += " at byte " + strconv.Itoa(r.pos)
	} else {
		f.Detail += " at byte " + strconv.Itoa(r.pos) + " of an object stream"
	}
	return f
}

// skip passes white space and comments.
func (r *reader) skip() {
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		if c == '%' {
			for r.pos < len(r.src) && r.src[r.pos] != '\n' && r.src[r.pos] != '\r' {
				r.pos++
			}
			continue
		}
		if !isSpace(c) {
			return
		}
		r.pos++
	}
}

func (r *reader) peek() byte {
	if r.pos < len(r.src) {
		return r.src[r.pos]
	}
	return 0
}

func (r *reader) has(s string) bool {
	return len(r.src)-r.pos >= len(s) && string(r.src[r.pos:r.pos+len(s)]) == s
}

// keyword takes a word that must stand here, after white space and before a delimiter.
func (r *reader) keyword(s string) error {
	r.skip()
	if !r.has(s) || r.pos+len(s) < len(r.src) && isRegular(r.src[r.pos+len(s)]) {
		return r.bad("%q expected", s)
	}
	r.pos += len(s)
	return nil
}

// word takes the regular characters that stand here.
func (r *reader) word() []byte {
	start := r.pos
	for r.pos < len(r.src) && isRegular(r.src[r.pos]) {
		r.pos++
	}
	return r.src[start:r.pos]
}

// integer takes an unsigned integer after white space.
func (r *reader) integer() (int64, error) {
	r.skip()
	start := r.pos
	n, ok := parseInteger(r.word())
	if !ok || n < 0 {
		r.pos = start
		return 0, r.bad("a number expected")
	}
	return n, nil
}

func parseInteger(w []byte) (int64, bool) {
	if len(w) == 0 || len(w) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(w), 10, 64)
	return n, err == nil && -maxInteger <= n && n <= maxInteger
}

// value reads one object; references are recognised, streams are not (see object).
func (r *reader) value(depth int) (Value, error) {
	r.skip()
	r.elems++
	switch {
	case depth > maxDepth:
		return nil, refuse("pdf-depth", "nested deeper than %d", maxDepth)
	case r.elems > maxElements:
		return nil, unsupported("pdf-limits", "an object of more than %d elements", maxElements)
	case r.pos >= len(r.src):
		return nil, r.bad("the object ends early")
	}
	switch c := r.peek(); {
	case c == '/':
		return r.name()
	case c == '(':
		return r.literal()
	case r.has("<<"):
		return r.dict(depth)
	case c == '<':
		return r.hex()
	case c == '[':
		return r.array(depth)
	case isRegular(c):
		return r.scalar()
	}
	return nil, r.bad("%q where an object should begin", r.peek())
}

// scalar reads a number, a reference, true, false or null.
func (r *reader) scalar() (Value, error) {
	start := r.pos
	w := r.word()
	switch string(w[:min(len(w), 8)]) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	if n, ok := parseInteger(w); ok {
		if n >= 0 && isDigit(w[0]) {
			if ref, ok := r.reference(n); ok {
				return ref, nil
			}
		}
		return n, nil
	}
	if isReal(w) {
		return Real(w), nil
	}
	r.pos = start
	return nil, r.bad("%.20q is no object", w)
}

// reference takes the rest of "num gen R" after num, or nothing.
func (r *reader) reference(num int64) (Ref, bool) {
	back := r.pos
	r.skip()
	if isDigit(r.peek()) {
		gen, ok := parseInteger(r.word())
		r.skip()
		if ok && gen <= 65535 && num <= maxObjects && r.peek() == 'R' && string(r.word()) == "R" {
			return Ref{int(num), int(gen)}, true
		}
	}
	r.pos = back
	return Ref{}, false
}

func isReal(w []byte) bool {
	if len(w) > maxToken {
		return false
	}
	if len(w) > 0 && (w[0] == '+' || w[0] == '-') {
		w = w[1:]
	}
	digits, points := 0, 0
	for _, c := range w {
		switch {
		case isDigit(c):
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}

func (r *reader) name() (Value, error) {
	r.pos++
	w := r.word()
	if len(w) > maxName {
		return nil, unsupported("pdf-limits", "a name of %d bytes", len(w))
	}
	if bytes.IndexByte(w, '#') < 0 {
		return Name(w), nil
	}
	out := make([]byte, 0, len(w))
	for i := 0; i < len(w); i++ {
		c := w[i]
		if c == '#' && i+2 < len(w) {
			hi, lo := unhex(w[i+1]), unhex(w[i+2])
			if hi < 0 || lo < 0 || hi|lo == 0 {
				return nil, r.bad("a name with a bad # escape")
			}
			c, i = byte(hi<<4|lo), i+2
		} else if c == '#' {
			return nil, r.bad("a name with a bad # escape")
		}
		out = append(out, c)
	}
	return Name(out), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// token makes a String of bytes read since start.
func (r *reader) token(b []byte, start int, hex bool) String {
	r.elems += len(b) / 32
	if r.base < 0 {
		return String{Bytes: b, Hex: hex, Start: -1, End: -1}
	}
	return String{Bytes: b, Hex: hex, Start: int64(start), End: int64(r.pos)}
}

// hex reads <…>; an odd number of digits means a last 0 (ISO 32000-1 7.3.4.3). White space inside is taken here and judged where it
// matters, in the Contents of a signature.
func (r *reader) hex() (Value, error) {
	start := r.pos
	end := bytes.IndexByte(r.src[r.pos:], '>')
	if end < 0 {
		return nil, r.bad("a string without end")
	}
	digits := r.src[start+1 : start+end]
	out := make([]byte, 0, (len(digits)+1)/2)
	half := -1
	for i, c := range digits {
		h := unhex(c)
		switch {
		case h < 0 && isSpace(c):
		case h < 0:
			r.pos = start + 1 + i
			return nil, r.bad("%q in a hexadecimal string", c)
		case half < 0:
			half = h
		default:
			out, half = append(out, byte(half<<4|h)), -1
		}
	}
	if half >= 0 {
		out = append(out, byte(half<<4))
	}
	r.pos = start + end + 1
	return r.token(out, start, true), nil
}

// literal reads (…) with nested parentheses and escapes (ISO 32000-1 7.3.4.2).
func (r *reader) literal() (Value, error) {
	start, depth := r.pos, 0
	var out []byte
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		r.pos++
		switch c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				return r.token(slices.Clip(out), start, false), nil
			}
		case '\r':
			if r.peek() == '\n' {
				r.pos++
			}
			c = '\n'
		case '\\':
			out = r.escape(out)
			continue
		}
		out = append(out, c)
	}
	r.pos = start
	return nil, r.bad("a string without end")
}

func (r *reader) escape(out []byte) []byte {
	c := r.peek()
	r.pos++
	switch c {
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case '\n':
		return out
	case '\r':
		if r.peek() == '\n' {
			r.pos++
		}
		return out
	}
	if c < '0' || c > '7' {
		return append(out, c)
	}
	n := int(c - '0')
	for i := 0; i < 2 && r.peek() >= '0' && r.peek() <= '7'; i++ {
		n = n<<3 | int(r.peek()-'0')
		r.pos++
	}
	return append(out, byte(n))
}

func (r *reader) array(depth int) (Value, error) {
	r.pos++
	out := Array{}
	for {
		if r.skip(); r.peek() == ']' && r.pos < len(r.src) {
			r.pos++
			return slices.Clip(out), nil
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

// dict reads a dictionary. A key with two different values is refused: readers take the first or the last.
func (r *reader) dict(depth int) (Value, error) {
	r.pos += 2
	out := Dict{}
	for {
		if r.skip(); r.has(">>") {
			r.pos += 2
			return r.ordered(out)
		}
		if r.peek() != '/' {
			return nil, r.bad("no name where a key should stand")
		}
		key, err := r.name()
		if err != nil {
			return nil, err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, Pair{key.(Name), v})
	}
}

func (r *reader) ordered(d Dict) (Value, error) {
	slices.SortStableFunc(d, func(p, q Pair) int { return compareNames(p.Key, q.Key) })
	for i := 1; i < len(d); i++ {
		if d[i].Key == d[i-1].Key && !same(d[i].Value, d[i-1].Value) {
			return nil, refuse("pdf-duplicate-key", "a dictionary has two values of /%.40s", d[i].Key)
		}
	}
	d = slices.CompactFunc(d, func(p, q Pair) bool { return p.Key == q.Key })
	return slices.Clip(slices.DeleteFunc(d, func(p Pair) bool { return p.Value == nil })), nil
}
