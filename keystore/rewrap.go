package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Progress is how far the keys of a retired KEK have moved, in this process.
type Progress struct {
	Moved  int `json:"moved"`
	Failed int `json:"failed"` // stay under the old KEK, which therefore stays
}

// rewrapBatch is how many keys move in one commit.
const rewrapBatch = 50

// RewrapRetired moves the keys of all retired KEKs to the oldest with room. It may be stopped or killed at any time and called again: what has
// moved has moved, and each key opens under the KEK that its record names. Keys that do not move are logged and left (their count is in the
// error); the old KEK is not destroyed here, nor as long as a key lives under it.
func (k *Keystore) RewrapRetired(ctx context.Context, actor audit.Actor) error {
	all, err := k.KEKs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range all {
		if e.Retired != nil && e.Destroyed == nil {
			errs = append(errs, k.rewrap(ctx, e, actor))
		}
	}
	return errors.Join(errs...)
}

// Progress tells how far re-wrapping has come, by KEK. Those that nothing was left to move from in this process are not in it.
func (k *Keystore) Progress() map[ID]Progress {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	return maps.Clone(k.wraps.progress)
}

func (k *Keystore) note(id ID, moved, failed int) Progress {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	if k.wraps.progress == nil {
		k.wraps.progress = map[ID]Progress{}
	}
	p := k.wraps.progress[id]
	p.Moved += moved
	p.Failed = failed
	k.wraps.progress[id] = p
	return p
}

// rewrap goes once through the keys that live under a KEK.
func (k *Keystore) rewrap(ctx context.Context, from KEK, actor audit.Actor) error {
	k.wraps.moving.Lock()
	defer k.wraps.moving.Unlock()
	failed, first, cursor := 0, error(nil), ""
	for {
		page, err := k.st.List(ctx, wrappedKeys, "kek", []byte(from.ID.String()), cursor, rewrapBatch)
		if err != nil {
			return fmt.Errorf("reading the keys under %s: %w", from.ID, err)
		}
		moved, bad, err := k.moveAll(ctx, from, page.Items, actor)
		if err != nil {
			return fmt.Errorf("moving keys from wrapping key %s: %w", from.ID, err)
		}
		failed += len(bad)
		if first == nil && len(bad) > 0 {
			first = bad[0]
		}
		if len(page.Items) > 0 {
			p := k.note(from.ID, moved, failed)
			k.log.InfoContext(ctx, "keys moved to another wrapping key", slog.String("from", from.ID.String()), slog.Int("moved", p.Moved),
				slog.Int("failed", p.Failed))
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d keys stay under wrapping key %s, the first because: %w", failed, from.ID, first)
	}
	return nil
}

// transfer is keys on their way to one KEK.
type transfer struct {
	to    KEK
	m     store.Mutation
	keys  []*Key
	limit uint64
}

// moveAll moves one page. A key whose own blob is at fault is told in bad; what would fail for the others as well is an error.
func (k *Keystore) moveAll(ctx context.Context, from KEK, items []store.Item, actor audit.Actor) (moved int, bad []error, err error) {
	all := map[ID]*transfer{}
	for _, it := range items {
		key, t, err := k.move(ctx, it, all)
		switch {
		case errors.Is(err, ErrBlob) || errors.Is(err, store.ErrCorrupt):
			k.log.ErrorContext(ctx, "wrapped key does not move", slog.String("id", fmt.Sprintf("%x", it.Key)), slog.String("error", err.Error()))
			bad = append(bad, err)
		case err != nil:
			return 0, nil, err
		default:
			t.keys = append(t.keys, key)
		}
	}
	for _, t := range all {
		n, err := k.land(ctx, from, t, actor)
		if err != nil {
			return moved, bad, err
		}
		moved += n
	}
	return moved, bad, nil
}

// move has the token wrap one key anew and adds what is to be stored to the transfer to its new KEK.
func (k *Keystore) move(ctx context.Context, it store.Item, all map[ID]*transfer) (*Key, *transfer, error) {
	var r record
	if err := json.Unmarshal(it.Value, &r); err != nil || r.Wrapped == nil {
		return nil, nil, fmt.Errorf("reading wrapped key %x: %w: %w", it.Key, store.ErrCorrupt, err)
	}
	w, to, spend, err := k.rewrapSomewhere(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	policy := r.Wrapped.Policy
	r.Wrapped = enclose(w)
	r.Wrapped.Policy = policy // what the key is bound to has not changed
	value, err := json.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding key record: %w", err)
	}
	key, err := k.key(r)
	if err != nil {
		return nil, nil, err
	}
	t := all[to.ID]
	if t == nil {
		t = &transfer{to: to, limit: spend.Limit}
		all[to.ID] = t
	}
	t.m.Put = append(t.m.Put, store.Put{Collection: wrappedKeys, Key: it.Key, Value: value})
	t.m.Expect = append(t.m.Expect, store.Expect{Collection: wrappedKeys, Key: it.Key, Version: it.Version})
	return key, t, nil
}

// rewrapSomewhere has a token that holds both KEKs wrap a key anew.
func (k *Keystore) rewrapSomewhere(ctx context.Context, r record) (w hsm.Wrapped, to KEK, spend store.Spend, err error) {
	hs, err := k.keepersOf(ctx, r.Wrapped.KEK)
	for _, h := range hs {
		if to, spend, err = k.room(ctx, h); err != nil {
			continue
		}
		w, err = h.rewrap(ctx, hsm.RewrapRequest{Wrapped: *r.message(), To: to.wrapping()})
		if err == nil || !elsewhere(err) {
			break
		}
	}
	return w, to, spend, err
}

// land commits a transfer. When one of its keys was destroyed meanwhile nothing of it happens, and the next round finds the others.
func (k *Keystore) land(ctx context.Context, from KEK, t *transfer, actor audit.Actor) (int, error) {
	detail := rewrapped{From: from.ID, To: t.to.ID}
	for _, key := range t.keys {
		detail.Keys = append(detail.Keys, key.id)
	}
	body, err := audit.Event{Kind: KindKeyRewrapped, Actor: actor, Subject: from.ID.String(), Detail: detail}.Body()
	if err != nil {
		return 0, err
	}
	t.m.Audit = [][]byte{body}
	t.m.Spend = []store.Spend{{Counter: t.to.counter(), N: uint64(len(t.keys)), Limit: t.limit}}
	if _, err := k.st.Commit(ctx, t.m); errors.Is(err, store.ErrConflict) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range t.keys {
		if k.hot[key.id] != nil {
			k.hot[key.id] = key
		}
	}
	return len(t.keys), nil
}

// LivesUnder counts the keys that live under a KEK.
func (k *Keystore) LivesUnder(ctx context.Context, id ID) (int, error) {
	n := 0
	for cursor := ""; ; {
		page, err := k.st.List(ctx, wrappedKeys, "kek", []byte(id.String()), cursor, 1000)
		if err != nil {
			return 0, fmt.Errorf("counting the keys under %s: %w", id, err)
		}
		n += len(page.Items)
		if cursor = page.Next; cursor == "" {
			return n, nil
		}
	}
}
