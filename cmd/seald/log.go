package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// openLog opens the audit log over the store, with its key in the token and its anchor in the token or in a file.
func openLog(ctx context.Context, cfg *Config, st *store.Bolt, token keystore.Token, keys *keystore.Keystore, genesis bool, log *slog.Logger) (*audit.Log, error) {
	key, err := keys.ByPurpose(ctx, keystore.PurposeAudit)
	if err != nil {
		return nil, err
	}
	var anchor audit.Anchor = audit.FileAnchor{Path: cfg.Anchor}
	if cfg.Anchor == "token" {
		anchor = audit.TokenAnchor{Token: token, Label: "sealkeeper:anchor:" + st.State().Log[:16], Missing: hsm.ErrNotFound}
	}
	former, err := formerAudit(ctx, keys, st, log)
	if err != nil {
		return nil, err
	}
	l, err := audit.Open(ctx, st, audit.Config{Key: key, Former: former, Anchor: anchor, Genesis: genesis, Uncovered: cfg.CheckpointOverdue, Log: log})
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return l, nil
}

func (a *appliance) openAudit(ctx context.Context) (err error) {
	a.started = time.Now()
	a.audit, err = openLog(ctx, a.cfg, a.store, a.tokens[0].Token, a.keys, false, a.log)
	return err
}

// closeEpoch records how often the token signed and what became of it, so that a signature nobody accounts for shows.
func (a *appliance) closeEpoch(ctx context.Context) error {
	if a.audit == nil || a.signer == nil || a.audit.Recovering() != "" || a.store.Health() != nil {
		return nil
	}
	if len(a.keys.Ask(ctx)) == len(a.tokens) {
		return nil // every token is away; there is nobody to ask
	}
	st := a.signer.Stats()
	e := audit.Epoch{Started: a.started, Released: st.Released, Discarded: st.Discarded}
	serial := a.tokens[0].Serial
	for _, t := range a.keys.Tokens() {
		e.Signs += t.Stats.Signs
		if len(a.tokens) > 1 {
			e.Tokens = append(e.Tokens, audit.TokenSigns{Serial: t.Serial, Signs: t.Stats.Signs})
		}
	}
	return a.audit.CloseEpoch(ctx, serial, e)
}

// resynchronise collects two officers' halves of the decision to go on after a rollback. The first half is forgotten after ten minutes.
func (a *appliance) resynchronise() func(context.Context, audit.Actor) (bool, error) {
	var mu sync.Mutex
	var first audit.Actor
	var since time.Time
	return func(ctx context.Context, by audit.Actor) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if a.audit.Recovering() == "" {
			return true, nil
		}
		if first.ID == "" || time.Since(since) > 10*time.Minute || first.ID == by.ID || first.Role == by.Role {
			first, since = by, time.Now()
			return false, nil
		}
		if err := a.audit.Resynchronise(ctx, first, by); err != nil {
			return false, err
		}
		first = audit.Actor{}
		return true, nil
	}
}

// hold keeps the signer from using a key for what could not be recorded, or not be covered.
func (a *appliance) hold() error {
	if err := a.store.Full(); err != nil {
		return err
	}
	return a.audit.Overdue()
}
