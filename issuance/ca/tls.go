package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
)

// TLSRoot makes a self-signed P-256 root certificate.
func TLSRoot(key crypto.Signer, subject pkix.Name, now time.Time, life Period) (der []byte, err error) {
	t, err := tlsAuthorityTemplate(subject, during(now, life), 1)
	if err != nil {
		return nil, err
	}
	return createTLS(key, t, t, key.Public())
}

// TLSIssuing makes the certificate of the P-256 authority that issues to clients and servers.
func TLSIssuing(root crypto.Signer, rootDER []byte, pub crypto.PublicKey, subject pkix.Name, now time.Time, life Period) (der []byte, err error) {
	parent, err := readTLSAuthority(root.Public(), rootDER)
	if err != nil {
		return nil, err
	}
	t, err := tlsAuthorityTemplate(subject, during(now, life), 0)
	if err != nil {
		return nil, err
	}
	return createTLS(root, t, parent, pub)
}

func tlsAuthorityTemplate(subject pkix.Name, w window, pathLen int) (*x509.Certificate, error) {
	t, err := tlsTemplate(subject, w)
	if err != nil {
		return nil, err
	}
	t.KeyUsage, t.IsCA, t.MaxPathLen, t.MaxPathLenZero = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, true, pathLen, pathLen == 0
	return t, nil
}

func tlsTemplate(subject pkix.Name, w window) (*x509.Certificate, error) {
	if err := checkName(subject); err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: w.from, NotAfter: w.to, SignatureAlgorithm: x509.ECDSAWithSHA256,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}, nil
}

// checkP256 holds this hierarchy to one curve: every peer of Go's TLS 1.3 speaks it, and crypto11 keys can have it.
func checkP256(pub crypto.PublicKey) error {
	if k, ok := pub.(*ecdsa.PublicKey); ok && k.Curve == elliptic.P256() {
		return nil
	}
	return fmt.Errorf("want P-256, got %T: %w", pub, ErrPublicKey)
}

// createTLS signs a template and reads the result back.
func createTLS(signer crypto.Signer, t, parent *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if err := checkP256(pub); err != nil {
		return nil, err
	}
	if err := (window{t.NotBefore, t.NotAfter}).inside(parent.Subject.CommonName, parent.NotBefore, parent.NotAfter); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, signer)
	if err != nil {
		return nil, fmt.Errorf("signing certificate of %q: %w", t.Subject.CommonName, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back certificate of %q: %w", t.Subject.CommonName, err)
	}
	issuer := parent
	if parent == t {
		issuer = c
	}
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("checking certificate of %q: %w", t.Subject.CommonName, err)
	}
	return der, nil
}

// readTLSAuthority reads a CA certificate and makes sure that it is the key's.
func readTLSAuthority(key crypto.PublicKey, der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	pub, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || !pub.Equal(key) || !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("certificate of %q is not of this key or may not sign certificates: %w", c.Subject.CommonName, ErrAuthority)
	}
	return c, nil
}

// TLSConfig is what the P-256 authority needs besides its key.
type TLSConfig struct {
	IssuingDER []byte
	RootDER    []byte
	Lifetimes  Lifetimes
	Now        func() time.Time
}

// TLS issues the certificates of mutual TLS. Safe for concurrent use where its key is.
type TLS struct {
	key     crypto.Signer
	issuing *x509.Certificate
	cfg     TLSConfig
}

// NewTLS opens the P-256 authority; ErrAuthority when key and certificates do not belong together.
func NewTLS(key crypto.Signer, cfg TLSConfig) (*TLS, error) {
	issuing, err := readTLSAuthority(key.Public(), cfg.IssuingDER)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(cfg.RootDER)
	if err != nil {
		return nil, fmt.Errorf("TLS root: %w: %w", ErrAuthority, err)
	}
	if err := issuing.CheckSignatureFrom(root); err != nil {
		return nil, fmt.Errorf("TLS issuing authority: %w: %w", ErrAuthority, err)
	}
	if cfg.Now == nil {
		return nil, fmt.Errorf("no clock: %w", ErrAuthority)
	}
	return &TLS{key, issuing, cfg}, nil
}

// Chain returns the issuing and the root certificate.
func (a *TLS) Chain() [][]byte { return [][]byte{a.cfg.IssuingDER, a.cfg.RootDER} }

// IssueClient certifies a caller's key for clientAuth. Who the caller is, the registry knows by the key; the name is for people.
func (a *TLS) IssueClient(pub crypto.PublicKey, subject pkix.Name) (der []byte, err error) {
	t, err := tlsTemplate(subject, during(a.cfg.Now(), a.cfg.Lifetimes.TLSClient))
	if err != nil {
		return nil, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return createTLS(a.key, t, a.issuing, pub)
}

// IssueServer certifies the appliance's own key for serverAuth under the given names and addresses, at least one.
func (a *TLS) IssueServer(pub crypto.PublicKey, subject pkix.Name, dnsNames []string, addresses []net.IP) (der []byte, err error) {
	t, err := tlsTemplate(subject, during(a.cfg.Now(), a.cfg.Lifetimes.TLSServer))
	if err != nil {
		return nil, err
	}
	if len(dnsNames)+len(addresses) == 0 {
		return nil, fmt.Errorf("server certificate %q without name or address: %w", subject.CommonName, ErrSubject)
	}
	t.ExtKeyUsage, t.DNSNames, t.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, dnsNames, addresses
	return createTLS(a.key, t, a.issuing, pub)
}
