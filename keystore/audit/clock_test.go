package audit_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sealkeeper/keystore/store"
)

// TestOpenWithTheClockInDoubt starts behind the last record: the log opens, signed and anchored as it is, and stores nothing until an operator
// has accepted the clock.
func TestOpenWithTheClockInDoubt(t *testing.T) {
	w := newWorld(t).found()
	w.add(3)
	w.must(w.st.Close()) // as a crash would: the last records are not under an anchor yet
	w.clock.add(-time.Hour)
	w.reopen()
	if why := w.log.Recovering(); why != "" {
		t.Fatalf("recovering: %s", why)
	}
	anchored, err := w.anchor.Load(t.Context())
	w.must(err)
	if !bytes.Equal(anchored, w.log.Checkpoint()) || !errors.Is(w.log.Health(), store.ErrClock) {
		t.Errorf("checkpoint %q, anchor %q, health %v", w.log.Checkpoint(), anchored, w.log.Health())
	}
	if _, err := w.st.Commit(t.Context(), store.Mutation{Audit: [][]byte{w.body("x")}}); !errors.Is(err, store.ErrClock) {
		t.Errorf("a record with the clock in doubt: %v", err)
	}
	w.must(w.log.AcceptClock(t.Context(), alice))
	if _, err := w.log.Sign(t.Context()); err != nil || w.log.Health() != nil {
		t.Errorf("after the clock was accepted: %v, health %v", err, w.log.Health())
	}
	w.close()
}
