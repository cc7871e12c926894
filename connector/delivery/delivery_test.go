package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// office is an outside system: what it took, and how it behaves.
type office struct {
	mu     sync.Mutex
	behave func(m Message) error // nil takes everything
	took   []Message
	tries  int
	holds  int // deliveries inside, and the most of them at once
	most   int
}

func (o *office) Deliver(ctx context.Context, m Message) error {
	o.mu.Lock()
	o.tries++
	o.holds++
	o.most = max(o.most, o.holds)
	behave := o.behave
	o.mu.Unlock()
	var err error
	if behave != nil {
		err = behave(m)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds--
	if err == nil {
		o.took = append(o.took, m)
	}
	return err
}

func (o *office) set(behave func(m Message) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.behave = behave
}

// kinds lists what was taken about an entity.
func (o *office) kinds(entity string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, m := range o.took {
		if m.Entity == entity {
			all = append(all, m.Kind)
		}
	}
	return strings.Join(all, " ")
}

// room is a store with a dispatcher over it, and a clock.
type room struct {
	*testing.T
	path  string
	st    *store.Bolt
	d     *Dispatcher
	o     *office
	clock time.Time
	cfg   Config
}

const queue = "filing"

func newRoom(t *testing.T, cfg Config) *room {
	r := &room{T: t, path: filepath.Join(t.TempDir(), "store"), o: &office{}, clock: time.Now().UTC(), cfg: cfg}
	r.cfg.Now = func() time.Time { return r.clock }
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
	r.st, r.d = st, New(st, r.cfg, map[string]Destination{queue: r.o})
}

func (r *room) reopen() {
	r.Helper()
	if err := r.st.Close(); err != nil {
		r.Fatal(err)
	}
	r.open(false)
}

func (r *room) send(entity string, kinds ...string) {
	r.Helper()
	for _, k := range kinds {
		body := fmt.Sprintf(`{"kind":%q,"uscc":%q}`, k, entity)
		if _, err := r.st.Commit(r.Context(), store.Mutation{Outbox: []store.Message{{Queue: queue, Body: []byte(body)}}}); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *room) step() {
	r.Helper()
	if err := r.d.Step(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// passes lets time go by in small steps, as long as the daemon would sleep.
func (r *room) passes(d, step time.Duration) {
	r.Helper()
	for end := r.clock.Add(d); r.clock.Before(end); {
		r.clock = r.clock.Add(step)
		r.step()
	}
}

func (r *room) left(s State) []Message {
	r.Helper()
	all, _, err := r.d.List(r.Context(), queue, s, "", 1000)
	if err != nil {
		r.Fatal(err)
	}
	return all
}

var operator = audit.Actor{Role: "operator-system", ID: "DEMO"}

// TestOrder: whatever fails in between, each entity's messages arrive in the order of their commits, and none is lost.
func TestOrder(t *testing.T) {
	r := newRoom(t, Config{Parallel: 3})
	entities := []string{"A", "B", "C", "D", "E"}
	want := map[string]string{}
	for n := range 6 {
		for _, e := range entities {
			k := fmt.Sprintf("k%d", n)
			r.send(e, k)
			want[e] = strings.TrimSpace(want[e] + " " + k)
		}
	}
	calls := 0
	var mu sync.Mutex
	r.o.set(func(m Message) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%3 == 0 {
			return wire.ErrDown
		}
		return nil
	})
	r.passes(time.Hour, time.Minute)
	for _, e := range entities {
		if got := r.o.kinds(e); got != want[e] {
			t.Errorf("%s got %q, want %q", e, got, want[e])
		}
	}
	if s := r.d.Stats(queue); s.Waiting != 0 || s.Dead != 0 || s.Delivered != 30 || s.Failed == 0 || r.o.most > 3 {
		t.Errorf("stats %+v, at most %d at once", s, r.o.most)
	}
}

// TestDayDown: a destination that is down for a day costs a try every ten minutes, whatever waits for it, and then gets everything.
func TestDayDown(t *testing.T) {
	r := newRoom(t, Config{})
	for n := range 40 {
		r.send(fmt.Sprint("entity-", n%8), fmt.Sprint("k", n))
	}
	r.o.set(func(Message) error { return wire.ErrDown })
	r.passes(24*time.Hour, time.Minute)
	if r.o.tries < 100 || r.o.tries > 400 {
		t.Errorf("%d tries in a day", r.o.tries)
	}
	if s := r.d.Stats(queue); s.Waiting != 40 || s.Dead != 0 || !s.Down {
		t.Errorf("stats %+v", s)
	}
	r.reopen() // what waits outlives the process
	r.o.set(nil)
	r.passes(11*time.Minute, time.Minute)
	if len(r.o.took) != 40 || len(r.left(Waiting)) != 0 {
		t.Errorf("%d arrived, %d wait", len(r.o.took), len(r.left(Waiting)))
	}
	if s := r.d.Stats(queue); s.Waiting != 0 || s.Down {
		t.Errorf("stats %+v", s)
	}
}

// TestDeadLetter: what is refused waits for an operator, and so does what stands behind it; others go on.
func TestDeadLetter(t *testing.T) {
	r := newRoom(t, Config{})
	r.send("A", "one", "two", "three")
	r.send("B", "one")
	refuse := func(m Message) error {
		if m.Entity == "A" && m.Kind != "three" {
			return fmt.Errorf("status 422: %w", wire.ErrRefused)
		}
		return nil
	}
	r.o.set(refuse)
	r.passes(time.Hour, time.Minute)
	dead := r.left(Dead)
	if r.o.kinds("A") != "" || r.o.kinds("B") != "one" || len(dead) != 1 || dead[0].Kind != "one" || !strings.Contains(dead[0].Last, "422") {
		t.Fatalf("A %q, B %q, dead %+v", r.o.kinds("A"), r.o.kinds("B"), dead)
	}
	waiting := r.left(Waiting)
	if len(waiting) != 2 || !waiting[0].Behind || r.o.tries != 2 {
		t.Fatalf("behind it: %+v; %d tries", waiting, r.o.tries)
	}
	if err := r.d.Redeliver(t.Context(), nil, operator, waiting[0].ID); !errors.Is(err, ErrNotDead) {
		t.Errorf("redelivering what waits: %v", err)
	}
	if err := r.d.Redeliver(t.Context(), nil, operator, "ffffffffffffffff"); !errors.Is(err, ErrUnknown) {
		t.Errorf("redelivering what is not: %v", err)
	}
	if err := r.d.Discard(t.Context(), nil, operator, dead[0].ID, " "); !errors.Is(err, ErrWhy) {
		t.Errorf("discarding without a reason: %v", err)
	}
	req := &store.Request{Client: "DEMO", ID: "1"}
	if err := r.d.Redeliver(t.Context(), req, operator, dead[0].ID); err != nil {
		t.Fatal(err)
	}
	r.step()
	if again := r.left(Dead); len(again) != 1 || again[0].Key != dead[0].Key { // refused again
		t.Fatalf("dead %+v", again)
	}
	if err := r.d.Redeliver(t.Context(), req, operator, dead[0].ID); err != nil || len(r.left(Dead)) != 1 {
		t.Fatalf("the same request again: %v, %d dead", err, len(r.left(Dead)))
	}
	if err := r.d.Discard(t.Context(), nil, operator, dead[0].ID, "示例：对方已另行处理"); err != nil {
		t.Fatal(err)
	}
	r.step()
	dead = r.left(Dead) // the second moved up and was refused
	if len(dead) != 1 || dead[0].Kind != "two" {
		t.Fatalf("dead %+v", dead)
	}
	r.o.set(nil)
	if err := r.d.Redeliver(t.Context(), nil, operator, dead[0].ID); err != nil {
		t.Fatal(err)
	}
	r.step()
	if got := r.o.kinds("A"); got != "two three" {
		t.Errorf("A got %q", got)
	}
	if s := r.d.Stats(queue); s.Dead != 0 || s.Waiting != 0 {
		t.Errorf("stats %+v", s)
	}
	if got := r.recorded(); got != "dead-letter redelivered dead-letter discarded dead-letter redelivered" {
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

// TestHopeless: age and tries make dead letters where they are set to; a day of silence does not by default.
func TestHopeless(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   Config
		after time.Duration
		dead  int
	}{
		"a day":      {Config{}, 24 * time.Hour, 0},
		"eight days": {Config{}, 8 * 24 * time.Hour, 1},
		"five tries": {Config{Tries: 5}, time.Hour, 1},
		"an hour":    {Config{Age: 30 * time.Minute}, time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, c.cfg)
			r.o.set(func(Message) error { return wire.ErrGarbage })
			r.send("A", "one")
			r.passes(c.after, time.Minute)
			if got := len(r.left(Dead)); got != c.dead {
				t.Errorf("%d dead letters, want %d", got, c.dead)
			}
		})
	}
}

// TestDiesInBetween: a process that ends after the receiver took a message, before that is noted, delivers it once more under the same key; one that
// ends after taking it in, before the outbox let go of it, does not deliver it twice.
func TestDiesInBetween(t *testing.T) {
	r := newRoom(t, Config{})
	r.send("A", "one", "two")
	ctx, die := context.WithCancel(t.Context())
	r.o.set(func(Message) error { die(); return nil })
	if err := r.d.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the step: %v", err)
	}
	r.reopen()
	r.o.set(nil)
	r.step()
	if got := r.o.kinds("A"); got != "one one two" || r.o.took[0].Key != r.o.took[1].Key || r.o.took[1].Key == r.o.took[2].Key {
		t.Fatalf("A got %q", got)
	}
	r.send("B", "one", "two")
	half := &forgetful{Bolt: r.st}
	r.d = New(half, r.cfg, map[string]Destination{queue: r.o})
	if err := r.d.Step(t.Context()); !errors.Is(err, errForgot) {
		t.Fatalf("the step: %v", err)
	}
	r.reopen()
	r.step()
	if got := r.o.kinds("B"); got != "one two" {
		t.Errorf("B got %q", got)
	}
	if s := r.d.Stats(queue); s.Waiting != 0 {
		t.Errorf("stats %+v", s)
	}
}

var errForgot = errors.New("the process died here")

// forgetful is a store that dies before its outbox lets go of a message.
type forgetful struct{ *store.Bolt }

func (*forgetful) Done(context.Context, store.Job) error { return errForgot }

// TestRun: the loop delivers what is committed while it runs, and ends with its context.
func TestRun(t *testing.T) {
	r := newRoom(t, Config{Now: time.Now, Rest: time.Millisecond})
	r.cfg.Now = time.Now
	r.d = New(r.st, r.cfg, map[string]Destination{queue: r.o})
	ctx, stop := context.WithCancel(t.Context())
	arrived := make(chan string, 10)
	r.o.set(func(m Message) error { arrived <- m.Kind; return nil })
	ended := make(chan struct{})
	go func() { r.d.Run(ctx); close(ended) }()
	for _, k := range []string{"one", "two", "three"} {
		r.send("A", k)
		if got := <-arrived; got != k {
			t.Errorf("%q arrived, want %q", got, k)
		}
	}
	stop()
	<-ended
}

func TestBackoff(t *testing.T) {
	d := New(nil, Config{First: time.Second, Most: time.Minute}, nil)
	seen := map[time.Duration]bool{}
	for failures, full := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 40: time.Minute, 1000: time.Minute} {
		for range 50 {
			got := d.backoff(failures)
			if got < full/2 || got > full {
				t.Errorf("after %d failures %s", failures, got)
			}
			seen[got] = true
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d different pauses: %v", len(seen), slices.Collect(maps.Keys(seen)))
	}
}
