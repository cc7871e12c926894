package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	"sealkeeper/keystore"
)

// openTokens opens every configured token. When some may be away, or latched, those are the further ones: they serve once they are there.
func openTokens(ctx context.Context, c *Config, someAway bool, log *slog.Logger) (members []keystore.Member, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeTokens(members))
			members = nil
		}
	}()
	set, err := hsm.Profiles(c.Profiles)
	if err != nil {
		return nil, err
	}
	chosen, err := c.profiles(ctx, set, log)
	if err != nil {
		return nil, err
	}
	for i, t := range c.tokens() {
		m, err := openToken(ctx, c, t, chosen[i], someAway && i > 0, log)
		if err != nil {
			return members, err
		}
		members = append(members, m)
	}
	return members, nil
}

func closeTokens(members []keystore.Member) error {
	var errs []error
	for _, m := range members {
		errs = append(errs, m.Token.Close())
	}
	return errors.Join(errs...)
}

// openToken opens one token, in this process or in a worker. One that may be away is asked who it is all the same.
func openToken(ctx context.Context, c *Config, t *TokenConfig, profile *firmware.Profile, mayBeAway bool, log *slog.Logger) (keystore.Member, error) {
	m := keystore.Member{Serial: t.Serial, Label: t.Label, Births: t.Births, Admit: c.admit}
	var err error
	m.Token, err = openIsolated(ctx, t, hsm.Config{Module: t.Module, Allowed: c.Modules, Profile: profile, Serial: t.Serial, Label: t.Label,
		PINFile: t.PINFile, LatchFile: t.LatchFile, MaxSessions: t.Sessions, MayBeAway: mayBeAway, Opened: c.Custody.opened(), Log: log})
	if err != nil {
		return m, fmt.Errorf("opening token: %w", err)
	}
	info, err := m.Token.Info(ctx)
	if err != nil && mayBeAway {
		log.WarnContext(ctx, "token is away at start", "serial", t.Serial, "error", err.Error())
		return m, nil
	}
	if err != nil {
		return m, errors.Join(fmt.Errorf("asking the token: %w", err), m.Token.Close())
	}
	m.Serial, m.Label = info.Serial, info.Label
	if err := c.admit(info); err != nil {
		return m, errors.Join(err, m.Token.Close())
	}
	return m, nil
}

// admit refuses what production mode does not work with.
func (c *Config) admit(info hsm.TokenInfo) error {
	switch {
	case c.Mode != "production":
	case info.Evidence == hsm.Simulated:
		return fmt.Errorf("token %q is a simulated one; production mode refuses it", info.Label)
	case info.Evidence == hsm.Guessed:
		return fmt.Errorf("firmware profile %q of token %q is a guess; production mode refuses it until sealctl token probe has measured the device",
			info.Profile, info.Label)
	}
	return nil
}

func openIsolated(ctx context.Context, c *TokenConfig, cfg hsm.Config) (keystore.Token, error) {
	if isolation(c.Isolation, cfg.Profile) == "worker" {
		tok, err := worker.Open(ctx, worker.Config{Config: cfg, Hang: c.HangAfter})
		if err != nil {
			return nil, err // never a nil *Token in an interface
		}
		return tok, nil
	}
	tok, err := hsm.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return tok, nil
}

// isolation is what the configuration says, or a worker for every module but the software tokens made for tests.
func isolation(configured string, p *firmware.Profile) string {
	switch {
	case configured != "":
		return configured
	case p.Evidence.Level == firmware.Simulated:
		return "in-process"
	}
	return "worker"
}

// exitLatched is the exit code after a refused PIN, for service managers: starting again is no use, and must not be tried in a loop
// (RestartPreventExitStatus=77 in systemd).
const exitLatched = 77

// exitCode tells a refused PIN from everything else.
func exitCode(err error) int {
	if errors.Is(err, hsm.ErrPINLatched) {
		return exitLatched
	}
	return 1
}

// workerCommand is what the daemon runs itself as, to hold a module.
func workerCommand() *cobra.Command {
	return &cobra.Command{Use: worker.Command, Hidden: true, Args: cobra.NoArgs, Run: func(*cobra.Command, []string) { os.Exit(worker.Main()) }}
}
