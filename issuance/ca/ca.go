// Package ca is the appliance's certificate authorities: an SM2 hierarchy that certifies seal keys and the seal maker, and a P-256
// hierarchy for TLS and for what has to be checked by software that knows no SM2.
//
// Keys stay in the token; this package gets them as the two-method Key, or as crypto.Signer for P-256, and builds every TBSCertificate
// itself (law 11). Its one promise: a certificate that leaves has been read back and checked against what was asked, is nested in its
// issuer's validity, and satisfies two independent implementations of SM2 (law 4).
//
//	root (20 years) ─► issuing (15) ─► seal maker (10), time stamps (10), audit (5), seal certificates (3)
//	TLS root (20)   ─► TLS issuing (15) ─► clients (1), the server's own (1), time stamps (10), document keys of seals (3)
//
// An outside authority takes the issuing one's place through the same Issuer's shape in two steps: SigningRequest out, Accept in.
//
// Limits: no revocation lists, no storage, no approval of who may have a certificate.
package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"sealkeeper/internal/gm"
)

var (
	// ErrValidity: a validity is empty, longer than configured, or not inside its issuer's.
	ErrValidity = errors.New("validity is not nested")
	// ErrSubject: a subject cannot be formed: bad template, missing or unclean value, identifier too long.
	ErrSubject = errors.New("subject cannot be formed")
	// ErrAuthority: key and certificates given do not form an authority that may issue.
	ErrAuthority = errors.New("not a usable authority")
	// ErrPublicKey: no public key, or not one of the hierarchy's kind.
	ErrPublicKey = errors.New("public key is not of this hierarchy")
	// ErrAnswer: a certificate from outside does not answer the request.
	ErrAnswer = errors.New("certificate does not answer the request")
)

// Key is an SM2 private key in custody. Sign takes a whole message (Z and SM3 are the key's business) and returns strict DER.
type Key interface {
	Public() *gm.PublicKey
	Sign(ctx context.Context, message []byte) (der []byte, err error)
}

// Request asks for one seal certificate. Zero times mean now and the configured lifetime.
type Request struct {
	PublicKey *gm.PublicKey
	ESID      string // 14 digits
	Name      string // whole name of the enterprise
	USCC      string // unified social credit code, 18 characters
	NotBefore time.Time
	NotAfter  time.Time
	Key       Key // the seal's own; an outside authority gets a request signed by it, the embedded one needs none
}

// Issuer certifies a seal key. The chain runs from the certificate's issuer to the root; all are DER.
type Issuer interface {
	Issue(ctx context.Context, r Request) (certDER []byte, chain [][]byte, err error)
}

// Period is a span of the calendar: 3y is the same day three years on.
type Period struct{ Years, Months, Days int }

// After returns the end of the period that begins at t.
func (p Period) After(t time.Time) time.Time { return t.AddDate(p.Years, p.Months, p.Days) }

// MarshalText writes 3y, 18m or 90d; a period that mixes units has no text.
func (p Period) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		n    int
		rest Period
		unit string
	}{{p.Years, Period{Years: p.Years}, "y"}, {p.Months, Period{Months: p.Months}, "m"}, {p.Days, Period{Days: p.Days}, "d"}} {
		if u.n > 0 && p == u.rest {
			return []byte(strconv.Itoa(u.n) + u.unit), nil
		}
	}
	return nil, fmt.Errorf("period %+v: %w", p, ErrValidity)
}

// UnmarshalText reads what MarshalText writes.
func (p *Period) UnmarshalText(b []byte) error {
	text := string(b)
	if len(text) > 1 {
		n, err := strconv.Atoi(text[:len(text)-1])
		of := map[byte]Period{'y': {Years: n}, 'm': {Months: n}, 'd': {Days: n}}
		if v, known := of[text[len(text)-1]]; known && err == nil && n > 0 && n <= 100_000 {
			*p = v
			return nil
		}
	}
	return fmt.Errorf("period %q is not a number with y, m or d: %w", text, ErrValidity)
}

// Lifetimes says how long each kind of certificate lives at most.
type Lifetimes struct {
	Root, Issuing, Maker, Audit, Seal Period
	TSA                               Period // of both time-stamp certificates
	TLSRoot, TLSIssuing               Period
	TLSClient, TLSServer              Period
}

// DefaultLifetimes returns the product's defaults.
func DefaultLifetimes() Lifetimes {
	years := func(n int) Period { return Period{Years: n} }
	return Lifetimes{Root: years(20), Issuing: years(15), Maker: years(10), Audit: years(5), Seal: years(3), TSA: years(10),
		TLSRoot: years(20), TLSIssuing: years(15), TLSClient: years(1), TLSServer: years(1)}
}

// window is a validity in whole seconds UTC, both ends included (RFC 5280 §4.1.2.5).
type window struct{ from, to time.Time }

func during(now time.Time, p Period) window {
	from := now.UTC().Truncate(time.Second)
	return window{from, p.After(from)}
}

// inside refuses a window that is empty or reaches out of the issuer's.
func (w window) inside(issuer string, from, to time.Time) error {
	if !w.to.After(w.from) || w.from.Before(from) || w.to.After(to) {
		return fmt.Errorf("%s to %s under %q, valid %s to %s: %w", w.from.Format(time.RFC3339), w.to.Format(time.RFC3339), issuer,
			from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), ErrValidity)
	}
	return nil
}

// newSerial returns a positive serial number of exactly 20 octets with 158 random bits (RFC 5280 §4.1.2.2 allows no more octets).
func newSerial() (*big.Int, error) {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	b[0] = b[0]&0x7F | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}
