package certificate_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
)

// TestHistory issues a permit, suspends it, lifts that and issues it anew, and asks what held and what was known at each time.
func TestHistory(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	first := w.put(w.market, permit("A1", nil))
	issued := w.at
	w.passes(24 * time.Hour)
	suspended := w.at
	w.passes(24 * time.Hour) // the department tells it a day later
	_, err := w.SetStatus(ctx, request(w.market), w.market, first.Certificate, certificate.Restatement{Status: certificate.Suspended, Reason: "检查不合格（示例）", EffectiveAt: suspended})
	w.ok(err)
	told := w.at
	w.passes(24 * time.Hour)
	_, err = w.SetStatus(ctx, request(w.market), w.market, first.Identifier, certificate.Restatement{Status: certificate.Valid, Reason: "整改完成（示例）"})
	w.ok(err)
	w.passes(24 * time.Hour)
	again := w.put(w.market, permit("A1", func(d *certificate.Draft) {
		d.Identifier, d.ValidTo, d.File = identifier(food, issuer, "A1", 2), "2026-03-10", []byte("PK\x03\x04 示例")
	}))
	if again.Number != 4 || again.Act != certificate.Reissued || again.Certificate != first.Certificate {
		t.Errorf("issued anew: %+v", again)
	}
	for what, c := range map[string]struct {
		asked certificate.Asked
		row   int
		state certificate.Status
	}{
		"now":                           {certificate.Asked{}, 4, certificate.Valid},
		"when it was issued":            {certificate.Asked{AsOf: issued}, 1, certificate.Valid},
		"while suspended":               {certificate.Asked{AsOf: suspended.Add(time.Hour)}, 2, certificate.Suspended},
		"the same, by what was known":   {certificate.Asked{AsOf: suspended.Add(time.Hour), KnownAt: told.Add(-time.Hour)}, 1, certificate.Valid},
		"the same, as soon as was told": {certificate.Asked{AsOf: suspended.Add(time.Hour), KnownAt: told}, 2, certificate.Suspended},
		"lifted":                        {certificate.Asked{AsOf: told.Add(25 * time.Hour)}, 3, certificate.Valid},
		"in its last hour":              {certificate.Asked{AsOf: time.Date(2026, 3, 10, 15, 59, 59, 0, time.UTC)}, 4, certificate.Valid},
		"a second later in Beijing":     {certificate.Asked{AsOf: time.Date(2026, 3, 10, 16, 0, 0, 0, time.UTC)}, 4, certificate.Expired},
	} {
		c.asked.Certificate = first.Certificate
		v, err := w.At(ctx, w.market, c.asked)
		if err != nil || v.Number != c.row || v.State != c.state {
			t.Errorf("%s: row %d, %s, %v; want row %d, %s", what, v.Number, v.State, err, c.row, c.state)
		}
	}
	_, err = w.At(ctx, w.system, certificate.Asked{Certificate: first.Certificate, AsOf: issued.Add(-time.Hour)})
	w.wants("before it was issued", err, certificate.ErrUnknown)
	rows, err := w.Rows(ctx, w.system, first.Identifier)
	if err != nil || len(rows) != 4 || !reflect.DeepEqual(rows[0], first) {
		t.Errorf("rows: %+v, %v", rows, err)
	}
	b, _, err := w.File(ctx, w.market, first.Certificate)
	if err != nil || !bytes.Equal(b, []byte("PK\x03\x04 示例")) {
		t.Errorf("file: %q, %v", b, err)
	}
}

// TestOnlyTheOwningDepartment: the catalogue decides, and who is not named learns nothing of what there is.
func TestOnlyTheOwningDepartment(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	row := w.put(w.market, permit("A1", nil))
	for who, actor := range map[string]access.Actor{"another department": w.hygiene, "one without types": w.tax, "an operator": w.system, "nobody": {}} {
		_, err := w.Put(ctx, request(actor), actor, permit("A2", nil))
		w.wants(who+" puts", err, access.ErrNotEntitled)
		for _, name := range []string{row.Certificate, identifier(food, issuer, "NONE", 1)} {
			_, err = w.SetStatus(ctx, request(actor), actor, name, certificate.Restatement{Status: certificate.Revoked, Reason: "示例"})
			w.wants(who+" revokes", err, access.ErrNotEntitled)
			_, err = w.Confirm(ctx, request(actor), actor, name, certificate.Confirmation{Licence: 1, Reason: "示例"})
			w.wants(who+" confirms", err, access.ErrNotEntitled)
			if actor.Role == access.RoleSystem {
				continue
			}
			_, err = w.At(ctx, actor, certificate.Asked{Certificate: name})
			w.wants(who+" reads", err, access.ErrNotEntitled)
			_, err = w.Rows(ctx, actor, name)
			w.wants(who+" reads rows", err, access.ErrNotEntitled)
			_, _, err = w.File(ctx, actor, name)
			w.wants(who+" reads the file", err, access.ErrNotEntitled)
		}
	}
	_, err := w.acc.Disable(ctx, nil, w.security, w.market.Client, "示例")
	w.ok(err)
	_, err = w.Put(ctx, request(w.market), w.market, permit("A2", nil))
	w.wants("a department that was disabled", err, access.ErrNotEntitled)
	w.table = certificate.EmptyCatalogue()
	_, err = w.Put(ctx, request(w.hygiene), w.hygiene, permit("A2", nil))
	w.wants("without a catalogue", err, access.ErrNotEntitled)
}

func TestPutRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.put(w.market, permit("A1", nil))
	for what, c := range map[string]struct {
		change func(*certificate.Draft)
		want   error
	}{
		"check character":        {func(d *certificate.Draft) { d.Identifier = d.Identifier[:len(d.Identifier)-1] + "?" }, certificate.ErrIdentifier},
		"issuer of others":       {func(d *certificate.Draft) { d.Identifier = identifier(food, "410300", "B1", 1) }, certificate.ErrType},
		"not the first version":  {func(d *certificate.Draft) { d.Identifier = identifier(food, issuer, "B1", 2) }, certificate.ErrSequence},
		"the same version again": {func(d *certificate.Draft) { d.Identifier = identifier(food, issuer, "A1", 1) }, certificate.ErrSequence},
		"a version left out":     {func(d *certificate.Draft) { d.Identifier = identifier(food, issuer, "A1", 3) }, certificate.ErrSequence},
		"of before the last": {func(d *certificate.Draft) {
			d.Identifier, d.EffectiveAt = identifier(food, issuer, "A1", 2), w.at.Add(-time.Hour)
		}, certificate.ErrTransition},
		"unknown holder":        {func(d *certificate.Draft) { d.USCC = other }, certificate.ErrHolder},
		"name it never had":     {func(d *certificate.Draft) { d.Name = "洛阳别家示例有限公司" }, certificate.ErrHolder},
		"no day":                {func(d *certificate.Draft) { d.ValidFrom = "2026-02-30" }, certificate.ErrForm},
		"ends before it begins": {func(d *certificate.Draft) { d.ValidTo = "2025-12-31" }, certificate.ErrForm},
		"in the future":         {func(d *certificate.Draft) { d.EffectiveAt = w.at.Add(time.Hour) }, certificate.ErrForm},
		"attribute not listed":  {func(d *certificate.Draft) { d.Attributes = map[string]string{"身份证号": "示例"} }, certificate.ErrType},
		"attribute too long": {func(d *certificate.Draft) {
			d.Attributes = map[string]string{"许可项目": strings.Repeat("示", 2001)}
		}, certificate.ErrForm},
		"no file":              {func(d *certificate.Draft) { d.File = nil }, certificate.ErrFile},
		"file of another kind": {func(d *certificate.Draft) { d.File = []byte("GIF89a") }, certificate.ErrFile},
		"file too large":       {func(d *certificate.Draft) { d.File = append([]byte("%PDF-"), make([]byte, certificate.MaxFile)...) }, certificate.ErrFile},
		"file not as stated":   {func(d *certificate.Draft) { d.FileSM3 = strings.Repeat("0", 64) }, certificate.ErrFile},
	} {
		_, err := w.Put(ctx, request(w.market), w.market, permit("B1", c.change))
		w.wants(what, err, c.want)
	}
	_, err := w.Put(ctx, request(w.hygiene), w.hygiene, certificate.Draft{Identifier: identifier(health, "410300", "1", 1), USCC: uscc, Name: name, ValidFrom: "2026-01-01",
		File: []byte("%PDF-")})
	w.wants("a file where none belongs", err, certificate.ErrType)
	series := w.put(w.hygiene, certificate.Draft{Identifier: identifier(health, "410300", "1", 1), USCC: uscc, Name: name, ValidFrom: "2026-01-01"}).Certificate
	_, _, err = w.File(ctx, w.hygiene, series)
	w.wants("the file of one without", err, certificate.ErrUnknown)
	for _, s := range []certificate.Status{certificate.Valid, certificate.Expired, "lost"} {
		_, err := w.SetStatus(ctx, request(w.hygiene), w.hygiene, series, certificate.Restatement{Status: s, Reason: "示例"})
		w.wants("status "+string(s), err, certificate.ErrTransition)
	}
	_, err = w.SetStatus(ctx, request(w.hygiene), w.hygiene, series, certificate.Restatement{Status: certificate.Revoked, Reason: " "})
	w.wants("no reason", err, certificate.ErrForm)
	_, err = w.SetStatus(ctx, request(w.hygiene), w.hygiene, series, certificate.Restatement{Status: certificate.Revoked, Reason: "示例"})
	w.ok(err)
	_, err = w.SetStatus(ctx, request(w.hygiene), w.hygiene, series, certificate.Restatement{Status: certificate.Valid, Reason: "示例"})
	w.wants("back from revoked", err, certificate.ErrTransition)
	_, err = w.SetStatus(ctx, request(w.market), w.market, identifier(food, issuer, "NONE", 1), certificate.Restatement{Status: certificate.Revoked, Reason: "示例"})
	w.wants("no such certificate", err, certificate.ErrUnknown)
}

// TestRepeatedPutChangesNothing: the same request gives the same row, and another body is a conflict.
func TestRepeatedPutChangesNothing(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	req := request(w.market)
	first, err := w.Put(ctx, req, w.market, permit("A1", nil))
	w.ok(err)
	w.passes(time.Hour)
	size := w.st.State().Size
	again, err := w.Put(ctx, req, w.market, permit("A1", nil))
	if err != nil || !reflect.DeepEqual(again.Row, first.Row) || again.Receipt.First != first.Receipt.First || w.st.State().Size != size {
		t.Errorf("again: %+v, %v", again, err)
	}
	reused := *req
	reused.Digest[0]++
	_, err = w.Put(ctx, &reused, w.market, permit("A2", nil))
	w.wants("another body", err, store.ErrRequestReused)
}

// TestTwoPutsAtOnce: of many versions that would follow the same row, one does.
func TestTwoPutsAtOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.put(w.market, permit("A1", nil))
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for n := range errs {
		wg.Go(func() {
			_, errs[n] = w.Put(ctx, request(w.market), w.market, permit("A1", func(d *certificate.Draft) {
				d.Identifier, d.File = identifier(food, issuer, "A1", 2), []byte(fmt.Sprint("%PDF-", n))
			}))
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	if rows, err := w.Rows(ctx, w.system, permit("A1", nil).Identifier); won != 1 || err != nil || len(rows) != 2 {
		t.Errorf("%d of %d won, %d rows, %v", won, len(errs), len(rows), err)
	}
}

// TestFlags: each change of the licence that a type watches is told with its version until the department confirms or replaces.
func TestFlags(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	series := w.put(w.market, permit("A1", nil)).Certificate
	hygiene := w.put(w.hygiene, certificate.Draft{Identifier: identifier(health, "410300", "1", 1), USCC: uscc, Name: name, ValidFrom: "2026-01-01"}).Certificate
	moved := func(f *licence.Fields) { f.Address = "老城区示例路2号" }
	w.tell(licence.KindChanged, moved)
	if v := w.view(series); len(v.Flags) != 0 {
		t.Errorf("after a change of address: %+v", v.Flags)
	}
	renamed := func(f *licence.Fields) { moved(f); f.Name = "洛阳老城示例新商贸有限公司" }
	before := w.at
	third := w.tell(licence.KindChanged, renamed)
	successor := func(f *licence.Fields) { renamed(f); f.LegalRep = "欧阳测乙" }
	fourth := w.tell(licence.KindChanged, successor)
	w.tell(licence.KindDormant, successor)
	w.flags(series, "name 3", "legal_rep 4", "status 5")
	w.flags(hygiene, "name 3")
	v, err := w.At(ctx, w.system, certificate.Asked{Certificate: series, AsOf: before})
	if err != nil || len(v.Flags) != 0 {
		t.Errorf("as of before: %+v, %v", v.Flags, err)
	}
	if v := w.view(series); !v.Flags[0].Since.Equal(third.ValidFrom) || !v.Flags[1].Since.Equal(fourth.ValidFrom) {
		t.Errorf("%+v, want since %s and %s", v.Flags, third.ValidFrom, fourth.ValidFrom)
	}
	found, _, err := w.List(ctx, w.market, certificate.Query{Type: food, Flagged: true, Limit: 10})
	if err != nil || len(found) != 1 {
		t.Errorf("waiting for its department: %+v, %v", found, err)
	}
	_, err = w.Confirm(ctx, request(w.market), w.market, series, certificate.Confirmation{Licence: 4, Reason: "已核对（示例）"})
	w.wants("a version that is no longer the last", err, certificate.ErrLicenceMoved)
	s, err := w.Confirm(ctx, request(w.market), w.market, series, certificate.Confirmation{Licence: 5, Reason: "已核对（示例）"})
	if err != nil || s.Row.Name != "洛阳老城示例新商贸有限公司" {
		t.Errorf("%+v, %v", s.Row, err)
	}
	w.flags(series)
	w.tell(licence.KindRestored, successor)
	w.flags(series, "status 6")
	w.put(w.market, permit("A1", func(d *certificate.Draft) {
		d.Identifier, d.Name = identifier(food, issuer, "A1", 2), "洛阳老城示例新商贸有限公司"
	}))
	w.flags(series)
	late := w.put(w.market, permit("A2", nil)).Certificate // made out to the name of before
	w.flags(late, "name 3", "legal_rep 4", "status 5", "status 6")
}

func (w *world) flags(series string, want ...string) {
	w.Helper()
	got := []string{}
	for _, f := range w.view(series).Flags {
		got = append(got, fmt.Sprint(f.Changed, " ", f.Version))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.Errorf("flags of %s: %v, want %v", series, got, want)
	}
}

func TestFull(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for n := range 500 {
		w.put(w.market, permit(fmt.Sprintf("%04d", n), nil))
	}
	_, err := w.Put(ctx, request(w.market), w.market, permit("ONEMORE", nil))
	w.wants("one more", err, certificate.ErrFull)
	notices, err := w.Notices(ctx, uscc)
	if err != nil || len(notices) != 500 {
		t.Errorf("%d notices, %v", len(notices), err)
	}
}

// TestRecordNamesTheRow: the log vouches for the bytes of a row.
func TestRecordNamesTheRow(t *testing.T) {
	w := newWorld(t)
	s, err := w.Put(t.Context(), request(w.market), w.market, permit("A1", nil))
	w.ok(err)
	records, err := w.st.Records(t.Context(), s.Receipt.First, 1)
	w.ok(err)
	e, err := audit.ParseBody(records[0].Body)
	if err != nil || e.Kind != certificate.EventKind || e.Subject != s.Row.Certificate || !strings.Contains(fmt.Sprintf("%s", e.Detail), `"row_sm3":"`) {
		t.Errorf("%+v, %v", e, err)
	}
}
