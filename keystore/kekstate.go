package keystore

import (
	"context"
	"fmt"
)

// KEKState is a wrapping key and how full it is.
type KEKState struct {
	KEK
	Born  uint64 `json:"born" doc:"keys that were ever put under it; each took a place for good"`
	Limit uint64 `json:"limit" doc:"keys it may have"`
	// Of a retired KEK: the keys that still live under it, and what this process has moved away from it.
	Left   int `json:"left,omitempty" doc:"keys that have not moved away from a retired one yet"`
	Moved  int `json:"moved,omitempty" doc:"keys that moved away from it since the last start"`
	Failed int `json:"failed,omitempty" doc:"keys that do not move"`
}

// KEKStates returns all wrapping keys that ever were, the oldest first, with their places. It asks no token; it counts the keys under a retired
// KEK, which takes a millisecond for every thousand of them.
func (k *Keystore) KEKStates(ctx context.Context) ([]KEKState, error) {
	all, err := k.KEKs(ctx)
	if err != nil {
		return nil, err
	}
	moved := k.Progress()
	states := make([]KEKState, 0, len(all))
	for _, e := range all {
		s := KEKState{KEK: e, Limit: k.wraps.limit()}
		if s.Born, err = k.st.Counter(ctx, e.counter()); err != nil {
			return nil, fmt.Errorf("counting the keys under %s: %w", e.ID, err)
		}
		if e.Destroyed != nil {
			s.Born -= closed
		}
		if e.Retired != nil && e.Destroyed == nil {
			if s.Left, err = k.LivesUnder(ctx, e.ID); err != nil {
				return nil, err
			}
			s.Moved, s.Failed = moved[e.ID].Moved, moved[e.ID].Failed
		}
		states = append(states, s)
	}
	return states, nil
}

// Places is how many keys may still be born under the wrapping keys in use, over all tokens.
func (k *Keystore) Places(ctx context.Context) (uint64, error) {
	k.wraps.mu.Lock()
	defer k.wraps.mu.Unlock()
	if k.wraps.room == nil {
		if err := k.readRoom(ctx); err != nil {
			return 0, err
		}
	}
	var left uint64
	for _, e := range k.wraps.room {
		left += k.wraps.limit() - min(k.wraps.limit(), k.wraps.given[e.ID])
	}
	return left, nil
}
