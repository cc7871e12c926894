package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Reconciliation is what a start found between token and store.
type Reconciliation struct {
	Destroyed []ID         // objects whose birth intent never became a key; gone now
	Cleared   []ID         // intents whose object never came to be
	Orphans   []hsm.Object // objects this store knows nothing of: listed, never touched
	Missing   []ID         // keys of this store that the token does not hold
}

// Reconcile is law 12 at start: it destroys only objects with a durable intent in this store that never became a key, and lists every other
// unknown object. The caller must not call it on a store that is recovering: an older store may hold the intent of a key that went on
// to become a seal in the part that was lost.
func (k *Keystore) Reconcile(ctx context.Context, actor audit.Actor) (Reconciliation, error) {
	var r Reconciliation
	objects, err := k.tok.Objects(ctx)
	if err != nil {
		return r, fmt.Errorf("listing the token's objects: %w", err)
	}
	held := map[ID]bool{}
	for _, o := range objects {
		if o.Class == "private" || o.Class == "secret" {
			held[o.ID] = true
		}
	}
	open, err := k.openIntents(ctx)
	if err != nil {
		return r, err
	}
	for _, in := range open {
		if err := k.abandon(ctx, in, held[in.ID], actor, &r); err != nil {
			return r, err
		}
		delete(held, in.ID)
	}
	return r, k.compare(ctx, objects, open, &r)
}

func (k *Keystore) openIntents(ctx context.Context) ([]Intent, error) {
	var open []Intent
	for cursor := ""; ; {
		page, err := k.st.List(ctx, intents, "", nil, cursor, 500)
		if err != nil {
			return nil, fmt.Errorf("reading key intents: %w", err)
		}
		for _, it := range page.Items {
			var in Intent
			if err := json.Unmarshal(it.Value, &in); err != nil {
				return nil, fmt.Errorf("reading key intent: %w: %w", store.ErrCorrupt, err)
			}
			in.version = it.Version
			open = append(open, in)
		}
		if cursor = page.Next; cursor == "" {
			return open, nil
		}
	}
}

// abandon destroys the object first and clears the intent after: a crash in between leaves the intent, and the next start repeats.
func (k *Keystore) abandon(ctx context.Context, in Intent, held bool, actor audit.Actor, r *Reconciliation) error {
	if err := k.tok.Destroy(ctx, in.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		return fmt.Errorf("destroying key %s of an order that went no further: %w", in.ID, err)
	}
	body, err := audit.Event{Kind: "key-destroyed", Actor: actor, Subject: in.ID.String(), Detail: struct {
		Ref    string `json:"ref"`
		Reason string `json:"reason"`
		Held   bool   `json:"held"`
	}{in.Ref, "birth intent never became a key", held}}.Body()
	if err != nil {
		return err
	}
	_, err = k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body},
		Put:    []store.Put{{Collection: intents, Key: in.ID[:]}},
		Expect: []store.Expect{{Collection: intents, Key: in.ID[:], Version: in.version}, {Collection: records, Key: in.ID[:]}}})
	if err != nil {
		return fmt.Errorf("clearing key intent %s: %w", in.ID, err)
	}
	if held {
		r.Destroyed = append(r.Destroyed, in.ID)
	} else {
		r.Cleared = append(r.Cleared, in.ID)
	}
	return nil
}

// compare lists what only one side knows.
func (k *Keystore) compare(ctx context.Context, objects []hsm.Object, open []Intent, r *Reconciliation) error {
	gone := map[ID]bool{}
	for _, in := range open {
		gone[in.ID] = true
	}
	here := map[ID]bool{}
	for _, o := range objects {
		if o.Class != "private" && o.Class != "secret" || gone[o.ID] {
			continue
		}
		here[o.ID] = true
		_, _, err := k.record(ctx, o.ID)
		if errors.Is(err, ErrKeyNotFound) {
			r.Orphans = append(r.Orphans, o)
			k.log.WarnContext(ctx, "unknown object in the token, left alone", slog.String("id", o.RawID), slog.String("label", o.Label))
		} else if err != nil {
			return err
		}
	}
	for cursor := ""; ; {
		page, err := k.st.List(ctx, records, "", nil, cursor, 500)
		if err != nil {
			return fmt.Errorf("reading keys: %w", err)
		}
		for _, it := range page.Items {
			var rec record
			if err := json.Unmarshal(it.Value, &rec); err != nil {
				return fmt.Errorf("reading keys: %w: %w", store.ErrCorrupt, err)
			}
			if rec.Destroyed == nil && !here[rec.ID] {
				r.Missing = append(r.Missing, rec.ID)
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// Destroy ends a key by ceremony: the record of the decision is durable first, then the object goes. Two different actors must have agreed;
// reason is kept.
func (k *Keystore) Destroy(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if first.ID == second.ID {
		return fmt.Errorf("destroying key %s: one person cannot be both officers: %w", id, ErrKeyUse)
	}
	r, v, err := k.record(ctx, id)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	r.Destroyed = &now
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: "key-destroyed", Actor: first, Subject: id.String(), Detail: struct {
		Second audit.Actor `json:"second"`
		Reason string      `json:"reason"`
	}{second, reason}}.Body()
	if err != nil {
		return err
	}
	if _, err := k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body}, Put: []store.Put{{Collection: records, Key: id[:], Value: value}},
		Expect: []store.Expect{{Collection: records, Key: id[:], Version: v}}}); err != nil {
		return fmt.Errorf("recording the end of key %s: %w", id, err)
	}
	k.mu.Lock()
	delete(k.hot, id)
	k.mu.Unlock()
	if err := k.tok.Destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		return fmt.Errorf("destroying key %s: %w", id, err)
	}
	return nil
}
