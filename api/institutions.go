package api

import (
	"context"

	"sealkeeper/access"
	"sealkeeper/issuance"
)

// institutions: seals without a licence, of the registration authority itself. They are made, and their use is delegated, by ceremonies.
func (s *Server) institutions() {
	route(s, "POST", "/v1/institutions/impressions", "put-institution-impression", "institutions", "Take the impression of an institution's own seal, signed by the institution",
		s.putInstitutionImpression)
	route(s, "GET", "/v1/standing-delegations", "list-standing-delegations", "institutions", "List standing delegations to a client", s.listStandings)
}

func (s *Server) putInstitutionImpression(ctx context.Context, in *envelopeInput) (issuance.FilingOutcome, error) {
	if err := s.allow(in.Caller, access.InstitutionPut); err != nil {
		return issuance.FilingOutcome{}, err
	}
	return s.use.Issuance.FileInstitution(ctx, in.request("POST", "/v1/institutions/impressions"), in.actor, in.Body.envelope())
}

// standingView is a standing delegation with what is left of it.
type standingView struct {
	access.Standing
	Spent uint64 `json:"spent"`
}

func (s *Server) listStandings(ctx context.Context, in *ofClientInput) (page[standingView], error) {
	items, next, err := s.use.Access.StandingsPage(ctx, in.actor, in.client(), in.Cursor, in.Limit)
	if err != nil {
		return page[standingView]{}, err
	}
	views := make([]standingView, len(items))
	for n, d := range items {
		views[n].Standing = d
		if views[n].Spent, err = s.use.Access.StandingSpent(ctx, d.ID); err != nil {
			return page[standingView]{}, err
		}
	}
	return paged(views, next), nil
}
