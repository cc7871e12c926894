package issuance

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// EventOutcome answers a licence event. Its JSON is the same each time the event is sent.
type EventOutcome struct {
	Licence  licence.Licence  `json:"licence"`
	Order    string           `json:"order,omitempty"` // id of the order that the event opened, empty when it opened none
	Seals    []register.Seal  `json:"-"`               // seals that the event changed, as they are now
	Repeated bool             `json:"-"`               // the event was taken before; nothing changed
	Receipt  keystore.Receipt `json:"-"`               // zero when Repeated
}

// Event takes a signed licence event: its version, the order it opens and what it does to existing seals and orders, in one
// commit, so that a cancelled licence cannot sign. The same event again changes nothing and gives the same order. Errors: those of
// licence.Prepare, access.ErrNotEntitled, those of the store.
func (i *Issuance) Event(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (EventOutcome, error) {
	if err := i.Access.Allow(actor, access.LicencePut, access.Resource{}); err != nil {
		return EventOutcome{}, err
	}
	return again(ctx, func(ctx context.Context) (EventOutcome, error) {
		c, err := i.Library.Prepare(ctx, env, actor.Audit())
		if err != nil {
			return EventOutcome{}, err
		}
		if c.Repeated {
			return i.eventBefore(ctx, c)
		}
		return i.event(ctx, req, actor, c)
	})
}

// Import takes signed licence events in bulk, at most 1,000: enterprises older than this library and their histories. An establishment opens no
// order, since such enterprises apply for their seals themselves; what later events do to seals and orders they do here too. Each event
// stands or falls by itself; the first result says why, nil for those taken now or before. Errors: access.ErrNotEntitled, those of the store.
func (i *Issuance) Import(ctx context.Context, actor access.Actor, events []envelope.Envelope) ([]error, error) {
	if err := i.Access.Allow(actor, access.LicencePut, access.Resource{}); err != nil {
		return nil, err
	}
	defer i.wakeMaker()
	return i.Library.Take(ctx, events, actor.Audit(), func(ctx context.Context, c licence.Change) (store.Mutation, error) {
		w := i.wake(c, actor)
		w.older = true
		if err := w.run(ctx); err != nil {
			return store.Mutation{}, err
		}
		d := register.Draft{Put: c.Put, Expect: c.Expect, Audit: c.Audit}
		d.Add(w.draft)
		m := d.Mutation(nil)
		m.NotAfter = c.NotAfter
		return m, nil
	})
}

func (i *Issuance) wake(c licence.Change, actor access.Actor) wake {
	return wake{i: i, c: c, change: register.Change{Actor: actor.Audit(), Reason: register.ReasonLicenceEvent, Evidence: c.Event.ID, Time: i.now()}}
}

func (i *Issuance) eventBefore(ctx context.Context, c licence.Change) (EventOutcome, error) {
	t := EventOutcome{Licence: c.Licence, Repeated: true}
	o, _, err := i.Register.Order(ctx, register.OrderID(c.Event.ID))
	if errors.Is(err, register.ErrUnknown) {
		return t, nil
	}
	t.Order = o.ID
	return t, err
}

func (i *Issuance) event(ctx context.Context, req *keystore.Request, actor access.Actor, c licence.Change) (EventOutcome, error) {
	t := EventOutcome{Licence: c.Licence}
	d := register.Draft{Put: c.Put, Expect: c.Expect, Audit: c.Audit}
	w := i.wake(c, actor)
	if err := w.run(ctx); err != nil {
		return t, fmt.Errorf("licence event %s: %w", c.Event.ID, err)
	}
	d.Add(w.draft)
	if c.Licence.Status.Effect().SealUse { // a licence that has ended gets no paper of its own
		owed, err := register.Owe(register.LicencePaper(c.Licence.USCC, c.Licence.Version, c.Licence.Authority, i.now()))
		if err != nil {
			return t, err
		}
		d.Add(owed)
	}
	t.Seals, t.Order = w.seals, w.order
	var err error
	m := d.Mutation(req)
	m.NotAfter = c.NotAfter
	if t.Receipt, err = i.Store.Commit(ctx, m); err != nil {
		return EventOutcome{}, fmt.Errorf("licence event %s: %w", c.Event.ID, err)
	}
	i.wakeMaker() // a licence that was restored may free orders that were complete
	return t, nil
}
