package signer_test

import (
	"errors"
	"testing"

	"sealkeeper/signer"
)

// TestHeldSignsNothing: while the appliance holds signing back, a request that passes every other question leaves the token unused and the log as it was;
// one that fails an earlier question is told that, not this.
func TestHeldSignsNothing(t *testing.T) {
	w := newWorld(t)
	held := errors.New("no checkpoint")
	var now error
	w.cfg.Hold = func() error { return now }
	w.restart(t)
	first := w.digestRequest(t, "request-1")
	mustSign(t, w, first)
	now = held
	size, signs := w.recordsNow(), w.token.Stats().Signs
	for name, r := range map[string]func() error{
		"alone": func() error { _, err := w.Sign(t.Context(), w.dept, w.digestRequest(t, "request-2")); return err },
		"batch": func() error {
			out, err := w.SignBatch(t.Context(), w.dept, []signer.Request{w.digestRequest(t, "request-3")})
			if err != nil {
				return err
			}
			return out[0].Err
		},
	} {
		if err := r(); !errors.Is(err, held) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unapproved := w.digestRequest(t, "request-4")
	unapproved.Approval = nil
	if _, err := w.Sign(t.Context(), w.dept, unapproved); err == nil || errors.Is(err, held) {
		t.Errorf("without an approval: %v", err)
	}
	if w.recordsNow() != size || w.token.Stats().Signs != signs {
		t.Errorf("%d records, %d signatures while held", w.recordsNow()-size, w.token.Stats().Signs-signs)
	}
	if again := mustSign(t, w, first); !again.Duplicate {
		t.Error("an answer given before is not given again")
	}
	now = nil
	mustSign(t, w, w.digestRequest(t, "request-5"))
}
