package store

import (
	"bytes"
	"context"
	"fmt"
)

// Commit applies m whole or not at all; see Store. Errors: ErrMutation, ErrConflict, ErrRequestReused, ErrLimit, ErrClock, ErrReadOnly,
// ErrUnavailable, ErrUnknownOutcome.
func (b *Bolt) Commit(ctx context.Context, m Mutation) (Receipt, error) {
	return b.commit(ctx, m, passNone)
}

// Resume commits m while the store is read-only by SetReadOnly and lets commits go on from then.
func (b *Bolt) Resume(ctx context.Context, m Mutation) (Receipt, error) {
	return b.commit(ctx, m, passOnly)
}

// AcceptClock takes the clock as it is now for right and commits m as the first mutation under it. When that sets time back behind
// counters that were forgotten already, they are restored from the log.
func (b *Bolt) AcceptClock(ctx context.Context, m Mutation) (Receipt, error) {
	if len(m.Audit) == 0 {
		return Receipt{}, badMutation("accepting the clock needs a record")
	}
	return b.commit(ctx, m, passClock)
}

func (b *Bolt) commit(ctx context.Context, m Mutation, p pass) (Receipt, error) {
	if p != passOnly {
		if err := b.writable(); err != nil {
			return Receipt{}, err
		}
	}
	ready, err := b.prepare(&m)
	if err != nil {
		return Receipt{}, err
	}
	return b.submit(ctx, &item{pass: p, apply: func(g *group) (Receipt, error) { return g.apply(ready) }})
}

// prepare checks the mutation and does in the caller's time what needs no transaction.
func (b *Bolt) prepare(m *Mutation) (*prepared, error) {
	if err := checkMutation(m); err != nil {
		return nil, err
	}
	p := &prepared{Mutation: m}
	if m.Request != nil {
		p.request = keyOf(m.Request)
	}
	for _, e := range m.Expect {
		k, err := b.kind(e.Collection)
		if err != nil {
			return nil, err
		}
		if err := checkKey(e.Key); err != nil {
			return nil, err
		}
		p.expect = append(p.expect, expected{k, e})
	}
	for i, w := range m.Put {
		ready, err := b.preparePut(w)
		if err != nil {
			return nil, fmt.Errorf("put %d: %w", i, err)
		}
		for _, earlier := range p.puts {
			if earlier.kind == ready.kind && bytes.Equal(earlier.key, ready.key) {
				return nil, badMutation("%s %q is put twice", ready.kind.Name, ready.key)
			}
		}
		p.puts = append(p.puts, ready)
	}
	return p, nil
}

func (b *Bolt) preparePut(w Put) (put, error) {
	k, err := b.kind(w.Collection)
	if err != nil {
		return put{}, err
	}
	if err := checkKey(w.Key); err != nil {
		return put{}, err
	}
	if len(w.Value) > maxValue {
		return put{}, badMutation("value of %d bytes, at most %d", len(w.Value), maxValue)
	}
	p := put{kind: k, key: w.Key, value: w.Value}
	if w.Value != nil {
		if p.index, err = k.indexKeys(w.Key, w.Value); err != nil {
			return put{}, badMutation("%w", err)
		}
	}
	return p, nil
}

func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > maxKey {
		return badMutation("key of %d bytes, 1 to %d wanted", len(key), maxKey)
	}
	return nil
}
