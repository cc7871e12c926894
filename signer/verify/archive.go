package verify

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"sealkeeper/internal/gm"
)

// This file is the verifier's own reader of ZIP (PKWARE APPNOTE 6.3). It accepts only a package that every reader understands alike:
// each byte belongs to exactly one listed entry, and both headers of an entry agree.

const (
	maxEntries = 20_000
	minExpand  = 64 << 20 // bytes that any package may expand to
	maxRatio   = 20       // times its own size
)

// refusal is why a package is not read any further.
type refusal struct{ code, detail string }

func (r *refusal) Error() string { return r.code + ": " + r.detail }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// entry is one file of a package.
type entry struct {
	name       string // as text, see textName
	stored     string // the bytes of both headers
	method     uint16
	flags      uint16
	crc        uint32
	packed     []byte // compressed bytes, a slice of the input
	size       int64
	digest     [32]byte // SM3 of the uncompressed bytes
	start, end int64    // extent in the input: local header to data descriptor
	page       *body    // the document that was last seen to show this file
}

func (e *entry) isDir() bool { return strings.HasSuffix(e.name, "/") }

// open returns a reader of the uncompressed bytes of a file that is there, which ends early when the caller gave up. Their number and
// checksum were verified when the package was opened.
func (a *archive) open(name string) io.Reader {
	e := a.files[name]
	if e.method == methodStored {
		return &untilDone{a.ctx, bytes.NewReader(e.packed)}
	}
	return &untilDone{a.ctx, io.LimitReader(flate.NewReader(bytes.NewReader(e.packed)), e.size)}
}

// untilDone stops reading when its context ends: a small package may expand to much work.
type untilDone struct {
	ctx context.Context
	in  io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, refuse("interrupted", "%v", err)
	}
	return u.in.Read(p)
}

// archive is a package that passed every check.
type archive struct {
	ctx     context.Context
	files   map[string]*entry // by exact name, directories left out
	names   []string          // of files, in the order of the directory
	comment bool
}

var le = binary.LittleEndian

const (
	signLocal      = 0x04034b50
	signCentral    = 0x02014b50
	signDescriptor = 0x08074b50
	endRecord      = "PK\x05\x06"

	methodStored  = 0
	methodDeflate = 8

	flagDescriptor = 1 << 3
	flagsRefused   = 1<<0 | 1<<5 | 1<<6 | 1<<13 // encrypted, patch data, strong encryption, masked headers
)

// openArchive reads the directory, checks the layout, then expands every entry once for its checksum and digest.
func openArchive(ctx context.Context, b []byte) (*archive, *refusal) {
	end, r := findEnd(b)
	if r != nil {
		return nil, r
	}
	entries, r := readDirectory(b, end)
	if r != nil {
		return nil, r
	}
	if r := checkNames(entries); r != nil {
		return nil, r
	}
	if r := checkLayout(b, entries, end.offset); r != nil {
		return nil, r
	}
	if r := checkSizes(len(b), entries); r != nil {
		return nil, r
	}
	a := &archive{ctx: ctx, files: make(map[string]*entry, len(entries)), comment: end.comment}
	x := &expander{}
	for _, e := range entries {
		if r := e.expand(ctx, x); r != nil {
			return nil, r
		}
		if !e.isDir() {
			a.files[e.name] = e
			a.names = append(a.names, e.name)
		}
	}
	return a, nil
}

// directory is what the end record says.
type directory struct {
	offset, size int64
	count        int
	comment      bool
}

// findEnd finds the end record. Its comment must reach exactly to the end of the file.
func findEnd(b []byte) (directory, *refusal) {
	seen := false
	for i := len(b) - 22; i >= 0 && i >= len(b)-22-0xFFFF; i-- {
		if !bytes.HasPrefix(b[i:], []byte(endRecord)) {
			continue
		}
		seen = true
		if i+22+int(le.Uint16(b[i+20:])) == len(b) {
			return readEnd(b, i)
		}
	}
	switch {
	case seen:
		return directory{}, refuse("zip-trailing-bytes", "bytes follow the end record")
	case bytes.HasPrefix(b, []byte("PK")):
		return directory{}, refuse("zip-directory", "no end record")
	default:
		return directory{}, refuse("not-a-package", "%d bytes that are no ZIP file", len(b))
	}
}

func readEnd(b []byte, i int) (directory, *refusal) {
	r := b[i:]
	d := directory{offset: int64(le.Uint32(r[16:])), size: int64(le.Uint32(r[12:])), count: int(le.Uint16(r[10:])), comment: len(r) > 22}
	switch {
	case d.count == 0xFFFF || d.size == 0xFFFFFFFF || d.offset == 0xFFFFFFFF || i >= 20 && bytes.HasPrefix(b[i-20:], []byte("PK\x06\x07")):
		return d, refuse("zip-zip64", "ZIP64 records are not read")
	case le.Uint32(r[4:]) != 0 || // number of this volume and of the directory's
		le.Uint16(r[8:]) != le.Uint16(r[10:]):
		return d, refuse("zip-directory", "a package in several volumes")
	case d.offset+d.size != int64(i) && bytes.Contains(b[:i], []byte(endRecord)):
		return d, refuse("zip-two-archives", "the directory does not end at the end record, and there is another end record")
	case d.offset+d.size != int64(i):
		return d, refuse("zip-directory", "the directory (%d bytes at %d) does not end at the end record (%d)", d.size, d.offset, i)
	case d.count > maxEntries:
		return d, refuse("zip-entries", "%d entries, limit %d", d.count, maxEntries)
	case bytes.Contains(r[22:], []byte(endRecord)):
		return d, refuse("zip-two-archives", "a second end record in the comment")
	}
	return d, nil
}

func readDirectory(b []byte, d directory) ([]*entry, *refusal) {
	rest := b[d.offset : d.offset+d.size]
	entries := make([]*entry, 0, d.count)
	for range d.count {
		if len(rest) < 46 || le.Uint32(rest) != signCentral {
			return nil, refuse("zip-directory", "entry %d is damaged", len(entries))
		}
		n, m, k := int(le.Uint16(rest[28:])), int(le.Uint16(rest[30:])), int(le.Uint16(rest[32:]))
		if len(rest) < 46+n+m+k {
			return nil, refuse("zip-directory", "entry %d is cut short", len(entries))
		}
		e, r := readCentral(b, rest, string(rest[46:46+n]), rest[46+n:46+n+m], d.offset)
		if r != nil {
			return nil, r
		}
		entries = append(entries, e)
		rest = rest[46+n+m+k:]
	}
	if len(rest) != 0 {
		return nil, refuse("zip-directory", "%d bytes behind the last entry", len(rest))
	}
	return entries, nil
}

// readCentral reads one entry of the directory and the local header it points at.
func readCentral(b, h []byte, name string, extra []byte, limit int64) (*entry, *refusal) {
	e := &entry{name: textName(name), stored: name, flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]),
		size: int64(le.Uint32(h[24:])), start: int64(le.Uint32(h[42:]))}
	packed := int64(le.Uint32(h[20:]))
	const unix, fileType, symlink, regular, dir = 3, 0o170000, 0o120000, 0o100000, 0o040000
	mode := le.Uint32(h[38:]) >> 16 & fileType
	switch {
	case e.flags&flagsRefused != 0:
		return nil, refuse("zip-encrypted", "entry %q has flags %#x", name, e.flags)
	case e.method != methodStored && e.method != methodDeflate:
		return nil, refuse("zip-method", "entry %q is compressed by method %d", name, e.method)
	case h[5] == unix && mode == symlink:
		return nil, refuse("zip-symlink", "entry %q is a symbolic link", name)
	case h[5] == unix && mode != 0 && mode != regular && mode != dir:
		return nil, refuse("zip-special-file", "entry %q is no regular file", name)
	case le.Uint16(h[34:]) != 0:
		return nil, refuse("zip-directory", "entry %q lies in another volume", name)
	}
	if r := checkExtra(e.name, extra); r != nil {
		return nil, r
	}
	return e, e.readLocal(b, packed, limit)
}

// checkExtra looks for the two extra fields that change what an entry is: ZIP64 sizes and another name.
func checkExtra(name string, extra []byte) *refusal {
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			return nil // padding of some producers; nothing reads it
		}
		field := extra[4 : 4+n]
		const zip64, unicodePath = 0x0001, 0x7075
		switch {
		case id == zip64:
			return refuse("zip-zip64", "entry %q has ZIP64 sizes", name)
		case id == unicodePath && n > 5 && string(field[5:]) != name:
			return refuse("zip-two-names", "entry %q is called %q in its extra field", name, field[5:])
		}
		extra = extra[4+n:]
	}
	return nil
}

// readLocal compares the local header with the directory and finds the extent of the entry. limit is where the directory begins.
func (e *entry) readLocal(b []byte, packed, limit int64) *refusal {
	if e.start+30 > limit || le.Uint32(b[e.start:]) != signLocal {
		return refuse("zip-local-header", "entry %q has no local header at %d", e.name, e.start)
	}
	h := b[e.start:]
	n, m := int64(le.Uint16(h[26:])), int64(le.Uint16(h[28:]))
	data := e.start + 30 + n + m
	if data+packed > limit {
		return refuse("zip-local-header", "entry %q reaches into the directory", e.name)
	}
	flags := le.Uint16(h[6:])
	switch {
	case string(h[30:30+n]) != e.stored:
		return refuse("zip-two-names", "entry %q is called %q in its local header", e.name, h[30:30+n])
	case le.Uint16(h[8:]) != e.method || flags&flagsRefused != 0:
		return refuse("zip-local-header", "entry %q: method or flags differ between its headers", e.name)
	}
	if r := checkExtra(e.name, h[30+n:30+n+m]); r != nil {
		return r
	}
	same := le.Uint32(h[14:]) == e.crc && int64(le.Uint32(h[18:])) == packed && int64(le.Uint32(h[22:])) == e.size
	zero := le.Uint32(h[14:]) == 0 && le.Uint32(h[18:]) == 0 && le.Uint32(h[22:]) == 0
	if !same && (flags&flagDescriptor == 0 || !zero) {
		return refuse("zip-size-lies", "entry %q: sizes differ between its headers", e.name)
	}
	e.packed, e.end = b[data:data+packed:data+packed], data+packed
	if flags&flagDescriptor != 0 {
		return e.readDescriptor(b[:limit])
	}
	return nil
}

// readDescriptor steps over the data descriptor, with or without its signature.
func (e *entry) readDescriptor(b []byte) *refusal {
	want := le.AppendUint32(nil, signDescriptor)
	want = le.AppendUint32(want, e.crc)
	want = le.AppendUint32(want, uint32(len(e.packed)))
	want = le.AppendUint32(want, uint32(e.size))
	for _, form := range [][]byte{want, want[4:]} {
		if bytes.HasPrefix(b[e.end:], form) {
			e.end += int64(len(form))
			return nil
		}
	}
	return refuse("zip-size-lies", "entry %q: its data descriptor does not fit", e.name)
}

// checkLayout demands that the entries cover the file from its first byte to the directory, without gap and without overlap.
func checkLayout(b []byte, entries []*entry, directory int64) *refusal {
	order := slices.Clone(entries)
	slices.SortFunc(order, func(x, y *entry) int { return int(x.start - y.start) })
	at := int64(0)
	for _, e := range order {
		switch {
		case e.start < at:
			return refuse("zip-overlap", "entry %q overlaps another", e.name)
		case e.start > at:
			return unlisted(b, at, e.start)
		}
		at = e.end
	}
	if at != directory {
		return unlisted(b, at, directory)
	}
	return nil
}

func unlisted(b []byte, from, to int64) *refusal {
	code := "zip-unlisted-bytes"
	if bytes.Contains(b[from:to], []byte(endRecord)) {
		code = "zip-two-archives"
	}
	return refuse(code, "%d bytes at %d belong to no entry", to-from, from)
}

func checkSizes(input int, entries []*entry) *refusal {
	bound, total := max(minExpand, int64(maxRatio)*int64(input)), int64(0)
	for _, e := range entries {
		if total += e.size; total > bound {
			return refuse("zip-bomb", "expands to more than %d bytes from %d", bound, input)
		}
		if e.isDir() && e.size != 0 {
			return refuse("zip-directory", "folder %q holds data", e.name)
		}
	}
	return nil
}

// expander is what one entry after the other is expanded with.
type expander struct {
	flate  io.ReadCloser
	buffer [32 << 10]byte
}

func (x *expander) inflate(in io.Reader) io.Reader {
	if x.flate == nil {
		x.flate = flate.NewReader(in)
	} else if err := x.flate.(flate.Resetter).Reset(in, nil); err != nil { // it never fails
		x.flate = flate.NewReader(in)
	}
	return x.flate
}

// expand reads the entry to its end: exactly the claimed size, all compressed bytes used, checksum right.
func (e *entry) expand(ctx context.Context, x *expander) *refusal {
	crc, sm3 := crc32.NewIEEE(), gm.NewSM3()
	packed := bytes.NewReader(e.packed)
	var in io.Reader = packed
	if e.method == methodDeflate {
		in = x.inflate(packed)
	}
	n, err := io.CopyBuffer(io.MultiWriter(crc, sm3), io.LimitReader(&untilDone{ctx, in}, e.size+1), x.buffer[:])
	var stopped *refusal
	switch {
	case errors.As(err, &stopped):
		return stopped
	case err != nil:
		return refuse("zip-damaged", "entry %q: %v", e.name, err)
	case n != e.size || packed.Len() != 0:
		return refuse("zip-size-lies", "entry %q: %d bytes claimed, %d or more found", e.name, e.size, n)
	case crc.Sum32() != e.crc:
		return refuse("zip-damaged", "entry %q: checksum is wrong", e.name)
	}
	sm3.Sum(e.digest[:0])
	return nil
}
