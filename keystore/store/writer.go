package store

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"sealkeeper/keystore/audit/merkle"
)

// maxGroup is how many waiting commits one transaction takes.
const maxGroup = 1024

// item is one waiting change: a value with the step that applies it, and the channel its caller waits on.
type item struct {
	apply  func(g *group) (Receipt, error)
	pass   pass
	taken  atomic.Bool // by the writer, or by a caller that gave up: whoever comes first
	result chan outcome
}

// pass says which stop an item may pass.
type pass int

const (
	passNone  pass = iota
	passOnly       // Resume: goes through SetReadOnly and lifts it
	passClock      // AcceptClock: makes the clock right first
)

type outcome struct {
	receipt Receipt
	err     error
}

// writer is the state that only the writer goroutine touches.
type writer struct {
	clock   *clock
	cover   cover
	dirty   []string   // counters changed since the snapshot
	pending []answered // requests answered since the snapshot, oldest first
}

// answered is a request as the snapshot keeps it.
type answered struct {
	key   requestKey
	first uint64
	at    int64
}

// submit queues an item and waits for its outcome.
func (b *Bolt) submit(ctx context.Context, it *item) (Receipt, error) {
	it.result = make(chan outcome, 1)
	if err := b.enqueue(it); err != nil {
		return Receipt{}, err
	}
	select {
	case o := <-it.result:
		return o.receipt, o.err
	case <-ctx.Done():
	}
	if it.taken.CompareAndSwap(false, true) {
		return Receipt{}, fmt.Errorf("waiting in the queue: %w: %w", ErrUnavailable, ctx.Err())
	}
	o := <-it.result
	return o.receipt, o.err
}

func (b *Bolt) enqueue(it *item) error {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if b.closed {
		return fmt.Errorf("the store is closed: %w", ErrUnavailable)
	}
	select {
	case b.queue <- it:
		return nil
	default:
		return fmt.Errorf("%d commits are waiting: %w", cap(b.queue), ErrUnavailable)
	}
}

// run is the writer: take one, then whatever is already waiting, commit once, answer all. What arrives while the disk syncs is the next
// group by itself, so there is no timer.
func (b *Bolt) run() {
	defer close(b.finished)
	items := make([]*item, 0, maxGroup)
	for it := range b.queue {
		items = b.drain(append(items[:0], it))
		b.commitGroup(items)
		clear(items)
		if b.state.Load().Size-b.w.cover.records >= uint64(b.cfg.SnapshotEvery) {
			b.trySnapshot()
		}
	}
	if b.state.Load().Size > b.w.cover.records {
		b.trySnapshot()
	}
}

// drain adds what is waiting already and leaves out what its caller has given up. Callers answered a moment ago are about to come back:
// yielding the processor to them as long as that brings more makes whole groups out of halves (measured: 1.3 times the rate at 64
// callers, nothing lost at one).
func (b *Bolt) drain(items []*item) []*item {
	for yielded := false; len(items) < maxGroup; {
		select {
		case it, ok := <-b.queue:
			if !ok {
				return claim(items)
			}
			items, yielded = append(items, it), false
			continue
		default:
		}
		if yielded {
			break
		}
		runtime.Gosched()
		yielded = true
	}
	return claim(items)
}

func claim(items []*item) []*item {
	kept := items[:0]
	for _, it := range items {
		if it.taken.CompareAndSwap(false, true) {
			kept = append(kept, it)
		}
	}
	return kept
}

// commitGroup applies the items in order in one transaction. An item that is refused is refused alone.
func (b *Bolt) commitGroup(items []*item) {
	if len(items) == 0 {
		return
	}
	outcomes := make([]outcome, len(items))
	if err := b.writeGroup(items, outcomes); err != nil {
		for i := range outcomes {
			if outcomes[i].err == nil {
				outcomes[i] = outcome{err: err}
			}
		}
	}
	for i, it := range items {
		it.result <- outcomes[i]
	}
}

// writeGroup fills outcomes; its error is the fate of every item that was not refused by itself. After an error the store is stopped:
// what bbolt keeps in memory may no longer match the disk, so nothing is tried again in this process.
func (b *Bolt) writeGroup(items []*item, outcomes []outcome) error {
	tx, err := b.begin()
	if err != nil {
		return err
	}
	g := b.newGroup(tx)
	for i, it := range items {
		outcomes[i].receipt, outcomes[i].err = b.applyOne(g, it)
		if g.fatal != nil {
			break
		}
	}
	if g.fatal == nil && g.dirty {
		g.fatal = g.writeHead()
	}
	if g.fatal != nil {
		tx.Rollback()
		b.stop(g.fatal)
		for i := range outcomes {
			outcomes[i] = outcome{}
		}
		return fmt.Errorf("writing: %w: %w", ErrUnavailable, g.fatal)
	}
	if !g.dirty {
		return tx.Rollback()
	}
	return b.conclude(tx, g)
}

// conclude commits and publishes; whoever sees the one waits for the other (Counter, Lookup).
func (b *Bolt) conclude(tx *bolt.Tx, g *group) error {
	b.published.Lock()
	defer b.published.Unlock()
	b.committing.Store(int64(tx.ID()))
	defer b.committing.Store(0)
	for _, w := range g.written {
		w.kind.recent.change(w.key)
	}
	if err := tx.Commit(); err != nil {
		b.stop(err)
		return fmt.Errorf("committing: %w: %w", ErrUnknownOutcome, err)
	}
	b.publish(g)
	for _, w := range g.written {
		w.kind.recent.settle()
	}
	return nil
}

func (b *Bolt) begin() (*bolt.Tx, error) {
	if b.cfg.ReadOnly {
		return nil, b.writable()
	}
	if err := b.broken.Load(); err != nil {
		return nil, b.writable()
	}
	if err := b.room(); err != nil {
		return nil, err
	}
	tx, err := b.db.Begin(true)
	if err != nil {
		b.stop(err)
		return nil, fmt.Errorf("beginning to write: %w: %w", ErrUnavailable, err)
	}
	return tx, nil
}

func (b *Bolt) stop(err error) {
	b.broken.Store(&err)
	b.log.Error("the store stopped after a failed write; restart the program", "error", err)
}

// applyOne opens the door that the item may pass and applies it.
func (b *Bolt) applyOne(g *group, it *item) (Receipt, error) {
	if it.pass == passOnly && b.readOnly.Load() != nil {
		return b.resume(g, it)
	}
	if err := b.writable(); err != nil {
		return Receipt{}, err
	}
	if it.pass == passClock {
		return b.acceptClock(g, it)
	}
	return it.apply(g)
}

// publish makes the group's changes visible, after the commit and before the answers.
func (b *Bolt) publish(g *group) {
	b.live.mu.Lock()
	for name, c := range g.counters {
		b.keepCounter(name, c)
	}
	for _, a := range g.answers {
		b.live.requests[a.key] = a.first
	}
	b.live.mu.Unlock()
	b.w.pending = append(b.w.pending, g.answers...)
	if g.edge != nil {
		b.w.clock.floor = g.last
		b.publishEdge(g.edge, g.last)
	}
	b.changedMu.Lock()
	close(b.changed)
	b.changed = make(chan struct{})
	b.changedMu.Unlock()
}

// keepCounter puts a changed counter into memory and remembers it for the next snapshot.
func (b *Bolt) keepCounter(name string, c counter) {
	if !c.dirty {
		c.dirty = true
		b.w.dirty = append(b.w.dirty, name)
	}
	b.live.counters[name] = c
}

func (b *Bolt) publishEdge(e *merkle.Edge, last time.Time) {
	b.edge.Store(e)
	b.state.Store(&State{Log: b.id, Hash: b.hasher.Name(), Size: e.Size(), Root: e.Root(), Time: last})
}
