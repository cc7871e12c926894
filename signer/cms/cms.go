// Package cms writes SignedData of GB/T 35275 (GM/T 0010) and RFC 5652 around a signature that a key elsewhere makes.
//
// Its one promise is that a key is only ever shown signed attributes that were built here from a document's digest (law 11): no call
// takes attributes, and no signature leaves that does not verify under the certificate it is to stand beside (law 4).
//
//	Request ─ Prepare ─► Draft ─ Attributes ─► the key signs ─ Assemble(value, time stamp) ─► ContentInfo in DER
//
// Limits: bytes in, bytes out, without key, clock or network; one signer; SM2 with SM3, ECDSA P-256 and RSA-2048 with SHA-256. Reading
// is signer/verify/signeddata's, which shares nothing with this writer.
package cms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
)

var (
	// ErrRequest says that a request is not complete or contradicts itself.
	ErrRequest = errors.New("request for SignedData is not usable")
	// ErrDigest says that the digest is missing, or not that of the content given with it.
	ErrDigest = errors.New("digest is not that of the content")
	// ErrCertificate says that a certificate cannot be read, or holds another kind of key than the algorithm asks for.
	ErrCertificate = errors.New("certificate does not fit")
	// ErrSignature says that the value handed to Assemble does not verify. Nothing is assembled.
	ErrSignature = errors.New("signature value does not verify")
	// ErrTimestamp says that the bytes handed to Assemble as a time stamp are not one ContentInfo in DER.
	ErrTimestamp = errors.New("not a time-stamp token")
)

// Form chooses the family of content types.
type Form int

// The forms. They differ in object identifiers and version, not in what is signed.
const (
	GM  Form = iota // 1.2.156.10197.6.1.4.2.x, version 1 (GB/T 35275 §5 and §8)
	RFC             // 1.2.840.113549.1.7.x, version 1 for data and 3 for other content (RFC 5652 §5.1)
)

// Algorithm is the signer's kind of key together with its digest.
type Algorithm int

// The algorithms.
const (
	SM2       Algorithm = iota // SM2 with SM3, default user ID
	ECDSAP256                  // ECDSA on P-256 with SHA-256
	RSA2048                    // RSA PKCS #1 v1.5, 2048 bits and more, with SHA-256
)

// OIDTSTInfo is the content type of a time stamp (RFC 3161 §2.4.2).
var OIDTSTInfo = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}

// Request says what a SignedData is to be.
type Request struct {
	Form        Form
	Algorithm   Algorithm
	Certificate []byte     // of the signer, DER
	Chain       [][]byte   // further certificates to enclose, in this order after the signer's
	Signatory   *Signatory // in place of the two, for a signer who signs again and again

	Digest      [32]byte              // of the content: plain SM3 (no Z) or SHA-256; becomes messageDigest
	Content     []byte                // nil: detached. Checked against Digest
	ContentType asn1.ObjectIdentifier // nil: data of the form

	SigningTime          time.Time // attribute signingTime, whole seconds; zero leaves it out, as PAdES asks
	SigningCertificateV2 bool      // attribute signingCertificateV2 (RFC 5035 §3), as PAdES asks

	WithoutCertificates bool // enclose none, as RFC 3161 §2.4.1 asks of a stamp that was requested without

	SM2WithSM3 bool // SM2: name the signature algorithm 1.2.156.10197.1.501 and not 1.2.156.10197.1.301.1
	Null       bool // write NULL parameters in algorithm identifiers, for verifiers that insist on them

	// DigestContent makes the attribute-less shape of some OFD products: the content is Digest itself, enclosed and signed as it stands
	// (GB/T 35275 §8.3 without attributes). 32 bytes cannot hold any other structure that the key signs.
	DigestContent bool
}

// Signatory is a signer's certificate with those to enclose after it, read and checked once for many requests. It is immutable.
type Signatory struct {
	algorithm   Algorithm
	certificate []byte
	chain       [][]byte
	parsed      *gm.Certificate
}

// NewSignatory checks the certificates. Errors: ErrCertificate.
func NewSignatory(a Algorithm, certificate []byte, chain [][]byte) (*Signatory, error) {
	parsed, err := gm.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate of the signer: %w: %w", ErrCertificate, err)
	}
	if err := a.fits(parsed); err != nil {
		return nil, err
	}
	for i, c := range chain {
		if _, err := gm.ParseCertificate(c); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w: %w", i+1, ErrCertificate, err)
		}
	}
	return &Signatory{a, certificate, chain, parsed}, nil
}

// Draft is a SignedData that waits for its signature value. It is immutable.
type Draft struct {
	req     Request
	signer  *gm.Certificate
	message []byte
}

// Prepare checks a request and builds what is to be signed. Errors: ErrRequest, ErrDigest, ErrCertificate.
func Prepare(r Request) (*Draft, error) {
	if r.Form != GM && r.Form != RFC || r.Algorithm < SM2 || r.Algorithm > RSA2048 {
		return nil, fmt.Errorf("form %d, algorithm %d: %w", r.Form, r.Algorithm, ErrRequest)
	}
	if err := r.checkContent(); err != nil {
		return nil, err
	}
	by, err := r.signatory()
	if err != nil {
		return nil, err
	}
	r.Certificate, r.Chain = by.certificate, by.chain
	d := &Draft{req: r, signer: by.parsed}
	if r.DigestContent {
		d.req.Content = bytes.Clone(r.Digest[:])
		d.message = d.req.Content
		return d, nil
	}
	if d.message, err = d.attributes(); err != nil {
		return nil, fmt.Errorf("building signed attributes: %w: %w", ErrRequest, err)
	}
	return d, nil
}

func (r Request) signatory() (*Signatory, error) {
	switch {
	case r.Signatory == nil:
		return NewSignatory(r.Algorithm, r.Certificate, r.Chain)
	case r.Certificate != nil || r.Chain != nil || r.Signatory.algorithm != r.Algorithm:
		return nil, fmt.Errorf("a signatory and certificates of another: %w", ErrRequest)
	}
	return r.Signatory, nil
}

func (r Request) checkContent() error {
	switch {
	case r.Digest == [32]byte{}:
		return fmt.Errorf("no digest: %w", ErrDigest)
	case r.DigestContent && (r.Content != nil || r.ContentType != nil || !r.SigningTime.IsZero() || r.SigningCertificateV2):
		return fmt.Errorf("digest as content excludes content and attributes: %w", ErrRequest)
	case r.DigestContent && r.Digest[0] == 0x31 && r.Digest[1] == 0x1E:
		// Readers that fear a mix-up with attributes refuse content that begins like a SET of its own length.
		return fmt.Errorf("digest as content looks like attributes: %w", ErrRequest)
	case r.Content != nil && r.Algorithm.digest(r.Content) != r.Digest:
		return ErrDigest
	case r.SigningTime.Year() > 9999:
		return fmt.Errorf("signing time: %w", ErrRequest)
	}
	return nil
}

func (a Algorithm) digest(b []byte) [32]byte {
	if a == SM2 {
		return gm.SM3(b)
	}
	return sha256.Sum256(b)
}

func (a Algorithm) fits(c *gm.Certificate) error {
	ok := false
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if a == SM2 {
			_, err := gm.FromECDSA(k)
			ok = err == nil
		} else {
			ok = a == ECDSAP256 && k.Curve == elliptic.P256()
		}
	case *rsa.PublicKey:
		ok = a == RSA2048 && k.N.BitLen() >= 2048
	}
	if !ok {
		return fmt.Errorf("key of %q is of another kind: %w", c.Subject.CommonName, ErrCertificate)
	}
	return nil
}

// Attributes returns the message that the key signs: the signed attributes as a DER SET OF, first byte 31 (RFC 5652 §5.4), or the
// 32 bytes of a DigestContent. Must not be modified.
func (d *Draft) Attributes() []byte { return d.message }

// Assemble joins the parts: value is the signature over Attributes in its CMS encoding (strict DER SEQUENCE{r,s}, or the RSA block),
// timestamp a TimeStampToken over value's octets, or nil. The same input gives the same bytes. Errors: ErrSignature, ErrTimestamp.
func (d *Draft) Assemble(value, timestamp []byte) ([]byte, error) {
	if err := d.verify(value); err != nil {
		return nil, err
	}
	return d.AssembleVerified(value, timestamp)
}

// AssembleVerified is Assemble for a value that custody returned, which has verified it over these very attributes against the registered key, the
// certificate's (law 4): of the value, no more than its form is looked at again.
func (d *Draft) AssembleVerified(value, timestamp []byte) ([]byte, error) {
	if d.req.Algorithm != RSA2048 && !wholeSequence(value) {
		return nil, fmt.Errorf("the value is no SEQUENCE: %w", ErrSignature)
	}
	if timestamp != nil && !wholeSequence(timestamp) {
		return nil, ErrTimestamp
	}
	out, err := d.contentInfo(value, timestamp)
	if err != nil {
		return nil, fmt.Errorf("assembling SignedData: %w: %w", ErrRequest, err)
	}
	return out, nil
}

func (d *Draft) verify(value []byte) error {
	digest := sha256.Sum256(d.message)
	switch k := d.signer.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if d.req.Algorithm != SM2 {
			return verified(ecdsa.VerifyASN1(k, digest[:], value))
		}
		p, err := gm.FromECDSA(k)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCertificate, err)
		}
		if err := p.Verify(d.message, value); err != nil {
			return fmt.Errorf("%w: %w", ErrSignature, err)
		}
		return nil
	case *rsa.PublicKey:
		return verified(rsa.VerifyPKCS1v15(k, sha256Hash, digest[:], value) == nil)
	}
	return ErrCertificate
}

func verified(ok bool) error {
	if !ok {
		return ErrSignature
	}
	return nil
}
