package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what the store should hold, in plain maps.
type model struct {
	values   map[string]string
	versions map[string]Version // also of deleted keys
	counters map[string]uint64
	expires  map[string]time.Time
	requests map[string]Receipt
	digests  map[string][32]byte
	bodies   []string
	outbox   int
}

// machine runs random commits against the store and the model.
type machine struct {
	cfg   Config
	b     *Bolt
	m     model
	now   time.Time
	dir   string
	stopT *rapid.T
}

// TestSimulation drives random mutations, reopenings, backups and clocks, and compares everything with a model after each of them.
func TestSimulation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &machine{dir: memoryDir(t), now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), stopT: rt,
			m: model{values: map[string]string{}, versions: map[string]Version{}, counters: map[string]uint64{}, expires: map[string]time.Time{},
				requests: map[string]Receipt{}, digests: map[string][32]byte{}}}
		s.cfg = Config{Path: filepath.Join(s.dir, "s.db"), Create: true, Collections: []*Collection{things}, SnapshotEvery: rapid.IntRange(1, 12).Draw(rt, "snapshot"),
			Now: func() time.Time { return s.now }, MmapSize: 1 << 24}
		s.open()
		defer func() { s.b.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit":  s.commit,
			"commit2": s.commit,
			"commit3": s.commit,
			"repeat":  s.repeat,
			"reopen":  s.reopen,
			"pass": func(rt *rapid.T) {
				s.now = s.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
			},
			"": s.check,
		})
	})
}

// memoryDir is a directory in memory where there is one: this test asks what is stored, not whether it lasts.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "sealkeeper-simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *machine) open() {
	b, err := Open(s.cfg)
	if err != nil {
		s.stopT.Fatal(err)
	}
	s.b = b
}

func (s *machine) reopen(rt *rapid.T) {
	if err := s.b.Close(); err != nil {
		rt.Fatal(err)
	}
	s.open()
}

// commit draws a mutation, predicts its fate and compares.
func (s *machine) commit(rt *rapid.T) {
	var m Mutation
	var want error
	key := rapid.SampledFrom([]string{"a", "ab", "b", "b\x00", "c"}).Draw(rt, "key")
	current := s.present(key)
	switch rapid.IntRange(0, 5).Draw(rt, "expect") {
	case 0:
		m.Expect = []Expect{{things, []byte(key), current + 1}}
		want = ErrConflict
	case 1:
		m.Expect = []Expect{{things, []byte(key), current}}
	}
	var value []byte
	if rapid.Bool().Draw(rt, "write") {
		value = rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(rt, "value")
	}
	m.Put = []Put{{things, []byte(key), value}}
	m.Audit = [][]byte{fmt.Append(nil, "record ", len(s.m.bodies))}
	if rapid.Bool().Draw(rt, "two") {
		m.Audit = append(m.Audit, []byte("second"))
	}
	if rapid.IntRange(0, 3).Draw(rt, "message") == 0 {
		m.Outbox = []Message{{"q", []byte("m")}}
	}
	if limit := s.spend(rt, &m); want == nil && limit {
		want = ErrLimit
	}
	if rapid.Bool().Draw(rt, "request") {
		m.Request = &Request{Client: "c", ID: fmt.Sprint(len(s.m.requests)), Digest: [32]byte{byte(len(s.m.bodies))}}
	}
	r, err := s.b.Commit(rt.Context(), m)
	if !errors.Is(err, want) {
		rt.Fatalf("commit: %v, want %v", err, want)
	}
	if err == nil {
		s.book(rt, m, r)
	}
}

func (s *machine) present(key string) Version {
	if _, there := s.m.values[key]; !there {
		return 0
	}
	return s.m.versions[key]
}

// spend adds spends to m and says whether one passes its limit.
func (s *machine) spend(rt *rapid.T, m *Mutation) (limit bool) {
	for range rapid.IntRange(0, 2).Draw(rt, "spends") {
		x := Spend{Counter: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "counter"), N: rapid.Uint64Range(0, 3).Draw(rt, "n"), Limit: 30}
		if rapid.IntRange(0, 2).Draw(rt, "nonce") == 0 {
			x = Spend{Counter: fmt.Sprint("nonce/", rapid.IntRange(0, 30).Draw(rt, "nonce name")), N: 1, Limit: 1}
			if e, known := s.m.expires[x.Counter]; known {
				x.Expires = e
			} else {
				x.Expires = s.now.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "life")) * time.Second)
			}
			limit = limit || x.Expires.Before(s.now)
		}
		total := s.m.counters[x.Counter] + x.N
		for _, earlier := range m.Spend {
			if earlier.Counter == x.Counter {
				total += earlier.N
			}
		}
		limit = limit || total > x.Limit
		m.Spend = append(m.Spend, x)
	}
	return limit
}

// book enters a committed mutation into the model.
func (s *machine) book(rt *rapid.T, m Mutation, r Receipt) {
	if r.First != uint64(len(s.m.bodies)) || len(r.Leaves) != len(m.Audit) || len(r.Spent) != len(m.Spend) || !r.Time.Equal(s.now) {
		rt.Fatalf("receipt %+v", r)
	}
	for _, p := range m.Put {
		_, there := s.m.values[string(p.Key)]
		switch {
		case p.Value != nil:
			s.m.values[string(p.Key)] = string(p.Value)
			s.m.versions[string(p.Key)]++
		case there:
			delete(s.m.values, string(p.Key))
			s.m.versions[string(p.Key)]++
		}
	}
	for i, x := range m.Spend {
		s.m.counters[x.Counter] += x.N
		if r.Spent[i] != s.m.counters[x.Counter] {
			rt.Fatalf("spend %d of %q gives %d, want %d", i, x.Counter, r.Spent[i], s.m.counters[x.Counter])
		}
		if !x.Expires.IsZero() {
			s.m.expires[x.Counter] = x.Expires
		}
	}
	for _, body := range m.Audit {
		s.m.bodies = append(s.m.bodies, string(body))
	}
	s.m.outbox += len(m.Outbox)
	if m.Request != nil {
		s.m.requests[m.Request.ID], s.m.digests[m.Request.ID] = r, m.Request.Digest
	}
}

// repeat asks for an earlier request again, rightly or with another body.
func (s *machine) repeat(rt *rapid.T) {
	if len(s.m.requests) == 0 {
		return
	}
	id := fmt.Sprint(rapid.IntRange(0, len(s.m.requests)-1).Draw(rt, "which"))
	q := &Request{Client: "c", ID: id, Digest: s.m.digests[id]}
	other := rapid.Bool().Draw(rt, "other body")
	if other {
		q.Digest[31] ^= 1
	}
	got, err := s.b.Commit(rt.Context(), Mutation{Request: q, Audit: [][]byte{[]byte("repeated")}})
	if other {
		if !errors.Is(err, ErrRequestReused) {
			rt.Fatalf("another body: %v", err)
		}
		return
	}
	want := s.m.requests[id]
	if err != nil || !got.Duplicate || got.First != want.First || !slices.Equal(got.Leaves, want.Leaves) || !slices.Equal(got.Spent, want.Spent) {
		rt.Fatalf("repeated: %+v %v, want %+v", got, err, want)
	}
}

// check compares everything that can be read.
func (s *machine) check(rt *rapid.T) {
	for key := range s.m.versions {
		it, err := s.b.Get(rt.Context(), things, []byte(key))
		value, there := s.m.values[key]
		if there && (err != nil || string(it.Value) != value || it.Version != s.m.versions[key]) || !there && !errors.Is(err, ErrNotFound) {
			rt.Fatalf("%q: %+v %v, want %q", key, it, err, value)
		}
	}
	for name, want := range s.m.counters {
		got, _ := s.b.Counter(rt.Context(), name)
		expires, mayGo := s.m.expires[name]
		if got != want && !(got == 0 && mayGo && expires.Before(s.now)) {
			rt.Fatalf("counter %q: %d, want %d", name, got, want)
		}
	}
	s.checkIndex(rt)
	if n := s.b.State().Size; n != uint64(len(s.m.bodies)) {
		rt.Fatalf("%d records, want %d", n, len(s.m.bodies))
	}
	if from := rapid.IntRange(0, len(s.m.bodies)).Draw(rt, "from"); from < len(s.m.bodies) {
		rs, err := s.b.Records(rt.Context(), uint64(from), 3)
		if err != nil || string(rs[0].Body) != s.m.bodies[from] {
			rt.Fatalf("record %d: %v", from, err)
		}
	}
	jobs, err := s.b.Claim(rt.Context(), "q", 1000, 0)
	if err != nil || len(jobs) != s.m.outbox {
		rt.Fatalf("%d messages, want %d: %v", len(jobs), s.m.outbox, err)
	}
}

func (s *machine) checkIndex(rt *rapid.T) {
	p, err := s.b.List(rt.Context(), things, "first", nil, "", 100)
	if err != nil || len(p.Items) != len(s.m.values) {
		rt.Fatalf("%d in the index, want %d: %v", len(p.Items), len(s.m.values), err)
	}
	if !slices.IsSortedFunc(p.Items, func(a, b Item) int {
		if c := bytes.Compare(a.Value[:1], b.Value[:1]); c != 0 {
			return c
		}
		return strings.Compare(string(a.Key), string(b.Key))
	}) {
		rt.Fatalf("index out of order: %+v", p.Items)
	}
}
