package issuance_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/issuance/reconcile"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// reconciled looks at everything, page by page.
func (w *world) reconciled(p reconcile.Parts) (all reconcile.Page) {
	w.Helper()
	p.Library, p.Register, p.Access, p.Keys, p.Now = w.lib, w.seals, w.acc, w.keys, w.clock.now
	if p.Lists == nil {
		p.Lists = w.iss.RevocationLists
	}
	for cursor := ""; ; {
		page := must(p.Run(w.ctx, cursor, 3))(w)
		all.Enterprises, all.Seals, all.Findings = all.Enterprises+page.Enterprises, all.Seals+page.Seals, append(all.Findings, page.Findings...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

func collectionNamed(t testing.TB, name string) *store.Collection {
	t.Helper()
	all := collections()
	n := slices.IndexFunc(all, func(c *store.Collection) bool { return c.Name == name })
	if n < 0 {
		t.Fatalf("no collection %q", name)
	}
	return all[n]
}

// write puts a value behind everybody's back; nil removes it. It returns what was there.
func (w *world) write(collection, key string, value []byte) []byte {
	w.Helper()
	c := collectionNamed(w, collection)
	was, err := w.bolt.Get(w.ctx, c, []byte(key))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.Fatal(err)
	}
	must(w.bolt.Commit(w.ctx, store.Mutation{Put: []store.Put{{Collection: c, Key: []byte(key), Value: value}}}))(w)
	return was.Value
}

// TestReconcileNames breaks each thing that is kept twice, one after the other, and sees it named, with the command that mends it; what is whole gives
// no finding.
func TestReconcileNames(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	w.collected(codes[1])
	must(w.iss.Cancel(w.ctx, nil, system, must(w.seals.SealsOf(w.ctx, codes[1]))(t)[0].ESID, register.ReasonAuthorityDecision, "示例"))(t)
	w.clock.passes(5 * time.Minute)
	if all := w.reconciled(reconcile.Parts{}); len(all.Findings) != 0 || all.Enterprises != 2 || all.Seals != 8 {
		t.Fatalf("before anything is broken: %+v", all)
	}
	first, gone := w.sealOf("01"), must(w.seals.SealsOf(w.ctx, codes[1]))(t)[0]
	set := func(collection, key string, fields map[string]any) func() func() {
		return func() func() {
			it := must(w.bolt.Get(w.ctx, collectionNamed(t, collection), []byte(key)))(t)
			var v map[string]any
			if err := json.Unmarshal(it.Value, &v); err != nil {
				t.Fatal(err)
			}
			for k, x := range fields {
				v[k] = x
			}
			was := w.write(collection, key, must(json.Marshal(v))(t))
			return func() { w.write(collection, key, was) }
		}
	}
	remove := func(collection, key string) func() func() {
		return func() func() { was := w.write(collection, key, nil); return func() { w.write(collection, key, was) } }
	}
	for _, c := range []struct {
		code, subject string
		breakIt       func() (mend func())
	}{
		{"licence-version-missing", uscc, remove("licence-version", uscc+"/00000001")},
		{"licence-standing-differs", uscc, set("licence", uscc, map[string]any{"legal_rep": "司马测乙"})},
		{"seal-outlives-licence", first.ESID, set("licence", uscc, map[string]any{"status": "cancelled"})},
		{"seal-not-suspended", first.ESID, set("licence", uscc, map[string]any{"status": "revoked_open"})},
		{"seal-of-another-name", first.ESID, set("seal", first.ESID, map[string]any{"enterprise": "洛阳示例其他商贸有限公司"})},
		{"two-active-seals", w.sealOf("02").ESID, set("seal", w.sealOf("02").ESID, map[string]any{"type": "01"})},
		{"seal-without-licence", first.ESID, remove("licence", uscc)},
		{"seal-without-key", first.ESID, set("seal", first.ESID, map[string]any{"key": strings.Repeat("0", 32)})},
		{"seal-data-differs", first.ESID, remove("esl", first.ESID)},
		{"certificate-differs", first.ESID, remove("seal-certificate", first.ESID)},
		{"filing-missing", first.ESID, remove("seal-filing", first.ESID)},
		{"filing-refused", first.ESID, set("seal-filing", first.ESID, map[string]any{"state": "refused"})},
		{"filing-overdue", first.ESID, set("seal-filing", first.ESID, map[string]any{"state": "pending", "since": w.clock.now().Add(-25 * time.Hour)})},
		{"edition-missing", first.ESID, set("seal", first.ESID, map[string]any{"replaces": "41030299999999"})},
		{"edition-not-superseded", w.sealOf("02").ESID, set("seal", first.ESID, map[string]any{"replaces": w.sealOf("02").ESID})},
		{"order-without-seal", first.Order, set("seal", first.ESID, map[string]any{"order": strings.Repeat("0", 32)})},
		{"order-outlives-licence", first.Order, func() func() {
			a, b := set("order", first.Order, map[string]any{"state": "awaiting_impression"})(), set("licence", uscc, map[string]any{"status": "cancelled"})()
			return func() { b(); a() }
		}},
		{"order-waits-for-a-human", first.Order, set("order", first.Order, map[string]any{"state": "exception", "exception": map[string]any{"code": "name-differs"}})},
		{"device-of-another-person", uscc, set("device", uscc, map[string]any{"person": "司马测乙"})},
		{"key-missing", first.Key.String(), func() func() {
			if err := w.token.Destroy(w.ctx, hsm.ObjectID(first.Key)); err != nil {
				t.Fatal(err)
			}
			return func() {} // it is gone for good, and named in every case behind this one
		}},
		{"key-unknown", "", func() func() {
			id := hsm.ObjectID{1, 2, 3}
			must(w.token.Generate(w.ctx, hsm.GenerateRequest{ID: id, Label: "stranger", Algorithm: hsm.SM2}))(t)
			return func() {
				if err := w.token.Destroy(w.ctx, id); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(c.code, func(t *testing.T) {
			mend := c.breakIt()
			defer mend()
			all := w.reconciled(reconcile.Parts{})
			n := slices.IndexFunc(all.Findings, func(f reconcile.Finding) bool { return f.Code == c.code && (c.subject == "" || f.Subject == c.subject) })
			if n < 0 {
				t.Fatalf("not named: %+v", all.Findings)
			}
			if f := all.Findings[n]; f.Mend == "" || f.Detail == "" {
				t.Errorf("what mends it is not said: %+v", f)
			}
		})
	}
	list := must(w.iss.RevocationLists(w.ctx))(t)
	for code, break_ := range map[string]func() func(){
		"certificate-not-revoked": set("seal", first.ESID, map[string]any{"state": "cancelled", "ended_at": w.clock.now().Add(-time.Hour)}),
		"certificate-revoked":     set("seal", gone.ESID, map[string]any{"state": "active"}),
	} {
		mend := break_()
		all := w.reconciled(reconcile.Parts{Lists: func(context.Context) ([][]byte, error) { return list, nil }})
		if !slices.ContainsFunc(all.Findings, func(f reconcile.Finding) bool { return f.Code == code }) {
			t.Errorf("%s is not named: %+v", code, all.Findings)
		}
		mend()
	}
	if _, err := (reconcile.Parts{}).Run(w.ctx, "x", 1); !errors.Is(err, reconcile.ErrCursor) {
		t.Errorf("a cursor of nothing: %v", err)
	}
}

// TestReconcileOutside: accounts that are missing or differ, dead letters, what is held and what is on its way.
func TestReconcileOutside(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	account := reconcile.Account{}
	queues := []reconcile.Queue{{Name: "filing", Dead: 1}, {Name: "account", Waiting: 2}, {Name: "registration", Feed: true, Held: 3}, {Name: "notice"}}
	named := func() (all []string) {
		p := reconcile.Parts{Accounts: func(context.Context, string) (reconcile.Account, error) { return account, nil }, Outside: func(context.Context) []reconcile.Queue { return queues }}
		for _, f := range w.reconciled(p).Findings {
			all = append(all, f.Code+" "+f.Subject)
		}
		return all
	}
	if got, want := named(), []string{"dead-letter filing", "undelivered account", "message-held registration", "account-missing " + uscc}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	queues, account = nil, reconcile.Account{State: "open", Licence: 1}
	if got := named(); len(got) != 0 {
		t.Errorf("all well: %q", got)
	}
	must(w.event(licence.KindCancelled, licence.Fields{USCC: uscc}))(t)
	if got, want := named(), []string{"account-differs " + uscc}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, err := w.iss.RevocationList(w.ctx, "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a list of nobody: %v", err)
	}
}
