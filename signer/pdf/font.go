package pdf

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// font turns codes of strings into text and widths.
type font struct {
	two     bool              // codes of two bytes
	gbk     bool              // codes of GBK, one or two bytes
	utf16   bool              // codes are UTF-16
	unicode map[uint32]string // from ToUnicode
	widths  map[uint32]float64
	missing float64 // width of what is not in widths
}

// code is one character of a string.
type code struct {
	text  string
	width float64 // thousandths of the font size
	blank bool    // the single byte 32, to which word spacing applies
}

const maxMapped = 100_000 // characters of one font

func (d *Document) readFont(f dict) (*font, error) {
	out := &font{widths: map[uint32]float64{}, missing: 500}
	o, err := d.f.resolve(f.get("ToUnicode"))
	if err != nil {
		return nil, err
	}
	if s, ok := o.(stream); ok {
		b, err := d.f.decode(s)
		if err != nil {
			return nil, err
		}
		out.unicode = toUnicode(b)
	}
	if f.get("Subtype") == name("Type0") {
		return out, d.composite(out, f)
	}
	return out, d.simpleWidths(out, f)
}

func (d *Document) simpleWidths(out *font, f dict) error {
	first, ok := whole(f.get("FirstChar"), 255)
	o, err := d.f.resolve(f.get("Widths"))
	list, isList := o.(array)
	if err != nil || !ok || !isList {
		return err
	}
	for i, w := range list {
		w, err := d.f.resolve(w)
		if err != nil {
			return err
		}
		if v, ok := real(w); ok && first+i < 256 {
			out.widths[uint32(first+i)] = v
		}
	}
	return nil
}

// composite reads encoding and widths of a Type0 font. Of the predefined encodings those are known that say Unicode or GBK themselves.
func (d *Document) composite(out *font, f dict) error {
	out.two, out.missing = true, 1000
	if enc, ok := f.get("Encoding").(name); ok {
		switch e := string(enc); {
		case strings.Contains(e, "UTF16") || strings.Contains(e, "UCS2"):
			out.utf16 = true
		case strings.HasPrefix(e, "GB"):
			out.gbk = true
		}
	}
	below, err := d.f.list(f.get("DescendantFonts"))
	if err != nil || len(below) == 0 {
		return err
	}
	cid, ok := below[0].(dict)
	if !ok {
		return fmt.Errorf("DescendantFonts: %w", ErrObject)
	}
	if v, ok := real(cid.get("DW")); ok {
		out.missing = v
	}
	if out.utf16 || out.gbk {
		return nil // widths go by numbers that these encodings do not show
	}
	o, err := d.f.resolve(cid.get("W"))
	if err != nil {
		return err
	}
	list, _ := o.(array)
	return d.cidWidths(out, list)
}

// cidWidths reads "c [w …]" and "first last w".
func (d *Document) cidWidths(out *font, list array) error {
	for i := 0; i+1 < len(list) && len(out.widths) < maxMapped; {
		first, ok := whole(list[i], 65535)
		next, err := d.f.resolve(list[i+1])
		if err != nil || !ok {
			return err
		}
		if each, ok := next.(array); ok {
			for j, w := range each {
				if v, ok := real(w); ok {
					out.widths[uint32(first+j)] = v
				}
			}
			i += 2
			continue
		}
		last, ok := whole(next, 65535)
		if !ok || i+2 >= len(list) {
			return nil
		}
		if v, ok := real(list[i+2]); ok {
			for c := first; c <= last; c++ {
				out.widths[uint32(c)] = v
			}
		}
		i += 3
	}
	return nil
}

// codes cuts a string into characters.
func (f *font) codes(b []byte) (out []code) {
	for len(b) > 0 {
		n := 1
		if f.two && !(f.gbk && b[0] < 0x81) {
			n = min(2, len(b))
		}
		v := uint32(b[0])
		if n == 2 {
			v = v<<8 | uint32(b[1])
		}
		c := code{text: f.text(v, b[:n]), width: f.missing, blank: n == 1 && b[0] == ' '}
		if w, ok := f.widths[v]; ok {
			c.width = w
		} else if (f.utf16 || f.gbk) && v < 0x80 {
			c.width = f.missing / 2
		}
		out, b = append(out, c), b[n:]
	}
	return out
}

func (f *font) text(v uint32, raw []byte) string {
	if s, ok := f.unicode[v]; ok {
		return s
	}
	switch {
	case f.unicode != nil && f.two && !f.utf16 && !f.gbk:
		return ""
	case f.utf16:
		return string(utf16.Decode([]uint16{uint16(v)}))
	case f.gbk:
		s, err := simplifiedchinese.GBK.NewDecoder().Bytes(raw)
		if err != nil {
			return ""
		}
		return string(s)
	case f.two:
		return "" // glyph numbers without a way back
	}
	return string(rune(v))
}

// toUnicode reads the bfchar and bfrange sections of a CMap.
func toUnicode(b []byte) map[uint32]string {
	out := map[uint32]string{}
	l := &lexer{b: b, depth: 8}
	for l.skip(); l.pos < len(b) && len(out) < maxMapped; l.skip() {
		if c := b[l.pos]; !regular(c) {
			if _, err := l.object(); err != nil {
				l.pos++
			}
			continue
		}
		switch l.word() {
		case "beginbfchar":
			for bfChar(l, out) && len(out) < maxMapped {
			}
		case "beginbfrange":
			for bfRange(l, out) && len(out) < maxMapped {
			}
		}
	}
	return out
}

// hexCode takes <…> as a number and as bytes.
func hexCode(l *lexer) (v uint32, raw []byte, ok bool) {
	l.skip()
	if l.at(0) != '<' || l.at(1) == '<' {
		return 0, nil, false
	}
	o, err := l.hex()
	if err != nil {
		return 0, nil, false
	}
	raw = stringBytes(o.(text))
	if len(raw) > 64 {
		return 0, nil, false
	}
	for _, c := range raw {
		v = v<<8 | uint32(c)
	}
	return v, raw, len(raw) > 0
}

func bfChar(l *lexer, out map[uint32]string) bool {
	v, _, ok := hexCode(l)
	_, dst, fine := hexCode(l)
	if ok && fine {
		out[v] = utf16BE(dst)
	}
	return ok && fine
}

func bfRange(l *lexer, out map[uint32]string) bool {
	lo, _, ok := hexCode(l)
	hi, _, fine := hexCode(l)
	if !ok || !fine || hi < lo || hi-lo > 65535 {
		return false
	}
	l.skip()
	if l.at(0) == '[' {
		o, err := l.array()
		if err != nil {
			return false
		}
		for i, x := range o.(array) {
			if t, ok := x.(text); ok && lo+uint32(i) <= hi {
				out[lo+uint32(i)] = utf16BE(stringBytes(t))
			}
		}
		return true
	}
	_, dst, ok := hexCode(l)
	if !ok {
		return false
	}
	for v := lo; v <= hi && len(out) < maxMapped; v++ {
		next := append([]byte(nil), dst...)
		for i, add := len(next)-1, v-lo; i >= 0 && add > 0; i-- {
			sum := uint32(next[i]) + add
			next[i], add = byte(sum), sum>>8
		}
		out[v] = utf16BE(next)
	}
	return true
}

func utf16BE(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u = append(u, uint16(b[i])<<8|uint16(b[i+1]))
	}
	return string(utf16.Decode(u))
}
