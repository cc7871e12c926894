package store

import (
	"fmt"
	"path/filepath"
	"syscall"
)

// room refuses a commit while less than Config.Reserve is free where the store lies. A write that the disk cuts short cannot be taken back in this
// process (see writeGroup); one that is not begun can be tried again at any time, so this comes before the disk is full. It is asked once per group
// and costs a microsecond.
func (b *Bolt) room() error {
	if b.cfg.Reserve <= 0 {
		return nil
	}
	free, err := b.cfg.Free(filepath.Dir(b.cfg.Path))
	switch {
	case err != nil:
		err = fmt.Errorf("looking for free space: %w: %w", ErrUnavailable, err)
	case free < b.cfg.Reserve:
		err = fmt.Errorf("%w: %d MB are free beside the store, %d MB must stay free", ErrFull, free>>20, b.cfg.Reserve>>20)
	}
	if full := err != nil; b.full.Swap(full) != full {
		if full {
			b.log.Error("commits stop until there is space on the disk", "error", err)
		} else {
			b.log.Info("commits go on: there is space on the disk again")
		}
	}
	return err
}

// Full returns nil unless the last commit found no room and there is none still. It costs nothing while there is room.
func (b *Bolt) Full() error {
	if !b.full.Load() {
		return nil
	}
	return b.room()
}

// free is the space that an ordinary user may still fill, in bytes.
func free(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("asking for free space in %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}
