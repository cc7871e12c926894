package signer

import (
	"errors"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// refusals are the errors that say no to the caller; everything else is trouble of our own and is logged, not recorded as a refusal. The
// first that an error wraps names it: approvals before entitlement, as in the caller's answer, since a forged approval is both.
var refusals = []error{
	ErrRequestForm, ErrInstitutional, ErrLicenceInactive, ErrSealInactive, ErrCertificate, ErrNoDocumentKey, ErrNoAuthority, ErrNoPages,
	access.ErrApprovalMissing, access.ErrApprovalForm, access.ErrApprovalReplayed, access.ErrApprovalAltered, access.ErrApprovalExpired,
	access.ErrApprovalForeign, access.ErrNotEntitled, access.ErrGrantWindow, access.ErrGrantSpent, access.ErrDigestOnly,
	access.ErrDelegationSpent, access.ErrDelegationOutOfBounds, access.ErrDelegationRefused, access.ErrNoDevice,
	store.ErrRequestReused, ErrDocument, ErrKeyInside, ErrReservations, ErrReservation, ErrSignature, keystore.ErrOutside,
}

// refusal is the detail of the record of a refused request.
type refusal struct {
	Act    string `json:"act"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"` // text of the named error
}

// Recorded reports whether an error of Sign or SignBatch was put on record as a refusal.
func Recorded(err error) bool { return naming(err) != nil }

func naming(err error) error {
	for _, named := range refusals {
		if errors.Is(err, named) {
			return named
		}
	}
	return nil
}

// refuse records why a client got nothing. The request's own id is not part of the record: a client that tries again and again makes one
// record a second with a count, not one record a try.
func (s *Signer) refuse(actor access.Actor, r Request, err error) {
	if named := naming(err); named != nil {
		s.refused.Add(1)
		s.cfg.Refuse(audit.Event{Kind: audit.KindRefusal, Actor: actor.Audit(), Subject: cut(r.Seal, 64),
			Detail: refusal{string(access.SignatureMake), cut(r.Kind, 16), named.Error()}})
		return
	}
	s.cfg.Log.Error("signing", "seal", r.Seal, "client", actor.Client, "request", r.ID, "error", err)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }
