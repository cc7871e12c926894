package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// CollectOutcome answers a collection, or the binding of a device alone. It is kept in the record, so that the same request gets the
// same answer.
type CollectOutcome struct {
	USCC    string           `json:"uscc"`
	Order   string           `json:"order,omitempty"` // empty when only a device was bound
	Seals   []string         `json:"seals,omitempty"` // numbers of the seals that became active
	Device  string           `json:"device"`          // access.Device.KeyID of the bound key
	Person  string           `json:"person"`
	Role    string           `json:"role"`
	Receipt keystore.Receipt `json:"-"`
}

// collectedRecord is the detail of a collected record.
type collectedRecord struct {
	Evidence json.RawMessage `json:"evidence"`         // the signed assertion
	Person   json.RawMessage `json:"person,omitempty"` // the signed result of the real-name and face check
}

// Collect hands a made set over (领取): the national e-licence system's signed assertion names the responsible person and the device key,
// which is bound while the seals become active, in one commit. Errors: the assertion's (package access; a replay is
// access.ErrAssertionReplayed), ErrNotResponsible, ErrLicenceInactive, ErrNothingToCollect, ErrPersonNotConfirmed, ErrPersonUnavailable,
// register.ErrUnknown, access.ErrNotEntitled.
func (i *Issuance) Collect(ctx context.Context, req *keystore.Request, actor access.Actor, order string, env envelope.Envelope) (CollectOutcome, error) {
	if err := i.Access.Allow(actor, access.OrderCollect, access.Resource{}); err != nil {
		return CollectOutcome{}, err
	}
	var before CollectOutcome
	if r, done, err := i.answered(ctx, req, audit.KindCollected, &before); done || err != nil {
		before.Receipt = r
		return before, err
	}
	return again(ctx, func(ctx context.Context) (CollectOutcome, error) {
		o, at, err := i.Register.Order(ctx, order)
		if err != nil {
			return CollectOutcome{}, err
		}
		c, err := i.collect(ctx, req, actor, o, at, env)
		if errors.Is(err, ErrNothingToCollect) {
			err = i.overtaken(ctx, o.ID, at, err)
		}
		return c, err
	})
}

// overtaken turns a refusal that rests on an order read before another commit moved it into a conflict: order and seals were of two moments.
func (i *Issuance) overtaken(ctx context.Context, order string, at store.Version, refused error) error {
	if _, v, err := i.Register.Order(ctx, order); err == nil && v != at {
		return fmt.Errorf("%w: %w", store.ErrConflict, refused)
	}
	return refused
}

// Rebind binds another device of the responsible person without a set to collect: a new phone, or a new responsible person whose own
// seal is not ordered. Errors as of Collect.
func (i *Issuance) Rebind(ctx context.Context, req *keystore.Request, actor access.Actor, uscc string, env envelope.Envelope) (CollectOutcome, error) {
	if err := i.Access.Allow(actor, access.OrderCollect, access.Resource{}); err != nil {
		return CollectOutcome{}, err
	}
	var before CollectOutcome
	if r, done, err := i.answered(ctx, req, audit.KindCollected, &before); done || err != nil {
		before.Receipt = r
		return before, err
	}
	return again(ctx, func(ctx context.Context) (CollectOutcome, error) {
		return i.collect(ctx, req, actor, register.Order{USCC: uscc}, 0, env)
	})
}

func (i *Issuance) collect(ctx context.Context, req *keystore.Request, actor access.Actor, o register.Order, at store.Version,
	env envelope.Envelope) (CollectOutcome, error) {
	bound, err := i.Access.Bind(ctx, env, i.cfg.ELicence, o.USCC)
	if err != nil {
		return CollectOutcome{}, err
	}
	standing, version, err := i.Library.Standing(ctx, o.USCC)
	switch {
	case err != nil:
		return CollectOutcome{}, err
	case !standing.Status.Effect().SealUse:
		return CollectOutcome{}, fmt.Errorf("licence %s is %s: %w", o.USCC, standing.Status, ErrLicenceInactive)
	case bound.From.Person != standing.LegalRep:
		return CollectOutcome{}, fmt.Errorf("assertion %.64q: %w", bound.From.ID, ErrNotResponsible)
	}
	c := CollectOutcome{USCC: o.USCC, Order: o.ID, Device: bound.Device.KeyID(), Person: bound.From.Person, Role: bound.From.Role}
	handed, err := i.handOver(ctx, &c, o, at, register.Change{Actor: actor.Audit(), Reason: register.ReasonCollected,
		Evidence: bound.From.ID, Time: i.now()})
	if err != nil {
		return CollectOutcome{}, err
	}
	checked, err := i.confirmed(ctx, bound) // last: what is refused anyway asks nobody
	if err != nil {
		return CollectOutcome{}, err
	}
	body, err := audit.Event{Kind: audit.KindCollected, Actor: actor.Audit(), Subject: o.USCC, Detail: collectedRecord{bound.Evidence, checked}, Result: c}.Body()
	if err != nil {
		return CollectOutcome{}, err
	}
	d := register.Draft{Put: bound.Put, Expect: append(bound.Expect, licence.Expect(o.USCC, version)), Spend: bound.Spend, Audit: [][]byte{body}}
	told, err := i.tell(NoticeMessage{Kind: NoticeCollected, USCC: o.USCC, Name: standing.Name, Order: o.ID, Seals: len(c.Seals)})
	if err != nil {
		return CollectOutcome{}, err
	}
	d.Add(register.Draft{Audit: bound.Audit}, handed, told)
	c.Receipt, err = i.Store.Commit(ctx, d.Mutation(req))
	if errors.Is(err, store.ErrLimit) { // the same assertion at the same moment
		err = fmt.Errorf("%w: %w", access.ErrAssertionReplayed, err)
	}
	return c, err
}

// handOver activates what the order has made and nobody collected yet. Without an order there is nothing to hand over.
func (i *Issuance) handOver(ctx context.Context, c *CollectOutcome, o register.Order, at store.Version, change register.Change) (register.Draft, error) {
	var d register.Draft
	for _, q := range o.Requests {
		if q.State != register.RequestMade {
			continue
		}
		s, v, err := i.Register.Seal(ctx, q.ESID)
		if err != nil {
			return d, err
		}
		if s.State != register.Made && s.Before != register.Made {
			continue // collected before, or ended
		}
		sd, err := i.activate(ctx, s, v, change)
		if err != nil {
			return d, err
		}
		d.Add(sd)
		c.Seals = append(c.Seals, s.ESID)
	}
	switch {
	case o.ID == "":
		return d, nil
	case len(c.Seals) == 0:
		return d, fmt.Errorf("order %s is %s: %w", o.ID, o.State, ErrNothingToCollect)
	case o.State != register.OrderMade: // seals that go out as filed are collected while others wait
		d.Expect = append(d.Expect, register.ExpectOrder(o.ID, at))
		return d, nil
	}
	_, od, err := o.Move(register.OrderActive, at, change)
	d.Add(od)
	return d, err
}
