package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sealkeeper/keystore/store"
)

// keys lists a whole listing in pages.
func (s *suite) keys(c *store.Collection, index, prefix string, limit int) []string {
	s.Helper()
	var out []string
	for cursor := ""; ; {
		p, err := s.st.List(s.Context(), c, index, []byte(prefix), cursor, limit)
		s.must(err)
		if len(p.Items) > limit || len(p.Items) == 0 && p.Next != "" {
			s.Fatalf("page of %d items, %d asked for", len(p.Items), limit)
		}
		for _, it := range p.Items {
			out = append(out, string(it.Key))
		}
		if cursor = p.Next; cursor == "" {
			return out
		}
	}
}

func (s *suite) listing() {
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("a%02d", i)
		want = append(want, key)
		s.put(plain, key, "v")
	}
	for _, key := range []string{"a\x00", "b", "b\xff", "A"} {
		s.put(plain, key, "v")
	}
	for _, limit := range []int{1, 7, 100} {
		if got := s.keys(plain, "", "a", limit); !slices.Equal(got, append([]string{"a\x00"}, want...)) {
			s.Fatalf("pages of %d: %q", limit, got)
		}
	}
	if got := s.keys(plain, "", "", 3); len(got) != 29 || got[0] != "A" || got[28] != "b\xff" {
		s.Fatalf("everything: %q", got)
	}
	if got := s.keys(plain, "", "zzz", 3); len(got) != 0 {
		s.Fatalf("nothing: %q", got)
	}
	page, err := s.st.List(s.Context(), plain, "", []byte("a"), "", 5)
	s.must(err)
	s.delete(plain, string(page.Items[4].Key)) // where the page ended
	next, err := s.st.List(s.Context(), plain, "", []byte("a"), page.Next, 5)
	s.must(err)
	if string(next.Items[0].Key) != want[4] {
		s.Fatalf("after a deletion the next page begins with %q", next.Items[0].Key)
	}
	s.foreignCursors(page.Next)
}

// fromKey walks a collection and an index from a key on, which need not exist, to the end.
func (s *suite) fromKey() {
	for key, value := range map[string]string{"1": "05|", "2": "10|", "3": "10|30|", "4": "20\x00|"} {
		s.put(papers, key, value)
	}
	check := func(index, from string, want ...string) {
		s.Helper()
		var got []string
		for cursor := ""; ; {
			p, err := s.st.ListFrom(s.Context(), papers, index, []byte(from), cursor, 1)
			s.must(err)
			for _, it := range p.Items {
				got = append(got, string(it.Key))
			}
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			s.Errorf("from %q of %q: %q, want %q", from, index, got, want)
		}
	}
	check("word", "", "1", "2", "3", "4", "3")
	check("word", "06", "2", "3", "4", "3")
	check("word", "10", "2", "3", "4", "3")
	check("word", "20\x00", "4", "3")
	check("word", "31")
	check("", "2", "2", "3", "4")
	check("", "25", "3", "4")
}

// late: a mutation is refused after its NotAfter and leaves nothing; at it, it stands.
func (s *suite) late() {
	m := store.Mutation{Put: []store.Put{{Collection: plain, Key: []byte("k"), Value: []byte("v")}}, NotAfter: s.time().Add(time.Minute)}
	s.pass(time.Minute + time.Millisecond)
	_, err := s.try(m)
	s.want(err, store.ErrLate, "a mutation after its time")
	s.want(err, store.ErrConflict, "a mutation after its time, as a caller that tries again sees it")
	if s.st.State().Size != 0 {
		s.Error("a late mutation left a record")
	}
	m.NotAfter = s.time().Add(time.Minute)
	s.commit(m)
}

func (s *suite) foreignCursors(cursor string) {
	for name, ask := range map[string]func() error{
		"another prefix":     func() error { _, err := s.st.List(s.Context(), plain, "", []byte("b"), cursor, 5); return err },
		"another collection": func() error { _, err := s.st.List(s.Context(), papers, "", []byte("a"), cursor, 5); return err },
		"cut off":            func() error { _, err := s.st.List(s.Context(), plain, "", []byte("a"), cursor[:4], 5); return err },
		"no cursor":          func() error { _, err := s.st.List(s.Context(), plain, "", []byte("a"), "%%%", 5); return err },
	} {
		s.want(ask(), store.ErrCursor, name)
	}
	_, err := s.st.List(s.Context(), plain, "no-index", nil, "", 5)
	s.want(err, store.ErrMutation, "an index that is not declared")
}

func (s *suite) indexes() {
	s.put(papers, "1", "red|green|")
	s.put(papers, "2", "green|")
	s.put(papers, "3", "gre\x00|gre|") // zero bytes keep their order
	s.put(papers, "4", "unindexed")
	check := func(word string, want ...string) {
		s.Helper()
		if got := s.keys(papers, "word", word, 1); !slices.Equal(got, want) {
			s.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	check("green", "1", "2")
	check("gre", "3", "3", "1", "2")
	check("red", "1")
	s.put(papers, "1", "red|blue|")
	s.delete(papers, "2")
	check("green")
	check("blue", "1")
	check("red", "1")
	s.reopen()
	check("", "1", "3", "3", "1")
	s.put(papers, "1", "red|red|")
	check("red", "1")
	if got := s.keys(papers, "whole", "unindexed", 5); !slices.Equal(got, []string{"4"}) {
		s.Errorf("second index: %q", got)
	}
}

func (s *suite) outbox() {
	for i := range 5 {
		s.commit(store.Mutation{Outbox: []store.Message{{Queue: "filing", Body: fmt.Append(nil, "message ", i)}, {Queue: "other", Body: nil}}})
		s.pass(time.Millisecond)
	}
	claim := func(n int) []store.Job {
		s.Helper()
		jobs, err := s.st.Claim(s.Context(), "filing", n, time.Minute)
		s.must(err)
		return jobs
	}
	first, second := claim(2), claim(10)
	if len(first) != 2 || len(second) != 3 || len(claim(10)) != 0 {
		s.Fatalf("claimed %d and %d", len(first), len(second))
	}
	if got := string(first[0].Body) + string(second[2].Body); got != "message 0message 4" || first[0].Queue != "filing" || first[0].Tries != 0 {
		s.Fatalf("jobs %+v %+v", first, second)
	}
	s.must(s.st.Done(s.Context(), first[0]))
	s.must(s.st.Done(s.Context(), first[0]))
	s.must(s.st.Later(s.Context(), first[1], time.Hour))
	s.pass(2 * time.Minute) // the leases of second end
	if again := claim(10); len(again) != 3 || again[0].ID != second[0].ID {
		s.Fatalf("after the lease: %+v", again)
	}
	s.reopen() // leases may end with the process, messages must not
	s.pass(2 * time.Minute)
	if again := claim(10); len(again) != 3 {
		s.Fatalf("after reopening: %+v", again)
	}
	s.pass(time.Hour)
	late := claim(10)
	i := slices.IndexFunc(late, func(j store.Job) bool { return j.ID == first[1].ID })
	if len(late) != 4 || i < 0 || late[i].Tries != 1 || string(late[i].Body) != "message 1" {
		s.Fatalf("after the delay: %+v", late)
	}
	for _, j := range late {
		s.must(s.st.Done(s.Context(), j))
	}
	s.pass(time.Hour)
	if left := claim(10); len(left) != 0 {
		s.Fatalf("left: %+v", left)
	}
	if others, err := s.st.Claim(s.Context(), "other", 100, time.Second); err != nil || len(others) != 5 {
		s.Fatalf("the other queue: %d %v", len(others), err)
	}
	s.must(s.st.Done(s.Context(), store.Job{ID: 1 << 40, Queue: "filing"}))
}

func (s *suite) readOnly() {
	s.put(plain, "k", "v")
	s.st.SetReadOnly("the anchor is missing")
	put := store.Mutation{Put: []store.Put{{Collection: plain, Key: []byte("k"), Value: []byte("w")}}}
	_, err := s.try(put)
	s.want(err, store.ErrReadOnly, "commit")
	if err == nil || !strings.Contains(err.Error(), "the anchor is missing") {
		s.Errorf("the reason is not told: %v", err)
	}
	_, err = s.st.Claim(s.Context(), "q", 1, time.Second)
	s.want(err, store.ErrReadOnly, "claim")
	s.want(s.st.Done(s.Context(), store.Job{ID: 1}), store.ErrReadOnly, "done")
	if v, _ := s.get(plain, "k"); v != "v" {
		s.Fatalf("value %q", v)
	}
	_, err = s.tryWith(store.Mutation{Expect: []store.Expect{{Collection: plain, Key: []byte("k"), Version: 7}}}, s.st.Resume)
	s.want(err, store.ErrConflict, "a refused resume")
	_, err = s.try(put)
	s.want(err, store.ErrReadOnly, "commit after a refused resume")
	size := s.st.State().Size
	r, err := s.tryWith(store.Mutation{Audit: [][]byte{[]byte("resumed")}}, s.st.Resume)
	s.must(err)
	s.commit(put)
	if v, _ := s.get(plain, "k"); v != "w" || r.First != size {
		s.Fatalf("value %q, resumed with record %d", v, r.First)
	}
	s.st.SetReadOnly("again")
	s.st.SetReadOnly("")
	s.put(plain, "k", "x")
}

func (s *suite) clocks() {
	s.put(plain, "k", "v")
	spent := store.Mutation{Spend: []store.Spend{{Counter: "nonce/1", N: 1, Limit: 1, Expires: s.time().Add(time.Hour)}}}
	s.commit(spent)
	s.pass(-10 * time.Second)
	m := store.Mutation{Request: &store.Request{Client: "c", ID: "1"}, Audit: [][]byte{[]byte("r")}}
	_, err := s.try(m)
	s.want(err, store.ErrClock, "the clock behind the last record")
	s.pass(20 * time.Second)
	_, err = s.try(m)
	s.want(err, store.ErrClock, "the clock right again, but nobody said so")
	accept := store.Mutation{Audit: [][]byte{[]byte("accepted")}}
	_, err = s.tryWith(accept, s.st.AcceptClock)
	s.must(err)
	s.commit(m)

	// A day ahead, the store forgets the nonce; when the clock is set back, it must know it again.
	s.pass(24 * time.Hour)
	for range 40 {
		s.put(plain, "k", "v")
	}
	s.reopen()
	s.put(plain, "k", "v")
	s.pass(-24 * time.Hour)
	_, err = s.try(store.Mutation{Audit: [][]byte{[]byte("r")}})
	s.want(err, store.ErrClock, "a day back")
	r, err := s.tryWith(accept, s.st.AcceptClock)
	s.must(err)
	if !r.Time.Equal(s.time()) {
		s.Errorf("accepted at %s, the clock says %s", r.Time, s.time())
	}
	_, err = s.try(spent)
	s.want(err, store.ErrLimit, "the nonce under a clock set back")
	s.reopen()
	_, err = s.try(spent)
	s.want(err, store.ErrLimit, "the nonce under a clock set back, after reopening")
	s.commit(store.Mutation{Spend: []store.Spend{{Counter: "nonce/2", N: 1, Limit: 1, Expires: s.time().Add(time.Hour)}}})
	if _, err := s.st.AcceptClock(s.Context(), store.Mutation{}); err == nil || errors.Is(err, store.ErrClock) {
		s.Errorf("accepting without a record: %v", err)
	}
}
