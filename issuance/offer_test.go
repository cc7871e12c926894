package issuance_test

import (
	"errors"
	"testing"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
)

// TestOfferRefused: a key that an outside authority could never certify is not taken, since its set would wait for ever; nobody but the officer at the
// window brings one, and is told nothing else.
func TestOfferRefused(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Outside = true })
	size := w.bolt.State().Size
	for actor, want := range map[access.Actor]error{system: issuance.ErrKeyUncertified, security: access.ErrNotEntitled} {
		if _, err := w.iss.Offer(w.ctx, nil, actor, "order", "01", keystore.Birth{}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", actor.Role, err, want)
		}
	}
	if w.bolt.State().Size != size {
		t.Error("a refused key is on record")
	}
}
