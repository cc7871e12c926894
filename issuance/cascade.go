package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sealkeeper/access"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// wake is what a licence event does beyond the library: to seals, to orders, to the owner's device. Everything lands in draft.
type wake struct {
	i      *Issuance
	c      licence.Change
	change register.Change
	draft  register.Draft
	seals  []register.Seal
	order  string
	older  bool     // the event comes in bulk: an enterprise that is new to the library is older than it and opens no order
	renew  []string // types to be ordered anew: of seals that end and of orders that are superseded

	replaced map[string]string // by type: the seal that ended, or that the superseded order was to replace
}

// What a status says to seals and orders beyond its Effect.
var (
	endReasons = map[licence.Status]register.Reason{
		licence.Cancelled: register.ReasonLicenceCancelled,
		licence.Annulled:  register.ReasonLicenceAnnulled,
	}
	holdReasons = map[licence.Status]register.Reason{
		licence.RevokedOpen: register.ReasonLicenceRevoked,
		licence.Other:       register.ReasonLicenceFlagged,
	}
)

const legalRep = "05" // the seal that bears a person's name, not the enterprise's

func (w *wake) run(ctx context.Context) error {
	set := w.i.cfg.set(w.c.Licence.USCC)
	if w.c.Before.Version == 0 && w.older {
		return nil
	}
	account, err := w.i.tellAccount(w.c.Before, w.c.Licence)
	if err != nil {
		return err
	}
	w.draft.Add(account)
	if w.c.Before.Version == 0 {
		return w.newOrder(set)
	}
	for _, step := range []func(context.Context) error{w.cascadeSeals, w.settleOrders, w.lapseDevice, w.tellEnded} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return w.newOrder(slices.DeleteFunc(slices.Clone(set), func(t string) bool { return !slices.Contains(w.renew, t) }))
}

// tellEnded tells the owner how many seals this event ended.
func (w *wake) tellEnded(context.Context) error {
	n := 0
	for _, s := range w.seals {
		if s.State.Final() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	d, err := w.i.tell(NoticeMessage{Kind: NoticeEnded, USCC: w.c.Licence.USCC, Name: w.c.Licence.Name, Seals: n})
	w.draft.Add(d)
	return err
}

// newOrder opens the order of this event. Its seals are made once the licence allows it.
func (w *wake) newOrder(types []string) error {
	l := w.c.Licence
	if len(types) == 0 || w.final() {
		return nil
	}
	o, d, err := register.NewOrder(w.c.Event.ID, l.USCC, l.Name, l.Version, w.i.cfg.Release, w.requests(types), w.change)
	if err != nil {
		return err
	}
	told, err := w.i.tell(NoticeMessage{Kind: NoticeOrdered, USCC: l.USCC, Name: l.Name, Order: o.ID, Seals: len(types)})
	w.draft.Add(d, told)
	w.order = o.ID
	return err
}

// requests are those of the new order, each naming the seal in whose place its own comes.
func (w *wake) requests(types []string) []register.Request {
	all := register.Wanted(types...)
	for n, q := range all {
		all[n].Replaces = w.replaced[q.Type]
	}
	return all
}

// replace notes what comes in a seal's place.
func (w *wake) replace(sealType, esid string) {
	w.renew = append(w.renew, sealType)
	if esid == "" {
		return
	}
	if w.replaced == nil {
		w.replaced = map[string]string{}
	}
	w.replaced[sealType] = esid
}

func (w *wake) final() bool { return w.c.Licence.Status.Effect().Final }

// ends says why a seal of this type cannot stay: the licence has ended, or the name that the seal bears is no longer right.
func (w *wake) ends(sealType string) register.Reason {
	now, was := w.c.Licence, w.c.Before
	switch {
	case w.final():
		return endReasons[now.Status]
	case now.Name != was.Name && (sealType != legalRep || w.i.cfg.RenameEndsPersonal):
		return register.ReasonRenamed
	case sealType == legalRep && now.LegalRep != was.LegalRep:
		return register.ReasonLegalRepChanged
	}
	return ""
}

func (w *wake) cascadeSeals(ctx context.Context) error {
	all, err := w.i.Register.SealsOf(ctx, w.c.Licence.USCC)
	if err != nil {
		return err
	}
	for _, listed := range all {
		if listed.State.Final() || listed.Institutional {
			continue
		}
		s, at, err := w.i.Register.Seal(ctx, listed.ESID)
		if err != nil {
			return err
		}
		changed, d, err := w.cascadeSeal(s, at)
		if errors.Is(err, errUntouched) {
			continue
		}
		if err != nil {
			return fmt.Errorf("seal %s: %w", s.ESID, err)
		}
		w.draft.Add(d)
		w.seals = append(w.seals, changed)
	}
	return nil
}

// errUntouched: the event does nothing to this seal.
var errUntouched = errors.New("untouched")

func (w *wake) cascadeSeal(s register.Seal, at store.Version) (register.Seal, register.Draft, error) {
	c := w.change
	if c.Reason = w.ends(s.Type); c.Reason != "" {
		w.replace(s.Type, s.ESID)
		return s.End(register.Cancelled, at, c)
	}
	if w.c.Licence.Status == w.c.Before.Status {
		return s, register.Draft{}, errUntouched
	}
	if c.Reason = holdReasons[w.c.Licence.Status]; c.Reason != "" {
		return s.Suspend(at, c)
	}
	// Every hold that an earlier status put on goes when a status comes that keeps seals.
	c.Reason, c.Evidence = register.ReasonLicenceRevoked, ""
	s, d, err := s.Lift(at, c, register.ReasonLicenceFlagged)
	if errors.Is(err, register.ErrNotHeld) {
		return s, d, errUntouched
	}
	return s, d, err
}

// settleOrders ends open orders of a licence that has ended, replaces those whose name has changed, and closes those whose seals are
// all gone before they were collected.
func (w *wake) settleOrders(ctx context.Context) error {
	all, err := w.i.Register.OrdersOf(ctx, w.c.Licence.USCC)
	if err != nil {
		return err
	}
	for _, listed := range all {
		o, at, err := w.i.Register.Order(ctx, listed.ID)
		if err != nil {
			return err
		}
		to := w.settle(o)
		if to == "" {
			continue
		}
		c := w.change
		if r := endReasons[w.c.Licence.Status]; r != "" {
			c.Reason = r
		}
		_, d, err := o.Move(to, at, c)
		if err != nil {
			return err
		}
		w.draft.Add(d)
	}
	return nil
}

func (w *wake) settle(o register.Order) register.OrderState {
	open := o.State.Open()
	switch {
	case !open && o.State != register.OrderMade:
		return ""
	case w.final():
		return register.OrderCancelled
	case !open:
		if w.allGone(o) {
			return register.OrderSuperseded
		}
		return ""
	}
	stale := false
	waits := func(q register.Request) bool {
		return q.State == register.RequestAwaiting || q.State == register.RequestReceived
	}
	for _, q := range o.Requests {
		stale = stale || waits(q) && w.ends(q.Type) != ""
	}
	if !stale {
		return ""
	}
	for _, q := range o.Requests {
		if waits(q) && w.replaced[q.Type] == "" { // a seal that ends by this event is the nearer one
			w.replace(q.Type, q.Replaces)
		}
	}
	return register.OrderSuperseded
}

// allGone reports whether this event ends every seal that the order made.
func (w *wake) allGone(o register.Order) bool {
	for _, q := range o.Requests {
		if q.State == register.RequestMade && w.ends(q.Type) == "" {
			return false
		}
	}
	return true
}

// lapseDevice takes the device away from an owner who is no longer the one who bound it. Who comes next binds anew; approvals and
// delegations of the old device expect its binding and fail.
func (w *wake) lapseDevice(ctx context.Context) error {
	if !w.final() && w.c.Licence.LegalRep == w.c.Before.LegalRep {
		return nil
	}
	uscc := w.c.Licence.USCC
	dev, at, err := w.i.Access.Device(ctx, uscc)
	if errors.Is(err, access.ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := unbound("device-lapsed", w.change.Actor, dev, at, w.c.Event.ID, nil)
	w.draft.Add(d)
	return err
}
