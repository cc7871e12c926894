package register

import (
	"fmt"

	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
)

// Offer gives one seal of the order a key that was made in its owner's token, in place of the one that the appliance's would bear. It comes before the
// order is complete, because from then on keys are born. Another offer for the same seal takes the place of the first. ErrNotOrdered.
func (o Order) Offer(sealType string, key keystore.ID, at store.Version, c Change) (Order, Draft, error) {
	q, ok := o.Request(sealType)
	if !ok || o.State != AwaitingImpression || q.State != RequestAwaiting && q.State != RequestReceived {
		return o, Draft{}, fmt.Errorf("order %s is %s, its seal %.16q %s: a key is taken before the last impression comes: %w", o.ID, o.State, sealType, q.State, ErrNotOrdered)
	}
	q.Key = key
	return o.With(q).Move(o.State, at, c)
}
