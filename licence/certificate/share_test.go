package certificate_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
)

const purpose = "示例.开办核验"

func (w *world) grant(id string, change func(*access.SharingGrant)) {
	w.Helper()
	g := access.SharingGrant{ID: id, Client: w.tax.Client, Types: []string{food}, Purposes: []string{purpose}, NotBefore: w.at.Add(-time.Hour).Truncate(time.Second),
		Expires: w.at.AddDate(1, 0, 0).Truncate(time.Second), Count: 10}
	if change != nil {
		change(&g)
	}
	_, err := w.acc.PutSharing(w.Context(), request(w.security), w.security, g)
	w.ok(err)
}

// TestShare: one call gives licence and the certificates that the grant covers, and leaves a record.
func TestShare(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	first := w.put(w.market, permit("A1", nil))
	w.put(w.hygiene, certificate.Draft{Identifier: identifier(health, "410300", "1", 1), USCC: uscc, Name: name, ValidFrom: "2026-01-01"})
	w.grant("g1", nil)
	w.tell(licence.KindChanged, func(f *licence.Fields) { f.LegalRep = "欧阳测乙" })
	size, req := w.st.State().Size, request(w.tax)
	got, err := w.Share(ctx, req, w.tax, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: uscc})
	if err != nil || got.Licence.LegalRep != "欧阳测乙" || len(got.Certificates) != 1 || got.Certificates[0].Certificate != first.Certificate || len(got.Certificates[0].Flags) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	records, err := w.st.Records(ctx, size, 10)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	e, err := audit.ParseBody(records[0].Body)
	if err != nil || e.Kind != certificate.ShareKind || e.Actor.ID != w.tax.Client || e.Subject != uscc {
		t.Errorf("%+v, %v", e, err)
	}
	var d map[string]any
	w.ok(json.Unmarshal(e.Detail.(json.RawMessage), &d))
	if d["purpose"] != purpose || d["grant"] != "g1" || d["licence"] != 2.0 || len(d["certificates"].([]any)) != 1 {
		t.Errorf("%v", d)
	}
	w.tell(licence.KindDormant, func(f *licence.Fields) { f.LegalRep = "欧阳测乙" })
	w.put(w.market, permit("A2", nil))
	again, err := w.Share(ctx, req, w.tax, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: uscc})
	if err != nil || !reflect.DeepEqual(got, again) {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
}

func TestShareRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.put(w.market, permit("A1", nil))
	w.grant("g1", nil)
	w.grant("others", func(g *access.SharingGrant) { g.Client = w.hygiene.Client })
	w.grant("over", func(g *access.SharingGrant) { g.Expires = g.NotBefore.Add(time.Minute) })
	w.grant("once", func(g *access.SharingGrant) { g.Count = 1 })
	w.grant("gone", nil)
	_, err := w.acc.WithdrawSharing(ctx, request(w.security), w.security, "gone", "示例")
	w.ok(err)
	_, err = w.Share(ctx, request(w.tax), w.tax, certificate.Sharing{Grant: "once", Purpose: purpose, USCC: uscc})
	w.ok(err)
	for what, c := range map[string]struct {
		actor access.Actor
		asked certificate.Sharing
		want  error
	}{
		"no such grant":       {w.tax, certificate.Sharing{Grant: "none", Purpose: purpose, USCC: uscc}, access.ErrNotEntitled},
		"another's grant":     {w.tax, certificate.Sharing{Grant: "others", Purpose: purpose, USCC: uscc}, access.ErrNotEntitled},
		"a withdrawn one":     {w.tax, certificate.Sharing{Grant: "gone", Purpose: purpose, USCC: uscc}, access.ErrNotEntitled},
		"another purpose":     {w.tax, certificate.Sharing{Grant: "g1", Purpose: "营销", USCC: uscc}, access.ErrNotEntitled},
		"unknown, unentitled": {w.tax, certificate.Sharing{Grant: "none", Purpose: purpose, USCC: other}, access.ErrNotEntitled},
		"an operator":         {w.system, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: uscc}, access.ErrNotEntitled},
		"over":                {w.tax, certificate.Sharing{Grant: "over", Purpose: purpose, USCC: uscc}, access.ErrGrantWindow},
		"spent":               {w.tax, certificate.Sharing{Grant: "once", Purpose: purpose, USCC: uscc}, access.ErrGrantSpent},
		"unknown enterprise":  {w.tax, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: other}, licence.ErrUnknown},
		"no credit code":      {w.tax, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: "x"}, licence.ErrUSCC},
	} {
		size := w.st.State().Size
		got, err := w.Share(ctx, request(c.actor), c.actor, c.asked)
		w.wants(what, err, c.want)
		if !reflect.DeepEqual(got, certificate.Folder{}) || w.st.State().Size != size {
			t.Errorf("%s: answered %+v", what, got)
		}
	}
}

// TestShareCountIsSpentOnce: of many calls at once a grant lets as many through as it says.
func TestShareCountIsSpentOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.grant("g1", func(g *access.SharingGrant) { g.Count = 5 })
	var wg sync.WaitGroup
	errs := make([]error, 30)
	for n := range errs {
		wg.Go(func() {
			_, errs[n] = w.Share(ctx, request(w.tax), w.tax, certificate.Sharing{Grant: "g1", Purpose: purpose, USCC: uscc})
		})
	}
	wg.Wait()
	through := 0
	for _, err := range errs {
		if err == nil {
			through++
			continue
		}
		w.wants("beyond the count", err, access.ErrGrantSpent)
	}
	if through != 5 {
		t.Errorf("%d came through, want 5", through)
	}
}

func TestSharingGrants(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.grant("g1", nil)
	good := access.SharingGrant{ID: "g2", Client: w.tax.Client, Types: []string{food}, Purposes: []string{purpose}, NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Count: 1}
	for what, c := range map[string]struct {
		change func(*access.SharingGrant)
		want   error
	}{
		"no identifier": {func(g *access.SharingGrant) { g.ID = "" }, access.ErrGrantForm},
		"no types":      {func(g *access.SharingGrant) { g.Types = nil }, access.ErrGrantForm},
		"not sorted":    {func(g *access.SharingGrant) { g.Types = []string{health, food} }, access.ErrGrantForm},
		"no purpose":    {func(g *access.SharingGrant) { g.Purposes = nil }, access.ErrGrantForm},
		"no count":      {func(g *access.SharingGrant) { g.Count = 0 }, access.ErrGrantForm},
		"no window":     {func(g *access.SharingGrant) { g.Expires = g.NotBefore.Add(-time.Second) }, access.ErrGrantForm},
		"withdrawn":     {func(g *access.SharingGrant) { g.Withdrawn = "x" }, access.ErrGrantForm},
		"no client":     {func(g *access.SharingGrant) { g.Client = "x" }, access.ErrGrantForm},
		"an operator":   {func(g *access.SharingGrant) { g.Client = w.system.Client }, access.ErrUnknown},
		"taken":         {func(g *access.SharingGrant) { g.ID = "g1" }, access.ErrGrantExists},
	} {
		g := good
		c.change(&g)
		_, err := w.acc.PutSharing(ctx, request(w.security), w.security, g)
		w.wants(what, err, c.want)
	}
	_, err := w.acc.PutSharing(ctx, request(w.system), w.system, good)
	w.wants("by another officer", err, access.ErrNotEntitled)
	_, err = w.acc.WithdrawSharing(ctx, request(w.security), w.security, "none", "示例")
	w.wants("withdrawing none", err, access.ErrUnknown)
	mine, _, err := w.acc.SharingPage(ctx, w.tax, w.tax.Client, "", 10)
	if err != nil || len(mine) != 1 {
		t.Errorf("%+v, %v", mine, err)
	}
	_, _, err = w.acc.SharingPage(ctx, w.tax, w.hygiene.Client, "", 10)
	w.wants("others' grants", err, access.ErrNotEntitled)
}

func TestListing(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for n := range 3 {
		w.put(w.market, permit(fmt.Sprint("A", n), nil))
	}
	w.put(w.hygiene, certificate.Draft{Identifier: identifier(health, "410300", "1", 1), USCC: uscc, Name: name, ValidFrom: "2027-01-01"})
	all, _, err := w.List(ctx, w.system, certificate.Query{USCC: uscc, Limit: 10})
	if err != nil || len(all) != 4 {
		t.Errorf("%d, %v", len(all), err)
	}
	own, _, err := w.List(ctx, w.hygiene, certificate.Query{USCC: uscc, Limit: 10})
	if err != nil || len(own) != 1 || own[0].State != certificate.NotYetValid {
		t.Errorf("a department's own: %+v, %v", own, err)
	}
	some, next, err := w.List(ctx, w.market, certificate.Query{Type: food, Limit: 2})
	if err != nil || len(some) != 2 || next == "" {
		t.Errorf("%d, %q, %v", len(some), next, err)
	}
	rest, next, err := w.List(ctx, w.market, certificate.Query{Type: food, Limit: 2, Cursor: next})
	if err != nil || len(rest) != 1 || next != "" {
		t.Errorf("%d, %q, %v", len(rest), next, err)
	}
	_, _, err = w.List(ctx, w.tax, certificate.Query{Type: food})
	w.wants("a type of others", err, access.ErrNotEntitled)
	for what, q := range map[string]certificate.Query{"nothing": {}, "two things": {USCC: uscc, Type: food}, "a beginning": {Type: food[:10]}} {
		_, _, err := w.List(ctx, w.system, q)
		w.wants(what, err, certificate.ErrQuery)
	}
	_, _, err = w.List(ctx, w.system, certificate.Query{USCC: uscc[:10]})
	w.wants("beginning of a code", err, licence.ErrUSCC)
	notices, err := w.Notices(ctx, uscc)
	if err != nil || len(notices) != 3 || strings.Contains(fmt.Sprint(notices), "卫生") {
		t.Errorf("public: %+v, %v", notices, err)
	}
}
