// Package signeddata reads SignedData of GB/T 35275 (GM/T 0010) and RFC 5652, and the time-stamp tokens of RFC 3161 that are made of it,
// for judging.
//
// Its one promise is that a signature is checked over the bytes received: content and signed attributes are hashed as they stand in
// the input (law 6), and whatever admits two readings is refused by name. It shares no code with the writer, signer/cms.
//
//	Parse ─► SignedData ─ Covers(original) ─► does it speak of this document?
//	                    └ VerifyValue(original) ─► did the holder of the certificate's key sign it?
//	ParseToken ─► Token ─ Covers(message), Verify() ─► the same for a time stamp
//
// Limits: DER with definite lengths unless Options.BER asks for the conversion; one signer unless Options.Signers allows more; no
// certificate chain, revocation or trust list is judged here. Parsed values share the input, which must not be modified.
package signeddata

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxSize bounds the input in bytes where Options does not: a document of 64 MiB enclosed in its signature, and 2 MiB for the rest.
const MaxSize = 66 << 20

// Caps on counts, far above anything seen, low enough that a parse stays cheap.
const (
	maxCertificates = 256
	maxCRLs         = 64
	maxAttributes   = 128
	maxAlgorithms   = 64
	maxSigners      = 16
)

var (
	// ErrStructure says that bytes are not SignedData: wrong element, length, order, count or size.
	ErrStructure = errors.New("not the structure of SignedData")
	// ErrBER says that the input uses indefinite lengths or split strings (BER), which Options.BER can convert.
	ErrBER = errors.New("encoded in BER, not DER")
	// ErrSize says that the input is larger than allowed.
	ErrSize = errors.New("SignedData is too large")
	// ErrTrailing says that bytes follow the structure.
	ErrTrailing = errors.New("bytes follow the structure")
	// ErrContentInfo says that the input is a ContentInfo of another kind than SignedData.
	ErrContentInfo = errors.New("content is not SignedData")
	// ErrSigners says that there is no SignerInfo, or more than allowed.
	ErrSigners = errors.New("number of signers")
	// ErrAttributes says that signed attributes are missing where they are mandatory, or one of them is missing, double or malformed.
	ErrAttributes = errors.New("signed attributes are not as prescribed")
	// ErrContentType says that the contentType attribute differs from the type of the content.
	ErrContentType = errors.New("contentType attribute differs from the content's type")
	// ErrDigest says that the digest that was signed is not the digest of the content.
	ErrDigest = errors.New("digest of the content differs from the signed one")
	// ErrContent says that the signature can only be checked over the whole content, which was not given.
	ErrContent = errors.New("the content itself is needed")
	// ErrAmbiguous says that content signed without attributes has the shape of signed attributes, so that either could be meant.
	ErrAmbiguous = errors.New("content has the shape of signed attributes")
	// ErrAlgorithm says that a digest or signature algorithm, or a pair of them, is not one this package checks.
	ErrAlgorithm = errors.New("algorithm is not supported")
	// ErrSignature says that a signature value does not verify.
	ErrSignature = errors.New("signature value does not verify")
	// ErrCertificate says that the signer's certificate is not enclosed, or that it cannot be read or used.
	ErrCertificate = errors.New("no usable certificate of the signer")
	// ErrESS says that the signing-certificate attribute (RFC 5035) is missing where mandatory or names another certificate.
	ErrESS = errors.New("signing-certificate attribute does not name the signer's certificate")
)

// Note is a tolerated deviation, met while reading. It never changes a byte.
type Note struct {
	Code   string // one of the Note constants
	Detail string // for people, in English
}

// Codes of Note. New ones may be added; existing ones never change.
const (
	NoteBER            = "ber"             // converted from BER before reading
	NotePadding        = "padding"         // zero bytes follow the structure
	NoteVersion        = "version"         // a version number does not belong to the structure
	NoteDigestSet      = "digest-set"      // digestAlgorithms does not list the signer's digest, or lists a signature algorithm
	NoteAttributeOrder = "attribute-order" // signed attributes are not in DER order
	NoteAlgorithm      = "algorithm"       // an algorithm identifier that is unusual for what it says
	NoteValueForm      = "value-form"      // SM2 value is raw r‖s or has non-minimal INTEGERs
	NoteWeak           = "weak"            // SHA-1: verifies, but proves little
	NoteShortKey       = "short-key"       // RSA key of less than 2048 bits
	NoteCertificate    = "certificate"     // the strict certificate reader rejects the signer's certificate
	NoteMixedTypes     = "mixed-types"     // GM and RFC content types in one structure
	NoteTimestamps     = "timestamps"      // more than one time stamp; the first is exposed
	NoteOther          = "other"           // an optional part of a kind that is not read was skipped
	NoteTimeForm       = "time-form"       // a time is not in the prescribed form
	NoteDefault        = "default"         // a DEFAULT value is encoded
)

// Options widen what Parse takes. The zero value is what Parse uses.
type Options struct {
	MaxBytes int  // of the input; zero is MaxSize
	Signers  int  // most SignerInfos; zero is one
	BER      bool // convert BER to DER first, with a note
	Padding  bool // accept zero bytes behind the structure, as the fixed room of a PDF leaves them
}

// SignedData is one parsed ContentInfo of SignedData.
type SignedData struct {
	Raw          []byte // the whole ContentInfo in DER, without padding
	GM           bool   // the outer content type is GB/T 35275's, not RFC 5652's
	Version      int
	DigestOIDs   []string
	ContentType  string   // eContentType, dotted
	Content      []byte   // content octets; nil where detached
	Certificates [][]byte // X.509 certificates, DER as received
	CRLs         [][]byte // DER as received
	Signers      []*Signer
	Notes        []Note
}

// Signer is one SignerInfo.
type Signer struct {
	Version       int
	Issuer        []byte // raw Name of the signer's issuer, header included; nil where KeyID identifies the certificate
	Serial        []byte // content octets of the serial number
	KeyID         []byte // subjectKeyIdentifier, or nil
	DigestOID     string
	SignatureOID  string
	Attributes    []byte // signed attributes as encoded, first byte 31 in place of A0: the message that was signed; nil without
	MessageDigest []byte // nil without attributes
	SigningTime   time.Time
	CertID        *CertID // of the signing-certificate attribute, version 1 or 2; nil without
	Signed        []Attribute
	Unsigned      []Attribute
	Value         []byte // octets of the signature value as received
	Timestamp     []byte // TimeStampToken over Value (unsigned attribute 1.2.840.113549.1.9.16.2.14), or nil
	Certificate   []byte // the enclosed certificate that issuer and serial number (or KeyID) name, or nil
	Notes         []Note

	contentType string
	parameters  []byte // of the signature algorithm, whole element
	signatory   *Certificate
	unreadable  error
}

// Attribute is one signed or unsigned attribute.
type Attribute struct {
	OID    string
	Values [][]byte // each a whole element
}

// Parse reads SignedData under the strictest options. Errors: the Err values of this package; a malformed input changes nothing.
func Parse(der []byte) (*SignedData, error) { return ParseWith(der, Options{}) }

// ParseWith reads SignedData under options.
func ParseWith(b []byte, o Options) (*SignedData, error) {
	limit := MaxSize
	if o.MaxBytes > 0 {
		limit = o.MaxBytes
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", len(b), limit, ErrSize)
	}
	s, err := parse(b, o, nil)
	if !o.BER || !errors.Is(err, ErrBER) {
		return s, err
	}
	der, rest, err := convert(b)
	if err != nil {
		return nil, err
	}
	if err := o.padded(rest); err != nil {
		return nil, err
	}
	notes := []Note{{NoteBER, "indefinite lengths or split strings, converted before reading"}}
	return parse(der, o, append(notes, padding(rest)...))
}

func parse(b []byte, o Options, notes []Note) (*SignedData, error) {
	der, rest, err := element(b)
	if err != nil {
		return nil, err
	}
	if err := o.padded(rest); err != nil {
		return nil, err
	}
	r := &reading{notes: append(notes, padding(rest)...)}
	s := &SignedData{Raw: der}
	s.read(&decoder{der, r}, max(o.Signers, 1))
	if r.err != nil {
		return nil, r.err
	}
	s.Notes = r.notes
	for _, signer := range s.Signers {
		if err := s.finish(signer); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// padded refuses what follows the structure, unless it is the zeros that Options.Padding allows.
func (o Options) padded(rest []byte) error {
	if len(rest) == 0 || o.Padding && !slices.ContainsFunc(rest, func(c byte) bool { return c != 0 }) {
		return nil
	}
	return fmt.Errorf("%d bytes: %w", len(rest), ErrTrailing)
}

func padding(rest []byte) []Note {
	if len(rest) == 0 {
		return nil
	}
	return []Note{{NotePadding, fmt.Sprintf("%d zero bytes follow", len(rest))}}
}

// Signer returns the first signer, the only one unless Options.Signers allowed more.
func (s *SignedData) Signer() *Signer { return s.Signers[0] }

// AllNotes returns the notes of the structure and of its signers together.
func (s *SignedData) AllNotes() []Note {
	all := slices.Clone(s.Notes)
	for _, signer := range s.Signers {
		all = append(all, signer.Notes...)
	}
	return all
}

// Weak returns why the signer's signature proves little although it may verify (SHA-1, short RSA key), or nothing.
func (i *Signer) Weak() string {
	for _, n := range i.Notes {
		if n.Code == NoteWeak || n.Code == NoteShortKey {
			return n.Detail
		}
	}
	return ""
}
