package pdf

import (
	"bytes"
	"fmt"
	"unicode/utf16"
)

func utf16Of(s string) []uint16 { return utf16.Encode([]rune(s)) }

func space(c byte) bool {
	return c == 0 || c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == ' '
}

func delimiter(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

func regular(c byte) bool { return !space(c) && !delimiter(c) }

// lexer reads objects from bytes.
type lexer struct {
	b     []byte
	pos   int
	depth int // still allowed
}

func (l *lexer) fail(what string) error {
	return fmt.Errorf("%s at byte %d: %w", what, l.pos, ErrSyntax)
}

// skip passes white space and comments.
func (l *lexer) skip() {
	for l.pos < len(l.b) {
		switch c := l.b[l.pos]; {
		case space(c):
			l.pos++
		case c == '%':
			for l.pos < len(l.b) && l.b[l.pos] != '\n' && l.b[l.pos] != '\r' {
				l.pos++
			}
		default:
			return
		}
	}
}

// word takes a run of regular characters.
func (l *lexer) word() string {
	from := l.pos
	for l.pos < len(l.b) && regular(l.b[l.pos]) {
		l.pos++
	}
	return string(l.b[from:l.pos])
}

// keyword takes exactly this word.
func (l *lexer) keyword(w string) bool {
	l.skip()
	from := l.pos
	if l.word() == w {
		return true
	}
	l.pos = from
	return false
}

// natural takes a number without sign or fraction of at most ten digits.
func (l *lexer) natural() (int64, bool) {
	l.skip()
	from := l.pos
	w := l.word()
	if len(w) == 0 || len(w) > 10 {
		l.pos = from
		return 0, false
	}
	v := int64(0)
	for _, c := range []byte(w) {
		if c < '0' || c > '9' {
			l.pos = from
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	return v, true
}

// object takes one object; with references where references may stand.
func (l *lexer) object() (object, error) {
	l.skip()
	if l.pos >= len(l.b) {
		return nil, l.fail("end of data")
	}
	switch c := l.b[l.pos]; {
	case c == '/':
		return l.name()
	case c == '(':
		return l.literal()
	case c == '<' && l.at(1) == '<':
		return l.dict()
	case c == '<':
		return l.hex()
	case c == '[':
		return l.array()
	case c >= '0' && c <= '9':
		if r, ok := l.reference(); ok {
			return r, nil
		}
		return l.number()
	case c == '+' || c == '-' || c == '.':
		return l.number()
	case delimiter(c):
		return nil, l.fail(fmt.Sprintf("stray %q", c))
	}
	from := l.pos
	switch w := l.word(); w {
	case "true", "false":
		return w == "true", nil
	case "null":
		return null{}, nil
	default:
		l.pos = from
		return nil, l.fail(fmt.Sprintf("%.20q", w))
	}
}

func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.b) {
		return l.b[l.pos+n]
	}
	return 0
}

func (l *lexer) reference() (ref, bool) {
	from := l.pos
	num, ok := l.natural()
	if ok {
		if gen, fine := l.natural(); fine && gen <= 65535 && num > 0 && num < 1<<31 && l.keyword("R") {
			return ref{int(num), int(gen)}, true
		}
	}
	l.pos = from
	return ref{}, false
}

func (l *lexer) number() (object, error) {
	from := l.pos
	w := l.word()
	digits, points := 0, 0
	for i, c := range []byte(w) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		case (c == '-' || c == '+') && i == 0:
		default:
			digits = -len(w)
		}
	}
	if digits <= 0 || points > 1 || len(w) > 40 {
		l.pos = from
		return nil, l.fail(fmt.Sprintf("number %.20q", w))
	}
	return number(w), nil
}

func (l *lexer) name() (object, error) {
	l.pos++
	w := []byte(l.word())
	if len(w) > 1024 {
		return nil, l.fail("long name")
	}
	if !bytes.ContainsRune(w, '#') {
		return name(w), nil
	}
	var out []byte
	for i := 0; i < len(w); i++ {
		if w[i] == '#' && i+2 < len(w) {
			hi, a := hexDigit(w[i+1])
			lo, b := hexDigit(w[i+2])
			if a && b {
				out = append(out, hi<<4|lo)
				i += 2
				continue
			}
		}
		out = append(out, w[i])
	}
	return name(out), nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func (l *lexer) literal() (object, error) {
	from, open := l.pos, 0
	for ; l.pos < len(l.b); l.pos++ {
		switch l.b[l.pos] {
		case '\\':
			l.pos++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				l.pos++
				return text(l.b[from:l.pos]), nil
			}
		}
	}
	l.pos = from
	return nil, l.fail("string without end")
}

func (l *lexer) hex() (object, error) {
	from := l.pos
	for l.pos++; l.pos < len(l.b); l.pos++ {
		c := l.b[l.pos]
		if c == '>' {
			l.pos++
			return text(l.b[from:l.pos]), nil
		}
		if _, ok := hexDigit(c); !ok && !space(c) {
			break
		}
	}
	return nil, l.fail("hexadecimal string")
}

// down enters a nested object.
func (l *lexer) down() error {
	if l.depth--; l.depth < 0 {
		return fmt.Errorf("at byte %d: %w", l.pos, ErrDepth)
	}
	return nil
}

func (l *lexer) array() (object, error) {
	if err := l.down(); err != nil {
		return nil, err
	}
	defer func() { l.depth++ }()
	out := array{}
	for l.pos++; ; {
		l.skip()
		if l.at(0) == ']' {
			l.pos++
			return out, nil
		}
		o, err := l.object()
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
}

func (l *lexer) dict() (object, error) {
	if err := l.down(); err != nil {
		return nil, err
	}
	defer func() { l.depth++ }()
	var out dict
	seen := map[name]bool{}
	for l.pos += 2; ; {
		l.skip()
		if l.at(0) == '>' && l.at(1) == '>' {
			l.pos += 2
			return out, nil
		}
		if l.at(0) != '/' {
			return nil, l.fail("dictionary without key")
		}
		k, err := l.name()
		if err != nil {
			return nil, err
		}
		key := k.(name)
		if seen[key] {
			return nil, l.fail(fmt.Sprintf("key /%.40s twice", key))
		}
		v, err := l.object()
		if err != nil {
			return nil, err
		}
		seen[key] = true
		out.entries = append(out.entries, entry{key, v})
	}
}
