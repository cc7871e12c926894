package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/access"
	"sealkeeper/keystore"
)

type alive struct {
	Alive bool   `json:"alive"`
	Mode  string `json:"mode"`
}

type readiness struct {
	Ready  bool    `json:"ready"`
	Mode   string  `json:"mode"`
	Faults []Fault `json:"faults,omitempty" doc:"what keeps the appliance from signing"`
}

type readyOutput struct {
	Status int
	Body   readiness
}

// health answers without a certificate and without the token: /livez as long as the process serves, /readyz when it could sign.
func (s *Server) health() {
	open := func(path, id, summary string) huma.Operation {
		return huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Tags: []string{"health"}}
	}
	huma.Register(s.routes, open("/livez", "livez", "The process serves"), func(context.Context, *struct{}) (*body[alive], error) {
		return answer(alive{true, s.cfg.Mode}), nil
	})
	huma.Register(s.routes, open("/readyz", "readyz", "The appliance could sign; names what is not"), func(ctx context.Context, _ *struct{}) (*readyOutput, error) {
		faults := s.use.Ready(ctx)
		status := http.StatusOK
		if len(faults) > 0 {
			status = http.StatusServiceUnavailable
		}
		return &readyOutput{status, readiness{len(faults) == 0, s.cfg.Mode, faults}}, nil
	})
}

type applianceAnswer struct {
	Mode    string             `json:"mode"`
	Version string             `json:"version"`
	Token   keystore.TokenInfo `json:"token"`
	Faults  []Fault            `json:"faults"`
}

// actInput is a mutating call without a body. Both acts change nothing when they are repeated; the key is asked for as of every mutating call.
type actInput struct {
	Caller
	Key string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" pattern:"^[!-~]+$"`
}

type decided struct {
	Done bool   `json:"done" doc:"false: the other officer's half is still missing"`
	Next string `json:"next,omitempty"`
}

// appliance is what operators see and decide about the machine itself.
func (s *Server) appliance() {
	route(s, "GET", "/v1/appliance", "get-appliance", "appliance", "Token, mode and what is not ready", s.describeAppliance)
	route(s, "POST", "/v1/appliance/clock", "accept-clock", "appliance", "Accept the clock after it was doubted", s.acceptClock)
	route(s, "POST", "/v1/appliance/resynchronise", "resynchronise", "appliance", "One officer's half of the decision to go on after a rollback", s.resynchronise)
}

func (s *Server) describeAppliance(ctx context.Context, in *struct{ Caller }) (applianceAnswer, error) {
	if err := s.allow(in.Caller, access.ApplianceRead); err != nil {
		return applianceAnswer{}, err
	}
	t, err := s.use.Keys.Token(ctx)
	a := applianceAnswer{s.cfg.Mode, s.cfg.Version, t, append([]Fault{}, s.use.Ready(ctx)...)}
	if err != nil && len(a.Faults) == 0 {
		return a, err
	}
	return a, nil
}

func (s *Server) acceptClock(ctx context.Context, in *actInput) (decided, error) {
	if err := s.allow(in.Caller, access.ApplianceOperate); err != nil {
		return decided{}, err
	}
	return decided{Done: true}, s.use.AcceptClock(ctx, in.actor.Audit())
}

func (s *Server) resynchronise(ctx context.Context, in *actInput) (decided, error) {
	if err := s.allow(in.Caller, access.CeremonyTake); err != nil {
		return decided{}, err
	}
	done, err := s.use.Resynchronise(ctx, in.actor.Audit())
	if err != nil || done {
		return decided{Done: done}, err
	}
	return decided{Next: "an operator of the other role (system, security) must repeat this call"}, nil
}
