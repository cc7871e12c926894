package audit

import (
	"bytes"
	"context"
	"fmt"

	"sealkeeper/keystore/store"
)

// Rotate lets another key sign from now on. The record that names the key is in the log already: the old key signs for it first, in a checkpoint that is
// kept for good, and so vouches for the new one; then the new one signs and is anchored. Repeated with the same key it only signs.
func (l *Log) Rotate(ctx context.Context, key Key) error {
	l.mu.Lock()
	same := bytes.Equal(l.cfg.Key.Public().Point(), key.Public().Point())
	l.mu.Unlock()
	if !same {
		if _, err := l.sign(ctx, true); err != nil {
			return fmt.Errorf("signing with the audit key that goes: %w", err)
		}
		l.mu.Lock()
		l.cfg.Former = append(l.cfg.Former, l.cfg.Key.Public())
		l.cfg.Key, l.rotated = key, true
		l.mu.Unlock()
	}
	if _, err := l.sign(ctx, true); err != nil {
		return fmt.Errorf("signing with the new audit key: %w", err)
	}
	return nil
}

// Present has a key sign a checkpoint of the log as it is, which nobody keeps: whoever can is in the token.
func Present(ctx context.Context, st store.Store, key Key) error {
	state := st.State()
	b, err := Checkpoint{Origin: Origin(state), Size: state.Size, Root: state.Root}.sign(ctx, key)
	if err != nil {
		return err
	}
	_, err = OpenCheckpoint(b, key.Public())
	return err
}
