package signer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/signer/ofd"
)

// Kinds of request.
const (
	KindDigest = access.KindDigest // document digest in, SES_Signature out; marked 未见原文
	KindOFD    = access.KindOFD    // OFD package in, sealed package out
)

// MaxBatch is how many requests one batch may hold.
const MaxBatch = 100

// Request asks for one signature.
type Request struct {
	ID         string   // Idempotency-Key, 1..128 printable ASCII characters
	BodyDigest [32]byte // SM3 over method, path and body: the same ID with another one is store.ErrRequestReused
	Kind       string   // KindDigest or KindOFD
	Seal       string   // esID

	Document []byte      // KindOFD: the package as received; must not be modified until Sign returns
	Stamps   []ofd.Stamp // KindOFD: where the seal's picture stands
	Digest   [32]byte    // KindDigest: SM3 of the document, which stays with the client

	Purpose    string                 // stated by the client, shown to the owner
	Approval   *access.SignedApproval // one of the two
	Delegation string                 // identifier of a registered delegation
}

// check refuses what no state could make right.
func (r Request) check() error {
	fault := ""
	switch {
	case r.ID == "" || len(r.ID) > 128 || strings.ContainsFunc(r.ID, func(c rune) bool { return c < 0x20 || c > 0x7e }):
		fault = "Idempotency-Key"
	case r.Seal == "" || len(r.Seal) > 64:
		fault = "seal"
	case r.Purpose == "":
		fault = "purpose"
	case r.Approval != nil && r.Delegation != "":
		fault = "both an approval and a delegation"
	case r.Kind == KindDigest && (len(r.Document) > 0 || len(r.Stamps) > 0 || r.Digest == [32]byte{}):
		fault = "kind digest takes a digest and nothing else"
	case r.Kind == KindOFD && (len(r.Document) == 0 || len(r.Stamps) == 0 || r.Digest != [32]byte{}):
		fault = "kind ofd takes a document and its stamps"
	case r.Kind != KindDigest && r.Kind != KindOFD:
		fault = "kind"
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", fault, ErrRequestForm)
}

func (r Request) consent() access.Consent {
	return access.Consent{Approval: r.Approval, Delegation: r.Delegation}
}

// Provider is who the container names as the maker of the signature.
type Provider struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Company string `json:"company,omitempty"`
}

// Record is the detail of a signature's audit record. It holds every variable field of what was released, so that the released bytes
// follow from the document and the record alone. Digests are lower-case hexadecimal, times whole seconds in UTC.
type Record struct {
	Request      string          `json:"request"` // Idempotency-Key
	Kind         string          `json:"kind"`
	Seal         string          `json:"seal"` // esID
	USCC         string          `json:"uscc"`
	ESL          string          `json:"esl_sm3"` // of the seal embedded
	Certificate  string          `json:"certificate_sha256"`
	Licence      int             `json:"licence_version"`
	Client       string          `json:"client"`
	Grant        string          `json:"grant"`
	Purpose      string          `json:"purpose"`
	Document     string          `json:"document_sm3"`     // as received; kind digest: the digest given
	Unseen       bool            `json:"unseen,omitempty"` // 未见原文: the appliance never saw the document
	Stamps       []ofd.Stamp     `json:"stamps,omitempty"`
	Placement    string          `json:"placement_sm3"`
	Provider     *Provider       `json:"provider,omitempty"` // of the container; none for kind digest
	Time         time.Time       `json:"time"`               // timeInfo
	DataHash     string          `json:"data_hash"`
	PropertyInfo string          `json:"property_info"`
	Signature    []byte          `json:"signature"` // strict DER SEQUENCE{r,s}
	Consent      json.RawMessage `json:"consent"`   // access.Evidence
}

// Released is a signature that left, with the proof of its record.
type Released struct {
	Document  []byte // KindOFD: the sealed package; KindDigest: the same as Signature
	Signature []byte // SES_Signature, DER
	Record    Record
	Log       string    // identifier of the log
	Index     uint64    // of the record; also the signature's number
	Leaf      [32]byte  // leaf hash of the record
	Recorded  time.Time // the record's own time
	Duplicate bool      // the same request was answered before; these are the same bytes
}
