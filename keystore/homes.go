package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/store"
)

// Births of a Member: groups of purposes. A purpose's own name may stand there too, and comes before its group.
const (
	BirthsSeals     = "seals"     // the keys of seals and their companion keys
	BirthsAppliance = "appliance" // every other
)

// KnownPurpose says whether keys of this appliance have that purpose.
func KnownPurpose(p Purpose) bool {
	switch p {
	case PurposeSeal, PurposeMaker, PurposeSM2Root, PurposeSM2Issuing, PurposeAudit, PurposeTLSRoot, PurposeTLSClient, PurposeTSASM2, PurposeTSAP256,
		PurposeStatement, PurposeDocument, PurposeKEK, PurposeBinder:
		return true
	}
	year, ok := strings.CutPrefix(string(p), "impression-")
	_, err := time.Parse("2006", year)
	return ok && err == nil
}

// Member is one of several tokens.
type Member struct {
	Token  Token
	Serial string   // names the token in records, errors and metrics
	Label  string   // for people
	Births []string // what is born here
	// Admit refuses a token for what it says of itself, before its first use; nil admits all.
	Admit func(hsm.TokenInfo) error
}

// bearing says how well a key of that purpose is at home here: 0 not at all, 2 by its own name.
func (m Member) bearing(p Purpose) int {
	group := BirthsAppliance
	switch p {
	case PurposeSeal, PurposeDocument, PurposeKEK, PurposeBinder: // a KEK is where the keys are born that it wraps
		group = BirthsSeals
	}
	switch {
	case slices.Contains(m.Births, string(p)):
		return 2
	case slices.Contains(m.Births, group):
		return 1
	}
	return 0
}

// home is a token with the keys that live in it.
type home struct {
	Member
	log  *slog.Logger
	held atomic.Int64          // living keys, as far as known
	away atomic.Pointer[error] // why the last call found no token; nil when it did
	in   atomic.Bool           // admitted
	busy atomic.Int64          // signatures inside
	// wrapped counts births of wrapped keys, which the token does not hold; asked is when it was asked after, being away.
	wrapped, asked atomic.Int64
	// hashes: the token hashes itself (TokenInfo.NeedsMessage), so a message keeps its bytes.
	hashes atomic.Bool
}

// homes are all tokens, the first one first.
type homes []*home

// of returns where a key of that birth lives. Records from before there were several name no token, or one whose keys its successor took over:
// those are the only token's. A token that is not configured is a home without a Token.
func (hs homes) of(serial string) *home {
	if h := hs.at(serial); h != nil {
		return h
	}
	if len(hs) == 1 {
		return hs[0]
	}
	return &home{Member: Member{Serial: serial}, log: hs[0].log}
}

// at returns the token of that serial, or nil; an empty serial means the first.
func (hs homes) at(serial string) *home {
	if serial == "" {
		return hs[0]
	}
	for _, h := range hs {
		if h.Serial == serial {
			return h
		}
	}
	return nil
}

// hash says whether any of the tokens hashes itself.
func (hs homes) hash() bool {
	return slices.ContainsFunc(hs, func(h *home) bool { return h.hashes.Load() })
}

// birthWithin bounds how long a token may take to say that it is there before keys are made in another.
const birthWithin = 2 * time.Second

// birthplace chooses the token of new keys that belong together. The appliance's own have one place. Seals go where the fewest keys live, of the
// tokens that fit and answer now.
func (hs homes) birthplace(ctx context.Context, wants []Want, fit func(*home) bool) (*home, error) {
	best, places := 0, homes(nil)
	for _, h := range hs {
		switch b := h.bearing(wants[0].Purpose); {
		case b == 0 || b < best || !fit(h):
		case b > best:
			best, places = b, homes{h}
		default:
			places = append(places, h)
		}
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("no token bears keys for %s: %w", wants[0].Purpose, ErrKeyUse)
	}
	if len(places) == 1 || wants[0].Purpose != PurposeSeal && wants[0].Purpose != PurposeDocument {
		return places[0], nil
	}
	slices.SortStableFunc(places, func(a, b *home) int { return int(a.held.Load() + a.wrapped.Load() - b.held.Load() - b.wrapped.Load()) })
	var errs []error
	for _, h := range places {
		ask, cancel := context.WithTimeout(ctx, birthWithin)
		_, err := h.info(ask)
		cancel()
		if err == nil {
			return h, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Open asks the one token who it is and returns custody over it. It changes nothing; Reconcile does, when the caller decides.
func Open(ctx context.Context, tok Token, st store.Store, log *slog.Logger) (*Keystore, error) {
	info, err := tok.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the token: %w", err)
	}
	m := Member{Token: tok, Serial: info.Serial, Label: info.Label, Births: []string{BirthsAppliance, BirthsSeals}}
	return OpenSeveral(ctx, []Member{m}, st, log)
}

// ErrTokens: the set of tokens cannot work as it is.
var ErrTokens = errors.New("the configured tokens do not go together")

// OpenSeveral returns custody over several tokens, of which the first is at home to what names none. A token that is away is no error: its keys
// answer ErrTokenGone until it is there.
func OpenSeveral(ctx context.Context, members []Member, st store.Store, log *slog.Logger) (*Keystore, error) {
	k := &Keystore{st: st, log: log, hot: map[ID]*Key{}}
	for _, m := range members {
		h := &home{Member: m, log: log}
		if m.Serial == "" || len(k.homes) > 0 && k.homes.at(m.Serial) != nil {
			return nil, fmt.Errorf("token serial %q stands there twice or not at all: %w", m.Serial, ErrTokens)
		}
		if err := h.admit(ctx); err != nil && !tokenAway(err) {
			return nil, err
		}
		k.homes = append(k.homes, h)
	}
	if len(k.homes) == 0 {
		return nil, fmt.Errorf("no token: %w", ErrTokens)
	}
	return k, nil
}

// Token describes the first token, asking it anew.
func (k *Keystore) Token(ctx context.Context) (hsm.TokenInfo, error) { return k.homes[0].info(ctx) }

// TokenState is one token now.
type TokenState struct {
	Serial string
	Label  string
	Keys   int64 // living keys in it, as far as known since Reconcile
	Stats  hsm.Stats
	Away   error // why its last call found no token; nil when it did
}

// Tokens describes every token without asking any.
func (k *Keystore) Tokens() []TokenState {
	all := make([]TokenState, len(k.homes))
	for i, h := range k.homes {
		all[i] = TokenState{Serial: h.Serial, Label: h.Label, Keys: h.held.Load(), Stats: h.Token.Stats()}
		if err := h.away.Load(); err != nil {
			all[i].Away = *err
		}
	}
	return all
}

// Ask asks every token whether it is there, all at once, and returns by serial what those say that are not.
func (k *Keystore) Ask(ctx context.Context) map[string]error {
	var mu sync.Mutex
	var asking sync.WaitGroup
	away := map[string]error{}
	for _, h := range k.homes {
		asking.Go(func() {
			if _, err := h.info(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				away[h.Serial] = err
			}
		})
	}
	asking.Wait()
	return away
}

// Stats returns the counters of all tokens together.
func (k *Keystore) Stats() (s hsm.Stats) {
	for _, h := range k.homes {
		t := h.Token.Stats()
		s.Signs, s.FindObjects, s.Evictions, s.Relogins = s.Signs+t.Signs, s.FindObjects+t.FindObjects, s.Evictions+t.Evictions, s.Relogins+t.Relogins
		s.Epoch, s.Idle = max(s.Epoch, t.Epoch), s.Idle+t.Idle
		s.Unwraps, s.Unwrapped = s.Unwraps+t.Unwraps, s.Unwrapped+t.Unwrapped
	}
	return s
}
