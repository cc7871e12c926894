package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
)

// auditLog shows the record and proves it.
func (s *Server) auditLog() {
	route(s, "GET", "/v1/audit/entries", "list-records", "audit", "Records from an index on", s.entries)
	route(s, "GET", "/v1/audit/proof", "prove-record", "audit", "That a record stands in the log", s.inclusion)
	route(s, "GET", "/v1/audit/consistency", "prove-consistency", "audit", "That a smaller tree is the beginning of a larger one", s.consistency)
	op := huma.Operation{Method: http.MethodGet, Path: "/v1/audit/checkpoint", OperationID: "get-checkpoint", Tags: []string{"audit"}, Errors: errorStatuses,
		Summary: "The latest signed checkpoint (C2SP)", Security: []map[string][]string{{"mtls": {}}}}
	huma.Register(s.routes, op, func(ctx context.Context, in *struct{ Caller }) (*file, error) {
		if err := s.allow(in.Caller, access.CheckpointRead); err != nil {
			return nil, s.problem(ctx, err)
		}
		return &file{"text/plain; charset=utf-8", s.use.Log.Checkpoint()}, nil
	})
}

type entriesInput struct {
	Caller
	From  uint64 `query:"from" doc:"index of the first record"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type entry struct {
	Index   uint64      `json:"index"`
	Time    time.Time   `json:"time"`
	Leaf    audit.Hash  `json:"leaf"`
	Request string      `json:"request,omitempty" doc:"Idempotency-Key of the call that made it"`
	Kind    string      `json:"kind"`
	Actor   audit.Actor `json:"actor"`
	Subject string      `json:"subject,omitempty"`
	Detail  any         `json:"detail,omitempty"`
	Result  any         `json:"result,omitempty"`
}

func (s *Server) entries(ctx context.Context, in *entriesInput) (page[entry], error) {
	if err := s.allow(in.Caller, access.AuditRead); err != nil {
		return page[entry]{}, err
	}
	records, err := s.use.Log.Entries(ctx, in.From, in.Limit)
	if err != nil {
		return page[entry]{}, err
	}
	var all []entry
	for _, r := range records {
		all = append(all, entry{r.Index, r.Time, r.Leaf, r.Request, r.Event.Kind, r.Event.Actor, r.Event.Subject, r.Event.Detail, r.Event.Result})
	}
	next := ""
	if len(all) == in.Limit {
		next = strconv.FormatUint(all[len(all)-1].Index+1, 10)
	}
	return paged(all, next), nil
}

type proofInput struct {
	Caller
	Index uint64 `query:"index" required:"true"`
	Size  uint64 `query:"size" doc:"of the tree; that of the latest checkpoint when left out"`
}

func (s *Server) inclusion(ctx context.Context, in *proofInput) (audit.Proof, error) {
	if err := s.allow(in.Caller, access.CheckpointRead); err != nil {
		return audit.Proof{}, err
	}
	return s.use.Log.Inclusion(ctx, in.Index, in.Size)
}

type consistencyInput struct {
	Caller
	From uint64 `query:"from" required:"true"`
	To   uint64 `query:"to" required:"true"`
}

func (s *Server) consistency(ctx context.Context, in *consistencyInput) (audit.Consistency, error) {
	if err := s.allow(in.Caller, access.CheckpointRead); err != nil {
		return audit.Consistency{}, err
	}
	return s.use.Log.Consistency(ctx, in.From, in.To)
}
