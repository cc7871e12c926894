package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
)

const suffix = ".sealkeeper-backup"

// Written is a backup in a folder.
type Written struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the encrypted file
	Head
}

// WriteTo makes a backup in a folder under a name of its time and size, reads it back to compare, and then removes the oldest of this log beyond
// keep (0 keeps all). What cannot be finished leaves nothing.
func WriteTo(ctx context.Context, dir string, keep int, from Source, to []age.Recipient) (Written, error) {
	tmp, err := os.CreateTemp(dir, ".writing-*")
	if err != nil {
		return Written{}, fmt.Errorf("backing up: %w", err)
	}
	defer os.Remove(tmp.Name())
	sum := sha256.New()
	h, err := Write(ctx, io.MultiWriter(tmp, sum), from, to)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return Written{}, err
	}
	w := Written{SHA256: hex.EncodeToString(sum.Sum(nil)), Head: h}
	if w.Bytes, err = same(tmp.Name(), w.SHA256); err != nil {
		return Written{}, err
	}
	prefix := "sealkeeper-" + h.Log[:min(16, len(h.Log))] + "-"
	w.File = filepath.Join(dir, fmt.Sprintf("%s%s-%012d%s", prefix, h.Taken.Format("20060102T150405Z"), h.Records, suffix))
	if err := os.Link(tmp.Name(), w.File); err != nil {
		return Written{}, fmt.Errorf("backing up: %w", err)
	}
	return w, prune(dir, prefix, keep)
}

// same reads the file back from the disk.
func same(path, want string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("reading the backup back: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil || hex.EncodeToString(sum.Sum(nil)) != want {
		return n, errors.Join(fmt.Errorf("reading the backup back: %w", ErrDamaged), err)
	}
	return n, nil
}

func prune(dir, prefix string, keep int) error {
	all, err := names(dir, prefix)
	if err != nil || keep <= 0 || len(all) <= keep {
		return err
	}
	var errs []error
	for _, name := range all[:len(all)-keep] {
		errs = append(errs, os.Remove(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// names lists the backups of a log, the oldest first.
func names(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	var all []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) && e.Type().IsRegular() {
			all = append(all, e.Name())
		}
	}
	slices.Sort(all) // the time comes first in the name
	return all, nil
}

// Newest is when the newest backup of a log in a folder was taken, by its name; zero when there is none.
func Newest(dir, log string) (time.Time, error) {
	prefix := "sealkeeper-" + log[:min(16, len(log))] + "-"
	all, err := names(dir, prefix)
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(all[len(all)-1], prefix), "-")
	return time.Parse("20060102T150405Z", at)
}
