package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Bounds of the changes in one snapshot transaction: many scattered ones at once leave a long free list behind, which every later commit
// writes again. Counters with an expiry lie side by side, so more of them fit.
const (
	maxScattered = 1000
	maxInRow     = 16_000
)

// freePagesWarn is the free list length from which every commit is noticeably slower.
const freePagesWarn = 20_000

func encodeAnswered(a answered) (k, v []byte) {
	return sequence(a.first), binary.BigEndian.AppendUint64(bytes.Clone(a.key[:]), uint64(a.at))
}

func decodeAnswered(k, v []byte) (answered, error) {
	if len(k) != 8 || len(v) != 24 {
		return answered{}, fmt.Errorf("request entry %x: %w", k, ErrCorrupt)
	}
	return answered{requestKey(v), binary.BigEndian.Uint64(k), int64(binary.BigEndian.Uint64(v[16:]))}, nil
}

// trySnapshot writes a snapshot unless the store is read-only; a failed one stops the store, as any failed write does.
func (b *Bolt) trySnapshot() {
	if b.writable() != nil {
		return
	}
	if err := b.snapshot(); err != nil {
		b.stop(fmt.Errorf("writing snapshot: %w", err))
	}
	if n := b.db.Stats().FreePageN; n > freePagesWarn {
		b.log.Warn("many free pages slow every commit down; compact the store", "free_pages", n)
	}
}

// snapshot stores changed counters and new requests in bounded transactions, forgets what expired, and last of all moves the position.
// Cut short anywhere it does no harm: replay from the old position sets the same values again.
func (b *Bolt) snapshot() error {
	s := b.state.Load()
	now := micros(s.Time)
	var expiring, lasting []named
	for _, name := range b.w.dirty {
		if c := b.live.counters[name]; c.expires != 0 {
			expiring = append(expiring, named{name, c})
		} else {
			lasting = append(lasting, named{name, c})
		}
	}
	if err := errors.Join(b.saveAll(expiring, maxInRow, now), b.saveAll(lasting, maxScattered, now)); err != nil {
		return err
	}
	b.w.dirty = nil
	for more := true; more; {
		var err error
		if more, err = b.forgetCounters(now); err != nil {
			return err
		}
	}
	return b.saveRequests(cover{s.Size, max(now, b.w.cover.horizon)}, now)
}

// named is a counter on its way into the snapshot.
type named struct {
	name string
	counter
}

// saveAll stores counters in the order of their keys, at most size in one transaction.
func (b *Bolt) saveAll(list []named, size int, now int64) error {
	slices.SortFunc(list, func(x, y named) int {
		return cmp.Or(cmp.Compare(x.expires, y.expires), strings.Compare(x.name, y.name))
	})
	for chunk := range slices.Chunk(list, size) {
		if err := b.saveCounters(chunk, now); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bolt) saveCounters(chunk []named, now int64) error {
	err := b.db.Update(func(tx *bolt.Tx) error {
		for i := range chunk {
			if err := chunk[i].save(tx.Bucket(bucketCounter), now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	for _, c := range chunk {
		c.dirty = false
		b.live.counters[c.name] = c.counter
		if c.saved == notSaved { // it expired before it was ever stored
			delete(b.live.counters, c.name)
		}
	}
	return nil
}

// save stores one counter under its present expiry. One that expired and is not stored yet stays away.
func (c *named) save(bucket *bolt.Bucket, now int64) error {
	if c.saved != notSaved && c.saved != c.expires {
		if err := bucket.Delete(counterKey(c.saved, c.name)); err != nil {
			return err
		}
		c.saved = notSaved
	}
	if c.saved == notSaved && c.expiredAt(now) {
		return nil
	}
	c.saved = c.expires
	return bucket.Put(counterKey(c.expires, c.name), sequence(c.value))
}

func (c counter) expiredAt(now int64) bool { return c.expires != 0 && c.expires < now }

// forgetCounters removes at most maxInRow stored counters that expired before now, and says whether there may be more.
func (b *Bolt) forgetCounters(now int64) (more bool, err error) {
	var names []string
	err = b.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketCounter)
		var keys [][]byte
		c := bucket.Cursor()
		for k, _ := c.First(); k != nil && len(keys) < maxInRow; k, _ = c.Next() {
			expires, name, err := splitCounterKey(k)
			if err != nil {
				return err
			}
			if expires == 0 || expires >= now {
				break
			}
			keys, names = append(keys, bytes.Clone(k)), append(names, name)
		}
		return deleteAll(bucket, keys)
	})
	if err != nil {
		return false, err
	}
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	for _, name := range names {
		if b.live.counters[name].expiredAt(now) {
			delete(b.live.counters, name)
		}
	}
	return len(names) == maxInRow, nil
}

func deleteAll(bucket *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := bucket.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// saveRequests stores the new requests, forgets the oldest ones beyond the bounds and moves the snapshot's position.
func (b *Bolt) saveRequests(to cover, now int64) error {
	over := len(b.live.requests) - b.cfg.KeepRequests
	oldest := now - int64(b.cfg.KeepFor/time.Microsecond)
	var gone []answered
	err := b.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketRequest)
		bucket.FillPercent = 1
		for _, a := range b.w.pending {
			k, v := encodeAnswered(a)
			if err := bucket.Put(k, v); err != nil {
				return err
			}
		}
		var keys [][]byte
		c := bucket.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			a, err := decodeAnswered(k, v)
			if err != nil {
				return err
			}
			if len(gone) >= over && a.at >= oldest {
				break
			}
			gone, keys = append(gone, a), append(keys, bytes.Clone(k))
		}
		if err := deleteAll(bucket, keys); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keySnapshot, to.encode())
	})
	if err != nil {
		return err
	}
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	for _, a := range gone {
		if b.live.requests[a.key] == a.first {
			delete(b.live.requests, a.key)
		}
	}
	b.w.pending, b.w.cover = nil, to
	return nil
}
