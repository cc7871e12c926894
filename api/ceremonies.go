package api

import (
	"context"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/keystore"
)

// ceremonyDesk: acts that no officer takes alone. Which role asks for what, and who approves it, is the table of package ceremony.
func (s *Server) ceremonyDesk() {
	route(s, "POST", "/v1/ceremonies", "draft-ceremony", "ceremonies", "Hand in a plan for others to approve", s.draftCeremony)
	route(s, "GET", "/v1/ceremonies", "list-ceremonies", "ceremonies", "List ceremonies", s.listCeremonies)
	route(s, "GET", "/v1/ceremonies/{id}", "get-ceremony", "ceremonies", "A plan with its approvals, and how far it got", s.getCeremony)
	route(s, "POST", "/v1/ceremonies/{id}/approve", "approve-ceremony", "ceremonies", "Approve exactly this plan with the key of the own certificate", s.approveCeremony)
	route(s, "POST", "/v1/ceremonies/{id}/execute", "execute-ceremony", "ceremonies", "Carry an approved plan out, or go on where it was interrupted", s.executeCeremony)
	route(s, "POST", "/v1/ceremonies/{id}/abandon", "abandon-ceremony", "ceremonies", "Give a ceremony up", s.abandonCeremony)
	route(s, "GET", "/v1/ceremonies/{id}/transcript", "get-ceremony-transcript", "ceremonies", "The ceremony's records with their proofs, for checking offline", s.ceremonyTranscript)
	route(s, "GET", "/v1/keys", "list-keys", "ceremonies", "The appliance's own keys, and keys in the token that no record claims", s.listKeys)
	route(s, "GET", "/v1/wrapping-keys", "list-wrapping-keys", "ceremonies", "Wrapping keys: their tokens, how full they are, what has still to move away from a retired one", s.listWrappingKeys)
}

type draftInput struct {
	Keyed
	Body struct {
		Plan string `json:"plan" minLength:"1" maxLength:"32768" doc:"the plan, YAML"`
	}
}

func (s *Server) draftCeremony(ctx context.Context, in *draftInput) (ceremony.Ceremony, error) {
	return s.use.Ceremonies.Draft(ctx, in.request("POST", "/v1/ceremonies"), in.actor, in.Body.Plan)
}

func (s *Server) listCeremonies(ctx context.Context, in *pageInput) (page[ceremony.Ceremony], error) {
	items, next, err := s.use.Ceremonies.Page(ctx, in.actor, in.Cursor, in.Limit)
	return paged(items, next), err
}

type ceremonyInput struct {
	Caller
	ID string `path:"id" maxLength:"64" doc:"SM3 of the plan's canonical bytes, hexadecimal"`
}

func (s *Server) getCeremony(ctx context.Context, in *ceremonyInput) (ceremony.Ceremony, error) {
	return s.use.Ceremonies.Get(ctx, in.actor, in.ID)
}

type approveInput struct {
	Keyed
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Key       []byte    `json:"key" doc:"DER SubjectPublicKeyInfo of the caller's certificate"`
		Expires   time.Time `json:"expires" doc:"until when the approval counts, whole seconds; at the latest the plan's own end"`
		Signature []byte    `json:"signature" doc:"DER ECDSA P-256 with SHA-256 over the approval's canonical bytes"`
	}
}

func (s *Server) approveCeremony(ctx context.Context, in *approveInput) (ceremony.Ceremony, error) {
	return s.use.Ceremonies.Approve(ctx, in.request("POST", "/v1/ceremonies/"+in.ID+"/approve"), in.actor, in.ID,
		ceremony.Given{Key: in.Body.Key, Expires: in.Body.Expires, Signature: in.Body.Signature})
}

type executeInput struct {
	Caller
	Key string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" pattern:"^[!-~]+$"`
	ID  string `path:"id" maxLength:"64"`
}

func (s *Server) executeCeremony(ctx context.Context, in *executeInput) (ceremony.Ceremony, error) {
	return s.use.Ceremonies.Execute(ctx, bind(in.actor.Client, in.Key, "POST", "/v1/ceremonies/"+in.ID+"/execute", nil), in.actor, in.ID)
}

func (s *Server) abandonCeremony(ctx context.Context, in *reasonInput) (ceremony.Ceremony, error) {
	return s.use.Ceremonies.Abandon(ctx, in.request("POST", "/v1/ceremonies/"+in.ID+"/abandon"), in.actor, in.ID, in.Body.Reason)
}

func (s *Server) ceremonyTranscript(ctx context.Context, in *ceremonyInput) (ceremony.Transcript, error) {
	return s.use.Ceremonies.Transcript(ctx, in.actor, in.ID)
}

type wrappingKeysAnswer struct {
	WrappingKeys []keystore.KEKState `json:"wrapping_keys" doc:"the oldest first; destroyed ones stay in the list"`
}

func (s *Server) listWrappingKeys(ctx context.Context, in *struct{ Caller }) (wrappingKeysAnswer, error) {
	if err := s.allow(in.Caller, access.CeremonyRead); err != nil {
		return wrappingKeysAnswer{}, err
	}
	all, err := s.use.Keys.KEKStates(ctx)
	return wrappingKeysAnswer{append([]keystore.KEKState{}, all...)}, err
}

type keysAnswer struct {
	Keys    []keystore.Listed `json:"keys"`
	Orphans []keystore.Orphan `json:"orphans" doc:"in the token, and no record of this store claims them"`
}

func (s *Server) listKeys(ctx context.Context, in *struct{ Caller }) (keysAnswer, error) {
	if err := s.allow(in.Caller, access.CeremonyRead); err != nil {
		return keysAnswer{}, err
	}
	a := keysAnswer{Keys: []keystore.Listed{}}
	for _, p := range keystore.Own() {
		all, err := s.use.Keys.OfPurpose(ctx, p)
		if err != nil {
			return a, err
		}
		a.Keys = append(a.Keys, all...)
	}
	var err error
	a.Orphans, err = s.use.Keys.Orphans(ctx)
	return a, err
}
