package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
)

func (s *Server) seals() {
	route(s, "GET", "/v1/enterprises/{uscc}/seals", "list-seals", "seals", "Seals of an enterprise", s.listSeals)
	route(s, "GET", "/v1/seals/{esid}", "get-seal", "seals", "A seal with the evidence of its key", s.getSeal)
	route(s, "POST", "/v1/seals/{esid}/suspend", "suspend-seal", "seals", "Suspend a seal at once", s.change(access.SealSuspend, "suspend", (*issuance.Issuance).Suspend))
	route(s, "POST", "/v1/seals/{esid}/resume", "resume-seal", "seals", "Lift a suspension", s.change(access.SealResume, "resume", (*issuance.Issuance).Resume))
	route(s, "POST", "/v1/seals/{esid}/cancel", "cancel-seal", "seals", "Cancel a seal for good", s.change(access.SealCancel, "cancel", (*issuance.Issuance).Cancel))
	route(s, "POST", "/v1/seals/{esid}/document-key", "equip-seal", "seals", "Give an active seal a P-256 document key beside its own, for formats that know no SM2", s.equip)
	route(s, "POST", "/v1/seals/{esid}/reissue", "reissue-seal", "seals", "Order the next edition of a seal from the same impression; the present one signs on until that is collected", s.reissue)
	route(s, "POST", "/v1/seal-notices", "put-seal-notice", "seals", "Take a signed notice of public security: a physical seal is lost, a seal is frozen, a freeze is lifted", s.putSealNotice)
	route(s, "POST", "/v1/enterprises/{uscc}/device/freeze", "freeze-device", "seals", "Take the bound device of an enterprise away at once: a lost phone", s.freezeDevice)
	for _, f := range []struct {
		part, kind string
		read       func(context.Context, string) ([]byte, error)
	}{{"esl", "application/octet-stream", s.use.Register.ESL}, {"certificate", "application/pkix-cert", s.use.Register.Certificate}, {"document-certificate", "application/pkix-cert", s.documentCertificate}} {
		s.sealFile(f.part, f.kind, f.read)
	}
}

type sealsInput struct {
	Caller
	USCC string `path:"uscc" maxLength:"18"`
}

// listSeals gives operators and the licence system every seal, a department those it holds a grant on.
func (s *Server) listSeals(ctx context.Context, in *sealsInput) (page[register.Seal], error) {
	all, err := s.use.Register.SealsOf(ctx, in.USCC)
	if err != nil {
		return page[register.Seal]{}, err
	}
	var seen []register.Seal
	for _, x := range all {
		if s.use.Access.MaySeeSeal(ctx, in.actor, x.ESID) == nil {
			seen = append(seen, x)
		}
	}
	if len(seen) == 0 {
		return page[register.Seal]{}, access.ErrNotEntitled // no seal, or none to be seen: the same answer
	}
	return paged(seen, ""), nil
}

type sealInput struct {
	Caller
	ESID string `path:"esid" maxLength:"64"`
}

type sealAnswer struct {
	Seal register.Seal  `json:"seal"`
	Key  keystore.Birth `json:"key" doc:"the key's attributes as read back at birth, with their evidence"`
	// Document is the same of the companion key, absent where there is none.
	Document *keystore.Birth `json:"document_key,omitempty" doc:"the same of the companion P-256 key"`
}

func (s *Server) getSeal(ctx context.Context, in *sealInput) (sealAnswer, error) {
	if err := s.use.Access.MaySeeSeal(ctx, in.actor, in.ESID); err != nil {
		return sealAnswer{}, err
	}
	seal, _, err := s.use.Register.Seal(ctx, in.ESID)
	if err != nil {
		return sealAnswer{}, err
	}
	a := sealAnswer{Seal: seal}
	if a.Key, err = s.use.Keys.Birth(ctx, seal.Key); err != nil || seal.Document == nil {
		return a, err
	}
	companion, err := s.use.Keys.Birth(ctx, seal.Document.Key)
	a.Document = &companion
	return a, err
}

func (s *Server) documentCertificate(ctx context.Context, esid string) ([]byte, error) {
	der, _, _, err := s.use.Register.DocumentCertificate(ctx, esid)
	if err == nil && der == nil {
		err = fmt.Errorf("seal %s has no document key: %w", esid, register.ErrUnknown)
	}
	return der, err
}

type equipInput struct {
	Caller
	Key  string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" pattern:"^[!-~]+$"`
	ESID string `path:"esid" maxLength:"64"`
}

func (s *Server) equip(ctx context.Context, in *equipInput) (register.Seal, error) {
	return s.use.Issuance.DocumentKey(ctx, bind(in.actor.Client, in.Key, "POST", "/v1/seals/"+in.ESID+"/document-key", nil), in.actor, in.ESID)
}

type file struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// sealFile serves bytes that are as public as every signature that embeds them, to those who may see the seal.
func (s *Server) sealFile(part, kind string, read func(context.Context, string) ([]byte, error)) {
	op := huma.Operation{Method: "GET", Path: "/v1/seals/{esid}/" + part, OperationID: "get-seal-" + part, Tags: []string{"seals"}, Errors: errorStatuses,
		Summary: "The seal's " + part + ", DER", Security: []map[string][]string{{"mtls": {}}},
		Responses: map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{kind: {}}}}}
	huma.Register(s.routes, op, func(ctx context.Context, in *sealInput) (*file, error) {
		if err := s.use.Access.MaySeeSeal(ctx, in.actor, in.ESID); err != nil {
			return nil, s.problem(ctx, err)
		}
		b, err := read(ctx, in.ESID)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &file{kind, b}, nil
	})
}

type changeInput struct {
	Keyed
	ESID string `path:"esid" maxLength:"64"`
	Body struct {
		Reason   register.Reason `json:"reason" minLength:"1" maxLength:"64" doc:"from the closed list"`
		Evidence string          `json:"evidence,omitempty" maxLength:"1024" doc:"reference of the decision"`
	}
}

type changeFunc func(*issuance.Issuance, context.Context, *keystore.Request, access.Actor, string, register.Reason, string) (register.Seal, error)

func (s *Server) change(a access.Action, verb string, do changeFunc) func(context.Context, *changeInput) (register.Seal, error) {
	return func(ctx context.Context, in *changeInput) (register.Seal, error) {
		if err := s.allow(in.Caller, a); err != nil {
			return register.Seal{}, err
		}
		return do(s.use.Issuance, ctx, in.request("POST", "/v1/seals/"+in.ESID+"/"+verb), in.actor, in.ESID, in.Body.Reason, in.Body.Evidence)
	}
}
