package seal

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// Signature is a parsed SES_Signature. Its slices share one copy of the input and must not be modified.
type Signature struct {
	Generation   Generation
	Raw          []byte // the whole SES_Signature as received
	TBS          []byte // TBS_Sign as received, header included: the bytes that were signed
	Version      int    // of TBS_Sign
	Seal         *Seal
	Time         time.Time // timeInfo, UTC: the signer's own clock; zero where v1 holds a token or nothing readable
	DataHash     [32]byte  // SM3 of the original (原文杂凑值)
	PropertyInfo string    // for OFD the package path of Signature.xml; free text in the wild
	Ext          []Extension
	Cert         []byte // certificate of the signatory (签章人), DER as received
	Algorithm    string // dotted OID
	Value        []byte // octets of the signature value as received
	Timestamp    []byte // TimeStampToken over Value, or nil
	Notes        []Note // of the signature alone; the seal has its own
}

// ParseSignature reads an SES_Signature of any generation: two elements are v1, four or five take the generation of the embedded
// seal. The input is copied once. Errors: ErrStructure.
func ParseSignature(der []byte) (*Signature, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("seal signature of %d bytes, limit %d: %w", len(der), MaxSize, ErrStructure)
	}
	der = bytes.Clone(der)
	d, r := document(der, "SES_Signature")
	if r.err != nil {
		return nil, r.err
	}
	s := &Signature{Raw: der}
	switch n := children(d.in, 5); n {
	case 2:
		s.readV1(d)
	case 4, 5:
		s.read(d)
	default:
		d.fail(fmt.Sprintf("SES_Signature: %d elements, want 2, 4 or 5", n))
	}
	if r.err != nil {
		return nil, r.err
	}
	s.Notes = r.notes
	return s, nil
}

func (s *Signature) read(d decoder) {
	s.TBS = d.raw(asn1.SEQUENCE, "TBS_Sign")
	s.Cert = d.take(asn1.OCTET_STRING, "cert of the signatory")
	s.Algorithm = d.oid("signatureAlgID")
	s.Value = d.bits("signature")
	if d.ok() && !d.in.Empty() {
		s.Timestamp = d.timestamp()
	}
	d.end("SES_Signature")
	s.readTBS(decoder{s.TBS, d.reading})
	if !d.ok() {
		return
	}
	if s.Seal.Generation == V1 {
		d.fail("SES_Signature: seal of another generation")
		return
	}
	s.Generation = s.Seal.Generation
	d.noteSignature(s.Value, "signature")
	s.noteVersion(d)
}

func (s *Signature) readTBS(outer decoder) {
	d := outer.sequence("TBS_Sign")
	s.Version = d.integer("TBS_Sign version")
	s.readSeal(&d)
	s.Time = d.generalizedTime("timeInfo")
	s.DataHash = d.digest(d.bits("dataHash"))
	s.PropertyInfo = d.text(asn1.IA5String, "propertyInfo")
	if d.ok() && !d.in.Empty() {
		s.Ext = d.taggedExtensions(true)
	}
	d.end("TBS_Sign")
}

func (s *Signature) readSeal(d *decoder) {
	raw := d.raw(asn1.SEQUENCE, "eseal")
	if !d.ok() {
		return
	}
	embedded, err := parseOwned(raw)
	if err != nil {
		d.err = fmt.Errorf("reading the embedded seal: %w", err)
		return
	}
	s.Seal = embedded
}

// digest takes dataHash to 32 bytes; encoders that strip trailing zero bits shorten it, which is restored and noted.
func (d *decoder) digest(b []byte) (out [32]byte) {
	if !d.ok() {
		return out
	}
	if len(b) == 0 || len(b) > len(out) {
		d.fail(fmt.Sprintf("dataHash of %d bytes", len(b)))
		return out
	}
	if len(b) < len(out) {
		d.note(NoteDigestPadded, "dataHash of %d bytes, zeros appended", len(b))
	}
	copy(out[:], b)
	return out
}

func (s *Signature) noteVersion(d decoder) {
	if s.Version != s.Seal.Info.Version {
		d.note(NoteTBSVersion, "TBS_Sign version %d, seal header version %d", s.Version, s.Seal.Info.Version)
	}
}

// Signatory reads the certificate of the signatory.
func (s *Signature) Signatory() (*Certificate, error) {
	c, err := ReadCertificate(s.Cert)
	if err != nil {
		return nil, fmt.Errorf("reading signatory certificate: %w", err)
	}
	return c, nil
}

// VerifyValue checks the signature value over TBS_Sign as received. It returns nil, ErrAlgorithm, ErrWeak, gm.ErrSignatureForm,
// gm.ErrSignature, or a certificate error. The embedded seal is judged apart, by Seal.VerifySignature.
func (s *Signature) VerifyValue() error {
	c, err := s.Signatory()
	if err != nil {
		return err
	}
	return verify(s.Generation, s.Algorithm, c, s.TBS, s.Value)
}

// SignatoryListed reports whether the embedded seal allows the signatory's certificate.
func (s *Signature) SignatoryListed() bool { return s.Seal.Lists(s.Cert) }
