package ca

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
)

const (
	usageAuthority = gm.KeyUsageCertSign | gm.KeyUsageCRLSign
	usageSign      = gm.KeyUsageDigitalSignature | gm.KeyUsageContentCommitment
)

// Root makes a self-signed SM2 root certificate.
func Root(ctx context.Context, key Key, subject pkix.Name, now time.Time, life Period) (der []byte, err error) {
	t, err := authorityTemplate(key.Public(), subject, during(now, life), 1)
	if err != nil {
		return nil, err
	}
	return create(ctx, key, t, t, key.Public())
}

// Issuing makes the certificate of an issuing authority below a root.
func Issuing(ctx context.Context, root Key, rootDER []byte, pub *gm.PublicKey, subject pkix.Name, now time.Time, life Period) (der []byte, err error) {
	parent, err := readAuthority(root.Public(), rootDER)
	if err != nil {
		return nil, err
	}
	t, err := authorityTemplate(pub, subject, during(now, life), 0)
	if err != nil {
		return nil, err
	}
	return create(ctx, root, t, parent, pub)
}

// authorityTemplate is a CA certificate with at most pathLen authorities below it.
func authorityTemplate(pub *gm.PublicKey, subject pkix.Name, w window, pathLen int) (*gm.Certificate, error) {
	t, err := template(pub, subject, w)
	if err != nil {
		return nil, err
	}
	t.KeyUsage, t.IsCA, t.MaxPathLen, t.MaxPathLenZero = usageAuthority, true, pathLen, pathLen == 0
	return t, checkName(subject)
}

// template has what every certificate has: a fresh serial, the subject key identifier and basicConstraints, critical.
func template(pub *gm.PublicKey, subject pkix.Name, w window) (*gm.Certificate, error) {
	if pub == nil {
		return nil, ErrPublicKey
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	skid := gm.SM3(pub.Point()) // method 1 of RFC 5280 §4.2.1.2 with SM3; readers take the identifier as opaque
	return &gm.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: w.from, NotAfter: w.to, SignatureAlgorithm: gm.SM2WithSM3,
		SubjectKeyId: skid[:20], KeyUsage: usageSign, BasicConstraintsValid: true,
	}, nil
}

// create signs a template under parent (itself for a root), reads the result back and releases it only when two implementations accept
// it and it says what the template said.
func create(ctx context.Context, signer Key, t, parent *gm.Certificate, pub *gm.PublicKey) ([]byte, error) {
	if err := (window{t.NotBefore, t.NotAfter}).inside(parent.Subject.CommonName, parent.NotBefore, parent.NotAfter); err != nil {
		return nil, err
	}
	sign := func(message []byte) ([]byte, error) { return signer.Sign(ctx, message) }
	der, err := gm.CreateCertificate(t, parent, pub.ECDSA(), gm.NewSigner(signer.Public(), sign))
	if err != nil {
		return nil, fmt.Errorf("signing certificate of %q: %w", t.Subject.CommonName, err)
	}
	c, err := gm.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back certificate of %q: %w", t.Subject.CommonName, err)
	}
	if err := gm.CheckCertificateTwice(signer.Public(), c); err != nil {
		return nil, err
	}
	got, err := gm.CertificateKey(c)
	if err != nil || !got.Equal(pub) || !c.NotBefore.Equal(t.NotBefore) || !c.NotAfter.Equal(t.NotAfter) || c.SerialNumber.Cmp(t.SerialNumber) != 0 {
		return nil, fmt.Errorf("certificate of %q differs from what was asked: %w", t.Subject.CommonName, gm.ErrCertificate)
	}
	return der, nil
}

// readAuthority reads a CA certificate and makes sure that key is its key.
func readAuthority(key *gm.PublicKey, der []byte) (*gm.Certificate, error) {
	c, err := gm.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	pub, err := gm.CertificateKey(c)
	if err != nil || key == nil || !pub.Equal(key) {
		return nil, fmt.Errorf("certificate of %q is not of this key: %w", c.Subject.CommonName, ErrAuthority)
	}
	if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&gm.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("certificate of %q may not sign certificates: %w", c.Subject.CommonName, ErrAuthority)
	}
	return c, nil
}

// Endpoints are the addresses that certificates name for their readers; all may be empty.
type Endpoints struct{ CRL, OCSP, Issuers []string }

// Config is what an embedded authority needs besides its key.
type Config struct {
	IssuingDER []byte
	RootDER    []byte
	Lifetimes  Lifetimes
	Subject    SubjectTemplate // of seal certificates
	Endpoints  Endpoints
	Now        func() time.Time
}

// Embedded is the issuing authority whose key is in this appliance's token. Safe for concurrent use.
type Embedded struct {
	key     Key
	issuing *gm.Certificate
	cfg     Config
}

var _ Issuer = (*Embedded)(nil)

// NewEmbedded opens the issuing authority; ErrAuthority when key and certificates do not belong together.
func NewEmbedded(key Key, cfg Config) (*Embedded, error) {
	issuing, err := readAuthority(key.Public(), cfg.IssuingDER)
	if err != nil {
		return nil, err
	}
	root, err := gm.ParseCertificate(cfg.RootDER)
	if err != nil {
		return nil, fmt.Errorf("root: %w: %w", ErrAuthority, err)
	}
	rootKey, err := gm.CertificateKey(root)
	if err != nil {
		return nil, fmt.Errorf("root: %w: %w", ErrAuthority, err)
	}
	for _, c := range []*gm.Certificate{root, issuing} {
		if err := gm.CheckCertificateTwice(rootKey, c); err != nil {
			return nil, fmt.Errorf("certificate of %q: %w: %w", c.Subject.CommonName, ErrAuthority, err)
		}
	}
	if cfg.Now == nil || len(cfg.Subject.lines) == 0 {
		return nil, fmt.Errorf("no clock or no subject template: %w", ErrAuthority)
	}
	return &Embedded{key, issuing, cfg}, nil
}

// Chain returns the issuing and the root certificate.
func (e *Embedded) Chain() [][]byte { return [][]byte{e.cfg.IssuingDER, e.cfg.RootDER} }

// Issue certifies a seal key: C, O, CN and serialNumber by the template, the whole name and code in the holder extension.
func (e *Embedded) Issue(ctx context.Context, r Request) (certDER []byte, chain [][]byte, err error) {
	if err := r.checkHolder(); err != nil {
		return nil, nil, err
	}
	subject, err := e.cfg.Subject.name(r)
	if err != nil {
		return nil, nil, err
	}
	w, err := e.sealWindow(r)
	if err != nil {
		return nil, nil, err
	}
	t, err := e.template(r.PublicKey, subject, w)
	if err != nil {
		return nil, nil, err
	}
	ext, err := holderExtension(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the holder extension: %w", err)
	}
	t.ExtraExtensions = append(t.ExtraExtensions, ext)
	if certDER, err = create(ctx, e.key, t, e.issuing, r.PublicKey); err != nil {
		return nil, nil, fmt.Errorf("certifying seal %s: %w", r.ESID, err)
	}
	return certDER, e.Chain(), nil
}

// sealWindow fills the times that the request leaves open and holds it to the configured lifetime.
func (e *Embedded) sealWindow(r Request) (window, error) {
	if r.NotBefore.IsZero() {
		r.NotBefore = e.cfg.Now()
	}
	longest := during(r.NotBefore, e.cfg.Lifetimes.Seal)
	if r.NotAfter.IsZero() {
		return longest, nil
	}
	w := window{longest.from, r.NotAfter.UTC().Truncate(time.Second)}
	return w, w.inside("the lifetime of seals", longest.from, longest.to)
}

func (e *Embedded) template(pub *gm.PublicKey, subject pkix.Name, w window) (*gm.Certificate, error) {
	t, err := template(pub, subject, w)
	if err != nil {
		return nil, err
	}
	t.CRLDistributionPoints, t.OCSPServer, t.IssuingCertificateURL = e.cfg.Endpoints.CRL, e.cfg.Endpoints.OCSP, e.cfg.Endpoints.Issuers
	return t, nil
}

// IssueMaker certifies the seal maker (制章人).
func (e *Embedded) IssueMaker(ctx context.Context, pub *gm.PublicKey, subject pkix.Name) (der []byte, err error) {
	return e.issueOwn(ctx, pub, subject, e.cfg.Lifetimes.Maker)
}

// IssueAudit certifies the key that signs the checkpoints of the log.
func (e *Embedded) IssueAudit(ctx context.Context, pub *gm.PublicKey, subject pkix.Name) (der []byte, err error) {
	return e.issueOwn(ctx, pub, subject, e.cfg.Lifetimes.Audit)
}

func (e *Embedded) issueOwn(ctx context.Context, pub *gm.PublicKey, subject pkix.Name, life Period) ([]byte, error) {
	if err := checkName(subject); err != nil {
		return nil, err
	}
	t, err := e.template(pub, subject, during(e.cfg.Now(), life))
	if err != nil {
		return nil, err
	}
	return create(ctx, e.key, t, e.issuing, pub)
}

// MakerCovers says whether a maker may make a seal with this validity: only while validEnd is within its own certificate (a verifier of
// GB/T 38540 does not tell a maker's later expiry from its absence). ErrValidity otherwise.
func MakerCovers(maker *gm.Certificate, validStart, validEnd time.Time) error {
	return window{validStart, validEnd}.inside(maker.Subject.CommonName, maker.NotBefore, maker.NotAfter)
}
