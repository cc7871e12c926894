package client

import (
	"context"
	"time"
)

// Seal is the record of an issued seal (电子印章).
type Seal struct {
	ESID           string    `json:"esid"`
	USCC           string    `json:"uscc"`
	Enterprise     string    `json:"enterprise"`
	Type           string    `json:"type"`
	Name           string    `json:"name"`
	State          string    `json:"state"`
	Before         string    `json:"before,omitempty"`
	Holds          []Hold    `json:"holds,omitempty"`
	Key            string    `json:"key"` // CKA_ID, hexadecimal
	Order          string    `json:"order"`
	LicenceVersion int       `json:"licence_version"`
	Impression     string    `json:"impression"`
	NotBefore      time.Time `json:"not_before"`
	NotAfter       time.Time `json:"not_after"`
	CertSHA256     string    `json:"cert_sha256"`
	ESLSHA256      string    `json:"esl_sha256"`
	Institutional  bool      `json:"institutional,omitempty"`
	MadeAt         time.Time `json:"made_at"`
	CollectedAt    time.Time `json:"collected_at,omitzero"`
	EndedAt        time.Time `json:"ended_at,omitzero"`
	EndReason      string    `json:"end_reason,omitempty"`
	Edition        int       `json:"edition,omitempty"`     // counts the seals that came in one another's place
	Replaces       string    `json:"replaces,omitempty"`    // the edition before
	ReplacedBy     string    `json:"replaced_by,omitempty"` // the edition that superseded this one
	// Document is the companion P-256 key, nil where there is none.
	Document *DocumentKey `json:"document_key,omitempty"`
}

// DocumentKey is a seal's companion key for formats that know no SM2.
type DocumentKey struct {
	Key        string    `json:"key"`
	CertSHA256 string    `json:"cert_sha256"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	Since      time.Time `json:"since"`
}

// Hold is one reason for which a seal is suspended.
type Hold struct {
	Reason   string    `json:"reason"`
	Evidence string    `json:"evidence,omitempty"`
	By       Actor     `json:"by"`
	At       time.Time `json:"at"`
}

// Actor is who did something, as records name it.
type Actor struct {
	Role string `json:"role"`
	ID   string `json:"id"`
}

// Attribute is one attribute of a key as the token reported it.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"` // true, false, hexadecimal, or unknown
}

// Birth is the evidence of a key's generation.
type Birth struct {
	ID         string      `json:"id"`
	Label      string      `json:"label"`
	Algorithm  string      `json:"algorithm"`
	Public     []byte      `json:"public,omitempty"`
	Attributes []Attribute `json:"attributes"`
	ValueRead  string      `json:"value_read"` // what came of trying to read the private value
	Challenge  []byte      `json:"challenge,omitempty"`
	Response   []byte      `json:"response,omitempty"`
	Token      Token       `json:"token"`
	Time       time.Time   `json:"time"`
}

// SealWithKey is a seal and the evidence of its key.
type SealWithKey struct {
	Seal Seal  `json:"seal"`
	Key  Birth `json:"key"`
	// Document is the birth of the companion key, nil where there is none.
	Document *Birth `json:"document_key,omitempty"`
}

// Seals lists the seals of an enterprise that the caller may see.
func (c *Client) Seals(ctx context.Context, uscc string) (Page[Seal], error) {
	return get[Page[Seal]](ctx, c, at("/v1/enterprises", uscc, "/seals"), nil)
}

// Seal returns a seal with the evidence of its key.
func (c *Client) Seal(ctx context.Context, esid string) (SealWithKey, error) {
	return get[SealWithKey](ctx, c, at("/v1/seals", esid), nil)
}

// Paper is a paper that the bureau owes or has issued.
type Paper struct {
	ID      string       `json:"id"`
	Kind    string       `json:"kind"` // licence, made or cancelled
	USCC    string       `json:"uscc"`
	Version int          `json:"version,omitempty"`
	ESID    string       `json:"esid,omitempty"`
	Issuer  string       `json:"issuer,omitempty"`
	Since   time.Time    `json:"since"`
	Issued  *PaperIssued `json:"issued,omitempty"` // nil while it is owed
}

// PaperIssued says what a paper became.
type PaperIssued struct {
	At       time.Time `json:"at"`
	SM3      string    `json:"sm3"`
	Size     int       `json:"size"`
	Seal     string    `json:"seal"`
	Standing string    `json:"standing"`
	Entry    uint64    `json:"entry"`
}

// SealPapers lists the certificates of a seal, issued or owed.
func (c *Client) SealPapers(ctx context.Context, esid string) (Page[Paper], error) {
	return get[Page[Paper]](ctx, c, at("/v1/seals", esid, "/certificates"), nil)
}

// SealPaper returns a certificate of a seal, OFD: kind made or cancelled.
func (c *Client) SealPaper(ctx context.Context, esid, kind string) ([]byte, error) {
	return c.file(ctx, at("/v1/seals", esid, "/certificates/"+kind))
}

// LicenceFile returns the document of a licence as it is now, OFD.
func (c *Client) LicenceFile(ctx context.Context, uscc string) ([]byte, error) {
	return c.file(ctx, at("/v1/licences", uscc, "/file"))
}

// ESL returns the seal itself, DER SESeal (GB/T 38540).
func (c *Client) ESL(ctx context.Context, esid string) ([]byte, error) {
	return c.file(ctx, at("/v1/seals", esid, "/esl"))
}

// Certificate returns the seal's certificate, DER.
func (c *Client) Certificate(ctx context.Context, esid string) ([]byte, error) {
	return c.file(ctx, at("/v1/seals", esid, "/certificate"))
}

// DocumentCertificate returns the certificate of the seal's P-256 document key, DER.
func (c *Client) DocumentCertificate(ctx context.Context, esid string) ([]byte, error) {
	return c.file(ctx, at("/v1/seals", esid, "/document-certificate"))
}

// EquipSeal gives an active seal a P-256 document key and returns the seal with it.
func (c *Client) EquipSeal(ctx context.Context, key, esid string) (Seal, error) {
	return post[Seal](ctx, c, at("/v1/seals", esid, "/document-key"), key, nil)
}

// SealVerb is what can be done to a seal.
type SealVerb string

// The verbs.
const (
	Suspend SealVerb = "suspend"
	Resume  SealVerb = "resume"
	Cancel  SealVerb = "cancel"
)

// Reason says why a seal changes its state, and what shows it.
type Reason struct {
	Reason   string `json:"reason"` // from the appliance's closed list
	Evidence string `json:"evidence,omitempty"`
}

// ChangeSeal suspends, resumes or cancels a seal and returns it as it is afterwards.
func (c *Client) ChangeSeal(ctx context.Context, key, esid string, verb SealVerb, why Reason) (Seal, error) {
	return post[Seal](ctx, c, at("/v1/seals", esid, "/", string(verb)), key, why)
}
