package signer

import "errors"

// The named refusals of this package; those of access, seal, signer/ofd and store pass through unchanged. In the order of law 3.
var (
	// ErrRequestForm: the request itself is incomplete or contradicts itself; no state was looked at.
	ErrRequestForm = errors.New("not a complete signing request")
	// ErrBatchSize: a batch is empty or holds more than MaxBatch requests.
	ErrBatchSize = errors.New("a batch holds 1 to 100 requests")
	// ErrInstitutional: an institution's own seal has no licence; the request names no standing delegation, signed by a ceremony, of this client
	// for this seal.
	ErrInstitutional = errors.New("an institution's seal needs a standing delegation")
	// ErrLicenceInactive: the owner's licence does not allow its seals to be used now.
	ErrLicenceInactive = errors.New("the licence does not allow the seal to be used")
	// ErrSealInactive: the seal is not active (made, suspended, cancelled, superseded, expired).
	ErrSealInactive = errors.New("the seal is not active")
	// ErrCertificate: the present time lies outside the validity of the seal or of its certificate, or the two do not belong together.
	ErrCertificate = errors.New("the seal's certificate does not cover this")
	// ErrNoDocumentKey: the profile needs the seal's P-256 document key, and nobody has made one.
	ErrNoDocumentKey = errors.New("the seal has no document key for this profile")
	// ErrNoPages: a public page was asked for, and this appliance has no address for them.
	ErrNoPages = errors.New("no address for public pages is configured")
	// ErrDocument: the container cannot take the signature; the error of signer/ofd is wrapped beside it and says why.
	ErrDocument = errors.New("the document cannot be sealed as asked")
	// ErrRecord: a record of the log does not give the document it released any more: another document, or damage.
	ErrRecord = errors.New("the record does not fit the document")
	// ErrKeyInside: the seal's key for this profile is in the appliance's token; Sign uses it.
	ErrKeyInside = errors.New("the key of this signature is in the appliance's token")
	// ErrReservations: too many signatures wait for their owners' tokens, of all or of this client.
	ErrReservations = errors.New("too many reservations are open")
	// ErrReservation: no such reservation of this client and request: used, over, or replaced.
	ErrReservation = errors.New("the reservation is used, over, or another request's")
	// ErrSignature: a signature brought for a reservation does not verify against the registered key.
	ErrSignature = errors.New("the signature does not verify against the seal's registered key")
	// ErrOffer: what the appliance would have signed is not what was asked for; nothing was signed.
	ErrOffer = errors.New("the appliance's offer does not fit the request")
	// ErrUnknown: no signature with that number that the caller may see.
	ErrUnknown = errors.New("no such signature")
)
