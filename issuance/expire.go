package issuance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// Expire ends orders that have waited too long: for an impression (Config.ExpireImpressions), or to be collected (Config.ExpireCollection); seals that
// nobody collected are cancelled. Orders that wait for a human never expire. It returns how many ended.
func (i *Issuance) Expire(ctx context.Context) (int, error) {
	n := 0
	var errs []error
	for state, after := range map[register.OrderState]time.Duration{register.AwaitingImpression: i.cfg.ExpireImpressions, register.OrderMade: i.cfg.ExpireCollection} {
		if after <= 0 {
			continue
		}
		before := i.now().Add(-after)
		for cursor := ""; ; {
			page, next, err := i.Register.OrdersPage(ctx, state, cursor, 200)
			if err != nil {
				return n, errors.Join(append(errs, err)...)
			}
			for _, listed := range page {
				if listed.Updated.After(before) {
					continue
				}
				if err := i.expire(ctx, listed.ID, state, before); err != nil {
					errs = append(errs, fmt.Errorf("ending order %s: %w", listed.ID, err))
					continue
				}
				n++
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	return n, errors.Join(errs...)
}

func (i *Issuance) expire(ctx context.Context, id string, state register.OrderState, before time.Time) error {
	_, err := again(ctx, func(ctx context.Context) (register.Order, error) {
		o, at, err := i.Register.Order(ctx, id)
		if err != nil || o.State != state || o.Updated.After(before) {
			return o, err // it moved meanwhile
		}
		to, parts, err := i.uncollected(ctx, o)
		if err != nil {
			return o, err
		}
		reason := register.ReasonExpired
		if state == register.OrderMade {
			reason = register.ReasonNotCollected
		}
		o, d, err := o.Move(to, at, register.Change{Actor: appliance, Reason: reason, Evidence: o.Event, Time: i.now()})
		if err != nil {
			return o, err
		}
		told, err := i.tell(NoticeMessage{Kind: NoticeExpired, USCC: o.USCC, Order: o.ID})
		if err != nil {
			return o, err
		}
		d.Add(parts, told)
		_, err = i.Store.Commit(ctx, d.Mutation(nil))
		return o, err
	})
	return err
}

// uncollected cancels the seals of a made order that nobody took over. The order has expired unless some were.
func (i *Issuance) uncollected(ctx context.Context, o register.Order) (register.OrderState, register.Draft, error) {
	var d register.Draft
	to := register.OrderExpired
	if o.State != register.OrderMade {
		return to, d, nil
	}
	for _, q := range o.Requests {
		if q.State != register.RequestMade {
			continue
		}
		s, at, err := i.Register.Seal(ctx, q.ESID)
		switch {
		case err != nil:
			return to, d, err
		case s.State.Final():
			continue
		case s.State == register.Active || s.Before == register.Active:
			d.Expect = append(d.Expect, register.ExpectSeal(s.ESID, at))
			to = register.OrderActive
			continue
		}
		_, sd, err := s.End(register.Cancelled, at, register.Change{Actor: appliance, Reason: register.ReasonNotCollected, Time: i.now()})
		if err != nil {
			return to, d, err
		}
		d.Add(sd)
	}
	return to, d, nil
}

// RunExpiry ends orders and seals whose time is over until ctx ends, looking once an hour.
func (i *Issuance) RunExpiry(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		n, err := i.Expire(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrReadOnly) {
			i.cfg.Log.WarnContext(ctx, "orders that could not be ended", slog.String("error", err.Error()))
		}
		if n > 0 {
			i.cfg.Log.InfoContext(ctx, "orders expired", slog.Int("count", n))
		}
		ended, ordered, err := i.ExpireSeals(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrReadOnly) {
			i.cfg.Log.WarnContext(ctx, "seals that could not be ended or ordered anew", slog.String("error", err.Error()))
		}
		if ended+ordered > 0 {
			i.cfg.Log.InfoContext(ctx, "seals expired or ordered anew", slog.Int("expired", ended), slog.Int("ordered", ordered))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
