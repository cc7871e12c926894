package seal

import (
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

// Certificate is what judging a seal needs of a certificate, also of one that a strict reader rejects: seals in service carry
// certificates with forbidden bytes in a name or an unreadable extension.
type Certificate struct {
	Raw        []byte
	X509       *gm.Certificate // nil when Defect is set
	Defect     error           // why the strict reader rejects it; nil for a sound certificate
	Key        *gm.PublicKey   // nil when the key is not SM2
	Serial     *big.Int
	CommonName string // of the subject
	NotBefore  time.Time
	NotAfter   time.Time
}

// ReadCertificate reads one DER certificate, and falls back to a minimal reader of key, serial number and validity. Bytes that even
// that cannot read are gm.ErrCertificate.
func ReadCertificate(der []byte) (*Certificate, error) {
	x, strict := gm.ParseCertificate(der)
	if strict == nil {
		c := &Certificate{
			Raw: der, X509: x, Serial: x.SerialNumber, CommonName: x.Subject.CommonName,
			NotBefore: x.NotBefore.UTC(), NotAfter: x.NotAfter.UTC(),
		}
		if k, err := gm.CertificateKey(x); err == nil {
			c.Key = k
		}
		return c, nil
	}
	c, err := readDefective(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", gm.ErrCertificate, strict)
	}
	c.Defect = strict
	return c, nil
}

// ValidAt reports whether t lies within the certificate's validity, both ends included.
func (c *Certificate) ValidAt(t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// readDefective walks Certificate ::= SEQUENCE { tbsCertificate, … } (RFC 5280 §4.1) as far as subjectPublicKeyInfo.
func readDefective(der []byte) (*Certificate, error) {
	outer, r := document(der, "certificate")
	tbs := outer.sequence("tbsCertificate")
	if tbs.next(tagExplicit0) {
		tbs.take(tagExplicit0, "version")
	}
	c := &Certificate{Raw: der, Serial: new(big.Int)}
	serial := tbs.take(asn1.INTEGER, "serialNumber")
	if len(serial) == 0 || len(serial) > 64 {
		tbs.fail("serialNumber")
	}
	c.Serial.SetBytes(serial)
	tbs.sequence("signature")
	tbs.sequence("issuer")
	validity := tbs.sequence("validity")
	c.NotBefore = validity.certificateTime("notBefore")
	c.NotAfter = validity.certificateTime("notAfter")
	c.CommonName = commonName(tbs.sequence("subject"))
	spki := tbs.sequence("subjectPublicKeyInfo")
	c.Key = spki.sm2Key()
	return c, r.err
}

func (d *decoder) certificateTime(what string) time.Time {
	if d.next(asn1.GeneralizedTime) {
		return d.generalizedTime(what)
	}
	return d.utcTime(what)
}

// sm2Key reads SubjectPublicKeyInfo; a key of another kind is nil.
func (d *decoder) sm2Key() *gm.PublicKey {
	algorithm := d.sequence("algorithm")
	id := algorithm.oid("algorithm")
	var curve string
	if algorithm.next(asn1.OBJECT_IDENTIFIER) {
		curve = algorithm.oid("curve")
	}
	point := d.bits("subjectPublicKey")
	const ecPublicKey, sm2 = "1.2.840.10045.2.1", "1.2.156.10197.1.301"
	if d.err != nil || id != sm2 && (id != ecPublicKey || curve != sm2) {
		return nil
	}
	k, err := gm.NewPublicKey(point)
	if err != nil {
		return nil
	}
	return k
}

// commonName returns the first CN of a Name, or nothing where the name cannot be walked: a name never decides anything here.
func commonName(name decoder) string {
	in := name.in
	for !in.Empty() {
		var rdn, attr, oid, value cryptobyte.String
		var tag asn1.Tag
		if !in.ReadASN1(&rdn, asn1.SET) || !rdn.ReadASN1(&attr, asn1.SEQUENCE) ||
			!attr.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !attr.ReadAnyASN1(&value, &tag) {
			return ""
		}
		if string(oid) == "\x55\x04\x03" && utf8.Valid(value) {
			return string(value)
		}
	}
	return ""
}
