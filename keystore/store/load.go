package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"sealkeeper/keystore/audit/merkle"
)

// load checks the file against itself and builds the in-memory state: the tree's right edge, counters and requests.
func (b *Bolt) load() error {
	var h head
	err := b.db.View(func(tx *bolt.Tx) error {
		var err error
		if h, err = b.loadMeta(tx); err != nil {
			return err
		}
		if err := b.loadEdge(tx, h); err != nil {
			return err
		}
		b.live.counters, b.live.requests = map[string]counter{}, map[requestKey]uint64{}
		if err := errors.Join(b.loadCounters(tx), b.loadRequests(tx, h.size)); err != nil {
			return err
		}
		return b.replay(tx, h.size)
	})
	if err != nil {
		return err
	}
	b.w.clock = newClock(b.cfg.Now, b.cfg.Monotonic, h.time)
	return b.register()
}

func (b *Bolt) loadMeta(tx *bolt.Tx) (head, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return head{}, fmt.Errorf("not a store file: %w", ErrSchema)
	}
	if v := meta.Get(keySchema); len(v) != 4 || binary.BigEndian.Uint32(v) != Schema {
		return head{}, fmt.Errorf("schema %x, this program knows %d: %w", v, Schema, ErrSchema)
	}
	for _, name := range [][]byte{bucketRecord, bucketTile, bucketCounter, bucketRequest, bucketOutbox, bucketDue} {
		if tx.Bucket(name) == nil {
			return head{}, fmt.Errorf("bucket %q is missing: %w", name, ErrCorrupt)
		}
	}
	var err error
	b.id = string(meta.Get(keyLog))
	if b.hasher, err = merkle.ByName(string(meta.Get(keyHash))); err != nil {
		return head{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if b.w.cover, err = decodeCover(meta.Get(keySnapshot)); err != nil {
		return head{}, err
	}
	return decodeHead(meta.Get(keyHead))
}

// loadEdge rebuilds the right edge from at most 255 records and 255 tiles of each level, and refuses a head that does not match.
func (b *Bolt) loadEdge(tx *bolt.Tx, h head) error {
	records, tiles := tx.Bucket(bucketRecord), tx.Bucket(bucketTile)
	leaf := func(i uint64) (merkle.Hash, error) {
		raw := records.Get(sequence(i))
		if raw == nil {
			return merkle.Hash{}, fmt.Errorf("record %d is missing: %w", i, ErrCorrupt)
		}
		return b.hasher.Leaf(raw), nil
	}
	tile := func(t merkle.Tile) ([]byte, error) { return tiles.Get(tileKey(t.Level, t.Index)), nil }
	e, err := merkle.Rebuild(b.hasher, h.size, h.hashes, leaf, tile)
	if err != nil {
		return fmt.Errorf("rebuilding the tree: %w: %w", ErrCorrupt, err)
	}
	if k, _ := records.Cursor().Last(); k != nil && binary.BigEndian.Uint64(k)+1 != h.size || k == nil && h.size != 0 {
		return fmt.Errorf("last record is %x, head says %d: %w", k, h.size, ErrCorrupt)
	}
	b.publishEdge(e, h.time)
	return nil
}

func (b *Bolt) loadCounters(tx *bolt.Tx) error {
	return tx.Bucket(bucketCounter).ForEach(func(k, v []byte) error {
		expires, name, err := splitCounterKey(k)
		if err != nil || len(v) != 8 {
			return fmt.Errorf("counter %x: %w", k, errors.Join(err, ErrCorrupt))
		}
		value := binary.BigEndian.Uint64(v)
		c, twice := b.live.counters[name] // a snapshot cut short may hold it under two expiries
		if !twice {
			b.live.counters[name] = counter{value: value, expires: expires, saved: expires}
			return nil
		}
		c = c.merge(value, expires)
		c.saved = expires
		b.keepCounter(name, c)
		return nil
	})
}

func (b *Bolt) loadRequests(tx *bolt.Tx, size uint64) error {
	if oldest, _ := tx.Bucket(bucketRequest).Cursor().First(); len(oldest) == 8 {
		// Room at once for half of the records since the oldest request: growing step by step costs a third of a big index's time.
		span := min(size-min(size, binary.BigEndian.Uint64(oldest)), uint64(b.cfg.KeepRequests))
		b.live.requests = make(map[requestKey]uint64, span/2)
	}
	return tx.Bucket(bucketRequest).ForEach(func(k, v []byte) error {
		a, err := decodeAnswered(k, v)
		if err != nil {
			return err
		}
		b.live.requests[a.key] = a.first
		return nil
	})
}

// replay brings counters and requests from the snapshot's position to the end of the log. Records hold the value after each spend, so
// replaying one twice changes nothing.
func (b *Bolt) replay(tx *bolt.Tx, size uint64) error {
	if b.w.cover.records > size {
		return fmt.Errorf("snapshot covers %d records of %d: %w", b.w.cover.records, size, ErrCorrupt)
	}
	c := tx.Bucket(bucketRecord).Cursor()
	for k, v := c.Seek(sequence(b.w.cover.records)); k != nil; k, v = c.Next() {
		r, err := ParseRecord(binary.BigEndian.Uint64(k), v)
		if err != nil {
			return err
		}
		for _, s := range r.Spent {
			b.replaySpent(s)
		}
		if r.Request != nil {
			a := answered{keyOf(r.Request), r.Index, micros(r.Time)}
			b.live.requests[a.key] = a.first
			b.w.pending = append(b.w.pending, a)
		}
	}
	return nil
}

func (b *Bolt) replaySpent(s Spent) {
	at := micros(s.Expires)
	c, ok := b.live.counters[s.Counter]
	if !ok {
		c = counter{expires: at, saved: notSaved}
	}
	b.keepCounter(s.Counter, c.merge(s.After, at))
}
