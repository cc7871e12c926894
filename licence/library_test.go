package licence_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

const uscc = "91410302YYY00002X7"

var actor = audit.Actor{Role: "source-registration", ID: "registration"}

// desk is a library over a real store file with a registration system that can sign.
type desk struct {
	testing.TB
	st  store.Store
	lib *licence.Library
	key *softkey.Key
}

func newKey(t testing.TB) *softkey.Key {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newDesk(t testing.TB, mode licence.Mode) *desk {
	t.Helper()
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Collections: licence.Collections(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	d := &desk{TB: t, st: st, key: newKey(t)}
	if d.lib, err = licence.New(st, licence.Config{Mode: mode, Pinned: []*gm.PublicKey{d.key.Public()}}); err != nil {
		t.Fatal(err)
	}
	return d
}

func fields() licence.Fields {
	return licence.Fields{USCC: uscc, Name: "洛阳老城示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲", Capital: "100.5",
		Established: "2026-01-05", TermFrom: "2026-01-05", Scope: "示例货物的销售", Address: "老城区示例路1号", Division: "410302", Approved: "2026-01-05"}
}

// at gives the n-th hour of a fixed day well in the past.
func at(n int) time.Time { return time.Date(2026, 1, 5, n, 0, 0, 0, time.UTC) }

func event(n int, kind licence.Kind, change func(*licence.Event)) licence.Event {
	ev := licence.Event{ID: "reg-" + at(n).Format("150405"), Kind: kind, Licence: fields(), EffectiveAt: at(n), IssuedAt: at(n)}
	if change != nil {
		change(&ev)
	}
	return ev
}

func (d *desk) sign(ev any) envelope.Envelope {
	d.Helper()
	e, err := envelope.Seal(licence.EventKind, ev, d.key.Sign)
	if err != nil {
		d.Fatal(err)
	}
	return e
}

// take prepares and commits.
func (d *desk) take(ev any) (licence.Change, error) {
	d.Helper()
	c, err := d.lib.Prepare(context.Background(), d.sign(ev), actor)
	if err != nil || c.Repeated {
		return c, err
	}
	_, err = d.st.Commit(context.Background(), store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit})
	return c, err
}

func (d *desk) must(ev any) licence.Change {
	d.Helper()
	c, err := d.take(ev)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func TestLicenceHistory(t *testing.T) {
	d, ctx := newDesk(t, licence.Demo), context.Background()
	d.must(event(1, licence.KindEstablished, nil))
	renamed := event(3, licence.KindChanged, func(e *licence.Event) { e.Licence.Name = "洛阳老城示例新商贸有限公司" })
	if c := d.must(renamed); c.Before.Name != fields().Name || c.Licence.Version != 2 {
		t.Errorf("change: %+v", c)
	}
	d.must(event(5, licence.KindRevoked, func(e *licence.Event) { e.Licence = licence.Fields{USCC: uscc} }))

	for name, c := range map[string]struct {
		at      time.Time
		version int
		status  licence.Status
		name    string
		until   time.Time
	}{
		"at the first moment":  {at(1), 1, licence.Active, fields().Name, at(3)},
		"just before renaming": {at(3).Add(-1), 1, licence.Active, fields().Name, at(3)},
		"renamed":              {at(4), 2, licence.Active, "洛阳老城示例新商贸有限公司", at(5)},
		"revoked":              {at(9), 3, licence.RevokedOpen, "洛阳老城示例新商贸有限公司", time.Time{}},
	} {
		l, err := d.lib.At(ctx, uscc, c.at)
		if err != nil || l.Version != c.version || l.Status != c.status || l.Name != c.name || !l.ValidTo.Equal(c.until) {
			t.Errorf("%s: %+v %v", name, l, err)
		}
	}
	if _, err := d.lib.At(ctx, uscc, at(0)); !errors.Is(err, licence.ErrUnknown) {
		t.Errorf("before the first version: %v", err)
	}
	cur, v, err := d.lib.Current(ctx, uscc)
	s, sv, err2 := d.lib.Standing(ctx, uscc)
	if err != nil || err2 != nil || cur.Version != 3 || s.Version != 3 || v != sv || v != 3 || s.Status != licence.RevokedOpen {
		t.Errorf("current %+v v%d, standing %+v v%d: %v %v", cur, v, s, sv, err, err2)
	}
	all, err := d.lib.Versions(ctx, uscc)
	if err != nil || len(all) != 3 || all[0].Name != fields().Name || !all[1].ValidTo.Equal(at(5)) {
		t.Errorf("versions: %+v %v", all, err)
	}
	env, err := d.lib.Evidence(ctx, renamed.ID)
	if err != nil || envelope.Open(env, licence.EventKind, []*gm.PublicKey{d.key.Public()}, new(licence.Event)) != nil {
		t.Errorf("evidence: %v", err)
	}
}

func TestEventsRefused(t *testing.T) {
	d, ctx := newDesk(t, licence.Demo), context.Background()
	d.must(event(2, licence.KindEstablished, nil))
	changed := func(f func(*licence.Event)) licence.Event { return event(3, licence.KindChanged, f) }
	cases := map[string]struct {
		ev   any
		want error
	}{
		"unknown kind":            {event(3, "merged", nil), licence.ErrEventKind},
		"unknown field":           {map[string]any{"id": "x", "colour": "red"}, envelope.ErrPayload},
		"no identifier":           {changed(func(e *licence.Event) { e.ID = "" }), licence.ErrEventForm},
		"no times":                {changed(func(e *licence.Event) { e.IssuedAt = time.Time{} }), licence.ErrEventForm},
		"from the future":         {changed(func(e *licence.Event) { e.EffectiveAt = time.Now().Add(time.Hour) }), licence.ErrEventFuture},
		"too large":               {changed(func(e *licence.Event) { e.Licence.Scope = strings.Repeat("示", 100000) }), licence.ErrEventForm},
		"wrong code":              {changed(func(e *licence.Event) { e.Licence.USCC = "91410302YYY00002X8" }), licence.ErrUSCC},
		"real code in demo":       {changed(func(e *licence.Event) { e.Licence.USCC = "91350100M000100Y43" }), licence.ErrNotSynthetic},
		"no name":                 {changed(func(e *licence.Event) { e.Licence.Name = "" }), licence.ErrFields},
		"name turns direction":    {changed(func(e *licence.Event) { e.Licence.Name = "示例\u202e司公" }), licence.ErrFields},
		"no such day":             {changed(func(e *licence.Event) { e.Licence.Approved = "2026-02-30" }), licence.ErrFields},
		"term runs backwards":     {changed(func(e *licence.Event) { e.Licence.TermTo = "2020-01-01" }), licence.ErrFields},
		"older":                   {event(1, licence.KindChanged, nil), licence.ErrEventOrder},
		"as old":                  {event(2, licence.KindChanged, func(e *licence.Event) { e.ID = "other" }), licence.ErrEventOrder},
		"effect before the last":  {changed(func(e *licence.Event) { e.EffectiveAt = at(1) }), licence.ErrEventOrder},
		"established twice":       {event(4, licence.KindEstablished, nil), licence.ErrTransition},
		"nothing to restore":      {event(4, licence.KindRestored, nil), licence.ErrTransition},
		"change of an unknown":    {changed(func(e *licence.Event) { e.Licence.USCC = "91410303YYY000038M" }), licence.ErrTransition},
		"revocation that renames": {event(4, licence.KindRevoked, func(e *licence.Event) { e.Licence.Name = "洛阳示例" }), licence.ErrFields},
		"identifier reused":       {event(2, licence.KindEstablished, func(e *licence.Event) { e.Licence.Address = "老城区示例路2号" }), licence.ErrEventReused},
	}
	before := d.st.State()
	for name, c := range cases {
		if _, err := d.take(c.ev); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	signed := d.sign(changed(nil))
	for name, c := range map[string]struct {
		change func(*envelope.Envelope)
		want   error
	}{
		"unsigned":     {func(e *envelope.Envelope) { e.Signature = nil }, envelope.ErrUnsigned},
		"another kind": {func(e *envelope.Envelope) { e.Kind = "impression-filing/1" }, envelope.ErrUnsigned},
		"altered":      {func(e *envelope.Envelope) { e.Payload = append([]byte(" "), e.Payload...) }, envelope.ErrSignature},
		"foreign key": {func(e *envelope.Envelope) {
			sig, err := newKey(t).Sign(e.SignedBytes())
			if err != nil {
				t.Fatal(err)
			}
			e.Signature = sig
		}, envelope.ErrSignature},
	} {
		e := signed
		c.change(&e)
		if _, err := d.lib.Prepare(ctx, e, actor); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if d.st.State().Root != before.Root {
		t.Error("a refused event changed the store")
	}
	if l, _, err := d.lib.Current(ctx, uscc); err != nil || l.Version != 1 {
		t.Errorf("licence after the refusals: %+v %v", l, err)
	}
}

func TestProductionRefusesSynthetic(t *testing.T) {
	d := newDesk(t, licence.Production)
	if _, err := d.take(event(1, licence.KindEstablished, nil)); !errors.Is(err, licence.ErrSynthetic) {
		t.Errorf("synthetic: %v", err)
	}
	// The code printed in GB 32100 as its example stands in for a real one.
	d.must(event(1, licence.KindEstablished, func(e *licence.Event) { e.Licence.USCC = "91350100M000100Y43" }))
}

func TestRepeatedEventChangesNothing(t *testing.T) {
	d := newDesk(t, licence.Demo)
	ev := event(1, licence.KindEstablished, nil)
	first := d.must(ev)
	d.must(event(2, licence.KindChanged, func(e *licence.Event) { e.Licence.Address = "老城区示例路9号" }))
	before := d.st.State()
	again := d.must(ev) // signed anew: other signature, same payload
	if !again.Repeated || len(again.Put) != 0 || again.Licence.Version != first.Licence.Version || again.Licence.Address != first.Licence.Address {
		t.Errorf("repeated: %+v", again)
	}
	if d.st.State() != before {
		t.Error("repeating moved the log")
	}
}

func TestTwoEventsAtOnce(t *testing.T) {
	d, ctx := newDesk(t, licence.Demo), context.Background()
	d.must(event(1, licence.KindEstablished, nil))
	var cs []licence.Change
	for n, addr := range []string{"老城区示例路8号", "老城区示例路9号"} {
		c, err := d.lib.Prepare(ctx, d.sign(event(2+n, licence.KindChanged, func(e *licence.Event) { e.Licence.Address = addr })), actor)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	commit := func(c licence.Change) error {
		_, err := d.st.Commit(ctx, store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit})
		return err
	}
	if err := commit(cs[1]); err != nil {
		t.Fatal(err)
	}
	if err := commit(cs[0]); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second of two versions 2: %v", err)
	}
}

func TestEventRecord(t *testing.T) {
	d, ctx := newDesk(t, licence.Demo), context.Background()
	d.must(event(1, licence.KindEstablished, nil))
	rs, err := d.st.Records(ctx, 0, 100)
	if err != nil || len(rs) == 0 {
		t.Fatal(rs, err)
	}
	ev, err := audit.ParseBody(rs[len(rs)-1].Body)
	if err != nil || ev.Kind != "licence-event" || ev.Actor != actor || ev.Subject != uscc {
		t.Errorf("record %+v: %v", ev, err)
	}
	var detail struct {
		Event, Kind, Status string
		Version             int
	}
	raw, _ := ev.Detail.(json.RawMessage)
	if err := json.Unmarshal(raw, &detail); err != nil || detail.Version != 1 || detail.Kind != "established" || detail.Status != "active" {
		t.Errorf("detail %s: %v", raw, err)
	}
}

func TestConfigRefused(t *testing.T) {
	key := []*gm.PublicKey{newKey(t).Public()}
	for name, cfg := range map[string]licence.Config{"no mode": {Pinned: key}, "unknown mode": {Mode: "test", Pinned: key}, "no key": {Mode: licence.Demo}} {
		if _, err := licence.New(nil, cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
