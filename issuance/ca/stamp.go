package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
)

var (
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTimeStamping    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}  // RFC 3161 §2.3
	oidStatement       = asn1.ObjectIdentifier{1, 2, 3, 4, 2, 2}           // docs/adr/0026-statements-and-the-licence-archive.md
	oidDocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36} // RFC 9336
)

// timeStamping is the extension that makes a certificate a time-stamp authority's: critical, this one purpose and no other (RFC 3161 §2.3).
// The template's own field cannot be critical.
func timeStamping() (pkix.Extension, error) { return alone(oidTimeStamping) }

func alone(purpose asn1.ObjectIdentifier) (pkix.Extension, error) {
	v, err := asn1.Marshal([]asn1.ObjectIdentifier{purpose})
	return pkix.Extension{Id: oidExtKeyUsage, Critical: true, Value: v}, err
}

// IssueTSA certifies the SM2 key of the time-stamp authority.
func (e *Embedded) IssueTSA(ctx context.Context, pub *gm.PublicKey, subject pkix.Name) (der []byte, err error) {
	return e.issueFor(ctx, oidTimeStamping, pub, subject)
}

// IssueStatement certifies the key of what the appliance states in its own name, for nothing else. It lives as long as that of time stamps:
// statements are kept for years.
func (e *Embedded) IssueStatement(ctx context.Context, pub *gm.PublicKey, subject pkix.Name) (der []byte, err error) {
	return e.issueFor(ctx, oidStatement, pub, subject)
}

// issueFor certifies a key of the appliance's own for one purpose, critical and alone.
func (e *Embedded) issueFor(ctx context.Context, purpose asn1.ObjectIdentifier, pub *gm.PublicKey, subject pkix.Name) ([]byte, error) {
	if err := checkName(subject); err != nil {
		return nil, err
	}
	t, err := e.template(pub, subject, during(e.cfg.Now(), e.cfg.Lifetimes.TSA))
	if err != nil {
		return nil, err
	}
	ext, err := alone(purpose)
	if err != nil {
		return nil, fmt.Errorf("encoding the key purpose: %w", err)
	}
	t.ExtraExtensions = append(t.ExtraExtensions, ext)
	return create(ctx, e.key, t, e.issuing, pub)
}

// IssueTSA certifies the P-256 key of the time-stamp authority.
func (a *TLS) IssueTSA(pub crypto.PublicKey, subject pkix.Name) (der []byte, err error) {
	t, err := tlsTemplate(subject, during(a.cfg.Now(), a.cfg.Lifetimes.TSA))
	if err != nil {
		return nil, err
	}
	ext, err := timeStamping()
	if err != nil {
		return nil, fmt.Errorf("encoding the key purpose: %w", err)
	}
	t.ExtraExtensions = append(t.ExtraExtensions, ext)
	return createTLS(a.key, t, a.issuing, pub)
}

// IssueDocument certifies a seal's companion P-256 key for the same holder and subject as the seal's own certificate, from r.NotBefore (now when
// zero) to r.NotAfter at most. r.PublicKey is not looked at. The key purposes are those of document signing (RFC 9336) and e-mail
// protection, which PDF readers ask for; neither admits the key to mutual TLS.
func (a *TLS) IssueDocument(pub crypto.PublicKey, subject SubjectTemplate, r Request) (certDER []byte, chain [][]byte, err error) {
	if err := r.checkNames(); err != nil {
		return nil, nil, err
	}
	name, err := subject.name(r)
	if err != nil {
		return nil, nil, err
	}
	if r.NotBefore.IsZero() {
		r.NotBefore = a.cfg.Now()
	}
	w := during(r.NotBefore, a.cfg.Lifetimes.Seal)
	if !r.NotAfter.IsZero() && r.NotAfter.Before(w.to) {
		w.to = r.NotAfter.UTC().Truncate(time.Second)
	}
	t, err := tlsTemplate(pkix.Name{CommonName: cut(r.Name)}, w)
	if err != nil {
		return nil, nil, err
	}
	ext, err := holderExtension(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the holder extension: %w", err)
	}
	t.Subject, t.KeyUsage, t.ExtraExtensions = name, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment, []pkix.Extension{ext}
	t.ExtKeyUsage, t.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, []asn1.ObjectIdentifier{oidDocumentSigning}
	if certDER, err = createTLS(a.key, t, a.issuing, pub); err != nil {
		return nil, nil, fmt.Errorf("certifying the document key of seal %s: %w", r.ESID, err)
	}
	return certDER, a.Chain(), nil
}
