package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/keystore/audit/merkle"
)

func merkleOf(b *Bolt) *merkle.Edge { return merkle.NewEdge(b.hasher) }

// FuzzParseRecord: every form that is accepted is the one form of its record; everything else is ErrCorrupt.
func FuzzParseRecord(f *testing.F) {
	at := time.UnixMicro(1_770_000_000_000_000).UTC()
	f.Add(encodeRecord(&Record{Time: at, Of: 1, Body: []byte("{}")}))
	f.Add(encodeRecord(&Record{Time: at, Part: 3, Body: []byte("{}")}))
	f.Add(encodeRecord(&Record{Time: at, Of: 2, Request: &Request{Client: "c", ID: "i", Digest: [32]byte{1}}, Body: []byte("{}"),
		Spent: []Spent{{"a", 1, 300, time.Time{}}, {"b", 0, 1 << 60, at}}}))
	f.Add([]byte{recordForm})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecord(7, raw)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(encodeRecord(&r), raw) {
			t.Fatalf("%+v has another form too", r)
		}
	})
}

// FuzzFile changes bytes of a small store file: looking into it ends, without a panic and without a fault.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	good := filepath.Join(dir, "good")
	b, err := Open(Config{Path: good, Create: true, Collections: []*Collection{things}, MmapSize: 1})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 60 {
		m := Mutation{Put: []Put{thing(string(rune('a'+i%20)), "value")}, Audit: record("record"), Spend: []Spend{{Counter: "n", N: 1}},
			Request: &Request{Client: "c", ID: string(rune('A' + i))}}
		if _, err := b.Commit(f.Context(), m); err != nil {
			f.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(8192), []byte{1, 2, 3})
	f.Add(uint32(4096*3+8), []byte{1})
	f.Add(uint32(24), []byte{0xff})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		bad := bytes.Clone(whole)
		copy(bad[int(at)%len(bad):], change)
		path := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		look(t, path)
	})
}

// look reads everything that a check reads.
func look(t *testing.T, path string) {
	file, err := OpenFile(path)
	if err != nil {
		return
	}
	defer file.Close()
	_, head := file.Head()
	_, tiles := file.Tiles(t.Context())
	err = errors.Join(head, tiles,
		file.Records(t.Context(), func(i uint64, raw []byte) error { _, err := ParseRecord(i, raw); return err }),
		file.Counters(t.Context(), func(string, uint64, time.Time) error { return nil }),
		file.Requests(t.Context(), func(uint64, [16]byte) error { return nil }),
		file.Items(t.Context(), things, func(Item) error { return nil }), file.CheckIndexes(t.Context(), things))
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSchema) {
		t.Fatal(err)
	}
}
