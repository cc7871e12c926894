package seal

import (
	encasn1 "encoding/asn1"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Element limits: far above anything seen, low enough that a parse stays cheap.
const (
	maxListed     = 1024
	maxExtensions = 256
)

const (
	tagExplicit0 = asn1.Tag(0xA0) // [0] EXPLICIT
	tagImplicit0 = asn1.Tag(0x80) // [0] IMPLICIT of a primitive type
)

// reading is what all decoders of one parse share: the first error and the notes.
type reading struct {
	err   error
	notes []Note
}

func (r *reading) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("reading %s: %w", what, ErrStructure)
	}
}

func (r *reading) note(code, format string, args ...any) {
	r.notes = append(r.notes, Note{code, fmt.Sprintf(format, args...)})
}

// decoder walks one constructed element. cryptobyte holds the lengths to DER (definite, minimal, inside the parent); nothing is
// allocated by a claimed length. After the first error every read returns a zero value.
type decoder struct {
	in cryptobyte.String
	*reading
}

func (d decoder) ok() bool { return d.err == nil }

// take reads one element of the given tag and returns its content.
func (d *decoder) take(tag asn1.Tag, what string) cryptobyte.String {
	var s cryptobyte.String
	if d.err != nil || !d.in.ReadASN1(&s, tag) {
		d.fail(what)
		return nil
	}
	return s
}

// raw reads one element of the given tag with its header.
func (d *decoder) raw(tag asn1.Tag, what string) []byte {
	var s cryptobyte.String
	if d.err != nil || !d.in.ReadASN1Element(&s, tag) {
		d.fail(what)
		return nil
	}
	return s
}

func (d *decoder) sequence(what string) decoder {
	return decoder{d.take(asn1.SEQUENCE, what), d.reading}
}

func (d *decoder) next(tag asn1.Tag) bool {
	return d.err == nil && !d.in.Empty() && d.in.PeekASN1Tag(tag)
}

func (d *decoder) end(what string) {
	if d.err == nil && !d.in.Empty() {
		d.fail("end of " + what)
	}
}

func (d *decoder) integer(what string) int {
	var n int64
	if d.err != nil || !d.in.ReadASN1Integer(&n) || int64(int32(n)) != n {
		d.fail(what)
		return 0
	}
	return int(n)
}

// text reads a character string. A byte that its type forbids is kept and noted.
func (d *decoder) text(tag asn1.Tag, what string) string {
	s := string(d.take(tag, what))
	if tag == asn1.UTF8String && !utf8.ValidString(s) {
		d.note(NoteString, "%s is not UTF-8", what)
	}
	if tag != asn1.UTF8String && !isASCII(s) {
		d.note(NoteString, "%s holds bytes outside ASCII", what)
	}
	return s
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// bits reads a BIT STRING of byte data. Encoders that strip trailing zero bits leave unused bits; the octets are taken as they are.
func (d *decoder) bits(what string) []byte {
	return d.bitContent(d.take(asn1.BIT_STRING, what), what)
}

func (d *decoder) bitContent(s cryptobyte.String, what string) []byte {
	if d.err != nil || len(s) == 0 || s[0] > 7 || (len(s) == 1 && s[0] != 0) {
		d.fail(what)
		return nil
	}
	if s[0] != 0 {
		d.note(NoteUnusedBits, "%s has %d unused bits", what, s[0])
	}
	return s[1:]
}

// bitsOrOctets is for v1, where OCTET STRING occurs in place of BIT STRING.
func (d *decoder) bitsOrOctets(what string) []byte {
	if d.next(asn1.OCTET_STRING) {
		d.note(NoteOctetString, "%s is an OCTET STRING", what)
		return d.take(asn1.OCTET_STRING, what)
	}
	return d.bits(what)
}

func (d *decoder) oid(what string) string {
	content := d.take(asn1.OBJECT_IDENTIFIER, what)
	if d.err != nil || len(content) == 0 || len(content) > 128 {
		d.fail(what)
		return ""
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	whole := cryptobyte.String(b.BytesOrPanic())
	var id encasn1.ObjectIdentifier
	if whole.ReadASN1ObjectIdentifier(&id) {
		return id.String()
	}
	d.note(NoteObjectID, "%s has no dotted form", what)
	return fmt.Sprintf("0x%x", []byte(content))
}

const generalizedForm = "20060102150405Z0700"

// generalizedTime reads the only form the standard knows, YYYYMMDDHHMMSSZ; fractions and offsets are accepted with a note.
func (d *decoder) generalizedTime(what string) time.Time {
	s := string(d.take(asn1.GeneralizedTime, what))
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(generalizedForm, s)
	if err != nil {
		d.fail(what)
		return time.Time{}
	}
	if t = t.UTC(); t.Format(generalizedForm) != s {
		d.note(NoteTimeForm, "%s is written %q", what, s)
	}
	return t
}

// extensions reads ExtensionDatas, the SEQUENCE OF ExtData itself.
func (d *decoder) extensions(what string) []Extension {
	list := d.sequence(what)
	return list.extensionItems(what)
}

func (d *decoder) extensionItems(what string) []Extension {
	var out []Extension
	for d.ok() && !d.in.Empty() {
		if len(out) == maxExtensions {
			d.fail("number of " + what)
			return nil
		}
		item := d.sequence("ExtData")
		e := Extension{OID: item.oid("extnID")}
		if item.next(asn1.BOOLEAN) && !item.in.ReadASN1Boolean(&e.Critical) {
			item.fail("critical")
		}
		e.Value = item.take(asn1.OCTET_STRING, "extnValue")
		item.end("ExtData")
		out = append(out, e)
	}
	return out
}

// document opens the outermost SEQUENCE of a structure of its own: nothing may follow it.
func document(der []byte, what string) (decoder, *reading) {
	r := new(reading)
	if len(der) > MaxSize {
		r.err = fmt.Errorf("%s of %d bytes, limit %d: %w", what, len(der), MaxSize, ErrStructure)
		return decoder{nil, r}, r
	}
	d := decoder{der, r}
	inner := d.sequence(what)
	d.end(what)
	return inner, r
}

// children counts the elements of a SEQUENCE up to limit+1 without reading into them.
func children(s cryptobyte.String, limit int) int {
	n := 0
	for !s.Empty() && n <= limit {
		var e cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&e, &tag) {
			return -1
		}
		n++
	}
	return n
}
