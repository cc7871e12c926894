package signer

import (
	"errors"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// refusals are the errors that say no to the caller; everything else is trouble of our own and is logged, not recorded as a refusal. The
// first that an error wraps names it: approvals before entitlement, as in the caller's answer, since a forged approval is both.
var refusals = []error{
	ErrRequestForm, ErrInstitutional, ErrLicenceInactive, ErrSealInactive, ErrCertificate,
	access.ErrApprovalMissing, access.ErrApprovalForm, access.ErrApprovalReplayed, access.ErrApprovalAltered, access.ErrApprovalExpired,
	access.ErrApprovalForeign, access.ErrNotEntitled, access.ErrGrantWindow, access.ErrGrantSpent, access.ErrDigestOnly,
	access.ErrDelegationSpent, access.ErrDelegationOutOfBounds, access.ErrDelegationRefused, access.ErrNoDevice,
	store.ErrRequestReused, ErrDocument,
}

// refusal is the detail of the record of a refused request.
type refusal struct {
	Act     string `json:"act"`
	Kind    string `json:"kind"`
	Request string `json:"request"`
	Reason  string `json:"reason"` // text of the named error
}

// refuse records why a client got nothing.
func (s *Signer) refuse(actor access.Actor, r Request, err error) {
	for _, named := range refusals {
		if errors.Is(err, named) {
			s.refused.Add(1)
			s.cfg.Refuse(audit.Event{Kind: "refusal", Actor: actor.Audit(), Subject: cut(r.Seal, 64),
				Detail: refusal{string(access.SignatureMake), cut(r.Kind, 16), cut(r.ID, 128), named.Error()}})
			return
		}
	}
	s.cfg.Log.Error("signing", "seal", r.Seal, "client", actor.Client, "request", r.ID, "error", err)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }
