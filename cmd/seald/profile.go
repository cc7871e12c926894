package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
)

// profiles are those of the configured tokens, in their order, chosen before any of them is opened.
func (c *Config) profiles(ctx context.Context, set *firmware.Set, log *slog.Logger) ([]*firmware.Profile, error) {
	var all []*firmware.Profile
	for _, t := range c.tokens() {
		p, err := c.profile(ctx, t, set, log)
		if err != nil {
			return nil, fmt.Errorf("choosing the firmware profile of token serial %q label %q: %w", t.Serial, t.Label, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// profile is the named one, or the one that fits the library, the token and its mechanism list. These are asked in a child process of their own, which
// gets no PIN. Two that fit, or none, are refused: nothing is guessed about a device that keeps seal keys.
func (c *Config) profile(ctx context.Context, t *TokenConfig, set *firmware.Set, log *slog.Logger) (*firmware.Profile, error) {
	if t.Profile != hsm.Auto {
		return set.Profile(t.Profile)
	}
	facts, err := worker.Identify(ctx, worker.Config{Hang: t.HangAfter,
		Config: hsm.Config{Module: t.Module, Allowed: c.Modules, Serial: t.Serial, Label: t.Label, Log: log}})
	if err != nil {
		return nil, err
	}
	p, err := set.Match(facts)
	if err != nil {
		return nil, err
	}
	log.InfoContext(ctx, "firmware profile chosen", "profile", p.ID, "title", p.Title, "evidence", string(p.Evidence.Level),
		"why", strings.Join(p.Why(facts), "; "))
	return p, nil
}
