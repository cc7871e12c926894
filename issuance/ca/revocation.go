package ca

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"sealkeeper/internal/gm"
)

// Reasons of RFC 5280 §5.3.1 that seals end for.
const (
	ReasonUnspecified = 0
	ReasonCompromise  = 1 // keyCompromise
	ReasonSuperseded  = 4
	ReasonCessation   = 5 // cessationOfOperation
)

// Revoked is one certificate that ended before its time.
type Revoked struct {
	Certificate []byte // DER
	At          time.Time
	Reason      int
}

// RevocationList makes the CRL of this authority (RFC 5280 §5, GB/T 20518): all of the certificates that it issued itself; others are left
// out. number must rise from list to list. Errors: gm.ErrCertificate, ErrAuthority, the key's.
func (e *Embedded) RevocationList(ctx context.Context, number uint64, from, next time.Time, all []Revoked) ([]byte, error) {
	t := &gm.RevocationList{Number: new(big.Int).SetUint64(number), ThisUpdate: from.UTC(), NextUpdate: next.UTC(), SignatureAlgorithm: gm.SM2WithSM3}
	for _, r := range all {
		c, err := gm.ParseCertificate(r.Certificate)
		if err != nil {
			return nil, fmt.Errorf("listing a revoked certificate: %w", err)
		}
		if string(c.RawIssuer) != string(e.issuing.RawSubject) {
			continue
		}
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, gm.RevokedCertificate{SerialNumber: c.SerialNumber, RevocationTime: r.At.UTC(), ReasonCode: r.Reason})
	}
	der, err := gm.CreateRevocationList(t, e.issuing, gm.NewSigner(e.key.Public(), func(m []byte) ([]byte, error) { return e.key.Sign(ctx, m) }))
	if err != nil {
		return nil, err
	}
	l, err := gm.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if err := l.CheckSignatureFrom(e.issuing); err != nil || len(l.RevokedCertificateEntries) != len(t.RevokedCertificateEntries) {
		return nil, fmt.Errorf("revocation list %d, read back: %w: %w", number, ErrAuthority, err)
	}
	return der, nil
}
