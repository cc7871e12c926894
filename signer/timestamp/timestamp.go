// Package timestamp asks for and issues the time stamps of RFC 3161 (GM/T 0033, GB/T 20520): the messages in both directions, an
// authority whose key sits elsewhere, and a client for an authority outside.
//
// Its one promise is that a token that leaves here, issued or fetched, has been checked: imprint, nonce, policy, signature, certificate
// and time. Authority and Client both offer
//
//	Stamp(ctx, imprint algorithm, digest) (token, error)
//
// Limits: imprints by SM3 and SHA-256; the authority signs with SM2 or ECDSA P-256; no extension of RFC 3161 is known; the client asks
// once and never again, what to do without a stamp is its caller's policy.
package timestamp

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"sealkeeper/signer/verify/signeddata"
)

// Media types of RFC 3161 §3.4.
const (
	TypeQuery = "application/timestamp-query"
	TypeReply = "application/timestamp-reply"
)

// Sizes in bytes beyond which a query or a reply is refused unread.
const (
	MaxQuery = 4 << 10
	MaxReply = signeddata.MaxTokenSize + 4<<10
)

// Imprint is the algorithm of the digest that is stamped.
type Imprint int

// The imprint algorithms.
const (
	SM3 Imprint = iota + 1
	SHA256
)

var imprintOIDs = map[Imprint]asn1.ObjectIdentifier{
	SM3:    {1, 2, 156, 10197, 1, 401},
	SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
}

// OID returns the dotted object identifier of the digest algorithm, empty for an unknown one.
func (i Imprint) OID() string { return imprintOIDs[i].String() }

// String returns the algorithm's common name.
func (i Imprint) String() string { return signeddata.Name(i.OID()) }

const digestSize = 32 // of both algorithms

var (
	// ErrQuery says that bytes are not a TimeStampReq, or one that cannot be made.
	ErrQuery = errors.New("not a usable time-stamp request")
	// ErrReply says that bytes are not a TimeStampResp.
	ErrReply = errors.New("not a time-stamp response")
)

// Failure is one bit of PKIFailureInfo (RFC 3161 §2.4.2).
type Failure int

// The failures that RFC 3161 defines, by their bit.
const (
	NoFailure           Failure = -1
	BadAlg              Failure = 0
	BadRequest          Failure = 2
	BadDataFormat       Failure = 5
	TimeNotAvailable    Failure = 14
	UnacceptedPolicy    Failure = 15
	UnacceptedExtension Failure = 16
	AddInfoNotAvailable Failure = 17
	SystemFailure       Failure = 25
)

var failureNames = map[Failure]string{NoFailure: "no reason given", BadAlg: "badAlg", BadRequest: "badRequest", BadDataFormat: "badDataFormat",
	TimeNotAvailable: "timeNotAvailable", UnacceptedPolicy: "unacceptedPolicy", UnacceptedExtension: "unacceptedExtension",
	AddInfoNotAvailable: "addInfoNotAvailable", SystemFailure: "systemFailure"}

// String returns the name RFC 3161 gives the bit.
func (f Failure) String() string {
	if n, ok := failureNames[f]; ok {
		return n
	}
	return fmt.Sprintf("failure %d", int(f))
}

// Status values of PKIStatus (RFC 3161 §2.4.2).
const (
	StatusGranted         = 0
	StatusGrantedWithMods = 1
	StatusRejection       = 2
)

// Refusal is an authority's word that it gives no token. Every refusal is ErrRefused.
type Refusal struct {
	Status  int
	Failure Failure
	Text    string
}

// ErrRefused says that an authority answered and refused; a Refusal in the chain says why.
var ErrRefused = errors.New("the time-stamp authority refused")

// Error names status, failure and the authority's own words.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%v: status %d, %v: %q", ErrRefused, r.Status, r.Failure, r.Text)
}

// Is makes every Refusal an ErrRefused.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(f Failure, format string, args ...any) *Refusal {
	return &Refusal{StatusRejection, f, fmt.Sprintf(format, args...)}
}

// Query is a TimeStampReq.
type Query struct {
	Imprint Imprint
	Digest  []byte   // 32 bytes
	Policy  string   // dotted; empty leaves the choice to the authority
	Nonce   *big.Int // nil without
	CertReq bool     // the token is to enclose the authority's certificates
}

// Reply is a TimeStampResp.
type Reply struct {
	Status  int
	Text    string // of statusString, the first line
	Failure Failure
	Token   []byte // TimeStampToken as received; nil unless Status grants
}
