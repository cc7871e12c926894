package pdf

import (
	"bytes"
	"errors"
	"slices"
	"sort"
)

const (
	maxObjectStream = 16 << 20 // bytes of one, decoded
	maxDecoded      = 24 << 20 // bytes of those that are kept
	maxCached       = 200_000  // elements of parsed objects that are kept
	maxResolve      = 32       // references to references
)

// place is where an object's bytes are: in the file, or at an index of the object stream there.
type place struct {
	at  int64
	idx int32 // -1 outside an object stream
	num int32
}

// cached is a parsed object. Elements are its size.
type cached struct {
	value    Value
	elements int
}

// located is a parsed object of the file with its extent.
type located struct {
	num, gen   int
	value      Value
	start, end int64
	elements   int
	pinned     bool // its extent depends on an indirect length, so on the revision
}

// objectAt reads "num gen obj … endobj" at an offset. length resolves an indirect Length; nil refuses one. limit is where the object
// must have ended, 0 for the end of the file.
func (d *Document) objectAt(offset, limit int64, length func(Ref) (Value, error)) (located, error) {
	o := located{start: offset}
	src := d.src
	if limit > 0 {
		src = src[:limit]
	}
	r := &reader{doc: d, src: src, pos: int(offset)}
	err := r.object(&o, length)
	o.elements = r.elems
	if s := d.spend(max(r.pos-int(offset), 1)); s != nil {
		return o, s
	}
	return o, err
}

func (r *reader) object(o *located, length func(Ref) (Value, error)) error {
	num, err := r.integer()
	if err != nil {
		return refuse("pdf-object", "at byte %d stands no object", o.start)
	}
	gen, err := r.integer()
	if err != nil || r.keyword("obj") != nil || num > maxObjects || gen > 65535 {
		return refuse("pdf-object", "at byte %d stands no object", o.start)
	}
	o.num, o.gen = int(num), int(gen)
	if r.skip(); r.has("endobj") { // an empty object means null (qpdf), or nothing at all
		return r.bad("object %d is empty", num)
	}
	if o.value, err = r.value(0); err != nil {
		return err
	}
	if r.skip(); r.has("stream") {
		dict, ok := o.value.(Dict)
		if !ok {
			return r.bad("a stream without dictionary")
		}
		if o.value, err = r.stream(o, dict, length); err != nil {
			return err
		}
	}
	if err := r.keyword("endobj"); err != nil {
		return err
	}
	o.end = int64(r.pos)
	return nil
}

// stream reads the bytes of a stream: exactly Length of them, with endstream behind (ISO 32000-1 7.3.8.1).
func (r *reader) stream(o *located, dict Dict, length func(Ref) (Value, error)) (Value, error) {
	r.pos += len("stream")
	switch {
	case r.has("\r\n"):
		r.pos += 2
	case r.has("\n"):
		r.pos++
	default:
		return nil, r.bad("no line end behind stream")
	}
	v := dict.Get("Length")
	if ref, ok := v.(Ref); ok {
		if length == nil {
			return nil, r.bad("an indirect Length")
		}
		o.pinned = true
		var err error
		if v, err = length(ref); err != nil {
			return nil, err
		}
	}
	n, ok := v.(int64)
	if !ok || n < 0 || n > int64(len(r.src)-r.pos) {
		return nil, refuse("pdf-stream", "Length of the stream at byte %d", r.pos)
	}
	if dict.Get("F") != nil {
		return nil, refuse("pdf-external", "the stream at byte %d takes its bytes from another file", r.pos)
	}
	raw := r.src[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	end := r.pos
	for r.pos < len(r.src) && r.pos < end+2 && (r.src[r.pos] == '\r' || r.src[r.pos] == '\n') {
		r.pos++
	}
	if !r.has("endstream") {
		return nil, refuse("pdf-stream", "the stream that begins at byte %d has not the length it says", end-int(n))
	}
	r.pos += len("endstream")
	return &Stream{dict, raw}, nil
}

// get returns the object that a reference means as of a revision; nil for what is free or was never written.
func (d *Document) get(ref Ref, rev int) (Value, error) { return d.getDeep(ref, rev, 0) }

func (d *Document) getDeep(ref Ref, rev, depth int) (Value, error) {
	if depth > maxResolve {
		return nil, refuse("pdf-loop", "object %d leads to itself", ref.Num)
	}
	e, wrote, found := d.find(ref.Num, rev)
	if err := d.spend(rev - wrote + 1); err != nil {
		return nil, err
	}
	if !found || e.kind == free || e.kind == plain && int(e.gen) != ref.Gen || e.kind == compressed && ref.Gen != 0 {
		return nil, nil
	}
	if e.kind == compressed {
		return d.compressed(e, rev, depth)
	}
	key := place{e.at, -1, e.num}
	if c, ok := d.cache[key]; ok {
		return c.value, nil
	}
	o, err := d.plain(e, wrote, func(l Ref) (Value, error) { return d.getDeep(l, rev, depth+1) })
	if err != nil {
		return nil, err
	}
	if r, ok := o.value.(Ref); ok {
		return d.getDeep(r, rev, depth+1)
	}
	if !o.pinned {
		d.keep(key, o.value, o.elements)
	}
	return o.value, nil
}

// plain reads the object that an entry of revision wrote points at; it must be the one that is listed and end inside that revision.
func (d *Document) plain(e entry, wrote int, length func(Ref) (Value, error)) (located, error) {
	if end := d.revisions[wrote].End; e.at >= end {
		return located{}, refuse("pdf-object", "object %d should stand at byte %d, behind the revision that lists it", e.num, e.at)
	}
	o, err := d.objectAt(e.at, d.revisions[wrote].End, length)
	if err != nil {
		return o, err
	}
	if o.num != int(e.num) || o.gen != int(e.gen) {
		return o, refuse("pdf-object", "at byte %d stands object %d %d, not %d %d", e.at, o.num, o.gen, e.num, e.gen)
	}
	return o, nil
}

// keep puts a parsed object into the cache, which is emptied when it is full: walks go on, memory stays bounded.
func (d *Document) keep(key place, v Value, elements int) {
	if d.cached += elements + 8; d.cached > maxCached {
		clear(d.cache)
		d.cached = elements + 8
	}
	d.cache[key] = cached{v, elements}
}

// resolve follows a value that may be a reference.
func (d *Document) resolve(v Value, rev int) (Value, error) {
	if ref, ok := v.(Ref); ok {
		return d.get(ref, rev)
	}
	return v, nil
}

// objectStream is a decoded object stream (ISO 32000-1 7.5.7).
type objectStream struct {
	data  []byte
	first int
	nums  []int32
	offs  []int32
}

func (d *Document) compressed(e entry, rev, depth int) (Value, error) {
	box, wrote, found := d.find(int(e.at), rev)
	if !found || box.kind != plain {
		return nil, refuse("pdf-object-stream", "object %d should be in object stream %d, which is not there", e.num, e.at)
	}
	key := place{box.at, e.idx, e.num}
	if c, ok := d.cache[key]; ok {
		return c.value, nil
	}
	s, err := d.objectStream(box, wrote, rev, depth)
	if err != nil {
		return nil, err
	}
	if int(e.idx) >= len(s.nums) || s.nums[e.idx] != e.num {
		return nil, refuse("pdf-object-stream", "object %d is not number %d of object stream %d", e.num, e.idx, e.at)
	}
	r := &reader{doc: d, src: s.data, pos: s.first + int(s.offs[e.idx]), base: -1}
	start := r.pos
	v, err := r.value(0)
	if over := d.spend(max(r.pos-start, 1)); over != nil {
		return nil, over
	}
	if err != nil {
		return nil, err
	}
	if ref, ok := v.(Ref); ok {
		return d.getDeep(ref, rev, depth+1)
	}
	d.keep(key, v, r.elems)
	return v, nil
}

// objectStream decodes an object stream, or takes it from those that are kept.
func (d *Document) objectStream(e entry, wrote, rev, depth int) (*objectStream, error) {
	if s, ok := d.streams[e.at]; ok {
		return s, nil
	}
	o, err := d.plain(e, wrote, func(l Ref) (Value, error) { return d.getDeep(l, rev, depth+1) })
	if err != nil {
		return nil, err
	}
	stream, ok := o.value.(*Stream)
	if !ok || stream.Dict.Get("Type") != Name("ObjStm") {
		return nil, refuse("pdf-object-stream", "object %d is no object stream", e.num)
	}
	in, err := d.decoder(stream)
	if err != nil {
		return nil, err
	}
	data, err := in.all(min(maxObjectStream, max(1<<20, 200*len(stream.Raw))))
	if err != nil {
		return nil, err
	}
	s := &objectStream{data: data}
	if err := s.index(d, stream.Dict); err != nil {
		return nil, err
	}
	if d.decoded += len(data) + 8*len(s.nums); d.decoded > maxDecoded {
		clear(d.streams)
		d.decoded = len(data) + 8*len(s.nums)
	}
	d.streams[e.at] = s
	return s, nil
}

// index reads the numbers and offsets at the beginning.
func (s *objectStream) index(d *Document, dict Dict) error {
	n, ok := dict.Get("N").(int64)
	first, ok2 := dict.Get("First").(int64)
	if !ok || !ok2 || n < 0 || first < 0 || first > int64(len(s.data)) || n > first {
		return refuse("pdf-object-stream", "/N and /First of an object stream")
	}
	s.first = int(first)
	r := &reader{doc: d, src: s.data[:first], base: -1}
	for range n {
		num, err := r.integer()
		if err != nil {
			return err
		}
		off, err := r.integer()
		if err != nil {
			return err
		}
		if num > maxObjects || off > int64(len(s.data))-first {
			return refuse("pdf-object-stream", "object %d stands outside its object stream", num)
		}
		s.nums, s.offs = append(s.nums, int32(num)), append(s.offs, int32(off))
	}
	return d.spend(int(first))
}

// Gap is a stretch of a revision that no cross-reference section accounts for.
type Gap struct {
	Revision   int // index
	Start, End int64
	Objects    []int // numbers of the objects in it
	Listed     bool  // one of them is also listed elsewhere in its revision: readers that rebuild would take this one
}

// Layout finds the bytes of each revision that belong to no listed object, cross-reference section, white space or comment. Such bytes
// are where content waits to be shown later, and where readers that rebuild damaged files find other objects than the listed ones.
func (d *Document) Layout() ([]Gap, error) {
	var out []Gap
	for i, rev := range d.revisions {
		spans, listed, err := d.spans(i)
		if err != nil {
			return nil, err
		}
		pos := rev.Start
		for _, s := range append(spans, [2]int64{rev.End, rev.End}) {
			if s[0] > pos {
				if g, ok := d.gap(i, pos, s[0], listed); ok && len(out) < 1000 {
					out = append(out, g)
				}
			}
			pos = max(pos, s[1])
		}
	}
	return out, nil
}

// spans are the extents in the file that a revision's sections account for, in order, and the numbers of its objects.
func (d *Document) spans(i int) ([][2]int64, map[int]bool, error) {
	rev := d.revisions[i]
	var spans [][2]int64
	listed := map[int]bool{}
	add := func(s *section) error {
		for _, e := range s.entries {
			if e.kind == free {
				continue
			}
			listed[int(e.num)] = true
			if e.kind != plain || e.at < rev.Start || e.at >= rev.End {
				continue
			}
			o, err := d.plain(e, i, func(l Ref) (Value, error) { return d.get(l, i) })
			var f *Refusal
			switch {
			case err == nil:
				spans = append(spans, [2]int64{o.start, o.end})
			case !errors.As(err, &f) || f.Code == "pdf-limits":
				return err
			}
		}
		return nil
	}
	for _, s := range rev.sections {
		spans = append(spans, [2]int64{s.offset, max(s.end, s.eof)})
		if err := add(s); err != nil {
			return nil, nil, err
		}
		if s.hybrid != nil {
			spans = append(spans, [2]int64{s.hybrid.offset, s.hybrid.end})
			if err := add(s.hybrid); err != nil {
				return nil, nil, err
			}
		}
	}
	sort.Slice(spans, func(a, b int) bool { return spans[a][0] < spans[b][0] })
	return spans, listed, nil
}

// gap judges the bytes between two extents.
func (d *Document) gap(rev int, start, end int64, listed map[int]bool) (Gap, bool) {
	r := &reader{doc: d, src: d.src[:end], pos: int(start)}
	if r.skip(); r.pos >= int(end) {
		return Gap{}, false
	}
	g := Gap{Revision: rev, Start: int64(r.pos), End: end}
	for pos := r.pos; len(g.Objects) < 100; {
		i := bytes.Index(r.src[pos:], []byte("obj"))
		if i < 0 {
			break
		}
		if num, ok := numberBefore(r.src[start : pos+i]); ok && !slices.Contains(g.Objects, num) {
			g.Objects = append(g.Objects, num)
			g.Listed = g.Listed || listed[num]
		}
		pos += i + 3
	}
	return g, true
}

// numberBefore reads "num gen " at the end of b.
func numberBefore(b []byte) (int, bool) {
	b = b[max(0, len(b)-32):]
	fields := bytes.FieldsFunc(b, func(r rune) bool { return !(r >= '0' && r <= '9') })
	if len(fields) < 2 || len(b) == 0 || !isSpace(b[len(b)-1]) {
		return 0, false
	}
	n, ok := parseInteger(fields[len(fields)-2])
	return int(n), ok && n <= maxObjects
}
