package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
)

// AssertionKind is the envelope kind of an identity assertion.
const AssertionKind = "identity-assertion/1"

// Assertion is the statement of the national e-licence system that a person, authenticated there, speaks for an enterprise and holds a
// device key. It travels in a signed envelope.
type Assertion struct {
	ID        string    `json:"id"`         // 1..64 characters, unique at the sender
	USCC      string    `json:"uscc"`       // the enterprise
	Person    string    `json:"person"`     // 1..64 characters
	Role      string    `json:"role"`       // one of AssertionRoles
	DeviceAlg string    `json:"device_alg"` // AlgP256 or AlgSM2
	DeviceKey []byte    `json:"device_key"` // uncompressed point, or SubjectPublicKeyInfo for P-256
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Audience  string    `json:"audience"` // Config.Audience of this appliance
	Nonce     string    `json:"nonce"`    // 32 lower-case hexadecimal digits
}

// AssertionRoles are who may take the seals over (领取): the registered responsible person of each form of enterprise.
var AssertionRoles = []string{"legal-representative", "managing-partner", "investor", "operator", "branch-head"}

const (
	assertionLife = 15 * time.Minute // longest from issue to expiry
	assertionSkew = time.Minute      // how far the sender's clock may be ahead
)

// Binding is a checked assertion, ready for the collection's commit.
type Binding struct {
	Change           // puts the device, expects the binding that was read, spends the nonce; Evidence is the whole envelope
	Device Device    // as bound
	Before *Device   // the device it replaces, nil for the first
	From   Assertion // what the e-licence system said
}

// Bind checks an identity assertion for one enterprise and returns the pieces that bind its device key. The caller commits them with
// the collection. envelope.ErrUnsigned, envelope.ErrSignature, envelope.ErrPayload, ErrAssertionForm, ErrAssertionForeign,
// ErrAssertionExpired, ErrAssertionReplayed, ErrDeviceKey.
func (a *Access) Bind(ctx context.Context, e envelope.Envelope, pinned []*gm.PublicKey, uscc string) (Binding, error) {
	var b Binding
	if err := envelope.Open(e, AssertionKind, pinned, &b.From); err != nil {
		return Binding{}, err
	}
	if err := a.checkAssertion(b.From, uscc); err != nil {
		return Binding{}, fmt.Errorf("assertion %q: %w", b.From.ID, err)
	}
	key, err := ParseDeviceKey(b.From.DeviceAlg, b.From.DeviceKey)
	if err != nil {
		return Binding{}, err
	}
	nonce := spendNonce(b.From.Nonce, b.From.ExpiresAt)
	if spent, err := a.st.Counter(ctx, nonce.Counter); err != nil {
		return Binding{}, err
	} else if spent > 0 {
		return Binding{}, fmt.Errorf("assertion %q: %w", b.From.ID, ErrAssertionReplayed)
	}
	old, version, err := a.Device(ctx, uscc)
	if err == nil {
		b.Before = &old
	} else if !errors.Is(err, ErrNoDevice) {
		return Binding{}, err
	}
	b.Device = Device{USCC: uscc, Alg: b.From.DeviceAlg, Key: key, Person: b.From.Person, Role: b.From.Role,
		Assertion: b.From.ID, Bound: a.now().Truncate(time.Second)}
	b.Spend = []store.Spend{nonce}
	if b.Evidence, err = json.Marshal(e); err != nil {
		return Binding{}, err
	}
	err = b.write(Devices, uscc, version, b.Device)
	return b, err
}

func (a *Access) checkAssertion(s Assertion, uscc string) error {
	now := a.now()
	switch {
	case !cleanText(s.ID, 64), !cleanText(s.Person, 64), !isHex(s.Nonce, 16), s.IssuedAt.IsZero(), s.ExpiresAt.IsZero():
		return ErrAssertionForm
	case s.USCC != uscc:
		return fmt.Errorf("for another enterprise: %w", ErrAssertionForeign)
	case s.Audience != a.cfg.Audience:
		return fmt.Errorf("for another audience: %w", ErrAssertionForeign)
	case !slices.Contains(AssertionRoles, s.Role):
		return fmt.Errorf("role %.40q may not take seals over: %w", s.Role, ErrAssertionForeign)
	case s.IssuedAt.After(now.Add(assertionSkew)), now.After(s.ExpiresAt), s.ExpiresAt.Sub(s.IssuedAt) > assertionLife:
		return ErrAssertionExpired
	default:
		return nil
	}
}
