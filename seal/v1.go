package seal

import (
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// This file is the reader of GM/T 0031-2014. It fills the same values as the reader of the later standards and shares no decision
// with it.

// readV1 reads SESeal ::= SEQUENCE { esealInfo, signInfo }.
func (s *Seal) readV1(d decoder) {
	s.Generation = V1
	s.InfoRaw = d.raw(asn1.SEQUENCE, "SES_SealInfo")
	sign := d.sequence("SES_SignInfo")
	d.end("SESeal")
	certTLV := sign.raw(asn1.OCTET_STRING, "cert of the seal maker")
	ahead := sign // reads the same element twice: once whole, once for its value
	oidTLV := ahead.raw(asn1.OBJECT_IDENTIFIER, "signatureAlgorithm")
	s.Algorithm = sign.oid("signatureAlgorithm")
	s.Signature = sign.bits("signData")
	sign.end("SES_SignInfo")
	s.readInfoV1(decoder{s.InfoRaw, d.reading})
	if !d.ok() {
		return
	}
	cert := decoder{certTLV, d.reading}
	s.MakerCert = cert.take(asn1.OCTET_STRING, "cert of the seal maker")
	s.message = sequenceOf(s.InfoRaw, certTLV, oidTLV)
	if s.Info.Version == 5 {
		d.note(NoteHeaderVersion, "header version %d in a structure of v1", s.Info.Version)
	}
	d.noteSignature(s.Signature, "signData")
}

func (s *Seal) readInfoV1(outer decoder) {
	d := outer.sequence("SES_SealInfo")
	s.Info.readHeader(d.sequence("SES_Header"))
	s.Info.ESID = d.text(asn1.IA5String, "esID")
	s.Info.readPropertyV1(d.sequence("SES_ESPropertyInfo"))
	s.Info.readPicture(d.sequence("SES_ESPictureInfo"))
	s.Info.readExtensions(&d)
	d.end("SES_SealInfo")
}

func (i *Info) readPropertyV1(d decoder) {
	i.Type = d.integer("type")
	i.Name = d.text(asn1.UTF8String, "name")
	list := d.sequence("certList")
	i.Certs = list.certificatesV1()
	i.CreateDate = d.utcTime("createDate")
	i.ValidStart = d.utcTime("validStart")
	i.ValidEnd = d.utcTime("validEnd")
	d.end("SES_ESPropertyInfo")
}

// certificatesV1 tolerates IA5String elements: the standard leaves "cert" undefined there.
func (d *decoder) certificatesV1() [][]byte {
	var out [][]byte
	for d.ok() && !d.in.Empty() {
		if len(out) == maxListed {
			d.fail("number of listed certificates")
			return nil
		}
		if d.next(asn1.IA5String) {
			d.note(NoteCertificateList, "listed certificate is an IA5String")
			out = append(out, d.take(asn1.IA5String, "listed certificate"))
			continue
		}
		out = append(out, d.take(asn1.OCTET_STRING, "listed certificate"))
	}
	return out
}

func (d *decoder) utcTime(what string) time.Time {
	if d.next(asn1.GeneralizedTime) {
		d.note(NoteTimeForm, "%s is a GeneralizedTime", what)
		return d.generalizedTime(what)
	}
	t, ok := parseUTCTime(string(d.take(asn1.UTCTime, what)))
	if d.ok() && !ok {
		d.fail(what)
	}
	return t
}

func parseUTCTime(s string) (time.Time, bool) {
	for _, layout := range []string{"060102150405Z0700", "0601021504Z0700"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if t.Year() >= 2050 { // X.680: two-digit years from 50 on lie in the 1900s; Go turns at 69
			t = t.AddDate(-100, 0, 0)
		}
		return t.UTC(), true
	}
	return time.Time{}, false
}

// readV1 reads SES_Signature ::= SEQUENCE { toSign, signature }, whose TBS_Sign holds certificate and algorithm.
func (s *Signature) readV1(d decoder) {
	s.Generation = V1
	s.TBS = d.raw(asn1.SEQUENCE, "TBS_Sign")
	s.Value = d.bits("signature")
	d.end("SES_Signature")
	outer := decoder{s.TBS, d.reading}
	t := outer.sequence("TBS_Sign")
	s.Version = t.integer("TBS_Sign version")
	s.readSeal(&t)
	s.readTimeV1(&t, t.timeInfoV1())
	s.DataHash = t.digest(t.bitsOrOctets("dataHash"))
	s.PropertyInfo = t.text(asn1.IA5String, "propertyInfo")
	s.Cert = t.take(asn1.OCTET_STRING, "cert of the signatory")
	s.Algorithm = t.oid("signatureAlgorithm")
	t.end("TBS_Sign")
	if !d.ok() {
		return
	}
	if s.Seal.Generation != V1 {
		d.fail("SES_Signature: seal of another generation")
		return
	}
	d.noteSignature(s.Value, "signature")
	s.noteVersion(d)
}

func (d *decoder) timeInfoV1() []byte {
	if d.next(asn1.UTCTime) || d.next(asn1.GeneralizedTime) {
		d.note(NoteTimeForm, "timeInfo is not a BIT STRING")
		var tag asn1.Tag
		var e cryptobyte.String
		if !d.in.ReadAnyASN1Element(&e, &tag) {
			d.fail("timeInfo")
		}
		return e
	}
	return d.bitsOrOctets("timeInfo")
}

var chinaStandardTime = time.FixedZone("UTC+8", 8*60*60)

// readTimeV1 takes timeInfo as a token, as an encoded time, or as the texts met in the field; text without a zone is UTC+8.
func (s *Signature) readTimeV1(d *decoder, b []byte) {
	if !d.ok() {
		return
	}
	in := cryptobyte.String(b)
	if len(b) > 0 && b[0] == byte(asn1.SEQUENCE) {
		s.Timestamp = b
		return
	}
	var content cryptobyte.String
	text := string(b)
	if in.ReadASN1(&content, asn1.UTCTime) || in.ReadASN1(&content, asn1.GeneralizedTime) {
		text = string(content)
	}
	text = strings.TrimSpace(text)
	if t, ok := parseUTCTime(text); ok {
		s.Time = t
		return
	}
	for _, layout := range []string{generalizedForm, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			d.note(NoteTimeForm, "timeInfo is the text %q", text)
			s.Time = t.UTC()
			return
		}
	}
	if t, err := time.ParseInLocation(time.DateTime, text, chinaStandardTime); err == nil {
		d.note(NoteLocalTime, "timeInfo %q has no zone, taken as UTC+8", text)
		s.Time = t.UTC()
		return
	}
	d.note(NoteTimeUnreadable, "timeInfo of %d bytes is neither a time nor a token", len(b))
}

// sequenceOf wraps complete elements into a SEQUENCE.
func sequenceOf(elements ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
	return b.BytesOrPanic()
}
