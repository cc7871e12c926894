package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

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

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ceiling signs with throw-away keys: no seal's key signs anything that the appliance did not build (law 11).
type ceiling struct {
	token    *hsm.Module
	keys     map[hsm.Algorithm]hsm.SignRequest // what each key signs over and over
	sessions int                               // of the pool
}

// benched are the mechanisms whose ceilings are of interest; what token or profile do not offer is left out.
var benched = []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048}

func (t *tokenFlags) open(ctx context.Context) (*ceiling, error) {
	at, err := t.place()
	if err != nil {
		return nil, err
	}
	set, err := hsm.Profiles(at.profiles)
	if err != nil {
		return nil, err
	}
	cfg := at.Config
	if cfg.Profile, err = hsm.Choose(set, at.profile, cfg); err != nil {
		return nil, fmt.Errorf("choosing the firmware profile: %w", err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	tok, err := hsm.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the token: %w", err)
	}
	c := &ceiling{token: tok, keys: map[hsm.Algorithm]hsm.SignRequest{}}
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
		born, err := c.token.Generate(ctx, hsm.GenerateRequest{ID: id, Label: "bench-" + hex.EncodeToString(id[:4]), Algorithm: m})
		if errors.Is(err, hsm.ErrUnsupported) {
			continue
		} else if err != nil {
			return fmt.Errorf("making a throw-away key: %w", err)
		}
		if c.keys[m], err = hsm.Trial(id, m, born.Public); err != nil {
			return fmt.Errorf("measuring the token: %w", err)
		}
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

// signer signs something random with the throw-away key of a mechanism.
func (c *ceiling) signer(m hsm.Algorithm) func(ctx context.Context) (int, error) {
	r := c.keys[m]
	return func(ctx context.Context) (int, error) {
		if _, err := c.token.Sign(ctx, r); err != nil {
			return 0, fmt.Errorf("measuring the token: %w", err)
		}
		return 1, nil
	}
}

// close destroys the throw-away keys and lets the token go.
func (c *ceiling) close(ctx context.Context) (err error) {
	for _, r := range c.keys {
		if e := c.token.Destroy(ctx, r.Key); e != nil {
			err = errors.Join(err, fmt.Errorf("destroying the throw-away key %s: %w", r.Key, e))
		}
	}
	return errors.Join(err, c.token.Close())
}
