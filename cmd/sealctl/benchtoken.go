package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// tokenFlags choose the token: from the daemon's configuration, or flag by flag, which wins.
type tokenFlags struct {
	config string
	tokenSection
}

// tokenSection is the part of the daemon's configuration that names the token. The rest of the file is the daemon's own business.
type tokenSection struct {
	Module    string `yaml:"module"`
	Profile   string `yaml:"profile"`
	Label     string `yaml:"label"`
	Serial    string `yaml:"serial"`
	PINFile   string `yaml:"pin_file"`
	LatchFile string `yaml:"latch_file"`
	Sessions  int    `yaml:"sessions"`
}

func (t *tokenFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.config, "config", "", "seald.yaml: the daemon's configuration, whose token is measured")
	f.StringVar(&t.Module, "module", "", "PKCS#11 library")
	f.StringVar(&t.Profile, "profile", "", "firmware profile")
	f.StringVar(&t.Label, "label", "", "label of the token")
	f.StringVar(&t.Serial, "serial", "", "serial number of the token")
	f.StringVar(&t.PINFile, "pin-file", "", "file with the user PIN, mode 0400")
	f.StringVar(&t.LatchFile, "latch-file", "", "where a wrong PIN is remembered (default: as the daemon's, or beside the PIN file)")
	f.IntVar(&t.Sessions, "sessions", 0, "sessions of the pool (default: as the daemon's)")
	cmd.MarkFlagsOneRequired("config", "module")
}

// resolve fills what no flag named from the configuration, whose relative paths are relative to its directory.
func (t *tokenFlags) resolve() (tokenSection, error) {
	s := t.tokenSection
	if t.config != "" {
		var c struct {
			Store struct {
				Path string `yaml:"path"`
			} `yaml:"store"`
			Token tokenSection `yaml:"token"`
		}
		b, err := os.ReadFile(t.config)
		if err != nil {
			return s, fmt.Errorf("reading the daemon's configuration: %w", err)
		}
		if err := yaml.Unmarshal(b, &c); err != nil {
			return s, fmt.Errorf("reading %s: %s", t.config, yaml.FormatError(err, false, true))
		}
		at := func(p string) string {
			if p == "" || filepath.IsAbs(p) {
				return p
			}
			return filepath.Join(filepath.Dir(t.config), p)
		}
		if c.Token.LatchFile == "" { // the daemon's default
			c.Token.LatchFile = filepath.Join(filepath.Dir(c.Store.Path), "pin-latch.json")
		}
		s = tokenSection{first(s.Module, at(c.Token.Module)), first(s.Profile, c.Token.Profile), first(s.Label, c.Token.Label), first(s.Serial, c.Token.Serial),
			first(s.PINFile, at(c.Token.PINFile)), first(s.LatchFile, at(c.Token.LatchFile)), max(s.Sessions, c.Token.Sessions)}
	}
	s.LatchFile = first(s.LatchFile, filepath.Join(filepath.Dir(s.PINFile), "pin-latch.json"))
	return s, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ceiling signs with throw-away keys: no seal's key signs anything that the appliance did not build (law 11).
type ceiling struct {
	token    *hsm.Module
	keys     map[hsm.Algorithm]hsm.ObjectID
	sessions int // of the pool
}

// benched are the mechanisms whose ceilings are of interest; what token or profile do not offer is left out.
var benched = []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048}

func (t *tokenFlags) open(ctx context.Context) (*ceiling, error) {
	s, err := t.resolve()
	if err != nil {
		return nil, err
	}
	set, err := firmware.Embedded()
	if err != nil {
		return nil, err
	}
	profile, err := set.Profile(s.Profile)
	if err != nil {
		return nil, fmt.Errorf("choosing the firmware profile: %w", err)
	}
	tok, err := hsm.Open(ctx, hsm.Config{Module: s.Module, Profile: profile, Serial: s.Serial, Label: s.Label, PINFile: s.PINFile, LatchFile: s.LatchFile,
		MaxSessions: s.Sessions, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("opening the token: %w", err)
	}
	c := &ceiling{token: tok, keys: map[hsm.Algorithm]hsm.ObjectID{}}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// prepare makes the throw-away keys.
func (c *ceiling) prepare(ctx context.Context) error {
	info, err := c.token.Info(ctx)
	if err != nil {
		return fmt.Errorf("asking the token: %w", err)
	}
	c.sessions = max(info.Sessions, 1)
	for _, m := range benched {
		var id hsm.ObjectID
		rand.Read(id[:])
		_, err := c.token.Generate(ctx, hsm.GenerateRequest{ID: id, Label: "bench-" + hex.EncodeToString(id[:4]), Algorithm: m})
		if errors.Is(err, hsm.ErrUnsupported) {
			continue
		} else if err != nil {
			return fmt.Errorf("making a throw-away key: %w", err)
		}
		c.keys[m] = id
	}
	return nil
}

// mechanisms are those the token has, in a fixed order.
func (c *ceiling) mechanisms() (all []hsm.Algorithm) {
	for _, m := range benched {
		if _, ok := c.keys[m]; ok {
			all = append(all, m)
		}
	}
	return all
}

// signer signs one random digest (SM2: e) with the throw-away key of a mechanism.
func (c *ceiling) signer(m hsm.Algorithm) func(ctx context.Context) (int, error) {
	key := c.keys[m]
	return func(ctx context.Context) (int, error) {
		r := hsm.SignRequest{Key: key, Algorithm: m}
		rand.Read(r.Digest[:])
		if _, err := c.token.Sign(ctx, r); err != nil {
			return 0, fmt.Errorf("measuring the token: %w", err)
		}
		return 1, nil
	}
}

// close destroys the throw-away keys and lets the token go.
func (c *ceiling) close(ctx context.Context) (err error) {
	for _, id := range c.keys {
		if e := c.token.Destroy(ctx, id); e != nil {
			err = errors.Join(err, fmt.Errorf("destroying the throw-away key %s: %w", id, e))
		}
	}
	return errors.Join(err, c.token.Close())
}
