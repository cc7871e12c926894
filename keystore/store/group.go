package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"sealkeeper/keystore/audit/merkle"
)

// group is one transaction and the copy of the in-memory state that it works on.
type group struct {
	b        *Bolt
	tx       *bolt.Tx
	now      time.Time // of all its records; zero until asked for
	last     time.Time // of the last record written here
	edge     *merkle.Edge
	counters map[string]counter
	answers  []answered
	byKey    map[requestKey]uint64
	written  []*put // whatever changes in collections
	dirty    bool
	fatal    error // a write failed: nothing of the group may be committed
}

func (b *Bolt) newGroup(tx *bolt.Tx) *group {
	return &group{b: b, tx: tx, counters: map[string]counter{}, byKey: map[requestKey]uint64{}}
}

// prepared is a mutation with what could be computed before it reached the writer.
type prepared struct {
	*Mutation
	request requestKey // of Mutation.Request
	expect  []expected
	puts    []put
}

type expected struct {
	kind *kind
	Expect
}

type put struct {
	kind  *kind
	key   []byte
	value []byte
	index [][][]byte // new keys in each index

	// Filled by the writer before anything is written.
	version Version // to be written
	exists  bool
	stale   [][][]byte // index keys to be removed
}

// time returns the time of this group.
func (g *group) time() (time.Time, error) {
	if !g.now.IsZero() {
		return g.now, nil
	}
	now, err := g.b.w.clock.time()
	if err != nil {
		if g.b.doubt.Swap(&err) == nil {
			g.b.log.Error("commits stop until an operator accepts the clock", "error", err)
		}
		return now, err
	}
	g.now = now
	return now, nil
}

// apply decides about the mutation first and writes afterwards: an error without g.fatal means that nothing was written.
func (g *group) apply(p *prepared) (Receipt, error) {
	if p.Request != nil {
		r, found, err := g.answered(p)
		if found || err != nil {
			return r, err
		}
	}
	now, err := g.time()
	if err != nil {
		return Receipt{}, err
	}
	if !p.NotAfter.IsZero() && now.After(p.NotAfter) {
		return Receipt{}, fmt.Errorf("at %s, no later than %s: %w", now.Format(time.RFC3339Nano), p.NotAfter.UTC().Format(time.RFC3339Nano), ErrLate)
	}
	if err := g.checkExpect(p.expect); err != nil {
		return Receipt{}, err
	}
	spent, counters, err := g.spend(p.Spend, now)
	if err != nil {
		return Receipt{}, err
	}
	if err := g.plan(p.puts); err != nil {
		return Receipt{}, err
	}
	g.dirty = true
	r, err := g.write(p, now, spent)
	if err != nil {
		g.fatal = err
		return r, err
	}
	for i, s := range spent {
		g.counters[s.Counter] = counters[i]
	}
	return r, nil
}

// answered returns the first receipt of a request that was committed before or earlier in this group.
func (g *group) answered(p *prepared) (Receipt, bool, error) {
	first, found := g.byKey[p.request]
	if !found {
		first, found = g.b.live.requests[p.request] // the writer is the only one to change it
	}
	if !found {
		return Receipt{}, false, nil
	}
	return g.b.receiptOf(g.tx, first, p.Request)
}

func (g *group) checkExpect(list []expected) error {
	for _, e := range list {
		v, err := g.versionOf(e.kind, e.Key)
		if err != nil {
			return err
		}
		if v != e.Version {
			return fmt.Errorf("%s %q has version %d, expected %d: %w", e.kind.Name, e.Key, v, e.Version, ErrConflict)
		}
	}
	return nil
}

func (g *group) versionOf(k *kind, key []byte) (Version, error) {
	stored := g.tx.Bucket(k.bucket).Get(key)
	if stored == nil {
		return 0, nil
	}
	it, err := decodeItem(key, stored)
	return it.Version, err
}

// spend computes the new counters without keeping them; one that is spent twice appears twice, the last one counts.
func (g *group) spend(list []Spend, now time.Time) ([]Spent, []counter, error) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	out, counters := make([]Spent, 0, len(list)), make([]counter, 0, len(list))
	for i, s := range list {
		expires := micros(s.Expires)
		if expires != 0 && (expires < micros(now) || expires < g.b.w.cover.horizon) {
			return nil, nil, fmt.Errorf("counter %q expired at %s: %w", s.Counter, s.Expires.UTC().Format(time.RFC3339), ErrLimit)
		}
		c := g.counter(s.Counter, expires)
		for j, earlier := range out[:i] {
			if earlier.Counter == s.Counter {
				c = counters[j]
			}
		}
		after := c.value + s.N
		if after < c.value || s.Limit != 0 && after > s.Limit {
			return nil, nil, fmt.Errorf("counter %q stands at %d, %d more pass %d: %w", s.Counter, c.value, s.N, s.Limit, ErrLimit)
		}
		out = append(out, Spent{Counter: s.Counter, N: s.N, After: after, Expires: fromMicros(expires)})
		counters = append(counters, c.merge(after, expires))
	}
	return out, counters, nil
}

// counter returns a counter as this group sees it, a new one with the expiry given.
func (g *group) counter(name string, expires int64) counter {
	if c, ok := g.counters[name]; ok {
		return c
	}
	if c, ok := g.b.live.counters[name]; ok {
		return c
	}
	return counter{expires: expires, saved: notSaved}
}

// plan reads what the puts replace.
func (g *group) plan(puts []put) error {
	for i := range puts {
		p := &puts[i]
		stored := g.tx.Bucket(p.kind.bucket).Get(p.key)
		if stored == nil {
			p.version = 1
			if v := g.tx.Bucket(p.kind.gone).Get(p.key); len(v) == 8 {
				p.version = Version(binary.BigEndian.Uint64(v)) + 1
			}
			continue
		}
		old, err := decodeItem(p.key, stored)
		if err != nil {
			return err
		}
		p.exists, p.version = true, old.Version+1
		if p.stale, err = p.kind.indexKeys(p.key, old.Value); err != nil {
			return fmt.Errorf("%w: stored value of %s %q: %w", ErrCorrupt, p.kind.Name, p.key, err)
		}
	}
	return nil
}

// write does all of the mutation's writing. Any error is fatal for the group.
func (g *group) write(p *prepared, now time.Time, spent []Spent) (Receipt, error) {
	for i := range p.puts {
		g.written = append(g.written, &p.puts[i])
		if err := g.writePut(&p.puts[i]); err != nil {
			return Receipt{}, fmt.Errorf("writing %s: %w", p.puts[i].kind.Name, err)
		}
	}
	for _, m := range p.Outbox {
		if err := g.writeMessage(m, now); err != nil {
			return Receipt{}, fmt.Errorf("writing outbox: %w", err)
		}
	}
	r := Receipt{Time: now}
	if len(p.Audit) == 0 {
		return r, nil
	}
	if err := g.writeRecords(p, now, spent, &r); err != nil {
		return Receipt{}, err
	}
	for _, s := range spent {
		r.Spent = append(r.Spent, s.After)
	}
	if p.Request != nil {
		a := answered{p.request, r.First, micros(now)}
		g.answers = append(g.answers, a)
		g.byKey[a.key] = a.first
	}
	return r, nil
}

func (g *group) writePut(p *put) error {
	bucket := g.tx.Bucket(p.kind.bucket)
	for i, name := range p.kind.indexes {
		if err := g.moveIndex(name, at(p.stale, i), at(p.index, i)); err != nil {
			return err
		}
	}
	if p.value != nil {
		return bucket.Put(p.key, encodeItem(p.version, p.kind.Codec, p.value))
	}
	if !p.exists {
		return nil
	}
	if err := g.tx.Bucket(p.kind.gone).Put(p.key, sequence(uint64(p.version))); err != nil {
		return err
	}
	return bucket.Delete(p.key)
}

func at(lists [][][]byte, i int) [][]byte {
	if i >= len(lists) {
		return nil
	}
	return lists[i]
}

// moveIndex replaces one record's keys in an index; keys in both lists stay untouched.
func (g *group) moveIndex(name []byte, stale, fresh [][]byte) error {
	if len(stale)+len(fresh) == 0 {
		return nil
	}
	bucket := g.tx.Bucket(name)
	for _, k := range stale {
		if _, keep := slices.BinarySearchFunc(fresh, k, bytes.Compare); keep {
			continue
		}
		if err := bucket.Delete(k); err != nil {
			return err
		}
	}
	for _, k := range fresh {
		if _, had := slices.BinarySearchFunc(stale, k, bytes.Compare); had {
			continue
		}
		if err := bucket.Put(k, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeRecords appends the mutation's records and the tiles they fill.
func (g *group) writeRecords(p *prepared, now time.Time, spent []Spent, r *Receipt) error {
	if g.edge == nil {
		g.edge = g.b.edge.Load().Clone()
	}
	records := g.tx.Bucket(bucketRecord)
	records.FillPercent = 1 // keys only grow; the setting is the handle's, not the file's
	r.Log, r.First, r.Leaves = g.b.id, g.edge.Size(), make([][32]byte, 0, len(p.Audit))
	rec := Record{Time: now, Request: p.Request, Spent: spent, Of: len(p.Audit)}
	for i, body := range p.Audit {
		rec.Part, rec.Body = i, body
		raw := encodeRecord(&rec)
		if err := records.Put(sequence(g.edge.Size()), raw); err != nil {
			return fmt.Errorf("writing record %d: %w", g.edge.Size(), err)
		}
		leaf := g.b.hasher.Leaf(raw)
		if err := g.edge.Append(leaf, g.writeTile); err != nil {
			return err
		}
		if g.fatal != nil {
			return g.fatal
		}
		r.Leaves = append(r.Leaves, leaf)
	}
	g.last = now
	return nil
}

func (g *group) writeTile(t merkle.Tile, hashes []byte) {
	tiles := g.tx.Bucket(bucketTile)
	tiles.FillPercent = 1
	if err := tiles.Put(tileKey(t.Level, t.Index), hashes); err != nil {
		g.fatal = fmt.Errorf("writing tile %d/%d: %w", t.Level, t.Index, err)
	}
}

// writeHead stores the log's new size and range hashes beside its new records.
func (g *group) writeHead() error {
	if g.edge == nil {
		return nil
	}
	h := head{size: g.edge.Size(), time: g.last, hashes: g.edge.Range()}
	if err := g.tx.Bucket(bucketMeta).Put(keyHead, h.encode()); err != nil {
		return fmt.Errorf("writing head: %w", err)
	}
	return nil
}
