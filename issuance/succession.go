package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// ErrReplacing: an order for the seal's next edition is open, or was made and waits to be collected.
var ErrReplacing = errors.New("the seal's next edition is ordered already")

// open reads the images of sheets, which writes their reading records first: each for making, or for making again the impression of the seal that it
// replaces.
func (i *Issuance) open(ctx context.Context, sheets []*sheet) (map[*sheet][]byte, error) {
	image := make(map[*sheet][]byte, len(sheets))
	for _, again := range []bool{false, true} {
		var of []*sheet
		var ids []string
		for _, h := range sheets {
			if (h.old.Impression == h.request.Impression) == again {
				of, ids = append(of, h), append(ids, h.request.Impression)
			}
		}
		if len(of) == 0 {
			continue
		}
		purpose := register.Make
		if again {
			purpose = register.Remake
		}
		images, err := i.Register.OpenAll(ctx, ids, purpose, appliance)
		if err != nil {
			return nil, err
		}
		for n, h := range of {
			image[h] = images[n]
		}
	}
	return image, nil
}

// activate hands one seal over; one that comes in another's place supersedes it.
func (i *Issuance) activate(ctx context.Context, s register.Seal, at store.Version, c register.Change) (register.Draft, error) {
	if s.Replaces == "" {
		_, d, err := s.Activate(at, c)
		return d, err
	}
	old, oldAt, err := i.Register.Seal(ctx, s.Replaces)
	if err != nil {
		return register.Draft{}, err
	}
	_, d, err := s.Succeed(at, old, oldAt, c)
	return d, err
}

// Reissue orders the next edition of a seal from the same impression (no new engraving): before it expires, or after. The present one signs on until
// the next is collected. Errors: access.ErrNotEntitled, register.ErrUnknown, register.ErrTransition for a seal that neither is active nor has expired,
// ErrReplacing, ErrLicenceInactive, ErrNameDiffers when the seal bears another name than the licence.
func (i *Issuance) Reissue(ctx context.Context, req *keystore.Request, actor access.Actor, esid, why string) (register.Order, error) {
	if err := i.Access.Allow(actor, access.SealReissue, access.Resource{}); err != nil {
		return register.Order{}, err
	}
	var before register.Order
	if _, done, err := i.answered(ctx, req, audit.KindOrder, &before); done || err != nil {
		return before, err
	}
	return i.reissue(ctx, req, esid, register.Change{Actor: actor.Audit(), Reason: register.ReasonRemade, Evidence: cut(why, 256)})
}

func (i *Issuance) reissue(ctx context.Context, req *keystore.Request, esid string, c register.Change) (register.Order, error) {
	i.applying.Lock() // two orders at once would not see each other
	defer i.applying.Unlock()
	return again(ctx, func(ctx context.Context) (register.Order, error) {
		s, at, err := i.Register.Seal(ctx, esid)
		switch {
		case err != nil:
			return register.Order{}, err
		case s.Institutional || s.State != register.Active && s.State != register.Expired:
			return register.Order{}, fmt.Errorf("reissuing seal %s, which is %s: %w", esid, s.State, register.ErrTransition)
		}
		l, version, err := i.Library.Standing(ctx, s.USCC)
		if err != nil {
			return register.Order{}, err
		}
		if err := i.reissuable(ctx, s, l); err != nil {
			return register.Order{}, err
		}
		n, err := i.attemptsToReplace(ctx, s)
		if err != nil {
			return register.Order{}, err
		}
		c.Time = i.now()
		o, d, err := register.NewOrder(fmt.Sprintf("reissue-%s-%d", esid, n), s.USCC, l.Name, l.Version, i.cfg.Release,
			[]register.Request{{Type: s.Type, State: register.RequestReceived, Impression: s.Impression, Replaces: esid}}, c)
		if err != nil {
			return o, err
		}
		told, err := i.tell(NoticeMessage{Kind: NoticeOrdered, USCC: s.USCC, Name: l.Name, Order: o.ID, Seals: 1})
		if err != nil {
			return o, err
		}
		d.Add(told, register.Draft{Expect: []store.Expect{register.ExpectSeal(esid, at), licence.Expect(s.USCC, version)}})
		if _, err := i.Store.Commit(ctx, d.Mutation(req)); err != nil {
			return o, fmt.Errorf("reissuing seal %s: %w", esid, err)
		}
		i.wakeMaker()
		return o, nil
	})
}

// reissuable refuses what the impression could not be used for again.
func (i *Issuance) reissuable(ctx context.Context, s register.Seal, l licence.Standing) error {
	imp, _, err := i.Register.Impression(ctx, s.Impression)
	switch {
	case err != nil:
		return err
	case !l.Status.Effect().SealUse:
		return fmt.Errorf("licence %s is %s: %w", s.USCC, l.Status, ErrLicenceInactive)
	case s.Type != legalRep && imp.Name != l.Name:
		return fmt.Errorf("seal %s: %w", s.ESID, ErrNameDiffers)
	}
	return nil
}

// attemptsToReplace counts the orders that were to replace a seal. ErrReplacing when one still is, or did.
func (i *Issuance) attemptsToReplace(ctx context.Context, s register.Seal) (int, error) {
	all, err := i.Register.OrdersOf(ctx, s.USCC)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, o := range all {
		if !slices.ContainsFunc(o.Requests, func(q register.Request) bool { return q.Replaces == s.ESID }) {
			continue
		}
		if o.State.Open() || o.State == register.OrderMade || o.State == register.OrderActive {
			return 0, fmt.Errorf("seal %s, order %s: %w", s.ESID, o.ID, ErrReplacing)
		}
		n++
	}
	return n, nil
}

// ExpireSeals ends the seals whose time is over, and orders anew from the same impression those that end within Config.RemakeBefore. It returns how
// many ended and how many were ordered.
func (i *Issuance) ExpireSeals(ctx context.Context) (ended, ordered int, err error) {
	now := i.now()
	var errs []error
	for cursor := ""; ; {
		page, next, err := i.Register.Until(ctx, cursor, 200)
		if err != nil {
			return ended, ordered, errors.Join(append(errs, err)...)
		}
		for _, s := range page {
			if s.NotAfter.After(now.Add(i.cfg.RemakeBefore)) {
				return ended, ordered, errors.Join(errs...)
			}
			e, o, err := i.expireSeal(ctx, s, now)
			if err != nil {
				errs = append(errs, fmt.Errorf("seal %s: %w", s.ESID, err))
			}
			ended, ordered = ended+e, ordered+o
		}
		if cursor = next; cursor == "" {
			return ended, ordered, errors.Join(errs...)
		}
	}
}

func (i *Issuance) expireSeal(ctx context.Context, s register.Seal, now time.Time) (ended, ordered int, err error) {
	if !s.NotAfter.Before(now) {
		if s.State != register.Active {
			return 0, 0, nil
		}
		_, err = i.reissue(ctx, nil, s.ESID, register.Change{Actor: appliance, Reason: register.ReasonRemade, Evidence: s.ESID})
		if errors.Is(err, ErrReplacing) || errors.Is(err, ErrLicenceInactive) || errors.Is(err, ErrNameDiffers) {
			return 0, 0, nil // under way, or not to be made at all
		}
		if err == nil {
			ordered = 1
		}
		return 0, ordered, err
	}
	_, err = again(ctx, func(ctx context.Context) (register.Seal, error) {
		s, at, err := i.Register.Seal(ctx, s.ESID)
		if err != nil || s.State.Final() {
			return s, err
		}
		s, d, err := s.End(register.Expired, at, register.Change{Actor: appliance, Reason: register.ReasonExpired, Time: now})
		if err != nil {
			return s, err
		}
		_, err = i.Store.Commit(ctx, d.Mutation(nil))
		return s, err
	})
	if err == nil {
		ended = 1
	}
	return ended, 0, err
}
