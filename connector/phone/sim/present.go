package sim

import (
	"crypto/rand"
	"time"

	"sealkeeper/access"
)

// Wish completes the wish to show chosen things once: a fresh nonce, and any department, two minutes and five to hand it in where nothing else is said.
func Wish(w access.Presentation) access.Presentation {
	rand.Read(w.Nonce[:])
	if w.Client == "" {
		w.Client = access.AnyClient
	}
	if w.Seconds == 0 {
		w.Seconds = access.MaxPresentationSeconds
	}
	if w.Expires.IsZero() {
		w.Expires = time.Now().Add(5 * time.Minute)
	}
	w.Expires = w.Expires.UTC().Truncate(time.Second)
	return w
}

// Present signs a wish.
func (p *Phone) Present(w access.Presentation) (access.SignedPresentation, error) {
	return Wish(w).Sign(access.AlgP256, p.Sign)
}
