// Package sim plays the registration system of market supervision: it signs licence events for synthetic enterprises.
//
// Its promise is that what it sends is marked synthetic (示例, body YYY in the code). It holds a software key and never reaches the daemon.
package sim

import (
	"fmt"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// System is the registration system with its signing key.
type System struct{ Key *softkey.Key }

// Sign puts an event into its signed envelope, whatever it says: tests send wrong ones too.
func (s System) Sign(ev licence.Event) (envelope.Envelope, error) {
	return envelope.Seal(licence.EventKind, ev, s.Key.Sign)
}

// Institution puts the impression of the authority's own seal into its signed envelope.
func (s System) Institution(f register.Filing) (envelope.Envelope, error) {
	return envelope.Seal(issuance.InstitutionKind, f, s.Key.Sign)
}

// Event states a change of one enterprise's registration at a time.
func (s System) Event(kind licence.Kind, f licence.Fields, at time.Time) (envelope.Envelope, error) {
	at = at.UTC().Truncate(time.Second)
	ev := licence.Event{ID: fmt.Sprintf("reg-%s-%s-%d", f.USCC, kind, at.Unix()), Kind: kind, Licence: f, EffectiveAt: at, IssuedAt: at}
	return s.Sign(ev)
}
