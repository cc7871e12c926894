package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Orphan is a key in a token that this store knows nothing of, or that a ceremony meant to destroy.
type Orphan struct {
	hsm.Object
	Token string `json:"token"` // serial
}

// Reconciliation is what a start found between tokens and store.
type Reconciliation struct {
	Destroyed []ID     // objects whose birth intent never became a key; gone now
	Cleared   []ID     // intents whose object never came to be
	Waiting   []ID     // intents given up whose token is away: it may hold an object yet
	Orphans   []Orphan // listed, never touched
	Missing   []ID     // keys of this store that their token does not hold
	Away      []string // serials of the tokens that were not looked into, configured or not
}

// listings are the objects of the tokens that answered.
type listings map[*home][]hsm.Object

func (l listings) holds(h *home, id ID) bool {
	return slices.ContainsFunc(l[h], func(o hsm.Object) bool { return o.ID == id })
}

// Reconcile is law 12 at start: it destroys only objects with a durable intent in this store that never became a key, in the token that the intent
// names, and lists every other unknown object. Of a token that is away it decides and destroys nothing; Settle does once it is back. It must not run
// while keys are being made.
//
// The caller must not call it on a store that is recovering: an older store may hold the intent of a key that went on to become a seal
// in the part that was lost. Should it be called all the same, nothing is destroyed: the decision is committed first, and a recovering
// store is read-only (store.ErrReadOnly).
func (k *Keystore) Reconcile(ctx context.Context, actor audit.Actor) (Reconciliation, error) {
	var r Reconciliation
	found, err := k.list(ctx, &r)
	if err != nil {
		return r, err
	}
	open, err := k.openIntents(ctx)
	if err != nil {
		return r, err
	}
	if open, err = k.disown(ctx, open, actor); err != nil {
		return r, err
	}
	if err := k.abandon(ctx, open, found, actor, &r); err != nil {
		return r, err
	}
	return r, k.compare(ctx, found, open, &r)
}

// list looks into every token. One that is away is noted, unless none is there.
func (k *Keystore) list(ctx context.Context, r *Reconciliation) (listings, error) {
	found := listings{}
	var errs []error
	for _, h := range k.homes {
		objects, err := h.objects(ctx)
		switch {
		case err == nil:
			found[h] = objects
		case tokenAway(err):
			r.Away = append(r.Away, h.Serial)
			errs = append(errs, err)
		default:
			return nil, fmt.Errorf("listing the token's objects: %w", err)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("listing the token's objects: %w", errors.Join(errs...))
	}
	return found, nil
}

// Settle does for a token that was away what Reconcile would have done: it lists the strangers in it, and destroys the objects of intents that a start
// gave up. Those alone: no commit can turn them into a key any more, so it may run while keys are being made.
func (k *Keystore) Settle(ctx context.Context, serial string, actor audit.Actor) (Reconciliation, error) {
	var r Reconciliation
	h := k.homes.at(serial)
	if h == nil {
		return r, fmt.Errorf("token %s: %w", serial, ErrTokens)
	}
	objects, err := h.objects(ctx)
	if err != nil {
		return r, fmt.Errorf("listing the token's objects: %w", err)
	}
	open, err := k.openIntents(ctx) // after the list: whatever stands there had its intent before
	if err != nil {
		return r, err
	}
	found := listings{h: objects}
	if _, err := k.strangers(ctx, found, open, &r); err != nil {
		return r, err
	}
	open = slices.DeleteFunc(open, func(in Intent) bool { return in.Abandoned == nil || !slices.Contains(in.places(k.homes), h) })
	return r, k.abandon(ctx, open, found, actor, &r)
}

func (k *Keystore) openIntents(ctx context.Context) ([]Intent, error) {
	return every(ctx, k.st, intents, "key intents", func(in *Intent, v store.Version) { in.version = v })
}

// every reads a whole collection in the order of its keys; stamped is told each record's version.
func every[T any](ctx context.Context, st store.Store, c *store.Collection, what string, stamped func(*T, store.Version)) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		page, err := st.List(ctx, c, "", nil, cursor, 500)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", what, err)
		}
		for _, it := range page.Items {
			var v T
			if err := json.Unmarshal(it.Value, &v); err != nil {
				return nil, fmt.Errorf("reading %s: %w: %w", what, store.ErrCorrupt, err)
			}
			stamped(&v, it.Version)
			all = append(all, v)
		}
		if cursor = page.Next; cursor == "" {
			return all, nil
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
// start goes on; so does a token that is away.
func (k *Keystore) abandon(ctx context.Context, open []Intent, found listings, actor audit.Actor, r *Reconciliation) error {
	for _, in := range open {
		places := in.places(k.homes)
		held := slices.ContainsFunc(places, func(h *home) bool { return found.holds(h, in.ID) })
		if in.Abandoned == nil {
			if err := k.markAbandoned(ctx, &in, held, actor); err != nil {
				return err
			}
		}
		for _, h := range places {
			if !found.holds(h, in.ID) {
				continue
			}
			if err := h.destroy(ctx, in.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
				return fmt.Errorf("destroying key %s of an order that went no further: %w", in.ID, err)
			}
		}
		if slices.ContainsFunc(places, func(h *home) bool { _, looked := found[h]; return !looked }) {
			r.Waiting = append(r.Waiting, in.ID)
			continue
		}
		if err := k.clearIntent(ctx, in); err != nil {
			return err
		}
		if held {
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
		Expect: []store.Expect{{Collection: intents, Key: in.ID[:], Version: in.version}, {Collection: in.Custody.collection(), Key: in.ID[:]}}})
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

// place is an identifier in one token.
type place struct {
	at *home
	id ID
}

// compare lists what only one side knows, and counts the keys of each token.
func (k *Keystore) compare(ctx context.Context, found listings, open []Intent, r *Reconciliation) error {
	here, err := k.strangers(ctx, found, open, r)
	if err != nil {
		return err
	}
	return k.census(ctx, found, here, r)
}

// strangers lists the keys without a living record or an intent, and returns where the others are.
func (k *Keystore) strangers(ctx context.Context, found listings, open []Intent, r *Reconciliation) (here map[place]bool, err error) {
	intended, here := map[place]bool{}, map[place]bool{}
	for _, in := range open {
		for _, h := range in.places(k.homes) {
			intended[place{h, in.ID}] = true
		}
	}
	for h, objects := range found {
		for _, o := range objects {
			if at := (place{h, o.ID}); o.Class != "private" && o.Class != "secret" || intended[at] {
				continue
			} else if ours, err := k.livesAt(ctx, at); err != nil {
				return nil, err
			} else if ours {
				here[at] = true
				continue
			}
			r.Orphans = append(r.Orphans, Orphan{o, h.Serial})
			k.log.WarnContext(ctx, "key in the token without a living record, left alone", slog.String("id", o.RawID),
				slog.String("label", o.Label), slog.String("token", h.Serial))
		}
	}
	return here, nil
}

// livesAt says whether a living key's record names that place. A wrapped key lives in none.
func (k *Keystore) livesAt(ctx context.Context, at place) (bool, error) {
	rec, _, err := k.stored(ctx, records, at.id)
	if errors.Is(err, ErrKeyNotFound) {
		return false, nil
	}
	return err == nil && rec.Destroyed == nil && slices.Contains(k.places(rec), at.at), err
}

func (k *Keystore) census(ctx context.Context, found listings, here map[place]bool, r *Reconciliation) error {
	keys := map[*home]int64{}
	err := k.each(ctx, records, "", nil, func(rec record) bool {
		if rec.Destroyed != nil {
			return true
		}
		for _, h := range k.places(rec) {
			_, looked := found[h]
			switch {
			case !looked && !slices.Contains(r.Away, h.Serial):
				r.Away = append(r.Away, h.Serial) // a token that nobody configured
			case looked && !here[place{h, rec.ID}]:
				r.Missing = append(r.Missing, rec.ID)
				k.log.ErrorContext(ctx, "key is missing from the token", slog.String("id", rec.ID.String()), slog.String("ref", rec.Ref),
					slog.String("token", h.Serial))
			}
			keys[h]++
		}
		return true
	})
	for _, h := range k.homes {
		h.held.Store(keys[h])
	}
	return err
}

// destruction is the detail of a key-destroyed record by ceremony.
type destruction struct {
	Second  audit.Actor `json:"second"`
	Reason  string      `json:"reason"`
	Unknown bool        `json:"unknown,omitempty"` // an object that this store knows nothing of
	Label   string      `json:"label,omitempty"`
	Token   string      `json:"token,omitempty"` // serial of the one that held it
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
	if r.Purpose == PurposeKEK || r.Purpose == PurposeBinder {
		return fmt.Errorf("key %s is for %s and goes with all that it wraps, or not at all: %w", id, r.Purpose, ErrKeyUse)
	}
	if r.Abroad != nil {
		return fmt.Errorf("key %s is in token %s: destroy it there, and cancel its seal here: %w", id, r.Birth.Token.Serial, ErrOutside)
	}
	if r.Destroyed == nil {
		t := now()
		r.Destroyed = &t
	}
	r = r.logged() // the blob goes here; what backups hold of it goes with its KEK
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyDestroyed, Actor: first, Subject: id.String(),
		Detail: destruction{Second: second, Reason: reason}}.Body()
	if err != nil {
		return err
	}
	if _, err := k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body}, Put: []store.Put{{Collection: r.custody().collection(), Key: id[:], Value: value}},
		Expect: []store.Expect{{Collection: r.custody().collection(), Key: id[:], Version: v}}}); err != nil {
		return fmt.Errorf("recording the end of key %s: %w", id, err)
	}
	k.mu.Lock()
	delete(k.hot, id)
	k.mu.Unlock()
	if r.Wrapped != nil {
		return k.closeOpened(ctx, r)
	}
	h := k.homes.of(r.Birth.Token.Serial)
	if err := k.remove(ctx, h, id); err != nil {
		return err
	}
	h.held.Add(-1)
	return nil
}

// closeOpened has every token that can open a wrapped key destroy what it has open of it.
func (k *Keystore) closeOpened(ctx context.Context, r record) error {
	hs, err := k.keepersOf(ctx, r.Wrapped.KEK)
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hs {
		errs = append(errs, k.remove(ctx, h, r.ID))
	}
	return errors.Join(errs...)
}

// DestroyOrphan removes by ceremony an object that Reconcile listed and no record or intent of this store claims; ErrKeyUse when one
// does. The private half of a seal that only a lost store knew is gone for ever after this.
func (k *Keystore) DestroyOrphan(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("destroying orphan %s: %w", id, err)
	}
	h, label, err := k.finder(ctx, id)
	if err != nil {
		return err
	}
	body, err := audit.Event{Kind: audit.KindKeyDestroyed, Actor: first, Subject: id.String(),
		Detail: destruction{Second: second, Reason: reason, Unknown: true, Label: label, Token: h.Serial}}.Body()
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
	return k.remove(ctx, h, id)
}

// finder returns the one token that holds an object of that identifier, and its label. With a token away nobody knows that it is the one.
func (k *Keystore) finder(ctx context.Context, id ID) (at *home, label string, err error) {
	for _, h := range k.homes {
		objects, err := h.objects(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("listing the token's objects: %w", err)
		}
		n := slices.IndexFunc(objects, func(o hsm.Object) bool { return o.ID == id && o.ID != (ID{}) })
		switch {
		case n < 0:
		case at != nil:
			return nil, "", fmt.Errorf("orphan %s is in tokens %s and %s: %w", id, at.Serial, h.Serial, ErrKeyUse)
		default:
			at, label = h, objects[n].Label
		}
	}
	if at == nil {
		return nil, "", fmt.Errorf("orphan %s: %w", id, ErrKeyNotFound)
	}
	return at, label, nil
}

func (k *Keystore) remove(ctx context.Context, h *home, id ID) error {
	if err := h.destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		return fmt.Errorf("destroying key %s: %w", id, err)
	}
	return nil
}
