package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// Fault is one thing that keeps the appliance from being ready.
type Fault struct {
	Part   string `json:"part"` // token, store, clock, log
	Detail string `json:"detail"`
}

// Readiness says whether the appliance could sign now.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Mode   string  `json:"mode"` // production or demo
	Faults []Fault `json:"faults,omitempty"`
}

// Ready asks whether the appliance could sign. An appliance that is not ready is an answer, not an error. No certificate is needed.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	var r Readiness
	a, err := c.send(ctx, Call{Method: http.MethodGet, Path: "/readyz"})
	if err != nil {
		return r, err
	}
	if a.Status != http.StatusOK && a.Status != http.StatusServiceUnavailable {
		return r, a.problem()
	}
	if err := json.Unmarshal(a.Body, &r); err != nil || r.Mode == "" {
		return r, a.problem() // a 503 of somebody in between
	}
	return r, nil
}

// Token describes the open token.
type Token struct {
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Firmware     string `json:"firmware"`
	Library      string `json:"library"`
	ModuleSHA256 string `json:"module_sha256"`
	Profile      string `json:"profile"`
	ProfileSM3   string `json:"profile_sm3"`
	Evidence     string `json:"evidence"` // simulated, documented or device
	Sessions     int    `json:"sessions"`
	Epoch        uint64 `json:"epoch"`
	PINTriesLow  bool   `json:"pin_tries_low"`
}

// Appliance is what operators see of the machine.
type Appliance struct {
	Mode    string  `json:"mode"`
	Version string  `json:"version"`
	Token   Token   `json:"token"`
	Faults  []Fault `json:"faults"`
}

// Appliance describes the machine to an operator.
func (c *Client) Appliance(ctx context.Context) (Appliance, error) {
	return get[Appliance](ctx, c, "/v1/appliance", nil)
}

// Decision is the answer to an operator's act that may need a second one.
type Decision struct {
	Done bool   `json:"done"`
	Next string `json:"next,omitempty"` // what is still missing
}

// AcceptClock lets commits go on after the clock was doubted; an operator has looked at it.
func (c *Client) AcceptClock(ctx context.Context, key string) (Decision, error) {
	return post[Decision](ctx, c, "/v1/appliance/clock", key, nil)
}

// Resynchronise gives one officer's half of the decision to go on after a rollback.
func (c *Client) Resynchronise(ctx context.Context, key string) (Decision, error) {
	return post[Decision](ctx, c, "/v1/appliance/resynchronise", key, nil)
}
