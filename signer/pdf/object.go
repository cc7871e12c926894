package pdf

import (
	"bytes"
	"fmt"
	"strconv"
)

// Objects. Numbers and strings keep their text, so that what is written again is what was read.
type (
	object any
	null   struct{}
	name   string // decoded: without the slash, #xx resolved
	number string
	text   []byte // with its delimiters: (…) or <…>
	array  []object
	ref    struct{ num, gen int }
	// dict keeps the order of its keys. A key that occurs twice is refused: readers differ about which one counts.
	dict struct{ entries []entry }
	// stream is a dictionary with its undecoded bytes.
	stream struct {
		dict
		raw []byte
	}
	entry struct {
		key   name
		value object
	}
)

func (d dict) get(k name) object {
	for _, e := range d.entries {
		if e.key == k {
			return e.value
		}
	}
	return null{}
}

func (d dict) has(k name) bool {
	_, missing := d.get(k).(null)
	return !missing
}

// with returns a copy in which a key has a value.
func (d dict) with(k name, v object) dict {
	out := dict{append([]entry(nil), d.entries...)}
	for i := range out.entries {
		if out.entries[i].key == k {
			out.entries[i].value = v
			return out
		}
	}
	out.entries = append(out.entries, entry{k, v})
	return out
}

// integer reads a number without a fraction.
func integer(o object) (int64, bool) {
	n, ok := o.(number)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	return v, err == nil
}

// whole reads an integer between 0 and limit.
func whole(o object, limit int64) (int, bool) {
	v, ok := integer(o)
	return int(v), ok && v >= 0 && v <= limit
}

func real(o object) (float64, bool) {
	n, ok := o.(number)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(n), 64)
	return v, err == nil
}

// write serialises an object.
func write(b *bytes.Buffer, o object) {
	switch v := o.(type) {
	case nil, null:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case number:
		b.WriteString(string(v))
	case name:
		writeName(b, v)
	case text:
		b.Write(v)
	case ref:
		fmt.Fprintf(b, "%d %d R", v.num, v.gen)
	case array:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteByte(' ')
			}
			write(b, x)
		}
		b.WriteByte(']')
	case dict:
		writeDict(b, v)
	case stream:
		writeDict(b, v.dict)
		b.WriteString("\nstream\n")
		b.Write(v.raw)
		b.WriteString("\nendstream")
	}
}

func writeDict(b *bytes.Buffer, d dict) {
	b.WriteString("<<")
	for _, e := range d.entries {
		b.WriteByte(' ')
		writeName(b, e.key)
		b.WriteByte(' ')
		write(b, e.value)
	}
	b.WriteString(" >>")
}

func writeName(b *bytes.Buffer, n name) {
	b.WriteByte('/')
	for _, c := range []byte(n) {
		if c < '!' || c > '~' || c == '#' || delimiter(c) {
			fmt.Fprintf(b, "#%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
}

// literal writes text as a string object: UTF-16 in hexadecimal when it is not plain ASCII.
func literal(s string) text {
	plain := true
	for _, c := range s {
		plain = plain && c >= 0x20 && c < 0x7f
	}
	var b bytes.Buffer
	if !plain {
		b.WriteString("<FEFF")
		for _, u := range utf16Of(s) {
			fmt.Fprintf(&b, "%04X", u)
		}
		b.WriteByte('>')
		return b.Bytes()
	}
	b.WriteByte('(')
	for _, c := range []byte(s) {
		if c == '(' || c == ')' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte(')')
	return b.Bytes()
}
