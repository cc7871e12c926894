// Package seal makes and reads the e-seal (电子印章) and the seal signature (电子签章数据) of GB/T 38540-2020 (v4), GM/T 0031-2025
// (v5) and, for reading alone, GM/T 0031-2014 (v1).
//
// Its one promise is that what was received is what is judged: parsing keeps every byte, and signatures are checked over the bytes
// received, never over a re-encoding (law 6). What it writes is strict DER.
//
//	Info ─ Marshal ─► SES_SealInfo ─ maker signs ─ Assemble ─► SESeal
//	SESeal ─ NewSigning ─ TBS(time, dataHash, propertyInfo) ─► TBS_Sign ─ seal key signs ─ AssembleSignature ─► SES_Signature
//
// Limits: definite lengths and SM2 with SM3 only, RSA where v1 has it; no certificate chain, revocation or time stamp is judged here (signer/verify does
// that); v1 is never written.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
)

// SM2WithSM3 is the only algorithm this package writes, as the bare OBJECT IDENTIFIER of signAlgID.
const SM2WithSM3 = "1.2.156.10197.1.501"

// MaxSize bounds a seal or a seal signature in bytes, well above any picture a seal carries.
const MaxSize = 8 << 20

var (
	// ErrStructure says that bytes are not a seal or a seal signature: wrong element, length, order, count or size.
	ErrStructure = errors.New("not the structure of a seal or seal signature")
	// ErrUnsupportedGeneration says that the structure is known but this operation does not exist for it (v1 is read, never written).
	ErrUnsupportedGeneration = errors.New("generation of the structure is not supported here")
	// ErrAlgorithm says that a structure names another signature algorithm than SM2 with SM3, or RSA in v1.
	ErrAlgorithm = errors.New("signature algorithm is not SM2 with SM3")
)

// Generation tells the three editions of the standard apart.
type Generation string

// The generations, named as in the verification report.
const (
	V1 Generation = "v1" // GM/T 0031-2014
	V4 Generation = "v4" // GB/T 38540-2020
	V5 Generation = "v5" // GM/T 0031-2025
)

// Note is a tolerated deviation from the standard, met while reading. It never changes a byte.
type Note struct {
	Code   string // one of the Note constants
	Detail string // for people, in English
}

// Codes of Note. New ones may be added; existing ones never change.
const (
	NoteSignatureForm   = "signature-form"    // signature value is raw r‖s or has non-minimal INTEGERs
	NoteUnusedBits      = "unused-bits"       // BIT STRING of byte data with unused bits
	NoteDigestPadded    = "digest-padded"     // trailing zero bytes of dataHash were stripped
	NoteHeaderVersion   = "header-version"    // header version does not belong to the structure
	NoteTBSVersion      = "tbs-version"       // TBS_Sign version differs from the seal's header version
	NoteTagging         = "tagging"           // [0] missing or IMPLICIT where the standard has EXPLICIT
	NoteTimeForm        = "time-form"         // time not written as YYYYMMDDHHMMSSZ (v1: UTCTime)
	NoteLocalTime       = "local-time"        // time without zone, taken as UTC+8
	NoteTimeUnreadable  = "time-unreadable"   // timeInfo of v1 that is neither a time nor a token
	NoteOctetString     = "octet-string"      // OCTET STRING where the standard has BIT STRING
	NoteString          = "string"            // text that its ASN.1 string type does not allow
	NoteObjectID        = "object-identifier" // OBJECT IDENTIFIER that cannot be written in dotted form
	NoteCertificateList = "certificate-list"  // v1 list element that is not an OCTET STRING
)

// Picture is SES_ESPictureInfo: the seal's image file and its size on paper.
type Picture struct {
	Type              string // "PNG", "JPG", "BMP", "GIF"; found in the wild also "OFD", in any letter case
	Data              []byte // the image file itself
	WidthMM, HeightMM int    // millimetres
}

// Extension is ExtData. OID is dotted decimal, or "0x" and the content octets in hexadecimal where no dotted form exists.
type Extension struct {
	OID      string
	Critical bool
	Value    []byte
}

// CertDigest is CertDigestObj, one element of a list with certListType 2.
type CertDigest struct {
	Type  string
	Value []byte
}

// Info is SES_SealInfo, the part of a seal that its maker signs. All times are UTC with whole seconds.
type Info struct {
	Version      int    // header version; 0 stands for 4 when making
	Vid          string // vendor of the seal-making software, ASCII
	ESID         string // seal number, ASCII; the bureau's are 14 digits
	Type         int    // 1 legal name, 2 finance, 3 invoice, 4 contract, 5 legal representative; not fixed by the standard
	Name         string // seal name, UTF-8
	CertListType int    // 1 certificates, 2 digests; 0 stands for 1 when making; 0 when read from v1, which has no such field
	Certs        [][]byte
	CertDigests  []CertDigest // certListType 2, reading alone
	CreateDate   time.Time
	ValidStart   time.Time
	ValidEnd     time.Time
	Picture      Picture
	Ext          []Extension
}

// Seal is a parsed SESeal. Its slices share one copy of the input and must not be modified.
type Seal struct {
	Generation Generation
	Raw        []byte // the whole SESeal as received
	InfoRaw    []byte // SES_SealInfo as received, header included
	Info       Info
	MakerCert  []byte // certificate of the seal maker (制章人), DER as received
	Algorithm  string // dotted OID
	Signature  []byte // octets of the signature value as received
	Timestamp  []byte // v5: TimeStampToken over Signature, or nil
	Notes      []Note

	message []byte // what the maker signed: InfoRaw, or the SEQUENCE of v1
}

// Maker reads the maker's certificate.
func (s *Seal) Maker() (*Certificate, error) {
	c, err := ReadCertificate(s.MakerCert)
	if err != nil {
		return nil, fmt.Errorf("reading maker certificate: %w", err)
	}
	return c, nil
}

// Message returns the bytes the maker signed: SES_SealInfo as received (v4, v5), or SEQUENCE{SES_SealInfo, cert, algorithm} (v1,
// GM/T 0031-2014 §5).
func (s *Seal) Message() []byte { return s.message }

// VerifySignature checks the maker's signature over the bytes received. It returns nil, ErrAlgorithm, ErrWeak,
// gm.ErrSignatureForm, gm.ErrSignature, or a certificate error.
func (s *Seal) VerifySignature() error {
	maker, err := s.Maker()
	if err != nil {
		return err
	}
	return verify(s.Generation, s.Algorithm, maker, s.message, s.Signature)
}

// Lists reports whether the seal allows this certificate to sign (签章人证书列表): byte equality, or SM3 of the certificate where the
// list holds digests.
func (s *Seal) Lists(cert []byte) bool {
	for _, c := range s.Info.Certs {
		if bytes.Equal(c, cert) {
			return true
		}
	}
	if len(s.Info.CertDigests) == 0 {
		return false
	}
	d := gm.SM3(cert)
	for _, c := range s.Info.CertDigests {
		if bytes.Equal(c.Value, d[:]) {
			return true
		}
	}
	return false
}

// ValidAt reports whether t lies within validStart..validEnd, both included.
func (s *Seal) ValidAt(t time.Time) bool {
	return !t.Before(s.Info.ValidStart) && !t.After(s.Info.ValidEnd)
}

func verify(g Generation, algorithm string, signer *Certificate, message, value []byte) error {
	if g == V1 && (algorithm == RSAWithSHA1 || algorithm == RSAWithSHA256) {
		return verifyRSA(algorithm, signer, message, value)
	}
	if algorithm != SM2WithSM3 {
		return fmt.Errorf("algorithm %s: %w", algorithm, ErrAlgorithm)
	}
	if signer.Key == nil {
		return fmt.Errorf("certificate %s: %w", signer.Serial, gm.ErrKey)
	}
	raw, _, err := gm.DecodeLenient(value)
	if err != nil {
		return err
	}
	return signer.Key.VerifyE(signer.Key.E(message), raw)
}
