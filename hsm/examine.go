package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/internal/bare"
)

// Examine opens the token bare, logs in as Open does (under the latch, never against the token's PIN flags, once) and lends it to f. It needs no
// profile, since finding one out is what it is for. Only packages below hsm can call it. ErrConfig when the module is open in this process.
func Examine(ctx context.Context, cfg Config, f func(bare.Token) error) error {
	cfg, err := cfg.examined()
	if err != nil {
		return err
	}
	switch {
	case cfg.Serial == "" && cfg.Label == "":
		return fmt.Errorf("%w: neither serial nor label of the token", ErrConfig)
	case cfg.LatchFile == "":
		return fmt.Errorf("%w: no latch file", ErrConfig)
	}
	return bareModule(cfg, func(raw *pkcs11.Ctx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, e := &Module{cfg: cfg}, &epoch{raw: raw}
		if err := m.checkLatch(); err != nil {
			return err
		}
		if _, err := m.findSlot(e); err != nil {
			return err
		}
		if err := m.logIn(e); err != nil {
			return err
		}
		defer m.unclaim()
		return f(bare.Token{Ctx: raw, Slot: e.slot, Login: e.login, Private: bareFlags(privateFlags), Public: bareFlags(publicFlags), Secret: bareFlags(secretFlags)})
	})
}

// bareModule loads the library, initialises it, and finalises it again: nobody else in this process may have it open.
func bareModule(cfg Config, f func(raw *pkcs11.Ctx) error) (err error) {
	raw, err := attach(cfg.Module)
	if err != nil {
		return err
	}
	err = raw.Initialize()
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("%w: %s is already open in this process", ErrConfig, cfg.Module)
	}
	if err != nil {
		return fmt.Errorf("opening module: %w", notOpened(err))
	}
	defer func() {
		if end := raw.Finalize(); end != nil {
			err = errors.Join(err, fmt.Errorf("finalising module: %w", end))
		}
	}()
	return f(raw)
}

// Check judges the module's file as opening it would, and loads nothing. The path is the resolved one; the digest is "" when the file cannot be read.
func (c Config) Check() (path, sha256 string, err error) {
	c, err = c.examined()
	if errors.Is(err, ErrModule) || err == nil {
		var unreadable error
		sha256, unreadable = fileSHA256(c.Module)
		err = errors.Join(err, unreadable)
	}
	return c.Module, sha256, err
}

// examined is checked without what only a service needs.
func (c Config) examined() (Config, error) {
	if c.Profile == nil {
		c.Profile = &firmware.Profile{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(c.Module)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if c.Module == "" || err != nil {
		return c, fmt.Errorf("%w: module %q: %w", ErrConfig, c.Module, err)
	}
	c.Module = path
	return c, c.checkModule()
}

func bareFlags(flags []flag) []bare.Flag {
	out := make([]bare.Flag, len(flags))
	for i, f := range flags {
		out[i] = bare.Flag{Name: f.name, Kind: f.kind, Value: f.value, Asked: f.report != readOut, Must: f.report == must || f.report == readOut}
	}
	return out
}
