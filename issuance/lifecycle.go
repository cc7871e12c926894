package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// Suspend stops the use of a seal at once: once this returns, nothing is signed with it (law 3). Reasons are a closed list in package
// register. Errors: access.ErrNotEntitled, register.ErrUnknown, register.ErrReason, register.ErrRole, register.ErrEvidence,
// register.ErrHeld, register.ErrTransition.
func (i *Issuance) Suspend(ctx context.Context, req *keystore.Request, actor access.Actor, esid string,
	reason register.Reason, evidence string) (register.Seal, error) {
	return i.changeSeal(ctx, access.SealSuspend, req, esid, i.change(actor, reason, evidence), register.Seal.Suspend)
}

// Resume takes the holds of one reason away; the seal is free again when no other hold is left. Errors as of Suspend, and
// register.ErrNotHeld.
func (i *Issuance) Resume(ctx context.Context, req *keystore.Request, actor access.Actor, esid string,
	reason register.Reason, evidence string) (register.Seal, error) {
	return i.changeSeal(ctx, access.SealResume, req, esid, i.change(actor, reason, evidence), lift)
}

// Cancel ends a seal for good. Signatures made before stay verifiable. Errors as of Suspend.
func (i *Issuance) Cancel(ctx context.Context, req *keystore.Request, actor access.Actor, esid string,
	reason register.Reason, evidence string) (register.Seal, error) {
	return i.changeSeal(ctx, access.SealCancel, req, esid, i.change(actor, reason, evidence), cancel)
}

type sealAct func(s register.Seal, at store.Version, c register.Change) (register.Seal, register.Draft, error)

func lift(s register.Seal, at store.Version, c register.Change) (register.Seal, register.Draft, error) {
	return s.Lift(at, c)
}

func cancel(s register.Seal, at store.Version, c register.Change) (register.Seal, register.Draft, error) {
	return s.End(register.Cancelled, at, c)
}

// decision is a change with the client that asks for it.
type decision struct {
	register.Change
	by access.Actor
}

func (i *Issuance) change(by access.Actor, reason register.Reason, evidence string) decision {
	return decision{register.Change{Actor: by.Audit(), Reason: reason, Evidence: evidence, Time: i.now()}, by}
}

func (i *Issuance) changeSeal(ctx context.Context, action access.Action, req *keystore.Request, esid string, d decision,
	act sealAct) (register.Seal, error) {
	if err := i.Access.Allow(d.by, action, access.Resource{}); err != nil {
		return register.Seal{}, err
	}
	var before register.Seal
	if _, done, err := i.answered(ctx, req, audit.KindSealState, &before); done || err != nil {
		return before, err
	}
	return again(ctx, func(ctx context.Context) (register.Seal, error) {
		s, at, err := i.Register.Seal(ctx, esid)
		if err != nil {
			return s, err
		}
		s, draft, err := act(s, at, d.Change)
		if err != nil {
			return s, err
		}
		_, err = i.Store.Commit(ctx, draft.Mutation(req))
		return s, err
	})
}

// Resolution is what an operator decides about an order that waits.
type Resolution string

// The resolutions.
const (
	Continue    Resolution = "continue"     // the exception is dealt with; the order waits for what it lacks
	NotEngraved Resolution = "not_engraved" // the type is not engraved and leaves the order
	CancelOrder Resolution = "cancel"
)

// ErrResolution: no such resolution, no reason given, or it does not fit the order.
var ErrResolution = errors.New("resolution does not fit the order")

// Resolve applies an operator's decision to an open order. sealType is for NotEngraved alone; why is kept.
func (i *Issuance) Resolve(ctx context.Context, req *keystore.Request, actor access.Actor, order string,
	r Resolution, sealType, why string) (register.Order, error) {
	if err := i.Access.Allow(actor, access.OrderResolve, access.Resource{}); err != nil {
		return register.Order{}, err
	}
	var before register.Order
	if _, done, err := i.answered(ctx, req, audit.KindOrder, &before); done || err != nil {
		return before, err
	}
	if why = strings.TrimSpace(why); why == "" {
		return register.Order{}, fmt.Errorf("no reason given: %w", ErrResolution)
	}
	return again(ctx, func(ctx context.Context) (register.Order, error) {
		o, at, err := i.Register.Order(ctx, order)
		if err != nil {
			return o, err
		}
		to, o, err := resolve(o, r, sealType, why)
		if err != nil {
			return o, err
		}
		c := register.Change{Actor: actor.Audit(), Reason: register.ReasonOperatorResolution, Evidence: cut(why, 256), Time: i.now()}
		o, d, err := o.Move(to, at, c)
		if err != nil {
			return o, err
		}
		if _, err := i.Store.Commit(ctx, d.Mutation(req)); err != nil {
			return o, err
		}
		i.wakeMaker()
		return o, nil
	})
}

func resolve(o register.Order, r Resolution, sealType, why string) (register.OrderState, register.Order, error) {
	q, ordered := o.Request(sealType)
	switch {
	case !o.State.Open():
	case r == Continue && o.State == register.OrderException:
		return o.Next(), o, nil
	case r == CancelOrder:
		return register.OrderCancelled, o, nil
	case r == NotEngraved && !(ordered && (q.State == register.RequestAwaiting || q.State == register.RequestReceived)):
		return "", o, fmt.Errorf("type %.16q of order %s: %w: %w", sealType, o.ID, ErrResolution, register.ErrNotOrdered)
	case r == NotEngraved:
		q.State, q.Reason, q.Impression = register.RequestNotEngraved, cut(why, 256), ""
		o = o.With(q)
		return o.Next(), o, nil
	}
	return "", o, fmt.Errorf("%.32q for order %s, which is %s: %w", r, o.ID, o.State, ErrResolution)
}

// AnswerFiling takes public security's answer to the filing of a made seal; it holds nothing up. Repeating it changes nothing.
func (i *Issuance) AnswerFiling(ctx context.Context, req *keystore.Request, actor access.Actor, esid string, state register.FilingState, reference string) error {
	if err := i.Access.Allow(actor, access.ImpressionPut, access.Resource{}); err != nil {
		return err
	}
	_, err := again(ctx, func(ctx context.Context) (keystore.Receipt, error) {
		f, at, err := i.Register.Filing(ctx, esid)
		if err != nil || f.State == state && f.Reference == reference {
			return keystore.Receipt{}, err
		}
		d, err := register.AnswerFiling(esid, at, register.Filed{State: state, Since: i.now(), Reference: cut(reference, 128)}, actor.Audit())
		if err != nil {
			return keystore.Receipt{}, err
		}
		return i.Store.Commit(ctx, d.Mutation(req))
	})
	return err
}
