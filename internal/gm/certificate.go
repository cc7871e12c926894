package gm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// The X.509 types are those of emmansun/gmsm, a fork of the standard package that knows SM2; aliased here so that this package stays
// the only importer.
type (
	// Certificate is a parsed X.509 certificate.
	Certificate = smx509.Certificate
	// CertificateRequest is a parsed PKCS#10 request.
	CertificateRequest = smx509.CertificateRequest
	// CertPool is a set of trust anchors or intermediates.
	CertPool = smx509.CertPool
	// VerifyOptions steers Certificate.Verify. Roots must never be nil: that would mean the system's roots.
	VerifyOptions = smx509.VerifyOptions
	// KeyUsage is the set of bits of the keyUsage extension.
	KeyUsage = smx509.KeyUsage
	// ExtKeyUsage is one purpose of the extKeyUsage extension.
	ExtKeyUsage = smx509.ExtKeyUsage
	// RevocationList is a parsed CRL; CheckSignatureFrom checks it.
	RevocationList = smx509.RevocationList
	// RevokedCertificate is one entry of a CRL.
	RevokedCertificate = smx509.RevocationListEntry
)

// The key usages that this project writes or asks for.
const (
	KeyUsageDigitalSignature  = smx509.KeyUsageDigitalSignature
	KeyUsageContentCommitment = smx509.KeyUsageContentCommitment // nonRepudiation by its older name
	KeyUsageCertSign          = smx509.KeyUsageCertSign
	KeyUsageCRLSign           = smx509.KeyUsageCRLSign

	// ExtKeyUsageAny makes Certificate.Verify accept every purpose; seal certificates carry none or various ones.
	ExtKeyUsageAny = smx509.ExtKeyUsageAny
	// The purposes of certificates of services: they sign stamps and status, never documents.
	ExtKeyUsageTimeStamping = smx509.ExtKeyUsageTimeStamping
	ExtKeyUsageOCSPSigning  = smx509.ExtKeyUsageOCSPSigning
)

// ErrCertificate says that bytes are not a certificate this package can use.
var ErrCertificate = errors.New("not a usable certificate")

// NewCertPool returns an empty pool.
func NewCertPool() *CertPool { return smx509.NewCertPool() }

// CreateRevocationList makes a CRL; the signer gets the whole TBSCertList. Errors: the library's, which also checks the signature it gets back.
func CreateRevocationList(template *RevocationList, issuer *Certificate, signer crypto.Signer) ([]byte, error) {
	der, err := smx509.CreateRevocationList(rand.Reader, template, issuer, signer)
	if err != nil {
		return nil, fmt.Errorf("making a revocation list: %w", err)
	}
	return der, nil
}

// ParseRevocationList reads one DER CRL; ErrCertificate when it is none.
func ParseRevocationList(der []byte) (*RevocationList, error) {
	l, err := smx509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w: %w", ErrCertificate, err)
	}
	return l, nil
}

// ParseCertificate reads one DER certificate, SM2, ECDSA or RSA.
func ParseCertificate(der []byte) (*Certificate, error) {
	c, err := smx509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return c, nil
}

// CertificateKey returns the SM2 public key of a certificate, or ErrKey when it holds another kind of key.
func CertificateKey(c *Certificate) (*PublicKey, error) {
	k, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("certificate of %q: %w", c.Subject.CommonName, ErrKey)
	}
	return FromECDSA(k)
}

// CreateCertificate builds and signs a certificate; the library checks the returned signature against parent before it returns.
// pub is an *ecdsa.PublicKey (SM2: from PublicKey.ECDSA) or *rsa.PublicKey; signer is a Signer for SM2.
func CreateCertificate(template, parent *Certificate, pub crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	return smx509.CreateCertificate(nil, template, parent, pub, signer)
}

// CreateCertificateRequest builds and signs a PKCS#10 request; the library checks the returned signature before it returns. signer is a
// Signer, whose key is the subject's.
func CreateCertificateRequest(template *CertificateRequest, signer crypto.Signer) ([]byte, error) {
	return smx509.CreateCertificateRequest(nil, template, signer)
}

// ParseCertificateRequest reads one DER request and checks its signature: the requester holds the key.
func ParseCertificateRequest(der []byte) (*CertificateRequest, error) {
	r, err := smx509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return r, nil
}

// RequestKey returns the SM2 public key of a certificate request, or ErrKey when it holds another kind of key.
func RequestKey(r *CertificateRequest) (*PublicKey, error) {
	k, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("request of %q: %w", r.Subject.CommonName, ErrKey)
	}
	return FromECDSA(k)
}

// SM2WithSM3 is the signature algorithm to put into templates. Its number is the library's own: never store it.
const SM2WithSM3 = smx509.SM2WithSM3

// Signer adapts a function that signs one message (Z, SM3 and the token's work inside it) to crypto.Signer, for the certificate
// writer alone. It accepts exactly the option that means "message, default user ID" and refuses everything else, so that a
// ready-made digest can never slip through (law 11).
type Signer struct {
	pub  *PublicKey
	sign func(message []byte) (der []byte, err error)
}

// NewSigner wraps sign, which must return strict DER.
func NewSigner(pub *PublicKey, sign func(message []byte) ([]byte, error)) *Signer {
	return &Signer{pub, sign}
}

// Public returns the *ecdsa.PublicKey on sm2p256v1.
func (s *Signer) Public() crypto.PublicKey { return s.pub.ECDSA() }

// ErrSignerOption says that a caller asked the adapter to sign something other than a whole message under the default user ID.
var ErrSignerOption = errors.New("the SM2 signer takes a whole message under the default user ID only")

// Sign signs the message; opts must be the library's default SM2 option, compared by identity since its fields are not readable.
func (s *Signer) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if o, ok := opts.(*sm2.SM2SignerOption); !ok || o != sm2.DefaultSM2SignerOpts {
		return nil, ErrSignerOption
	}
	return s.sign(message)
}

// CheckCertificateTwice is law 4 for certificates: the signature over the TBS must satisfy both implementations under the issuer's key.
func CheckCertificateTwice(issuer *PublicKey, c *Certificate) error {
	if err := issuer.VerifyTwice(c.RawTBSCertificate, c.Signature); err != nil {
		return fmt.Errorf("checking certificate %s: %w", c.SerialNumber, err)
	}
	return nil
}
