package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
)

// measure prepares one seal with a grant and a delegation wide enough for a load test, and runs sealctl bench against the appliance.
func measure(ctx context.Context, s *show) error {
	f := fields(1)
	all, err := s.collected(ctx, f)
	if err != nil {
		return err
	}
	if err := s.consent(ctx, f.USCC, all[0].Seal.ESID); err != nil {
		return err
	}
	security, err := s.Client("security")
	if err != nil {
		return err
	}
	if _, err := security.EquipSeal(ctx, client.NewKey(), all[0].Seal.ESID); err != nil {
		return fmt.Errorf("giving the seal a document key: %w", err)
	}
	s.say("measuring (the machine is shared: look at the ratios)")
	cmd := s.As(ctx, "department", "bench", "--output", "json", "--config", s.Config, "--pid", strconv.Itoa(s.SealdPID()), "--seal", all[0].Seal.ESID,
		"--purpose", purpose, "--delegation", "bench", "--batch-clients", "4", "--kinds", "digest,cms:pades", "--plot", s.path("rate.svg"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	rss, err := residentAnonymous(s.SealdPID())
	if err != nil {
		return err
	}
	s.note("RssAnon of seald after the load: %s", rss)
	s.note("rate against concurrency: %s", s.path("rate.svg"))
	return nil
}

// consent grants and delegates without a bound that a load test would meet.
func (s *show) consent(ctx context.Context, uscc, esid string) error {
	if err := s.grant(ctx, "bench", access.KindCMS, access.KindDigest); err != nil {
		return err
	}
	dept, err := s.Client("department")
	if err != nil {
		return err
	}
	id, err := s.ID("department")
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	var signed json.RawMessage
	d := access.Delegation{ID: "bench", Seal: esid, Client: id, Purposes: []string{purpose}, Kinds: []string{access.KindCMS, access.KindDigest}, NotBefore: now, Expires: now.AddDate(0, 1, 0), Count: 1 << 40}
	if err := s.Play(ctx, "/phone/delegate", map[string]any{"uscc": uscc, "delegation": d}, &signed); err != nil {
		return fmt.Errorf("delegating: %w", err)
	}
	return dept.JSON(ctx, "POST", "/v1/delegations", nil, client.NewKey(), signed, nil)
}

// residentAnonymous reads RssAnon: what the process itself holds, without the mapped store file.
func residentAnonymous(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if len(line) > 8 && line[:8] == "RssAnon:" {
			return strings.TrimSpace(line[8:]), nil
		}
	}
	return "", fmt.Errorf("no RssAnon of process %d", pid)
}
