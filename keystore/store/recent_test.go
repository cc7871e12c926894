package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

func openRecent(t *testing.T) (*Bolt, *Collection) {
	t.Helper()
	c := &Collection{Name: "recent-thing", Codec: 1, Indexes: []Index{{Name: "all", Keys: func([]byte) ([][]byte, error) { return [][]byte{[]byte("x")}, nil }}}}
	b, err := Open(Config{Path: filepath.Join(t.TempDir(), "s.db"), Create: true, Collections: []*Collection{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, c
}

func write(t *testing.T, b *Bolt, c *Collection, key, value string) {
	t.Helper()
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	if _, err := b.Commit(t.Context(), Mutation{Put: []Put{{Collection: c, Key: []byte(key), Value: v}}}); err != nil {
		t.Fatal(err)
	}
}

// TestRecent: what is read again costs no transaction, and what is changed, added or deleted shows at once.
func TestRecent(t *testing.T) {
	b, c := openRecent(t)
	read := func(key string) string {
		it, err := b.Get(t.Context(), c, []byte(key))
		if errors.Is(err, ErrNotFound) {
			return "none"
		} else if err != nil {
			t.Fatal(err)
		}
		return string(it.Value) + " " + fmt.Sprint(it.Version)
	}
	list := func() (keys string) {
		p, err := b.List(t.Context(), c, "all", []byte("x"), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			keys += string(it.Key) + string(it.Value)
		}
		return keys
	}
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	want(read("a"), "none")
	write(t, b, c, "a", "1")
	for range 3 {
		want(read("a"), "1 1")
		want(list(), "a1")
	}
	before := b.db.Stats().TxN
	for range 10 {
		want(read("a"), "1 1")
		want(list(), "a1")
	}
	if n := b.db.Stats().TxN - before; n != 0 {
		t.Errorf("%d transactions for what was read before", n)
	}
	write(t, b, c, "b", "2")
	want(list(), "a1b2")
	want(read("a"), "1 1")
	write(t, b, c, "a", "3")
	want(read("a"), "3 2")
	want(list(), "a3b2")
	write(t, b, c, "a", "")
	want(read("a"), "none")
	want(list(), "b2")
	if _, err := b.Commit(t.Context(), Mutation{Expect: []Expect{{c, []byte("b"), 7}}, Put: []Put{{Collection: c, Key: []byte("b"), Value: []byte("9")}}}); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	want(read("b"), "2 1")
	write(t, b, c, "b", "4") // the refused commit must not have closed the collection
	want(read("b"), "4 2")
	if _, _, ok := b.collections[c.Name].recent.item([]byte("b")); !ok {
		t.Error("nothing is kept after a refused commit")
	}
}

// TestRecentIsBounded in number and size.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	for i := range 3 * maxRecentItems {
		r.keep(0, Item{Key: []byte(strconv.Itoa(i))})
		r.keepPage(0, strconv.Itoa(i), Page{})
	}
	if len(r.items) > maxRecentItems || len(r.pages) > maxRecentPages {
		t.Errorf("%d records, %d pages", len(r.items), len(r.pages))
	}
	r.keep(0, Item{Key: []byte("large"), Value: make([]byte, maxRecentBytes+1)})
	r.keepPage(0, "large", Page{Items: []Item{{Value: make([]byte, maxRecentPage+1)}}})
	if _, _, ok := r.item([]byte("large")); ok || r.pages["large"].Items != nil {
		t.Error("large values are kept")
	}
	r.change([]byte("a"))
	r.keep(1, Item{Key: []byte("a")}) // read while the commit was on its way
	r.settle()
	r.keep(0, Item{Key: []byte("a")}) // read before it
	if _, _, ok := r.item([]byte("a")); ok {
		t.Error("a record read around its change was kept")
	}
}

// TestRecentIsNeverOld: while one goroutine changes a record, nobody reads an older version than one whose commit was answered before, or than one he
// has read himself.
func TestRecentIsNeverOld(t *testing.T) {
	b, c := openRecent(t)
	write(t, b, c, "k", "1")
	var answered atomic.Int64
	answered.Store(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			seen := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := max(answered.Load(), seen)
				it, err := b.Get(t.Context(), c, []byte("k"))
				if err != nil || int64(it.Version) < least || string(it.Value) != fmt.Sprint(it.Version) {
					t.Errorf("version %d after %d: %q, %v", it.Version, least, it.Value, err)
					return
				}
				least = max(int64(it.Version), answered.Load())
				p, err := b.List(t.Context(), c, "all", []byte("x"), "", 5)
				if err != nil || len(p.Items) != 1 || int64(p.Items[0].Version) < least {
					t.Errorf("listed %+v after %d: %v", p, least, err)
					return
				}
				seen = int64(p.Items[0].Version)
			}
		})
	}
	for i := int64(2); i < 300; i++ {
		write(t, b, c, "k", fmt.Sprint(i))
		answered.Store(i)
	}
	close(stop)
	wg.Wait()
}
