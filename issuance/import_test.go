package issuance_test

import (
	"errors"
	"testing"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// TestImport: enterprises older than the library open no order, and what an event in bulk says about an enterprise that has seals reaches
// the seals in the same commit.
func TestImport(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	older := fields("91410303YYY00003XN")
	older.Name = "洛阳西工示例旧商贸有限公司"
	if _, err := licence.CheckUSCC(older.USCC); err != nil {
		t.Fatal(err)
	}
	batch := []envelope.Envelope{
		w.signed(licence.KindEstablished, older),
		w.signed(licence.KindRevoked, licence.Fields{USCC: uscc}),
		w.signed(licence.KindRestored, licence.Fields{USCC: older.USCC}), // does not follow
		w.signed(licence.KindDormant, licence.Fields{USCC: older.USCC}),
	}
	reasons := must(w.iss.Import(w.ctx, registrar, batch))(t)
	for i, want := range []error{nil, nil, licence.ErrTransition, nil} {
		if !errors.Is(reasons[i], want) {
			t.Errorf("event %d: %v, want %v", i, reasons[i], want)
		}
	}
	if orders := must(w.seals.OrdersOf(w.ctx, older.USCC))(t); len(orders) != 0 {
		t.Errorf("an enterprise older than the library has orders: %v", orders)
	}
	if got := w.states(uscc); got != all("suspended") {
		t.Errorf("after a revocation in bulk: %s", got)
	}
	if l, _, err := w.lib.Current(w.ctx, older.USCC); err != nil || l.Status != licence.Dormant {
		t.Errorf("%+v, %v", l, err)
	}
	size := w.bolt.State().Size
	if _, err := w.iss.Import(w.ctx, registrar, batch); err != nil || w.bolt.State().Size != size {
		t.Errorf("the same batch again: %v, %d records more", err, w.bolt.State().Size-size)
	}
	if _, err := w.iss.Import(w.ctx, security, batch); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by an officer: %v", err)
	}
	if _, err := w.iss.Import(w.ctx, registrar, make([]envelope.Envelope, 1001)); !errors.Is(err, licence.ErrLine) {
		t.Errorf("too many: %v", err)
	}
	w.clock.passes(1)
	if s := must(w.seals.SealsOf(w.ctx, uscc))(t)[0]; s.State != register.Suspended {
		t.Errorf("seal is %s", s.State)
	}
}
