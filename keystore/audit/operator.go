package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/keystore/store"
)

// ErrTwoOperators says that re-synchronising takes two operators who are not the same person.
var ErrTwoOperators = errors.New("two different operators are needed")

// Resynchronised is the Detail of the record with which two operators take a store for right that contradicts its anchor.
type Resynchronised struct {
	Reason string `json:"reason"`           // what contradicted
	Anchor string `json:"anchor,omitempty"` // the anchor's note as it was found
	Size   uint64 `json:"size"`             // of the store as it was taken for right
	Root   Hash   `json:"root"`
	Second Actor  `json:"second"` // the first operator is the record's actor
}

// Resynchronise ends recovering: two different operators take the store as it is for right. Their decision is the first new record,
// nothing comes before it, and a new anchor is made. When that fails, the store stays read-only.
func (l *Log) Resynchronise(ctx context.Context, first, second Actor) error {
	if !operator(first) || !operator(second) || first.ID == second.ID {
		return fmt.Errorf("re-synchronising: %w", ErrTwoOperators)
	}
	reason := l.Recovering()
	if reason == "" {
		return nil
	}
	anchor, err := l.cfg.Anchor.Load(ctx)
	if err != nil && !errors.Is(err, ErrNoAnchor) {
		return fmt.Errorf("re-synchronising: %w", err)
	}
	state := l.st.State()
	body, err := Event{Kind: KindResynchronised, Actor: first, Subject: l.origin, Detail: Resynchronised{Reason: reason, Anchor: string(anchor),
		Size: state.Size, Root: Hash(state.Root), Second: second}}.Body()
	if err != nil {
		return err
	}
	if _, err := l.st.Resume(ctx, store.Mutation{Audit: [][]byte{body}}); err != nil {
		return fmt.Errorf("re-synchronising: %w", err)
	}
	l.recovering.Store(nil)
	if _, err := l.sign(ctx, true); err != nil {
		l.enterRecovery(reason)
		return fmt.Errorf("re-synchronising: %w", err)
	}
	return nil
}

func operator(a Actor) bool { return strings.HasPrefix(a.Role, "operator-") && a.ID != "" }

// AcceptClock lets commits go on after store.ErrClock, with the operator's decision as the first record under the new time.
func (l *Log) AcceptClock(ctx context.Context, by Actor) error {
	if !operator(by) {
		return fmt.Errorf("accepting the clock: actor %q is no operator: %w", by.Role, ErrEvent)
	}
	body, err := Event{Kind: KindClockAccepted, Actor: by, Subject: l.origin, Detail: struct {
		Last time.Time `json:"last"` // time of the record in front
	}{l.st.State().Time}}.Body()
	if err != nil {
		return err
	}
	if _, err := l.st.AcceptClock(ctx, store.Mutation{Audit: [][]byte{body}}); err != nil {
		return fmt.Errorf("accepting the clock: %w", err)
	}
	return nil
}

// Epoch is the Result of the record that closes an epoch of a token: how often C_Sign was called, and what became of the answers. More
// calls than released and discarded together is a signature nobody accounts for.
type Epoch struct {
	Started   time.Time `json:"started"`
	Signs     uint64    `json:"c_sign_calls"`
	Released  uint64    `json:"released"`
	Discarded uint64    `json:"discarded"`
	// Tokens says which of several made how many of the calls; the record's subject is the first one's serial.
	Tokens []TokenSigns `json:"tokens,omitempty"`
}

// TokenSigns is one token's part of an epoch.
type TokenSigns struct {
	Serial string `json:"serial"`
	Signs  uint64 `json:"c_sign_calls"`
}

// CloseEpoch records the end of an epoch of the token with that serial number.
func (l *Log) CloseEpoch(ctx context.Context, serial string, e Epoch) error {
	e.Started = e.Started.UTC()
	body, err := Event{Kind: KindEpoch, Actor: Appliance("token"), Subject: serial, Result: e}.Body()
	if err != nil {
		return err
	}
	if _, err := l.st.Commit(ctx, store.Mutation{Audit: [][]byte{body}}); err != nil {
		return fmt.Errorf("closing epoch of token %s: %w", serial, err)
	}
	return nil
}

// Genesis is the Detail of a log's first record: it names the log and its hash.
type Genesis struct {
	Log  string `json:"log"`
	Hash string `json:"hash"` // of the tree, for the whole life of the log
	More any    `json:"more,omitempty"`
}

// GenesisEvent is the first record of the store's log; more is what its founder adds.
func GenesisEvent(s store.State, by Actor, subject string, more any) Event {
	return Event{Kind: KindGenesis, Actor: by, Subject: subject, Detail: Genesis{s.Log, s.Hash, more}}
}
