package issuance_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// older takes an enterprise in that is older than the library: it has no order.
func (w *world) older(code string) {
	w.Helper()
	reasons, err := w.iss.Import(w.ctx, registrar, []envelope.Envelope{w.signed(licence.KindEstablished, fields(code))})
	if err != nil || reasons[0] != nil || len(must(w.seals.OrdersOf(w.ctx, code))(w)) != 0 {
		w.Fatal(reasons, err)
	}
}

func (w *world) apply(code, who string) (register.Order, error) {
	w.Helper()
	return w.iss.Apply(w.ctx, nil, national, code, must(w.el.Sign(w.assertion(code, who)))(w))
}

// sent lists what waits in a queue of the outbox.
func sent[T any](w *world, queue string) []T {
	w.Helper()
	var all []T
	for _, j := range must(w.bolt.Claim(w.ctx, queue, 100, time.Minute))(w) {
		var m T
		if err := json.Unmarshal(j.Body, &m); err != nil {
			w.Fatal(err)
		}
		if err := w.bolt.Done(w.ctx, j); err != nil {
			w.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// TestApplication: an enterprise that is older than the library applies itself and gets its set; what it has or has ordered it does not get again.
func TestApplication(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Notices = true })
	w.older(uscc)
	for name, c := range map[string]struct {
		actor access.Actor
		who   string
		code  string
		want  error
	}{
		"somebody else":  {national, "示例他人", uscc, issuance.ErrNotResponsible},
		"a department":   {tax, person, uscc, access.ErrNotEntitled},
		"for another":    {national, person, "91410303YYY000038M", access.ErrAssertionForeign},
		"not registered": {national, person, "91410304YYY000046Y", licence.ErrUnknown},
	} {
		a := w.assertion(c.code, c.who)
		if name == "for another" {
			a.USCC = uscc
		}
		if _, err := w.iss.Apply(w.ctx, nil, c.actor, c.code, must(w.el.Sign(a))(t)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	a := must(w.el.Sign(w.assertion(uscc, person)))(t)
	req := &keystore.Request{Client: national.Client, ID: "apply-1", Digest: [32]byte{1}}
	o := must(w.iss.Apply(w.ctx, req, national, uscc, a))(t)
	if o.State != register.AwaitingImpression || len(o.Requests) != 4 {
		t.Fatalf("order %+v", o)
	}
	if again := must(w.iss.Apply(w.ctx, req, national, uscc, a))(t); again.ID != o.ID {
		t.Errorf("the same request again opened %s", again.ID)
	}
	if _, err := w.iss.Apply(w.ctx, nil, national, uscc, a); !errors.Is(err, access.ErrAssertionReplayed) {
		t.Errorf("the same assertion again: %v", err)
	}
	if _, err := w.apply(uscc, person); !errors.Is(err, issuance.ErrNothingToApply) {
		t.Errorf("applying twice: %v", err)
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("an application binds a device: %v", err)
	}
	if told := sent[issuance.NoticeMessage](w, issuance.QueueNotice); len(told) != 1 || told[0].Kind != issuance.NoticeOrdered || told[0].Order != o.ID {
		t.Errorf("told %+v", told)
	}
	w.fileAll(fields(uscc), types...)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	must(w.collect(o.ID, w.assertion(uscc, person)))(t)
	if _, err := w.apply(uscc, person); !errors.Is(err, issuance.ErrNothingToApply) {
		t.Errorf("applying with a whole set: %v", err)
	}
	s := must(w.seals.SealsOf(w.ctx, uscc))(t)[1]
	must(w.iss.Cancel(w.ctx, nil, system, s.ESID, register.ReasonOwnerRequest, "示例"))(t)
	if o = must(w.apply(uscc, person))(t); len(o.Requests) != 1 || o.Requests[0].Type != s.Type {
		t.Errorf("applying for the one that is lacking: %+v", o)
	}
	must(w.event(licence.KindRevoked, fields(uscc)))(t)
	if _, err := w.apply(uscc, person); !errors.Is(err, issuance.ErrLicenceInactive) {
		t.Errorf("with a revoked licence: %v", err)
	}
}

// TestInvitations: enterprises without their seals are told by list; the others are named with the reason.
func TestInvitations(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Notices = true })
	const revoked, ordered, strange = "91410303YYY000038M", "91410304YYY000046Y", "91410305YYY0000548"
	w.older(uscc)
	w.older(revoked)
	must(w.event(licence.KindRevoked, fields(revoked)))(t)
	w.establish(ordered)
	sent[issuance.NoticeMessage](w, issuance.QueueNotice)
	list := []string{uscc, revoked, ordered, strange, "91410302YYY00002X8", uscc}
	req := &keystore.Request{Client: system.Client, ID: "invite-1", Digest: [32]byte{1}}
	got := must(w.iss.Invite(w.ctx, req, system, list))(t)
	want := []issuance.NotInvited{{USCC: revoked, Code: "licence-inactive"}, {USCC: ordered, Code: "nothing-to-apply"}, {USCC: strange, Code: "licence-unknown"},
		{USCC: list[4], Code: "uscc-invalid"}, {USCC: uscc, Code: "named-twice"}}
	if got.Invited != 1 || !slices.Equal(got.Refused, want) {
		t.Errorf("invited %+v", got)
	}
	if again := must(w.iss.Invite(w.ctx, req, system, list))(t); again.Invited != 1 || !slices.Equal(again.Refused, want) {
		t.Errorf("the same request again: %+v", again)
	}
	told := sent[issuance.NoticeMessage](w, issuance.QueueNotice)
	if len(told) != 1 || told[0].Kind != issuance.NoticeInvited || told[0].USCC != uscc || told[0].Seals != 4 {
		t.Errorf("told %+v", told)
	}
	if _, err := w.iss.Invite(w.ctx, nil, security, list); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by the security officer: %v", err)
	}
	for _, bad := range [][]string{nil, make([]string, issuance.MaxInvited+1)} {
		if _, err := w.iss.Invite(w.ctx, nil, system, bad); !errors.Is(err, issuance.ErrResolution) {
			t.Errorf("a list of %d: %v", len(bad), err)
		}
	}
}

func TestNoInvitations(t *testing.T) {
	if _, err := newWorld(t).iss.Invite(t.Context(), nil, system, []string{uscc}); !errors.Is(err, issuance.ErrNoNotices) {
		t.Errorf("without a notice system: %v", err)
	}
}

// TestExpiry: orders that wait too long expire, those that a human must look at do not; seals that nobody collected are cancelled, those that were stay.
func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t, func(c *issuance.Config) {
		c.Notices, c.ExpireImpressions, c.ExpireCollection = true, 30*day, 90*day
		c.Release = register.AsFiled
	})
	const excepted, partly, made = "91410303YYY000038M", "91410304YYY000046Y", "91410305YYY0000548"
	empty := w.establish(uscc)
	waits := w.establish(excepted)
	bad := w.engrave(fields(excepted), "01", 0)
	bad.Name = "洛阳示例其他商贸有限公司"
	if _, err := w.file(bad); !errors.Is(err, issuance.ErrNameDiffers) {
		t.Fatal(err)
	}
	half := w.establish(partly)
	w.fileAll(fields(partly), "01")
	must(w.iss.Finish(w.ctx))(t)
	must(w.collect(half, w.assertion(partly, person)))(t)
	full := w.set(made)
	expire := func(want int) {
		t.Helper()
		if n, err := w.iss.Expire(w.ctx); n != want || err != nil {
			t.Errorf("%d orders ended, want %d: %v", n, want, err)
		}
	}
	w.clock.passes(29 * day)
	expire(0)
	w.clock.passes(2 * day)
	expire(2)
	w.clock.passes(60 * day)
	expire(1)
	expire(0)
	for id, want := range map[string]register.OrderState{empty: register.OrderExpired, waits: register.OrderException, half: register.OrderExpired, full: register.OrderExpired} {
		if got := w.order(id).State; got != want {
			t.Errorf("order %s is %s, want %s", id, got, want)
		}
	}
	if got := w.states(partly); got != "01 active; " {
		t.Errorf("collected seals: %s", got)
	}
	if got := w.states(made); got != "01 cancelled; 02 cancelled; 03 cancelled; 05 cancelled; " {
		t.Errorf("uncollected seals: %s", got)
	}
	if s := must(w.seals.SealsOf(w.ctx, made))(t)[0]; s.EndReason != register.ReasonNotCollected {
		t.Errorf("reason %s", s.EndReason)
	}
	if _, err := w.collect(full, w.assertion(made, person)); !errors.Is(err, issuance.ErrNothingToCollect) {
		t.Errorf("collecting what expired: %v", err)
	}
	if _, err := w.file(w.engrave(fields(uscc), "01", 0)); !errors.Is(err, issuance.ErrNoOrder) {
		t.Errorf("a filing for what expired: %v", err)
	}
	expired := 0
	for _, n := range sent[issuance.NoticeMessage](w, issuance.QueueNotice) {
		if n.Kind == issuance.NoticeExpired {
			expired++
		}
	}
	if expired != 3 {
		t.Errorf("%d enterprises were told", expired)
	}
	if o := must(w.apply(uscc, person))(t); len(o.Requests) != 4 {
		t.Errorf("applying anew: %+v", o)
	}
}

// TestAccountMessages: an account opens with the licence, follows name and person, and closes with it; nothing else is told.
func TestAccountMessages(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.Accounts = true })
	f := fields(uscc)
	w.establish(uscc)
	for _, change := range []func(){func() { f.Address = "老城区示例路9号" }, func() { f.LegalRep = "欧阳测乙" }, func() { f.Name = "洛阳老城示例贸易有限公司" }} {
		change()
		must(w.event(licence.KindChanged, f))(t)
	}
	must(w.event(licence.KindRevoked, f))(t)
	must(w.event(licence.KindCancelled, f))(t)
	var got []string
	versions := []int{}
	for _, m := range sent[issuance.AccountMessage](w, issuance.QueueAccount) {
		got = append(got, m.Kind+" "+m.LegalRep)
		versions = append(versions, m.Version)
	}
	if want := []string{"open 欧阳测甲", "change 欧阳测乙", "change 欧阳测乙", "close 欧阳测乙"}; !slices.Equal(got, want) || !slices.Equal(versions, []int{1, 3, 4, 6}) {
		t.Errorf("told %v of versions %v", got, versions)
	}
}
