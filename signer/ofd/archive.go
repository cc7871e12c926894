package ofd

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"strings"

	"sealkeeper/internal/gm"
)

// The record signatures and fixed lengths of APPNOTE.TXT §4.3.
const (
	localSig, centralSig, endSig, descriptorSig = 0x04034b50, 0x02014b50, 0x06054b50, 0x08074b50
	localLen, centralLen, endLen                = 30, 46, 22

	flagEncrypted, flagDescriptor, flagStrong, flagUTF8, flagMasked = 1 << 0, 1 << 3, 1 << 6, 1 << 11, 1 << 13
	flagsKnown                                                      = flagEncrypted | 1<<1 | 1<<2 | flagDescriptor | flagStrong | flagUTF8 | flagMasked

	methodStored, methodDeflate = 0, 8

	extraZIP64, extraUnicodePath = 0x0001, 0x7075
)

var le = binary.LittleEndian

// entry is one file or directory of the package; from..to is its whole local record in archive.b, central its directory record.
type entry struct {
	name         string // decoded, without a leading slash; a directory's ends with one
	raw          []byte // as stored
	flags        uint16
	method       uint16
	crc          uint32
	csize, usize uint32
	central      []byte
	from, to     int
	data         int      // where the compressed data begin
	digest       [32]byte // SM3 of the content
}

func (e *entry) dir() bool { return strings.HasSuffix(e.name, "/") }

// archive is a ZIP package proved contiguous: local records in order from byte 0, the central directory, the end record, nothing else.
type archive struct {
	b       []byte
	entries []*entry // directory order
	placed  []*entry // order of their local records
	byName  map[string]*entry
	names   nameSet
	comment []byte
	inflate io.ReadCloser // reused; digestAll and open are called by one goroutine while opening
}

func readArchive(b []byte, lim Limits) (*archive, error) {
	at, count, err := findDirectory(b)
	if err != nil {
		return nil, err
	}
	end := lastEnd(b)
	if count > lim.Entries {
		return nil, fmt.Errorf("%d entries, limit %d: %w", count, lim.Entries, ErrTooManyEntries)
	}
	a := &archive{b: b, byName: make(map[string]*entry, count), names: newNameSet(), comment: b[end+endLen:]}
	pos := at
	for range count {
		e, next, err := readCentral(b[:end], pos, lim)
		if err != nil {
			return nil, err
		}
		if err := a.names.add(e.name); err != nil {
			return nil, err
		}
		a.entries, a.byName[e.name], pos = append(a.entries, e), e, next
	}
	if pos != end {
		return nil, fmt.Errorf("central directory ends at byte %d, not at its end record %d: %w", pos, end, ErrZipStructure)
	}
	if err := a.checkSize(lim); err != nil {
		return nil, err
	}
	return a, a.place(at)
}

// lastEnd returns where the end record stands, or -1. Readers look for it from the back, so the last one counts.
func lastEnd(b []byte) int {
	from := max(0, len(b)-endLen-0xFFFF)
	i := bytes.LastIndex(b[from:], []byte("PK\x05\x06"))
	if i < 0 || len(b)-from-i < endLen {
		return -1
	}
	return from + i
}

// findDirectory checks the end record and returns the central directory's position and its number of entries.
func findDirectory(b []byte) (at, count int, err error) {
	bad := func(why string) (int, int, error) { return 0, 0, fmt.Errorf("%s: %w", why, ErrZipStructure) }
	end := lastEnd(b)
	if end < 0 {
		return 0, 0, fmt.Errorf("no end of central directory in %d bytes: %w", len(b), ErrNotZip)
	}
	r := b[end:]
	if len(r) != endLen+int(le.Uint16(r[20:])) {
		return bad("bytes after the end record")
	}
	onDisk, all, size, off := le.Uint16(r[8:]), le.Uint16(r[10:]), le.Uint32(r[12:]), le.Uint32(r[16:])
	if all == 0xFFFF || size == 0xFFFFFFFF || off == 0xFFFFFFFF {
		return bad("ZIP64 end record")
	}
	if le.Uint32(r[4:]) != 0 || onDisk != all {
		return bad("several disks")
	}
	if uint64(off)+uint64(size) != uint64(end) {
		return bad("central directory does not stand before its end record")
	}
	return int(off), int(all), nil
}

// readCentral reads one directory record at pos and returns the position behind it.
func readCentral(b []byte, pos int, lim Limits) (*entry, int, error) {
	if len(b)-pos < centralLen || le.Uint32(b[pos:]) != centralSig {
		return nil, 0, fmt.Errorf("no directory record at byte %d: %w", pos, ErrZipStructure)
	}
	r := b[pos:]
	nameLen, extraLen, commentLen := int(le.Uint16(r[28:])), int(le.Uint16(r[30:])), int(le.Uint16(r[32:]))
	total := centralLen + nameLen + extraLen + commentLen
	if len(r) < total {
		return nil, 0, fmt.Errorf("directory record at byte %d is cut: %w", pos, ErrZipStructure)
	}
	e := &entry{
		raw: r[centralLen : centralLen+nameLen], central: r[:total], flags: le.Uint16(r[8:]), method: le.Uint16(r[10:]),
		crc: le.Uint32(r[16:]), csize: le.Uint32(r[20:]), usize: le.Uint32(r[24:]), from: int(le.Uint32(r[42:])),
	}
	var err error
	if e.name, err = decodeName(e.raw, e.flags&flagUTF8 != 0); err != nil {
		return nil, 0, err
	}
	if err := checkName(e.name, lim.NameBytes); err != nil {
		return nil, 0, err
	}
	if err := checkExtra(e, r[centralLen+nameLen:centralLen+nameLen+extraLen]); err != nil {
		return nil, 0, err
	}
	return e, pos + total, e.checkKind()
}

// checkExtra refuses the two extra fields that make an entry something else for some readers: ZIP64 sizes, which a package of this size
// has no need of, and an Info-ZIP Unicode Path (APPNOTE §4.6.9) that names another file than the header does.
func checkExtra(e *entry, extra []byte) error {
	if extraField(extra, extraZIP64) != nil {
		return fmt.Errorf("entry %.80q: ZIP64 field: %w", e.name, ErrZipStructure)
	}
	if f := extraField(extra, extraUnicodePath); f != nil && (len(f) < 5 || string(f[5:]) != e.name) {
		return fmt.Errorf("entry %.80q: Unicode path field says %.80q: %w", e.name, f[min(5, len(f)):], ErrZipStructure)
	}
	return nil
}

func extraField(extra []byte, id uint16) []byte {
	for len(extra) >= 4 {
		n := int(le.Uint16(extra[2:]))
		if len(extra) < 4+n {
			return nil
		}
		if le.Uint16(extra) == id {
			return extra[4 : 4+n]
		}
		extra = extra[4+n:]
	}
	return nil
}

func (e *entry) checkKind() error {
	bad := func(err error) error { return fmt.Errorf("entry %.80q: %w", e.name, err) }
	switch {
	case e.flags&(flagEncrypted|flagStrong|flagMasked) != 0:
		return bad(ErrEncrypted)
	case e.method != methodStored && e.method != methodDeflate:
		return bad(fmt.Errorf("method %d: %w", e.method, ErrMethod))
	case e.flags&^flagsKnown != 0 || le.Uint16(e.central[34:]) != 0:
		return bad(ErrZipStructure)
	case !e.plain():
		return bad(ErrEntryKind)
	case e.csize == 0xFFFFFFFF || e.usize == 0xFFFFFFFF || le.Uint32(e.central[42:]) == 0xFFFFFFFF:
		return bad(fmt.Errorf("ZIP64 sizes: %w", ErrZipStructure))
	case e.method == methodStored && e.csize != e.usize || e.dir() && e.usize != 0:
		return bad(ErrEntryData)
	}
	return nil
}

// plain reports whether the POSIX file type in the upper half of the external attributes, if any, is that of a file or a folder. Only
// entries made on Unix (3) or OS X (19) have one, but a link is refused whoever claims to have made it.
func (e *entry) plain() bool {
	const mask, regular, directory, link = 0xF000, 0x8000, 0x4000, 0xA000
	host := e.central[5]
	switch kind := le.Uint32(e.central[38:]) >> 16 & mask; {
	case kind == link:
		return false
	case kind == 0, kind == regular, host != 3 && host != 19:
		return true
	default:
		return kind == directory && e.dir()
	}
}

// checkSize adds up the declared sizes; digestAll holds every entry to what it declared.
func (a *archive) checkSize(lim Limits) error {
	var total int64
	for _, e := range a.entries {
		total += int64(e.usize)
	}
	if total > lim.TotalBytes || total > lim.FreeBytes && total > lim.Ratio*int64(len(a.b)) {
		return fmt.Errorf("%d bytes expand to %d: %w", len(a.b), total, ErrBomb)
	}
	return nil
}

// place walks the local records in order and proves that they fill everything up to the central directory at byte end.
func (a *archive) place(end int) error {
	a.placed = append([]*entry(nil), a.entries...)
	sort.SliceStable(a.placed, func(i, j int) bool { return a.placed[i].from < a.placed[j].from })
	pos := 0
	for i, e := range a.placed {
		e.to = end
		if i+1 < len(a.placed) {
			e.to = a.placed[i+1].from
		}
		if e.from != pos || e.to > end || e.to < e.from {
			return fmt.Errorf("bytes before, between or shared by entries at byte %d: %w", pos, ErrZipStructure)
		}
		if err := e.checkLocal(a.b[e.from:e.to]); err != nil {
			return err
		}
		pos = e.to
	}
	if pos != end {
		return fmt.Errorf("bytes in no entry at byte %d: %w", pos, ErrZipStructure)
	}
	return nil
}

// checkLocal holds the local record r against the directory record: a streaming reader sees only this one.
func (e *entry) checkLocal(r []byte) error {
	bad := func(why string) error { return fmt.Errorf("entry %.80q: %s: %w", e.name, why, ErrZipStructure) }
	if len(r) < localLen || le.Uint32(r) != localSig {
		return bad("no local header")
	}
	nameLen, extraLen := int(le.Uint16(r[26:])), int(le.Uint16(r[28:]))
	head := localLen + nameLen + extraLen
	if len(r) < head+int(e.csize) {
		return bad("local record is cut or overlaps the next")
	}
	flags, compared := le.Uint16(r[6:]), uint16(flagEncrypted|flagStrong|flagMasked)
	if nameFlag(e.name) != 0 {
		compared |= flagUTF8 // for ASCII names the flag says nothing
	}
	if !bytes.Equal(r[localLen:localLen+nameLen], e.raw) || (flags^e.flags)&compared != 0 || le.Uint16(r[8:]) != e.method {
		return bad("local header differs from the directory")
	}
	if err := checkExtra(e, r[localLen+nameLen:head]); err != nil {
		return err
	}
	e.data = e.from + head
	crc, csize, usize := le.Uint32(r[14:]), le.Uint32(r[18:]), le.Uint32(r[22:])
	late := flags&flagDescriptor != 0
	same := crc == e.crc && csize == e.csize && usize == e.usize || late && crc == 0 && csize == 0 && usize == 0
	tail := r[head+int(e.csize):]
	if !same || !late && len(tail) != 0 {
		return bad("local sizes or checksum differ from the directory")
	}
	if late && !e.descriptor(tail) {
		return bad("data descriptor differs from the directory")
	}
	return nil
}

// descriptor accepts the forms of APPNOTE §4.3.9: with or without signature.
func (e *entry) descriptor(t []byte) bool {
	if len(t) == 16 && le.Uint32(t) == descriptorSig {
		t = t[4:]
	}
	return len(t) == 12 && le.Uint32(t) == e.crc && le.Uint32(t[4:]) == e.csize && le.Uint32(t[8:]) == e.usize
}

// digestAll expands every entry once, checks size and CRC-32 and keeps the SM3 digest.
func (a *archive) digestAll() error {
	buf := make([]byte, 32<<10)
	for _, e := range a.entries {
		if e.dir() && e.csize == 0 {
			continue
		}
		src := bytes.NewReader(a.b[e.data : e.data+int(e.csize)])
		sum, sm3 := crc32.NewIEEE(), gm.NewSM3()
		n, err := io.CopyBuffer(io.MultiWriter(sum, sm3), io.LimitReader(a.expand(e, src), int64(e.usize)+1), buf)
		if err != nil || n != int64(e.usize) || sum.Sum32() != e.crc || src.Len() != 0 {
			return fmt.Errorf("entry %.80q: size, checksum or stream: %w", e.name, ErrEntryData)
		}
		sm3.Sum(e.digest[:0])
	}
	return nil
}

// open returns the content of an entry that digestAll has accepted. Only one may be in use at a time.
func (a *archive) open(e *entry) io.Reader {
	return io.LimitReader(a.expand(e, bytes.NewReader(a.b[e.data:e.data+int(e.csize)])), int64(e.usize))
}

func (a *archive) expand(e *entry, src *bytes.Reader) io.Reader {
	if e.method == methodStored {
		return src
	}
	if a.inflate == nil {
		a.inflate = flate.NewReader(src)
	} else {
		a.inflate.(flate.Resetter).Reset(src, nil) // never fails (package flate)
	}
	return a.inflate
}

// file returns the entry of a part that must exist, by exact name.
func (a *archive) file(name string) (*entry, error) {
	e := a.byName[name]
	if e == nil || e.dir() {
		return nil, fmt.Errorf("part %.80q: %w", name, ErrMissingPart)
	}
	return e, nil
}

// read returns the content of a part that is edited.
func (a *archive) read(name string, limit int) ([]byte, error) {
	e, err := a.file(name)
	if err != nil {
		return nil, err
	}
	if int64(e.usize) > int64(limit) {
		return nil, fmt.Errorf("part %.80q has %d bytes, limit %d: %w", name, e.usize, limit, ErrXML)
	}
	return io.ReadAll(a.open(e))
}
