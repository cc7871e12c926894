package timestamp

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

const maxNonce = 32 // content octets; RFC 3161 §2.4.1 speaks of 64 bits

var (
	implicit0 = tags.Tag(0).ContextSpecific().Constructed()
	freeText  = tags.SEQUENCE // PKIFreeText ::= SEQUENCE OF UTF8String
)

// Marshal writes TimeStampReq (RFC 3161 §2.4.1) in DER. Errors: ErrQuery.
func (q Query) Marshal() ([]byte, error) {
	oid := imprintOIDs[q.Imprint]
	if oid == nil || len(q.Digest) != digestSize {
		return nil, fmt.Errorf("imprint %d of %d bytes: %w", int(q.Imprint), len(q.Digest), ErrQuery)
	}
	policy, err := parseOID(q.Policy)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		addImprint(b, oid, q.Digest)
		if policy != nil {
			b.AddASN1ObjectIdentifier(policy)
		}
		if q.Nonce != nil {
			b.AddASN1BigInt(q.Nonce)
		}
		if q.CertReq {
			b.AddASN1Boolean(true)
		}
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	return out, nil
}

func addImprint(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, digest []byte) {
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1OctetString(digest)
	})
}

// parseOID reads a dotted object identifier; an empty one is nil.
func parseOID(dotted string) (asn1.ObjectIdentifier, error) {
	if dotted == "" {
		return nil, nil
	}
	var oid asn1.ObjectIdentifier
	for arc := range strings.SplitSeq(dotted, ".") {
		n, err := strconv.ParseInt(arc, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("object identifier %q: %w", dotted, ErrQuery)
		}
		oid = append(oid, int(n))
	}
	if len(oid) < 2 || oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return nil, fmt.Errorf("object identifier %q: %w", dotted, ErrQuery)
	}
	return oid, nil
}

// ParseQuery reads TimeStampReq. What an authority refuses is a *Refusal with the failure that RFC 3161 wants to be answered.
func ParseQuery(der []byte) (*Query, error) {
	if len(der) > MaxQuery {
		return nil, refuse(BadDataFormat, "request of %d bytes", len(der))
	}
	in, body := cryptobyte.String(der), cryptobyte.String(nil)
	var version int64
	if !in.ReadASN1(&body, tags.SEQUENCE) || !in.Empty() || !body.ReadASN1Integer(&version) {
		return nil, refuse(BadDataFormat, "not a TimeStampReq")
	}
	if version != 1 {
		return nil, refuse(BadRequest, "version %d", version)
	}
	q := &Query{}
	if err := q.readImprint(&body); err != nil {
		return nil, err
	}
	if err := q.readOptions(&body); err != nil {
		return nil, err
	}
	return q, nil
}

func (q *Query) readImprint(body *cryptobyte.String) error {
	var imprint, algorithm, digest cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !body.ReadASN1(&imprint, tags.SEQUENCE) || !imprint.ReadASN1(&algorithm, tags.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) || !imprint.ReadASN1(&digest, tags.OCTET_STRING) || !imprint.Empty() {
		return refuse(BadDataFormat, "messageImprint")
	}
	for i, known := range imprintOIDs {
		if known.Equal(oid) {
			q.Imprint = i
		}
	}
	if q.Imprint == 0 {
		return refuse(BadAlg, "hash algorithm %v", oid)
	}
	var null cryptobyte.String
	if !algorithm.Empty() && (!algorithm.ReadASN1(&null, tags.NULL) || len(null) > 0 || !algorithm.Empty()) {
		return refuse(BadAlg, "hash algorithm %v with parameters", oid)
	}
	if len(digest) != digestSize {
		return refuse(BadDataFormat, "%v digest of %d bytes", q.Imprint, len(digest))
	}
	q.Digest = append([]byte(nil), digest...)
	return nil
}

// readOptions reads reqPolicy, nonce, certReq and extensions. Any extension is refused, critical or not: RFC 3161 §2.4.1 lets no
// authority pass over one that it does not know.
func (q *Query) readOptions(body *cryptobyte.String) error {
	if body.PeekASN1Tag(tags.OBJECT_IDENTIFIER) {
		var oid asn1.ObjectIdentifier
		if !body.ReadASN1ObjectIdentifier(&oid) {
			return refuse(BadDataFormat, "reqPolicy")
		}
		q.Policy = oid.String()
	}
	if body.PeekASN1Tag(tags.INTEGER) {
		q.Nonce = new(big.Int)
		before := len(*body)
		if !body.ReadASN1Integer(q.Nonce) || before-len(*body) > maxNonce+2 {
			return refuse(BadDataFormat, "nonce")
		}
	}
	if body.PeekASN1Tag(tags.BOOLEAN) && !body.ReadASN1Boolean(&q.CertReq) {
		return refuse(BadDataFormat, "certReq")
	}
	if body.PeekASN1Tag(implicit0) {
		return refuse(UnacceptedExtension, "no extension is known here")
	}
	if !body.Empty() {
		return refuse(BadDataFormat, "bytes at the end")
	}
	return nil
}

// Marshal writes TimeStampResp (RFC 3161 §2.4.2) in DER. Errors: ErrReply.
func (r Reply) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(int64(r.Status))
			if r.Text != "" {
				b.AddASN1(freeText, func(b *cryptobyte.Builder) {
					b.AddASN1(tags.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(strings.ToValidUTF8(r.Text, "?"))) })
				})
			}
			if r.Failure >= 0 && r.Failure < 32 {
				addBit(b, int(r.Failure))
			}
		})
		b.AddBytes(r.Token)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReply, err)
	}
	return out, nil
}

// addBit writes a named-bit BIT STRING of one bit: DER drops what follows it (X.690 §11.2.2).
func addBit(b *cryptobyte.Builder, bit int) {
	octets := make([]byte, bit/8+2)
	octets[0] = byte(7 - bit%8)
	octets[bit/8+1] = 0x80 >> (bit % 8)
	b.AddASN1(tags.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(octets) })
}

// ParseReply reads TimeStampResp; the token is taken out as it stands and judged elsewhere. Errors: ErrReply.
func ParseReply(der []byte) (*Reply, error) {
	in, body, info := cryptobyte.String(der), cryptobyte.String(nil), cryptobyte.String(nil)
	if len(der) > MaxReply || !in.ReadASN1(&body, tags.SEQUENCE) || !in.Empty() || !body.ReadASN1(&info, tags.SEQUENCE) {
		return nil, fmt.Errorf("TimeStampResp: %w", ErrReply)
	}
	r := &Reply{Failure: NoFailure}
	var status int64
	if !info.ReadASN1Integer(&status) || status < 0 || status > 255 {
		return nil, fmt.Errorf("status: %w", ErrReply)
	}
	r.Status = int(status)
	if err := r.readInfo(&info); err != nil {
		return nil, err
	}
	if !body.Empty() {
		var token cryptobyte.String
		if !body.ReadASN1Element(&token, tags.SEQUENCE) || !body.Empty() {
			return nil, fmt.Errorf("timeStampToken: %w", ErrReply)
		}
		r.Token = token
	}
	if granted := r.Status <= StatusGrantedWithMods; granted != (r.Token != nil) {
		return nil, fmt.Errorf("status %d, token of %d bytes: %w", r.Status, len(r.Token), ErrReply)
	}
	return r, nil
}

func (r *Reply) readInfo(info *cryptobyte.String) error {
	if info.PeekASN1Tag(freeText) {
		var text, line cryptobyte.String
		if !info.ReadASN1(&text, freeText) || !text.ReadASN1(&line, tags.UTF8String) || !utf8.Valid(line) {
			return fmt.Errorf("statusString: %w", ErrReply)
		}
		r.Text = string(line[:min(len(line), 512)])
	}
	if info.PeekASN1Tag(tags.BIT_STRING) {
		var bits asn1.BitString
		if !info.ReadASN1BitString(&bits) {
			return fmt.Errorf("failInfo: %w", ErrReply)
		}
		for n := range min(bits.BitLength, 64) {
			if bits.At(n) == 1 {
				r.Failure = Failure(n)
				break
			}
		}
	}
	if !info.Empty() {
		return fmt.Errorf("PKIStatusInfo: %w", ErrReply)
	}
	return nil
}
