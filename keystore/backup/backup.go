// Package backup writes and opens encrypted copies of the store.
//
//	store ─► consistent copy ─► its log rebuilt and compared with the newest checkpoint ─► head, file, digest ─► encrypted to offline recipients
//
// Its one promise is that a copy which Write finished held a log that verifies, and that Open returns exactly that file or an error. The copy is
// encrypted (age, X25519 and ChaCha20-Poly1305 in 64 KiB chunks) to recipients whose private keys are not on this machine, so it cannot be read back here.
//
// Limits: whole copies, no increments; one file; it decides nothing about when and where.
package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

var (
	// ErrForm: the file is not a backup, or of another format.
	ErrForm = errors.New("not a backup of this format")
	// ErrDamaged: a part of the backup is missing or altered.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrIdentity: no identity given opens the backup.
	ErrIdentity = errors.New("no identity opens the backup")
	// ErrRecipients: nobody, or something else than an age recipient, was named.
	ErrRecipients = errors.New("not recipients of a backup")
	// ErrLog: the copy's own log does not verify; nothing was written.
	ErrLog = errors.New("the log of the copy does not verify")
)

const format = "sealkeeper-backup/1"

// Head is what a backup says of itself, in front of the file.
type Head struct {
	Format     string    `json:"format"`
	Log        string    `json:"log"`
	Records    uint64    `json:"records"` // in the copy
	Covered    uint64    `json:"covered"` // of these, under the newest checkpoint
	Root       string    `json:"root"`    // hexadecimal, of Records
	Checkpoint []byte    `json:"checkpoint"`
	Taken      time.Time `json:"taken"`
	Size       int64     `json:"size"` // of the file behind the head
}

// Source is the store to copy and the key of its log.
type Source struct {
	Store      store.Store
	Key        *gm.PublicKey
	Former     []*gm.PublicKey // signed older checkpoints
	Checkpoint func() []byte   // the newest, which the copy must contain
	Dir        string          // for the copy while it is looked at; it is not encrypted yet, so it lies beside the store
}

// Recipients reads age recipients (age1…).
func Recipients(texts []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, t := range texts {
		r, err := age.ParseX25519Recipient(t)
		if err != nil {
			return nil, fmt.Errorf("%.80q: %w: %w", t, ErrRecipients, err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("none is named: %w", ErrRecipients)
	}
	return all, nil
}

// Write makes a copy while the store is in use, verifies it and writes it encrypted. Signing goes on meanwhile.
func Write(ctx context.Context, w io.Writer, from Source, to []age.Recipient) (Head, error) {
	if len(to) == 0 {
		return Head{}, fmt.Errorf("backing up: %w", ErrRecipients)
	}
	note := from.Checkpoint() // before the copy, which therefore holds all that it covers
	plain, err := from.copy(ctx)
	if err != nil {
		return Head{}, fmt.Errorf("backing up: %w", err)
	}
	defer os.Remove(plain)
	h, err := from.look(ctx, plain, note)
	if err != nil {
		return Head{}, fmt.Errorf("backing up: %w", err)
	}
	return h, encrypt(ctx, w, h, plain, to)
}

func (s Source) copy(ctx context.Context) (path string, err error) {
	f, err := os.CreateTemp(s.Dir, ".backup-*")
	if err != nil {
		return "", err
	}
	err = errors.Join(s.Store.Backup(ctx, f), f.Close())
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

// look rebuilds the copy's log.
func (s Source) look(ctx context.Context, path string, note []byte) (Head, error) {
	r, err := audit.VerifyFile(ctx, path, s.Key, audit.Options{FormerKeys: s.Former, Checkpoints: [][]byte{note}})
	if err != nil {
		return Head{}, err
	}
	if r.Bad != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrLog, r.Bad)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Head{}, err
	}
	return Head{Format: format, Log: r.Log, Records: r.Records, Covered: r.Covered, Root: hex.EncodeToString(r.Root[:]), Checkpoint: note, Taken: time.Now().UTC().Truncate(time.Second),
		Size: info.Size()}, nil
}

// encrypt writes head, file and the SHA-256 of both: what is cut at a chunk's edge shows too.
func encrypt(ctx context.Context, w io.Writer, h Head, path string, to []age.Recipient) error {
	out, err := age.Encrypt(w, to...)
	if err != nil {
		return fmt.Errorf("encrypting the backup: %w", err)
	}
	sum := sha256.New()
	both := io.MultiWriter(out, sum)
	if err := json.NewEncoder(both).Encode(h); err != nil {
		return fmt.Errorf("writing the backup's head: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the copy: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(both, reader{ctx, f}); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return out.Close()
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// maxHead bounds the first line.
const maxHead = 64 << 10

// Open decrypts a backup and writes the store file, which must not exist, with mode 0600. It appears under its name only when it is whole; after an
// error nothing is there. ErrForm, ErrDamaged, ErrIdentity, fs.ErrExist.
func Open(ctx context.Context, r io.Reader, path string, identities ...age.Identity) (Head, error) {
	plain, err := age.Decrypt(r, identities...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return Head{}, fmt.Errorf("opening the backup: %w", ErrIdentity)
	case err != nil:
		return Head{}, fmt.Errorf("opening the backup: %w: %w", ErrForm, err)
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(plain, maxHead)
	h, err := readHead(in, sum)
	if err != nil {
		return Head{}, fmt.Errorf("opening the backup: %w", err)
	}
	if err := place(ctx, path, func(f io.Writer) error { return readFile(ctx, f, in, sum, h.Size) }); err != nil {
		return Head{}, fmt.Errorf("opening the backup: %w", err)
	}
	return h, nil
}

func readHead(in *bufio.Reader, sum hash.Hash) (h Head, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, fmt.Errorf("reading its head: %w: %w", ErrDamaged, err)
	}
	sum.Write(line)
	if err := json.Unmarshal(line, &h); err != nil || h.Format != format || h.Size < 0 {
		return h, fmt.Errorf("format %.40q: %w", h.Format, ErrForm)
	}
	return h, nil
}

func readFile(ctx context.Context, f io.Writer, in io.Reader, sum hash.Hash, size int64) error {
	if n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(reader{ctx, in}, size)); err != nil || n != size {
		return errors.Join(fmt.Errorf("%d of %d bytes: %w", n, size, ErrDamaged), err)
	}
	rest, err := io.ReadAll(io.LimitReader(in, sha256.Size+1)) // the end authenticates the last chunk
	if err != nil || string(rest) != string(sum.Sum(nil)) {
		return errors.Join(fmt.Errorf("its digest differs: %w", ErrDamaged), err)
	}
	return nil
}

// place writes a new file through a temporary one, durably.
func place(_ context.Context, path string, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".restore-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path) // never over another file
}
