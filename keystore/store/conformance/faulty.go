package conformance

import (
	"context"
	"fmt"
	"sync/atomic"

	"sealkeeper/keystore/store"
)

// Fault is what becomes of one commit.
type Fault int

// The faults that callers must handle, whatever engine is below.
const (
	None   Fault = iota // nothing is injected
	Refuse              // ErrUnavailable, and nothing happened
	Lose                // ErrUnknownOutcome, and nothing happened
	Forget              // ErrUnknownOutcome, but everything happened
)

// Faulty is a store whose commits fail as a plan says. Everything else is the wrapped store's.
type Faulty struct {
	store.Store
	plan func(m store.Mutation) Fault
}

// NewFaulty wraps s; plan is asked once for every commit, and once for every mutation of CommitAll, possibly by several goroutines.
func NewFaulty(s store.Store, plan func(m store.Mutation) Fault) *Faulty { return &Faulty{s, plan} }

// Cycle returns a plan that goes round the faults given, one commit after the other.
func Cycle(faults ...Fault) func(store.Mutation) Fault {
	var n atomic.Uint64
	return func(store.Mutation) Fault { return faults[(n.Add(1)-1)%uint64(len(faults))] }
}

func (f Fault) before() error {
	switch f {
	case Refuse:
		return fmt.Errorf("injected: %w", store.ErrUnavailable)
	case Lose:
		return fmt.Errorf("injected: %w", store.ErrUnknownOutcome)
	default:
		return nil
	}
}

func (f Fault) after(r store.Receipt, err error) (store.Receipt, error) {
	if f == Forget {
		return store.Receipt{}, fmt.Errorf("injected: %w", store.ErrUnknownOutcome)
	}
	return r, err
}

func (f *Faulty) run(m store.Mutation, commit func() (store.Receipt, error)) (store.Receipt, error) {
	fault := f.plan(m)
	if err := fault.before(); err != nil {
		return store.Receipt{}, err
	}
	return fault.after(commit())
}

// Commit commits, or fails as planned.
func (f *Faulty) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	return f.run(m, func() (store.Receipt, error) { return f.Store.Commit(ctx, m) })
}

// Resume resumes, or fails as planned.
func (f *Faulty) Resume(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	return f.run(m, func() (store.Receipt, error) { return f.Store.Resume(ctx, m) })
}

// AcceptClock accepts the clock, or fails as planned.
func (f *Faulty) AcceptClock(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	return f.run(m, func() (store.Receipt, error) { return f.Store.AcceptClock(ctx, m) })
}

// CommitAll commits those mutations that the plan lets through, together.
func (f *Faulty) CommitAll(ctx context.Context, ms []store.Mutation) []store.Result {
	out := make([]store.Result, len(ms))
	faults := make([]Fault, len(ms))
	var through []store.Mutation
	for i, m := range ms {
		faults[i] = f.plan(m)
		if out[i].Err = faults[i].before(); out[i].Err == nil {
			through = append(through, m)
		}
	}
	done := f.Store.CommitAll(ctx, through)
	for i := range ms {
		if out[i].Err == nil {
			out[i].Receipt, out[i].Err = faults[i].after(done[0].Receipt, done[0].Err)
			done = done[1:]
		}
	}
	return out
}
