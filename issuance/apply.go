package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

var (
	// ErrNothingToApply: the enterprise has, or has ordered, every seal of its set.
	ErrNothingToApply = errors.New("every seal of the set is there or ordered")
	// ErrNoNotices: no system that tells enterprises is connected.
	ErrNoNotices = errors.New("no notice system is connected")
)

// MaxInvited bounds one list of invitations.
const MaxInvited = 1000

// Apply opens an order without an event, for an enterprise that is older than the library or lacks seals of its set: its responsible person applies,
// authenticated by the national e-licence system as for a collection. The assertion is spent; no device is bound by it. Errors: the assertion's
// (package access), ErrNotResponsible, ErrLicenceInactive, ErrNothingToApply, licence.ErrUnknown, access.ErrNotEntitled.
func (i *Issuance) Apply(ctx context.Context, req *keystore.Request, actor access.Actor, uscc string, env envelope.Envelope) (register.Order, error) {
	if err := i.Access.Allow(actor, access.OrderApply, access.Resource{}); err != nil {
		return register.Order{}, err
	}
	i.applying.Lock() // two applications at once would not see each other's order
	defer i.applying.Unlock()
	var before register.Order
	if _, done, err := i.answered(ctx, req, audit.KindOrder, &before); done || err != nil {
		return before, err
	}
	return again(ctx, func(ctx context.Context) (register.Order, error) { return i.apply(ctx, req, actor, uscc, env) })
}

func (i *Issuance) apply(ctx context.Context, req *keystore.Request, actor access.Actor, uscc string, env envelope.Envelope) (register.Order, error) {
	bound, err := i.Access.Bind(ctx, env, i.cfg.ELicence, uscc)
	if err != nil {
		return register.Order{}, err
	}
	l, at, err := i.Library.Current(ctx, uscc)
	switch {
	case err != nil:
		return register.Order{}, err
	case !l.Status.Effect().SealUse:
		return register.Order{}, fmt.Errorf("licence %s is %s: %w", uscc, l.Status, ErrLicenceInactive)
	case bound.From.Person != l.LegalRep:
		return register.Order{}, fmt.Errorf("assertion %.64q: %w", bound.From.ID, ErrNotResponsible)
	}
	types, err := i.lacking(ctx, uscc)
	if err != nil {
		return register.Order{}, err
	}
	o, d, err := register.NewOrder("application-"+bound.From.ID, uscc, l.Name, l.Version, i.cfg.Release, register.Wanted(types...),
		register.Change{Actor: actor.Audit(), Reason: register.ReasonOwnerRequest, Evidence: bound.From.ID, Time: i.now()})
	if err != nil {
		return o, err
	}
	told, err := i.tell(NoticeMessage{Kind: NoticeOrdered, USCC: uscc, Name: l.Name, Order: o.ID, Seals: len(types)})
	if err != nil {
		return o, err
	}
	evidence, err := audit.Event{Kind: "application", Actor: actor.Audit(), Subject: uscc, Detail: collectedRecord{Evidence: bound.Evidence}}.Body()
	if err != nil {
		return o, err
	}
	d.Add(told, register.Draft{Expect: []store.Expect{licence.Expect(uscc, at)}, Spend: bound.Spend, Audit: [][]byte{evidence}})
	if _, err := i.Store.Commit(ctx, d.Mutation(req)); errors.Is(err, store.ErrLimit) {
		return o, fmt.Errorf("%w: %w", access.ErrAssertionReplayed, err)
	} else if err != nil {
		return o, fmt.Errorf("application of %s: %w", uscc, err)
	}
	return o, nil
}

// lacking lists the types of an entity's set for which there is neither a seal nor an open order. ErrNothingToApply when there is none.
func (i *Issuance) lacking(ctx context.Context, uscc string) ([]string, error) {
	have := map[string]bool{}
	seals, err := i.Register.SealsOf(ctx, uscc)
	if err != nil {
		return nil, err
	}
	for _, s := range seals {
		if !s.State.Final() && !s.Institutional {
			have[s.Type] = true
		}
	}
	orders, err := i.Register.OrdersOf(ctx, uscc)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		if !o.State.Open() {
			continue
		}
		for _, q := range o.Requests {
			if q.State == register.RequestAwaiting || q.State == register.RequestReceived {
				have[q.Type] = true
			}
		}
	}
	types := slices.DeleteFunc(slices.Clone(i.cfg.set(uscc)), func(t string) bool { return have[t] })
	if len(types) == 0 {
		return nil, fmt.Errorf("enterprise %s: %w", uscc, ErrNothingToApply)
	}
	return types, nil
}

// Invited answers a list of invitations.
type Invited struct {
	Invited int          `json:"invited"`
	Refused []NotInvited `json:"refused"`
}

// NotInvited is an enterprise that was not invited, and why.
type NotInvited struct {
	USCC string `json:"uscc"`
	Code string `json:"code"` // uscc-invalid, licence-unknown, licence-inactive, nothing-to-apply, named-twice
}

// Invite tells enterprises by list that they may apply for their seals, at most MaxInvited. Who needs no invitation is named and left out; the list
// and its answer are on record. Errors: ErrNoNotices, ErrResolution for a list out of bounds, access.ErrNotEntitled.
func (i *Issuance) Invite(ctx context.Context, req *keystore.Request, actor access.Actor, usccs []string) (Invited, error) {
	if err := i.Access.Allow(actor, access.OrderInvite, access.Resource{}); err != nil {
		return Invited{}, err
	}
	if !i.cfg.Notices {
		return Invited{}, ErrNoNotices
	}
	if len(usccs) == 0 || len(usccs) > MaxInvited {
		return Invited{}, fmt.Errorf("a list of %d enterprises: %w", len(usccs), ErrResolution)
	}
	out := Invited{Refused: []NotInvited{}}
	if _, done, err := i.answered(ctx, req, "invitation", &out); done || err != nil {
		return out, err
	}
	var d register.Draft
	seen := map[string]bool{}
	for _, uscc := range usccs {
		code, err := i.invite(ctx, &d, uscc, seen[uscc])
		if err != nil {
			return Invited{}, err
		}
		if seen[uscc] = true; code != "" {
			out.Refused = append(out.Refused, NotInvited{cut(uscc, 18), code})
			continue
		}
		out.Invited++
	}
	body, err := audit.Event{Kind: "invitation", Actor: actor.Audit(), Detail: struct {
		USCCs []string `json:"usccs"`
	}{usccs}, Result: out}.Body()
	if err != nil {
		return Invited{}, err
	}
	d.Audit = [][]byte{body}
	_, err = i.Store.Commit(ctx, d.Mutation(req))
	return out, err
}

// invite drafts one invitation, or says why there is none.
func (i *Issuance) invite(ctx context.Context, d *register.Draft, uscc string, twice bool) (code string, err error) {
	if _, err := licence.CheckUSCC(uscc); err != nil {
		return "uscc-invalid", nil
	}
	if twice {
		return "named-twice", nil
	}
	s, _, err := i.Library.Standing(ctx, uscc)
	switch {
	case errors.Is(err, licence.ErrUnknown):
		return "licence-unknown", nil
	case err != nil:
		return "", err
	case !s.Status.Effect().SealUse:
		return "licence-inactive", nil
	}
	types, err := i.lacking(ctx, uscc)
	if errors.Is(err, ErrNothingToApply) {
		return "nothing-to-apply", nil
	} else if err != nil {
		return "", err
	}
	told, err := i.tell(NoticeMessage{Kind: NoticeInvited, USCC: uscc, Name: s.Name, Seals: len(types)})
	d.Add(told)
	return "", err
}
