package store

import (
	"encoding/json"
	"fmt"
	"sync"
)

// maxDecoded bounds the values one Decoded keeps; they are small records, some kilobyte each.
const maxDecoded = 8192

// Decoded keeps JSON values of one collection decoded. Every signature reads the same few small records, and decoding them was a
// fifth of its own work. The store is asked each time all the same: the version it answers decides whether memory counts, and
// versions of a record never come again. The zero value is ready; safe for concurrent use.
type Decoded[T any] struct {
	mu   sync.RWMutex
	kept map[string]decoded[T] // by primary key; guarded by mu
}

type decoded[T any] struct {
	version Version
	value   T
}

// Of returns the value of an item. What it points to is shared and must not be modified. ErrCorrupt.
func (d *Decoded[T]) Of(it Item) (T, error) {
	d.mu.RLock()
	k, ok := d.kept[string(it.Key)]
	d.mu.RUnlock()
	if ok && k.version == it.Version {
		return k.value, nil
	}
	var v T
	if err := json.Unmarshal(it.Value, &v); err != nil {
		return v, fmt.Errorf("reading %.80q: %w: %w", it.Key, ErrCorrupt, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil || len(d.kept) >= maxDecoded {
		d.kept = map[string]decoded[T]{} // all at once: no bookkeeping on the way in, and the busy ones are back at once
	}
	d.kept[string(it.Key)] = decoded[T]{it.Version, v}
	return v, nil
}
