package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// A record is stored, and hashed into the tree, in this form (big-endian; n is an unsigned varint of least length, text is n and bytes):
//
//	1 byte   form version, 1
//	8 bytes  time, microseconds since 1970-01-01T00:00:00Z
//	n        part: which record of its mutation this is, from 0
//	if part is 0:
//	  n        how many records the mutation has
//	  1 byte   1 with a request, else 0
//	  request: text client, text id, 32 bytes digest
//	  n        how many spends; each: text counter, n amount, n value after, n expiry in microseconds or 0
//	text     body
const recordForm = 1

// Bounds of a record's parts, checked before writing and again when reading.
const (
	maxRequestText = 128
	maxCounter     = 256
	maxBody        = 1 << 20
	maxRecords     = 4096
	maxSpends      = 4096
)

// encodeRecord writes r without Index and Raw.
func encodeRecord(r *Record) []byte {
	b := make([]byte, 0, 64+len(r.Body)+200)
	b = append(b, recordForm)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(r.Part))
	if r.Part == 0 {
		b = encodeHead(b, r)
	}
	return appendText(b, r.Body)
}

func encodeHead(b []byte, r *Record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Of))
	if r.Request == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = appendText(b, r.Request.Client)
		b = appendText(b, r.Request.ID)
		b = append(b, r.Request.Digest[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Spent)))
	for _, s := range r.Spent {
		b = appendText(b, s.Counter)
		b = binary.AppendUvarint(b, s.N)
		b = binary.AppendUvarint(b, s.After)
		b = binary.AppendUvarint(b, uint64(micros(s.Expires)))
	}
	return b
}

func appendText[T string | []byte](b []byte, t T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(t))), t...)
}

// micros turns a time into microseconds since 1970, the zero time into 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// ParseRecord reads the stored form of a record strictly: exactly one encoding of each record is accepted, anything else is ErrCorrupt.
// The result shares no memory with raw except Raw itself.
func ParseRecord(index uint64, raw []byte) (Record, error) {
	d := decoder{rest: raw}
	if d.byte() != recordForm {
		d.fail("form version")
	}
	r := Record{Index: index, Raw: raw}
	at := int64(binary.BigEndian.Uint64(d.take(8, 8)))
	if at < 0 {
		d.fail("time")
	}
	r.Time = time.UnixMicro(at).UTC()
	r.Part = int(d.uint(maxRecords - 1))
	if r.Part == 0 {
		d.head(&r)
	}
	r.Body = slices.Clone(d.text(maxBody))
	if len(d.rest) != 0 {
		d.fail("bytes behind the body")
	}
	if d.err != nil {
		return Record{}, fmt.Errorf("record %d: %w", index, d.err)
	}
	return r, nil
}

// decoder reads the parts of a record; after the first mistake it returns zeros and keeps the error.
type decoder struct {
	rest []byte
	err  error
}

var zeros [64]byte

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("reading %s: %w", what, ErrCorrupt)
	}
	d.rest = nil
}

// take returns the next n bytes; when there are fewer, pad zero bytes (so that fixed reads need no check).
func (d *decoder) take(n uint64, pad int) []byte {
	if uint64(len(d.rest)) < n {
		d.fail("a value that is cut off")
		return zeros[:pad]
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1, 1)[0] }

// uint reads a varint of least length, at most limit.
func (d *decoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 1 && d.rest[n-1] == 0 || v > limit {
		d.fail("a number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) text(limit uint64) []byte { return d.take(d.uint(limit), 0) }

func (d *decoder) head(r *Record) {
	r.Of = int(d.uint(maxRecords))
	if r.Of == 0 {
		d.fail("number of records")
	}
	switch d.byte() {
	case 0:
	case 1:
		r.Request = &Request{Client: string(d.text(maxRequestText)), ID: string(d.text(maxRequestText)), Digest: [32]byte(d.take(32, 32))}
	default:
		d.fail("request flag")
	}
	n := d.uint(maxSpends)
	for ; n > 0 && d.err == nil; n-- {
		s := Spent{Counter: string(d.text(maxCounter)), N: d.uint(1<<64 - 1), After: d.uint(1<<64 - 1)}
		s.Expires = fromMicros(int64(d.uint(1<<63 - 1)))
		r.Spent = append(r.Spent, s)
	}
}
