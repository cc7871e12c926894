// Package conformance holds the one test suite that every engine behind store.Store must pass, and a wrapper that makes commits fail, for
// tests of those who call a store.
//
// Its one promise: what the suite does not ask for, callers may not rely on. It handles failing commits as every caller must (repeat
// after ErrUnavailable, look the request up after ErrUnknownOutcome), so that it passes over the wrapper too.
//
// Limits: it proves behaviour, not speed, and not that committed bytes survive a power cut.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/keystore/store"
)

// Open opens the store that lives in dir, or makes it: the same dir again, after Close, is the same store again. It must use the collections
// and the clock given and forget requests no sooner than after 24 hours or 1,000 newer ones.
type Open func(t *testing.T, dir string, collections []*store.Collection, now func() time.Time) store.Store

// The suite's collections.
var (
	papers = &store.Collection{Name: "paper", Codec: 3, Indexes: []store.Index{{Name: "word", Keys: words}, {Name: "whole", Keys: whole}}}
	plain  = &store.Collection{Name: "plain-thing", Codec: 1}
)

// words indexes a value by its words, which are ended by '|'; a value that begins with '!' has no keys to give.
func words(v []byte) (keys [][]byte, err error) {
	if len(v) > 0 && v[0] == '!' {
		return nil, errors.New("no paper")
	}
	from := 0
	for i, c := range v {
		if c == '|' {
			keys, from = append(keys, v[from:i]), i+1
		}
	}
	return keys, nil
}

func whole(v []byte) ([][]byte, error) { return [][]byte{v}, nil }

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*suite){
		"values": (*suite).values, "expectations": (*suite).expectations, "malformed": (*suite).malformed, "requests": (*suite).requests,
		"counters": (*suite).counters, "expiring counters": (*suite).expiring, "listing": (*suite).listing, "from a key": (*suite).fromKey, "late": (*suite).late, "indexes": (*suite).indexes,
		"outbox": (*suite).outbox, "log": (*suite).log, "together": (*suite).together, "read-only": (*suite).readOnly, "clock": (*suite).clocks,
		"contention": (*suite).contention, "at once": (*suite).atOnce, "closing": (*suite).closing,
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, openStore: open, dir: t.TempDir(), now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
			s.open()
			t.Cleanup(func() { s.st.Close() })
			test(s)
		})
	}
}

// suite is one test over one store.
type suite struct {
	*testing.T
	openStore Open
	dir       string
	st        store.Store
	ids       atomic.Uint64

	mu  sync.Mutex
	now time.Time
}

func (s *suite) open() {
	s.Helper()
	s.st = s.openStore(s.T, s.dir, []*store.Collection{papers, plain}, s.time)
}

func (s *suite) reopen() {
	s.Helper()
	s.must(s.st.Close())
	s.open()
}

func (s *suite) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *suite) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) want(err, want error, what string) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

// try commits as every caller must: again after ErrUnavailable, and after ErrUnknownOutcome only when the request is not known. A mutation
// without a request gets one, and the record it rides in.
func (s *suite) try(m store.Mutation) (store.Receipt, error) {
	return s.tryWith(m, s.st.Commit)
}

func (s *suite) tryWith(m store.Mutation, commit func(context.Context, store.Mutation) (store.Receipt, error)) (store.Receipt, error) {
	if m.Request == nil {
		m.Request = &store.Request{Client: "suite", ID: fmt.Sprint("request ", s.ids.Add(1))}
	}
	if len(m.Audit) == 0 {
		m.Audit = [][]byte{[]byte("record")}
	}
	for range 100 {
		r, err := commit(s.Context(), m)
		if errors.Is(err, store.ErrUnknownOutcome) {
			known, lookup := s.st.Lookup(s.Context(), *m.Request)
			if lookup == nil {
				known.Duplicate = false
				return known, nil
			}
			if !errors.Is(lookup, store.ErrNotFound) {
				return store.Receipt{}, lookup
			}
			continue
		}
		if errors.Is(err, store.ErrUnavailable) {
			continue
		}
		return r, err
	}
	return store.Receipt{}, errors.New("the store stays unavailable")
}

func (s *suite) commit(m store.Mutation) store.Receipt {
	s.Helper()
	r, err := s.try(m)
	s.must(err)
	return r
}

// put writes one value.
func (s *suite) put(c *store.Collection, key, value string) {
	s.Helper()
	s.commit(store.Mutation{Put: []store.Put{{Collection: c, Key: []byte(key), Value: []byte(value)}}})
}

func (s *suite) delete(c *store.Collection, key string) {
	s.Helper()
	s.commit(store.Mutation{Put: []store.Put{{Collection: c, Key: []byte(key)}}})
}

// get reads one value, "" and version 0 when there is none.
func (s *suite) get(c *store.Collection, key string) (string, store.Version) {
	s.Helper()
	it, err := s.st.Get(s.Context(), c, []byte(key))
	if errors.Is(err, store.ErrNotFound) {
		return "", 0
	}
	s.must(err)
	if string(it.Key) != key || it.Codec != c.Codec {
		s.Fatalf("%q came back as %q with codec %d", key, it.Key, it.Codec)
	}
	return string(it.Value), it.Version
}

func (s *suite) counter(name string) uint64 {
	s.Helper()
	n, err := s.st.Counter(s.Context(), name)
	s.must(err)
	return n
}
