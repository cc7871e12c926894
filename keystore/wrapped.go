package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sealkeeper/hsm"
	"sealkeeper/keystore/store"
)

// Custody is where a private key is kept.
type Custody string

// Resident keys stay in the token. Wrapped keys are kept in the store, encrypted by a KEK of the token and bound to what the store says of
// them; the token opens one as a session object to use it.
const (
	Resident Custody = "resident"
	Wrapped  Custody = "wrapped"
)

// The purposes of the keys behind wrapped ones. They come in pairs, by ceremony.
const (
	PurposeKEK    Purpose = "kek"
	PurposeBinder Purpose = "kek-binder"
)

var (
	// ErrBlob: what the store holds of a wrapped key is cut, altered, or another key's. Nothing was signed.
	ErrBlob = hsm.ErrBlob
	// ErrUnproven: nobody has shown that the token's module wraps such keys and opens them again.
	ErrUnproven = hsm.ErrUnproven
	// ErrNotExtractable: a key was born so that no call to the token gets it out, not even wrapped.
	ErrNotExtractable = errors.New("the key was born non-extractable and stays in its token")
)

// wrappedKeys are apart from records: there may be millions, and a start compares records with the token one by one.
var wrappedKeys = &store.Collection{Name: "wrapped-key", Codec: 1, Indexes: []store.Index{
	{Name: "ref", Keys: field(func(r record) string { return r.Ref })},
	{Name: "kek", Keys: field(record.livesUnder)}}}

// envelope is a wrapped key as stored. What it is bound to stands in the record around it, and is taken from there whenever the key is used: an
// envelope that was moved into another record does not open.
type envelope struct {
	hsm.Wrapping
	Policy    int    `json:"policy"` // version of the binding
	Mechanism string `json:"mechanism"`
	Nonce     []byte `json:"nonce"`
	Blob      []byte `json:"blob,omitempty"` // gone when the key was destroyed
}

const bindingPolicy = 1

func (r record) livesUnder() string {
	if r.Wrapped == nil || r.Destroyed != nil {
		return ""
	}
	return r.Wrapped.KEK.String()
}

// custody tells where a record's key is.
func (r record) custody() Custody {
	switch {
	case r.Wrapped != nil:
		return Wrapped
	case r.Abroad != nil:
		return Outside
	}
	return Resident
}

// collection is where a record of its custody is stored.
func (c Custody) collection() *store.Collection {
	switch c {
	case Wrapped:
		return wrappedKeys
	case Outside:
		return outsideKeys
	}
	return records
}

// context is what a wrapped key is bound to besides its identifier, algorithm, public half and wrapping keys.
func (r record) context(policy int) string {
	b, err := json.Marshal([]any{policy, r.Purpose, r.Label, r.Ref})
	if err != nil {
		panic("key context: " + err.Error()) // strings and numbers always encode
	}
	return string(b)
}

// message is the wrapped key as the token is given it.
func (r record) message() *hsm.Wrapped {
	e := r.Wrapped
	if e == nil {
		return nil
	}
	return &hsm.Wrapped{Key: r.ID, Algorithm: r.Algorithm, Public: r.Birth.Public, Context: r.context(e.Policy), Wrapping: e.Wrapping,
		Mechanism: e.Mechanism, Nonce: e.Nonce, Blob: e.Blob}
}

func enclose(w hsm.Wrapped) *envelope {
	return &envelope{Wrapping: w.Wrapping, Policy: bindingPolicy, Mechanism: w.Mechanism, Nonce: w.Nonce, Blob: w.Blob}
}

// logged is the record as the log tells it: without the blob, since a log is kept for ever and keys are destroyed.
func (r record) logged() record {
	if r.Wrapped != nil {
		e := *r.Wrapped
		e.Blob = nil
		r.Wrapped = &e
	}
	return r
}

// WrappingPolicy says which keys are born wrapped, and how many share a KEK.
type WrappingPolicy struct {
	Purposes []Purpose
	// KeysPerKEK bounds the births under one KEK, and so what its loss or a weakness of it costs. Zero means 50,000.
	KeysPerKEK int
}

const defaultKeysPerKEK = 50_000

// UseWrapping sets the policy for births from now on; keys that exist stay in the custody they were born in. Without it all keys are
// born resident. The daemon calls it before it serves.
func (k *Keystore) UseWrapping(p WrappingPolicy) error {
	for _, purpose := range p.Purposes {
		if purpose != PurposeSeal && purpose != PurposeDocument {
			return fmt.Errorf("wrapped custody of %s keys: they are few and stay in the token: %w", purpose, ErrKeyUse)
		}
	}
	if p.KeysPerKEK < 0 {
		return fmt.Errorf("%d keys under one KEK: %w", p.KeysPerKEK, ErrKeyUse)
	}
	if p.KeysPerKEK == 0 {
		p.KeysPerKEK = defaultKeysPerKEK
	}
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	k.wraps.policy, k.wraps.room = p, nil
	return nil
}

// custodyOf is the custody that a key of a purpose is born in.
func (k *Keystore) custodyOf(p Purpose) Custody {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	if slices.Contains(k.wraps.policy.Purposes, p) {
		return Wrapped
	}
	return Resident
}

// bear has the token make the key of an intent, in its custody.
func (k *Keystore) bear(ctx context.Context, h *home, in Intent) (record, []store.Spend, error) {
	r := record{ID: in.ID, Purpose: in.Purpose, Label: in.Label, Algorithm: in.Algorithm, Ref: in.Ref}
	req := hsm.GenerateRequest{ID: in.ID, Label: in.Label, Algorithm: in.Algorithm}
	if in.Custody != Wrapped {
		birth, err := h.generate(ctx, req)
		r.Birth = birth
		return r, nil, err
	}
	kek, spend, err := k.room(ctx, h)
	if err != nil {
		return r, nil, err
	}
	b, err := h.generateWrapped(ctx, hsm.WrapRequest{GenerateRequest: req, Wrapping: kek.wrapping(), Context: r.context(bindingPolicy)})
	if err != nil {
		return r, nil, err
	}
	if b.Birth.ID != in.ID || b.Wrapped.Key != in.ID || b.Wrapped.Wrapping != kek.wrapping() || !bytes.Equal(b.Birth.Public, b.Wrapped.Public) {
		return r, nil, fmt.Errorf("the token answered for another key: %w", ErrBlob)
	}
	h.wrapped.Add(1)
	r.Birth, r.Wrapped = b.Birth, enclose(b.Wrapped)
	return r, []store.Spend{spend}, nil
}

// MoveToWrapped refuses, and says why: a resident key was born so that it cannot be wrapped. Its seal's next reissue bears a wrapped one.
func (k *Keystore) MoveToWrapped(ctx context.Context, id ID) error {
	r, err := k.living(ctx, id)
	if err != nil {
		return err
	}
	if r.Abroad != nil {
		return fmt.Errorf("key %s: %w", id, ErrOutside)
	}
	if r.Wrapped != nil {
		return fmt.Errorf("key %s is wrapped already: %w", id, ErrKeyUse)
	}
	now, err := k.homes.of(r.Birth.Token.Serial).attributes(ctx, id)
	if err != nil {
		return fmt.Errorf("reading attributes of key %s: %w", id, err)
	}
	for _, a := range now {
		if a.Name == "CKA_EXTRACTABLE" && a.Value != "false" {
			return fmt.Errorf("key %s reads CKA_EXTRACTABLE %s though it was born otherwise (law 1): %w", id, a.Value, ErrKeyUse)
		}
	}
	return fmt.Errorf("moving key %s of %s to wrapped custody: CKA_EXTRACTABLE is false and cannot be set; reissue the seal to have its next key wrapped: %w",
		id, r.Ref, ErrNotExtractable)
}

// living reads the record of a key that was not destroyed.
func (k *Keystore) living(ctx context.Context, id ID) (record, error) {
	r, _, err := k.record(ctx, id)
	if err == nil && r.Destroyed != nil {
		err = fmt.Errorf("key %s was destroyed %s: %w", id, r.Destroyed.Format("2006-01-02"), ErrKeyNotFound)
	}
	return r, err
}

// KindKeyRewrapped is a batch of keys that moved from one KEK to another; its detail names them.
const KindKeyRewrapped = "keys-rewrapped"

// rewrapped is the detail of a keys-rewrapped record.
type rewrapped struct {
	From ID   `json:"from"`
	To   ID   `json:"to"`
	Keys []ID `json:"keys"`
}
