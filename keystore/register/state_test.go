package register_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

func change(reason register.Reason, by audit.Actor) register.Change {
	return register.Change{Actor: by, Reason: reason, Evidence: "示例 1", Time: time.Now()}
}

// enter puts a seal into the register.
func (d *desk) enter(sealType string) register.Seal {
	d.Helper()
	esid, err := d.reg.Number(d.ctx, "410302")
	if err != nil {
		d.Fatal(err)
	}
	s, r, err := register.NewSeal{ESL: []byte("seal data " + esid), Certificate: []byte("certificate " + esid), Chain: [][]byte{{1}, {2}},
		Filing: "A-1", Seal: register.Seal{ESID: esid, USCC: uscc, Enterprise: "示例", Type: sealType, Name: "示例章", Key: keystore.ID{1},
			MadeAt: time.Now().UTC()}}.Enter()
	if err != nil {
		d.Fatal(err)
	}
	n, err := register.Numbered(esid)
	if err != nil {
		d.Fatal(err)
	}
	r.Add(n)
	if err := d.commit(r); err != nil {
		d.Fatal(err)
	}
	return s
}

func (d *desk) seal(esid string) (register.Seal, store.Version) {
	d.Helper()
	s, v, err := d.reg.Seal(d.ctx, esid)
	if err != nil {
		d.Fatal(err)
	}
	return s, v
}

func TestSealEntry(t *testing.T) {
	d := newDesk(t)
	s := d.enter("01")
	if s.ESID != "41030200000001" || s.State != register.Made || len(s.CertSHA256) != 64 || len(s.ESLSHA256) != 64 {
		t.Errorf("%+v", s)
	}
	esl, err := d.reg.ESL(d.ctx, s.ESID)
	cert, err2 := d.reg.Certificate(d.ctx, s.ESID)
	chain, err3 := d.reg.Chain(d.ctx, s.ESID)
	f, _, err4 := d.reg.Filing(d.ctx, s.ESID)
	if err := errors.Join(err, err2, err3, err4); err != nil || !bytes.Equal(esl, []byte("seal data "+s.ESID)) ||
		!bytes.Equal(cert, []byte("certificate "+s.ESID)) || len(chain) != 2 || f.State != register.FilingPending || f.Overdue(time.Now()) ||
		!f.Overdue(time.Now().Add(25*time.Hour)) {
		t.Errorf("%q %q %v %+v: %v", esl, cert, chain, f, err)
	}
	all, err := d.reg.SealsOf(d.ctx, uscc)
	if err != nil || len(all) != 1 {
		t.Errorf("seals of the entity: %v %v", all, err)
	}
	for name, err := range map[string]error{
		"seal": func() error { _, _, err := d.reg.Seal(d.ctx, "41030299999999"); return err }(),
		"esl":  func() error { _, err := d.reg.ESL(d.ctx, "41030299999999"); return err }(),
		"cert": func() error { _, err := d.reg.Certificate(d.ctx, "41030299999999"); return err }(),
	} {
		if !errors.Is(err, register.ErrUnknown) || !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
}

func TestNumbersNeverTwice(t *testing.T) {
	d := newDesk(t)
	a, b := d.enter("01"), d.enter("02")
	if a.ESID == b.ESID {
		t.Fatal("the same number twice")
	}
	// A register that starts anew, and one that two processes would be: both look at what is there.
	again := register.New(register.Config{Store: d.st, Keys: d.keys})
	n, err := again.Number(d.ctx, "410302")
	if err != nil || n != "41030200000003" {
		t.Errorf("after a start: %s %v", n, err)
	}
	again.SkipNumber("41030200000007")
	again.SkipNumber("nonsense")
	if n, err = again.Number(d.ctx, "410302"); err != nil || n != "41030200000008" {
		t.Errorf("after a skip: %s %v", n, err)
	}
	_, r, err := register.NewSeal{ESL: []byte("x"), Certificate: []byte("y"), Seal: a}.Enter()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.commit(r); !errors.Is(err, store.ErrConflict) {
		t.Errorf("entering a number twice: %v", err)
	}
	if esl, err := d.reg.ESL(d.ctx, a.ESID); err != nil || string(esl) == "x" {
		t.Errorf("seal data was overwritten: %q %v", esl, err)
	}
	for _, div := range []string{"", "41030", "4103021", "41030A"} {
		if _, err := d.reg.Number(d.ctx, div); !errors.Is(err, register.ErrNumber) {
			t.Errorf("division %q: %v", div, err)
		}
	}
}

func TestSealLife(t *testing.T) {
	d := newDesk(t)
	esid := d.enter("01").ESID
	step := func(name string, want register.State, holds int, act func(register.Seal, store.Version) (register.Seal, register.Draft, error)) {
		t.Helper()
		s, v := d.seal(esid)
		_, r, err := act(s, v)
		if err == nil {
			err = d.commit(r)
		}
		now, _ := d.seal(esid)
		if err != nil || now.State != want || len(now.Holds) != holds {
			t.Fatalf("%s: %s with %d holds, %v", name, now.State, len(now.Holds), err)
		}
		if e := d.lastRecord(); e.Kind != "seal-state" || e.Subject != esid {
			t.Errorf("%s: record %+v", name, e)
		}
	}
	suspend := func(c register.Change) func(register.Seal, store.Version) (register.Seal, register.Draft, error) {
		return func(s register.Seal, v store.Version) (register.Seal, register.Draft, error) { return s.Suspend(v, c) }
	}
	lift := func(c register.Change) func(register.Seal, store.Version) (register.Seal, register.Draft, error) {
		return func(s register.Seal, v store.Version) (register.Seal, register.Draft, error) { return s.Lift(v, c) }
	}
	collected := change(register.ReasonCollected, audit.Actor{Role: register.RoleELicence, ID: "e"})
	step("held before collection", register.Suspended, 1, suspend(change(register.ReasonLicenceRevoked, registrar)))
	step("collected under a hold", register.Suspended, 1, func(s register.Seal, v store.Version) (register.Seal, register.Draft, error) {
		return s.Activate(v, collected)
	})
	step("second hold", register.Suspended, 2, suspend(change(register.ReasonMisuse, system)))
	step("first lifted", register.Suspended, 1, lift(change(register.ReasonLicenceRevoked, registrar)))
	step("second lifted", register.Active, 0, lift(change(register.ReasonMisuse, security)))
	step("court", register.Suspended, 1, suspend(change(register.ReasonCourtFreeze, system)))
	step("cancelled while held", register.Cancelled, 1, func(s register.Seal, v store.Version) (register.Seal, register.Draft, error) {
		return s.End(register.Cancelled, v, change(register.ReasonAuthorityDecision, system))
	})

	jobs, err := d.st.Claim(d.ctx, register.QueueFiling, 100, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, j := range jobs {
		var n register.Notice
		if err := json.Unmarshal(j.Body, &n); err != nil || n.USCC != uscc || n.ESID != esid {
			t.Errorf("notice %s: %v", j.Body, err)
		}
		kinds = append(kinds, n.Kind+" "+n.State)
	}
	want := "seal-made |seal-state suspended|seal-state suspended|seal-state suspended|seal-state suspended|seal-state active|seal-state suspended|seal-state cancelled"
	if got := strings.Join(kinds, "|"); got != want {
		t.Errorf("notices %s", got)
	}
}

func TestSealTransitionsRefused(t *testing.T) {
	d := newDesk(t)
	made, at := d.seal(d.enter("01").ESID)
	cancelled := made
	cancelled.State = register.Cancelled
	held := made
	held.State, held.Before = register.Suspended, register.Active
	held.Holds = []register.Hold{{Reason: register.ReasonPoliceFreeze, Evidence: "示例 1", By: police}}
	errOf := func(_ register.Seal, _ register.Draft, err error) error { return err }
	for name, c := range map[string]struct{ err, want error }{
		"cancelling twice":             {errOf(cancelled.End(register.Cancelled, at, change(register.ReasonAuthorityDecision, system))), register.ErrTransition},
		"suspending what ended":        {errOf(cancelled.Suspend(at, change(register.ReasonMisuse, system))), register.ErrTransition},
		"collecting what ended":        {errOf(cancelled.Activate(at, change(register.ReasonCollected, audit.Actor{Role: register.RoleELicence}))), register.ErrTransition},
		"ending as active":             {errOf(made.End(register.Active, at, change(register.ReasonCollected, system))), register.ErrTransition},
		"no such reason":               {errOf(made.Suspend(at, change("because", system))), register.ErrReason},
		"reason for something else":    {errOf(made.Suspend(at, change(register.ReasonAuthorityDecision, system))), register.ErrReason},
		"licence reason by an officer": {errOf(made.Suspend(at, change(register.ReasonLicenceRevoked, system))), register.ErrRole},
		"freeze by a department":       {errOf(made.Suspend(at, change(register.ReasonCourtFreeze, audit.Actor{Role: "department"}))), register.ErrRole},
		"freeze without reference":     {errOf(made.Suspend(at, register.Change{Actor: system, Reason: register.ReasonCourtFreeze})), register.ErrEvidence},
		"evidence without end":         {errOf(made.Suspend(at, register.Change{Actor: system, Reason: register.ReasonCourtFreeze, Evidence: strings.Repeat("示", 300)})), register.ErrEvidence},
		"lifting what is not there":    {errOf(made.Lift(at, change(register.ReasonMisuse, security))), register.ErrNotHeld},
		"lifting by another reason":    {errOf(held.Lift(at, change(register.ReasonMisuse, security))), register.ErrNotHeld},
		"lifting another's freeze":     {errOf(held.Lift(at, change(register.ReasonPoliceFreeze, system))), register.ErrRole},
		"lifting as another office":    {errOf(held.Lift(at, change(register.ReasonPoliceFreeze, audit.Actor{Role: register.RolePublicSecurity, ID: "other"}))), register.ErrRole},
		"the same hold twice":          {errOf(held.Suspend(at, change(register.ReasonPoliceFreeze, police))), register.ErrHeld},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
}

// A suspension acknowledged earlier wins over whatever was prepared on the older state.
func TestSuspensionWins(t *testing.T) {
	d := newDesk(t)
	s, at := d.seal(d.enter("01").ESID)
	_, suspend, err := s.Suspend(at, change(register.ReasonMisuse, system))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.commit(suspend); err != nil {
		t.Fatal(err)
	}
	if err := d.commit(register.Draft{Expect: []store.Expect{register.ExpectSeal(s.ESID, at)}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("commit on the older state: %v", err)
	}
}

func TestFilingAnswered(t *testing.T) {
	d := newDesk(t)
	s := d.enter("01")
	_, at, err := d.reg.Filing(d.ctx, s.ESID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := register.AnswerFiling(s.ESID, at, register.Filed{State: "lost"}, police); !errors.Is(err, register.ErrTransition) {
		t.Errorf("unknown answer: %v", err)
	}
	r, err := register.AnswerFiling(s.ESID, at, register.Filed{State: register.FilingDone, Since: time.Now(), Reference: "示例"}, police)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.commit(r); err != nil {
		t.Fatal(err)
	}
	if f, _, err := d.reg.Filing(d.ctx, s.ESID); err != nil || f.State != register.FilingDone {
		t.Errorf("%+v %v", f, err)
	}
	if now, v := d.seal(s.ESID); now.State != register.Made || v != 1 {
		t.Error("the answer changed the seal")
	}
}

func TestOrder(t *testing.T) {
	d := newDesk(t)
	c := change(register.ReasonLicenceEvent, registrar)
	o, r, err := register.NewOrder("event-1", uscc, "示例", 1, register.Together, register.Wanted("01", "02"), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.commit(r); err != nil {
		t.Fatal(err)
	}
	if o.ID != register.OrderID("event-1") || len(o.ID) != 32 || o.State != register.AwaitingImpression || o.Next() != register.AwaitingImpression {
		t.Errorf("%+v", o)
	}
	half := o.With(register.Request{Type: "01", State: register.RequestReceived, Impression: "i"})
	if len(half.Ready()) != 0 || o.Requests[0].State != register.RequestAwaiting {
		t.Error("half a set is ready, or the original changed")
	}
	asFiled := half
	asFiled.Release = register.AsFiled
	if len(asFiled.Ready()) != 1 || asFiled.Next() != register.AwaitingCertificate {
		t.Error("as-filed: the first does not go out")
	}
	without := half.With(register.Request{Type: "02", State: register.RequestNotEngraved, Reason: "not wanted"})
	if len(without.Ready()) != 1 || without.Next() != register.AwaitingCertificate {
		t.Error("a type that is not engraved holds the set up")
	}
	none := o.With(register.Request{Type: "01", State: register.RequestNotEngraved}).With(register.Request{Type: "02", State: register.RequestNotEngraved})
	if none.Next() != register.OrderCancelled {
		t.Error("an order without any seal goes on")
	}
	if _, _, err := o.Move(register.OrderActive, 1, c); !errors.Is(err, register.ErrTransition) {
		t.Errorf("from waiting to collected: %v", err)
	}
	failed, r, err := half.Fail(register.Exception{Code: "name-differs"}, 1, c)
	if err != nil || failed.Exception == nil {
		t.Fatal(err)
	}
	if err := d.commit(r); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[register.OrderState]int{register.OrderException: 1, register.AwaitingImpression: 0, register.AwaitingCertificate: 0} {
		if all, err := d.reg.OrdersIn(d.ctx, state); err != nil || len(all) != want {
			t.Errorf("orders in %s: %d %v", state, len(all), err)
		}
	}
	back, _, err := failed.Move(failed.Next(), 2, c)
	if err != nil || back.Exception != nil || back.State != register.AwaitingImpression {
		t.Errorf("resolved: %+v %v", back, err)
	}
}
