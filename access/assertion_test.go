package access_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

func TestAssertionRefusals(t *testing.T) {
	w := newWorld(t)
	pinned := []*gm.PublicKey{w.source.Public()}
	for _, c := range []struct {
		name   string
		change func(*access.Assertion)
		refuse error
	}{
		{"good", nil, nil},
		{"no identifier", func(a *access.Assertion) { a.ID = "" }, access.ErrAssertionForm},
		{"no person", func(a *access.Assertion) { a.Person = "" }, access.ErrAssertionForm},
		{"short nonce", func(a *access.Assertion) { a.Nonce = "00" }, access.ErrAssertionForm},
		{"no times", func(a *access.Assertion) { a.IssuedAt = time.Time{} }, access.ErrAssertionForm},
		{"another enterprise", func(a *access.Assertion) { a.USCC = ownerB }, access.ErrAssertionForeign},
		{"another audience", func(a *access.Assertion) { a.Audience = "elsewhere" }, access.ErrAssertionForeign},
		{"an agent", func(a *access.Assertion) { a.Role = "agent" }, access.ErrAssertionForeign},
		{"over", func(a *access.Assertion) {
			a.IssuedAt, a.ExpiresAt = start.Add(-10*time.Minute), start.Add(-time.Minute)
		}, access.ErrAssertionExpired},
		{"not yet", func(a *access.Assertion) {
			a.IssuedAt, a.ExpiresAt = start.Add(2*time.Minute), start.Add(3*time.Minute)
		}, access.ErrAssertionExpired},
		{"for a day", func(a *access.Assertion) { a.ExpiresAt = start.Add(24 * time.Hour) }, access.ErrAssertionExpired},
		{"unknown algorithm", func(a *access.Assertion) { a.DeviceAlg = "rsa" }, access.ErrDeviceKey},
		{"point off the curve", func(a *access.Assertion) { a.DeviceKey = append([]byte{4}, make([]byte, 64)...) }, access.ErrDeviceKey},
		{"P-256 point called SM2", func(a *access.Assertion) { a.DeviceAlg = access.AlgSM2 }, access.ErrDeviceKey},
		{"no key", func(a *access.Assertion) { a.DeviceKey = nil }, access.ErrDeviceKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := w.Bind(t.Context(), w.assertion(t, ownerA, w.phoneA, c.change), pinned, ownerA); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
}

// TestAssertionSignature: only the pinned system speaks.
func TestAssertionSignature(t *testing.T) {
	w := newWorld(t)
	stranger, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := w.assertion(t, ownerA, w.phoneA, nil)
	unsigned, changed, renamed := good, good, good
	unsigned.Signature, changed.Payload, renamed.Kind = nil, append([]byte(" "), good.Payload...), "licence-event/1"
	for _, c := range []struct {
		name   string
		e      envelope.Envelope
		pin    *gm.PublicKey
		refuse error
	}{
		{"good", good, w.source.Public(), nil}, {"unsigned", unsigned, w.source.Public(), envelope.ErrUnsigned},
		{"changed", changed, w.source.Public(), envelope.ErrSignature}, {"another kind", renamed, w.source.Public(), envelope.ErrUnsigned},
		{"another system", good, stranger.Public(), envelope.ErrSignature},
	} {
		if _, err := w.Bind(t.Context(), c.e, []*gm.PublicKey{c.pin}, ownerA); !errors.Is(err, c.refuse) {
			t.Errorf("%s: %v, want %v", c.name, err, c.refuse)
		}
	}
}

// TestBind: the device speaks after the commit, its evidence is the envelope whole, and the assertion counts once.
func TestBind(t *testing.T) {
	w := newWorld(t)
	pinned := []*gm.PublicKey{w.source.Public()}
	e := w.assertion(t, ownerA, w.phoneB, nil)
	b, err := w.Bind(t.Context(), e, pinned, ownerA)
	if err != nil {
		t.Fatal(err)
	}
	if b.Before == nil || b.Before.KeyID() != access.DeviceKeyID(w.phoneA.point) {
		t.Errorf("replaces %+v, want the first phone", b.Before)
	}
	var kept envelope.Envelope
	if err := json.Unmarshal(b.Evidence, &kept); err != nil || envelope.Open(kept, access.AssertionKind, pinned, &access.Assertion{}) != nil {
		t.Errorf("kept evidence does not verify: %v", err)
	}
	if err := w.spend(t, access.Cleared{Spend: b.Spend}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Bind(t.Context(), e, pinned, ownerA); !errors.Is(err, access.ErrAssertionReplayed) {
		t.Errorf("again: %v, want ErrAssertionReplayed", err)
	}
	w.bind(t, ownerA, w.phoneB)
	if d, _, err := w.Device(t.Context(), ownerA); err != nil || d.Alg != access.AlgSM2 || d.KeyID() != access.DeviceKeyID(w.phoneB.point) {
		t.Errorf("bound %+v (%v)", d, err)
	}
	if _, _, err := w.Device(t.Context(), ownerC); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("device of an enterprise without one: %v", err)
	}
}
