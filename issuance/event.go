package issuance

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
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
	w := wake{i: i, c: c, change: register.Change{Actor: actor.Audit(), Reason: register.ReasonLicenceEvent, Evidence: c.Event.ID, Time: i.now()}}
	if err := w.run(ctx); err != nil {
		return t, fmt.Errorf("licence event %s: %w", c.Event.ID, err)
	}
	d.Add(w.draft)
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
