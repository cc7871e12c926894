package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Reconciliation is what a start found between token and store.
type Reconciliation struct {
	Destroyed []ID         // objects whose birth intent never became a key; gone now
	Cleared   []ID         // intents whose object never came to be
	Orphans   []hsm.Object // keys in the token that this store knows nothing of, or that a ceremony meant to destroy: listed, never touched
	Missing   []ID         // keys of this store that the token does not hold
}

// Reconcile is law 12 at start: it destroys only objects with a durable intent in this store that never became a key, and lists every other
// unknown object. It must not run while keys are being made.
//
// The caller must not call it on a store that is recovering: an older store may hold the intent of a key that went on to become a seal
// in the part that was lost. Should it be called all the same, nothing is destroyed: the decision is committed first, and a recovering
// store is read-only (store.ErrReadOnly).
func (k *Keystore) Reconcile(ctx context.Context, actor audit.Actor) (Reconciliation, error) {
	var r Reconciliation
	objects, err := k.tok.Objects(ctx)
	if err != nil {
		return r, fmt.Errorf("listing the token's objects: %w", err)
	}
	open, err := k.openIntents(ctx)
	if err != nil {
		return r, err
	}
	if open, err = k.disown(ctx, open, actor); err != nil {
		return r, err
	}
	if err := k.abandon(ctx, open, objects, actor, &r); err != nil {
		return r, err
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

// abandonment is the detail of a key-destroyed record at start.
type abandonment struct {
	Ref    string `json:"ref"`
	Reason string `json:"reason"`
	Held   bool   `json:"held"` // whether the token holds anything under the identifier
}

// abandon commits the decision, destroys, and clears the intent. A crash in between leaves the abandoned intent, and the next
// start goes on.
func (k *Keystore) abandon(ctx context.Context, open []Intent, objects []hsm.Object, actor audit.Actor, r *Reconciliation) error {
	held := map[ID]bool{}
	for _, o := range objects {
		held[o.ID] = true
	}
	for _, in := range open {
		if in.Abandoned == nil {
			if err := k.markAbandoned(ctx, &in, held[in.ID], actor); err != nil {
				return err
			}
		}
		if held[in.ID] {
			if err := k.tok.Destroy(ctx, in.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
				return fmt.Errorf("destroying key %s of an order that went no further: %w", in.ID, err)
			}
		}
		if err := k.clearIntent(ctx, in); err != nil {
			return err
		}
		if held[in.ID] {
			r.Destroyed = append(r.Destroyed, in.ID)
		} else {
			r.Cleared = append(r.Cleared, in.ID)
		}
	}
	return nil
}

func (k *Keystore) markAbandoned(ctx context.Context, in *Intent, held bool, actor audit.Actor) error {
	t := now()
	in.Abandoned = &t
	value, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding key intent: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyDestroyed, Actor: actor, Subject: in.ID.String(),
		Detail: abandonment{in.Ref, "birth intent never became a key", held}}.Body()
	if err != nil {
		return err
	}
	_, err = k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body},
		Put:    []store.Put{{Collection: intents, Key: in.ID[:], Value: value}},
		Expect: []store.Expect{{Collection: intents, Key: in.ID[:], Version: in.version}, {Collection: records, Key: in.ID[:]}}})
	if err != nil {
		return fmt.Errorf("abandoning key intent %s: %w", in.ID, err)
	}
	in.version++
	return nil
}

func (k *Keystore) clearIntent(ctx context.Context, in Intent) error {
	_, err := k.st.Commit(ctx, store.Mutation{Put: []store.Put{{Collection: intents, Key: in.ID[:]}},
		Expect: []store.Expect{{Collection: intents, Key: in.ID[:], Version: in.version}}})
	if err != nil {
		return fmt.Errorf("clearing key intent %s: %w", in.ID, err)
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
		rec, _, err := k.record(ctx, o.ID)
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return err
		}
		if err != nil || rec.Destroyed != nil {
			r.Orphans = append(r.Orphans, o)
			k.log.WarnContext(ctx, "key in the token without a living record, left alone", slog.String("id", o.RawID),
				slog.String("label", o.Label))
		}
	}
	return k.each(ctx, "", nil, func(rec record) bool {
		if rec.Destroyed == nil && !here[rec.ID] {
			r.Missing = append(r.Missing, rec.ID)
			k.log.ErrorContext(ctx, "key is missing from the token", slog.String("id", rec.ID.String()), slog.String("ref", rec.Ref))
		}
		return true
	})
}

// destruction is the detail of a key-destroyed record by ceremony.
type destruction struct {
	Second  audit.Actor `json:"second"`
	Reason  string      `json:"reason"`
	Unknown bool        `json:"unknown,omitempty"` // an object that this store knows nothing of
	Label   string      `json:"label,omitempty"`
}

// ErrCeremony: a destruction needs two different officers and a reason.
var ErrCeremony = errors.New("a ceremony needs two different officers and a reason")

func checkCeremony(first, second audit.Actor, reason string) error {
	if first.ID == "" || second.ID == "" || first.ID == second.ID || reason == "" {
		return ErrCeremony
	}
	return nil
}

// Destroy ends a key by ceremony: the record of the decision is durable first, then the object goes. When the token was away, the same
// ceremony again finishes the work. ErrCeremony, ErrKeyNotFound, or the token's and the store's errors.
func (k *Keystore) Destroy(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("destroying key %s: %w", id, err)
	}
	r, v, err := k.record(ctx, id)
	if err != nil {
		return err
	}
	if r.Destroyed == nil {
		t := now()
		r.Destroyed = &t
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyDestroyed, Actor: first, Subject: id.String(),
		Detail: destruction{Second: second, Reason: reason}}.Body()
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
	return k.remove(ctx, id)
}

// DestroyOrphan removes by ceremony an object that Reconcile listed and no record or intent of this store claims; ErrKeyUse when one
// does. The private half of a seal that only a lost store knew is gone for ever after this.
func (k *Keystore) DestroyOrphan(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("destroying orphan %s: %w", id, err)
	}
	objects, err := k.tok.Objects(ctx)
	if err != nil {
		return fmt.Errorf("listing the token's objects: %w", err)
	}
	label, held := "", false
	for _, o := range objects {
		if o.ID == id && o.ID != (ID{}) {
			label, held = o.Label, true
		}
	}
	if !held {
		return fmt.Errorf("orphan %s: %w", id, ErrKeyNotFound)
	}
	body, err := audit.Event{Kind: audit.KindKeyDestroyed, Actor: first, Subject: id.String(),
		Detail: destruction{Second: second, Reason: reason, Unknown: true, Label: label}}.Body()
	if err != nil {
		return err
	}
	_, err = k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body},
		Expect: []store.Expect{{Collection: records, Key: id[:]}, {Collection: intents, Key: id[:]}}})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("object %s has a record here: %w", id, ErrKeyUse)
	}
	if err != nil {
		return fmt.Errorf("recording the end of orphan %s: %w", id, err)
	}
	return k.remove(ctx, id)
}

func (k *Keystore) remove(ctx context.Context, id ID) error {
	if err := k.tok.Destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		return fmt.Errorf("destroying key %s: %w", id, err)
	}
	return nil
}
