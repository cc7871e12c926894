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

// openToken opens the configured token, in this process or in a worker.
func openToken(ctx context.Context, c *Config, log *slog.Logger) (keystore.Token, error) {
	set, err := firmware.Embedded()
	if err != nil {
		return nil, err
	}
	profile, err := set.Profile(c.Token.Profile)
	if err != nil {
		return nil, err
	}
	tok, err := openIsolated(ctx, c.Token, hsm.Config{Module: c.Token.Module, Allowed: c.Modules, Profile: profile, Serial: c.Token.Serial, Label: c.Token.Label,
		PINFile: c.Token.PINFile, LatchFile: c.Token.LatchFile, MaxSessions: c.Token.Sessions, Log: log})
	if err != nil {
		return nil, fmt.Errorf("opening token: %w", err)
	}
	info, err := tok.Info(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking the token: %w", err), tok.Close())
	}
	if c.Mode == "production" && info.Evidence == hsm.Simulated {
		return nil, errors.Join(fmt.Errorf("token %q is a simulated one; production mode refuses it", info.Label), tok.Close())
	}
	return tok, nil
}

func openIsolated(ctx context.Context, c TokenConfig, cfg hsm.Config) (keystore.Token, error) {
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
