package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sealkeeper/keystore"
)

// settleEvery is how often a token that was away at the start is asked for.
const settleEvery = 3 * time.Second

// settleTokens does what the start could not do in tokens that were away, once each is there.
func (a *appliance) settleTokens(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for len(a.unsettled) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var still []string
		for _, serial := range a.unsettled {
			if !a.settle(ctx, serial) {
				still = append(still, serial)
			}
		}
		a.unsettled = still
	}
}

func (a *appliance) settle(ctx context.Context, serial string) (done bool) {
	r, err := a.keys.Settle(ctx, serial, self)
	switch {
	case errors.Is(err, keystore.ErrTokens):
		return true // no such token is configured; its keys say so when they are asked for
	case err != nil:
		return false
	}
	a.log.InfoContext(ctx, "token reconciled", slog.String("serial", serial), slog.Int("destroyed", len(r.Destroyed)), slog.Int("cleared", len(r.Cleared)),
		slog.Int("unknown", len(r.Orphans)))
	a.noteLabels(r)
	return true
}

// noteLabels keeps the numbers of seals from being given again that a token knows and the store does not.
func (a *appliance) noteLabels(r keystore.Reconciliation) {
	for _, o := range r.Orphans {
		a.issuance.NoteLabels(o.Label)
	}
}
