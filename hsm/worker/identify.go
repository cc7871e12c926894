package worker

import (
	"context"
	"encoding/json"
	"fmt"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// Identify has a child of its own ask who the library and the configured token are (hsm.Identify), so that this process loads no module. The child
// gets no PIN, and ends afterwards; one that hangs is killed.
func Identify(ctx context.Context, cfg Config) (firmware.Facts, error) {
	var facts firmware.Facts
	cfg, err := cfg.run()
	if err != nil {
		return facts, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Hang, fmt.Errorf("the module did not say who it is within %v: %w", cfg.Hang, hsm.ErrTokenGone))
	defer cancel()
	body, err := hello{Module: cfg.Module, Allowed: cfg.Allowed, Serial: cfg.Serial, Label: cfg.Label}.encode(nil)
	if err != nil {
		return facts, err
	}
	p, err := spawn(cfg.Command, cfg.Log)
	if err != nil {
		return facts, err
	}
	defer p.kill(errIdentified)
	b, err := p.first(ctx, kindIdentify, body)
	if err != nil {
		return facts, fmt.Errorf("asking who the token is: %w", err)
	}
	if err := json.Unmarshal(b, &facts); err != nil {
		return facts, fmt.Errorf("reading the worker's answer: %w: %w", hsm.ErrTokenGone, errFrame)
	}
	return facts, nil
}

// errIdentified is why the child of Identify ends.
var errIdentified = fmt.Errorf("it said who the token is: %w", hsm.ErrTokenGone)

// identify answers a parent that only asks who the token is.
func (c *child) identify(f frame) error {
	h, _, err := decodeHello(f.body)
	if err != nil {
		return c.reply(f.id, nil, err)
	}
	facts, err := hsm.Identify(hsm.Config{Module: h.Module, Allowed: h.Allowed, Serial: h.Serial, Label: h.Label})
	return c.answer(f.id, facts, err)
}
