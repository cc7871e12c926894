package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// maxIndexKey is the longest index key in bytes.
const maxIndexKey = 256

// kind is a collection with the names of its buckets:
//
//	c/<name>          key → version, codec, value
//	g/<name>          key → last version of a record that was deleted, so that versions never repeat
//	i/<name>/<index>  index key escaped, terminator, key → nothing
type kind struct {
	*Collection
	bucket, gone []byte
	indexes      [][]byte // bucket names, as Collection.Indexes
	recent       recent
}

func newKind(c *Collection) (*kind, error) {
	if c == nil || !nameForm.MatchString(c.Name) {
		return nil, fmt.Errorf("collection name is not lower-case words: %w", ErrMutation)
	}
	k := &kind{Collection: c, bucket: []byte("c/" + c.Name), gone: []byte("g/" + c.Name)}
	for _, ix := range c.Indexes {
		if !nameForm.MatchString(ix.Name) || ix.Keys == nil {
			return nil, fmt.Errorf("index %q of collection %q: %w", ix.Name, c.Name, ErrMutation)
		}
		k.indexes = append(k.indexes, []byte("i/"+c.Name+"/"+ix.Name))
	}
	return k, nil
}

// kind finds a declared collection.
func (b *Bolt) kind(c *Collection) (*kind, error) {
	if c == nil {
		return nil, badMutation("no collection")
	}
	k, ok := b.collections[c.Name]
	if !ok {
		return nil, badMutation("collection %q was not declared to Open", c.Name)
	}
	return k, nil
}

// register makes the buckets of the declared collections and builds the indexes that are new. An older codec than the stored one is
// ErrSchema: a newer program wrote the file.
func (b *Bolt) register() error {
	b.collections = map[string]*kind{}
	for _, c := range b.cfg.Collections {
		k, err := newKind(c)
		if err != nil {
			return err
		}
		if _, twice := b.collections[c.Name]; twice {
			return fmt.Errorf("collection %q is declared twice: %w", c.Name, ErrMutation)
		}
		b.collections[c.Name] = k
		if b.cfg.ReadOnly {
			continue
		}
		if err := b.registerKind(k); err != nil {
			return fmt.Errorf("registering collection %q: %w", c.Name, err)
		}
	}
	return nil
}

func (b *Bolt) registerKind(k *kind) error {
	want := registration(k)
	var have []byte
	err := b.db.View(func(tx *bolt.Tx) error {
		have = bytes.Clone(tx.Bucket(bucketMeta).Get(registrationKey(k)))
		return nil
	})
	if err != nil || bytes.Equal(have, want) {
		return err
	}
	if len(have) > 0 && have[0] > k.Codec {
		return fmt.Errorf("codec %d was written by a newer program, this one knows %d: %w", have[0], k.Codec, ErrSchema)
	}
	if err := b.db.Update(func(tx *bolt.Tx) error { return resetIndexes(tx, k) }); err != nil {
		return err
	}
	if err := b.buildIndexes(k); err != nil {
		return err
	}
	return b.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(registrationKey(k), want) })
}

func registrationKey(k *kind) []byte { return []byte("collection/" + k.Name) }

// registration is what the file remembers of a collection: codec, then the index names.
func registration(k *kind) []byte {
	b := []byte{k.Codec}
	for _, ix := range k.Indexes {
		b = append(append(b, ix.Name...), 0)
	}
	return b
}

// resetIndexes makes the collection's buckets and empties all its indexes, declared or not.
func resetIndexes(tx *bolt.Tx, k *kind) error {
	for _, name := range [][]byte{k.bucket, k.gone} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	var old [][]byte
	c, prefix := tx.Cursor(), []byte("i/"+k.Name+"/")
	for name, _ := c.Seek(prefix); bytes.HasPrefix(name, prefix); name, _ = c.Next() {
		old = append(old, bytes.Clone(name))
	}
	for _, name := range old {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
	}
	for _, name := range k.indexes {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// buildIndexes fills the indexes from the values, at most 1,000 records in one transaction. Cut short, it starts again at the next Open.
func (b *Bolt) buildIndexes(k *kind) error {
	if len(k.indexes) == 0 {
		return nil
	}
	var after []byte
	for done := false; !done; {
		err := b.db.Update(func(tx *bolt.Tx) error {
			c := tx.Bucket(k.bucket).Cursor()
			key, stored := seekAfter(c, nil, after)
			for n := 0; n < 1000 && key != nil; n++ {
				if err := indexOne(tx, k, key, stored); err != nil {
					return err
				}
				after = bytes.Clone(key)
				key, stored = c.Next()
			}
			done = key == nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func indexOne(tx *bolt.Tx, k *kind, key, stored []byte) error {
	it, err := decodeItem(key, stored)
	if err != nil {
		return err
	}
	keys, err := k.indexKeys(key, it.Value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for i, list := range keys {
		for _, ik := range list {
			if err := tx.Bucket(k.indexes[i]).Put(ik, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexKeys returns the keys of a value in every index, sorted and unique.
func (k *kind) indexKeys(key, value []byte) ([][][]byte, error) {
	if len(k.Indexes) == 0 {
		return nil, nil
	}
	out := make([][][]byte, len(k.Indexes))
	for i, ix := range k.Indexes {
		keys, err := ix.Keys(value)
		if err != nil {
			return nil, fmt.Errorf("index %q of %q: %w", ix.Name, k.Name, err)
		}
		for _, ik := range keys {
			if len(ik) > maxIndexKey {
				return nil, fmt.Errorf("index %q of %q: key of %d bytes, at most %d", ix.Name, k.Name, len(ik), maxIndexKey)
			}
			out[i] = append(out[i], joinIndexKey(ik, key))
		}
		slices.SortFunc(out[i], bytes.Compare)
		out[i] = slices.CompactFunc(out[i], bytes.Equal)
	}
	return out, nil
}

// joinIndexKey keeps the order of (index key, key): 0x00 inside the index key becomes 0x00 0xff and 0x00 0x01 ends it.
func joinIndexKey(indexKey, key []byte) []byte {
	return append(append(escape(indexKey), 0, 1), key...)
}

func escape(b []byte) []byte {
	return bytes.ReplaceAll(b, []byte{0}, []byte{0, 0xff})
}

// splitIndexKey returns the primary key inside a joined key.
func splitIndexKey(joined []byte) ([]byte, error) {
	for i := 0; i+1 < len(joined); i++ {
		if joined[i] != 0 {
			continue
		}
		if joined[i+1] == 1 {
			return joined[i+2:], nil
		}
		i++
	}
	return nil, fmt.Errorf("index key without terminator: %w", ErrCorrupt)
}

// encodeItem writes version, codec and value.
func encodeItem(v Version, codec byte, value []byte) []byte {
	b := make([]byte, 0, binary.MaxVarintLen64+1+len(value))
	b = binary.AppendUvarint(b, uint64(v))
	return append(append(b, codec), value...)
}

// decodeItem reads a stored value; key and value of the result are views into the file, for the length of the transaction.
func decodeItem(key, stored []byte) (Item, error) {
	v, n := binary.Uvarint(stored)
	if n <= 0 || v == 0 || len(stored) <= n {
		return Item{}, fmt.Errorf("value of key %x: %w", key, ErrCorrupt)
	}
	return Item{Key: key, Value: stored[n+1:], Version: Version(v), Codec: stored[n]}, nil
}

// copied returns an item that outlives its transaction.
func (it Item) copied() Item {
	// One allocation for both; a value is never nil, for nil means deleted.
	buf := make([]byte, len(it.Key)+len(it.Value))
	n := copy(buf, it.Key)
	copy(buf[n:], it.Value)
	it.Key, it.Value = buf[:n:n], buf[n:]
	return it
}

// bucketOf returns a bucket that Open made; in a file opened for reading only it may be missing.
func bucketOf(tx *bolt.Tx, name []byte) (*bolt.Bucket, error) {
	b := tx.Bucket(name)
	if b == nil {
		return nil, fmt.Errorf("bucket %q: %w", name, ErrNotFound)
	}
	return b, nil
}
