package api

import (
	"context"

	"sealkeeper/access"
)

// grants: what a client may ask for. They never replace the owner's approval.
func (s *Server) grants() {
	route(s, "POST", "/v1/grants", "put-grant", "grants", "Write a grant", func(ctx context.Context, in *grantInput) (receipt, error) {
		return placed(s.use.Access.PutGrant(ctx, in.request("POST", "/v1/grants"), in.actor, in.Body))
	})
	route(s, "GET", "/v1/grants", "list-grants", "grants", "List grants of a client", s.listGrants)
	route(s, "POST", "/v1/grants/{id}/withdraw", "withdraw-grant", "grants", "Withdraw a grant", func(ctx context.Context, in *reasonInput) (receipt, error) {
		return placed(s.use.Access.WithdrawGrant(ctx, in.request("POST", "/v1/grants/"+in.ID+"/withdraw"), in.actor, in.ID, in.Body.Reason))
	})
}

type grantInput struct {
	Keyed
	Body access.Grant
}

type ofClientInput struct {
	Caller
	Paged
	Client string `query:"client" maxLength:"64" doc:"client identifier; your own when left out"`
}

func (in ofClientInput) client() string { return or(in.Client, in.actor.Client) }

func (s *Server) listGrants(ctx context.Context, in *ofClientInput) (page[access.Grant], error) {
	items, next, err := s.use.Access.GrantsPage(ctx, in.actor, in.client(), in.Cursor, in.Limit)
	return paged(items, next), err
}

// delegations: the owner's consent in advance, in bounds.
func (s *Server) delegations() {
	route(s, "POST", "/v1/delegations", "put-delegation", "delegations", "Register a delegation signed by the owner's device",
		func(ctx context.Context, in *delegationInput) (receipt, error) {
			return placed(s.use.Access.Delegate(ctx, in.request("POST", "/v1/delegations"), in.actor, in.Body))
		})
	route(s, "GET", "/v1/delegations", "list-delegations", "delegations", "List delegations to a client", s.listDelegations)
	route(s, "POST", "/v1/delegations/{id}/withdraw", "withdraw-delegation", "delegations", "Withdraw a delegation",
		func(ctx context.Context, in *reasonInput) (receipt, error) {
			return placed(s.use.Access.WithdrawDelegation(ctx, in.request("POST", "/v1/delegations/"+in.ID+"/withdraw"), in.actor, in.ID, in.Body.Reason))
		})
}

type delegationInput struct {
	Keyed
	Body access.SignedDelegation
}

func (s *Server) listDelegations(ctx context.Context, in *ofClientInput) (page[access.Registered], error) {
	items, next, err := s.use.Access.DelegationsPage(ctx, in.actor, in.client(), in.Cursor, in.Limit)
	return paged(items, next), err
}
