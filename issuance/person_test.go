package issuance_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	provider "sealkeeper/connector/person"
	personsim "sealkeeper/connector/person/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
)

// TestPersonCheck: where persons are checked, nothing is collected and no device bound without a result that the provider signed for exactly this. What
// was refused spent nothing: the same assertion collects when the person has gone through the check, and its result is on record.
func TestPersonCheck(t *testing.T) {
	w := newWorld(t)
	office := &personsim.Office{Key: newKey(t), Now: w.clock.now}
	srv := httptest.NewServer(office.Routes())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	con := &provider.Connector{Client: must(wire.New(wire.Config{Base: srv.URL, Timeout: 500 * time.Millisecond}))(t), Pinned: []*gm.PublicKey{office.Key.Public()},
		Codes: must(provider.LoadCodes(""))(t), Now: w.clock.now}
	p := w.iss.Parts
	p.Persons = con
	w.iss = must(issuance.New(p, w.cfg))(t)
	order := w.set(uscc)
	a := w.assertion(uscc, person)
	refused := func(what string, want error) {
		t.Helper()
		if _, err := w.collect(order, a); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.iss.Rebind(w.ctx, nil, national, uscc, must(w.el.Sign(a))(w)); !errors.Is(err, want) {
			t.Errorf("%s, a device alone: %v", what, err)
		}
		if _, _, err := w.acc.Device(w.ctx, uscc); !errors.Is(err, access.ErrNoDevice) || w.order(order).State != register.OrderMade || w.states(uscc) != fourMade {
			t.Errorf("%s: device %v, order %s, seals %s", what, err, w.order(order).State, w.states(uscc))
		}
	}
	for _, mood := range sim.Moods {
		office.Behave(mood, -1)
		refused(string(mood), issuance.ErrPersonUnavailable)
	}
	office.Behave(sim.Refuse, -1)
	refused("refuses", issuance.ErrPersonNotConfirmed)
	office.Behave(sim.Well, 0)
	for what, c := range map[string]struct {
		spoil func(r *provider.Result)
		want  error
	}{
		"another face":       {func(r *provider.Result) { r.Face = "01" }, issuance.ErrPersonNotConfirmed},
		"another name":       {func(r *provider.Result) { r.RealName = "03" }, issuance.ErrPersonNotConfirmed},
		"source away":        {func(r *provider.Result) { r.RealName = "09" }, issuance.ErrPersonUnavailable},
		"unknown code":       {func(r *provider.Result) { r.Face = "OK" }, issuance.ErrPersonUnavailable},
		"old":                {func(r *provider.Result) { r.At = r.At.Add(-16 * time.Minute) }, issuance.ErrPersonNotConfirmed},
		"from ahead":         {func(r *provider.Result) { r.At = r.At.Add(2 * time.Minute) }, issuance.ErrPersonNotConfirmed},
		"another person":     {func(r *provider.Result) { r.Person = "阿测·艾示例" }, issuance.ErrPersonUnavailable},
		"another enterprise": {func(r *provider.Result) { r.USCC = "91410305YYY0000548" }, issuance.ErrPersonUnavailable},
		"another device":     {func(r *provider.Result) { r.Device = strings.Repeat("0", 64) }, issuance.ErrPersonUnavailable},
		"another assertion":  {func(r *provider.Result) { r.Assertion = "示例" }, issuance.ErrPersonUnavailable},
	} {
		con.Client = must(wire.New(wire.Config{Base: srv.URL, Timeout: 2 * time.Second}))(t)
		a = w.assertion(uscc, person) // a check is repeated under a fresh assertion
		office.Spoil(c.spoil)
		refused(what, c.want)
	}
	office.Spoil(nil)
	pinned := con.Pinned
	con.Pinned = []*gm.PublicKey{newKey(t).Public()}
	a = w.assertion(uscc, person)
	refused("signed by somebody else", issuance.ErrPersonUnavailable)
	con.Pinned = pinned
	got, err := w.collect(order, a)
	if err != nil || len(got.Seals) != 4 || w.order(order).State != register.OrderActive {
		t.Fatalf("collected %+v: %v", got, err)
	}
	records := must(w.bolt.Records(w.ctx, got.Receipt.First, len(got.Receipt.Leaves)))(t)
	kept := false
	for _, r := range records {
		kept = kept || strings.Contains(string(r.Body), audit.KindCollected) && strings.Contains(string(r.Body), provider.ResultKind)
	}
	if !kept {
		t.Error("the record of the collection does not hold the result of the check")
	}
}
