package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxScattered bounds the changes of one snapshot transaction: many scattered ones at once leave a long free list behind, which every
// later commit writes again.
const maxScattered = 1000

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
	names := slices.SortedFunc(maps.Keys(b.w.dirty), func(x, y string) int {
		return bytes.Compare(counterKey(b.live.counters[x].expires, x), counterKey(b.live.counters[y].expires, y))
	})
	for chunk := range slices.Chunk(names, maxScattered) {
		if err := b.saveCounters(chunk, now); err != nil {
			return err
		}
	}
	for more := true; more; {
		var err error
		if more, err = b.forgetCounters(now); err != nil {
			return err
		}
	}
	return b.saveRequests(cover{s.Size, max(now, b.w.cover.horizon)}, now)
}

func (b *Bolt) saveCounters(names []string, now int64) error {
	saved := make(map[string]counter, len(names))
	err := b.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketCounter)
		for _, name := range names {
			c := b.live.counters[name]
			if c.saved != notSaved && c.saved != c.expires {
				if err := bucket.Delete(counterKey(c.saved, name)); err != nil {
					return err
				}
				c.saved = notSaved
			}
			if c.saved != notSaved || !c.expiredAt(now) {
				if err := bucket.Put(counterKey(c.expires, name), sequence(c.value)); err != nil {
					return err
				}
				c.saved = c.expires
			}
			saved[name] = c
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	for name, c := range saved {
		delete(b.w.dirty, name)
		b.live.counters[name] = c
		if c.saved == notSaved { // it expired before it was ever stored
			delete(b.live.counters, name)
		}
	}
	return nil
}

func (c counter) expiredAt(now int64) bool { return c.expires != 0 && c.expires < now }

// forgetCounters removes at most maxScattered stored counters that expired before now, and says whether there may be more.
func (b *Bolt) forgetCounters(now int64) (more bool, err error) {
	var names []string
	err = b.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketCounter)
		var keys [][]byte
		c := bucket.Cursor()
		for k, _ := c.First(); k != nil && len(keys) < maxScattered; k, _ = c.Next() {
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
	return len(names) == maxScattered, nil
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
