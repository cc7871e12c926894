package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// File is a store file opened for inspection: nothing in it is believed, nothing is written, and damage is an error, never a panic.
// It is what an offline check reads; the daemon must be stopped or the file be a copy. Not safe for concurrent use.
type File struct {
	db *bolt.DB
}

// Head is what the file says about itself.
type Head struct {
	Log, Hash string
	Size      uint64     // records
	Time      time.Time  // of the last record
	Range     [][32]byte // roots of the perfect subtrees, left to right
	Covered   uint64     // records that the snapshot of counters and requests covers
	Horizon   time.Time  // counters that expired before were forgotten
}

// OpenFile opens the file and checks the structure of its pages. Errors: ErrInUse, ErrCorrupt naming the page, fs.ErrNotExist.
func OpenFile(path string) (*File, error) {
	db, err := openFile(path, Config{ReadOnly: true}.withDefaults())
	if err != nil {
		return nil, err
	}
	if err := checkPages(path); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &File{db}, nil
}

// Close lets the file go.
func (f *File) Close() error { return f.db.Close() }

// view runs fn on a consistent view.
func (f *File) view(fn func(tx *bolt.Tx) error) error {
	return guarded(func() error { return f.db.View(fn) })
}

// guarded turns what bbolt does on a damaged file into ErrCorrupt.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("reading the file: %v: %w", v, ErrCorrupt)
		}
	}()
	return fn()
}

// each visits a bucket in key order.
func (f *File) each(ctx context.Context, bucket []byte, from []byte, fn func(k, v []byte) error) error {
	return f.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return fmt.Errorf("bucket %q is missing: %w", bucket, ErrCorrupt)
		}
		c := b.Cursor()
		for k, v := seekAfter(c, from, nil); k != nil; k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(k, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Head reads what the file says about itself; ErrSchema when it is no store of this version.
func (f *File) Head() (Head, error) {
	var b Bolt
	var out Head
	err := f.view(func(tx *bolt.Tx) error {
		h, err := b.loadMeta(tx)
		if err != nil {
			return err
		}
		out = Head{Log: b.id, Hash: b.hasher.Name(), Size: h.size, Time: h.time, Range: h.hashes, Covered: b.w.cover.records,
			Horizon: fromMicros(b.w.cover.horizon)}
		return nil
	})
	return out, err
}

// Records visits the records in order of their keys; raw is valid during the call. That the keys are 0, 1, 2 … is for fn to check.
func (f *File) Records(ctx context.Context, fn func(index uint64, raw []byte) error) error {
	return f.each(ctx, bucketRecord, nil, func(k, v []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("record key %x: %w", k, ErrCorrupt)
		}
		return fn(binary.BigEndian.Uint64(k), v)
	})
}

// Tile returns a stored tile, nil when there is none.
func (f *File) Tile(level int, index uint64) ([]byte, error) {
	var out []byte
	err := f.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketTile); b != nil {
			out = bytes.Clone(b.Get(tileKey(level, index)))
		}
		return nil
	})
	return out, err
}

// Tiles counts the stored tiles.
func (f *File) Tiles(ctx context.Context) (n uint64, err error) {
	err = f.each(ctx, bucketTile, nil, func([]byte, []byte) error { n++; return nil })
	return n, err
}

// Counters visits the snapshot's counters. A snapshot cut short may show a counter twice.
func (f *File) Counters(ctx context.Context, fn func(name string, value uint64, expires time.Time) error) error {
	return f.each(ctx, bucketCounter, nil, func(k, v []byte) error {
		expires, name, err := splitCounterKey(k)
		if err != nil {
			return err
		}
		if len(v) != 8 {
			return fmt.Errorf("counter %q: %w", name, ErrCorrupt)
		}
		return fn(name, binary.BigEndian.Uint64(v), fromMicros(expires))
	})
}

// RequestKey identifies a request in the snapshot: the first half of SM3 over client, 0x00 and id.
func RequestKey(r Request) [16]byte { return keyOf(&r) }

// Requests visits the snapshot's requests: the first record of the mutation that answered, and the request's key.
func (f *File) Requests(ctx context.Context, fn func(first uint64, key [16]byte) error) error {
	return f.each(ctx, bucketRequest, nil, func(k, v []byte) error {
		a, err := decodeAnswered(k, v)
		if err != nil {
			return err
		}
		return fn(a.first, a.key)
	})
}

// Items visits a collection; the item is valid during the call. A collection that was never stored is empty.
func (f *File) Items(ctx context.Context, c *Collection, fn func(Item) error) error {
	k, err := newKind(c)
	if err != nil {
		return err
	}
	if !f.has(k.bucket) {
		return nil
	}
	return f.each(ctx, k.bucket, nil, func(key, stored []byte) error {
		it, err := decodeItem(key, stored)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		return fn(it)
	})
}

func (f *File) has(bucket []byte) (found bool) {
	err := f.view(func(tx *bolt.Tx) error { found = tx.Bucket(bucket) != nil; return nil })
	return err == nil && found
}

// CheckIndexes compares the indexes of a collection with its values: ErrCorrupt names the first key that is missing or too much.
func (f *File) CheckIndexes(ctx context.Context, c *Collection) error {
	k, err := newKind(c)
	if err != nil {
		return err
	}
	want := make([]uint64, len(k.indexes))
	err = f.Items(ctx, c, func(it Item) error {
		keys, err := k.indexKeys(it.Key, it.Value)
		if err != nil {
			return fmt.Errorf("%w: %s %q: %w", ErrCorrupt, c.Name, it.Key, err)
		}
		return f.view(func(tx *bolt.Tx) error {
			for i, list := range keys {
				want[i] += uint64(len(list))
				for _, ik := range list {
					if b := tx.Bucket(k.indexes[i]); b == nil || b.Get(ik) == nil {
						return fmt.Errorf("index %q does not name %s %q: %w", k.Indexes[i].Name, c.Name, it.Key, ErrCorrupt)
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for i, name := range k.indexes {
		if err := f.countIndex(ctx, k, i, name, want[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) countIndex(ctx context.Context, k *kind, i int, name []byte, want uint64) error {
	var have uint64
	if f.has(name) {
		if err := f.each(ctx, name, nil, func([]byte, []byte) error { have++; return nil }); err != nil {
			return err
		}
	}
	if have != want {
		return fmt.Errorf("index %q of %q has %d keys, %d wanted: %w", k.Indexes[i].Name, k.Name, have, want, ErrCorrupt)
	}
	return nil
}
