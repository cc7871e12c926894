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
	if err := k.homes.of(in.Token).lose(ctx, in.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		return fmt.Errorf("destroying key %s: %w", in.ID, err)
	}
	return k.clearIntent(ctx, in)
}
