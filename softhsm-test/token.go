package softhsmtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Errors of InitToken that a caller may branch on. Neither changes anything.
var (
	// ErrLabel: a label has 1 to 32 of the characters A-Z a-z 0-9 . _ and -.
	ErrLabel = errors.New("token label is not 1 to 32 letters, digits, dots, dashes or underscores")
	// ErrExists: the directory already holds a token of that label.
	ErrExists = errors.New("a token of that label exists already")
)

var labelPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// Token is one initialised token of SoftHSM2 and the files that go with it.
type Token struct {
	Module    string // path of the PKCS#11 module to load
	Label     string // CKA label of the token
	Serial    string // 16 hexadecimal digits
	PINFile   string // mode 0400, holds the user PIN and nothing else
	SOPINFile string // mode 0400, holds the security officer's PIN
	Conf      string // softhsm2.conf; SOFTHSM2_CONF must name it before the module is initialised
	Dir       string // holds Conf, the PIN files and the token directory

	pin func() string // a function, because fmt prints any other field
}

// PIN gives the user PIN. It is for tests alone: programs read PINFile.
func (k *Token) PIN() string { return k.pin() }

// String names the token without its PIN.
func (k *Token) String() string { return fmt.Sprintf("token %q serial %s", k.Label, k.Serial) }

// InitToken initialises a token of the given label for the SM2 module, in dir
// (made with mode 0700): softhsm2.conf, the folder tokens, LABEL.pin and
// LABEL.so-pin with fresh random PINs. Called again with another label it adds a
// token beside the first. The environment of the process is left alone: whoever
// loads the module sets SOFTHSM2_CONF to Conf.
//
// Errors: ErrLabel, ErrExists, ErrUnavailable, or what the file system or
// SoftHSM2 says.
func InitToken(ctx context.Context, dir, label string) (*Token, error) {
	if !labelPattern.MatchString(label) {
		return nil, fmt.Errorf("initialising token %q: %w", label, ErrLabel)
	}
	module, err := Module(ctx)
	if err != nil {
		return nil, err
	}
	k, err := layOut(dir, label)
	if err != nil {
		return nil, fmt.Errorf("initialising token %q: %w", label, err)
	}
	k.Module = module
	if k.Serial, err = runTokenInit(ctx, k); err != nil {
		os.Remove(k.PINFile)
		os.Remove(k.SOPINFile)
		return nil, fmt.Errorf("initialising token %q: %w", label, err)
	}
	return k, nil
}

// layOut makes the directory, the configuration and the PIN files.
func layOut(dir, label string) (*Token, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(dir, "#\n") {
		return nil, fmt.Errorf("SoftHSM2's configuration cannot hold the path %q", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return nil, err
	}
	k := &Token{
		Label:     label,
		Dir:       dir,
		Conf:      filepath.Join(dir, "softhsm2.conf"),
		PINFile:   filepath.Join(dir, label+".pin"),
		SOPINFile: filepath.Join(dir, label+".so-pin"),
	}
	if err := writeConf(k.Conf, filepath.Join(dir, "tokens")); err != nil {
		return nil, err
	}
	pin, err := newPIN()
	if err != nil {
		return nil, err
	}
	soPIN, err := newPIN()
	if err != nil {
		return nil, err
	}
	k.pin = func() string { return pin }
	if err := writePIN(k.PINFile, pin); err != nil {
		return nil, err
	}
	if err := writePIN(k.SOPINFile, soPIN); err != nil {
		os.Remove(k.PINFile)
		return nil, err
	}
	return k, nil
}

func writeConf(path, tokens string) error {
	text := "directories.tokendir = " + tokens + "\n" +
		"objectstore.backend = file\n" +
		"log.level = ERROR\n" +
		"slots.removable = false\n"
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// writePIN creates the file; an existing one means an existing token.
func writePIN(path, pin string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(pin + "\n")
	return errors.Join(err, f.Close())
}

// newPIN draws 12 decimal digits.
func newPIN() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000_000))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%012d", n), nil
}

// runTokenInit initialises the token in a process of its own, because this one
// may have the library open under another configuration. PINs go by file name.
func runTokenInit(ctx context.Context, k *Token) (serial string, err error) {
	dir, err := buildDir(ctx)
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(dir, tokenInitName), k.Label, k.SOPINFile, k.PINFile)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+k.Conf)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

// remove deletes the token's objects and PIN files; its neighbours stay.
func (k *Token) remove() error {
	entries, err := os.ReadDir(filepath.Join(k.Dir, "tokens"))
	errs := []error{err, os.Remove(k.PINFile), os.Remove(k.SOPINFile)}
	for _, e := range entries {
		// The folder is named by a UUID whose last 16 digits are the serial.
		if strings.HasSuffix(strings.ReplaceAll(e.Name(), "-", ""), k.Serial) {
			errs = append(errs, os.RemoveAll(filepath.Join(k.Dir, "tokens", e.Name())))
		}
	}
	return errors.Join(errs...)
}
