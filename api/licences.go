package api

import (
	"context"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/licence"
)

func (s *Server) licences() {
	route(s, "POST", "/v1/licences", "put-licence-event", "licences", "Take a signed licence event; an establishment opens an order", s.putLicence)
	route(s, "POST", "/v1/licence-imports", "import-licence-events", "licences", "Take signed licence events of enterprises older than the library; none opens an order, and each is known again by its own identifier", s.importLicences)
	route(s, "GET", "/v1/licences", "search-licences", "licences", "Licences by the beginning of a name, by status or by division", s.searchLicences)
	route(s, "GET", "/v1/licence-changes", "list-licence-changes", "licences", "Licences that changed since a time, in order, each once, up to 40 seconds ago", s.licenceChanges)
	route(s, "GET", "/v1/licences/{uscc}", "get-licence", "licences", "A licence now, or as of a time", s.getLicence)
	route(s, "GET", "/v1/licences/{uscc}/versions", "list-licence-versions", "licences", "Every version of a licence", s.licenceVersions)
}

type envelopeInput struct {
	Keyed
	Body message
}

type importInput struct {
	Keyed
	Body struct {
		Events []message `json:"events" minItems:"1" maxItems:"1000"`
	}
}

// imported says how a batch of events went. An event that was taken before counts as settled: the same batch gives the same answer.
type imported struct {
	Settled  int        `json:"settled" doc:"taken now or before"`
	Rejected []rejected `json:"rejected"`
}

type rejected struct {
	Index   int      `json:"index" doc:"in events, from 0"`
	Problem *Problem `json:"problem"`
}

func (s *Server) importLicences(ctx context.Context, in *importInput) (imported, error) {
	if err := s.allow(in.Caller, access.LicencePut); err != nil {
		return imported{}, err
	}
	events := make([]envelope.Envelope, len(in.Body.Events))
	for i, m := range in.Body.Events {
		events[i] = m.envelope()
	}
	reasons, err := s.use.Issuance.Import(ctx, in.actor, events)
	if err != nil {
		return imported{}, err
	}
	out := imported{Rejected: []rejected{}}
	for i, reason := range reasons {
		if reason == nil {
			out.Settled++
			continue
		}
		out.Rejected = append(out.Rejected, rejected{i, problemOf(reason, "")})
	}
	return out, nil
}

type searchInput struct {
	Caller
	Paged
	Name     string `query:"name" maxLength:"100" doc:"the name begins with it"`
	Status   string `query:"status" maxLength:"32"`
	Division string `query:"division" maxLength:"6" doc:"two, four or six digits"`
}

func (s *Server) searchLicences(ctx context.Context, in *searchInput) (page[licence.Standing], error) {
	if err := s.allow(in.Caller, access.LicenceSearch); err != nil {
		return page[licence.Standing]{}, err
	}
	f, err := s.use.Library.Search(ctx, licence.Query{Name: in.Name, Status: licence.Status(in.Status), Division: in.Division, Cursor: in.Cursor, Limit: in.Limit})
	return paged(f.Items, f.Next), err
}

type changesInput struct {
	Caller
	Paged
	Since time.Time `query:"since" doc:"RFC 3339; from the beginning when left out"`
}

// changes is a page of the feed. Its cursor never ends: ask with it for what comes after.
type changes struct {
	page[licence.Standing]
	Until time.Time `json:"until" doc:"all changes up to here are given, when the page is not full"`
}

func (s *Server) licenceChanges(ctx context.Context, in *changesInput) (changes, error) {
	if err := s.allow(in.Caller, access.LicenceSearch); err != nil {
		return changes{}, err
	}
	c, err := s.use.Library.Changed(ctx, in.Since, in.Cursor, in.Limit)
	return changes{paged(c.Items, c.Next), c.Until}, err
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
