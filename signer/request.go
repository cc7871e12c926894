package signer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/signer/placement"
)

// Kinds of request.
const (
	KindDigest = access.KindDigest // document digest in, SES_Signature out; marked 未见原文
	KindOFD    = access.KindOFD    // OFD package in, sealed package out
	KindPDF    = access.KindPDF    // PDF in, PDF with one more revision out
	KindCMS    = access.KindCMS    // content or its digest in, SignedData out
)

// MaxBatch is how many requests one batch may hold.
const MaxBatch = 100

// MaxPropertyInfo bounds the propertyInfo that a client may state for kind digest, in bytes.
const MaxPropertyInfo = 256

// Request asks for one signature.
type Request struct {
	ID         string   // Idempotency-Key, 1..128 printable ASCII characters
	BodyDigest [32]byte // SM3 over method, path and body: the same ID with another one is store.ErrRequestReused
	Kind       string   // one of the kinds above
	Profile    string   // how the signature is built, see Profiles; empty for the kind's first
	Seal       string   // esID

	Document []byte         // ofd, pdf: as received; cms: the content to attach. Must not be modified until Sign returns
	Plan     placement.Plan // ofd, pdf: where the seal's picture stands
	Digest   [32]byte       // digest, cms without content: digest of the document, which stays with the client: SM3, or SHA-256 for the P-256 profiles

	PropertyInfo  string // digest: what the client will embed the signature under, printable ASCII; "digest" when empty
	WholeDocument bool   // ofd: protect the list of signatures too, so that nobody can sign after this one
	Integrity     bool   // ofd: write the integrity list of GM/T 0099, so that nothing can be added, with a signature of its own by the same key
	Reason        string // pdf: shown by readers; at most 256 bytes
	Location      string // pdf: the same
	Timestamp     bool   // put a time stamp over the signature value
	Page          bool   // publish the signature at a page that nobody can guess; pdf: with a QR code beside the stamp

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
	default:
		fault = r.checkKind()
	}
	if fault == "" {
		return nil
	}
	return fmt.Errorf("%s: %w", fault, ErrRequestForm)
}

// checkKind says what the kind does not take, or nothing.
func (r Request) checkKind() string {
	p, known := r.profile()
	document, digest, placed := len(r.Document) > 0, r.Digest != [32]byte{}, !r.Plan.Empty()
	switch {
	case !known:
		return "kind or profile"
	case r.Kind == KindDigest && (document || placed || !digest):
		return "kind digest takes a digest and no document"
	case r.Kind == KindCMS && (document == digest || placed):
		return "kind cms takes either content or a digest"
	case r.Kind == KindOFD && placed && !p.placed:
		return "profile " + p.name + " shows no seal, so it has no place"
	case (r.Kind == KindOFD || r.Kind == KindPDF) && (!document || digest || !placed && p.placed):
		return "kind " + r.Kind + " takes a document and where the seal stands"
	case r.Kind != KindDigest && r.PropertyInfo != "" || len(r.PropertyInfo) > MaxPropertyInfo || !printable(r.PropertyInfo):
		return "property_info: printable ASCII of at most 256 bytes, kind digest alone"
	case r.Kind != KindOFD && (r.WholeDocument || r.Integrity):
		return "mode whole and integrity are of kind ofd"
	case r.Kind != KindPDF && r.Reason+r.Location != "" || len(r.Reason) > 256 || len(r.Location) > 256:
		return "reason and location: at most 256 bytes, kind pdf alone"
	}
	return ""
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e })
}

// unseen reports whether the document stays with the client (未见原文).
func (r Request) unseen() bool { return r.Digest != [32]byte{} }

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
	Request      string            `json:"request"` // Idempotency-Key
	Kind         string            `json:"kind"`
	Seal         string            `json:"seal"` // esID
	USCC         string            `json:"uscc"`
	ESL          string            `json:"esl_sm3"` // of the seal embedded
	Certificate  string            `json:"certificate_sha256"`
	Licence      int               `json:"licence_version"`
	Client       string            `json:"client"`
	Grant        string            `json:"grant"`
	Purpose      string            `json:"purpose"`
	Document     string            `json:"document_sm3"`     // as received; where it stayed with the client: the digest given
	Unseen       bool              `json:"unseen,omitempty"` // 未见原文: the appliance never saw the document
	Profile      string            `json:"profile,omitempty"`
	Options      *Options          `json:"options,omitempty"` // what else the layout depends on
	Plan         *placement.Plan   `json:"plan,omitempty"`    // as approved, when it holds more than stamps
	Stamps       []placement.Stamp `json:"stamps,omitempty"`  // what the plan came to
	Placement    string            `json:"placement_sm3"`
	Provider     *Provider         `json:"provider,omitempty"` // of the container; none for kind digest
	Time         time.Time         `json:"time"`               // timeInfo
	DataHash     string            `json:"data_hash"`
	PropertyInfo string            `json:"property_info"`
	Signature    []byte            `json:"signature"`                  // strict DER SEQUENCE{r,s}
	Timestamp    []byte            `json:"timestamp,omitempty"`        // TimeStampToken over Signature, as received
	NoTimestamp  string            `json:"timestamp_absent,omitempty"` // why there is none though one was asked for
	Page         string            `json:"page,omitempty"`             // of /v/…
	// Of an integrity list (GM/T 0099): the second signature, over signed attributes of the list's digest, and its time stamp.
	EntriesSignature []byte          `json:"entries_signature,omitempty"`
	EntriesTimestamp []byte          `json:"entries_timestamp,omitempty"`
	Consent          json.RawMessage `json:"consent"` // access.Evidence
	// KeyToken is the serial of the owner's token that signed; empty for keys in the appliance's.
	KeyToken string `json:"key_token,omitempty"`
}

// Options are the settings of appliance and request that a layout depends on beside the document.
type Options struct {
	WholeDocument bool   `json:"whole_document,omitempty"`
	Integrity     bool   `json:"integrity,omitempty"`
	Filter        string `json:"filter,omitempty"`     // pdf
	SubFilter     string `json:"sub_filter,omitempty"` // pdf
	OIDs          string `json:"oids,omitempty"`       // pdf, profile gm: gm or rfc
	Name          string `json:"name,omitempty"`       // pdf: who signs
	Reason        string `json:"reason,omitempty"`     // pdf
	Location      string `json:"location,omitempty"`   // pdf
	Reserve       int    `json:"reserve,omitempty"`    // pdf: bytes kept for the signature
	URL           string `json:"url,omitempty"`        // of the public page; pdf: in the QR code
}

// Released is a signature that left, with the proof of its record.
type Released struct {
	Document  []byte // the sealed document; where none came in, the same as Signature
	Signature []byte // SES_Signature or SignedData, DER
	Seal      Span   // of Signature: the seal, the same bytes in every signature with Record.ESL; empty for SignedData
	Record    Record
	PageURL   string    // of the public page, empty for none
	Log       string    // identifier of the log
	Index     uint64    // of the record; also the signature's number
	Leaf      [32]byte  // leaf hash of the record
	Recorded  time.Time // the record's own time
	Duplicate bool      // the same request was answered before; these are the same bytes
}

// Span is a part of some bytes.
type Span struct{ From, To int }
