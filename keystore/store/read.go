package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit/merkle"
)

// Bounds of one page of a listing or of records.
const (
	maxPage      = 1000
	maxPageBytes = 8 << 20
)

// Get reads one record; the item is a copy. ErrNotFound when there is none.
func (b *Bolt) Get(_ context.Context, c *Collection, key []byte) (Item, error) {
	k, err := b.kind(c)
	if err != nil {
		return Item{}, err
	}
	it, turn, ok := k.recent.item(key)
	if ok {
		return it, nil
	}
	err = b.db.View(func(tx *bolt.Tx) error {
		bucket, err := bucketOf(tx, k.bucket)
		if err != nil {
			return err
		}
		it, err = itemAt(bucket, k, key)
		return err
	})
	if err == nil {
		k.recent.keep(turn, it)
	}
	return it, err
}

func itemAt(bucket *bolt.Bucket, k *kind, key []byte) (Item, error) {
	stored := bucket.Get(key)
	if stored == nil {
		return Item{}, fmt.Errorf("%s %q: %w", k.Name, key, ErrNotFound)
	}
	it, err := decodeItem(key, stored)
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", k.Name, err)
	}
	return it.copied(), nil
}

// List pages through a collection in key order; limit is clamped to 1…1000 and a page ends early past 8 MiB. The cursor is opaque and
// belongs to one collection, index and prefix; any other is ErrCursor.
func (b *Bolt) List(ctx context.Context, c *Collection, index string, prefix []byte, cursor string, limit int) (Page, error) {
	k, err := b.kind(c)
	if err != nil || cursor != "" {
		return b.list(ctx, c, index, listing{prefix: prefix, limit: limit}, cursor)
	}
	name := pageKey(index, prefix, limit)
	p, turn, ok := k.recent.page(name)
	if ok {
		return p, nil
	}
	if p, err = b.list(ctx, c, index, listing{prefix: prefix, limit: limit}, cursor); err == nil {
		k.recent.keepPage(turn, name, p)
	}
	return p, err
}

// ListFrom pages through a collection in key order from a key on; limit and cursor as for List.
func (b *Bolt) ListFrom(ctx context.Context, c *Collection, index string, from []byte, cursor string, limit int) (Page, error) {
	return b.list(ctx, c, index, listing{from: from, limit: limit}, cursor)
}

func (b *Bolt) list(ctx context.Context, c *Collection, index string, l listing, cursor string) (Page, error) {
	k, err := b.kind(c)
	if err != nil {
		return Page{}, err
	}
	l.kind, l.source, l.limit = k, k.bucket, min(max(l.limit, 1), maxPage)
	if index != "" {
		if err := l.byIndex(index); err != nil {
			return Page{}, err
		}
	}
	l.tag = l.makeTag()
	if l.after, err = l.open(cursor); err != nil {
		return Page{}, err
	}
	var p Page
	err = b.db.View(func(tx *bolt.Tx) error {
		p, err = l.page(ctx, tx)
		return err
	})
	return p, err
}

// listing is one List call.
type listing struct {
	kind    *kind
	source  []byte // bucket that gives the order
	indexed bool
	prefix  []byte
	from    []byte // where the first page begins, when there is no prefix
	after   []byte
	limit   int
	tag     [8]byte
}

func (l *listing) byIndex(index string) error {
	for i, ix := range l.kind.Indexes {
		if ix.Name == index {
			l.source, l.indexed, l.prefix, l.from = l.kind.indexes[i], true, escape(l.prefix), escape(l.from)
			return nil
		}
	}
	return badMutation("collection %q has no index %q", l.kind.Name, index)
}

// makeTag binds a cursor to its listing.
func (l *listing) makeTag() [8]byte {
	d := gm.SM3(l.source, []byte{0}, l.prefix)
	return [8]byte(d[:8])
}

func (l *listing) open(cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) <= 8 || [8]byte(raw) != l.tag || !bytes.HasPrefix(raw[8:], l.prefix) {
		return nil, ErrCursor
	}
	return raw[8:], nil
}

func (l *listing) page(ctx context.Context, tx *bolt.Tx) (Page, error) {
	source, err := bucketOf(tx, l.source)
	if err != nil {
		return Page{}, err
	}
	var p Page
	var last []byte
	size := 0
	c := source.Cursor()
	for k, v := seekAfter(c, append(l.prefix, l.from...), l.after); k != nil && bytes.HasPrefix(k, l.prefix); k, v = c.Next() {
		if len(p.Items) == l.limit || size > maxPageBytes {
			p.Next = base64.RawURLEncoding.EncodeToString(append(l.tag[:], last...))
			break
		}
		it, err := l.item(tx, k, v)
		if err != nil {
			return Page{}, err
		}
		p.Items, last, size = append(p.Items, it), k, size+len(it.Value)
	}
	return p, ctx.Err()
}

func (l *listing) item(tx *bolt.Tx, k, v []byte) (Item, error) {
	if !l.indexed {
		it, err := decodeItem(k, v)
		return it.copied(), err
	}
	key, err := splitIndexKey(k)
	if err != nil {
		return Item{}, err
	}
	stored := tx.Bucket(l.kind.bucket).Get(key)
	if stored == nil {
		return Item{}, fmt.Errorf("index %q names %q, which is missing: %w", l.source, key, ErrCorrupt)
	}
	it, err := decodeItem(key, stored)
	return it.copied(), err
}

// seekAfter moves to the first key from start on, or behind after.
func seekAfter(c *bolt.Cursor, start, after []byte) (k, v []byte) {
	if after == nil {
		if len(start) == 0 {
			return c.First()
		}
		return c.Seek(start)
	}
	k, v = c.Seek(after)
	if bytes.Equal(k, after) {
		return c.Next()
	}
	return k, v
}

// caughtUp returns when counters and requests in memory are at least as new as what a reader has seen in the file: a commit shows there a moment
// before it is published.
func (b *Bolt) caughtUp() error {
	during := b.committing.Load()
	if during == 0 {
		return nil
	}
	var seen int64
	if err := b.db.View(func(tx *bolt.Tx) error { seen = int64(tx.ID()); return nil }); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if seen >= during {
		b.published.RLock() // waits for the writer, who is about to publish
		defer b.published.RUnlock()
	}
	return nil
}

// Counter returns a counter's value, never older than a record that was read before; unknown and forgotten counters are zero.
func (b *Bolt) Counter(_ context.Context, name string) (uint64, error) {
	if err := b.caughtUp(); err != nil {
		return 0, err
	}
	b.live.mu.RLock()
	defer b.live.mu.RUnlock()
	return b.live.counters[name].value, nil
}

// Lookup finds the first receipt of a request.
func (b *Bolt) Lookup(_ context.Context, r Request) (Receipt, error) {
	if err := r.check(); err != nil {
		return Receipt{}, err
	}
	if err := b.caughtUp(); err != nil {
		return Receipt{}, err
	}
	b.live.mu.RLock()
	first, found := b.live.requests[keyOf(&r)]
	b.live.mu.RUnlock()
	if !found {
		return Receipt{}, fmt.Errorf("request %q: %w", r.ID, ErrNotFound)
	}
	var receipt Receipt
	err := b.db.View(func(tx *bolt.Tx) error {
		var err error
		receipt, found, err = b.receiptOf(tx, first, &r)
		if err == nil && !found {
			err = fmt.Errorf("request %q: %w", r.ID, ErrNotFound)
		}
		return err
	})
	return receipt, err
}

// receiptOf makes the first receipt again from the stored records. found is false when the record answers another request whose key
// happens to be the same.
func (b *Bolt) receiptOf(tx *bolt.Tx, first uint64, q *Request) (r Receipt, found bool, err error) {
	records := tx.Bucket(bucketRecord)
	head, err := ParseRecord(first, records.Get(sequence(first)))
	if err != nil {
		return Receipt{}, false, err
	}
	if head.Request == nil || head.Part != 0 {
		return Receipt{}, false, fmt.Errorf("record %d answers no request: %w", first, ErrCorrupt)
	}
	if head.Request.Client != q.Client || head.Request.ID != q.ID {
		return Receipt{}, false, nil
	}
	if head.Request.Digest != q.Digest {
		return Receipt{}, true, fmt.Errorf("request %q: %w", q.ID, ErrRequestReused)
	}
	r = Receipt{Log: b.id, First: first, Time: head.Time, Duplicate: true}
	for i := range uint64(head.Of) {
		raw := records.Get(sequence(first + i))
		if raw == nil {
			return Receipt{}, false, fmt.Errorf("record %d is missing: %w", first+i, ErrCorrupt)
		}
		r.Leaves = append(r.Leaves, b.hasher.Leaf(raw))
	}
	for _, s := range head.Spent {
		r.Spent = append(r.Spent, s.After)
	}
	return r, true, nil
}

// Records reads log entries from an index on; limit is clamped to 1…1000 and a page ends early past 8 MiB. Behind the end there are none.
func (b *Bolt) Records(ctx context.Context, from uint64, limit int) ([]Record, error) {
	limit = min(max(limit, 1), maxPage)
	var out []Record
	err := b.db.View(func(tx *bolt.Tx) error {
		size := 0
		c := tx.Bucket(bucketRecord).Cursor()
		for k, v := c.Seek(sequence(from)); k != nil && len(out) < limit && size < maxPageBytes; k, v = c.Next() {
			index := binary.BigEndian.Uint64(k)
			if index != from+uint64(len(out)) {
				return fmt.Errorf("record %d is missing: %w", from+uint64(len(out)), ErrCorrupt)
			}
			r, err := ParseRecord(index, bytes.Clone(v))
			if err != nil {
				return err
			}
			out, size = append(out, r), size+len(v)
		}
		return ctx.Err()
	})
	return out, err
}

// Tile returns a tile: 8192 bytes, fewer at the right edge. ErrNotFound beyond it or at a level that is not a multiple of 8.
func (b *Bolt) Tile(_ context.Context, level int, index uint64) ([]byte, error) {
	if part := b.edge.Load().Partial(merkle.Tile{Level: level, Index: index}); part != nil {
		return part, nil
	}
	if level < 0 || level > 56 || level%merkle.TileHeight != 0 {
		return nil, fmt.Errorf("tile level %d: %w", level, ErrNotFound)
	}
	var out []byte
	err := b.db.View(func(tx *bolt.Tx) error {
		out = bytes.Clone(tx.Bucket(bucketTile).Get(tileKey(level, index)))
		return nil
	})
	if err == nil && out == nil {
		err = fmt.Errorf("tile %d/%d: %w", level, index, ErrNotFound)
	}
	return out, err
}
