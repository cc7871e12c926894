package pdf

import (
	"bytes"
	"slices"
)

// This file reads cross-reference sections (ISO 32000-1 7.5.4 and 7.5.8) and groups them into revisions.

const maxSections = 1000

type entryKind uint8

const (
	free entryKind = iota
	plain
	compressed
)

// entry says where an object is.
type entry struct {
	num  int32
	kind entryKind
	gen  uint16
	at   int64 // offset in the file, or the number of the object stream
	idx  int32 // in the object stream
}

// section is one cross-reference section. Of a hybrid file it holds the table, and the stream beside it.
type section struct {
	offset  int64
	entries []entry // by number, each once
	trailer Dict
	hybrid  *section
	end     int64 // behind the trailer or the stream's endobj
	target  int64 // of the startxref that follows, -1 without
	eof     int64 // behind the %%EOF that follows it
}

// readRevisions follows the chain from the last startxref to the first section and groups it.
func (d *Document) readRevisions() error {
	offset, end, err := d.lastPointer()
	if err != nil {
		return err
	}
	var chain []*section
	seen := map[int64]bool{}
	for {
		if seen[offset] {
			return refuse("pdf-xref-loop", "the cross-reference section at byte %d precedes itself", offset)
		}
		if len(chain) == maxSections {
			return unsupported("pdf-limits", "more than %d cross-reference sections", maxSections)
		}
		seen[offset] = true
		s, err := d.readSection(offset)
		if err != nil {
			return err
		}
		chain = append(chain, s)
		prev := s.trailer.Get("Prev")
		if prev == nil {
			break
		}
		p, ok := prev.(int64)
		if !ok {
			return refuse("pdf-xref", "/Prev of the section at byte %d is no number", offset)
		}
		offset = p
	}
	if chain[0].trailer.Get("Encrypt") != nil {
		return unsupported("pdf-encrypted", "the document is encrypted")
	}
	return d.group(chain, end)
}

// lastPointer reads the last startxref, which must end the file.
func (d *Document) lastPointer() (offset, end int64, err error) {
	at := bytes.LastIndex(d.src, []byte("%%EOF"))
	if at < 0 {
		return 0, 0, refuse("pdf-eof", "no %%%%EOF")
	}
	if tail := bytes.TrimLeft(d.src[at+5:], " \t\r\n\f\x00"); len(tail) > 0 {
		return 0, 0, refuse("pdf-trailing-bytes", "%d bytes stand behind the last %%%%EOF", len(tail))
	}
	start := bytes.LastIndex(d.src[:at], []byte("startxref"))
	if start < 0 {
		return 0, 0, refuse("pdf-startxref", "no startxref before the last %%%%EOF")
	}
	offset, end, ok := d.pointerAt(int64(start))
	if !ok || end != int64(at+5) {
		return 0, 0, refuse("pdf-startxref", "the last startxref is not followed by an offset and %%%%EOF")
	}
	return offset, end, nil
}

// pointerAt reads startxref, an offset and %%EOF.
func (d *Document) pointerAt(pos int64) (offset, end int64, ok bool) {
	r := d.readerAt(pos)
	if r.keyword("startxref") != nil {
		return 0, 0, false
	}
	offset, err := r.integer()
	if err != nil {
		return 0, 0, false
	}
	for r.pos < len(r.src) && isSpace(r.src[r.pos]) {
		r.pos++
	}
	if !r.has("%%EOF") {
		return 0, 0, false
	}
	return offset, int64(r.pos + 5), true
}

// group sorts sections into revisions: a revision is closed by the startxref behind one of its sections that points at its newest.
// A linearized file has two sections in one revision, the newer one standing first (ISO 32000-1 annex F).
func (d *Document) group(chain []*section, end int64) error {
	var open []*section
	var last int64
	for i := len(chain) - 1; i >= 0; i-- {
		s := chain[i]
		open = append(open, s)
		closer := slices.IndexFunc(open, func(o *section) bool { return o.target == s.offset })
		eof := end
		switch {
		case i == 0 && closer < 0:
		case closer < 0:
			continue
		default:
			eof = open[closer].eof
		}
		if i == 0 && eof != end || eof <= last {
			return refuse("pdf-revisions", "the cross-reference sections do not follow one another in the file")
		}
		slices.Reverse(open) // newest first
		d.revisions = append(d.revisions, &Revision{Start: last, End: eof, sections: open, trailer: s.trailer})
		open, last = nil, eof
	}
	return nil
}

func (d *Document) readSection(offset int64) (*section, error) {
	if offset < 0 || offset >= int64(len(d.src)) {
		return nil, refuse("pdf-xref", "a cross-reference section at byte %d of %d", offset, len(d.src))
	}
	r := d.readerAt(offset)
	var s *section
	var err error
	if r.has("xref") {
		s, err = d.readTable(r)
	} else {
		s, err = d.readXRefStream(offset)
	}
	if err != nil {
		return nil, err
	}
	s.offset, s.target = offset, -1
	if _, ok := s.trailer.Get("Root").(Ref); !ok && s.trailer.Get("Root") != nil {
		return nil, refuse("pdf-xref", "/Root is no reference")
	}
	after := d.readerAt(s.end)
	after.skip()
	if target, eof, ok := d.pointerAt(int64(after.pos)); ok {
		s.target, s.eof = target, eof
	}
	return s, nil
}

// readTable reads a table, its trailer, and the stream of a hybrid file.
func (d *Document) readTable(r *reader) (*section, error) {
	s := &section{}
	if err := r.keyword("xref"); err != nil {
		return nil, err
	}
	for r.skip(); isDigit(r.peek()); r.skip() {
		if err := s.readSubsection(d, r); err != nil {
			return nil, err
		}
	}
	if err := r.keyword("trailer"); err != nil {
		return nil, err
	}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	t, ok := v.(Dict)
	if !ok {
		return nil, refuse("pdf-xref", "the trailer at byte %d is no dictionary", r.pos)
	}
	s.trailer, s.end = t, int64(r.pos)
	if at, ok := t.Get("XRefStm").(int64); ok {
		if at < 0 || at >= int64(len(d.src)) {
			return nil, refuse("pdf-xref", "/XRefStm %d of %d bytes", at, len(d.src))
		}
		if s.hybrid, err = d.readXRefStream(at); err != nil {
			return nil, err
		}
	}
	if err := s.order(); err != nil {
		return nil, err
	}
	return s, s.agree()
}

// agree demands that the table of a hybrid file and the stream beside it do not both say where an object is, and differ: readers that know
// streams and readers that do not would show two documents.
func (s *section) agree() error {
	if s.hybrid == nil {
		return nil
	}
	for _, e := range s.entries {
		if h, ok := s.hybrid.find(int(e.num)); ok && e.kind != free && h.kind != free && h != e {
			return refuse("pdf-xref-duplicate", "table and stream of a hybrid file list object %d in two places", e.num)
		}
	}
	return nil
}

func (s *section) readSubsection(d *Document, r *reader) error {
	first, err := r.integer()
	if err != nil {
		return err
	}
	count, err := r.integer()
	if err != nil {
		return err
	}
	if err := d.claim(first, count, int64(len(r.src)-r.pos)/16); err != nil { // an entry has 20 bytes, damaged ones a few less
		return err
	}
	start := r.pos
	for i := range count {
		at, err := r.integer()
		if err != nil {
			return err
		}
		gen, err := r.integer()
		if err != nil {
			return err
		}
		r.skip()
		kind := free
		switch w := string(r.word()); {
		case w == "n":
			kind = plain
		case w != "f" || gen > 65535:
			return r.bad("no cross-reference entry")
		}
		s.entries = append(s.entries, entry{num: int32(first + i), kind: kind, gen: uint16(gen), at: at})
	}
	return d.spend(r.pos - start)
}

// claim admits count more entries beginning with first, where the bytes at hand can hold no more than most.
func (d *Document) claim(first, count, most int64) error {
	d.entries += int(min(count, maxObjects+1))
	switch {
	case count > most:
		return refuse("pdf-xref", "a cross-reference section of %d entries, there is room for %d", count, most)
	case first > maxObjects || count > maxObjects || first+count > maxObjects+1:
		return unsupported("pdf-limits", "object numbers up to %d", first+count)
	case d.entries > 100_000+len(d.src)/4:
		return unsupported("pdf-limits", "%d cross-reference entries in a document of %d bytes", d.entries, len(d.src))
	}
	return nil
}

// order sorts the entries. Two entries of one object in one section are refused unless they say the same.
func (s *section) order() error {
	slices.SortStableFunc(s.entries, func(a, b entry) int { return int(a.num) - int(b.num) })
	for i := 1; i < len(s.entries); i++ {
		if s.entries[i].num == s.entries[i-1].num && s.entries[i] != s.entries[i-1] {
			return refuse("pdf-xref-duplicate", "one cross-reference section lists object %d twice", s.entries[i].num)
		}
	}
	s.entries = slices.Compact(s.entries)
	return nil
}

// readXRefStream reads the cross-reference stream at offset (ISO 32000-1 7.5.8).
func (d *Document) readXRefStream(offset int64) (*section, error) {
	o, err := d.objectAt(offset, 0, nil)
	if err != nil {
		return nil, err
	}
	stream, ok := o.value.(*Stream)
	if !ok || stream.Dict.Get("Type") != Name("XRef") {
		return nil, refuse("pdf-xref", "at byte %d stands no cross-reference section", offset)
	}
	s := &section{offset: offset, trailer: stream.Dict, end: o.end}
	widths, total, err := fieldWidths(stream.Dict)
	if err != nil {
		return nil, err
	}
	index, err := subsections(stream.Dict)
	if err != nil {
		return nil, err
	}
	in, err := d.decoder(stream)
	if err != nil {
		return nil, err
	}
	row := make([]byte, total)
	for i := 0; i < len(index); i += 2 {
		first, count := index[i], index[i+1]
		if err := d.claim(first, count, maxObjects); err != nil {
			return nil, err
		}
		for n := range count {
			if err := in.full(row); err != nil {
				return nil, err
			}
			if err := s.addRow(first+n, row, widths); err != nil {
				return nil, err
			}
		}
	}
	return s, s.order()
}

func fieldWidths(t Dict) (w [3]int, total int, err error) {
	list, ok := t.Get("W").(Array)
	for i, v := range list {
		n, isInt := v.(int64)
		if i > 2 || !isInt || n < 0 || n > 8 {
			ok = false
			break
		}
		w[i] = int(n)
		total += int(n)
	}
	if !ok || len(list) != 3 || w[1] == 0 {
		return w, 0, refuse("pdf-xref", "/W of a cross-reference stream is not three widths")
	}
	return w, total, nil
}

// subsections returns the pairs of /Index, by default 0 and Size.
func subsections(t Dict) ([]int64, error) {
	list, ok := t.Get("Index").(Array)
	if !ok && t.Get("Index") == nil {
		list, ok = Array{int64(0), t.Get("Size")}, true
	}
	var out []int64
	for _, v := range list {
		n, isInt := v.(int64)
		ok = ok && isInt && n >= 0
		out = append(out, n)
	}
	if !ok || len(out)%2 != 0 {
		return nil, refuse("pdf-xref", "/Index of a cross-reference stream is not pairs of numbers")
	}
	return out, nil
}

func (s *section) addRow(num int64, row []byte, w [3]int) error {
	field := func(n, absent int) int64 {
		if n == 0 {
			return int64(absent)
		}
		v := int64(0)
		for _, c := range row[:n] {
			v = v<<8 | int64(c)
		}
		row = row[n:]
		return v
	}
	kind, at, third := field(w[0], 1), field(w[1], 0), field(w[2], 0)
	e := entry{num: int32(num), at: at}
	switch {
	case kind == 0:
		e.gen = uint16(third)
	case kind == 1 && at >= 0 && third >= 0 && third <= 65535:
		e.kind, e.gen = plain, uint16(third)
	case kind == 2 && at >= 0 && at <= maxObjects && third >= 0 && third <= maxObjects:
		e.kind, e.idx = compressed, int32(third)
	default:
		return refuse("pdf-xref", "entry of object %d in a cross-reference stream: %d %d %d", num, kind, at, third)
	}
	s.entries = append(s.entries, e)
	return nil
}

// find returns the entry of an object in a section. Objects that the table of a hybrid file hides as free are in the stream beside it
// (ISO 32000-1 7.5.8.4).
func (s *section) find(num int) (entry, bool) {
	i, found := slices.BinarySearchFunc(s.entries, num, func(e entry, n int) int { return int(e.num) - n })
	if found && (s.entries[i].kind != free || s.hybrid == nil) {
		return s.entries[i], true
	}
	if s.hybrid != nil {
		if e, ok := s.hybrid.find(num); ok {
			return e, true
		}
	}
	if found {
		return s.entries[i], true
	}
	return entry{}, false
}

// find returns the entry of an object as of a revision, and the revision that wrote it.
func (d *Document) find(num, rev int) (entry, int, bool) {
	for i := rev; i >= 0; i-- {
		for _, s := range d.revisions[i].sections {
			if e, ok := s.find(num); ok {
				return e, i, true
			}
		}
	}
	return entry{}, 0, false
}
