package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

var things = &Collection{Name: "thing", Codec: 1, Indexes: []Index{{"first", func(v []byte) ([][]byte, error) { return [][]byte{v[:1]}, nil }}}}

func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	cfg := Config{Path: filepath.Join(t.TempDir(), "s.db"), Create: true, Collections: []*Collection{things}}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	req := &Request{Client: "c", ID: "1", Digest: [32]byte{1}}
	m := Mutation{Request: req, Expect: []Expect{{things, []byte("a"), 0}}, Put: []Put{{things, []byte("a"), []byte("value")}},
		Spend: []Spend{{Counter: "n", N: 1, Limit: 1}}, Audit: [][]byte{[]byte("{}"), []byte("{1}")}, Outbox: []Message{{"q", []byte("m")}}}
	r, err := b.Commit(ctx, m)
	if err != nil || r.First != 0 || len(r.Leaves) != 2 {
		t.Fatal(r, err)
	}
	d, err := b.Commit(ctx, m)
	if err != nil || !d.Duplicate || d.Leaves[1] != r.Leaves[1] || d.Spent[0] != 1 {
		t.Fatal(d, err)
	}
	m.Request = nil
	if _, err := b.Commit(ctx, m); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	it, err := b.Get(ctx, things, []byte("a"))
	if err != nil || it.Version != 1 || string(it.Value) != "value" {
		t.Fatal(it, err)
	}
	p, err := b.List(ctx, things, "first", []byte("v"), "", 10)
	if err != nil || len(p.Items) != 1 {
		t.Fatal(p, err)
	}
	st := b.State()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.State() != st {
		t.Fatal(b.State(), st)
	}
	if n, _ := b.Counter(ctx, "n"); n != 1 {
		t.Fatal(n)
	}
	if _, err := b.Lookup(ctx, *req); err != nil {
		t.Fatal(err)
	}
	jobs, err := b.Claim(ctx, "q", 5, 1e9)
	if err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	if err := b.Done(ctx, jobs[0]); err != nil {
		t.Fatal(err)
	}
}
