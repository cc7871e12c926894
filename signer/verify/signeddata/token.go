package signeddata

import (
	"bytes"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxTokenSize bounds a time-stamp token in bytes; one with a chain of certificates has less than a tenth of it.
const MaxTokenSize = 256 << 10

var (
	// ErrToken says that SignedData is not a time-stamp token, or that its TSTInfo breaks RFC 3161 §2.4.2.
	ErrToken = errors.New("not a time-stamp token")
	// ErrImprint says that a token stamps another message.
	ErrImprint = errors.New("the time stamp is over another message")
	// ErrPurpose says that the signer's certificate is not one for time stamps: extended key usage must be critical and timeStamping
	// alone (RFC 3161 §2.3).
	ErrPurpose = errors.New("the certificate is not for time stamps alone")
	// ErrExpired says that the signer's certificate was not valid at the stamped time.
	ErrExpired = errors.New("the certificate was not valid at the stamped time")
)

// Token is a parsed TimeStampToken (RFC 3161, GB/T 20520).
type Token struct {
	Raw        []byte
	Signed     *SignedData
	Policy     string // dotted
	DigestOID  string // of the imprint
	Imprint    []byte
	Serial     *big.Int // positive, at most 20 octets
	GenTime    time.Time
	Accuracy   time.Duration // zero where not stated
	Ordering   bool
	Nonce      *big.Int // nil where absent
	TSA        []byte   // GeneralName, whole element, or nil
	Extensions []string // OIDs of TSTInfo extensions; critical ones are refused
	Notes      []Note   // of TSTInfo; Signed has its own
}

// ParseToken reads a time-stamp token under the strictest options. Errors: ErrToken and those of Parse.
func ParseToken(der []byte) (*Token, error) { return ParseTokenWith(der, Options{}) }

// ParseTokenWith reads a time-stamp token; a MaxBytes of zero is MaxTokenSize, and there is always one signer (RFC 3161 §2.4.2).
func ParseTokenWith(der []byte, o Options) (*Token, error) {
	o.Signers = 1
	if o.MaxBytes == 0 {
		o.MaxBytes = MaxTokenSize
	}
	s, err := ParseWith(der, o)
	if err != nil {
		return nil, err
	}
	if s.ContentType != OIDTSTInfo || s.Content == nil {
		return nil, fmt.Errorf("content of type %s, %d bytes: %w", s.ContentType, len(s.Content), ErrToken)
	}
	t := &Token{Raw: s.Raw, Signed: s}
	r := &reading{}
	d := decoder{s.Content, r}
	t.read(d.sequence("TSTInfo"))
	d.end("TSTInfo")
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, r.err)
	}
	t.Notes = r.notes
	return t, nil
}

// read walks TSTInfo (RFC 3161 §2.4.2).
func (t *Token) read(d *decoder) {
	if v := d.integer("version"); d.ok() && v != 1 {
		d.fail(fmt.Sprintf("TSTInfo version %d", v))
	}
	t.Policy = d.oid("policy")
	imprint := d.sequence("messageImprint")
	t.DigestOID, _ = imprint.algorithm("hashAlgorithm")
	t.Imprint = imprint.take(cbasn1.OCTET_STRING, "hashedMessage")
	imprint.end("messageImprint")
	t.Serial = d.number(cbasn1.INTEGER, 21, "serialNumber")
	if d.ok() && (t.Serial.Sign() <= 0 || t.Serial.BitLen() > 160) {
		d.fail("serialNumber")
	}
	t.GenTime = d.genTime()
	if d.next(cbasn1.SEQUENCE) {
		t.Accuracy = d.sequence("accuracy").accuracy()
	}
	if d.next(cbasn1.BOOLEAN) {
		if !d.in.ReadASN1Boolean(&t.Ordering) {
			d.fail("ordering")
		} else if !t.Ordering {
			d.note(NoteDefault, "ordering FALSE is encoded")
		}
	}
	if d.next(cbasn1.INTEGER) {
		t.Nonce = d.number(cbasn1.INTEGER, 64, "nonce")
	}
	if d.next(tagExplicit0) {
		t.TSA, _ = d.enter(tagExplicit0, "tsa").any("tsa")
	}
	if d.next(tagExplicit1) {
		t.Extensions = d.enter(tagExplicit1, "extensions").extensions()
	}
	d.end("TSTInfo")
}

// genTime reads GeneralizedTime with an optional fraction that does not end in zero (RFC 3161 §2.4.2).
func (d *decoder) genTime() time.Time {
	s := string(d.take(cbasn1.GeneralizedTime, "genTime"))
	if d.err != nil {
		return time.Time{}
	}
	whole, fraction, has := strings.Cut(strings.TrimSuffix(s, "Z"), ".")
	at, err := time.Parse("20060102150405", whole)
	if err != nil || !strings.HasSuffix(s, "Z") || len(whole) != 14 || has && (fraction == "" || len(fraction) > 9 || strings.Trim(fraction, "0123456789") != "") {
		d.fail("genTime")
		return time.Time{}
	}
	if strings.HasSuffix(fraction, "0") {
		d.note(NoteTimeForm, "genTime is written %q", s)
	}
	var nanos time.Duration
	for _, c := range (fraction + "000000000")[:9] {
		nanos = nanos*10 + time.Duration(c-'0')
	}
	return at.Add(nanos).UTC()
}

// accuracy reads Accuracy: seconds, milliseconds and microseconds, the latter two 1 to 999.
func (d *decoder) accuracy() time.Duration {
	var sum time.Duration
	for _, part := range []struct {
		tag  cbasn1.Tag
		unit time.Duration
		most int64
	}{{cbasn1.INTEGER, time.Second, 1 << 31}, {tagImplicit0, time.Millisecond, 999}, {tagImplicit1, time.Microsecond, 999}} {
		if !d.next(part.tag) {
			continue
		}
		n := d.number(part.tag, 5, "accuracy")
		if d.ok() && (n.Sign() < 0 || n.Int64() > part.most) {
			d.fail("accuracy")
			return 0
		}
		sum += time.Duration(n.Int64()) * part.unit
	}
	d.end("accuracy")
	return sum
}

// extensions reads the OIDs of Extensions; a critical one means something that this reader would miss.
func (d *decoder) extensions() []string {
	var out []string
	for d.more() {
		if len(out) == maxAttributes {
			d.fail("number of extensions")
			return nil
		}
		item := d.sequence("extension")
		oid, critical := item.oid("extnID"), false
		if item.next(cbasn1.BOOLEAN) && !item.in.ReadASN1Boolean(&critical) {
			item.fail("critical")
		}
		item.take(cbasn1.OCTET_STRING, "extnValue")
		item.end("extension")
		if critical {
			d.fail("critical extension " + oid)
			return nil
		}
		out = append(out, oid)
	}
	return out
}

// Covers compares the imprint with message: for a signature time stamp, the octets of the signature value. Errors: ErrImprint,
// ErrAlgorithm.
func (t *Token) Covers(message []byte) error {
	digest, err := Digest(t.DigestOID, message)
	if err != nil {
		return err
	}
	return t.CoversDigest(t.DigestOID, digest)
}

// CoversDigest compares the imprint with a digest under oid. Errors: ErrImprint.
func (t *Token) CoversDigest(oid string, digest []byte) error {
	if oid != t.DigestOID || len(digest) == 0 || subtle.ConstantTimeCompare(digest, t.Imprint) != 1 {
		return ErrImprint
	}
	return nil
}

// Verify checks everything that needs no trust anchor: messageDigest, signature value, signing-certificate attribute, purpose of the
// certificate, and its validity at GenTime. The chain of the certificate is the caller's to judge. Errors: ErrDigest, ErrSignature,
// ErrAlgorithm, ErrCertificate, ErrESS, ErrPurpose, ErrExpired, each by name.
func (t *Token) Verify() error {
	i := t.Signed.Signer()
	if err := i.VerifyContent(t.Signed.Content); err != nil {
		return fmt.Errorf("time stamp: %w", err)
	}
	if err := i.MatchCertificate(); err != nil {
		return fmt.Errorf("time stamp: %w", err)
	}
	c, err := i.Signatory()
	if err != nil {
		return fmt.Errorf("time stamp: %w", err)
	}
	if err := c.ForTimestamps(); err != nil {
		return err
	}
	if !c.ValidAt(t.GenTime) {
		return fmt.Errorf("valid %s to %s, stamped %s: %w", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339),
			t.GenTime.Format(time.RFC3339), ErrExpired)
	}
	return nil
}

var (
	oidExtKeyUsage  = asn1.ObjectIdentifier{2, 5, 29, 37}
	onlyTimestamper = []byte("\x30\x0A\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08") // SEQUENCE { id-kp-timeStamping }
)

// ForTimestamps returns ErrPurpose unless extended key usage is critical and timeStamping alone (RFC 3161 §2.3).
func (c *Certificate) ForTimestamps() error {
	if c.X509 == nil {
		return fmt.Errorf("extensions of a defective certificate: %w", ErrPurpose)
	}
	for _, e := range c.X509.Extensions {
		if slices.Equal(e.Id, oidExtKeyUsage) {
			if e.Critical && bytes.Equal(e.Value, onlyTimestamper) {
				return nil
			}
			return ErrPurpose
		}
	}
	return fmt.Errorf("no extended key usage: %w", ErrPurpose)
}
