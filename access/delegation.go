package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/store"
)

// Registered is a delegation on file: the signed bytes whole, and what they were checked against.
type Registered struct {
	SignedDelegation
	USCC      string        `json:"uscc"`
	DeviceKey []byte        `json:"device_key"`     // uncompressed point of the key that signed
	Binding   store.Version `json:"device_version"` // of the device; binding another device ends the delegation
	Since     time.Time     `json:"since"`
	Withdrawn string        `json:"withdrawn,omitempty"` // reason, once withdrawn
}

// Delegations is the collection of registered delegations, keyed by ID, indexed by client.
var Delegations = &store.Collection{Name: "delegation", Codec: 1, Indexes: []store.Index{indexBy("client", clientOf)}}

// Counter is the name under which the delegation's count is spent.
func (s SignedDelegation) Counter() string { return "delegation/" + s.ID }

// errNoDelegation is the same for a delegation that does not exist and for one of another client or seal.
var errNoDelegation = fmt.Errorf("no such delegation of this client for this seal: %w", ErrDelegationOutOfBounds)

// Delegate registers a delegation signed by the owner's bound device. ErrNotEntitled (also for an unknown seal, joined with
// ErrApprovalAltered), ErrApprovalForm, ErrDelegationRefused, ErrDelegationOutOfBounds when its window is over, ErrDelegationExists.
func (a *Access) Delegate(ctx context.Context, req *store.Request, actor Actor, sd SignedDelegation) (store.Receipt, error) {
	if err := a.Allow(actor, DelegationPut, Resource{Client: sd.Client}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	reg, expect, err := a.judge(ctx, sd)
	if err != nil {
		return store.Receipt{}, err
	}
	if _, err := a.st.Get(ctx, Delegations, []byte(sd.ID)); err == nil {
		return store.Receipt{}, fmt.Errorf("delegation %q: %w", sd.ID, ErrDelegationExists)
	}
	ch := Change{Expect: expect}
	if err := errors.Join(ch.write(Delegations, sd.ID, 0, reg), ch.record("delegation", actor.Audit(), sd.ID, reg)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// judge checks form, signer and bounds of a new delegation.
func (a *Access) judge(ctx context.Context, sd SignedDelegation) (Registered, []store.Expect, error) {
	d, err := sd.Delegation()
	if err != nil {
		return Registered{}, nil, err
	}
	msg, err := d.Canonical()
	if err != nil {
		return Registered{}, nil, err
	}
	if !cleanList(d.Purposes, 64) || !cleanList(d.Kinds, 16) {
		return Registered{}, nil, fmt.Errorf("purposes and kinds are sorted clean text: %w", ErrApprovalForm)
	}
	owner, err := a.cfg.Owner(ctx, d.Seal)
	if errors.Is(err, store.ErrNotFound) {
		return Registered{}, nil, errNotOwners
	} else if err != nil {
		return Registered{}, nil, err
	}
	dev, version, err := a.bound(ctx, owner.USCC)
	if errors.Is(err, ErrNoDevice) || err == nil && (sd.Alg != dev.Alg || !dev.key.verify(msg, sd.Signature)) {
		return Registered{}, nil, errNotOwners
	} else if err != nil {
		return Registered{}, nil, err
	}
	switch now := a.now(); {
	case owner.SealType == LegalRepresentative:
		return Registered{}, nil, ErrDelegationRefused
	case now.After(d.Expires):
		return Registered{}, nil, fmt.Errorf("its window is over: %w", ErrDelegationOutOfBounds)
	default:
		reg := Registered{SignedDelegation: sd, USCC: owner.USCC, DeviceKey: dev.Key, Binding: version, Since: now.Truncate(time.Second)}
		return reg, []store.Expect{{Collection: Devices, Key: []byte(owner.USCC), Version: version}}, nil
	}
}

// WithdrawDelegation ends a delegation. Repeating it changes nothing.
func (a *Access) WithdrawDelegation(ctx context.Context, req *store.Request, actor Actor, id, reason string) (store.Receipt, error) {
	if err := a.Allow(actor, DelegationCancel, Resource{}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	if !cleanText(reason, 128) {
		return store.Receipt{}, fmt.Errorf("reason of the withdrawal: %w", ErrApprovalForm)
	}
	d, v, err := a.delegation(ctx, id)
	if errors.Is(err, ErrDelegationOutOfBounds) {
		return store.Receipt{}, fmt.Errorf("delegation %q: %w", id, ErrUnknown)
	} else if err != nil || d.Withdrawn != "" {
		return store.Receipt{}, err
	}
	d.Withdrawn = reason
	var ch Change
	if err := errors.Join(ch.write(Delegations, id, v, d), ch.record("delegation", actor.Audit(), id, d)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// DelegationsPage lists the delegations of one client, or of all when client is empty; a department sees its own.
func (a *Access) DelegationsPage(ctx context.Context, actor Actor, client, cursor string, limit int) ([]Registered, string, error) {
	if err := a.Allow(actor, DelegationRead, Resource{Client: client}); err != nil {
		return nil, "", err
	}
	return listOf(ctx, a, Delegations, &a.delegations, client, cursor, limit)
}

// delegation reads one, or errNoDelegation.
func (a *Access) delegation(ctx context.Context, id string) (Registered, store.Version, error) {
	d, v, err := read(ctx, a, Delegations, &a.delegations, id)
	if errors.Is(err, store.ErrNotFound) {
		return d, 0, errNoDelegation
	}
	return d, v, err
}

// of reports whether the delegation is this client's for this seal.
func (r Registered) of(w Want) bool {
	return r.Seal == w.Seal && r.Client == w.Client && r.USCC == w.USCC
}

// CheckDelegation verifies that a registered delegation covers the wanted use. ErrDelegationOutOfBounds, ErrDelegationRefused,
// ErrDelegationSpent. Its count is spent by the releasing commit.
func (a *Access) CheckDelegation(ctx context.Context, id string, w Want) (Cleared, error) {
	d, version, err := a.delegation(ctx, id)
	if err != nil {
		return Cleared{}, err
	}
	if !d.of(w) {
		return Cleared{}, errNoDelegation
	}
	if w.SealType == LegalRepresentative {
		return Cleared{}, ErrDelegationRefused
	}
	_, binding, err := a.Device(ctx, w.USCC)
	if err != nil {
		return Cleared{}, err
	}
	if out := d.outOfBounds(w, binding); out != "" {
		return Cleared{}, fmt.Errorf("%s: %w", out, ErrDelegationOutOfBounds)
	}
	if spent, err := a.st.Counter(ctx, d.Counter()); err != nil {
		return Cleared{}, err
	} else if spent >= d.Count {
		return Cleared{}, ErrDelegationSpent
	}
	ev, err := json.Marshal(Evidence{Delegation: id})
	return Cleared{
		Spend: []store.Spend{{Counter: d.Counter(), N: 1, Limit: d.Count}},
		Expect: []store.Expect{
			{Collection: Delegations, Key: []byte(id), Version: version},
			{Collection: Devices, Key: []byte(w.USCC), Version: binding},
		},
		Evidence: ev,
	}, err
}

func (r Registered) outOfBounds(w Want, binding store.Version) string {
	switch {
	case r.Withdrawn != "":
		return "withdrawn"
	case r.Binding != binding:
		return "the owner has bound another device since"
	case !slices.Contains(r.Kinds, w.Kind):
		return "another kind of document"
	case !slices.Contains(r.Purposes, w.Purpose):
		return "another purpose"
	case w.Now.Before(r.NotBefore), w.Now.After(r.Expires):
		return "outside its window"
	default:
		return ""
	}
}
