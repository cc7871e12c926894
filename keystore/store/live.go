package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"sealkeeper/internal/gm"
)

// live is what the store keeps in memory: counters and the requests that were answered. The writer alone changes it, under mu, after
// the commit that justifies it; others read it under mu.
type live struct {
	mu       sync.RWMutex
	counters map[string]counter
	requests map[requestKey]uint64 // first record of the mutation that answered
}

// counter is a counter's value; times are microseconds since 1970, 0 for never.
type counter struct {
	value   uint64
	expires int64
	saved   int64 // the expiry under which the snapshot holds it, notSaved when it does not
	dirty   bool  // it is in writer.dirty
}

const notSaved = math.MinInt64

// requestKey is the first half of SM3 over client, 0x00 and id. A stray match is told apart by the record itself.
type requestKey [16]byte

func keyOf(r *Request) requestKey {
	d := gm.SM3(append(append([]byte(r.Client), 0), r.ID...))
	return requestKey(d[:16])
}

// merge moves a counter forward; the later expiry counts, never is latest.
func (c counter) merge(value uint64, expires int64) counter {
	c.value = max(c.value, value)
	if c.expires != 0 && (expires == 0 || expires > c.expires) {
		c.expires = expires
	}
	return c
}

// counterKey orders counters by expiry, so that those to be forgotten stand in front.
func counterKey(expires int64, name string) []byte {
	at := uint64(expires)
	if expires == 0 {
		at = math.MaxUint64
	}
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(name)), at), name...)
}

func splitCounterKey(k []byte) (expires int64, name string, err error) {
	if len(k) < 9 {
		return 0, "", fmt.Errorf("counter key %x: %w", k, ErrCorrupt)
	}
	at := binary.BigEndian.Uint64(k)
	switch {
	case at == math.MaxUint64:
		at = 0
	case at == 0 || at > math.MaxInt64:
		return 0, "", fmt.Errorf("counter key %x: %w", k, ErrCorrupt)
	}
	return int64(at), string(k[8:]), nil
}

// head is what the log looks like: stored with every commit that adds records.
type head struct {
	size   uint64
	time   time.Time
	hashes [][32]byte
}

func (h head) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16+32*len(h.hashes)), h.size)
	b = binary.BigEndian.AppendUint64(b, uint64(micros(h.time)))
	for _, x := range h.hashes {
		b = append(b, x[:]...)
	}
	return b
}

func decodeHead(b []byte) (head, error) {
	if len(b) < 16 || len(b)%32 != 16 {
		return head{}, fmt.Errorf("head of the log: %w", ErrCorrupt)
	}
	h := head{size: binary.BigEndian.Uint64(b), time: fromMicros(int64(binary.BigEndian.Uint64(b[8:])))}
	for rest := b[16:]; len(rest) > 0; rest = rest[32:] {
		h.hashes = append(h.hashes, [32]byte(rest))
	}
	return h, nil
}

// cover says how far the snapshot reaches.
type cover struct {
	records uint64 // the snapshot knows everything that these say
	horizon int64  // microseconds; counters that expired before this were forgotten
}

func (c cover) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.records), uint64(c.horizon))
}

func decodeCover(b []byte) (cover, error) {
	if len(b) != 16 {
		return cover{}, fmt.Errorf("snapshot position: %w", ErrCorrupt)
	}
	return cover{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))}, nil
}

// sequence is the key of an append-only bucket.
func sequence(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n) }

func tileKey(level int, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(level)}, index)
}
