package api

import (
	"context"

	"sealkeeper/access"
	"sealkeeper/issuance/reconcile"
)

type reconcileInput struct {
	Caller
	Cursor string `query:"cursor" maxLength:"256" doc:"next of the page before; the first page has none"`
	Limit  int    `query:"limit" default:"200" minimum:"1" maximum:"1000"`
}

func (s *Server) reconciliation() {
	route(s, "GET", "/v1/reconciliation", "reconcile", "appliance", "One page of the comparison of library, seals, certificates, filings, accounts, orders, messages and keys; nothing is changed", s.reconcilePage)
}

func (s *Server) reconcilePage(ctx context.Context, in *reconcileInput) (reconcile.Page, error) {
	if err := s.allow(in.Caller, access.Reconcile); err != nil {
		return reconcile.Page{}, err
	}
	return s.use.Reconcile(ctx, in.Cursor, in.Limit)
}
