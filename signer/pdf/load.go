package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
)

// pack is an opened object stream.
type pack struct {
	data  []byte
	nums  []int
	start []int
}

// resolve follows a reference; everything else is itself. A missing object is null, as ISO 32000 says.
func (f *file) resolve(o object) (object, error) {
	for hops := 0; ; hops++ {
		r, ok := o.(ref)
		if !ok {
			return o, nil
		}
		if hops > 16 {
			return nil, fmt.Errorf("object %d: references lead to references: %w", r.num, ErrObject)
		}
		var err error
		if o, err = f.load(r); err != nil {
			return nil, err
		}
	}
}

// load reads an object by reference.
func (f *file) load(r ref) (object, error) {
	p, ok := f.places[r.num]
	if !ok || p.free || !p.packed && p.gen != r.gen {
		return null{}, nil
	}
	if o, done := f.cache[r.num]; done {
		return o, nil
	}
	if f.loading[r.num] {
		return nil, fmt.Errorf("object %d needs itself: %w", r.num, ErrObject)
	}
	f.loading[r.num] = true
	defer delete(f.loading, r.num)
	var o object
	var err error
	if p.packed {
		o, err = f.unpack(r.num, p)
	} else {
		o, err = f.plain(r.num, p)
	}
	if err != nil {
		return nil, fmt.Errorf("object %d: %w", r.num, err)
	}
	f.cache[r.num] = o
	return o, nil
}

func (f *file) plain(num int, p place) (object, error) {
	l := &lexer{b: f.b, pos: p.at, depth: f.lim.Depth}
	id, o, err := f.indirect(l, true)
	if err != nil {
		return nil, err
	}
	if id != (ref{num, p.gen}) {
		return nil, fmt.Errorf("at byte %d stands object %d %d: %w", p.at, id.num, id.gen, ErrObject)
	}
	return o, nil
}

// indirect reads "num gen obj … endobj". deep allows a stream's Length to be a reference.
func (f *file) indirect(l *lexer, deep bool) (ref, object, error) {
	if l.pos >= len(f.b) {
		return ref{}, nil, fmt.Errorf("byte %d of %d: %w", l.pos, len(f.b), ErrObject)
	}
	num, ok := l.natural()
	gen, fine := l.natural()
	if !ok || !fine || num <= 0 || num > math.MaxInt32 || gen > 65535 || !l.keyword("obj") {
		return ref{}, nil, fmt.Errorf("no object at byte %d: %w", l.pos, ErrObject)
	}
	id := ref{int(num), int(gen)}
	o, err := l.object()
	if err != nil {
		return id, nil, fmt.Errorf("%w: %w", ErrObject, err)
	}
	d, isDict := o.(dict)
	if isDict && l.keyword("stream") {
		s, err := f.stream(l, d, deep)
		return id, s, err
	}
	if !l.keyword("endobj") {
		return id, nil, fmt.Errorf("no endobj at byte %d: %w", l.pos, ErrObject)
	}
	return id, o, nil
}

// stream takes the bytes behind the keyword.
func (f *file) stream(l *lexer, d dict, deep bool) (object, error) {
	switch {
	case l.at(0) == '\r' && l.at(1) == '\n':
		l.pos += 2
	case l.at(0) == '\n':
		l.pos++
	default:
		return nil, fmt.Errorf("no line end after stream at byte %d: %w", l.pos, ErrObject)
	}
	length := d.get("Length")
	if deep {
		var err error
		if length, err = f.resolve(length); err != nil {
			return nil, err
		}
	}
	n, ok := whole(length, int64(len(f.b)-l.pos))
	if !ok {
		return nil, fmt.Errorf("stream of unknown length at byte %d: %w", l.pos, ErrObject)
	}
	s := stream{d, f.b[l.pos : l.pos+n]}
	l.pos += n
	if !l.keyword("endstream") || !l.keyword("endobj") {
		return nil, fmt.Errorf("no endstream at byte %d: %w", l.pos, ErrObject)
	}
	return s, nil
}

func (f *file) unpack(num int, p place) (object, error) {
	k, err := f.pack(p.at)
	if err != nil {
		return nil, err
	}
	if p.index >= len(k.nums) || k.nums[p.index] != num {
		return nil, fmt.Errorf("not at place %d of object stream %d: %w", p.index, p.at, ErrObject)
	}
	l := &lexer{b: k.data, pos: k.start[p.index], depth: f.lim.Depth}
	o, err := l.object()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrObject, err)
	}
	return o, nil
}

// pack opens an object stream once.
func (f *file) pack(num int) (*pack, error) {
	if k := f.packs[num]; k != nil {
		return k, nil
	}
	if p := f.places[num]; p.packed || p.free {
		return nil, fmt.Errorf("object stream %d is itself packed or missing: %w", num, ErrObject)
	}
	o, err := f.load(ref{num, f.places[num].gen})
	if err != nil {
		return nil, err
	}
	s, ok := o.(stream)
	n, fine := whole(s.get("N"), int64(f.lim.Objects))
	first, good := whole(s.get("First"), math.MaxInt32)
	if !ok || !fine || !good || s.get("Type") != name("ObjStm") {
		return nil, fmt.Errorf("object %d is no object stream: %w", num, ErrObject)
	}
	data, err := f.decode(s)
	if err != nil {
		return nil, err
	}
	k := &pack{data: data}
	l := &lexer{b: data}
	for range n {
		id, ok := l.natural()
		at, fine := l.natural()
		if !ok || !fine || id > math.MaxInt32 || int64(first)+at > int64(len(data)) {
			return nil, fmt.Errorf("head of object stream %d: %w", num, ErrObject)
		}
		k.nums, k.start = append(k.nums, int(id)), append(k.start, first+int(at))
	}
	f.packs[num] = k
	return k, nil
}

// decode expands a stream: FlateDecode with or without a predictor, ASCIIHexDecode, or plain.
func (f *file) decode(s stream) ([]byte, error) {
	filters, err := f.list(s.get("Filter"))
	if err != nil {
		return nil, err
	}
	params, err := f.list(s.get("DecodeParms"))
	if err != nil {
		return nil, err
	}
	data := s.raw
	for i, filter := range filters {
		var p dict
		if i < len(params) {
			p, _ = params[i].(dict)
		}
		switch filter {
		case name("FlateDecode"), name("Fl"):
			if data, err = f.inflate(data); err == nil {
				data, err = unpredict(data, p)
			}
		case name("ASCIIHexDecode"), name("AHx"):
			data, err = unhex(data)
		default:
			err = fmt.Errorf("filter %.40v: %w", filter, ErrFilter)
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// list makes a list of nothing, one object or an array, references followed.
func (f *file) list(o object) ([]object, error) {
	o, err := f.resolve(o)
	if err != nil {
		return nil, err
	}
	switch v := o.(type) {
	case null:
		return nil, nil
	case array:
		if len(v) > 8 {
			return nil, fmt.Errorf("%d filters: %w", len(v), ErrFilter)
		}
		out := make([]object, len(v))
		for i := range v {
			if out[i], err = f.resolve(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return []object{o}, nil
}

func (f *file) inflate(data []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFilter, err)
	}
	limit := min(f.lim.Stream, f.lim.Expanded-f.expanded)
	out, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if len(out) > limit {
		return nil, fmt.Errorf("stream expands beyond %d bytes: %w", limit, ErrLimit)
	}
	if err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && len(out) > 0) {
		return nil, fmt.Errorf("%w: %w", ErrFilter, err)
	}
	f.expanded += len(out)
	return out, nil
}

func unhex(data []byte) ([]byte, error) {
	var out []byte
	half, high := false, byte(0)
	for _, c := range data {
		if c == '>' {
			break
		}
		if space(c) {
			continue
		}
		d, ok := hexDigit(c)
		if !ok {
			return nil, fmt.Errorf("hexadecimal data: %w", ErrFilter)
		}
		if half {
			out = append(out, high<<4|d)
		}
		half, high = !half, d
	}
	if half {
		out = append(out, high<<4)
	}
	return out, nil
}

// unpredict undoes the PNG predictors, which cross-reference and object streams use. TIFF's is for pictures and not read.
func unpredict(data []byte, p dict) ([]byte, error) {
	kind, ok := whole(p.get("Predictor"), 15)
	if !ok || kind == 1 {
		return data, nil
	}
	columns, ok := whole(p.get("Columns"), 1<<20)
	if !ok {
		columns = 1
	}
	colours, bits := int64(1), int64(8)
	if v, ok := integer(p.get("Colors")); ok {
		colours = v
	}
	if v, ok := integer(p.get("BitsPerComponent")); ok {
		bits = v
	}
	if kind < 10 || columns == 0 || colours != 1 || bits != 8 {
		return nil, fmt.Errorf("predictor %d: %w", kind, ErrFilter)
	}
	out, above := make([]byte, 0, len(data)), make([]byte, columns)
	for len(data) > columns {
		row := bytes.Clone(data[1 : columns+1])
		if err := unfilter(data[0], row, above); err != nil {
			return nil, err
		}
		out, above, data = append(out, row...), row, data[columns+1:]
	}
	return out, nil
}

// unfilter undoes one row of PNG's filters with one byte a pixel.
func unfilter(kind byte, row, above []byte) error {
	var left, corner byte
	for i := range row {
		switch kind {
		case 0:
		case 1:
			row[i] += left
		case 2:
			row[i] += above[i]
		case 3:
			row[i] += byte((int(left) + int(above[i])) / 2)
		case 4:
			row[i] += paeth(left, above[i], corner)
		default:
			return fmt.Errorf("row filter %d: %w", kind, ErrFilter)
		}
		left, corner = row[i], above[i]
	}
	return nil
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	pa, pb, pc := abs(p-int(a)), abs(p-int(b)), abs(p-int(c))
	if pa <= pb && pa <= pc {
		return a
	}
	if pb <= pc {
		return b
	}
	return c
}

func abs(v int) int { return max(v, -v) }
