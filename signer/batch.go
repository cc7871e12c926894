package signer

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
)

// Outcome is the fate of one request of a batch: exactly one of the two is set.
type Outcome struct {
	Released *Released
	Err      error // as from Sign
}

// SignBatch answers up to MaxBatch requests, each by itself: a refused one holds no other back, and each is answered again with the
// same bytes when it is repeated, in a batch or alone. Everything that passed goes out with one durable write. ErrBatchSize.
func (s *Signer) SignBatch(ctx context.Context, actor access.Actor, rs []Request) ([]Outcome, error) {
	if len(rs) == 0 || len(rs) > MaxBatch {
		return nil, fmt.Errorf("%d requests: %w", len(rs), ErrBatchSize)
	}
	out := make([]Outcome, len(rs))
	all := make([]int, len(rs))
	for i := range all {
		all[i] = i
	}
	if again := s.round(ctx, actor, rs, all, out); len(again) > 0 {
		s.round(ctx, actor, rs, again, out)
	}
	for i, o := range out {
		if o.Err != nil {
			s.refuse(actor, rs[i], o.Err)
		}
	}
	return out, nil
}

// round makes the chosen requests in parallel, commits what passed at once, and returns those whose commit found another state.
func (s *Signer) round(ctx context.Context, actor access.Actor, rs []Request, chosen []int, out []Outcome) (again []int) {
	uses := make([]*use, len(rs))
	var g errgroup.Group
	g.SetLimit(s.cfg.Parallel)
	for _, i := range chosen {
		g.Go(func() error {
			u, rel, err := s.make(ctx, actor, rs[i])
			if uses[i] = u; u == nil {
				out[i] = outcome(rel, err)
			}
			return nil
		})
	}
	g.Wait() // no goroutine returns an error: each has its outcome
	for i, err := range s.commitAll(ctx, uses, out) {
		if raced(err) {
			again = append(again, i)
		}
	}
	return again
}

func outcome(rel Released, err error) Outcome {
	if err != nil {
		return Outcome{Err: err}
	}
	return Outcome{Released: &rel}
}

// commitAll hands every use that passed to the store in one write and settles each.
func (s *Signer) commitAll(ctx context.Context, uses []*use, out []Outcome) map[int]error {
	var index []int
	var ms []store.Mutation
	for i, u := range uses {
		if u != nil {
			index, ms = append(index, i), append(ms, u.mutation())
		}
	}
	if len(ms) == 0 {
		return nil
	}
	failed := map[int]error{}
	for k, r := range s.cfg.Store.CommitAll(ctx, ms) {
		i := index[k]
		rel, err := s.settle(ctx, uses[i], r.Receipt, r.Err)
		if out[i] = outcome(rel, err); err != nil {
			failed[i] = err
		}
	}
	return failed
}
