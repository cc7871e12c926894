package signeddata

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// readSigner walks SignerInfo (RFC 5652 §5.3).
func readSigner(d *decoder) *Signer {
	outside := len(d.notes)
	i := &Signer{}
	i.Version = d.integer("SignerInfo version")
	i.readIdentifier(d)
	i.DigestOID, _ = d.algorithm("digestAlgorithm")
	if d.next(tagExplicit0) {
		i.readSigned(d)
	}
	i.SignatureOID, i.parameters = d.algorithm("signatureAlgorithm")
	i.Value = d.take(asn1.OCTET_STRING, "signature")
	if d.next(tagExplicit1) {
		i.readUnsigned(d)
	}
	d.end("SignerInfo")
	if d.ok() && i.Version != 1 && (i.Version != 3 || i.KeyID == nil) {
		d.note(NoteVersion, "SignerInfo version %d", i.Version)
	}
	// What was noted here belongs to the signer.
	i.Notes = append(i.Notes, d.notes[outside:]...)
	d.notes = d.notes[:outside:outside]
	return i
}

func (i *Signer) readIdentifier(d *decoder) {
	if d.next(tagImplicit0) {
		i.KeyID = d.take(tagImplicit0, "subjectKeyIdentifier")
		if len(i.KeyID) == 0 {
			d.fail("subjectKeyIdentifier")
		}
		return
	}
	id := d.sequence("issuerAndSerialNumber")
	i.Issuer = id.raw(asn1.SEQUENCE, "issuer")
	i.Serial = id.take(asn1.INTEGER, "serialNumber")
	id.end("issuerAndSerialNumber")
}

// readSigned keeps the signed attributes twice: as the message, only the first byte changed (RFC 5652 §5.4), and taken apart.
func (i *Signer) readSigned(d *decoder) {
	raw := d.raw(tagExplicit0, "signed attributes")
	if !d.ok() {
		return
	}
	i.Attributes = bytes.Clone(raw)
	i.Attributes[0] = byte(asn1.SET)
	set := decoder{raw, d.reading}
	i.Signed = set.enter(tagExplicit0, "signed attributes").attributes("signed attributes", i.noteOrder)
	once := decoder{nil, d.reading}
	if v := once.single(i.Signed, OIDContentType, true); v != nil {
		value := decoder{v, d.reading}
		i.contentType = value.oid("contentType")
	}
	if v := once.single(i.Signed, OIDMessageDigest, true); v != nil {
		value := decoder{v, d.reading}
		i.MessageDigest = value.take(asn1.OCTET_STRING, "messageDigest")
	}
	if v := once.single(i.Signed, OIDSigningTime, false); v != nil {
		value := decoder{v, d.reading}
		i.SigningTime = value.clock("signingTime")
		value.end("signingTime")
	}
	i.readCertID(d.reading)
}

func (i *Signer) noteOrder(d *decoder) {
	d.note(NoteAttributeOrder, "signed attributes are not in DER order")
}

// attributes reads Attribute items; unordered is called when they are not ascending as SET OF asks in DER.
func (d *decoder) attributes(what string, unordered func(*decoder)) []Attribute {
	var out []Attribute
	var last []byte
	ordered := true
	for d.more() {
		if len(out) == maxAttributes {
			d.fail("number of " + what)
			return nil
		}
		raw := d.raw(asn1.SEQUENCE, what)
		ordered = ordered && bytes.Compare(last, raw) <= 0
		last = raw
		outer := decoder{raw, d.reading}
		item := outer.sequence(what)
		a := Attribute{OID: item.oid(what + " type")}
		values := item.enter(asn1.SET, what+" values")
		for values.more() {
			if len(a.Values) == maxAttributes {
				d.fail("number of values of " + what)
				return nil
			}
			v, _ := values.any(what + " value")
			a.Values = append(a.Values, v)
		}
		item.end(what)
		out = append(out, a)
	}
	if d.ok() && len(out) == 0 {
		d.failWith(ErrAttributes, "%s are empty", what)
	}
	if d.ok() && !ordered && unordered != nil {
		unordered(d)
	}
	return out
}

// single finds the one value of an attribute that must not occur twice nor hold several values (RFC 5652 §11.1 to §11.3).
func (d *decoder) single(all []Attribute, oid string, mandatory bool) []byte {
	if !d.ok() {
		return nil
	}
	var found []byte
	n := 0
	for _, a := range all {
		if a.OID != oid {
			continue
		}
		if n++; n > 1 || len(a.Values) != 1 {
			d.failWith(ErrAttributes, "%s more than once, or without one value", oid)
			return nil
		}
		found = a.Values[0]
	}
	if n == 0 && mandatory {
		d.failWith(ErrAttributes, "%s is missing", oid)
	}
	return found
}

func (i *Signer) readUnsigned(d *decoder) {
	set := d.enter(tagExplicit1, "unsigned attributes")
	if d.ok() && !set.more() {
		d.note(NoteOther, "unsigned attributes are an empty set")
		return
	}
	i.Unsigned = set.attributes("unsigned attributes", nil)
	count := 0
	for _, a := range i.Unsigned {
		if a.OID != OIDTimeStampToken {
			continue
		}
		for _, v := range a.Values {
			if count++; count == 1 {
				i.Timestamp = v
			}
		}
	}
	if d.ok() && count > 1 {
		d.note(NoteTimestamps, "%d time stamps, the first is exposed", count)
	}
}

// CertID is the first entry of a signing-certificate attribute: what the signer says its certificate is.
type CertID struct {
	DigestOID string // SHA-1 for version 1 (RFC 2634 §5.4); SHA-256 unless stated for version 2 (RFC 5035 §3)
	Digest    []byte
	Issuer    []byte // raw Name, or nil where issuerSerial is absent or not a single directoryName
	Serial    []byte // content octets, or nil
}

func (i *Signer) readCertID(r *reading) {
	once := decoder{nil, r}
	v1 := once.single(i.Signed, OIDSigningCertificate, false)
	v2 := once.single(i.Signed, OIDSigningCertificateV2, false)
	if v2 != nil {
		i.CertID = (&decoder{v2, r}).certID(true)
	} else if v1 != nil {
		i.CertID = (&decoder{v1, r}).certID(false)
	}
}

// certID reads SigningCertificate or SigningCertificateV2 as far as the first ESSCertID.
func (d *decoder) certID(v2 bool) *CertID {
	outer := d.sequence("SigningCertificate")
	d.end("SigningCertificate")
	certs := outer.sequence("certs")
	item := certs.sequence("ESSCertID")
	id := &CertID{DigestOID: OIDSHA1}
	if v2 {
		id.DigestOID = OIDSHA256
		if item.next(asn1.SEQUENCE) {
			id.DigestOID, _ = item.algorithm("ESSCertID hashAlgorithm")
		}
	}
	id.Digest = item.take(asn1.OCTET_STRING, "certHash")
	if item.more() {
		is := item.sequence("issuerSerial")
		general := is.sequence("issuer")
		if general.next(asn1.Tag(0xA4)) {
			id.Issuer = general.enter(0xA4, "directoryName").raw(asn1.SEQUENCE, "directoryName")
		}
		if general.more() {
			id.Issuer = nil
		}
		id.Serial = is.take(asn1.INTEGER, "serialNumber")
		is.end("issuerSerial")
	}
	item.end("ESSCertID")
	return id
}

// MatchCertificate checks the signing-certificate attribute against the signer's certificate. It returns nil where they agree, ErrESS
// where they do not or the attribute is missing (CertID is nil then), ErrCertificate, or ErrAlgorithm.
func (i *Signer) MatchCertificate() error {
	if i.CertID == nil {
		return fmt.Errorf("no such attribute: %w", ErrESS)
	}
	if i.Certificate == nil {
		return fmt.Errorf("not enclosed: %w", ErrCertificate)
	}
	digest, err := Digest(i.CertID.DigestOID, i.Certificate)
	if err != nil {
		return fmt.Errorf("signing-certificate attribute: %w", err)
	}
	id, ok := identify(i.Certificate)
	if !ok || !bytes.Equal(digest, i.CertID.Digest) ||
		i.CertID.Serial != nil && !bytes.Equal(i.CertID.Serial, id.serial) ||
		i.CertID.Issuer != nil && !bytes.Equal(i.CertID.Issuer, id.issuer) {
		return ErrESS
	}
	return nil
}

// looksSigned reports whether content could be taken for signed attributes: a SET of SEQUENCE{OID, SET}.
func looksSigned(content []byte) bool {
	if len(content) == 0 || content[0] != byte(asn1.SET) {
		return false
	}
	in, set := cryptobyte.String(content), cryptobyte.String(nil)
	if !in.ReadASN1(&set, asn1.SET) || !in.Empty() || set.Empty() {
		return false
	}
	var item, oid, values cryptobyte.String
	return set.ReadASN1(&item, asn1.SEQUENCE) && item.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) &&
		item.ReadASN1(&values, asn1.SET) && item.Empty()
}
