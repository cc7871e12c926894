// Package elicence connects the national e-licence system: it checks licence files, authenticates persons and signs with a licence.
//
// Its one promise is that an answer counts only when it is signed by a pinned key of that system, is to this very question, and was given
// now; everything else is no answer. The contract is docs/connectors/elicence.md.
package elicence

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance/ca"
	"sealkeeper/licence/presented"
)

// Kinds of the signed answers; that of an authentication is access.AssertionKind.
const (
	FileCheckKind = "licence-file-check/1"
	SignatureKind = "licence-signature/1"
)

// clockSkew is how far the two clocks may be apart.
const clockSkew = 5 * time.Minute

// Config is what the connector is made of.
type Config struct {
	Client   *wire.Client
	Pinned   []*gm.PublicKey
	Codes    Codes
	Audience string // names this appliance in assertions
	Now      func() time.Time
}

// Connector speaks the contract. It is safe for concurrent use.
type Connector struct{ cfg Config }

// New makes a connector.
func New(cfg Config) *Connector { return &Connector{cfg} }

// FileQuestion asks about a licence file.
type FileQuestion struct {
	ID   string `json:"id"` // 32 hexadecimal digits, fresh
	SM3  string `json:"sm3"`
	File []byte `json:"file"`
}

// FileAnswer is the signed payload.
type FileAnswer struct {
	ID        string    `json:"id"`
	SM3       string    `json:"sm3"`
	Result    string    `json:"result"` // a code
	USCC      string    `json:"uscc,omitempty"`
	Name      string    `json:"name,omitempty"`
	Version   int       `json:"version,omitempty"`
	Current   int       `json:"current_version,omitempty"`
	Status    string    `json:"status,omitempty"` // a code
	Authority string    `json:"authority,omitempty"`
	CheckedAt time.Time `json:"checked_at"`
}

// CheckFile is presented.Elsewhere. Errors: those of packages wire and envelope, ErrCode, wire.ErrGarbage for an answer to something else.
func (c *Connector) CheckFile(ctx context.Context, sm3 string, file []byte) (presented.Answer, error) {
	q := FileQuestion{ID: fresh(), SM3: sm3, File: file}
	var a FileAnswer
	if err := c.ask(ctx, "/v1/licence-files/check", q.ID, q, FileCheckKind, &a); err != nil {
		return presented.Answer{}, fmt.Errorf("national check of licence file %s: %w", sm3, err)
	}
	out, err := c.read(q, a)
	if err != nil {
		return presented.Answer{}, fmt.Errorf("national check of licence file %s: %w", sm3, err)
	}
	return out, nil
}

func (c *Connector) read(q FileQuestion, a FileAnswer) (presented.Answer, error) {
	if a.ID != q.ID || a.SM3 != q.SM3 {
		return presented.Answer{}, fmt.Errorf("an answer to question %.40q about %.64q: %w", a.ID, a.SM3, wire.ErrGarbage)
	}
	if err := c.timely(a.CheckedAt); err != nil {
		return presented.Answer{}, err
	}
	word, err := look(c.cfg.Codes.File, "word on a file", a.Result)
	if err != nil || word != presented.Genuine {
		return presented.Answer{Word: word, USCC: a.USCC, Version: a.Version, CheckedAt: a.CheckedAt.UTC()}, err
	}
	status, err := look(c.cfg.Codes.Status, "status", a.Status)
	if err != nil {
		return presented.Answer{}, err
	}
	if a.Name == "" || a.Version < 1 || a.Current < a.Version {
		return presented.Answer{}, fmt.Errorf("name %.40q, version %d of %d: %w", a.Name, a.Version, a.Current, wire.ErrGarbage)
	}
	return presented.Answer{Word: word, USCC: a.USCC, Name: a.Name, Version: a.Version, Current: a.Current, Status: status, Authority: a.Authority,
		CheckedAt: a.CheckedAt.UTC().Truncate(time.Second)}, nil
}

// Authentication asks that a person be authenticated who is to collect the seals of an enterprise.
type Authentication struct {
	ID        string `json:"id"`
	USCC      string `json:"uscc"`
	Ticket    string `json:"ticket"` // what the person's e-licence showed: single use
	DeviceAlg string `json:"device_alg"`
	DeviceKey []byte `json:"device_key"`
	Audience  string `json:"audience"`
}

// Authenticate returns the assertion that collection takes (access.Bind checks it again, and spends it). Errors as of CheckFile.
func (c *Connector) Authenticate(ctx context.Context, uscc, ticket, alg string, deviceKey []byte) (envelope.Envelope, error) {
	q := Authentication{ID: fresh(), USCC: uscc, Ticket: ticket, DeviceAlg: alg, DeviceKey: deviceKey, Audience: c.cfg.Audience}
	var e envelope.Envelope
	var a access.Assertion
	err := c.call(ctx, "/v1/authentications", q.ID, q, &e)
	if err == nil {
		err = envelope.Open(e, access.AssertionKind, c.cfg.Pinned, &a)
	}
	if err == nil && (a.USCC != uscc || a.Audience != q.Audience || a.DeviceAlg != alg || string(a.DeviceKey) != string(deviceKey)) {
		err = fmt.Errorf("an assertion for %.20q at %.40q: %w", a.USCC, a.Audience, wire.ErrGarbage)
	}
	if err == nil {
		err = c.timely(a.IssuedAt)
	}
	if err != nil {
		return envelope.Envelope{}, fmt.Errorf("licence authentication for %s: %w", uscc, err)
	}
	return e, nil
}

// SignatureOrder asks that a document be signed with an enterprise's licence.
type SignatureOrder struct {
	ID      string `json:"id"`
	USCC    string `json:"uscc"`
	Ticket  string `json:"ticket"`
	SM3     string `json:"sm3"` // of the document
	Purpose string `json:"purpose"`
}

// SignatureAnswer is the signed payload. Value is strict DER SEQUENCE{r,s}: SM2 with SM3, default user ID, over the 32 bytes of the digest.
type SignatureAnswer struct {
	ID          string    `json:"id"`
	USCC        string    `json:"uscc"`
	SM3         string    `json:"sm3"`
	Purpose     string    `json:"purpose"`
	Certificate []byte    `json:"certificate"` // DER, of the licence's key
	Value       []byte    `json:"value"`
	SignedAt    time.Time `json:"signed_at"`
}

// Sign has a document's digest signed with a licence. What comes back was verified under a certificate whose holder is the enterprise. Errors as
// of CheckFile.
func (c *Connector) Sign(ctx context.Context, uscc, ticket, purpose string, sm3 [32]byte) (SignatureAnswer, error) {
	q := SignatureOrder{ID: fresh(), USCC: uscc, Ticket: ticket, SM3: hex.EncodeToString(sm3[:]), Purpose: purpose}
	var a SignatureAnswer
	err := c.ask(ctx, "/v1/licence-signatures", q.ID, q, SignatureKind, &a)
	if err == nil && (a.ID != q.ID || a.USCC != uscc || a.SM3 != q.SM3 || a.Purpose != purpose) {
		err = fmt.Errorf("an answer to question %.40q of %.20q: %w", a.ID, a.USCC, wire.ErrGarbage)
	}
	if err == nil {
		err = c.timely(a.SignedAt)
	}
	if err == nil {
		err = a.verify(sm3)
	}
	if err != nil {
		return SignatureAnswer{}, fmt.Errorf("licence signature of %s: %w", uscc, err)
	}
	return a, nil
}

// verify holds the value against the certificate, whatever the envelope says.
func (a SignatureAnswer) verify(sm3 [32]byte) error {
	cert, err := gm.ParseCertificate(a.Certificate)
	if err != nil {
		return fmt.Errorf("%w: %w", wire.ErrGarbage, err)
	}
	key, err := gm.CertificateKey(cert)
	if err != nil {
		return fmt.Errorf("%w: %w", wire.ErrGarbage, err)
	}
	holder, _, ok := ca.Holder(cert)
	switch {
	case !ok || holder != a.USCC:
		return fmt.Errorf("the certificate's holder is %.20q: %w", holder, wire.ErrGarbage)
	case a.SignedAt.Before(cert.NotBefore) || a.SignedAt.After(cert.NotAfter):
		return fmt.Errorf("the certificate was not valid at %s: %w", a.SignedAt.Format(time.RFC3339), wire.ErrGarbage)
	}
	if err := key.Verify(sm3[:], a.Value); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrGarbage, err)
	}
	return nil
}

// ask calls and opens the signed answer.
func (c *Connector) ask(ctx context.Context, path, id string, in any, kind string, out any) error {
	var e envelope.Envelope
	if err := c.call(ctx, path, id, in, &e); err != nil {
		return err
	}
	return envelope.Open(e, kind, c.cfg.Pinned, out)
}

// call takes no acceptance for an answer: a person or a department waits.
func (c *Connector) call(ctx context.Context, path, id string, in any, e *envelope.Envelope) error {
	status, err := c.cfg.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: path, Key: id, In: in}, e)
	if err == nil && status == http.StatusAccepted {
		return fmt.Errorf("POST %s: accepted, and not answered: %w", path, wire.ErrDown)
	}
	return err
}

func (c *Connector) timely(at time.Time) error {
	if d := c.cfg.Now().Sub(at); d > clockSkew || d < -clockSkew {
		return fmt.Errorf("an answer of %s, which is not now: %w", at.UTC().Format(time.RFC3339), wire.ErrGarbage)
	}
	return nil
}

func fresh() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
