package keystore

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/hsm"
	"sealkeeper/keystore/audit"
)

// Abandon gives up a key whose releasing commit was refused: the decision is durable first, then the object goes, then the intent. A crash in
// between leaves the rest to the next start. store.ErrConflict when the intent became a key after all: then nothing is destroyed.
func (k *Keystore) Abandon(ctx context.Context, in Intent, actor audit.Actor) error {
	if err := k.markAbandoned(ctx, &in, true, actor); err != nil {
		return err
	}
	for _, h := range in.places(k.homes) {
		if h == nil {
			return fmt.Errorf("destroying key %s in a token that is not configured: %w", in.ID, ErrTokens)
		}
		if err := h.lose(ctx, in.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			return fmt.Errorf("destroying key %s: %w", in.ID, err)
		}
	}
	return k.clearIntent(ctx, in)
}
