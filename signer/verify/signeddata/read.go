package signeddata

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

// read walks ContentInfo and SignedData (RFC 5652 §3 and §5.1, GB/T 35275 §8).
func (s *SignedData) read(d *decoder, signers int) {
	outer := d.sequence("ContentInfo")
	switch id := outer.oid("contentType"); {
	case d.err != nil:
	case id == OIDGMSignedData:
		s.GM = true
	case id != OIDSignedData:
		d.failWith(ErrContentInfo, "content type %s", id)
	}
	wrapper := outer.enter(tagExplicit0, "content")
	outer.end("ContentInfo")
	body := wrapper.sequence("SignedData")
	wrapper.end("content")
	s.Version = body.integer("version")
	s.readDigests(body.enter(asn1.SET, "digestAlgorithms"))
	s.readContent(body.sequence("encapContentInfo"))
	if body.next(tagExplicit0) {
		s.readCertificates(body.enter(tagExplicit0, "certificates"))
	}
	if body.next(tagExplicit1) {
		s.readCRLs(body.enter(tagExplicit1, "crls"))
	}
	s.readSigners(body.enter(asn1.SET, "signerInfos"), signers)
	body.end("SignedData")
	s.noteForms(d)
}

func (s *SignedData) readDigests(d *decoder) {
	for d.more() {
		if len(s.DigestOIDs) == maxAlgorithms {
			d.fail("number of digestAlgorithms")
			return
		}
		oid, _ := d.algorithm("digestAlgorithms")
		s.DigestOIDs = append(s.DigestOIDs, oid)
	}
}

// readContent reads EncapsulatedContentInfo. PKCS#7 would allow any type of content; only octets are read.
func (s *SignedData) readContent(d *decoder) {
	s.ContentType = d.oid("eContentType")
	if d.more() {
		explicit := d.enter(tagExplicit0, "eContent")
		s.Content = explicit.take(asn1.OCTET_STRING, "eContent")
		explicit.end("eContent")
		if s.Content == nil {
			s.Content = []byte{}
		}
	}
	d.end("encapContentInfo")
}

// readCertificates keeps X.509 certificates; the other kinds of CertificateChoices are obsolete or attribute certificates.
func (s *SignedData) readCertificates(d *decoder) {
	for n := 0; d.more(); n++ {
		if n == maxCertificates {
			d.fail("number of certificates")
			return
		}
		c, tag := d.any("certificate")
		switch tag {
		case asn1.SEQUENCE:
			s.Certificates = append(s.Certificates, c)
		case tagExplicit0, tagExplicit1, tagExplicit2, tagExplicit3:
			d.note(NoteOther, "certificate of kind [%d] skipped", tag&0x1F)
		default:
			d.fail("certificate")
		}
	}
}

func (s *SignedData) readCRLs(d *decoder) {
	for n := 0; d.more(); n++ {
		if n == maxCRLs {
			d.fail("number of crls")
			return
		}
		c, tag := d.any("crl")
		switch tag {
		case asn1.SEQUENCE:
			s.CRLs = append(s.CRLs, c)
		case tagExplicit1:
			d.note(NoteOther, "revocation information of another kind skipped")
		default:
			d.fail("crl")
		}
	}
}

func (s *SignedData) readSigners(d *decoder, limit int) {
	limit = min(limit, maxSigners)
	for d.more() {
		if len(s.Signers) == limit {
			d.failWith(ErrSigners, "more than %d", limit)
			return
		}
		s.Signers = append(s.Signers, readSigner(d.sequence("SignerInfo")))
	}
	if d.ok() && len(s.Signers) == 0 {
		d.failWith(ErrSigners, "none")
	}
}

// noteForms notes what does not fit together but changes no meaning. Versions: RFC 5652 §5.1; GB/T 35275 knows 1 alone.
func (s *SignedData) noteForms(d *decoder) {
	if !d.ok() {
		return
	}
	switch {
	case s.Version < 1 || s.Version > 5 || s.GM && s.Version != 1:
		d.note(NoteVersion, "SignedData version %d", s.Version)
	case !s.GM && s.ContentType != OIDData && s.ContentType != OIDGMData && s.Version == 1:
		d.note(NoteVersion, "SignedData version 1 around content of type %s, which asks for 3", s.ContentType)
	}
	if s.GM && s.ContentType == OIDData || !s.GM && s.ContentType == OIDGMData {
		d.note(NoteMixedTypes, "content of type %s in SignedData of the other standard", s.ContentType)
	}
	for _, oid := range s.DigestOIDs {
		if oid == OIDSM2WithSM3 {
			d.note(NoteDigestSet, "digestAlgorithms lists the signature algorithm %s", oid)
		}
	}
}

// finish relates a signer to the whole: the rules between its attributes and the content, and its certificate.
func (s *SignedData) finish(i *Signer) error {
	if i.Attributes == nil && s.ContentType != OIDData && s.ContentType != OIDGMData {
		return fmt.Errorf("content of type %s signed without attributes: %w", s.ContentType, ErrAttributes) // RFC 5652 §5.3
	}
	if i.Attributes != nil && i.contentType != s.ContentType {
		return fmt.Errorf("attribute says %s, content is %s: %w", i.contentType, s.ContentType, ErrContentType)
	}
	if !slices.Contains(s.DigestOIDs, i.DigestOID) {
		i.note(NoteDigestSet, "digestAlgorithms does not list %s", Name(i.DigestOID))
	}
	if err := i.Supply(s.Certificates...); err != nil {
		return err
	}
	i.noteAlgorithms()
	return nil
}

func (i *Signer) note(code, format string, args ...any) {
	i.Notes = append(i.Notes, Note{code, fmt.Sprintf(format, args...)})
}

func (i *Signer) noteAlgorithms() {
	switch i.SignatureOID {
	case OIDSM2, OIDECKey:
		i.note(NoteAlgorithm, "signature algorithm is the key's OID %s", i.SignatureOID)
	case OIDSHA1RSA, OIDECDSASHA1:
		i.note(NoteWeak, "%s", Name(i.SignatureOID))
	}
	if i.DigestOID == OIDSHA1 && i.SignatureOID != OIDSHA1RSA && i.SignatureOID != OIDECDSASHA1 {
		i.note(NoteWeak, "digest SHA-1")
	}
	if isSM2(i.SignatureOID) {
		if _, dev, err := gm.DecodeLenient(i.Value); err == nil && dev != "" {
			i.note(NoteValueForm, "%s", dev)
		}
	}
}

// Supply names further certificates, for a structure that does not enclose its signer's. The one that the signer identifier names is
// taken; two different ones with one identity are ErrCertificate. An enclosed certificate is never replaced.
func (i *Signer) Supply(certificates ...[]byte) error {
	if i.Certificate != nil {
		return nil
	}
	for _, der := range certificates {
		if !i.names(der) || bytes.Equal(i.Certificate, der) {
			continue
		}
		if i.Certificate != nil {
			i.Certificate = nil
			return fmt.Errorf("two certificates have the signer's identity: %w", ErrCertificate)
		}
		i.Certificate = der
	}
	if i.Certificate != nil {
		i.readSignatory()
	}
	return nil
}

func (i *Signer) names(der []byte) bool {
	id, ok := identify(der)
	if !ok {
		return false
	}
	if i.KeyID != nil {
		return bytes.Equal(i.KeyID, id.keyID)
	}
	return bytes.Equal(i.Issuer, id.issuer) && bytes.Equal(i.Serial, id.serial)
}

func (i *Signer) readSignatory() {
	if i.signatory, i.unreadable = ReadCertificate(i.Certificate); i.unreadable != nil {
		return
	}
	if i.signatory.Defect != nil {
		i.note(NoteCertificate, "%v", i.signatory.Defect)
	}
	if k, ok := i.signatory.Public.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		i.note(NoteShortKey, "RSA key of %d bits", k.N.BitLen())
	}
}

// Signatory returns the signer's certificate, or ErrCertificate where none is enclosed or it cannot be read at all.
func (i *Signer) Signatory() (*Certificate, error) {
	switch {
	case i.unreadable != nil:
		return nil, i.unreadable
	case i.signatory == nil:
		return nil, fmt.Errorf("not enclosed: %w", ErrCertificate)
	}
	return i.signatory, nil
}
