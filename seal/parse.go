package seal

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

// Parse reads an SESeal of any generation. The structure decides which reader runs, before any version number is believed: two
// elements are v1, four v4 or v5, five v5. The input is copied once. Errors: ErrStructure.
func Parse(der []byte) (*Seal, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("seal of %d bytes, limit %d: %w", len(der), MaxSize, ErrStructure)
	}
	return parseOwned(bytes.Clone(der))
}

// parseOwned is Parse over bytes that nobody else will modify.
func parseOwned(der []byte) (*Seal, error) {
	d, r := document(der, "SESeal")
	if r.err != nil {
		return nil, r.err
	}
	s := &Seal{Raw: der}
	switch n := children(d.in, 5); n {
	case 2:
		s.readV1(d)
	case 4, 5:
		s.read(d)
	default:
		d.fail(fmt.Sprintf("SESeal: %d elements, want 2, 4 or 5", n))
	}
	if r.err != nil {
		return nil, r.err
	}
	s.Notes = r.notes
	return s, nil
}

// read is the reader of GB/T 38540-2020 and GM/T 0031-2025.
func (s *Seal) read(d decoder) {
	s.InfoRaw = d.raw(asn1.SEQUENCE, "SES_SealInfo")
	s.message = s.InfoRaw
	s.MakerCert = d.take(asn1.OCTET_STRING, "cert of the seal maker")
	s.Algorithm = d.oid("signAlgID")
	s.Signature = d.bits("signedValue")
	s.Generation = V4
	stamped := d.ok() && !d.in.Empty()
	if stamped {
		s.Timestamp = d.timestamp()
	}
	d.end("SESeal")
	s.readInfo(decoder{s.InfoRaw, d.reading})
	if s.Info.Version == 5 || stamped {
		s.Generation = V5
	}
	if v := s.Info.Version; d.ok() && v != 4 && v != 5 || stamped && v != 5 {
		d.note(NoteHeaderVersion, "header version %d in a structure of %s", v, s.Generation)
	}
	d.noteSignature(s.Signature, "signedValue")
}

func (s *Seal) readInfo(outer decoder) {
	d := outer.sequence("SES_SealInfo")
	s.Info.readHeader(d.sequence("SES_Header"))
	s.Info.ESID = d.text(asn1.IA5String, "esID")
	s.Info.readProperty(d.sequence("SES_ESPropertyInfo"))
	s.Info.readPicture(d.sequence("SES_ESPictureInfo"))
	s.Info.readExtensions(&d)
	d.end("SES_SealInfo")
}

// readExtensions reads the trailing extDatas of SES_SealInfo, untagged by the standard.
func (i *Info) readExtensions(d *decoder) {
	if d.ok() && !d.in.Empty() {
		i.Ext = d.taggedExtensions(false)
	}
}

func (i *Info) readHeader(d decoder) {
	if id := d.text(asn1.IA5String, "header id"); d.ok() && id != "ES" {
		d.fail("header id: want ES")
	}
	i.Version = d.integer("header version")
	i.Vid = d.text(asn1.IA5String, "vid")
	d.end("SES_Header")
}

func (i *Info) readProperty(d decoder) {
	i.Type = d.integer("type")
	i.Name = d.text(asn1.UTF8String, "name")
	i.CertListType = d.integer("certListType")
	list := d.sequence("certList")
	switch i.CertListType {
	case 1:
		i.Certs = list.certificates()
	case 2:
		i.CertDigests = list.certDigests()
	default:
		d.fail("certListType: want 1 or 2")
	}
	i.CreateDate = d.generalizedTime("createDate")
	i.ValidStart = d.generalizedTime("validStart")
	i.ValidEnd = d.generalizedTime("validEnd")
	d.end("SES_ESPropertyInfo")
}

func (d *decoder) certificates() [][]byte {
	var out [][]byte
	for d.ok() && !d.in.Empty() {
		if len(out) == maxListed {
			d.fail("number of listed certificates")
			return nil
		}
		out = append(out, d.take(asn1.OCTET_STRING, "listed certificate"))
	}
	return out
}

func (d *decoder) certDigests() []CertDigest {
	var out []CertDigest
	for d.ok() && !d.in.Empty() {
		if len(out) == maxListed {
			d.fail("number of listed certificate digests")
			return nil
		}
		item := d.sequence("CertDigestObj")
		c := CertDigest{Type: item.text(asn1.PrintableString, "digest type")}
		c.Value = item.take(asn1.OCTET_STRING, "digest value")
		item.end("CertDigestObj")
		out = append(out, c)
	}
	return out
}

func (i *Info) readPicture(d decoder) {
	p := &i.Picture
	p.Type = d.text(asn1.IA5String, "picture type")
	p.Data = d.take(asn1.OCTET_STRING, "picture data")
	p.WidthMM = d.integer("picture width")
	p.HeightMM = d.integer("picture height")
	d.end("SES_ESPictureInfo")
}

// timestamp reads timeStamp [0] EXPLICIT BIT STRING, and the untagged and IMPLICIT forms that some products write.
func (d *decoder) timestamp() []byte {
	const what = "timeStamp"
	switch {
	case d.next(tagExplicit0):
		inner := decoder{d.take(tagExplicit0, what), d.reading}
		token := inner.bits(what)
		inner.end(what)
		return token
	case d.next(tagImplicit0):
		d.note(NoteTagging, "timeStamp is tagged [0] IMPLICIT")
		return d.bitContent(d.take(tagImplicit0, what), what)
	default:
		d.note(NoteTagging, "timeStamp is not tagged")
		return d.bits(what)
	}
}

// taggedExtensions reads ExtensionDatas that are untagged by the standard (SES_SealInfo) or [0] EXPLICIT (TBS_Sign), and in either
// place also the other forms.
func (d *decoder) taggedExtensions(explicit bool) []Extension {
	const what = "extDatas"
	if !d.next(tagExplicit0) {
		if explicit {
			d.note(NoteTagging, "extDatas are not tagged")
		}
		return d.extensions(what)
	}
	inner := decoder{d.take(tagExplicit0, what), d.reading}
	probe := inner.in
	var first cryptobyte.String
	implicit := probe.ReadASN1(&first, asn1.SEQUENCE) && first.PeekASN1Tag(asn1.OBJECT_IDENTIFIER)
	if implicit || !explicit {
		d.note(NoteTagging, "extDatas are tagged [0] where the standard has another form")
	}
	if implicit {
		return inner.extensionItems(what)
	}
	out := inner.extensions(what)
	inner.end(what)
	return out
}

func (d *decoder) noteSignature(value []byte, what string) {
	if d.err != nil {
		return
	}
	if _, deviation, err := gm.DecodeLenient(value); err == nil && deviation != "" {
		d.note(NoteSignatureForm, "%s: %s", what, deviation)
	}
}
