package pdf

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
)

// place is where an object stands: at a byte of the file, or in an object stream.
type place struct {
	at     int // byte of "num gen obj"; of an object in a stream: the stream's number
	gen    int
	index  int // in the stream
	packed bool
	free   bool
	from   int // byte of the section that says so
}

// file is the object level of a document: what the cross-reference sections say, newest first.
type file struct {
	b        []byte
	lim      Limits
	places   map[int]place
	trailer  dict // of the newest section
	start    int  // of the newest section
	asStream bool // the newest section is a stream
	highest  int  // object number
	cache    map[int]object
	packs    map[int]*pack
	loading  map[int]bool
	expanded int
	known    map[int]bool // sections read
	section  int          // that is read: of a hybrid file's stream, the table beside it
	beside   bool         // the stream beside a table is read
}

var header = regexp.MustCompile(`^%PDF-\d\.\d`)

// openFile reads header, end and every cross-reference section.
func openFile(b []byte, lim Limits) (*file, error) {
	if !header.Match(b) {
		return nil, fmt.Errorf("the first bytes are %.16q: %w", b[:min(len(b), 16)], ErrNotPDF)
	}
	f := &file{b: b, lim: lim, places: map[int]place{}, cache: map[int]object{}, packs: map[int]*pack{}, loading: map[int]bool{}, known: map[int]bool{}}
	start, err := f.tail()
	if err != nil {
		return nil, err
	}
	f.start = start
	return f, f.sections()
}

// tail finds the last startxref, behind which only %%EOF and white space may stand.
func (f *file) tail() (int, error) {
	window := f.b[max(0, len(f.b)-2048):]
	i := bytes.LastIndex(window, []byte("startxref"))
	if i < 0 {
		return 0, fmt.Errorf("no startxref: %w", ErrTail)
	}
	l := lexer{b: window, pos: i + len("startxref")}
	v, ok := l.natural()
	for l.pos < len(window) && space(window[l.pos]) {
		l.pos++
	}
	if !ok || !bytes.HasPrefix(window[l.pos:], []byte("%%EOF")) || len(bytes.TrimLeft(window[l.pos+5:], "\x00\t\n\f\r ")) > 0 {
		return 0, fmt.Errorf("after startxref: %w", ErrTail)
	}
	if v == 0 || v >= int64(len(f.b)) {
		return 0, fmt.Errorf("startxref %d in %d bytes: %w", v, len(f.b), ErrXref)
	}
	return int(v), nil
}

// sections walks from the newest section back by /Prev.
func (f *file) sections() error {
	for at, first := f.start, true; ; first = false {
		f.section, f.beside = at, false
		t, isStream, err := f.read(at)
		if err != nil {
			return err
		}
		if t.has("Encrypt") {
			return fmt.Errorf("trailer: %w", ErrEncrypted)
		}
		if first {
			f.trailer, f.asStream = t, isStream
		}
		if !isStream && t.has("XRefStm") { // hybrid: what the table hides stands in a stream
			hidden, ok := whole(t.get("XRefStm"), math.MaxInt32)
			if !ok {
				return fmt.Errorf("XRefStm: %w", ErrXref)
			}
			f.beside = true
			if _, isStream, err := f.read(hidden); err != nil || !isStream {
				return fmt.Errorf("XRefStm at %d: %w: %w", hidden, err, ErrXref)
			}
		}
		if !t.has("Prev") {
			return f.settle()
		}
		prev, ok := whole(t.get("Prev"), math.MaxInt32)
		if !ok {
			return fmt.Errorf("entry Prev: %w", ErrXref)
		}
		at = prev
	}
}

// settle checks what all sections together give.
func (f *file) settle() error {
	for n := range f.places {
		f.highest = max(f.highest, n)
	}
	if size, ok := whole(f.trailer.get("Size"), int64(f.lim.Objects)); !ok {
		return fmt.Errorf("trailer's Size: %w", ErrXref)
	} else {
		f.highest = max(f.highest, size-1)
	}
	if _, ok := f.trailer.get("Root").(ref); !ok {
		return fmt.Errorf("trailer's Root is no reference: %w", ErrXref)
	}
	return nil
}

func (f *file) read(at int) (dict, bool, error) {
	if at < 0 || at >= len(f.b) || f.known[at] || len(f.known) >= f.lim.Revisions {
		return dict{}, false, fmt.Errorf("section at byte %d, after %d others: loop or out of the file: %w", at, len(f.known), ErrXref)
	}
	f.known[at] = true
	l := &lexer{b: f.b, pos: at, depth: f.lim.Depth}
	if l.keyword("xref") {
		t, err := f.table(l)
		return t, false, err
	}
	t, err := f.xrefStream(l)
	return t, true, err
}

func (f *file) add(num int, p place) error {
	if len(f.places) >= f.lim.Objects || num >= f.lim.Objects {
		return fmt.Errorf("object %d: more than %d: %w", num, f.lim.Objects, ErrLimit)
	}
	p.from = f.section
	switch old, newer := f.places[num]; {
	case !newer, f.beside && old.free && old.from == p.from: // what a hybrid file's table hides as free is in the stream
		f.places[num] = p
	case f.beside && old.from == p.from && !p.free && old != p:
		return fmt.Errorf("table and stream of a hybrid file list object %d in two places: %w", num, ErrXref)
	}
	return nil
}

// table reads subsections of lines "offset generation n|f", then the trailer.
func (f *file) table(l *lexer) (dict, error) {
	for !l.keyword("trailer") {
		first, ok := l.natural()
		count, fine := l.natural()
		if !ok || !fine || count > int64(len(f.b)-l.pos)/18 {
			return dict{}, fmt.Errorf("subsection at byte %d: %w", l.pos, ErrXref)
		}
		for i := range count {
			if err := f.line(l, first+i); err != nil {
				return dict{}, err
			}
		}
	}
	o, err := l.object()
	if err != nil {
		return dict{}, fmt.Errorf("trailer: %w: %w", ErrXref, err)
	}
	t, ok := o.(dict)
	if !ok {
		return dict{}, fmt.Errorf("trailer is no dictionary: %w", ErrXref)
	}
	return t, nil
}

func (f *file) line(l *lexer, num int64) error {
	at, ok := l.natural()
	gen, fine := l.natural()
	l.skip()
	kind := l.word()
	if !ok || !fine || gen > 65535 || kind != "n" && kind != "f" || num > math.MaxInt32 {
		return fmt.Errorf("entry of object %d before byte %d: %w", num, l.pos, ErrXref)
	}
	return f.add(int(num), place{at: int(at), gen: int(gen), free: kind == "f" || at == 0})
}

// xrefStream reads a section that is a stream.
func (f *file) xrefStream(l *lexer) (dict, error) {
	at := l.pos
	_, s, err := f.indirect(l, false)
	if err != nil {
		return dict{}, fmt.Errorf("section at byte %d: %w: %w", at, ErrXref, err)
	}
	st, ok := s.(stream)
	if !ok || st.get("Type") != name("XRef") {
		return dict{}, fmt.Errorf("no section at byte %d: %w", at, ErrXref)
	}
	w, err := widths(st.get("W"))
	if err != nil {
		return dict{}, err
	}
	data, err := f.decode(st)
	if err != nil {
		return dict{}, err
	}
	index, ok := st.get("Index").(array)
	if !ok {
		index = array{number("0"), st.get("Size")}
	}
	return st.dict, f.rows(data, w, index)
}

func widths(o object) ([3]int, error) {
	var w [3]int
	a, ok := o.(array)
	if !ok || len(a) != 3 {
		return w, fmt.Errorf("entry W: %w", ErrXref)
	}
	for i := range w {
		if w[i], ok = whole(a[i], 8); !ok {
			return w, fmt.Errorf("entry W: %w", ErrXref)
		}
	}
	if w[1] == 0 {
		return w, fmt.Errorf("entry W without offsets: %w", ErrXref)
	}
	return w, nil
}

func (f *file) rows(data []byte, w [3]int, index array) error {
	width := w[0] + w[1] + w[2]
	for i := 0; i+1 < len(index); i += 2 {
		first, ok := whole(index[i], math.MaxInt32)
		count, fine := whole(index[i+1], math.MaxInt32)
		if !ok || !fine || count > len(data)/width {
			return fmt.Errorf("section claims %d entries of %d bytes in %d: %w", count, width, len(data), ErrXref)
		}
		for n := range count {
			row := data[n*width : (n+1)*width]
			if err := f.row(first+n, bigEndian(row[:w[0]]), bigEndian(row[w[0]:w[0]+w[1]]), bigEndian(row[w[0]+w[1]:]), w[0] == 0); err != nil {
				return err
			}
		}
		data = data[count*width:]
	}
	return nil
}

func (f *file) row(num int, kind, a, b uint64, plain bool) error {
	if plain {
		kind = 1
	}
	if a > math.MaxInt32 || b > math.MaxInt32 {
		return fmt.Errorf("entry of object %d: %w", num, ErrXref)
	}
	switch kind {
	case 0:
		return f.add(num, place{free: true})
	case 1:
		return f.add(num, place{at: int(a), gen: int(b)})
	case 2:
		return f.add(num, place{at: int(a), index: int(b), packed: true})
	}
	return nil // later kinds stand for null objects
}

func bigEndian(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}
