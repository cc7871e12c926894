package api

import (
	"context"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence/certificate"
)

// register enters every route. JSON routes go through huma; documents through gin routes described beside them.
func (s *Server) register() {
	s.licences()
	s.archive()
	s.impressions()
	s.institutions()
	s.papers()
	s.orders()
	s.seals()
	s.signatures()
	s.verifications()
	s.revocationList()
	s.timeStamps()
	s.pages()
	s.auditLog()
	s.clients()
	s.grants()
	s.certificates()
	s.sharingGrants()
	s.codes()
	s.delegations()
	s.ceremonyDesk()
	s.outside()
	s.appliance()
	s.reconciliation()
	s.backups()
	s.health()
	s.metrics()
}

// route enters one JSON route. Errors of the handler become problems; status 200 unless the operation says otherwise.
func route[I, O any](s *Server, method, path, id, tag, summary string, h func(ctx context.Context, in *I) (O, error)) {
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, Errors: errorStatuses,
		MaxBodyBytes: s.cfg.Limits.JSON, Security: []map[string][]string{{"mtls": {}}}}
	if strings.HasSuffix(path, "/impressions") { // the picture, as base64 inside the signed payload, inside the envelope
		op.MaxBodyBytes = max(s.cfg.Limits.JSON, register.MaxImage*2)
	}
	if path == certificatesPath && method == "POST" { // the file, as base64
		op.MaxBodyBytes = max(s.cfg.Limits.JSON, certificate.MaxFile*3/2)
	}
	huma.Register(s.routes, op, func(ctx context.Context, in *I) (*body[O], error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return answer(out), nil
	})
}

// problem turns an error into its Problem and logs the ones that nobody foresaw.
func (s *Server) problem(ctx context.Context, err error) *Problem {
	p := problemOf(err, requestID(ctx))
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if late && p.Code == internal.code { // nobody named it: the time was over, or the caller left
		return timeout.problem("", p.Request)
	}
	if p.Status >= 500 {
		s.cfg.Log.ErrorContext(ctx, "request failed", "id", p.Request, "code", p.Code, "error", err)
	}
	return p
}

// record writes the refusals of authenticated callers to the log: coalesced, not awaited.
func (s *Server) record(c *gin.Context) {
	c.Next()
	code, who := c.Writer.Header().Get(codeHeader), callerOf(c)
	if code == "" || who.Client == "" || c.Writer.Status() >= 500 || c.GetBool(recordedKey) {
		return
	}
	s.use.Log.Refuse(audit.Event{Kind: "refusal", Actor: who.Audit(), Subject: c.FullPath(), Detail: refusal{c.Request.Method, code, c.Writer.Status()}})
}

type refusal struct {
	Method string `json:"method"`
	Code   string `json:"code"`
	Status int    `json:"status"`
}

// allow asks the policy table; routes whose use case decides by itself do not need it.
func (s *Server) allow(c Caller, a access.Action) error {
	return s.use.Access.Allow(c.actor, a, access.Resource{Client: c.actor.Client})
}
