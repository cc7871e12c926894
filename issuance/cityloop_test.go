package issuance_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sealkeeper/connector/account"
	"sealkeeper/connector/sim"
	"sealkeeper/issuance"
	"sealkeeper/issuance/reconcile"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// citizens is how many enterprises the loop below is run for.
const citizens = 200

// cityLoop is a loop with many enterprises, whose seals' keys are wrapped.
type cityLoop struct {
	*loop
	now map[string]licence.Fields // as the registry has them
}

func newCityLoop(t *testing.T) *cityLoop {
	t.Helper()
	l := &cityLoop{loop: newLoop(t), now: map[string]licence.Fields{}}
	if err := l.keys.UseWrapping(keystore.WrappingPolicy{Purposes: []keystore.Purpose{keystore.PurposeSeal}}); err != nil {
		t.Fatal(err)
	}
	officer := func(role, id string) audit.Actor { return audit.Actor{Role: role, ID: id} }
	must(l.keys.MakeKEK(l.ctx, "first", officer(register.RoleSystem, "system"), officer(register.RoleSecurity, "security")))(t)
	for k, s := range l.cfg.Types { // small pictures: what is looked at here is not how they are drawn
		s.Template.MinDPI = 140
		l.cfg.Types[k] = s
	}
	l.police.DPI = 150
	l.police.Enterprise = func(uscc string) (licence.Fields, bool) { f, ok := l.now[uscc]; return f, ok }
	return l
}

// code is that of the nth enterprise.
func (l *cityLoop) code(n int) string { l.Helper(); return syntheticCode(l, n) }

// founds puts an enterprise's establishment into the registry's feed.
func (l *cityLoop) founds(n int, ago time.Duration) {
	l.Helper()
	const words = "春夏秋冬东西南北山水风云金木火土"
	r := []rune(words)
	f := fields(l.code(n))
	f.Name = fmt.Sprintf("洛阳示例%c%c%c商贸有限公司", r[n%16], r[n/16%16], r[(n*7+3)%16])
	f.LegalRep = fmt.Sprintf("欧阳测%c%c", r[n%16], r[n/16%16])
	l.now[f.USCC] = f
	l.says(licence.KindEstablished, f, ago)
}

// alters puts a change of an enterprise's registration into the feed.
func (l *cityLoop) alters(n int, change func(f *licence.Fields)) {
	l.Helper()
	f := l.now[l.code(n)]
	change(&f)
	l.now[f.USCC] = f
	l.says(licence.KindChanged, f, time.Minute)
}

// collectAll takes over whatever waits to be collected, each by the person whom the licence names.
func (l *cityLoop) collectAll() (n int) {
	l.Helper()
	for _, o := range must(l.seals.OrdersIn(l.ctx, register.OrderMade))(l) {
		if s, _, err := l.lib.Standing(l.ctx, o.USCC); err != nil || !s.Status.Effect().SealUse {
			continue
		}
		must(l.collect(o.ID, l.assertion(o.USCC, l.now[o.USCC].LegalRep)))(l)
		n++
	}
	return n
}

func (l *cityLoop) seal(n int, sealType string) register.Seal {
	l.Helper()
	var last register.Seal
	for _, s := range must(l.seals.SealsOf(l.ctx, l.code(n)))(l) {
		if s.Type == sealType {
			last = s
		}
	}
	return last
}

// reconciled is what sealctl reconcile says of this appliance.
func (l *cityLoop) reconciled() reconcile.Page {
	l.Helper()
	return l.world.reconciled(reconcile.Parts{
		Accounts: func(ctx context.Context, uscc string) (reconcile.Account, error) {
			a, err := l.acct.Get(ctx, uscc)
			if errors.Is(err, account.ErrUnknown) {
				err = nil
			}
			return reconcile.Account{State: a.State, Licence: a.Licence}, err
		},
		Outside: func(context.Context) (all []reconcile.Queue) {
			for _, q := range l.out.Queues() {
				s := l.out.Stats(q)
				all = append(all, reconcile.Queue{Name: q, Waiting: s.Waiting, Dead: s.Dead})
			}
			return append(all, reconcile.Queue{Name: "registration", Feed: true, Held: l.events.Stats().Held},
				reconcile.Queue{Name: "public-security", Feed: true, Held: l.filings.Stats().Held})
		},
	})
}

// TestClosedLoopOfACity runs the whole loop for 200 enterprises: founded while everybody misbehaves and public security is away for a day, every row of
// the table of docs/lifecycle.md afterwards, and at the end nothing is left to reconcile.
func TestClosedLoopOfACity(t *testing.T) {
	l := newCityLoop(t)
	l.founding()
	if n := l.collectAll(); n != citizens {
		t.Fatalf("%d sets were collected", n)
	}
	l.turn()
	l.living()
	l.police.Behave(sim.Well, 0)
	l.runs(2*time.Hour, 30*time.Minute)
	l.collectAll()
	l.runs(10*time.Minute, 5*time.Minute)
	all := l.reconciled()
	for _, f := range all.Findings {
		t.Errorf("%s %s %s: %s", f.Code, f.Subject, f.USCC, f.Detail)
	}
	if all.Enterprises != citizens || all.Seals < 4*citizens {
		t.Errorf("%d enterprises and %d seals were looked at", all.Enterprises, all.Seals)
	}
	l.settled()
}

// founding establishes everybody: most at once, some in the wrong order or by a clock that is ahead, some during the day without public security, two
// with filings that cannot be taken.
func (l *cityLoop) founding() {
	l.Helper()
	const outage, wrong, stolen, early, swapped = 20, citizens - 1, citizens - 2, citizens - 3, citizens - 4
	l.accounts.Behave(sim.Twice, 5)
	l.notices.Behave(sim.Lost, 5)
	l.registry.Behave(sim.Garbage, 1)
	for n := outage; n < swapped; n++ {
		l.founds(n, time.Minute)
	}
	for range 3 {
		l.runs(time.Minute, time.Minute)
	}
	l.founds(early, -time.Hour)
	moved := fields(l.code(swapped))
	moved.Name, moved.Address = "洛阳示例先后商贸有限公司", "老城区示例路2号"
	l.now[moved.USCC] = moved
	l.says(licence.KindChanged, moved, time.Minute)
	l.turn()
	if n := len(l.held(l.events)); n != 2 {
		l.Errorf("%d events held", n)
	}
	moved.Address = ""
	l.says(licence.KindEstablished, moved, 2*time.Minute)
	l.says(licence.KindEstablished, moved, 2*time.Minute) // the same again
	l.police.Behave(sim.Down, -1)
	for n := range outage {
		l.founds(n, time.Minute)
	}
	l.runs(25*time.Hour, time.Hour)
	if s := l.out.Stats(register.QueueFiling); !s.Down || s.Dead != 0 || s.Waiting == 0 {
		l.Errorf("after a day: %+v", s)
	}
	l.police.Behave(sim.Garbage, 3)
	l.runs(2*time.Hour, 10*time.Minute)
	l.spoiled(wrong, stolen)
	l.runs(time.Hour, 10*time.Minute)
}

// spoiled files one impression under another name and one with another enterprise's picture; humans decide both.
func (l *cityLoop) spoiled(wrong, stolen int) {
	l.Helper()
	other := l.pictureOf(l.code(30), "02")
	l.police.Spoil = func(f *register.Filing) {
		switch {
		case f.USCC == l.code(wrong) && f.SealType == "01":
			f.Name = "洛阳示例其他商贸有限公司"
		case f.USCC == l.code(stolen) && f.SealType == "02":
			f.Image = other
		}
	}
	l.founds(wrong, time.Minute)
	l.founds(stolen, time.Minute)
	l.police.Behave(sim.Hang, 1)
	l.runs(30*time.Minute, 10*time.Minute)
	l.police.Spoil = nil
	if found := l.reconciled().Findings; len(found) < 2 {
		l.Errorf("two orders wait for a human, found %+v", found)
	}
	for _, h := range l.held(l.filings) {
		if !h.Again {
			if err := l.filings.Drop(l.ctx, nil, system.Audit(), h.Seq, "示例：公安机关重新备案"); err != nil {
				l.Error(err)
			}
		}
	}
	for n, want := range map[int]string{wrong: "name-differs", stolen: "image-taken"} {
		o := l.orderOf(l.code(n))
		if o.State != register.OrderException || o.Exception.Code != want {
			l.Errorf("order of %d: %s, %+v", n, o.State, o.Exception)
			continue
		}
		must(l.iss.Resolve(l.ctx, nil, system, o.ID, issuance.Continue, "", "示例：已请公安机关更正"))(l)
		anew := must(l.police.Engrave(l.now[o.USCC], o.Exception.Type, 9_000_000+n, 0, l.clock.now()))(l)
		if err := l.police.Publish(anew); err != nil {
			l.Error(err)
		}
	}
}

// living lets every row of the table happen, each to enterprises of its own, over the feeds where the event comes over one.
func (l *cityLoop) living() {
	l.Helper()
	end := func(n int, kind licence.Kind, c licence.Cause) {
		l.Helper()
		at := l.clock.now().Add(-time.Minute)
		e := must(l.registry.Sign(licence.Event{ID: fmt.Sprintf("reg-end-%d", n), Kind: kind, Cause: c, Licence: licence.Fields{USCC: l.code(n)}, EffectiveAt: at, IssuedAt: at}))(l)
		l.registry.Add(e)
	}
	notify := func(n int, what register.NoticeWhat, id string) {
		l.Helper()
		imp, _, err := l.seals.Impression(l.ctx, l.seal(n, "01").Impression)
		if err := l.police.Notify(register.SealNotice{ID: id, What: what, FilingNumber: must(imp, err)(l).Filing, Reference: fmt.Sprintf("示例公字%d号", n), At: l.clock.now()}); err != nil {
			l.Fatal(err)
		}
	}
	l.clock.passes(2 * time.Hour) // behind every clock that was ahead
	for n := range 10 {           // ten of each
		l.alters(40+n, func(f *licence.Fields) { f.Name = "洛阳更名" + f.Name[len("洛阳"):] })
		l.alters(50+n, func(f *licence.Fields) { f.LegalRep += "乙" })
		l.alters(60+n, func(f *licence.Fields) { f.Address = "老城区示例路3号" })
		notify(70+n, register.NoticeLost, fmt.Sprintf("N-lost-%d", n))
		notify(80+n, register.NoticeFreeze, fmt.Sprintf("N-freeze-%d", n))
	}
	for n, e := range []struct {
		kind  licence.Kind
		cause licence.Cause
	}{{licence.KindRevoked, ""}, {licence.KindFlagged, licence.CauseBankrupt}, {licence.KindCancelled, ""}, {licence.KindCancelled, licence.CauseMerged}, {licence.KindCancelled, licence.CauseSplit},
		{licence.KindCancelled, licence.CauseBankrupt}, {licence.KindAnnulled, ""}, {licence.KindMovedOut, ""}, {licence.KindDormant, ""}} {
		end(90+n, e.kind, e.cause)
	}
	l.registry.Behave(sim.Twice, 2)
	l.police.Behave(sim.Lost, 2)
	l.runs(time.Hour, 20*time.Minute)
	for n := range 10 {
		notify(80+n, register.NoticeLift, fmt.Sprintf("N-lift-%d", n))
		misused := l.seal(110+n, "02").ESID
		must(l.iss.Suspend(l.ctx, nil, security, misused, register.ReasonMisuse, "示例"))(l)
		must(l.iss.Suspend(l.ctx, nil, security, l.seal(120+n, "01").ESID, register.ReasonCourtFreeze, "(2026)豫示例执1号"))(l)
		must(l.iss.FreezeDevice(l.ctx, nil, national, l.code(130+n), "示例：挂失"))(l)
		must(l.iss.Rebind(l.ctx, nil, national, l.code(130+n), must(l.el.Sign(l.assertion(l.code(130+n), l.now[l.code(130+n)].LegalRep)))(l)))(l)
		must(l.iss.Reissue(l.ctx, nil, system, l.seal(140+n, "03").ESID, "示例：换发"))(l)
		must(l.iss.Cancel(l.ctx, nil, system, l.seal(150+n, "02").ESID, register.ReasonAuthorityDecision, "示例决定1号"))(l)
	}
	for _, s := range must(l.seals.SealsOf(l.ctx, l.code(97)))(l) { // the receiving place has issued
		must(l.iss.Cancel(l.ctx, nil, system, s.ESID, register.ReasonMovedOut, "示例：迁入地已制发"))(l)
	}
}

// settled looks at one enterprise of each kind at the end, and that public security heard of every state of every seal.
func (l *cityLoop) settled() {
	l.Helper()
	for n, want := range map[int]string{
		40:  "01 cancelled; 02 cancelled; 03 cancelled; 05 active; 01 active; 02 active; 03 active; ",
		50:  "01 active; 02 active; 03 active; 05 cancelled; 05 active; ",
		60:  fourActive,
		70:  "01 superseded; 02 active; 03 active; 05 active; 01 active; ",
		80:  fourActive,
		90:  all("suspended"),
		91:  all("suspended"),
		92:  all("cancelled"),
		93:  all("cancelled"),
		94:  all("cancelled"),
		95:  all("cancelled"),
		96:  all("cancelled"),
		97:  all("cancelled"),
		98:  fourActive,
		110: "01 active; 02 suspended; 03 active; 05 active; ",
		120: "01 suspended; 02 active; 03 active; 05 active; ",
		130: fourActive,
		140: "01 active; 02 active; 03 superseded; 05 active; 03 active; ",
		150: "01 active; 02 cancelled; 03 active; 05 active; ",
		199: fourActive,
		198: fourActive,
	} {
		if got := l.states(l.code(n)); got != want {
			l.Errorf("enterprise %d: %s", n, got)
		}
	}
	heard := map[string]string{}
	for _, n := range l.police.Notices() {
		if n.Kind == "seal-state" {
			heard[n.ESID] = n.State
		}
	}
	for n := range citizens {
		for _, s := range must(l.seals.SealsOf(l.ctx, l.code(n)))(l) {
			if heard[s.ESID] != string(s.State) || l.police.Filed(s.ESID) != "03" {
				l.Errorf("seal %s is %s here, and %q, filed as %q, there", s.ESID, s.State, heard[s.ESID], l.police.Filed(s.ESID))
			}
		}
		a, known := l.accounts.Account(l.code(n))
		if s, _, err := l.lib.Standing(l.ctx, l.code(n)); err != nil || !known || a.Name != s.Name || a.LegalRep != s.LegalRep || (a.Kind == "close") != s.Status.Effect().Final {
			l.Errorf("account of %d: %+v, %v", n, a, err)
		}
	}
}
