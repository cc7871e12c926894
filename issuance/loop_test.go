package issuance_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"sealkeeper/connector/account"
	accounts "sealkeeper/connector/account/sim"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/feed"
	"sealkeeper/connector/notice"
	notices "sealkeeper/connector/notice/sim"
	"sealkeeper/connector/publicsecurity"
	policesim "sealkeeper/connector/publicsecurity/sim"
	"sealkeeper/connector/registration"
	registrysim "sealkeeper/connector/registration/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// loop is an appliance connected with every system outside, all under one simulated clock.
type loop struct {
	*world
	registry registrysim.Office
	police   policesim.Office
	accounts accounts.Office
	notices  notices.Office

	out     *delivery.Dispatcher
	events  *feed.Reader
	filings *feed.Reader
	ps      *publicsecurity.Connector
	acct    *account.Connector
}

// newLoop opens the offices and the appliance between them. Individual businesses get two seals.
func newLoop(t *testing.T) *loop {
	l := &loop{world: newWorld(t, func(c *issuance.Config) {
		c.Accounts, c.Notices = true, true
		c.Sets = map[string][]string{"": types, "92": {"01", "05"}}
	})}
	l.registry.Key, l.police.Key, l.police.DPI, l.police.Now = l.world.reg.Key, l.world.ps.Key, 300, l.clock.now
	l.police.Enterprise = func(uscc string) (licence.Fields, bool) { return fields(uscc), true }
	cl := func(h http.Handler) *wire.Client {
		srv := httptest.NewServer(h)
		t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
		return must(wire.New(wire.Config{Base: srv.URL, Timeout: 2 * time.Second, MaxAnswer: publicsecurity.MaxAnswer}))(t)
	}
	codes := must(publicsecurity.LoadCodes(""))(t)
	l.ps = publicsecurity.New(publicsecurity.Config{Client: cl(l.police.Routes()), Pinned: []*gm.PublicKey{l.police.Key.Public()}, Codes: codes,
		Issuance: l.iss, Register: l.seals, Now: l.clock.now})
	l.acct = &account.Connector{Client: cl(l.accounts.Routes()), Store: l.gate, Now: l.clock.now}
	l.out = delivery.New(l.gate, delivery.Config{Now: l.clock.now}, map[string]delivery.Destination{register.QueueFiling: l.ps, issuance.QueueAccount: l.acct,
		issuance.QueueNotice: &notice.Connector{Client: cl(l.notices.Routes())}})
	l.filings = feed.New(l.gate, l.ps.Feed(feed.Config{Now: l.clock.now}))
	l.events = feed.New(l.gate, registration.Feed(registration.Source{Client: cl(l.registry.Routes())}, l.iss, []*gm.PublicKey{l.registry.Key.Public()},
		feed.Config{Now: l.clock.now}))
	return l
}

// turn lets everything that runs in the background do its round once. Systems that are down are no error here.
func (l *loop) turn() {
	l.Helper()
	_, made := l.iss.Finish(l.ctx)
	for _, err := range []error{l.events.Round(l.ctx), l.out.Step(l.ctx), l.filings.Round(l.ctx), made, l.out.Step(l.ctx), l.ps.Watch(l.ctx)} {
		if err != nil && !errors.Is(err, wire.ErrDown) && !errors.Is(err, wire.ErrGarbage) {
			l.Error(err)
		}
	}
}

// runs lets time go by.
func (l *loop) runs(d, step time.Duration) {
	l.Helper()
	for ; d > 0; d -= step {
		l.clock.passes(step)
		l.turn()
	}
}

// says puts an event into the registry's feed, issued some time ago.
func (l *loop) says(kind licence.Kind, f licence.Fields, ago time.Duration) {
	l.Helper()
	if err := l.registry.Tell(kind, f, l.clock.now().Add(-ago)); err != nil {
		l.Fatal(err)
	}
}

func (l *loop) orderOf(uscc string) register.Order {
	l.Helper()
	all := must(l.seals.OrdersOf(l.ctx, uscc))(l)
	if len(all) != 1 {
		l.Fatalf("%s has %d orders", uscc, len(all))
	}
	return all[0]
}

func (l *loop) held(r *feed.Reader) []feed.Held {
	l.Helper()
	all, _, err := r.Held(l.ctx, "", 100)
	return must(all, err)(l)
}

// consistent demands that library, seals, filings, account and notices say the same about an enterprise whose set was collected.
func (l *loop) consistent(uscc string, want int) {
	l.Helper()
	o := l.orderOf(uscc)
	all := must(l.seals.SealsOf(l.ctx, uscc))(l)
	if o.State != register.OrderActive || len(all) != want {
		l.Errorf("%s: order %s, %d seals, want %d", uscc, o.State, len(all), want)
	}
	for _, s := range all {
		f, _, err := l.seals.Filing(l.ctx, s.ESID)
		if err != nil || s.State != register.Active || f.State != register.FilingDone || l.police.Filed(s.ESID) != "03" || f.Reference != "BA-"+s.ESID {
			l.Errorf("seal %s is %s, filed here as %+v and there as %q: %v", s.ESID, s.State, f, l.police.Filed(s.ESID), err)
		}
	}
	there, known := l.accounts.Account(uscc)
	here, err := l.acct.Get(l.ctx, uscc)
	if s, _, _ := l.lib.Standing(l.ctx, uscc); err != nil || !known || here.State != "open" || there.Name != s.Name || there.LegalRep != s.LegalRep {
		l.Errorf("account of %s: there %+v, here %+v: %v", uscc, there, here, err)
	}
	if told := l.notices.Told(uscc); !slices.Equal(told, []string{issuance.NoticeOrdered, issuance.NoticeMade, issuance.NoticeCollected}) {
		l.Errorf("%s was told %v", uscc, told)
	}
}

// TestClosedLoop runs the loop from the registry's events to collected, filed seals through everything that can go wrong outside: a day without public
// security, answers that are lost, doubled and garbage, events in the wrong order and from a clock ahead, a filing under a wrong name and one with
// another enterprise's picture. Nothing is lost, nothing is made wrongly, and at the end all systems say the same.
func TestClosedLoop(t *testing.T) {
	l := newLoop(t)
	const (
		smooth, outage, swapped, wrong, stolen = uscc, "91410303YYY000038M", "91410304YYY000046Y", "91410305YYY0000548", "91410307YYY0000620"
		shop, early                            = "92410311YYY0000H21", "91410308YYY0000709"
	)
	l.says(licence.KindEstablished, fields(smooth), time.Minute)
	l.runs(time.Minute, time.Minute)
	l.turn()
	if o := l.orderOf(smooth); o.State != register.OrderMade {
		t.Fatalf("order %s is %s: %+v", o.ID, o.State, o.Exception)
	}

	// Two events in the wrong order, and one from a clock that is an hour ahead.
	moved := fields(swapped)
	moved.Address = "老城区示例路2号"
	l.says(licence.KindChanged, moved, time.Minute)
	l.says(licence.KindEstablished, fields(early), -time.Hour)
	l.turn()
	if n := len(l.held(l.events)); n != 2 {
		t.Fatalf("%d events held", n)
	}
	l.says(licence.KindEstablished, fields(swapped), 2*time.Minute)
	l.turn()
	if s, _, err := l.lib.Standing(l.ctx, swapped); err != nil || s.Version != 2 || len(l.held(l.events)) != 1 {
		t.Errorf("version %d, %v, %d held", s.Version, err, len(l.held(l.events)))
	}
	l.runs(2*time.Hour, 30*time.Minute)
	if l.orderOf(early); len(l.held(l.events)) != 0 {
		t.Errorf("held: %+v", l.held(l.events))
	}

	// A day without public security, after a set was made there that it could not yet file; the others lose, double and spoil their answers.
	l.police.Decide("", true) // answers come later
	l.says(licence.KindEstablished, fields(shop), time.Minute)
	l.turn()
	l.turn()
	l.police.Behave(sim.Down, -1)
	l.says(licence.KindEstablished, fields(outage), time.Minute)
	l.accounts.Behave(sim.Lost, 2)
	l.notices.Behave(sim.Twice, 2)
	l.runs(25*time.Hour, 10*time.Minute)
	pending, overdue := l.ps.Pending()
	if s := l.out.Stats(register.QueueFiling); pending != 2 || overdue != 2 || !s.Down || s.Dead != 0 || s.Waiting == 0 {
		t.Errorf("after a day: %d filings pending, %d overdue, %+v", pending, overdue, s)
	}
	if l.accounts.Repeats() == 0 || l.notices.Repeats() == 0 {
		t.Error("no answer was lost")
	}
	l.police.Decide("", false)
	l.police.Behave(sim.Garbage, 3)
	l.runs(time.Hour, 5*time.Minute)
	if pending, overdue = l.ps.Pending(); pending != 0 || overdue != 0 {
		t.Errorf("when it is back: %d filings pending, %d overdue", pending, overdue)
	}

	l.wrongFilings(wrong, stolen, smooth)
	sets := map[string]int{smooth: 4, outage: 4, swapped: 4, early: 4, wrong: 4, stolen: 3, shop: 2}
	for code := range sets {
		must(l.collect(l.orderOf(code).ID, l.assertion(code, person)))(t)
	}
	l.turn()
	for code, n := range sets {
		l.consistent(code, n)
	}
	for _, q := range l.out.Queues() {
		if s := l.out.Stats(q); s.Waiting != 0 || s.Dead != 0 {
			t.Errorf("%s at the end: %+v", q, s)
		}
	}
	if a, b := l.held(l.events), l.held(l.filings); len(a)+len(b) != 0 {
		t.Errorf("held at the end: %+v %+v", a, b)
	}
}

// wrongFilings: one under another name, one with the picture of another enterprise. Both orders wait for a human, whose decisions end it: the first is
// filed anew, the second type is never engraved.
func (l *loop) wrongFilings(wrong, stolen, victim string) {
	l.Helper()
	other := l.pictureOf(victim, "02")
	l.police.Spoil = func(f *register.Filing) {
		switch {
		case f.USCC == wrong && f.SealType == "01":
			f.Name = "洛阳示例其他商贸有限公司"
		case f.USCC == stolen && f.SealType == "02":
			f.Image = other
		}
	}
	l.says(licence.KindEstablished, fields(wrong), time.Minute)
	l.says(licence.KindEstablished, fields(stolen), time.Minute)
	l.runs(2*time.Minute, time.Minute)
	l.police.Spoil = nil
	for code, want := range map[string]string{wrong: "name-differs", stolen: "image-taken"} {
		o := l.orderOf(code)
		if o.State != register.OrderException || o.Exception.Code != want || len(must(l.seals.SealsOf(l.ctx, code))(l)) != 0 {
			l.Errorf("order of %s: %s, %+v", code, o.State, o.Exception)
		}
	}
	l.runs(3*time.Hour, time.Hour) // nobody repairs it
	if o := l.orderOf(wrong); o.State != register.OrderException {
		l.Errorf("the order went on by itself to %s", o.State)
	}
	for _, h := range l.held(l.filings) {
		if !h.Again { // the ones that were refused; the others wait for their order
			if err := l.filings.Drop(l.ctx, nil, system.Audit(), h.Seq, "示例：公安机关重新备案"); err != nil {
				l.Error(err)
			}
		}
	}
	must(l.iss.Resolve(l.ctx, nil, system, l.orderOf(wrong).ID, issuance.Continue, "", "示例：已请公安机关更正"))(l)
	must(l.iss.Resolve(l.ctx, nil, system, l.orderOf(stolen).ID, issuance.Continue, "", "示例：印模有误"))(l)
	must(l.iss.Resolve(l.ctx, nil, system, l.orderOf(stolen).ID, issuance.NotEngraved, "02", "示例：企业未刻制财务专用章"))(l)
	if err := l.police.Publish(l.engrave(fields(wrong), "01", 0)); err != nil {
		l.Fatal(err)
	}
	l.runs(3*time.Minute, time.Minute)
}

// pictureOf finds what public security filed for an enterprise, in its feed.
func (l *loop) pictureOf(uscc, sealType string) []byte {
	l.Helper()
	for after := uint64(0); ; {
		p := must(l.ps.Page(context.WithoutCancel(l.ctx), after, 4))(l)
		if len(p.Items) == 0 {
			l.Fatalf("no picture %s of %s", sealType, uscc)
		}
		for _, it := range p.Items {
			var f register.Filing
			if err := json.Unmarshal(it.Message.Payload, &f); err != nil {
				l.Fatal(err)
			}
			if after = it.Seq; f.USCC == uscc && f.SealType == sealType {
				return f.Image
			}
		}
	}
}
