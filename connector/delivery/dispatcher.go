package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/keystore/store"
)

// Destination is an outside system. Deliver returns nil when the message was taken and everything that its answer says is durable here; an error
// that is wire.ErrRefused makes it a dead letter, any other sends it again later. It may be called again with a message that was taken.
type Destination interface {
	Deliver(ctx context.Context, m Message) error
}

// Config holds what a deployment decides. Zero values mean the defaults.
type Config struct {
	Timeout  time.Duration // of one delivery; default 30 s
	First    time.Duration // back-off after the first failure; it doubles, and half of it is drawn at random; default 1 s
	Most     time.Duration // longest back-off; default 10 min
	Age      time.Duration // a message older than this at a failure becomes a dead letter; default 168 h
	Tries    int           // so does one that failed so often; default 0, which means never
	Parallel int           // deliveries at once to one destination; default 4
	Rest     time.Duration // least time between two rounds; default 200 ms
	Now      func() time.Time
	Log      *slog.Logger
}

// Dispatcher delivers. It is safe for concurrent use; one per store.
type Dispatcher struct {
	st    store.Store
	cfg   Config
	lanes map[string]*lane
}

// lane is the way to one destination. Its rounds run one after the other.
type lane struct {
	queue string
	to    Destination
	round sync.Mutex // held for a round
	mu    sync.Mutex // held while it is decided who is first of an entity

	down   int       // failures in a row for want of an answer; guarded by round
	until  time.Time // no try before, while it is down; guarded by round
	intake time.Time // no intake before; guarded by round

	counted           bool // guarded by round
	waiting, dead     atomic.Int64
	delivered, failed atomic.Uint64
	isDown            atomic.Bool
}

func (l *lane) count(s State, n int64) {
	if s == Dead {
		l.dead.Add(n)
	} else {
		l.waiting.Add(n)
	}
}

// New wires a dispatcher: destinations by queue.
func New(st store.Store, cfg Config, to map[string]Destination) *Dispatcher {
	cfg.Timeout, cfg.First, cfg.Most = or(cfg.Timeout, 30*time.Second), or(cfg.First, time.Second), or(cfg.Most, 10*time.Minute)
	cfg.Age, cfg.Parallel, cfg.Rest = or(cfg.Age, 7*24*time.Hour), or(cfg.Parallel, 4), or(cfg.Rest, 200*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{st: st, cfg: cfg, lanes: map[string]*lane{}}
	for queue, dest := range to {
		d.lanes[queue] = &lane{queue: queue, to: dest}
	}
	return d
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Queues lists the queues that have a destination.
func (d *Dispatcher) Queues() []string { return slices.Sorted(maps.Keys(d.lanes)) }

// Run delivers until ctx ends. What fails is told in the log and tried again; it never gives up.
func (d *Dispatcher) Run(ctx context.Context) {
	var g sync.WaitGroup
	for _, l := range d.lanes {
		g.Go(func() { d.runLane(ctx, l) })
	}
	g.Wait()
}

func (d *Dispatcher) runLane(ctx context.Context, l *lane) {
	for ctx.Err() == nil {
		changed, began := d.st.Changed(), time.Now()
		next, err := d.step(ctx, l)
		if err != nil && ctx.Err() == nil {
			d.cfg.Log.WarnContext(ctx, "delivery round", slog.String("queue", l.queue), slog.String("error", err.Error()))
			next = d.cfg.Now().Add(d.cfg.First)
		}
		wait(ctx, changed, next.Sub(d.cfg.Now()))
		wait(ctx, nil, d.cfg.Rest-time.Since(began))
	}
}

// wait returns when the time is over, something changed or ctx ended.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-t.C:
	}
}

// Step makes one round for every destination at once: it takes in what the outbox holds and tries what is due, until nothing more is.
func (d *Dispatcher) Step(ctx context.Context) error {
	var g sync.WaitGroup
	errs := make([]error, len(d.lanes))
	for n, queue := range d.Queues() {
		g.Go(func() { _, errs[n] = d.step(ctx, d.lanes[queue]) })
	}
	g.Wait()
	return errors.Join(errs...)
}

// idle is how long a lane sleeps when it has nothing to do and nobody wakes it.
const idle = time.Minute

// step is one round of one lane. It returns when the next is worth while.
func (d *Dispatcher) step(ctx context.Context, l *lane) (time.Time, error) {
	l.round.Lock()
	defer l.round.Unlock()
	if err := d.census(ctx, l); err != nil {
		return time.Time{}, err
	}
	for {
		if err := d.intake(ctx, l); err != nil {
			return time.Time{}, fmt.Errorf("taking messages of %s in: %w", l.queue, err)
		}
		now := d.cfg.Now()
		if l.down > 0 && now.Before(l.until) {
			return l.until, nil
		}
		batch, next, err := d.due(ctx, l, now)
		if err != nil || len(batch) == 0 {
			return next, err
		}
		if err := d.deliver(ctx, l, batch); err != nil {
			return time.Time{}, err
		}
	}
}

// Claims are small and short: an intake is two commits.
const (
	claim = 64
	lease = 10 * time.Second
)

// intake moves messages from the outbox into the collection, where their order is kept. When a commit fails, what was claimed is free again after
// the lease; until then nothing younger is taken in, lest it overtake.
func (d *Dispatcher) intake(ctx context.Context, l *lane) error {
	if time.Now().Before(l.intake) {
		return nil
	}
	for {
		jobs, err := d.st.Claim(ctx, l.queue, claim, lease)
		if err != nil || len(jobs) == 0 {
			return err
		}
		if err := d.takeIn(ctx, l, jobs); err != nil {
			l.intake = time.Now().Add(lease)
			return err
		}
	}
}

func (d *Dispatcher) takeIn(ctx context.Context, l *lane, jobs []store.Job) error {
	slices.SortFunc(jobs, func(a, b store.Job) int { return int(int64(a.ID) - int64(b.ID)) })
	l.mu.Lock()
	defer l.mu.Unlock()
	log, now := d.st.State().Log, d.cfg.Now().UTC()
	seen := map[string]bool{}
	ms := make([]store.Mutation, len(jobs))
	for n, j := range jobs {
		m, err := take(log, j, now)
		if err != nil {
			return err
		}
		if m.Behind = seen[m.Entity]; !m.Behind {
			if m.Behind, err = d.waits(ctx, m); err != nil {
				return err
			}
		}
		seen[m.Entity] = true
		if ms[n], err = m.put(0); err != nil {
			return err
		}
	}
	for n, r := range d.st.CommitAll(ctx, ms) {
		if r.Err != nil && !errors.Is(r.Err, store.ErrConflict) { // a conflict: it was taken in before the process ended
			return r.Err
		}
		if r.Err == nil {
			l.count(Waiting, 1)
		}
		if err := d.st.Done(ctx, jobs[n]); err != nil {
			return err
		}
	}
	return nil
}

// waits reports whether a message of the entity stands before m.
func (d *Dispatcher) waits(ctx context.Context, m Message) (bool, error) {
	p, err := d.st.List(ctx, messages, byEntity, entityKey(m.Queue, m.Entity), "", 1)
	if err != nil || len(p.Items) == 0 {
		return false, err
	}
	return string(p.Items[0].Key) < m.ID, nil
}

// parcel is a message with the version that was read.
type parcel struct {
	Message
	at store.Version
}

// due lists what may go now, one while the destination is down, and says when the next is due otherwise.
func (d *Dispatcher) due(ctx context.Context, l *lane, now time.Time) (batch []parcel, next time.Time, err error) {
	n := d.cfg.Parallel
	if l.down > 0 {
		n = 1
	}
	p, err := d.st.List(ctx, messages, byTurn, queueKey(l.queue), "", n)
	if err != nil {
		return nil, time.Time{}, err
	}
	next = now.Add(idle)
	for _, it := range p.Items {
		m, err := decode(it)
		if err != nil {
			return nil, time.Time{}, err
		}
		if m.Due.After(now) {
			if m.Due.Before(next) {
				next = m.Due
			}
			break
		}
		batch = append(batch, parcel{m, it.Version})
	}
	return batch, next, nil
}

// backoff is the pause after so many failures: doubled each time, between half of it and all of it.
func (d *Dispatcher) backoff(failures int) time.Duration {
	pause := d.cfg.Most
	if shift := failures - 1; shift < 32 && d.cfg.First<<shift > 0 {
		pause = min(pause, d.cfg.First<<shift)
	}
	return pause/2 + rand.N(pause/2+1)
}
