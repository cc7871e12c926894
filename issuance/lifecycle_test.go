package issuance_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

const fourActive = "01 active; 02 active; 03 active; 05 active; "

func all(state string) string { return strings.ReplaceAll(fourActive, "active", state) }

// mutationOf returns the kinds of the records that share a mutation with the last record of a kind.
func (w *world) mutationOf(kind string) []string {
	w.Helper()
	var last, now []string
	for _, r := range must(w.bolt.Records(w.ctx, 0, 10000))(w) {
		e := must(audit.ParseBody(r.Body))(w)
		if r.Part == 0 {
			now = nil
		}
		now = append(now, e.Kind)
		if now[0] == kind {
			last = now
		}
	}
	return last
}

func TestCancelledLicenceCannotSign(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	s := must(w.seals.SealsOf(w.ctx, uscc))(t)[0]
	_, before, err := w.seals.Seal(w.ctx, s.ESID)
	if err != nil {
		t.Fatal(err)
	}
	_, standing, err := w.lib.Standing(w.ctx, uscc)
	if err != nil {
		t.Fatal(err)
	}
	out := must(w.event(licence.KindCancelled, licence.Fields{USCC: uscc}))(t)
	if len(out.Seals) != 4 || out.Order != "" || w.states(uscc) != all("cancelled") {
		t.Errorf("%+v; %s", out, w.states(uscc))
	}
	kinds := strings.Join(w.mutationOf(audit.KindLicenceEvent), " ")
	if strings.Count(kinds, audit.KindSealState) != 4 {
		t.Errorf("records of the event's commit: %s", kinds)
	}
	// What a signature in flight would commit: it expects what it read before the event.
	for name, e := range map[string]store.Expect{"seal": register.ExpectSeal(s.ESID, before), "licence": licence.Expect(uscc, standing)} {
		if _, err := w.bolt.Commit(w.ctx, store.Mutation{Expect: []store.Expect{e}}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s of before the event still stands: %v", name, err)
		}
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("the device of a cancelled enterprise: %v", err)
	}
	if _, err := w.file(w.engrave(fields(uscc), "01", 0)); !errors.Is(err, issuance.ErrNoOrder) {
		t.Errorf("filing for a cancelled enterprise: %v", err)
	}
}

func TestRevocationSuspendsUntilRestored(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	first := must(w.seals.SealsOf(w.ctx, uscc))(t)[0].ESID
	must(w.iss.Suspend(w.ctx, nil, security, first, register.ReasonMisuse, "示例"))(t)
	code := licence.Fields{USCC: uscc}
	for _, step := range []struct {
		kind licence.Kind
		want string
	}{
		{licence.KindDormant, strings.Replace(fourActive, "active", "suspended", 1)},
		{licence.KindRevoked, all("suspended")},
		{licence.KindRestored, strings.Replace(fourActive, "active", "suspended", 1)}, // the misuse hold is not registration's to lift
		{licence.KindFlagged, all("suspended")},
		{licence.KindRevoked, all("suspended")},
		{licence.KindRestored, strings.Replace(fourActive, "active", "suspended", 1)},
		{licence.KindMovedOut, strings.Replace(fourActive, "active", "suspended", 1)},
		{licence.KindAnnulled, all("cancelled")},
	} {
		must(w.event(step.kind, code))(t)
		if got := w.states(uscc); got != step.want {
			t.Errorf("%s: %s", step.kind, got)
		}
	}
	if _, err := w.event(licence.KindRestored, code); !errors.Is(err, licence.ErrTransition) {
		t.Errorf("restoring an annulled licence: %v", err)
	}
}

func TestRevocationStopsTheMaking(t *testing.T) {
	w := newWorld(t)
	order := w.complete(uscc)
	code := licence.Fields{USCC: uscc}
	must(w.event(licence.KindRevoked, code))(t)
	if _, err := w.iss.Make(w.ctx, order); !errors.Is(err, issuance.ErrLicenceInactive) || len(w.sealKeys()) != 0 {
		t.Errorf("making under a revoked licence: %v, %d keys", err, len(w.sealKeys()))
	}
	must(w.event(licence.KindRestored, code))(t)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Errorf("restored: %d made, %v", n, err)
	}
	if _, err := w.event(licence.KindRevoked, code); err != nil {
		t.Fatal(err)
	}
	if _, err := w.collect(order, w.assertion(uscc, person)); !errors.Is(err, issuance.ErrLicenceInactive) {
		t.Errorf("collecting under a revoked licence: %v", err)
	}
	must(w.event(licence.KindCancelled, code))(t)
	if w.order(order).State != register.OrderCancelled || w.states(uscc) != all("cancelled") {
		t.Errorf("order %s, seals %s", w.order(order).State, w.states(uscc))
	}
}

// The licence is revoked between the reading of the licence and the release.
func TestRevocationDuringTheMaking(t *testing.T) {
	w := newWorld(t)
	order := w.complete(uscc)
	commits := 0
	w.gate.before(func() {
		if commits++; commits == 3 { // intents, reading, release
			w.gate.before(nil)
			must(w.event(licence.KindRevoked, licence.Fields{USCC: uscc}))(t)
		}
	})
	if _, err := w.iss.Make(w.ctx, order); !errors.Is(err, issuance.ErrLicenceInactive) || w.states(uscc) != "" {
		t.Errorf("%v; seals %q", err, w.states(uscc))
	}
}

func TestRenaming(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	f := fields(uscc)
	f.Name = "洛阳老城示例新商贸有限公司"
	out := must(w.event(licence.KindChanged, f))(t)
	if got := w.states(uscc); got != "01 cancelled; 02 cancelled; 03 cancelled; 05 active; " {
		t.Errorf("after renaming: %s", got)
	}
	o := w.order(out.Order)
	if len(o.Requests) != 3 || o.Requests[2].Type != "03" || o.LicenceVersion != 2 {
		t.Errorf("order after renaming: %+v", o)
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); err != nil {
		t.Errorf("renaming took the device away: %v", err)
	}
	w.fileAll(f, "01")
	// Renamed again before the set is there: what was ordered under the old name is superseded, the new order has it all.
	f.Name = "洛阳老城示例再商贸有限公司"
	again := must(w.event(licence.KindChanged, f))(t)
	if w.order(out.Order).State != register.OrderSuperseded || len(w.order(again.Order).Requests) != 3 {
		t.Errorf("first order %s, second %+v", w.order(out.Order).State, w.order(again.Order))
	}
	w.fileAll(f, "01", "02", "03")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d made: %v", n, err)
	}
	if got := w.states(uscc); got != "01 cancelled; 02 cancelled; 03 cancelled; 05 active; 01 made; 02 made; 03 made; " {
		t.Errorf("after the new set: %s", got)
	}
	// And once more before it is collected.
	f.Name = "洛阳老城示例末商贸有限公司"
	must(w.event(licence.KindChanged, f))(t)
	if w.order(again.Order).State != register.OrderSuperseded {
		t.Errorf("uncollected order whose seals are gone: %s", w.order(again.Order).State)
	}
	// An address changes nothing.
	f.Address = "老城区示例路2号"
	before := w.states(uscc)
	if out := must(w.event(licence.KindChanged, f))(t); out.Order != "" || len(out.Seals) != 0 || w.states(uscc) != before {
		t.Errorf("change of address: %+v", out)
	}
}

// TestRefusedFilingComesAgain: a filing that made an exception is judged anew under the same Idempotency-Key once its order was replaced; what
// it answers is stored.
func TestRefusedFilingComesAgain(t *testing.T) {
	w := newWorld(t)
	w.establish(uscc)
	renamed := fields(uscc)
	renamed.Name = "洛阳更名示例有限公司"
	req, env := &keystore.Request{Client: police.Client, ID: "filing-1"}, w.sign(w.engrave(renamed, "01", 0))
	if _, err := w.iss.File(w.ctx, req, police, env); !errors.Is(err, issuance.ErrNameDiffers) {
		t.Fatalf("before the renaming: %v", err)
	}
	must(w.event(licence.KindChanged, renamed))(t)
	first := must(w.iss.File(w.ctx, req, police, env))(t)
	if got, _, err := w.seals.Impression(w.ctx, first.Impression.ID); err != nil || got.Filing != first.Impression.Filing {
		t.Errorf("acknowledged and not stored: %v", err)
	}
	if again := must(w.iss.File(w.ctx, req, police, env))(t); !again.Repeated || again.Impression.ID != first.Impression.ID {
		t.Errorf("a third time: %+v", again)
	}
}

func TestNewLegalRepresentative(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	f := fields(uscc)
	f.LegalRep = "司马测乙"
	out := must(w.event(licence.KindChanged, f))(t)
	if got := w.states(uscc); got != "01 active; 02 active; 03 active; 05 cancelled; " {
		t.Errorf("after the change: %s", got)
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("the predecessor's device: %v", err)
	}
	rebind := func(who string) (issuance.CollectOutcome, error) {
		return w.iss.Rebind(w.ctx, nil, national, uscc, must(w.el.Sign(w.assertion(uscc, who)))(t))
	}
	if _, err := rebind(person); !errors.Is(err, issuance.ErrNotResponsible) {
		t.Errorf("the predecessor binds again: %v", err)
	}
	if got, err := rebind(f.LegalRep); err != nil || got.Person != f.LegalRep || got.Order != "" {
		t.Errorf("the successor binds: %+v %v", got, err)
	}
	w.fileAll(f, "05")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := must(w.collect(out.Order, w.assertion(uscc, f.LegalRep)))(t); len(got.Seals) != 1 {
		t.Errorf("collected %v", got.Seals)
	}
	if got := w.states(uscc); got != "01 active; 02 active; 03 active; 05 cancelled; 05 active; " {
		t.Errorf("at the end: %s", got)
	}
}

func TestAsFiled(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Release = register.AsFiled })
	order := w.establish(uscc)
	w.fileAll(fields(uscc), "01")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil || w.states(uscc) != "01 made; " || w.order(order).State != register.AwaitingImpression {
		t.Fatalf("%d made, %v; %s, order %s", n, err, w.states(uscc), w.order(order).State)
	}
	must(w.collect(order, w.assertion(uscc, person)))(t)
	w.fileAll(fields(uscc), "02", "03")
	must(w.iss.Resolve(w.ctx, nil, system, order, issuance.NotEngraved, "05", "示例: 个人名章不刻"))(t)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil || w.states(uscc) != "01 active; 02 made; 03 made; " || w.order(order).State != register.OrderMade {
		t.Fatalf("%d made, %v; %s, order %s", n, err, w.states(uscc), w.order(order).State)
	}
	if got := must(w.collect(order, w.assertion(uscc, person)))(t); len(got.Seals) != 2 || w.order(order).State != register.OrderActive {
		t.Errorf("%+v, order %s", got, w.order(order).State)
	}
}

func TestResolution(t *testing.T) {
	w := newWorld(t)
	order := w.establish(uscc)
	resolve := func(r issuance.Resolution, sealType, why string) error {
		_, err := w.iss.Resolve(w.ctx, nil, system, order, r, sealType, why)
		return err
	}
	for name, c := range map[string]struct{ err, want error }{
		"nothing to continue": {resolve(issuance.Continue, "", "示例"), issuance.ErrResolution},
		"no reason":           {resolve(issuance.CancelOrder, "", " "), issuance.ErrResolution},
		"no such resolution":  {resolve("forget", "", "示例"), issuance.ErrResolution},
		"type not ordered":    {resolve(issuance.NotEngraved, "04", "示例"), register.ErrNotOrdered},
		"by a department": {func() error {
			_, err := w.iss.Resolve(w.ctx, nil, tax, order, issuance.CancelOrder, "", "x")
			return err
		}(), access.ErrNotEntitled},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if err := resolve(issuance.NotEngraved, "03", "示例: 数电发票, 不刻发票章"); err != nil {
		t.Fatal(err)
	}
	w.fileAll(fields(uscc), "01", "02", "05")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil || w.states(uscc) != "01 made; 02 made; 05 made; " {
		t.Errorf("%d made, %v; %s", n, err, w.states(uscc))
	}
	if q, _ := w.order(order).Request("03"); q.State != register.RequestNotEngraved || q.Reason == "" {
		t.Errorf("%+v", q)
	}
	if err := resolve(issuance.CancelOrder, "", "示例"); !errors.Is(err, issuance.ErrResolution) {
		t.Errorf("cancelling a made order: %v", err)
	}
	other := w.establish(codes[1])
	if o, err := w.iss.Resolve(w.ctx, nil, system, other, issuance.CancelOrder, "", "示例"); err != nil || o.State != register.OrderCancelled {
		t.Errorf("%s %v", o.State, err)
	}
}

func TestSealOperations(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	esid := must(w.seals.SealsOf(w.ctx, uscc))(t)[0].ESID
	errOf := func(_ register.Seal, err error) error { return err }
	before := w.bolt.State()
	for name, c := range map[string]struct{ err, want error }{
		"suspending as a department": {errOf(w.iss.Suspend(w.ctx, nil, tax, esid, register.ReasonMisuse, "x")), access.ErrNotEntitled},
		"cancelling as security":     {errOf(w.iss.Cancel(w.ctx, nil, security, esid, register.ReasonAuthorityDecision, "x")), access.ErrNotEntitled},
		"lifting as system":          {errOf(w.iss.Resume(w.ctx, nil, system, esid, register.ReasonMisuse, "x")), access.ErrNotEntitled},
		"unknown seal":               {errOf(w.iss.Suspend(w.ctx, nil, security, "41030299999999", register.ReasonMisuse, "x")), register.ErrUnknown},
		"unknown reason":             {errOf(w.iss.Suspend(w.ctx, nil, security, esid, "mood", "x")), register.ErrReason},
		"registration's reason":      {errOf(w.iss.Suspend(w.ctx, nil, security, esid, register.ReasonLicenceRevoked, "x")), register.ErrRole},
		"nothing to lift":            {errOf(w.iss.Resume(w.ctx, nil, security, esid, register.ReasonMisuse, "x")), register.ErrNotHeld},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if w.bolt.State() != before {
		t.Error("a refusal moved the log")
	}
	must(w.iss.Suspend(w.ctx, nil, national, esid, register.ReasonOwnerRequest, ""))(t) // the owner, by the e-licence system
	if _, err := w.iss.Suspend(w.ctx, nil, national, esid, register.ReasonOwnerRequest, ""); !errors.Is(err, register.ErrHeld) {
		t.Errorf("twice: %v", err)
	}
	must(w.iss.Resume(w.ctx, nil, security, esid, register.ReasonOwnerRequest, ""))(t)
	if got := w.states(uscc); got != fourActive {
		t.Errorf("%s", got)
	}
	for range 2 { // the answer to a filing, once and again
		if err := w.iss.AnswerFiling(w.ctx, nil, police, esid, register.FilingDone, "示例备案"); err != nil {
			t.Error(err)
		}
	}
	if f, at, err := w.seals.Filing(w.ctx, esid); err != nil || f.State != register.FilingDone || at != 2 {
		t.Errorf("%+v, version %d: %v", f, at, err)
	}
	if err := w.iss.AnswerFiling(w.ctx, nil, tax, esid, register.FilingDone, ""); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("answered by a department: %v", err)
	}
}

func TestEventsRefused(t *testing.T) {
	w := newWorld(t)
	at := w.clock.now()
	ev := licence.Event{ID: "reg-1", Kind: licence.KindEstablished, Licence: fields(uscc), EffectiveAt: at, IssuedAt: at}
	env := must(w.reg.Sign(ev))(t)
	before := w.bolt.State()
	if _, err := w.iss.Event(w.ctx, nil, police, env); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by another role: %v", err)
	}
	ev.Licence.USCC = "91410302YYY00002X8"
	if _, err := w.iss.Event(w.ctx, nil, registrar, must(w.reg.Sign(ev))(t)); !errors.Is(err, licence.ErrUSCC) {
		t.Errorf("wrong code: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("a refused event moved the log")
	}
}

func TestExpectationGoesOut(t *testing.T) {
	w := newWorld(t)
	order := w.establish(uscc)
	jobs := must(w.bolt.Claim(w.ctx, register.QueueFiling, 10, time.Minute))(t)
	var n register.Notice
	if len(jobs) != 1 || json.Unmarshal(jobs[0].Body, &n) != nil || n.Kind != "expect-impressions" || n.Order != order || len(n.Types) != 4 {
		t.Errorf("%d messages, %+v", len(jobs), n)
	}
}

func TestSets(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Sets["92"] = []string{"01", "05"} })
	f := fields("92410311YYY0000H21")
	out := must(w.event(licence.KindEstablished, f))(t)
	if o := w.order(out.Order); len(o.Requests) != 2 || o.Requests[1].Type != "05" {
		t.Errorf("set of an individual business: %+v", o.Requests)
	}
}

func TestConfigRefused(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*issuance.Config){
		"no key of public security": func(c *issuance.Config) { c.PublicSecurity = nil },
		"no key of the e-licence":   func(c *issuance.Config) { c.ELicence = nil },
		"unknown release":           func(c *issuance.Config) { c.Release = "soon" },
		"seals of 30 years":         func(c *issuance.Config) { c.SealYears = 30 },
		"unknown type in a set":     func(c *issuance.Config) { c.Sets = map[string][]string{"": {"77"}} },
		"a type twice":              func(c *issuance.Config) { c.Sets = map[string][]string{"": {"01", "01"}} },
		"no default set":            func(c *issuance.Config) { c.Sets = map[string][]string{"91": {"01"}} },
	} {
		cfg := w.cfg
		change(&cfg)
		if _, err := issuance.New(w.iss.Parts, cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	p := w.iss.Parts
	p.Maker.Certificate = w.made[1]
	if _, err := issuance.New(p, w.cfg); err == nil {
		t.Error("a maker with another's certificate is accepted")
	}
	if _, err := issuance.New(issuance.Parts{}, w.cfg); err == nil {
		t.Error("missing parts are accepted")
	}
}

func TestLongNames(t *testing.T) {
	w := newWorld(t)
	f := fields(uscc)
	f.Name = "洛阳" + strings.Repeat("示例", 44) + "有限公司"
	must(w.event(licence.KindEstablished, f))(t)
	for _, k := range types {
		g := w.engrave(fields(uscc), k, 0) // the drawing does not matter here, the name on the filing does
		g.Name = f.Name
		must(w.file(g))(t)
	}
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d made: %v", n, err)
	}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(t) {
		if len(s.Name) > 300 || s.Enterprise != f.Name || !strings.HasPrefix(s.Name, "洛阳示例") || !strings.HasSuffix(s.Name, "章") && s.Type != "05" {
			t.Errorf("seal %s is named %q", s.Type, s.Name)
		}
	}
}
