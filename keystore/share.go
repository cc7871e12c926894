package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// keepers remembers which tokens hold each KEK, so that a signature asks the store nothing.
type keepers struct {
	mu sync.RWMutex
	of map[ID]homes
}

func (p *keepers) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of = nil
}

// keepersOf returns the tokens that hold a KEK with its binding key.
func (k *Keystore) keepersOf(ctx context.Context, kek ID) (homes, error) {
	k.keepers.mu.RLock()
	hs := k.keepers.of[kek]
	k.keepers.mu.RUnlock()
	if hs != nil {
		return hs, nil
	}
	all, err := k.KEKs(ctx)
	if err != nil {
		return nil, err
	}
	k.keepers.mu.Lock()
	defer k.keepers.mu.Unlock()
	k.keepers.of = map[ID]homes{}
	for _, e := range all {
		for _, h := range k.homes {
			if k.holds(h, e) {
				k.keepers.of[e.ID] = append(k.keepers.of[e.ID], h)
			}
		}
	}
	if hs = k.keepers.of[kek]; hs == nil {
		return nil, fmt.Errorf("no configured token holds wrapping key %s: %w", kek, hsm.ErrTokenGone)
	}
	return hs, nil
}

// elsewhere says that another token with the same KEK may do what this one did not. A signature that may have been made and was lost is made again:
// it was released to nobody. A wrong one is not: a device that does this should be looked at.
func elsewhere(err error) bool { return tokenAway(err) || errors.Is(err, hsm.ErrNotFound) }

// turn goes round among tokens that are equally busy.
var turn atomic.Uint32

// next returns the token with the fewest calls inside, of those that are there or, when none is, of all; but not except.
func (hs homes) next(except *home) (best *home) {
	from := int(turn.Add(1))
	better := func(h *home) bool {
		if best == nil {
			return true
		}
		if a, b := h.away.Load() != nil, best.away.Load() != nil; a != b {
			return b
		}
		return h.busy.Load() < best.busy.Load()
	}
	for i := range hs {
		if h := hs[(from+i)%len(hs)]; h != except && better(h) {
			best = h
		}
	}
	return best
}

// sign has one of the tokens sign, and another when the first cannot. Whoever is away is asked after beside the call.
func (hs homes) sign(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	for _, h := range hs {
		h.askAfter()
	}
	first := hs.next(nil)
	sig, err := first.sign(ctx, r)
	if err == nil || len(hs) == 1 || !elsewhere(err) || ctx.Err() != nil {
		return sig, err
	}
	sig, second := hs.next(first).sign(ctx, r)
	if second != nil {
		return nil, fmt.Errorf("%w; %w", err, second)
	}
	return sig, nil
}

// askEvery is how often a token that is away is asked after while others do its work.
const askEvery = time.Second

// askAfter asks a token that is away whether it is back, without keeping anybody waiting.
func (h *home) askAfter() {
	if h.away.Load() == nil {
		return
	}
	last, now := h.asked.Load(), time.Now().UnixNano()
	if now-last < int64(askEvery) || !h.asked.CompareAndSwap(last, now) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*askEvery)
		defer cancel()
		_, _ = h.info(ctx) // notes what it finds
	}()
}

// places are the tokens that hold a key by its record.
func (k *Keystore) places(r record) homes {
	all := homes{k.homes.of(r.Birth.Token.Serial)}
	for _, c := range r.Copies {
		all = append(all, k.homes.of(c.Token.Serial))
	}
	return all
}

// places are the tokens in which an intent's object may be; nil for one that is not configured.
func (in Intent) places(hs homes) homes {
	all := homes{hs.at(in.Token)}
	for _, serial := range in.Copies {
		all = append(all, hs.at(serial))
	}
	return all
}

// encode is a resident key's record with the log's record of it.
func (r record) encode(kind string, by audit.Actor) (store.Put, []byte, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return store.Put{}, nil, fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: kind, Actor: by, Subject: r.ID.String(), Detail: r}.Body()
	return store.Put{Collection: records, Key: r.ID[:], Value: value}, body, err
}
