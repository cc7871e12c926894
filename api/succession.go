package api

import (
	"context"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
)

type reissueInput struct {
	Keyed
	ESID string `path:"esid" maxLength:"64"`
	Body struct {
		Evidence string `json:"evidence" minLength:"1" maxLength:"256" doc:"why, and on whose word"`
	}
}

func (s *Server) reissue(ctx context.Context, in *reissueInput) (register.Order, error) {
	if err := s.allow(in.Caller, access.SealReissue); err != nil {
		return register.Order{}, err
	}
	return s.use.Issuance.Reissue(ctx, in.request("POST", "/v1/seals/"+in.ESID+"/reissue"), in.actor, in.ESID, in.Body.Evidence)
}

func (s *Server) putSealNotice(ctx context.Context, in *envelopeInput) (issuance.NoticeOutcome, error) {
	if err := s.allow(in.Caller, access.SealNotice); err != nil {
		return issuance.NoticeOutcome{}, err
	}
	return s.use.Issuance.SealNotice(ctx, in.request("POST", "/v1/seal-notices"), in.actor, in.Body.envelope())
}

type freezeInput struct {
	Keyed
	USCC string `path:"uscc" maxLength:"18"`
	Body struct {
		Evidence string `json:"evidence" minLength:"1" maxLength:"256" doc:"who reported it, and how they were recognised"`
	}
}

func (s *Server) freezeDevice(ctx context.Context, in *freezeInput) (issuance.DeviceFrozen, error) {
	if err := s.allow(in.Caller, access.DeviceFreeze); err != nil {
		return issuance.DeviceFrozen{}, err
	}
	return s.use.Issuance.FreezeDevice(ctx, in.request("POST", "/v1/enterprises/"+in.USCC+"/device/freeze"), in.actor, in.USCC, in.Body.Evidence)
}
