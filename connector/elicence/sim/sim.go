// Package sim plays the national e-licence system: having authenticated a person, it signs an assertion that this person speaks for an
// enterprise and holds a device key.
//
// The authentication itself is assumed; what is real is the assertion's form and signature.
package sim

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
)

// System is the national e-licence system with its signing key.
type System struct{ Key *softkey.Key }

// Assertion makes a fresh statement for the legal representative, valid for ten minutes.
func (s System) Assertion(uscc, person, alg string, deviceKey []byte, audience string, at time.Time) access.Assertion {
	var id, nonce [16]byte
	rand.Read(id[:])
	rand.Read(nonce[:])
	at = at.UTC().Truncate(time.Second)
	return access.Assertion{ID: hex.EncodeToString(id[:]), USCC: uscc, Person: person, Role: "legal-representative", DeviceAlg: alg, DeviceKey: deviceKey,
		IssuedAt: at, ExpiresAt: at.Add(10 * time.Minute), Audience: audience, Nonce: hex.EncodeToString(nonce[:])}
}

// Sign puts an assertion into its signed envelope.
func (s System) Sign(a access.Assertion) (envelope.Envelope, error) {
	return envelope.Seal(access.AssertionKind, a, s.Key.Sign)
}
