package hsm

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"unsafe"
)

// ErrPINFile: the PIN's file is missing, readable by others, empty or too long. No login was tried.
var ErrPINFile = errors.New("PIN file is not usable")

// secret is a PIN in memory. Every way of printing it gives [secret].
type secret struct{ b []byte }

const hidden = "[secret]"

func (secret) String() string               { return hidden }
func (secret) GoString() string             { return hidden }
func (secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (s secret) clear()                     { clear(s.b) }
func (s secret) proof(key []byte) (p [32]byte) { // keyed digest, to compare PINs without keeping one
	h := hmac.New(sha256.New, key)
	h.Write(s.b)
	h.Sum(p[:0])
	return p
}

// lend passes the PIN as a string that shares its bytes, since a copy could never be cleared. f must not keep it. (The binding makes
// a C copy of its own and frees it uncleared; a worker process is the cure for that.)
func (s secret) lend(f func(pin string) error) error {
	return f(unsafe.String(unsafe.SliceData(s.b), len(s.b)))
}

const maxPIN = 255

// fetchPIN asks the configured source. The caller clears the result.
func (c Config) fetchPIN() (secret, error) {
	if c.Keypad {
		return secret{}, nil // an empty PIN reaches C_Login as NULL, which asks for one at the device
	}
	if c.PIN != nil {
		b, err := c.PIN()
		if err != nil {
			return secret{}, fmt.Errorf("asking for the PIN: %w", err)
		}
		return checkPIN(b)
	}
	f, err := os.Open(c.PINFile)
	if err != nil {
		return secret{}, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	defer f.Close()
	// The open file is judged, not the name, which could be exchanged in between.
	info, err := f.Stat()
	if err != nil {
		return secret{}, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return secret{}, fmt.Errorf("%s has mode %v, want a plain file of mode 0400: %w", c.PINFile, info.Mode(), ErrPINFile)
	}
	b := make([]byte, maxPIN+3)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(b)
		return secret{}, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	return checkPIN(bytes.TrimSuffix(bytes.TrimSuffix(b[:n], []byte("\n")), []byte("\r")))
}

// ReadPIN asks the configured source for the PIN once, to hand it to the process that logs in. The caller clears the result.
func (c Config) ReadPIN() ([]byte, error) {
	pin, err := c.fetchPIN()
	return pin.b, err
}

// checkPIN refuses what must never reach a token: an empty PIN would count as a try, or ask for one at a keypad.
func checkPIN(b []byte) (secret, error) {
	if len(b) == 0 || len(b) > maxPIN {
		clear(b)
		return secret{}, fmt.Errorf("PIN is empty or longer than %d bytes: %w", maxPIN, ErrPINFile)
	}
	return secret{b}, nil
}
