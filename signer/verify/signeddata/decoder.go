package signeddata

import (
	encasn1 "encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	tagExplicit0 = asn1.Tag(0xA0) // [0] constructed
	tagExplicit1 = asn1.Tag(0xA1) // [1] constructed
	tagExplicit2 = asn1.Tag(0xA2)
	tagExplicit3 = asn1.Tag(0xA3)
	tagImplicit0 = asn1.Tag(0x80) // [0] primitive
	tagImplicit1 = asn1.Tag(0x81)
)

// reading is what all decoders of one parse share: the first error and the notes.
type reading struct {
	err   error
	notes []Note
}

func (r *reading) note(code, format string, args ...any) {
	r.notes = append(r.notes, Note{code, fmt.Sprintf(format, args...)})
}

func (r *reading) failWith(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, err)...)
	}
}

func (r *reading) fail(what string) { r.failWith(ErrStructure, "reading %s", what) }

// decoder walks one constructed element. cryptobyte holds the lengths to DER (definite, minimal, inside the parent); nothing is
// allocated by a claimed length. After the first error every read returns a zero value.
type decoder struct {
	in cryptobyte.String
	*reading
}

func (d *decoder) ok() bool { return d.err == nil }

func (d *decoder) more() bool { return d.err == nil && !d.in.Empty() }

func (d *decoder) next(tag asn1.Tag) bool { return d.more() && d.in.PeekASN1Tag(tag) }

// ber refuses what cryptobyte would refuse too, by its own name.
func (d *decoder) ber(what string) bool {
	if d.err == nil && (indefinite(d.in) || len(d.in) > 0 && d.in[0] == 0x24) {
		d.failWith(ErrBER, "reading %s", what)
		return true
	}
	return false
}

// take reads one element of the given tag and returns its content.
func (d *decoder) take(tag asn1.Tag, what string) cryptobyte.String {
	var s cryptobyte.String
	if d.ber(what) || d.err != nil || !d.in.ReadASN1(&s, tag) {
		d.fail(what)
		return nil
	}
	return s
}

// raw reads one element of the given tag with its header.
func (d *decoder) raw(tag asn1.Tag, what string) []byte {
	var s cryptobyte.String
	if d.ber(what) || d.err != nil || !d.in.ReadASN1Element(&s, tag) {
		d.fail(what)
		return nil
	}
	return s
}

// any reads one element of any tag with its header.
func (d *decoder) any(what string) (element []byte, tag asn1.Tag) {
	var s cryptobyte.String
	if d.ber(what) || d.err != nil || !d.in.ReadAnyASN1Element(&s, &tag) {
		d.fail(what)
		return nil, 0
	}
	return s, tag
}

func (d *decoder) enter(tag asn1.Tag, what string) *decoder {
	return &decoder{d.take(tag, what), d.reading}
}

func (d *decoder) sequence(what string) *decoder { return d.enter(asn1.SEQUENCE, what) }

func (d *decoder) end(what string) {
	if d.more() {
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

// number reads an INTEGER of at most limit content octets.
func (d *decoder) number(tag asn1.Tag, limit int, what string) *big.Int {
	content := d.take(tag, what)
	if d.err != nil || len(content) == 0 || len(content) > limit {
		d.fail(what)
		return new(big.Int)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	n, whole := new(big.Int), cryptobyte.String(b.BytesOrPanic())
	if !whole.ReadASN1Integer(n) {
		d.fail(what)
		return new(big.Int)
	}
	return n
}

// oid reads an OBJECT IDENTIFIER in dotted form; one that has none (an arc of 2³¹ and more) is given in hexadecimal.
func (d *decoder) oid(what string) string {
	whole := cryptobyte.String(d.raw(asn1.OBJECT_IDENTIFIER, what))
	if d.err != nil || len(whole) > 128 {
		d.fail(what)
		return ""
	}
	var id encasn1.ObjectIdentifier
	if again := whole; again.ReadASN1ObjectIdentifier(&id) {
		return id.String()
	}
	return fmt.Sprintf("0x%x", []byte(whole))
}

// algorithm reads AlgorithmIdentifier; parameters is the whole element, nil where absent.
func (d *decoder) algorithm(what string) (oid string, parameters []byte) {
	a := d.sequence(what)
	oid = a.oid(what)
	if a.more() {
		parameters, _ = a.any(what + " parameters")
	}
	a.end(what)
	return oid, parameters
}

const (
	utcForm         = "060102150405Z"
	generalizedForm = "20060102150405Z"
)

// clock reads Time ::= CHOICE { utcTime, generalizedTime } of RFC 5652 §11.3. Forms that only BER knows are accepted with a note.
func (d *decoder) clock(what string) time.Time {
	if d.next(asn1.GeneralizedTime) {
		return d.instant(string(d.take(asn1.GeneralizedTime, what)), generalizedForm, "20060102150405Z0700", what)
	}
	t := d.instant(string(d.take(asn1.UTCTime, what)), utcForm, "060102150405Z0700", what)
	if t.Year() >= 2050 { // UTCTime spans 1950 to 2049 (RFC 5280 §4.1.2.5.1)
		t = t.AddDate(-100, 0, 0)
	}
	return t
}

func (d *decoder) instant(s, strict, loose, what string) time.Time {
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(strict, s)
	if err == nil && t.Format(strict) == s {
		return t.UTC()
	}
	if t, err = time.Parse(loose, s); err != nil {
		d.fail(what)
		return time.Time{}
	}
	d.note(NoteTimeForm, "%s is written %q", what, s)
	return t.UTC()
}
