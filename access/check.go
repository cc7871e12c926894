package access

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sealkeeper/keystore/store"
)

// Cleared is the owner's consent as checked: what the releasing commit spends and expects, and the evidence that its record keeps.
type Cleared struct {
	Spend    []store.Spend
	Expect   []store.Expect
	Evidence json.RawMessage // Evidence as JSON
}

// Evidence is how a record keeps the owner's consent: an approval whole, with the key that signed it, so that anyone can check it from
// the log alone; a delegation by name, since its registration is a record of its own.
type Evidence struct {
	Approval   *SignedApproval `json:"approval,omitempty"`
	DeviceKey  []byte          `json:"device_key,omitempty"` // uncompressed point
	Delegation string          `json:"delegation,omitempty"`
	Standing   string          `json:"standing,omitempty"` // a standing delegation, whose ceremony is a record of its own
}

// speaks is an approval whose signature is the owner's device's, whatever it covers.
type speaks struct {
	Approval
	device  Device
	version store.Version // of the binding
}

// Clear is the last question of law 3: does the owner's approval or delegation cover exactly this? e is what Entitled returned for the
// same request.
func (a *Access) Clear(ctx context.Context, e Entitlement, c Consent, w Want) (Cleared, error) {
	switch {
	case c.Approval != nil && c.Delegation != "":
		return Cleared{}, fmt.Errorf("both an approval and a delegation: %w", ErrApprovalForm)
	case c.Approval != nil && e.owner != nil:
		return a.covers(ctx, *e.owner, *c.Approval, w)
	case c.Approval != nil:
		return a.CheckApproval(ctx, *c.Approval, w)
	case c.Delegation != "":
		return a.CheckDelegation(ctx, c.Delegation, w)
	default:
		return Cleared{}, ErrApprovalMissing
	}
}

// CheckApproval verifies an approval against what is wanted. In this order: ErrApprovalForm; ErrApprovalForeign for another seal or
// client; ErrNoDevice; ErrApprovalForeign for another device; ErrApprovalAltered; ErrApprovalForeign for another request, document,
// placement or purpose; ErrApprovalExpired; ErrApprovalReplayed.
func (a *Access) CheckApproval(ctx context.Context, sa SignedApproval, w Want) (Cleared, error) {
	s, err := a.speaks(ctx, sa, w)
	if err != nil {
		return Cleared{}, err
	}
	return a.covers(ctx, s, sa, w)
}

// speaks checks that the owner's bound device signed this approval for this seal and client.
func (a *Access) speaks(ctx context.Context, sa SignedApproval, w Want) (speaks, error) {
	ap, err := sa.Approval()
	if err != nil {
		return speaks{}, err
	}
	msg, err := ap.Canonical()
	if err != nil {
		return speaks{}, err
	}
	if ap.Seal != w.Seal || ap.Client != w.Client {
		return speaks{}, fmt.Errorf("for another seal or client: %w", ErrApprovalForeign)
	}
	d, version, err := a.bound(ctx, w.USCC)
	if err != nil {
		return speaks{}, err
	}
	if sa.Device != "" && sa.Device != d.KeyID() || sa.Alg != d.Alg {
		return speaks{}, fmt.Errorf("by another device: %w", ErrApprovalForeign)
	}
	if !d.key.verify(msg, sa.Signature) {
		return speaks{}, ErrApprovalAltered
	}
	return speaks{ap, d.Device, version}, nil
}

// covers checks that a genuine approval covers exactly the wanted use, now, for the first time.
func (a *Access) covers(ctx context.Context, s speaks, sa SignedApproval, w Want) (Cleared, error) {
	other := ""
	switch {
	case s.Request != w.Request:
		other = "request"
	case s.Document != w.Document:
		other = "document"
	case s.Placement != w.Placement:
		other = "placement"
	case s.Purpose != w.Purpose:
		other = "purpose"
	case s.Count != 1:
		return Cleared{}, fmt.Errorf("an approval covers one signature, not %d: %w", s.Count, ErrApprovalForm)
	}
	if other != "" {
		return Cleared{}, fmt.Errorf("for another %s: %w", other, ErrApprovalForeign)
	}
	if err := a.timely(s, w); err != nil {
		return Cleared{}, err
	}
	nonce := spendNonce(sa.Nonce, s.Expires)
	if spent, err := a.st.Counter(ctx, nonce.Counter); err != nil {
		return Cleared{}, err
	} else if spent > 0 {
		return Cleared{}, ErrApprovalReplayed
	}
	ev, err := json.Marshal(Evidence{Approval: &sa, DeviceKey: s.device.Key})
	return Cleared{
		Spend:    []store.Spend{nonce},
		Expect:   []store.Expect{{Collection: Devices, Key: []byte(w.USCC), Version: s.version}},
		Evidence: ev,
	}, err
}

// spendNonce remembers a nonce a little longer than the time in which it could be used.
func spendNonce(nonce string, until time.Time) store.Spend {
	return store.Spend{Counter: "nonce/" + nonce, N: 1, Limit: 1, Expires: until.Add(time.Minute)}
}

func (a *Access) timely(s speaks, w Want) error {
	if w.Now.After(s.Expires) {
		return fmt.Errorf("at %s: %w", stamp(s.Expires), ErrApprovalExpired)
	}
	// The nonce is remembered until the expiry, so the expiry is bounded.
	if s.Expires.Sub(w.Now) > a.cfg.ApprovalLife {
		return fmt.Errorf("expires more than %s ahead: %w", a.cfg.ApprovalLife, ErrApprovalForm)
	}
	return nil
}

// SpendError names the refusal when a counter of this package would pass its limit; store.ErrLimit for a counter it does not know.
func SpendError(counter string) error {
	kind, _, _ := strings.Cut(counter, "/")
	switch kind {
	case "nonce":
		return ErrApprovalReplayed
	case "grant", "sharing":
		return ErrGrantSpent
	case "delegation", "standing":
		return ErrDelegationSpent
	default:
		return store.ErrLimit
	}
}
