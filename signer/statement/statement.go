// Package statement makes the statements that the appliance signs in its own name: receipts, presentations, answers to be kept.
//
// Its one promise is that its key signs nothing but SignedData over a statement that was written here (law 11): the caller names a kind and
// gives a body, and neither bytes, digest nor attributes come in. The content type and the certificate's purpose are its own, so that no
// statement passes for a signed document, nor the other way round.
//
//	Claim ─► canonical JSON {appliance, body, id, issued_at, kind} ─► signer/cms ─► the key ─► [time stamp] ─► Signed
//
// Limits: Sign keeps nothing. Whoever asks commits the statement with what it tells of, and releases it after that (law 2). Reading is
// signer/verify/stated's, which shares nothing with this writer.
package statement

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
)

// The object identifiers of statements. Their arc is a stand-in, as the policy of time stamps is, until the bureau has one registered: what
// makes a statement trusted is the chain of its certificate.
var (
	OIDContent = asn1.ObjectIdentifier{1, 2, 3, 4, 2, 1} // content type of the canonical JSON
	OIDPurpose = asn1.ObjectIdentifier{1, 2, 3, 4, 2, 2} // extended key usage of the key's certificate, critical and alone
)

var (
	// ErrClaim says that a claim has no kind, no identifier or no body that JSON can hold.
	ErrClaim = errors.New("not a complete statement")
	// ErrCertificate says that the certificate is not one for statements, or not valid now.
	ErrCertificate = errors.New("the certificate of the statement key is not usable")
)

// Key signs a whole message and returns strict DER SEQUENCE{r,s}, verified against its registered public key (law 4).
type Key interface {
	Sign(ctx context.Context, message []byte) (value []byte, err error)
}

// Config is what the room is made of.
type Config struct {
	Key         Key
	Certificate []byte   // DER, SM2; its extended key usage critical and OIDPurpose alone
	Chain       [][]byte // enclosed after it, without the root
	Appliance   string   // names who states
	Now         func() time.Time
	Stamp       func(ctx context.Context, sm3 []byte) (token []byte, err error) // nil: nobody stamps
}

// Service makes statements. It is safe for concurrent use.
type Service struct {
	cfg  Config
	cert *gm.Certificate
	by   *cms.Signatory
}

// Claim is what is to be stated.
type Claim struct {
	Kind  string // for example archive-receipt/1
	ID    string // 1..128 characters, chosen by the caller
	Body  any    // what encoding/json makes of it is written with its names in order
	Stamp bool   // under a time stamp; there must be somebody who stamps
}

// Signed is a statement with its signature.
type Signed struct {
	Content  []byte    // the canonical JSON
	IssuedAt time.Time // whole seconds, as stated
	DER      []byte    // SignedData with Content in it
}

// content is what is signed: names in order, at every depth.
type content struct {
	Appliance string          `json:"appliance"`
	Body      json.RawMessage `json:"body"`
	ID        string          `json:"id"`
	IssuedAt  time.Time       `json:"issued_at"`
	Kind      string          `json:"kind"`
}

var (
	kindForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}/[1-9]\d{0,2}$`)
	idForm   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
)

// New checks the certificate. Errors: ErrCertificate, cms.ErrCertificate.
func New(cfg Config) (*Service, error) {
	cert, err := gm.ParseCertificate(cfg.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if err := forStatements(cert); err != nil {
		return nil, err
	}
	by, err := cms.NewSignatory(cms.SM2, cfg.Certificate, cfg.Chain)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, cert: cert, by: by}, nil
}

func forStatements(c *gm.Certificate) error {
	want, err := asn1.Marshal([]asn1.ObjectIdentifier{OIDPurpose})
	if err != nil {
		return err
	}
	for _, e := range c.Extensions {
		if slices.Equal(e.Id, asn1.ObjectIdentifier{2, 5, 29, 37}) && e.Critical && bytes.Equal(e.Value, want) {
			return nil
		}
	}
	return fmt.Errorf("%q is not for statements alone: %w", c.Subject.CommonName, ErrCertificate)
}

// Certificate returns the certificate of the key, DER.
func (s *Service) Certificate() []byte { return s.cfg.Certificate }

// Sign makes a statement now. Nothing is stored. Errors: ErrClaim, ErrCertificate, those of key and time stamp.
func (s *Service) Sign(ctx context.Context, c Claim) (Signed, error) {
	at := s.cfg.Now().UTC().Truncate(time.Second)
	switch {
	case at.Before(s.cert.NotBefore) || at.After(s.cert.NotAfter):
		return Signed{}, fmt.Errorf("not valid at %s: %w", at.Format(time.RFC3339), ErrCertificate)
	case c.Stamp && s.cfg.Stamp == nil:
		return Signed{}, fmt.Errorf("nobody stamps the time: %w", ErrClaim)
	}
	b, err := s.write(c, at)
	if err != nil {
		return Signed{}, err
	}
	draft, err := cms.Prepare(cms.Request{Form: cms.RFC, Algorithm: cms.SM2, Signatory: s.by, Content: b, Digest: gm.SM3(b), ContentType: OIDContent,
		SigningTime: at, SigningCertificateV2: true})
	if err != nil {
		return Signed{}, fmt.Errorf("preparing statement %s: %w", c.ID, err)
	}
	der, err := s.sign(ctx, draft, c.Stamp)
	if err != nil {
		return Signed{}, fmt.Errorf("signing statement %s: %w", c.ID, err)
	}
	return Signed{Content: b, IssuedAt: at, DER: der}, nil
}

func (s *Service) sign(ctx context.Context, draft *cms.Draft, stamped bool) ([]byte, error) {
	value, err := s.cfg.Key.Sign(ctx, draft.Attributes())
	if err != nil {
		return nil, err
	}
	var token []byte
	if stamped {
		d := gm.SM3(value)
		if token, err = s.cfg.Stamp(ctx, d[:]); err != nil {
			return nil, fmt.Errorf("stamping the time: %w", err)
		}
	}
	return draft.Assemble(value, token)
}

// write makes the canonical JSON: encoding/json writes the names of maps in order, and numbers pass as they are.
func (s *Service) write(c Claim, at time.Time) ([]byte, error) {
	if !kindForm.MatchString(c.Kind) || !idForm.MatchString(c.ID) || c.Body == nil {
		return nil, fmt.Errorf("kind %.80q, identifier %.140q: %w", c.Kind, c.ID, ErrClaim)
	}
	raw, err := json.Marshal(c.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClaim, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var ordered map[string]any
	if err := d.Decode(&ordered); err != nil || ordered == nil {
		return nil, fmt.Errorf("the body is no JSON object: %w", ErrClaim)
	}
	if raw, err = json.Marshal(ordered); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClaim, err)
	}
	return json.Marshal(content{Appliance: s.cfg.Appliance, Body: raw, ID: c.ID, IssuedAt: at, Kind: c.Kind})
}
