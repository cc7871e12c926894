package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// word is what the registry of these tests says: the n-th thing about an entity.
type word struct {
	Entity string    `json:"entity"`
	N      int       `json:"n"`
	At     time.Time `json:"at"`
}

// registry is the source, which can leave out, repeat and fail.
type registry struct {
	items []Item
	lost  map[uint64]bool // numbers that it does not give
	twice bool            // gives what was read before again
	down  error
	last  uint64 // says that this is the last one; zero for the truth
	asked int
}

func (s *registry) Page(_ context.Context, after uint64, limit int) (Page, error) {
	s.asked++
	if s.down != nil {
		return Page{}, s.down
	}
	p := Page{Last: uint64(len(s.items))}
	if s.last > 0 {
		p.Last = s.last
	}
	if s.twice {
		after -= min(after, 2)
		limit += 2
	}
	for _, it := range s.items {
		if it.Seq > after && len(p.Items) < limit && !s.lost[it.Seq] {
			p.Items = append(p.Items, it)
		}
	}
	return p, nil
}

// desk takes words in order: the n-th only after the one before it.
type desk struct {
	n     map[string]int
	taken []string
	now   func() time.Time
	fault error
}

var (
	errOrder  = errors.New("another word comes first")
	errFuture = errors.New("that is not yet")
	errToken  = errors.New("the token is away")
)

func (d *desk) take(_ context.Context, e envelope.Envelope) error {
	var w word
	if err := json.Unmarshal(e.Payload, &w); err != nil {
		return err
	}
	switch {
	case d.fault != nil:
		return d.fault
	case w.At.After(d.now()):
		return errFuture
	case w.N <= d.n[w.Entity]:
		return nil // taken before
	case w.N != d.n[w.Entity]+1:
		return errOrder
	}
	d.n[w.Entity] = w.N
	d.taken = append(d.taken, fmt.Sprint(w.Entity, w.N))
	return nil
}

type room struct {
	*testing.T
	key, stranger *softkey.Key
	src           *registry
	desk          *desk
	path          string
	st            *store.Bolt
	r             *Reader
	clock         time.Time
	ordered       bool
}

func newRoom(t *testing.T) *room {
	r := &room{T: t, src: &registry{lost: map[uint64]bool{}}, path: filepath.Join(t.TempDir(), "store"), clock: time.Now().UTC(), ordered: true}
	r.desk = &desk{n: map[string]int{}, now: func() time.Time { return r.clock }}
	for _, k := range []**softkey.Key{&r.key, &r.stranger} {
		var err error
		if *k, err = softkey.Generate(nil); err != nil {
			t.Fatal(err)
		}
	}
	r.open(true)
	t.Cleanup(func() { r.st.Close() })
	return r
}

func (r *room) open(create bool) {
	r.Helper()
	st, err := store.Open(store.Config{Path: r.path, Create: create, Collections: Collections()})
	if err != nil {
		r.Fatal(err)
	}
	r.st = st
	r.r = New(st, Config{Name: "words", Source: r.src, Take: r.desk.take, Ordered: r.ordered, Page: 4, MaxHeld: 20, Now: func() time.Time { return r.clock },
		Open: func(e envelope.Envelope) (string, time.Time, error) {
			var w word
			err := envelope.Open(e, "word/1", []*gm.PublicKey{r.key.Public()}, &w)
			return w.Entity, w.At, err
		},
		Judge: func(err error) Verdict {
			switch {
			case errors.Is(err, errFuture):
				return Again
			case errors.Is(err, errToken):
				return Ours
			}
			return Human
		}})
}

func (r *room) say(k *softkey.Key, entity string, n int, at time.Time) {
	r.Helper()
	e, err := envelope.Seal("word/1", word{entity, n, at.UTC()}, k.Sign)
	if err != nil {
		r.Fatal(err)
	}
	r.src.items = append(r.src.items, Item{uint64(len(r.src.items) + 1), e})
}

// words says some by its registry: "A1 A2 B1", a second apart, as old as they are far to the left.
func (r *room) words(text string) {
	r.Helper()
	all := strings.Fields(text)
	for i, w := range all {
		r.say(r.key, w[:1], int(w[1]-'0'), r.clock.Add(time.Duration(i-len(all))*time.Second))
	}
}

func (r *room) round(want error) {
	r.Helper()
	if err := r.r.Round(r.Context()); !errors.Is(err, want) {
		r.Fatalf("the round: %v, want %v", err, want)
	}
}

func (r *room) expect(taken, held string) {
	r.Helper()
	if got := strings.Join(r.desk.taken, " "); got != taken {
		r.Errorf("taken %q, want %q", got, taken)
	}
	all, _, err := r.r.Held(r.Context(), "", 100)
	if err != nil {
		r.Fatal(err)
	}
	var got []string
	for _, h := range all {
		got = append(got, fmt.Sprint(h.Seq))
	}
	if strings.Join(got, " ") != held || r.r.Stats().Held != int64(len(got)) {
		r.Errorf("held %q and %+v, want %q", got, r.r.Stats(), held)
	}
}

var officer = audit.Actor{Role: "operator-system", ID: "DEMO"}

func TestInOrder(t *testing.T) {
	r := newRoom(t)
	r.words("A1 B1 A2 C1 B2 A3 C2 A4 B3")
	r.round(nil)
	r.expect("A1 B1 A2 C1 B2 A3 C2 A4 B3", "")
	if s := r.r.Stats(); s.Last != 9 || s.Stopped != "" {
		t.Errorf("stats %+v", s)
	}
	r.src.twice = true // what comes again changes nothing
	r.words("C3")
	r.round(nil)
	if err := r.st.Close(); err != nil { // nor does a restart
		t.Fatal(err)
	}
	r.open(false)
	r.words("C4")
	r.round(nil)
	r.expect("A1 B1 A2 C1 B2 A3 C2 A4 B3 C3 C4", "")
}

// TestWrongOrder: two words that come in the wrong order right themselves by their source's time; nobody else waits for them.
func TestWrongOrder(t *testing.T) {
	r := newRoom(t)
	old := r.clock.Add(-time.Hour)
	r.say(r.key, "A", 2, old.Add(time.Minute))
	r.words("B1")
	r.round(nil)
	r.expect("B1", "1")
	r.say(r.key, "A", 3, old.Add(2*time.Minute))
	r.round(nil)
	r.expect("B1", "1 3")
	r.say(r.key, "A", 1, old)
	r.words("B2")
	r.round(nil)
	r.expect("B1 A1 A2 A3 B2", "")
	if got := r.recorded(); got != "message-held message-held message-held held-message-taken held-message-taken held-message-taken" {
		t.Errorf("records: %s", got)
	}
}

func (r *room) recorded() string {
	r.Helper()
	rs, err := r.st.Records(r.Context(), 0, 100)
	if err != nil {
		r.Fatal(err)
	}
	var kinds []string
	for _, rec := range rs {
		e, err := audit.ParseBody(rec.Body)
		if err != nil {
			r.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
	}
	return strings.Join(kinds, " ")
}

// TestGap: a missing number stops the reading until the source gives it.
func TestGap(t *testing.T) {
	for name, lost := range map[string]uint64{"at the beginning": 1, "in the middle": 6, "at the end": 9} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.words("A1 A2 A3 A4 A5 A6 A7 A8 A9")
			r.src.lost[lost] = true
			r.round(ErrGap)
			if n := uint64(len(r.desk.taken)); n != lost-1 || r.r.Stats().Last != lost-1 || !strings.Contains(r.r.Stats().Stopped, fmt.Sprint(lost)) {
				t.Errorf("%d taken, stats %+v", n, r.r.Stats())
			}
			delete(r.src.lost, lost)
			r.round(nil)
			r.expect("A1 A2 A3 A4 A5 A6 A7 A8 A9", "")
		})
	}
}

// TestHumanDecides: what cannot be taken holds back what follows about the same entity until an operator drops it, with a reason.
func TestHumanDecides(t *testing.T) {
	r := newRoom(t)
	r.words("A1 A3 A2 B1") // A3 was issued before A2: their clocks disagree, and nobody repairs that
	r.round(nil)
	r.expect("A1 B1", "2 3")
	if err := r.r.Retry(t.Context(), nil, officer, 2); err != nil {
		t.Fatal(err)
	}
	r.expect("A1 B1", "2 3")
	if err := r.r.Drop(t.Context(), nil, officer, 2, " "); !errors.Is(err, ErrWhy) {
		t.Errorf("dropping without a reason: %v", err)
	}
	if err := r.r.Drop(t.Context(), nil, officer, 7, "示例"); !errors.Is(err, ErrUnknown) {
		t.Errorf("dropping what is not held: %v", err)
	}
	if err := r.r.Drop(t.Context(), nil, officer, 2, "示例：登记机关已更正"); err != nil {
		t.Fatal(err)
	}
	r.expect("A1 B1 A2", "")
	if got := r.recorded(); !strings.HasSuffix(got, "held-message-retried held-message-dropped held-message-taken") {
		t.Errorf("records: %s", got)
	}
}

// TestForged: a message that its source did not sign waits for a human and holds nothing back, whomever it names.
func TestForged(t *testing.T) {
	r := newRoom(t)
	r.words("A1")
	r.say(r.stranger, "A", 2, r.clock)
	r.words("A2")
	r.round(nil)
	r.expect("A1 A2", "2")
}

// TestFuture: a clock that is ahead of ours makes its messages wait, in order, until their time comes.
func TestFuture(t *testing.T) {
	r := newRoom(t)
	r.say(r.key, "A", 1, r.clock.Add(time.Hour))
	r.say(r.key, "A", 2, r.clock.Add(time.Hour+time.Second))
	r.words("B1")
	r.round(nil)
	r.expect("B1", "1 2")
	r.clock = r.clock.Add(30 * time.Minute)
	r.round(nil)
	r.expect("B1", "1 2")
	r.clock = r.clock.Add(31 * time.Minute)
	r.round(nil)
	r.expect("B1 A1 A2", "")
}

// TestFaults: neither a source that is down nor a fault of ours loses a message or takes one twice.
func TestFaults(t *testing.T) {
	r := newRoom(t)
	r.words("A1 A2 A3")
	r.src.down = wire.ErrDown
	r.round(wire.ErrDown)
	r.src.down = nil
	for _, fault := range []error{store.ErrUnavailable, errToken} {
		r.desk.fault = fmt.Errorf("示例: %w", fault)
		r.round(fault)
		r.expect("", "")
	}
	r.desk.fault = nil
	r.round(nil)
	r.expect("A1 A2 A3", "")
	r.src.last = 2
	r.round(ErrBehind)
	r.src.last = 0
	r.words("A5")
	r.round(nil)
	r.src.lost[4] = true // the source has it no more: the rest goes on
	r.words("B1")
	r.round(nil)
	if err := r.r.Retry(t.Context(), nil, officer, 4); err != nil {
		t.Fatal(err)
	}
	r.expect("A1 A2 A3 B1", "4")
	for n := range 25 {
		r.say(r.stranger, "X", n, r.clock)
	}
	r.round(ErrFull)
	if s := r.r.Stats(); s.Held != 20 {
		t.Errorf("stats %+v", s)
	}
}

// TestUnordered: where order means nothing, a held message holds nothing back.
func TestUnordered(t *testing.T) {
	r := newRoom(t)
	r.ordered = false
	r.st.Close()
	r.open(false)
	r.words("A2 A1 A3")
	r.round(nil)
	r.expect("A1", "1 3")
	if err := r.r.Retry(t.Context(), nil, officer, 1); err != nil {
		t.Fatal(err)
	}
	r.expect("A1 A2", "3")
}

// TestDiesInBetween: what was taken before its number was noted is offered again and changes nothing.
func TestDiesInBetween(t *testing.T) {
	r := newRoom(t)
	r.words("A1 A2")
	ctx, die := context.WithCancel(t.Context())
	taken := 0
	r.r.cfg.Take = func(ctx context.Context, e envelope.Envelope) error {
		if taken++; taken == 2 {
			die()
			return ctx.Err()
		}
		return r.desk.take(ctx, e)
	}
	if err := r.r.Round(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the round: %v", err)
	}
	r.st.Close()
	r.open(false)
	r.round(nil)
	r.expect("A1 A2", "")
}

func TestRun(t *testing.T) {
	r := newRoom(t)
	r.words("A1")
	r.r.cfg.Every = time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	taken := make(chan struct{})
	r.r.cfg.Take = func(ctx context.Context, e envelope.Envelope) error {
		defer close(taken)
		return r.desk.take(ctx, e)
	}
	ended := make(chan struct{})
	go func() { r.r.Run(ctx); close(ended) }()
	<-taken
	stop()
	<-ended
	r.expect("A1", "")
}
