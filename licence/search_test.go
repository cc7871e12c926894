package licence_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	demo "sealkeeper/softhsm-test/synthetic"
)

// crowd puts n made-up enterprises into the library and returns their events.
func (d *desk) crowd(n int) []licence.Event {
	d.Helper()
	var all []licence.Event
	for i := range n {
		e := demo.New("search", i)
		f := fields()
		f.USCC, f.Name, f.Division = e.USCC, e.Name, e.Division
		ev := licence.Event{ID: fmt.Sprintf("crowd-%d", i), Kind: licence.KindEstablished, Licence: f, EffectiveAt: at(1), IssuedAt: at(1)}
		d.must(ev)
		all = append(all, ev)
	}
	return all
}

// searched walks a search to its end.
func (d *desk) searched(q licence.Query) []string {
	d.Helper()
	var codes []string
	for {
		p, err := d.lib.Search(context.Background(), q)
		if err != nil {
			d.Fatal(err)
		}
		for _, s := range p.Items {
			codes = append(codes, s.USCC)
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			slices.Sort(codes)
			return codes
		}
	}
}

func matching(all []licence.Event, match func(licence.Fields) bool) []string {
	var codes []string
	for _, e := range all {
		if match(e.Licence) {
			codes = append(codes, e.Licence.USCC)
		}
	}
	slices.Sort(codes)
	return codes
}

func TestSearch(t *testing.T) {
	d := newDesk(t, licence.Demo)
	all := d.crowd(60)
	one := all[7].Licence
	d.must(licence.Event{ID: "gone", Kind: licence.KindCancelled, Licence: licence.Fields{USCC: one.USCC}, EffectiveAt: at(2), IssuedAt: at(2)})
	cut := string([]rune(one.Name)[:4])
	for name, c := range map[string]struct {
		query licence.Query
		want  []string
	}{
		"whole name":          {licence.Query{Name: one.Name}, matching(all, func(f licence.Fields) bool { return f.Name == one.Name })},
		"beginning of a name": {licence.Query{Name: cut, Limit: 1}, matching(all, func(f licence.Fields) bool { return string([]rune(f.Name)[:4]) == cut })},
		"status":              {licence.Query{Status: licence.Active, Limit: 7}, matching(all, func(f licence.Fields) bool { return f.USCC != one.USCC })},
		"another status":      {licence.Query{Status: licence.Cancelled}, []string{one.USCC}},
		"division":            {licence.Query{Division: one.Division, Limit: 3}, matching(all, func(f licence.Fields) bool { return f.Division == one.Division })},
		"city":                {licence.Query{Division: "4103"}, matching(all, func(f licence.Fields) bool { return f.Division[:4] == "4103" })},
		"nobody":              {licence.Query{Name: "无此名称"}, nil},
	} {
		if got := d.searched(c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d found, want %d: %v", name, len(got), len(c.want), got)
		}
	}
	if n, err := d.lib.Count(context.Background(), licence.Active); err != nil || n != len(all)-1 {
		t.Errorf("counted %d active, %v", n, err)
	}
}

// TestSearchAfterRenaming: the old name finds nothing any more.
func TestSearchAfterRenaming(t *testing.T) {
	d := newDesk(t, licence.Demo)
	d.must(event(1, licence.KindEstablished, nil))
	d.must(event(2, licence.KindChanged, func(e *licence.Event) { e.Licence.Name = "洛阳涧西示例新商贸有限公司" }))
	if got := d.searched(licence.Query{Name: fields().Name}); len(got) != 0 {
		t.Errorf("the old name finds %v", got)
	}
	if got := d.searched(licence.Query{Name: "洛阳涧西"}); len(got) != 1 {
		t.Errorf("the new name finds %v", got)
	}
}

func TestSearchRefusals(t *testing.T) {
	d := newDesk(t, licence.Demo)
	for name, q := range map[string]licence.Query{
		"nothing":            {},
		"two at once":        {Name: "洛阳", Division: "410302"},
		"unknown status":     {Status: "asleep"},
		"division of five":   {Division: "41030"},
		"division in words":  {Division: "洛阳"},
		"division too long":  {Division: "41030200"},
		"name that is bytes": {Name: "\xff\xfe"},
	} {
		if _, err := d.lib.Search(t.Context(), q); !errors.Is(err, licence.ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.lib.Search(t.Context(), licence.Query{Name: "洛", Cursor: "xxxx"}); !errors.Is(err, licence.ErrCursor) {
		t.Errorf("a made-up cursor: %v", err)
	}
}

// clocked is a desk whose time the test moves.
func clocked(t *testing.T) (*desk, *time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Collections: licence.Collections(), Create: true, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	d := &desk{TB: t, st: st, key: newKey(t)}
	if d.lib, err = licence.New(st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{d.key.Public()}, Now: clock}); err != nil {
		t.Fatal(err)
	}
	return d, &now
}

func (d *desk) changed(since time.Time, cursor string, limit int) (licence.Changes, []string) {
	d.Helper()
	c, err := d.lib.Changed(context.Background(), since, cursor, limit)
	if err != nil {
		d.Fatal(err)
	}
	var codes []string
	for _, s := range c.Items {
		codes = append(codes, s.USCC)
	}
	return c, codes
}

// TestChanged: each licence once, in the order of its last event, nothing of the last 40 seconds, and a reader that keeps its cursor
// misses nothing.
func TestChanged(t *testing.T) {
	d, now := clocked(t)
	start := *now
	var codes []string
	for i := range 5 {
		*now = now.Add(time.Second)
		e := demo.New("feed", i)
		f := fields()
		f.USCC, f.Name = e.USCC, e.Name
		d.must(licence.Event{ID: fmt.Sprint("feed-", i), Kind: licence.KindEstablished, Licence: f, EffectiveAt: at(1), IssuedAt: at(1)})
		codes = append(codes, e.USCC)
	}
	if c, got := d.changed(start, "", 0); len(got) != 0 || c.Next == "" {
		t.Errorf("changes that may still be overtaken: %v", got)
	}
	*now = now.Add(time.Minute)
	first, got := d.changed(start, "", 2)
	if !slices.Equal(got, codes[:2]) {
		t.Errorf("first page %v", got)
	}
	d.must(licence.Event{ID: "again", Kind: licence.KindDormant, Licence: licence.Fields{USCC: codes[0]}, EffectiveAt: at(3), IssuedAt: at(3)})
	second, got := d.changed(start, first.Next, 100)
	if !slices.Equal(got, codes[2:]) {
		t.Errorf("second page %v", got)
	}
	*now = now.Add(time.Minute)
	if c, got := d.changed(start, second.Next, 100); !slices.Equal(got, codes[:1]) || c.Items[0].Status != licence.Dormant {
		t.Errorf("after a further change: %v", got)
	}
	if _, got := d.changed(start.Add(3*time.Second), "", 100); !slices.Equal(got, append(slices.Clone(codes[3:]), codes[0])) {
		t.Errorf("since the third second: %v", got)
	}
	for _, bad := range []string{"?", "AAAA", first.Next + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := d.lib.Changed(t.Context(), start, bad, 1); !errors.Is(err, licence.ErrCursor) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// TestChangedIsNeverOvertaken: an event that was decided long before its commit cannot slip in behind a reader.
func TestChangedIsNeverOvertaken(t *testing.T) {
	d, now := clocked(t)
	c, err := d.lib.Prepare(t.Context(), d.sign(event(1, licence.KindEstablished, nil)), actor)
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(41 * time.Second)
	m := store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit, NotAfter: c.NotAfter}
	if _, err := d.st.Commit(t.Context(), m); !errors.Is(err, store.ErrLate) {
		t.Errorf("committed after 41 seconds: %v", err)
	}
}
