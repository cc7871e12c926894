package hsm

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Latch is what is remembered of a refused PIN (law 7). The file exists: nothing logs in, in this process or the next. A short PIN
// can be guessed from its digest, so the file is as private as the PIN's own (0600).
type Latch struct {
	Serial string    `json:"serial"`
	PIN    string    `json:"pin"` // HMAC-SHA-256 of the PIN under Key, hexadecimal; lets an operator see whether it was changed since
	Key    string    `json:"key"` // random, of this latch alone
	Code   string    `json:"code"`
	Time   time.Time `json:"time"`
}

// ReadLatch returns the latch, or nil when there is none. A file that cannot be read or understood is a latch with nothing known.
func ReadLatch(file string) (*Latch, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	l := new(Latch)
	if err != nil {
		return l, fmt.Errorf("reading PIN latch: %w", err)
	}
	if err := json.Unmarshal(b, l); err != nil {
		return l, fmt.Errorf("reading PIN latch %s: %w", file, err)
	}
	return l, nil
}

// ClearLatch is the operator's decision to let the PIN be tried again. It is durable when it returns; no latch is no error.
func ClearLatch(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clearing PIN latch: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// Latched returns ErrPINLatched, with when and why, while the latch exists.
func Latched(file string) error {
	l, err := ReadLatch(file)
	if l == nil {
		return err
	}
	return l.refusal("", err)
}

func (l *Latch) refusal(note string, err error) error {
	return errors.Join(fmt.Errorf("token %q since %s (%s)%s: %w", l.Serial, l.Time.Format(time.RFC3339), l.Code, note, ErrPINLatched), err)
}

// samePIN reports whether pin is the one that was refused.
func (l *Latch) samePIN(pin secret) bool {
	key, err := hex.DecodeString(l.Key)
	if err != nil || len(key) == 0 {
		return false
	}
	p := pin.proof(key)
	return hex.EncodeToString(p[:]) == l.PIN
}

// setLatch writes the latch and returns when it is on the disk.
func setLatch(file, serial string, pin secret, code error) error {
	key := make([]byte, 32)
	rand.Read(key) // never returns an error
	p := pin.proof(key)
	b, err := json.MarshalIndent(Latch{Serial: serial, PIN: hex.EncodeToString(p[:]), Key: hex.EncodeToString(key),
		Code: code.Error(), Time: time.Now().UTC().Truncate(time.Second)}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding PIN latch: %w", err)
	}
	if err := writeDurably(file, append(b, '\n')); err != nil {
		return fmt.Errorf("writing PIN latch: %w", err)
	}
	return nil
}

// writeDurably writes beside the file, syncs, renames, and syncs the folder that holds the name.
func writeDurably(file string, b []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
