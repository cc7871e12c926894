package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/store"
)

func (s *suite) values() {
	s.put(plain, "a", "one")
	s.put(plain, "a", "two")
	s.put(plain, "empty", "")
	if v, n := s.get(plain, "a"); v != "two" || n != 2 {
		s.Fatalf("value %q version %d", v, n)
	}
	if _, n := s.get(plain, "empty"); n != 1 {
		s.Fatal("an empty value is a value")
	}
	s.delete(plain, "a")
	s.delete(plain, "never there")
	if _, n := s.get(plain, "a"); n != 0 {
		s.Fatalf("deleted, yet version %d", n)
	}
	s.reopen()
	s.put(plain, "a", "three")
	if v, n := s.get(plain, "a"); v != "three" || n <= 2 {
		s.Fatalf("version %d came back after a deletion", n)
	}
	it, err := s.st.Get(s.Context(), plain, []byte("a"))
	s.must(err)
	it.Value[0] = 'X'
	if v, _ := s.get(plain, "a"); v != "three" {
		s.Fatal("a reader changed the store")
	}
}

func (s *suite) expectations() {
	s.put(plain, "licence", "active")
	expect := func(key string, v store.Version) store.Expect {
		return store.Expect{Collection: plain, Key: []byte(key), Version: v}
	}
	m := store.Mutation{Expect: []store.Expect{expect("licence", 1), expect("seal", 0)},
		Put: []store.Put{{Collection: plain, Key: []byte("seal"), Value: []byte("made")}}}
	s.commit(m)
	_, err := s.try(m)
	s.want(err, store.ErrConflict, "the same expectation again")
	s.put(plain, "licence", "cancelled")
	before := s.st.State()
	_, err = s.try(store.Mutation{Expect: []store.Expect{expect("licence", 1)}, Spend: []store.Spend{{Counter: "n", N: 1}},
		Put: []store.Put{{Collection: plain, Key: []byte("seal"), Value: []byte("used")}}, Outbox: []store.Message{{Queue: "q", Body: []byte("x")}}})
	s.want(err, store.ErrConflict, "a record that was only read has moved on")
	if v, n := s.get(plain, "seal"); v != "made" || n != 1 || s.st.State() != before || s.counter("n") != 0 {
		s.Fatal("a refused mutation left something behind")
	}
	if jobs, err := s.st.Claim(s.Context(), "q", 1, time.Second); err != nil || len(jobs) != 0 {
		s.Fatalf("a refused mutation left a message: %v %v", jobs, err)
	}
}

func (s *suite) malformed() {
	record := [][]byte{[]byte("r")}
	put := func(c *store.Collection, key, value string) []store.Put {
		return []store.Put{{Collection: c, Key: []byte(key), Value: []byte(value)}}
	}
	for name, m := range map[string]store.Mutation{
		"nothing":                   {},
		"undeclared collection":     {Put: put(&store.Collection{Name: "unknown"}, "k", "v")},
		"no collection":             {Put: put(nil, "k", "v")},
		"no key":                    {Put: put(plain, "", "v")},
		"long key":                  {Put: put(plain, strings.Repeat("k", 1025), "v")},
		"one key twice":             {Put: append(put(plain, "k", "v"), put(plain, "k", "w")...)},
		"value without index keys":  {Put: put(papers, "k", "!")},
		"index key too long":        {Put: put(papers, "k", strings.Repeat("x", 257))},
		"expectation without key":   {Expect: []store.Expect{{Collection: plain}}},
		"spend without record":      {Spend: []store.Spend{{Counter: "n", N: 1}}},
		"counter without name":      {Spend: []store.Spend{{N: 1}}, Audit: record},
		"request without record":    {Request: &store.Request{Client: "c", ID: "i"}, Put: put(plain, "k", "v")},
		"request without id":        {Request: &store.Request{Client: "c"}, Audit: record},
		"request id not printable":  {Request: &store.Request{Client: "c", ID: "a\nb"}, Audit: record},
		"request id too long":       {Request: &store.Request{Client: "c", ID: strings.Repeat("i", 129)}, Audit: record},
		"empty record":              {Audit: [][]byte{{}}},
		"queue with a strange name": {Outbox: []store.Message{{Queue: "Q q"}}},
	} {
		for {
			_, err := s.st.Commit(s.Context(), m)
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknownOutcome) {
				continue // a fault was injected
			}
			s.want(err, store.ErrMutation, name)
			break
		}
	}
	if s.st.State().Size != 0 {
		s.Error("a malformed mutation left a record")
	}
}

func (s *suite) requests() {
	m := store.Mutation{Request: &store.Request{Client: "client", ID: "key 1", Digest: [32]byte{1}}, Spend: []store.Spend{{Counter: "n", N: 2}},
		Put: []store.Put{{Collection: plain, Key: []byte("k"), Value: []byte("v")}}, Audit: [][]byte{[]byte("first"), []byte("second")}}
	first := s.commit(m)
	s.pass(time.Minute)
	check := func() {
		s.Helper()
		again := s.commit(m)
		again.Duplicate = false // a lookup after an unknown outcome clears it too
		if !equalReceipts(first, again) {
			s.Fatalf("first %+v, again %+v", first, again)
		}
		found, err := s.st.Lookup(s.Context(), *m.Request)
		s.must(err)
		if !found.Duplicate || found.First != first.First {
			s.Fatalf("looked up %+v", found)
		}
	}
	check()
	other := *m.Request
	other.Digest[0]++
	reused := m
	reused.Request = &other
	_, err := s.try(reused)
	s.want(err, store.ErrRequestReused, "another body")
	_, err = s.st.Lookup(s.Context(), other)
	s.want(err, store.ErrRequestReused, "looking up another body")
	_, err = s.st.Lookup(s.Context(), store.Request{Client: "another", ID: "key 1"})
	s.want(err, store.ErrNotFound, "another client's request")
	s.reopen()
	check()
	if _, n := s.get(plain, "k"); n != 1 || s.counter("n") != 2 || s.st.State().Size != 2 {
		s.Fatal("a repeated request changed something")
	}
}

func equalReceipts(a, b store.Receipt) bool {
	return a.Log == b.Log && a.First == b.First && slices.Equal(a.Leaves, b.Leaves) && a.Time.Equal(b.Time) && slices.Equal(a.Spent, b.Spent) &&
		a.Duplicate == b.Duplicate
}

func (s *suite) counters() {
	r := s.commit(store.Mutation{Spend: []store.Spend{{Counter: "a", N: 2, Limit: 5}, {Counter: "b", N: 1}, {Counter: "a", N: 3, Limit: 5}}})
	if !slices.Equal(r.Spent, []uint64{2, 1, 5}) {
		s.Fatalf("spent %v", r.Spent)
	}
	_, err := s.try(store.Mutation{Spend: []store.Spend{{Counter: "b", N: 1}, {Counter: "a", N: 1, Limit: 5}}})
	s.want(err, store.ErrLimit, "one more")
	_, err = s.try(store.Mutation{Spend: []store.Spend{{Counter: "c", N: 1, Limit: 1}, {Counter: "c", N: 1, Limit: 1}}})
	s.want(err, store.ErrLimit, "twice at once")
	_, err = s.try(store.Mutation{Spend: []store.Spend{{Counter: "a", N: 1<<64 - 1}}})
	s.want(err, store.ErrLimit, "more than a number holds")
	s.reopen()
	if a, b, c := s.counter("a"), s.counter("b"), s.counter("c"); a != 5 || b != 1 || c != 0 {
		s.Fatalf("counters %d %d %d", a, b, c)
	}
}

func (s *suite) expiring() {
	ends := s.time().Add(time.Hour)
	nonce := store.Mutation{Spend: []store.Spend{{Counter: "nonce/1", N: 1, Limit: 1, Expires: ends}}}
	s.commit(nonce)
	_, err := s.try(nonce)
	s.want(err, store.ErrLimit, "the nonce again")
	s.pass(59 * time.Minute)
	s.reopen()
	_, err = s.try(nonce)
	s.want(err, store.ErrLimit, "the nonce again just before its end")
	s.pass(2 * time.Hour)
	for range 40 { // time for the store to forget
		s.put(plain, "k", "v")
	}
	s.reopen()
	_, err = s.try(nonce)
	s.want(err, store.ErrLimit, "the nonce after its end")
}

func (s *suite) log() {
	var leaves [][32]byte
	changed := s.st.Changed()
	select {
	case <-changed:
		s.Fatal("changed before anything did")
	default:
	}
	for i := range 300 {
		r := s.commit(store.Mutation{Audit: [][]byte{fmt.Append(nil, "a", i), fmt.Append(nil, "b", i)}})
		if r.First != uint64(len(leaves)) || r.Log != s.st.State().Log || r.Log == "" {
			s.Fatalf("receipt %+v", r)
		}
		leaves = append(leaves, r.Leaves...)
		s.pass(time.Millisecond)
	}
	<-changed
	s.checkLog(leaves)
	s.reopen()
	s.checkLog(leaves)
}

// checkLog compares records, tiles and state with the leaves of the receipts.
func (s *suite) checkLog(leaves [][32]byte) {
	s.Helper()
	state := s.st.State()
	h, err := merkle.ByName(state.Hash)
	s.must(err)
	var records []store.Record
	for len(records) < len(leaves) {
		page, err := s.st.Records(s.Context(), uint64(len(records)), 77)
		s.must(err)
		if len(page) == 0 || len(page) > 77 {
			s.Fatalf("page of %d records", len(page))
		}
		records = append(records, page...)
	}
	for i, r := range records {
		if r.Index != uint64(i) || h.Leaf(r.Raw) != leaves[i] || i%2 == 0 && (r.Part != 0 || r.Of != 2 || r.Request == nil) || i%2 == 1 && r.Part != 1 {
			s.Fatalf("record %d: %+v", i, r)
		}
		if want := fmt.Append(nil, string("ab"[i%2]), i/2); !bytes.Equal(r.Body, want) {
			s.Fatalf("record %d says %q, want %q", i, r.Body, want)
		}
	}
	tiles := func(t merkle.Tile) ([]byte, error) { return s.st.Tile(s.Context(), t.Level, t.Index) }
	root, err := merkle.Root(h, state.Size, tiles)
	s.must(err)
	if state.Size != uint64(len(leaves)) || root != state.Root || !state.Time.Equal(records[len(records)-1].Time) {
		s.Fatalf("state %+v, root from tiles %x", state, root)
	}
	path, err := merkle.Inclusion(h, 300, state.Size, tiles)
	s.must(err)
	s.must(merkle.VerifyInclusion(h, 300, state.Size, leaves[300], path, state.Root))
	if rest, err := s.st.Records(s.Context(), state.Size, 10); err != nil || len(rest) != 0 {
		s.Fatalf("records behind the end: %v %v", rest, err)
	}
	_, err = s.st.Tile(s.Context(), 0, state.Size/256+1)
	s.want(err, store.ErrNotFound, "a tile behind the end")
	_, err = s.st.Tile(s.Context(), 3, 0)
	s.want(err, store.ErrNotFound, "a level without tiles")
}

// together commits several mutations at once until each has its own fate.
func (s *suite) together() {
	one := func(id string) store.Mutation {
		return store.Mutation{Request: &store.Request{Client: "c", ID: id}, Spend: []store.Spend{{Counter: "n", N: 1, Limit: 2}}, Audit: [][]byte{[]byte(id)}}
	}
	ms := []store.Mutation{one("1"), {Expect: []store.Expect{{Collection: plain, Key: []byte("k"), Version: 9}}, Audit: [][]byte{[]byte("x")}}, {}, one("2"), one("3")}
	fate := make([]error, len(ms))
	for waiting := []int{0, 1, 2, 3, 4}; len(waiting) > 0; {
		var now []store.Mutation
		for _, i := range waiting {
			now = append(now, ms[i])
		}
		var again []int
		for j, r := range s.st.CommitAll(s.Context(), now) {
			i := waiting[j]
			if fate[i] = r.Err; errors.Is(r.Err, store.ErrUnavailable) || errors.Is(r.Err, store.ErrUnknownOutcome) {
				again = append(again, i)
			}
		}
		waiting = again
	}
	granted := 0
	for i, want := range map[int]error{1: store.ErrConflict, 2: store.ErrMutation} {
		s.want(fate[i], want, fmt.Sprint("mutation ", i))
	}
	for _, i := range []int{0, 3, 4} {
		if fate[i] == nil {
			granted++
		} else {
			s.want(fate[i], store.ErrLimit, fmt.Sprint("mutation ", i))
		}
	}
	if granted != 2 || s.counter("n") != 2 || s.st.State().Size != 2 {
		s.Fatalf("%d granted, counter %d, %d records", granted, s.counter("n"), s.st.State().Size)
	}
}

// contention lets many goroutines spend one limit and claim one record.
func (s *suite) contention() {
	const callers, limit = 32, 10
	var granted, won, failed atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			switch _, err := s.try(store.Mutation{Spend: []store.Spend{{Counter: "n", N: 1, Limit: limit}}}); {
			case err == nil:
				granted.Add(1)
			case !errors.Is(err, store.ErrLimit):
				failed.Add(1)
			}
			switch _, err := s.try(store.Mutation{Expect: []store.Expect{{Collection: plain, Key: []byte("k")}},
				Put: []store.Put{{Collection: plain, Key: []byte("k"), Value: []byte("v")}}}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrConflict):
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if granted.Load() != limit || won.Load() != 1 || failed.Load() != 0 || s.counter("n") != limit || s.st.State().Size != limit+1 {
		s.Fatalf("%d granted, %d won, %d failed, counter %d, %d records", granted.Load(), won.Load(), failed.Load(), s.counter("n"), s.st.State().Size)
	}
}

// atOnce watches commits from beside them: whoever reads a record finds the counters and the request of the commit that wrote it.
func (s *suite) atOnce() {
	const commits = 200
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for n := range commits {
			if _, err := s.try(store.Mutation{Request: &store.Request{Client: "writer", ID: fmt.Sprint(n)}, Audit: [][]byte{[]byte("r")},
				Put: []store.Put{{Collection: plain, Key: []byte("k"), Value: fmt.Append(nil, n)}}, Spend: []store.Spend{{Counter: "n", N: 1, Limit: commits}}}); err != nil {
				s.Error(err)
				return
			}
		}
	})
	for range 4 {
		wg.Go(func() { s.watch(done) })
	}
	wg.Wait()
}

func (s *suite) watch(done <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true // and look once more
		default:
		}
		it, err := s.st.Get(s.Context(), plain, []byte("k"))
		if err != nil {
			continue
		}
		seen, _ := strconv.ParseUint(string(it.Value), 10, 64)
		n, err := s.st.Counter(s.Context(), "n")
		if err != nil || n < seen+1 {
			s.Errorf("record of commit %s seen while the counter says %d: %v", it.Value, n, err)
			return
		}
		if _, err := s.st.Lookup(s.Context(), store.Request{Client: "writer", ID: string(it.Value)}); err != nil {
			s.Errorf("record of commit %s seen while its request is not: %v", it.Value, err)
			return
		}
	}
}

func (s *suite) closing() {
	s.put(plain, "k", "v")
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	m := store.Mutation{Request: &store.Request{Client: "c", ID: "late"}, Audit: [][]byte{[]byte("r")}}
	if _, err := s.st.Commit(ended, m); err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
		s.Fatalf("commit with an ended context: %v", err)
	}
	s.must(s.st.Close())
	s.must(s.st.Close())
	for range 4 { // past any injected fault
		if _, err := s.st.Commit(s.Context(), m); !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
			s.Fatalf("commit after closing: %v", err)
		}
	}
	s.open()
	if v, _ := s.get(plain, "k"); v != "v" {
		s.Fatalf("value %q", v)
	}
}
