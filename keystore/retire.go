package keystore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// certificates holds the certificate of a key that a ceremony made, by key identifier; those of the first keys are files.
var certificates = &store.Collection{Name: "key-certificate", Codec: 1}

// Retire is the change with which another key takes the place of the living one of an appliance purpose, for the commit that brings the other. The old
// one stays in the token until a ceremony destroys it. ErrKeyNotFound when there is none.
func (k *Keystore) Retire(ctx context.Context, p Purpose, actor audit.Actor, ref string) (Draft, error) {
	old, err := k.ByPurpose(ctx, p)
	if err != nil {
		return Draft{}, err
	}
	r, v, err := k.record(ctx, old.id)
	if err != nil {
		return Draft{}, err
	}
	t := now()
	r.Retired = &t
	value, err := json.Marshal(r)
	if err != nil {
		return Draft{}, fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyRetired, Actor: actor, Subject: old.id.String(), Detail: struct {
		Purpose Purpose `json:"purpose"`
		Ref     string  `json:"ref"`
	}{p, ref}}.Body()
	if err != nil {
		return Draft{}, err
	}
	return Draft{Put: []store.Put{{Collection: records, Key: old.id[:], Value: value}},
		Expect: []store.Expect{{Collection: records, Key: old.id[:], Version: v}}, Audit: [][]byte{body}}, nil
}

// Certified adds a key's certificate to the commit that brings the key.
func Certified(id ID, der []byte) store.Put {
	return store.Put{Collection: certificates, Key: append([]byte(nil), id[:]...), Value: der}
}

// Certificate returns the certificate of a key that a ceremony made; ErrNotFound for every other key.
func (k *Keystore) Certificate(ctx context.Context, id ID) ([]byte, error) {
	it, err := k.st.Get(ctx, certificates, id[:])
	if err != nil {
		return nil, fmt.Errorf("certificate of key %s: %w", id, err)
	}
	return it.Value, nil
}

// Own lists the purposes of the appliance's own keys, of which there are few; keys of impressions and seals are not among them.
func Own() []Purpose {
	return []Purpose{PurposeSM2Root, PurposeSM2Issuing, PurposeMaker, PurposeAudit, PurposeTLSRoot, PurposeTLSClient, PurposeTSASM2, PurposeTSAP256, PurposeStatement, PurposeKEK, PurposeBinder}
}

// Listed is a key as officers see it.
type Listed struct {
	ID        ID            `json:"id"`
	Purpose   Purpose       `json:"purpose"`
	Label     string        `json:"label"`
	Algorithm hsm.Algorithm `json:"algorithm"`
	Ref       string        `json:"ref"`
	Retired   *time.Time    `json:"retired,omitempty"`
	Destroyed *time.Time    `json:"destroyed,omitempty"`
}

func (r record) listed() Listed {
	return Listed{r.ID, r.Purpose, r.Label, r.Algorithm, r.Ref, r.Retired, r.Destroyed}
}

// Describe returns what is on record of a key, in whatever state. ErrKeyNotFound.
func (k *Keystore) Describe(ctx context.Context, id ID) (Listed, error) {
	r, _, err := k.record(ctx, id)
	return r.listed(), err
}

// OfPurpose lists every key that ever was of a purpose, the living and the others.
func (k *Keystore) OfPurpose(ctx context.Context, p Purpose) ([]Listed, error) {
	var all []Listed
	err := k.each(ctx, records, "purpose", []byte(p), func(r record) bool {
		if r.Purpose == p {
			all = append(all, r.listed())
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("looking for %s keys: %w", p, err)
	}
	return all, nil
}

// Former returns the retired keys of a purpose that are not destroyed.
func (k *Keystore) Former(ctx context.Context, p Purpose) ([]*Key, error) {
	all, err := k.OfPurpose(ctx, p)
	if err != nil {
		return nil, err
	}
	var former []*Key
	for _, l := range all {
		if l.Retired == nil || l.Destroyed != nil {
			continue
		}
		key, err := k.Key(ctx, l.ID)
		if err != nil {
			return nil, err
		}
		former = append(former, key)
	}
	return former, nil
}

// Compare compares key records with the tokens' objects and changes nothing: Orphans, Missing and Away. It may run while keys are made: what is missing
// was missing twice, since a key that is born between the looks is seen by the second.
func (k *Keystore) Compare(ctx context.Context) (Reconciliation, error) {
	r, err := k.compareOnce(ctx)
	if err != nil || len(r.Missing) == 0 {
		return r, err
	}
	again, err := k.compareOnce(ctx)
	again.Missing = slices.DeleteFunc(again.Missing, func(id ID) bool { return !slices.Contains(r.Missing, id) })
	return again, err
}

func (k *Keystore) compareOnce(ctx context.Context) (r Reconciliation, err error) {
	found, err := k.list(ctx, &r)
	if err != nil {
		return r, err
	}
	open, err := k.openIntents(ctx)
	if err != nil {
		return r, err
	}
	return r, k.compare(ctx, found, open, &r)
}

// Orphans lists the keys that no living record and no intent of this store claims, in the tokens that are there. Only a ceremony destroys one (law 12).
func (k *Keystore) Orphans(ctx context.Context) ([]Orphan, error) {
	found, err := k.list(ctx, &Reconciliation{})
	if err != nil {
		return nil, err
	}
	open, err := k.openIntents(ctx)
	if err != nil {
		return nil, err
	}
	claimed := map[place]bool{}
	for _, in := range open {
		claimed[place{k.homes.at(in.Token), in.ID}] = true
	}
	orphans := []Orphan{}
	for h, objects := range found {
		for _, o := range objects {
			at := place{h, o.ID}
			if o.Class != "private" && o.Class != "secret" || claimed[at] {
				continue
			}
			ours, err := k.livesAt(ctx, at)
			if err != nil {
				return nil, err
			}
			if !ours {
				orphans = append(orphans, Orphan{o, h.Serial})
			}
		}
	}
	return orphans, nil
}
