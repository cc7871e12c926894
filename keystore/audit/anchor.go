package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNoAnchor says that nothing was ever anchored here.
var ErrNoAnchor = errors.New("there is no anchor")

// Anchor keeps the latest signed checkpoint outside the store, so that a store put back to an earlier state contradicts it.
type Anchor interface {
	// Load returns what Save was given last, or ErrNoAnchor.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces it and returns when that is durable.
	Save(ctx context.Context, checkpoint []byte) error
}

// FileAnchor keeps the checkpoint in a file, which must not lie on the store's own backup path: restored together, the two agree.
type FileAnchor struct{ Path string }

// Load reads the file.
func (a FileAnchor) Load(context.Context) ([]byte, error) {
	b, err := os.ReadFile(a.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", a.Path, ErrNoAnchor)
	}
	if err != nil {
		return nil, fmt.Errorf("reading anchor: %w", err)
	}
	return b, nil
}

// Save writes a new file, syncs it, puts it in the old one's place and syncs the directory.
func (a FileAnchor) Save(_ context.Context, checkpoint []byte) error {
	dir := filepath.Dir(a.Path)
	tmp, err := os.CreateTemp(dir, ".anchor-*")
	if err != nil {
		return fmt.Errorf("writing anchor: %w", err)
	}
	_, err = tmp.Write(checkpoint)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), a.Path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("writing anchor: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing anchor: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing anchor: %w", err)
	}
	return nil
}

// DataObjects is a token as an anchor needs it: small public data objects by label.
type DataObjects interface {
	SetData(ctx context.Context, label string, value []byte) error
	Data(ctx context.Context, label string) ([]byte, error)
}

// TokenAnchor keeps the checkpoint in a data object of the token. Flash memory wears: with a USB key set Config.AnchorEvery.
type TokenAnchor struct {
	Token DataObjects
	Label string
	// Missing is the error by which Token.Data says that the object was never set.
	Missing error
}

// Load reads the data object.
func (a TokenAnchor) Load(ctx context.Context) ([]byte, error) {
	b, err := a.Token.Data(ctx, a.Label)
	if a.Missing != nil && errors.Is(err, a.Missing) {
		return nil, fmt.Errorf("data object %q: %w", a.Label, ErrNoAnchor)
	}
	if err != nil {
		return nil, fmt.Errorf("reading anchor from token: %w", err)
	}
	return b, nil
}

// Save replaces the data object.
func (a TokenAnchor) Save(ctx context.Context, checkpoint []byte) error {
	if err := a.Token.SetData(ctx, a.Label, checkpoint); err != nil {
		return fmt.Errorf("writing anchor to token: %w", err)
	}
	return nil
}
