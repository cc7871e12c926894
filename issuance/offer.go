package issuance

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
)

// ErrKeyUncertified: the authority outside wants a request that names the seal's number, signed by its key; a key in its owner's token signed its only request
// before there was a number, and cannot be asked again from here.
var ErrKeyUncertified = errors.New("the outside certificate authority cannot certify a key in its owner's token")

// OfferedFor is what a key for one seal of an order is for: the common name of its certificate request.
func OfferedFor(order, sealType string) string { return "order/" + order + "/" + sealType }

// Offer takes a key that was made in its owner's token for one seal of an order that still waits for impressions. When the set is made, that seal gets
// this key, with certificate and maker's signature as every other. Errors: access.ErrNotEntitled, register.ErrUnknown, register.ErrNotOrdered,
// keystore.ErrEnrolment, keystore.ErrKeyExists, ErrKeyUncertified.
func (i *Issuance) Offer(ctx context.Context, req *keystore.Request, actor access.Actor, order, sealType string, birth keystore.Birth, request []byte) (register.Order, error) {
	if err := i.Access.Allow(actor, access.KeyOffer, access.Resource{}); err != nil {
		return register.Order{}, err
	}
	if i.cfg.Outside { // before a key is taken that would keep its set waiting for ever
		return register.Order{}, fmt.Errorf("seal %.16q of order %.64q: %w", sealType, order, ErrKeyUncertified)
	}
	var before register.Order
	if _, done, err := i.answered(ctx, req, audit.KindOrder, &before); done || err != nil {
		return before, err
	}
	return again(ctx, func(ctx context.Context) (register.Order, error) {
		o, at, err := i.Register.Order(ctx, order)
		if err != nil {
			return o, err
		}
		o, d, err := o.Offer(sealType, birth.ID, at, register.Change{Actor: actor.Audit(), Reason: register.ReasonKeyOffered, Time: i.now()})
		if err != nil {
			return o, err
		}
		_, key, err := i.Keys.Enrol(ctx, keystore.Enrolment{Birth: birth, Request: request, Ref: OfferedFor(order, sealType), Witness: actor.Audit()})
		if err != nil {
			return o, err
		}
		d.Add(register.Draft{Put: key.Put, Expect: key.Expect, Audit: key.Audit})
		_, err = i.Store.Commit(ctx, d.Mutation(req))
		return o, err
	})
}

// suits says whether a key that waits from an earlier attempt is the one that the order wants now.
func (b *born) suits(q register.Request) bool {
	return b != nil && (q.Key == keystore.ID{} && (b.key == nil || !b.key.Outside()) || b.key != nil && b.key.ID() == q.Key)
}

// offered fetches the keys outside that owners offered for their seals.
func (i *Issuance) offered(ctx context.Context, s *set) error {
	for _, h := range s.sheets {
		if h.request.Key == (keystore.ID{}) || h.born.key != nil {
			continue
		}
		key, err := i.Keys.Key(ctx, h.request.Key)
		if err != nil {
			return fmt.Errorf("the key offered for type %s: %w", h.request.Type, err)
		}
		if !key.Outside() || key.Purpose() != keystore.PurposeSeal {
			return fmt.Errorf("the key offered for type %s is %s for %s: %w", h.request.Type, key.Custody(), key.Purpose(), keystore.ErrKeyUse)
		}
		h.born.key = key
	}
	return nil
}
