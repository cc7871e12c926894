package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

var (
	// ErrNoKEK: no KEK has room for another key; a ceremony must make one.
	ErrNoKEK = errors.New("no wrapping key has room")
	// ErrKEKInUse: keys live under the KEK still.
	ErrKEKInUse = errors.New("keys live under the wrapping key")
)

// The kinds of records in the life of a KEK.
const (
	KindKEKMade      = "kek-made"
	KindKEKRetired   = "kek-retired"
	KindKEKDestroyed = "kek-destroyed"
)

var keks = &store.Collection{Name: "kek", Codec: 1}

// KEK is a wrapping key with its binding key. Both are keys of the token; copies in other tokens carry the same identifiers.
type KEK struct {
	ID     ID        `json:"id"`
	Binder ID        `json:"binder"`
	Ref    string    `json:"ref"`    // the ceremony it was made by
	Tokens []string  `json:"tokens"` // serial numbers of the tokens that hold both
	Since  time.Time `json:"since"`
	// Retired: no key is born under it any more, and those it has move to another.
	Retired   *time.Time `json:"retired,omitempty"`
	Destroyed *time.Time `json:"destroyed,omitempty"`

	version store.Version
}

func (e KEK) wrapping() hsm.Wrapping { return hsm.Wrapping{KEK: e.ID, Binder: e.Binder} }

// counter counts the keys that were ever put under a KEK.
func (e KEK) counter() string { return "kek/" + e.ID.String() }

// wraps is what custody remembers of wrapping.
type wraps struct {
	mu     sync.Mutex
	policy WrappingPolicy
	room   []KEK         // nil: to be read from the store
	given  map[ID]uint64 // places taken in this process or before it; never less than the store's counter

	moving   sync.Mutex // one re-wrapping at a time
	progress map[ID]Progress
}

// room takes a place under the oldest KEK of a token that has one. A place that was taken for a key that never came is free again after a restart.
func (k *Keystore) room(ctx context.Context, h *home) (KEK, store.Spend, error) {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	if k.wraps.room == nil {
		if err := k.readRoom(ctx); err != nil {
			return KEK{}, store.Spend{}, err
		}
	}
	limit := k.wraps.limit()
	var left uint64
	found := KEK{}
	for _, e := range k.wraps.room {
		if given := k.wraps.given[e.ID]; given < limit && k.holds(h, e) {
			if left == 0 {
				found = e
			}
			left += limit - given
		}
	}
	if left == 0 {
		return KEK{}, store.Spend{}, fmt.Errorf("%d wrapping keys of at most %d keys each: %w; make the next by ceremony", len(k.wraps.room), limit, ErrNoKEK)
	}
	k.wraps.given[found.ID]++
	if few := limit / 10; left <= few && (left == few || left%1000 == 0) {
		k.log.WarnContext(ctx, "room under the wrapping keys is running out; make the next by ceremony", slog.Uint64("keys", left))
	}
	return found, store.Spend{Counter: found.counter(), N: 1, Limit: limit}, nil
}

// holds says whether a KEK is in a token. A store with one token has them all there: its token may be the successor of the one it had.
func (k *Keystore) holds(h *home, e KEK) bool {
	return len(k.homes) == 1 || slices.Contains(e.Tokens, h.Serial)
}

// readRoom reads the KEKs that are neither retired nor destroyed, the oldest first. The caller holds wraps.mu.
func (k *Keystore) readRoom(ctx context.Context) error {
	all, err := k.KEKs(ctx)
	if err != nil {
		return err
	}
	room := []KEK{}
	if k.wraps.given == nil {
		k.wraps.given = map[ID]uint64{}
	}
	for _, e := range all {
		if e.Retired != nil || e.Destroyed != nil {
			continue
		}
		used, err := k.st.Counter(ctx, e.counter())
		if err != nil {
			return fmt.Errorf("counting the keys under %s: %w", e.ID, err)
		}
		room = append(room, e)
		k.wraps.given[e.ID] = max(k.wraps.given[e.ID], used)
	}
	k.wraps.room = room
	return nil
}

// changed has the KEKs read again.
func (k *Keystore) changed() {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	k.wraps.room = nil
	k.keepers.forget()
}

// fit says which tokens can bear the keys: wrapped ones those with a KEK that has room, if any has.
func (k *Keystore) fit(ctx context.Context, wants []Want) func(*home) bool {
	all := func(*home) bool { return true }
	if k.custodyOf(wants[0].Purpose) != Wrapped || len(k.homes) == 1 {
		return all
	}
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	if k.wraps.room == nil && k.readRoom(ctx) != nil {
		return all // whoever takes a place there is told why
	}
	fit := map[*home]bool{}
	for _, e := range k.wraps.room {
		for _, h := range k.homes {
			if k.holds(h, e) && k.wraps.given[e.ID]+uint64(len(wants)) <= k.wraps.limit() {
				fit[h] = true
			}
		}
	}
	if len(fit) == 0 {
		return all
	}
	return func(h *home) bool { return fit[h] }
}

// limit is how many keys a KEK may have.
func (w *wraps) limit() uint64 {
	if w.policy.KeysPerKEK == 0 {
		return defaultKeysPerKEK
	}
	return uint64(w.policy.KeysPerKEK)
}

// KEKs returns all wrapping keys that ever were, the oldest first.
func (k *Keystore) KEKs(ctx context.Context) ([]KEK, error) {
	all, err := every(ctx, k.st, keks, "wrapping keys", func(e *KEK, v store.Version) { e.version = v })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b KEK) int { return a.Since.Compare(b.Since) })
	return all, nil
}

func (k *Keystore) kek(ctx context.Context, id ID) (KEK, error) {
	all, err := k.KEKs(ctx)
	if err != nil {
		return KEK{}, err
	}
	for _, e := range all {
		if e.ID == id {
			return e, nil
		}
	}
	return KEK{}, fmt.Errorf("wrapping key %s: %w", id, ErrKeyNotFound)
}

// kekChange is the detail of the records in a KEK's life.
type kekChange struct {
	Second audit.Actor `json:"second"`
	Reason string      `json:"reason,omitempty"`
	KEK    KEK         `json:"kek"`
}

// MakeKEK makes a wrapping key and its binding key in the token. ref names the ceremony; called again with the same ref it returns what that
// made. ErrUnproven or ErrTokenRefused when the token offers no wrapped custody: then nothing is left.
func (k *Keystore) MakeKEK(ctx context.Context, ref string, first, second audit.Actor) (KEK, error) {
	k.wraps.moving.Lock() // two calls of one ceremony make one
	defer k.wraps.moving.Unlock()
	all, err := k.KEKs(ctx)
	if err != nil {
		return KEK{}, err
	}
	for _, e := range all {
		if e.Ref == ref {
			return e, nil
		}
	}
	label := "sealkeeper:kek:" + newID().String()[:8]
	ins, err := k.Intend(ctx, nil, first, ref, Want{PurposeKEK, label, hsm.KEK}, Want{PurposeBinder, label + ":binder", hsm.AES256})
	if err != nil {
		return KEK{}, err
	}
	return k.bearKEK(ctx, ins, kekChange{Second: second, KEK: KEK{ID: ins[0].ID, Binder: ins[1].ID, Ref: ref}})
}

func (k *Keystore) bearKEK(ctx context.Context, ins []Intent, c kekChange) (_ KEK, err error) {
	through := context.WithoutCancel(ctx)
	defer func() {
		if err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
			for _, in := range ins {
				if derr := k.remove(through, k.homes.of(in.Token), in.ID); derr != nil {
					err = errors.Join(err, derr)
				}
			}
		}
	}()
	var m store.Mutation
	for _, in := range ins {
		key, d, err := k.Generate(ctx, in)
		if err != nil {
			return KEK{}, err
		}
		m.Put, m.Expect, m.Audit = append(m.Put, d.Put...), append(m.Expect, d.Expect...), append(m.Audit, d.Audit...)
		if key.purpose == PurposeKEK {
			c.KEK.Tokens = []string{d.serial}
		}
	}
	c.KEK.Since = time.Now().UTC() // to the nanosecond: the oldest comes first
	if err := c.add(&m, KindKEKMade, ins[0].Actor); err != nil {
		return KEK{}, err
	}
	if _, err := k.st.Commit(through, m); err != nil {
		return KEK{}, fmt.Errorf("recording wrapping key %s: %w", c.KEK.ID, err)
	}
	k.changed()
	return c.KEK, nil
}

// add puts the KEK as it is to be from now on, with the record of it, into a mutation.
func (c kekChange) add(m *store.Mutation, kind string, first audit.Actor) error {
	value, err := json.Marshal(c.KEK)
	if err != nil {
		return fmt.Errorf("encoding wrapping key: %w", err)
	}
	body, err := audit.Event{Kind: kind, Actor: first, Subject: c.KEK.ID.String(), Detail: c}.Body()
	if err != nil {
		return err
	}
	m.Put = append(m.Put, store.Put{Collection: keks, Key: c.KEK.ID[:], Value: value})
	m.Expect = append(m.Expect, store.Expect{Collection: keks, Key: c.KEK.ID[:], Version: c.KEK.version})
	m.Audit = append(m.Audit, body)
	return nil
}

// RetireKEK ends births under a KEK, by ceremony; RewrapRetired then moves its keys to another. Retired already, it stays as it is.
func (k *Keystore) RetireKEK(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("retiring wrapping key %s: %w", id, err)
	}
	e, err := k.kek(ctx, id)
	if err != nil || e.Retired != nil {
		return err
	}
	t := now()
	e.Retired = &t
	var m store.Mutation
	if err := (kekChange{second, reason, e}).add(&m, KindKEKRetired, first); err != nil {
		return err
	}
	if _, err := k.st.Commit(ctx, m); err != nil {
		return fmt.Errorf("retiring wrapping key %s: %w", id, err)
	}
	k.changed()
	return nil
}

// closed is added to the counter of a KEK that is destroyed: no birth gets past its limit afterwards.
const closed = 1 << 40

// DestroyKEK ends a KEK and its binding key by ceremony, when no key lives under it (ErrKEKInUse). What was wrapped by it, in backups too, never
// opens again. When the token was away, the same ceremony again finishes the work.
func (k *Keystore) DestroyKEK(ctx context.Context, id ID, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("destroying wrapping key %s: %w", id, err)
	}
	e, err := k.kek(ctx, id)
	if err != nil {
		return err
	}
	if e.Destroyed == nil {
		if err := k.endKEK(ctx, e, first, second, reason); err != nil {
			return fmt.Errorf("destroying wrapping key %s: %w", id, err)
		}
		k.changed()
	}
	var errs []error
	for _, h := range k.homes {
		if !k.holds(h, e) {
			continue
		}
		for _, id := range []ID{e.ID, e.Binder} {
			if err := k.remove(ctx, h, id); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// endKEK records the end, if nothing lives under the KEK and nothing was born under it since that was looked up.
func (k *Keystore) endKEK(ctx context.Context, e KEK, first, second audit.Actor, reason string) error {
	if e.Retired == nil {
		return fmt.Errorf("it is not retired: %w", ErrKEKInUse)
	}
	born, err := k.st.Counter(ctx, e.counter())
	if err != nil {
		return err
	}
	page, err := k.st.List(ctx, wrappedKeys, "kek", []byte(e.ID.String()), "", 1)
	if err != nil {
		return err
	}
	if len(page.Items) > 0 {
		return ErrKEKInUse
	}
	t := now()
	e.Destroyed = &t
	m := store.Mutation{Spend: []store.Spend{{Counter: e.counter(), N: closed, Limit: closed + born}}}
	if err := (kekChange{second, reason, e}).add(&m, KindKEKDestroyed, first); err != nil {
		return err
	}
	for _, id := range []ID{e.ID, e.Binder} {
		r, v, err := k.record(ctx, id)
		if err != nil {
			return err
		}
		r.Destroyed = &t
		value, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding key record: %w", err)
		}
		m.Put = append(m.Put, store.Put{Collection: records, Key: id[:], Value: value})
		m.Expect = append(m.Expect, store.Expect{Collection: records, Key: id[:], Version: v})
	}
	_, err = k.st.Commit(ctx, m)
	if errors.Is(err, store.ErrLimit) {
		return fmt.Errorf("a key was born under it meanwhile: %w", ErrKEKInUse)
	}
	return err
}
