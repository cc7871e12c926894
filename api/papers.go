package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/access"
	"sealkeeper/keystore/register"
)

// ErrPaperOwed: the paper has not been issued yet.
var ErrPaperOwed = errors.New("the paper has not been issued")

// papers: what the bureau issues as sealed OFD files.
func (s *Server) papers() {
	paperFile(s, "/v1/licences/{uscc}/file", "get-licence-file", "licences", "The licence document of a version, sealed by its registration authority (OFD)", s.licenceFile)
	route(s, "GET", "/v1/seals/{esid}/certificates", "list-seal-certificates", "seals", "The certificates of making and of ending of a seal, issued or owed", s.sealPapers)
	paperFile(s, "/v1/seals/{esid}/certificates/{kind}", "get-seal-certificate-of", "seals", "A certificate of a seal (OFD): made, 电子印章制作证书; cancelled, 电子印章注销证书", s.sealPaper)
}

const typeOFD = "application/ofd"

// paperFile enters a route that answers with an OFD file.
func paperFile[I any](s *Server, path, id, tag, summary string, read func(context.Context, *I) ([]byte, error)) {
	op := huma.Operation{Method: "GET", Path: path, OperationID: id, Tags: []string{tag}, Errors: errorStatuses, Summary: summary, Security: []map[string][]string{{"mtls": {}}},
		Responses: map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{typeOFD: {}}}}}
	huma.Register(s.routes, op, func(ctx context.Context, in *I) (*file, error) {
		b, err := read(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &file{typeOFD, b}, nil
	})
}

type licenceFileInput struct {
	Caller
	USCC    string    `path:"uscc" maxLength:"18"`
	AsOf    time.Time `query:"as_of" doc:"RFC 3339; now when neither is given"`
	Version int       `query:"version" minimum:"0" doc:"the version itself"`
}

func (s *Server) licenceFile(ctx context.Context, in *licenceFileInput) ([]byte, error) {
	if err := s.maySeeFile(ctx, in.Caller, in.USCC); err != nil {
		return nil, err
	}
	version := in.Version
	if version == 0 {
		l, err := s.getLicence(ctx, &licenceInput{in.Caller, in.USCC, in.AsOf})
		if err != nil {
			return nil, err
		}
		version = l.Version
	} else if _, err := s.use.Library.Version(ctx, in.USCC, version); err != nil {
		return nil, err
	}
	id := register.LicencePaper(in.USCC, version, "", time.Time{}).ID
	p, err := s.issued(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.use.Library.FileBytes(ctx, p.Issued.SM3)
}

// maySeeFile lets operators and the owner's channel see a licence's document, and departments with a grant on a seal of the enterprise.
func (s *Server) maySeeFile(ctx context.Context, c Caller, uscc string) error {
	err := s.allow(c, access.PaperRead)
	if err == nil || c.actor.Role != access.RoleDepartment {
		return err
	}
	seals, lerr := s.use.Register.SealsOf(ctx, uscc)
	if lerr != nil {
		return lerr
	}
	for _, l := range seals {
		if !l.State.Final() && s.use.Access.MaySeeSeal(ctx, c.actor, l.ESID) == nil {
			return nil
		}
	}
	return err
}

// issued reads a paper that is there. One that was never owed and one that waits are both named, and say why.
func (s *Server) issued(ctx context.Context, id string) (register.Paper, error) {
	p, _, err := s.use.Register.Paper(ctx, id)
	switch {
	case errors.Is(err, register.ErrUnknown):
		return p, fmt.Errorf("%s was never owed: licences that were imported or have ended get none: %w", id, ErrPaperOwed)
	case err != nil:
		return p, err
	case p.Issued == nil && p.Issuer != "":
		return p, fmt.Errorf("%s is owed since %s and waits for the seal of %s under a standing delegation: %w", id, p.Since.Format(time.RFC3339), p.Issuer, ErrPaperOwed)
	case p.Issued == nil:
		return p, fmt.Errorf("%s is owed since %s and waits for an institution's seal under a standing delegation: %w", id, p.Since.Format(time.RFC3339), ErrPaperOwed)
	}
	return p, nil
}

func (s *Server) sealPapers(ctx context.Context, in *sealInput) (page[register.Paper], error) {
	if err := s.allow(in.Caller, access.PaperRead); err != nil {
		return page[register.Paper]{}, err
	}
	if _, _, err := s.use.Register.Seal(ctx, in.ESID); err != nil {
		return page[register.Paper]{}, err
	}
	var all []register.Paper
	for _, k := range []register.PaperKind{register.PaperMade, register.PaperCancelled} {
		p, _, err := s.use.Register.Paper(ctx, register.SealPaper(k, in.ESID))
		if errors.Is(err, register.ErrUnknown) {
			continue
		} else if err != nil {
			return page[register.Paper]{}, err
		}
		all = append(all, p)
	}
	return paged(all, ""), nil
}

type sealPaperInput struct {
	Caller
	ESID string `path:"esid" maxLength:"64"`
	Kind string `path:"kind" enum:"made,cancelled"`
}

func (s *Server) sealPaper(ctx context.Context, in *sealPaperInput) ([]byte, error) {
	if err := s.allow(in.Caller, access.PaperRead); err != nil {
		return nil, err
	}
	if _, _, err := s.use.Register.Seal(ctx, in.ESID); err != nil {
		return nil, err
	}
	id := register.SealPaper(register.PaperKind(in.Kind), in.ESID)
	if _, err := s.issued(ctx, id); err != nil {
		return nil, err
	}
	return s.use.Register.PaperFile(ctx, id)
}
