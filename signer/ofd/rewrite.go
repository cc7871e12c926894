package ofd

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// rewrite returns the archive with some contents replaced in place and new entries appended, all new data stored. Every other local
// record is copied as it is, and its directory record too but for the offset.
func (a *archive) rewrite(replaced map[*entry][]byte, added []newEntry, t time.Time) ([]byte, error) {
	size := len(a.b) + 4*endLen
	for _, data := range replaced {
		size += len(data) + 2*centralLen
	}
	for _, n := range added {
		size += len(n.data) + 2*(centralLen+len(n.name))
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("sealed package of %d bytes: %w", size, ErrBomb)
	}
	w := &zipWriter{t: t}
	w.out.Grow(size)
	central := make(map[*entry][]byte, len(a.placed))
	for _, e := range a.placed {
		if data, ok := replaced[e]; ok {
			central[e] = w.store(e.raw, e.flags&flagUTF8, e.keptExtra(), data)
			copy(central[e][4:6], e.central[4:6])     // version made by, which says how to read
			copy(central[e][36:42], e.central[36:42]) // the attributes
			continue
		}
		central[e] = append([]byte(nil), e.central...)
		le.PutUint32(central[e][42:], uint32(w.out.Len()))
		w.out.Write(a.b[e.from:e.to])
	}
	var tail []byte
	for _, n := range added {
		tail = append(tail, w.store([]byte(n.name), nameFlag(n.name), nil, n.data)...)
	}
	w.finish(a, central, tail, len(a.entries)+len(added))
	return w.out.Bytes(), nil
}

// keptExtra keeps the Unicode Path field, which belongs to the name; time stamps and sizes belong to the old content.
func (e *entry) keptExtra() []byte {
	nameLen, extraLen := int(le.Uint16(e.central[28:])), int(le.Uint16(e.central[30:]))
	f := extraField(e.central[centralLen+nameLen:centralLen+nameLen+extraLen], extraUnicodePath)
	if f == nil {
		return nil
	}
	head := le.AppendUint16(le.AppendUint16(nil, extraUnicodePath), uint16(len(f)))
	return append(head, f...)
}

func nameFlag(name string) uint16 {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return flagUTF8
		}
	}
	return 0
}

type zipWriter struct {
	out bytes.Buffer
	t   time.Time
}

// store appends a stored entry and returns its directory record.
func (w *zipWriter) store(name []byte, flags uint16, extra, data []byte) []byte {
	offset := w.out.Len()
	date, clock := dosTime(w.t)
	const needed = 20 // version 2.0: folders, deflate
	common := le.AppendUint16(nil, needed)
	for _, v := range []uint16{flags, methodStored, clock, date} {
		common = le.AppendUint16(common, v)
	}
	common = le.AppendUint32(common, crc32.ChecksumIEEE(data))
	common = le.AppendUint32(common, uint32(len(data)))
	common = le.AppendUint32(common, uint32(len(data)))
	common = le.AppendUint16(common, uint16(len(name)))
	common = le.AppendUint16(common, uint16(len(extra)))
	w.out.Write(le.AppendUint32(nil, localSig))
	for _, part := range [][]byte{common, name, extra, data} {
		w.out.Write(part)
	}
	c := le.AppendUint16(le.AppendUint32(nil, centralSig), needed)
	c = append(c, common...)
	c = append(c, make([]byte, 10)...) // no comment, disk 0, no attributes
	c = le.AppendUint32(c, uint32(offset))
	return append(append(c, name...), extra...)
}

// finish writes the central directory in its old order, the new records behind it, and the end record with the old comment.
func (w *zipWriter) finish(a *archive, central map[*entry][]byte, tail []byte, count int) {
	start := w.out.Len()
	for _, e := range a.entries {
		w.out.Write(central[e])
	}
	w.out.Write(tail)
	size := w.out.Len() - start
	end := le.AppendUint32(nil, endSig)
	for _, v := range []uint16{0, 0, uint16(count), uint16(count)} {
		end = le.AppendUint16(end, v)
	}
	end = le.AppendUint32(le.AppendUint32(end, uint32(size)), uint32(start))
	w.out.Write(le.AppendUint16(end, uint16(len(a.comment))))
	w.out.Write(a.comment)
}

// dosTime encodes a UTC time in the two-second form of the ZIP headers.
func dosTime(t time.Time) (date, clock uint16) {
	return uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day()), uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
}
