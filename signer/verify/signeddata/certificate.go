package signeddata

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/seal"
)

// Certificate is what judging a signature needs of its signer's certificate, also of one that a strict reader rejects.
type Certificate struct {
	*seal.Certificate
	Issuer []byte           // raw Name, header included
	Public crypto.PublicKey // *gm.PublicKey, *ecdsa.PublicKey, *rsa.PublicKey; nil for other kinds
}

// identity is how a SignerInfo names a certificate.
type identity struct {
	issuer, serial, keyID []byte
	spki                  []byte
}

// ReadCertificate reads one certificate, SM2, ECDSA or RSA. One that the strict reader rejects is read as far as judging needs, with
// Defect set. Errors: ErrCertificate.
func ReadCertificate(der []byte) (*Certificate, error) {
	c, err := seal.ReadCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	id, ok := identify(der)
	if !ok {
		return nil, fmt.Errorf("reading TBSCertificate: %w", ErrCertificate)
	}
	out := &Certificate{Certificate: c, Issuer: id.issuer}
	switch {
	case c.Key != nil:
		out.Public = c.Key
	case c.X509 != nil:
		out.Public = c.X509.PublicKey
	default:
		if k, err := x509.ParsePKIXPublicKey(id.spki); err == nil {
			out.Public = k
		}
	}
	return out, nil
}

// identify walks TBSCertificate (RFC 5280 §4.1) for the raw issuer, serial number, key and subjectKeyIdentifier.
func identify(der []byte) (id identity, ok bool) {
	r := &reading{}
	d := decoder{der, r}
	tbs := d.sequence("Certificate").sequence("TBSCertificate")
	if tbs.next(tagExplicit0) {
		tbs.take(tagExplicit0, "version")
	}
	id.serial = tbs.take(asn1.INTEGER, "serialNumber")
	tbs.take(asn1.SEQUENCE, "signature")
	id.issuer = tbs.raw(asn1.SEQUENCE, "issuer")
	tbs.take(asn1.SEQUENCE, "validity")
	tbs.take(asn1.SEQUENCE, "subject")
	id.spki = tbs.raw(asn1.SEQUENCE, "subjectPublicKeyInfo")
	if r.err != nil {
		return identity{}, false
	}
	id.keyID = subjectKeyID(tbs)
	return id, true
}

// subjectKeyID looks for extension 2.5.29.14; a certificate whose extensions cannot be walked has none.
func subjectKeyID(tbs *decoder) []byte {
	for _, tag := range []asn1.Tag{tagImplicit1, asn1.Tag(0x82)} {
		if tbs.next(tag) {
			tbs.take(tag, "unique identifier")
		}
	}
	if !tbs.next(tagExplicit3) {
		return nil
	}
	list := tbs.enter(tagExplicit3, "extensions").sequence("extensions")
	for list.more() {
		var oid, value, octets cryptobyte.String
		item := list.sequence("extension")
		if !item.ok() || !item.in.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return nil
		}
		item.in.SkipOptionalASN1(asn1.BOOLEAN)
		if string(oid) == "\x55\x1d\x0e" && item.in.ReadASN1(&value, asn1.OCTET_STRING) && value.ReadASN1(&octets, asn1.OCTET_STRING) {
			return octets
		}
	}
	return nil
}
