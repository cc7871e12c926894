// Package keystore is key custody: keys are born in a token behind a durable intent, kept with the evidence of their birth, used to sign
// messages, and never leave.
//
// Its one promise: every signature it returns was computed by the token over an e that this package hashed from a message, was verified in
// software against the registered public key, and is strict DER (laws 1, 4, 11). No method takes a ready-made digest.
//
//	Intend ──► Generate ──► the caller's releasing commit ──► Key ──► Sign
//	durable     token        turns the intent into a key
//
// It knows keys, not seals. A key lives in the token of its birth, which its record names by serial; a token that is away takes its keys with
// it and no others. A key is resident (it stays in the token) or wrapped (it is stored encrypted by a KEK of the token, wrapped.go); whoever signs
// need not know which.
package keystore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ID names a key: the CKA_ID that both halves carry in the token.
type ID = hsm.ObjectID

// Purpose says what a key is for; a key serves one purpose only.
type Purpose string

// The purposes. Impression keys are one per year and encrypt data keys, nothing else.
const (
	PurposeSeal       Purpose = "seal"
	PurposeMaker      Purpose = "seal-maker"
	PurposeSM2Root    Purpose = "sm2-root"
	PurposeSM2Issuing Purpose = "sm2-issuing"
	PurposeAudit      Purpose = "audit"
	PurposeTLSRoot    Purpose = "tls-root"
	PurposeTLSClient  Purpose = "tls-client"
	PurposeTSASM2     Purpose = "tsa-sm2"   // signs time stamps over SM3 imprints
	PurposeTSAP256    Purpose = "tsa-p256"  // signs time stamps over SHA-256 imprints
	PurposeStatement  Purpose = "statement" // signs what the appliance states in its own name
	PurposeDocument   Purpose = "document"  // a seal's companion key for formats that know no SM2
)

// ImpressionPurpose is the purpose of the key that encrypts the data keys of one year's impressions.
func ImpressionPurpose(year int) Purpose { return Purpose(fmt.Sprintf("impression-%04d", year)) }

var (
	// ErrKeyNotFound: no key with that identifier or purpose.
	ErrKeyNotFound = errors.New("no such key")
	// ErrSignatureWrong: the token's answer does not verify against the registered public key; it was not released.
	ErrSignatureWrong = errors.New("the token's signature does not verify and was not released")
	// ErrKeyUse: the key's algorithm or purpose does not allow this use.
	ErrKeyUse = errors.New("the key is not for this use")
	// ErrTokenGone: the token is away; it is hsm.ErrTokenGone under the name that higher floors may say.
	ErrTokenGone = hsm.ErrTokenGone
	// ErrTokenInterrupted: the token's worker process ended while the call was in it; a new one serves the next.
	ErrTokenInterrupted = hsm.ErrInterrupted
	// ErrTokenBusy: every session is in use and the deadline came first.
	ErrTokenBusy = hsm.ErrBusy
	// ErrPINLatched: a wrong PIN latched the login; an operator must clear it.
	ErrPINLatched = hsm.ErrPINLatched
	// ErrLoggedOut: the login was lost.
	ErrLoggedOut = hsm.ErrLoggedOut
)

var (
	records = &store.Collection{Name: "key", Codec: 1, Indexes: []store.Index{
		{Name: "purpose", Keys: field(func(r record) string { return string(r.Purpose) })},
		{Name: "ref", Keys: field(func(r record) string { return r.Ref })}}}
	intents = &store.Collection{Name: "key-intent", Codec: 1}
)

// Collections lists what this package stores.
func Collections() []*store.Collection {
	return []*store.Collection{records, intents, certificates, wrappedKeys, keks, outsideKeys, outsidePoints}
}

// record is a key as stored: written once, in the commit that releases what the key was made for.
type record struct {
	ID        ID            `json:"id"`
	Purpose   Purpose       `json:"purpose"`
	Label     string        `json:"label"`
	Algorithm hsm.Algorithm `json:"algorithm"`
	Ref       string        `json:"ref"` // the order or ceremony it was born for
	Birth     hsm.Birth     `json:"birth"`
	Wrapped   *envelope     `json:"wrapped,omitempty"` // nil: the key is resident
	Copies    []hsm.Birth   `json:"copies,omitempty"`  // evidence of the same key in other tokens, of a KEK and its binding key alone
	Abroad    *abroad       `json:"abroad,omitempty"`  // of a key in its owner's token
	Retired   *time.Time    `json:"retired,omitempty"` // another took its place; it is still in the token
	Destroyed *time.Time    `json:"destroyed,omitempty"`
}

func field(of func(record) string) func([]byte) ([][]byte, error) {
	return func(b []byte) ([][]byte, error) {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, err
		}
		if v := of(r); v != "" {
			return [][]byte{[]byte(v)}, nil
		}
		return nil, nil
	}
}

// cached bounds the keys kept in memory; a wrapped one takes some 3 kB of the process. Reading one again costs a tenth of opening it.
const cached = 20_000

// Keystore is custody over one or several tokens and one store. Safe for concurrent use.
type Keystore struct {
	homes homes
	st    store.Store
	log   *slog.Logger
	mu    sync.RWMutex
	hot   map[ID]*Key
	wraps wraps

	keepers keepers
}

// Want is a key to be made.
type Want struct {
	Purpose   Purpose
	Label     string // ASCII, shown by token tools
	Algorithm hsm.Algorithm
}

// Intent is a durable promise that a key of this identifier may appear in the token. Until it becomes a key, a start may destroy the object.
type Intent struct {
	ID        ID            `json:"id"`
	Purpose   Purpose       `json:"purpose"`
	Label     string        `json:"label"`
	Algorithm hsm.Algorithm `json:"algorithm"`
	Ref       string        `json:"ref"`
	Custody   Custody       `json:"custody,omitempty"` // empty: resident
	Since     time.Time     `json:"since"`
	Actor     audit.Actor   `json:"actor"` // who asked for it
	// Token is the serial of the token that the key is born in; empty in records from before there were several.
	Token string `json:"token,omitempty"`
	// Copies are the serials of other tokens that a ceremony carries the key into.
	Copies []string `json:"copies,omitempty"`
	// Abandoned is set, durably, before a start destroys the object: from then on no commit can turn the intent into a key.
	Abandoned *time.Time `json:"abandoned,omitempty"`
	version   store.Version
}

// Intend writes the intents of wants in one commit, before any key exists (law 12). ref names what they are for, an order or a ceremony.
func (k *Keystore) Intend(ctx context.Context, req *store.Request, actor audit.Actor, ref string, wants ...Want) ([]Intent, error) {
	if len(wants) == 0 {
		return nil, fmt.Errorf("no key is wanted for %s: %w", ref, ErrKeyUse)
	}
	h, err := k.homes.birthplace(ctx, wants, k.fit(ctx, wants))
	if err != nil {
		return nil, fmt.Errorf("choosing a token for the keys of %s: %w", ref, err)
	}
	var ins []Intent
	for _, w := range wants {
		in := Intent{ID: newID(), Purpose: w.Purpose, Label: w.Label, Algorithm: w.Algorithm, Ref: ref, Since: now(), Actor: actor, Token: h.Serial, version: 1}
		if k.custodyOf(w.Purpose) == Wrapped {
			in.Custody = Wrapped
		}
		ins = append(ins, in)
	}
	return ins, k.intend(ctx, req, actor, ref, ins)
}

// intend writes intents in one commit.
func (k *Keystore) intend(ctx context.Context, req *store.Request, actor audit.Actor, ref string, ins []Intent) error {
	m := store.Mutation{Request: req}
	for _, in := range ins {
		value, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding key intent: %w", err)
		}
		m.Expect = append(m.Expect, store.Expect{Collection: intents, Key: in.ID[:]})
		m.Put = append(m.Put, store.Put{Collection: intents, Key: in.ID[:], Value: value})
	}
	body, err := audit.Event{Kind: audit.KindKeyIntent, Actor: actor, Subject: ref, Detail: ins}.Body()
	if err != nil {
		return err
	}
	m.Audit = [][]byte{body}
	if _, err = k.st.Commit(ctx, m); err != nil {
		return fmt.Errorf("recording key intents for %s: %w", ref, err)
	}
	return nil
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func newID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// Draft is what turns an intent into a key; it must enter the caller's releasing commit.
type Draft struct {
	Put    []store.Put
	Expect []store.Expect
	Audit  [][]byte
	Spend  []store.Spend // of a place under a KEK

	serial string // of the token of birth
}

const birthWait = time.Minute

// Generate has the token make the key of an intent. The key can sign at once (a proof of possession, its own certificate), but exists for
// later only when the draft is committed. A generation that has begun is seen through though the caller leaves, and one that fails is
// cleaned up after: an object left behind would hold its label until the next start.
func (k *Keystore) Generate(ctx context.Context, in Intent) (*Key, Draft, error) {
	through, cancel := context.WithTimeout(context.WithoutCancel(ctx), birthWait)
	defer cancel()
	h := k.homes.of(in.Token)
	r, spend, err := k.bear(through, h, in)
	if err != nil {
		if !errors.Is(err, hsm.ErrExists) {
			if derr := h.destroy(through, in.ID); derr != nil && !errors.Is(derr, hsm.ErrNotFound) {
				err = fmt.Errorf("%w (and destroying what may be left: %w)", err, derr)
			}
		}
		return nil, Draft{}, fmt.Errorf("generating %s key %s: %w", in.Purpose, in.ID, err)
	}
	key, err := k.key(r)
	if err != nil {
		return nil, Draft{}, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, Draft{}, fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyBirth, Actor: in.Actor, Subject: in.ID.String(), Detail: r.logged()}.Body()
	if err != nil {
		return nil, Draft{}, err
	}
	return key, Draft{
		Put:    []store.Put{{Collection: r.custody().collection(), Key: in.ID[:], Value: value}, {Collection: intents, Key: in.ID[:]}},
		Expect: []store.Expect{{Collection: r.custody().collection(), Key: in.ID[:]}, {Collection: intents, Key: in.ID[:], Version: in.version}},
		Audit:  [][]byte{body},
		Spend:  spend,
		serial: r.Birth.Token.Serial,
	}, nil
}

// Create makes one key of the appliance's own: intent, birth, commit.
func (k *Keystore) Create(ctx context.Context, actor audit.Actor, w Want) (*Key, error) {
	ins, err := k.Intend(ctx, nil, actor, "appliance/"+string(w.Purpose), w)
	if err != nil {
		return nil, err
	}
	key, d, err := k.Generate(ctx, ins[0])
	if err != nil {
		return nil, err
	}
	// From here on the key exists: a caller who leaves must not leave it behind without its record.
	ctx = context.WithoutCancel(ctx)
	if _, err := k.st.Commit(ctx, store.Mutation{Put: d.Put, Expect: d.Expect, Spend: d.Spend, Audit: d.Audit}); err != nil {
		return nil, errors.Join(fmt.Errorf("recording %s key: %w", w.Purpose, err), k.takeBack(ctx, key, err))
	}
	return key, nil
}

// takeBack destroys a key whose record was refused. When the record's outcome is not known the key stays: the next start compares.
func (k *Keystore) takeBack(ctx context.Context, key *Key, err error) error {
	if errors.Is(err, store.ErrUnknownOutcome) {
		return nil
	}
	if key.wrapped != nil {
		return nil // it is nowhere
	}
	return key.home.lose(ctx, key.id)
}

// Key returns a key by identifier, from memory when it was used before. A destroyed key is ErrKeyNotFound.
func (k *Keystore) Key(ctx context.Context, id ID) (*Key, error) {
	k.mu.RLock()
	key := k.hot[id]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	r, err := k.living(ctx, id)
	if err != nil {
		return nil, err
	}
	if key, err = k.key(r); err != nil {
		return nil, err
	}
	k.keep(key)
	return key, nil
}

func (k *Keystore) keep(key *Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.hot) >= cached {
		for id := range k.hot { // map order is random enough to forget by
			delete(k.hot, id)
			break
		}
	}
	k.hot[key.id] = key
}

func (k *Keystore) record(ctx context.Context, id ID) (record, store.Version, error) {
	r, v, err := k.stored(ctx, records, id)
	if errors.Is(err, ErrKeyNotFound) {
		r, v, err = k.stored(ctx, wrappedKeys, id)
	}
	if errors.Is(err, ErrKeyNotFound) {
		r, v, err = k.stored(ctx, outsideKeys, id)
	}
	return r, v, err
}

// stored reads a record of one custody.
func (k *Keystore) stored(ctx context.Context, c *store.Collection, id ID) (record, store.Version, error) {
	var r record
	it, err := k.st.Get(ctx, c, id[:])
	if errors.Is(err, store.ErrNotFound) {
		return r, 0, fmt.Errorf("key %s: %w", id, ErrKeyNotFound)
	}
	if err != nil {
		return r, 0, fmt.Errorf("reading key %s: %w", id, err)
	}
	if err := json.Unmarshal(it.Value, &r); err != nil {
		return r, 0, fmt.Errorf("reading key %s: %w: %w", id, store.ErrCorrupt, err)
	}
	return r, it.Version, nil
}

// Birth returns the evidence of a key's generation.
func (k *Keystore) Birth(ctx context.Context, id ID) (hsm.Birth, error) {
	r, _, err := k.record(ctx, id)
	return r.Birth, err
}

// ByPurpose returns the one living key of an appliance purpose; ErrKeyNotFound when there is none or more than one.
func (k *Keystore) ByPurpose(ctx context.Context, p Purpose) (*Key, error) {
	var found []ID
	err := k.each(ctx, records, "purpose", []byte(p), func(r record) bool {
		if r.Purpose == p && r.Destroyed == nil && r.Retired == nil {
			found = append(found, r.ID)
		}
		return len(found) < 2
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the %s key: %w", p, err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d keys of purpose %s: %w", len(found), p, ErrKeyNotFound)
	}
	return k.Key(ctx, found[0])
}

// OfRef returns the living keys that were born for an order or a ceremony.
func (k *Keystore) OfRef(ctx context.Context, ref string) ([]*Key, error) {
	var ids []ID
	take := func(r record) bool {
		if r.Ref == ref && r.Destroyed == nil {
			ids = append(ids, r.ID)
		}
		return true
	}
	if err := errors.Join(k.each(ctx, records, "ref", []byte(ref), take), k.each(ctx, wrappedKeys, "ref", []byte(ref), take)); err != nil {
		return nil, fmt.Errorf("looking for the keys of %s: %w", ref, err)
	}
	keys := make([]*Key, 0, len(ids))
	for _, id := range ids {
		key, err := k.Key(ctx, id)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// each walks key records until f returns false.
func (k *Keystore) each(ctx context.Context, c *store.Collection, index string, prefix []byte, f func(record) bool) error {
	for cursor := ""; ; {
		page, err := k.st.List(ctx, c, index, prefix, cursor, 500)
		if err != nil {
			return fmt.Errorf("reading keys: %w", err)
		}
		for _, it := range page.Items {
			var r record
			if err := json.Unmarshal(it.Value, &r); err != nil {
				return fmt.Errorf("reading keys: %w: %w", store.ErrCorrupt, err)
			}
			if !f(r) {
				return nil
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
