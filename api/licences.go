package api

import (
	"context"
	"time"

	"sealkeeper/access"
	"sealkeeper/licence"
)

func (s *Server) licences() {
	route(s, "POST", "/v1/licences", "put-licence-event", "licences", "Take a signed licence event; an establishment opens an order", s.putLicence)
	route(s, "GET", "/v1/licences/{uscc}", "get-licence", "licences", "A licence now, or as of a time", s.getLicence)
	route(s, "GET", "/v1/licences/{uscc}/versions", "list-licence-versions", "licences", "Every version of a licence", s.licenceVersions)
}

type envelopeInput struct {
	Keyed
	Body message
}

type licenceInput struct {
	Caller
	USCC string    `path:"uscc" maxLength:"18"`
	AsOf time.Time `query:"as_of" doc:"RFC 3339; now when left out"`
}

func (s *Server) getLicence(ctx context.Context, in *licenceInput) (licence.Licence, error) {
	if err := s.allow(in.Caller, access.LicenceRead); err != nil {
		return licence.Licence{}, err
	}
	if !in.AsOf.IsZero() {
		return s.use.Library.At(ctx, in.USCC, in.AsOf)
	}
	l, _, err := s.use.Library.Current(ctx, in.USCC)
	return l, err
}

type versionsInput struct {
	Caller
	USCC string `path:"uscc" maxLength:"18"`
}

func (s *Server) licenceVersions(ctx context.Context, in *versionsInput) (page[licence.Licence], error) {
	if err := s.allow(in.Caller, access.LicenceRead); err != nil {
		return page[licence.Licence]{}, err
	}
	all, err := s.use.Library.Versions(ctx, in.USCC)
	return paged(all, ""), err
}
