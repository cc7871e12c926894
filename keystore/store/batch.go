package store

import (
	"context"
	"fmt"
)

// Result is the fate of one mutation of CommitAll.
type Result struct {
	Receipt Receipt
	Err     error
}

// CommitAll applies several mutations in order, each whole or not at all, with one durable write: one that is refused holds no other
// back. The errors are those of Commit.
func (b *Bolt) CommitAll(ctx context.Context, ms []Mutation) []Result {
	out := make([]Result, len(ms))
	ready := make([]*prepared, len(ms))
	for i := range ms {
		if out[i].Err = b.writable(); out[i].Err == nil {
			ready[i], out[i].Err = b.prepare(&ms[i])
		}
	}
	if len(ms) > maxGroup {
		return failAll(out, func(int) bool { return true }, badMutation("%d mutations, at most %d", len(ms), maxGroup))
	}
	decided := make([]bool, len(ms)) // refused by itself, whatever becomes of the others
	_, err := b.submit(ctx, &item{apply: func(g *group) (Receipt, error) {
		for i, p := range ready {
			if p == nil {
				decided[i] = true
				continue
			}
			if out[i].Receipt, out[i].Err = g.apply(p); g.fatal != nil {
				return Receipt{}, g.fatal
			}
			decided[i] = out[i].Err != nil
		}
		return Receipt{}, nil
	}})
	if err != nil {
		return failAll(out, func(i int) bool { return !decided[i] && ready[i] != nil }, fmt.Errorf("committing together: %w", err))
	}
	return out
}

func failAll(out []Result, which func(i int) bool, err error) []Result {
	for i := range out {
		if which(i) {
			out[i] = Result{Err: err}
		}
	}
	return out
}
