package store

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestCommitAll: each mutation has its own fate, all of them one write.
func TestCommitAll(t *testing.T) {
	b, err := Open(Config{Path: filepath.Join(t.TempDir(), "s.db"), Create: true, Collections: []*Collection{things}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	spend := func(id string, expect Version) Mutation {
		return Mutation{Request: &Request{Client: "c", ID: id}, Expect: []Expect{{things, []byte("a"), expect}},
			Spend: []Spend{{Counter: "n", N: 1, Limit: 2}}, Audit: [][]byte{[]byte("{}")}}
	}
	got := b.CommitAll(t.Context(), []Mutation{spend("1", 0), spend("2", 7), {}, spend("3", 0), spend("1", 0), spend("4", 0)})
	for i, want := range []error{nil, ErrConflict, ErrMutation, nil, nil, ErrLimit} {
		if !errors.Is(got[i].Err, want) {
			t.Errorf("mutation %d: %v, want %v", i, got[i].Err, want)
		}
	}
	if got[0].Receipt.First != 0 || got[3].Receipt.First != 1 || !got[4].Receipt.Duplicate || got[4].Receipt.Leaves[0] != got[0].Receipt.Leaves[0] {
		t.Errorf("receipts %+v", got)
	}
	if got[0].Receipt.Time != got[3].Receipt.Time {
		t.Error("the records of one write have several times")
	}
	if b.State().Size != 2 {
		t.Errorf("%d records, want 2", b.State().Size)
	}
	b.SetReadOnly("test")
	for _, r := range b.CommitAll(t.Context(), []Mutation{spend("5", 0)}) {
		if !errors.Is(r.Err, ErrReadOnly) {
			t.Errorf("read-only: %v", r.Err)
		}
	}
	if r := b.CommitAll(t.Context(), make([]Mutation, maxGroup+1)); !errors.Is(r[0].Err, ErrReadOnly) && !errors.Is(r[0].Err, ErrMutation) {
		t.Errorf("too many: %v", r[0].Err)
	}
}
