package access

import "errors"

// The named refusals. Nothing was changed or signed when one of them is returned; details are wrapped around them and never tell an
// unentitled caller about a seal's, a licence's or another client's state.
var (
	// ErrNotEntitled: the caller may not do this. Unknown client, disabled client, wrong role, unknown seal and missing grant are the
	// same answer.
	ErrNotEntitled = errors.New("not entitled")
	// ErrClientForm: a client record is incomplete or contradicts itself.
	ErrClientForm = errors.New("not a complete client record")
	// ErrClientExists: this certificate key is registered already.
	ErrClientExists = errors.New("a client with this certificate key is registered already")
	// ErrTwoRoles: the person already holds another operator role (三员: system, security and audit stay apart).
	ErrTwoRoles = errors.New("no person holds two operator roles")
	// ErrUnknown: no such client, grant or delegation; only those who may read the list get this answer.
	ErrUnknown = errors.New("no such client, grant or delegation")

	// ErrGrantForm: a grant is incomplete or contradicts itself.
	ErrGrantForm = errors.New("not a complete grant")
	// ErrGrantExists: the grant's identifier is taken.
	ErrGrantExists = errors.New("a grant with this identifier exists already")
	// ErrGrantWindow: the client's grant on this seal is not in force now.
	ErrGrantWindow = errors.New("outside the window of the grant")
	// ErrGrantSpent: the grant's count is used up.
	ErrGrantSpent = errors.New("the count of the grant is spent")
	// ErrDigestOnly: a signature over a bare digest needs a grant that says so, and never uses the legal representative's seal.
	ErrDigestOnly = errors.New("signing a digest without its document is not allowed here")

	// ErrApprovalMissing: neither an approval nor a delegation of the owner came with the request.
	ErrApprovalMissing = errors.New("the owner's approval is missing")
	// ErrApprovalReplayed: the approval's nonce was spent before.
	ErrApprovalReplayed = errors.New("the approval was used before")
	// ErrApprovalAltered: the signature does not verify under the owner's device key.
	ErrApprovalAltered = errors.New("the approval's signature does not verify under the owner's device key")
	// ErrApprovalExpired: the approval's time is over.
	ErrApprovalExpired = errors.New("the approval has expired")
	// ErrApprovalForeign: the approval is for another seal, client, document, placement, purpose, request, or by another device.
	ErrApprovalForeign = errors.New("the approval covers something else")

	// ErrDelegationExists: the delegation's identifier is taken.
	ErrDelegationExists = errors.New("a delegation with this identifier exists already")
	// ErrDelegationSpent: the delegation's count is used up.
	ErrDelegationSpent = errors.New("the count of the delegation is spent")
	// ErrDelegationOutOfBounds: no delegation of this client, or not for this seal, kind, purpose or time, or withdrawn.
	ErrDelegationOutOfBounds = errors.New("outside the bounds of the delegation")
	// ErrDelegationRefused: the legal representative's seal (法定代表人章) is never delegated.
	ErrDelegationRefused = errors.New("the legal representative's seal is not delegated")

	// ErrStandingForm: a standing delegation is incomplete, contradicts itself, or is not for an institution's own seal.
	ErrStandingForm = errors.New("not a complete standing delegation for an institution's seal")
	// ErrNoStanding: no standing delegation of this name for this client and this institution's seal.
	ErrNoStanding = errors.New("no such standing delegation of this client for this seal")

	// ErrNoDevice: the enterprise has bound no device, so nobody can approve yet.
	ErrNoDevice = errors.New("the enterprise has bound no device")
	// ErrDeviceKey: not a device key this service accepts (P-256 or SM2, on the curve).
	ErrDeviceKey = errors.New("not a usable device key")

	// ErrAssertionForm: the identity assertion lacks something or holds a value without meaning.
	ErrAssertionForm = errors.New("not a complete identity assertion")
	// ErrAssertionForeign: the assertion is for another enterprise, audience or role.
	ErrAssertionForeign = errors.New("the identity assertion is for something else")
	// ErrAssertionExpired: the assertion is over, not yet valid, or valid for too long.
	ErrAssertionExpired = errors.New("the identity assertion is not valid now")
	// ErrAssertionReplayed: the assertion was used before.
	ErrAssertionReplayed = errors.New("the identity assertion was used before")
)
