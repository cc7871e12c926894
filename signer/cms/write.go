package cms

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

const sha256Hash = crypto.SHA256

var (
	oidGMData       = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 1}
	oidGMSignedData = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 2}
	oidData         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

	oidSM3         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSM2Sign     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 1}
	oidSM2WithSM3  = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}
	oidECDSASHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidRSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}

	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidTimeStampToken       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
)

var (
	contextImplicit0 = tags.Tag(0).ContextSpecific().Constructed()
	contextImplicit1 = tags.Tag(1).ContextSpecific().Constructed()
	directoryName    = tags.Tag(4).ContextSpecific().Constructed()
)

func (d *Draft) contentType() asn1.ObjectIdentifier {
	switch {
	case d.req.ContentType != nil:
		return d.req.ContentType
	case d.req.Form == GM:
		return oidGMData
	}
	return oidData
}

// attributes builds the SET OF Attribute in DER order.
func (d *Draft) attributes() ([]byte, error) {
	items := [][]byte{
		attribute(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(d.contentType()) }),
		attribute(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(d.req.Digest[:]) }),
	}
	if !d.req.SigningTime.IsZero() {
		items = append(items, attribute(oidSigningTime, d.signingTime))
	}
	if d.req.SigningCertificateV2 {
		items = append(items, attribute(oidSigningCertificateV2, d.signingCertificate))
	}
	if slices.ContainsFunc(items, func(i []byte) bool { return i == nil }) {
		return nil, ErrRequest
	}
	slices.SortFunc(items, bytes.Compare)
	var b cryptobyte.Builder
	b.AddASN1(tags.SET, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(items...)) })
	return b.Bytes()
}

// attribute builds one Attribute with one value; nil where the value cannot be encoded.
func attribute(oid asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(tags.SET, value)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil
	}
	return out
}

// signingTime writes UTCTime until 2049 and GeneralizedTime after (RFC 5652 §11.3).
func (d *Draft) signingTime(b *cryptobyte.Builder) {
	if at := d.req.SigningTime.UTC(); at.Year() >= 1950 && at.Year() < 2050 {
		b.AddASN1UTCTime(at)
	} else {
		b.AddASN1GeneralizedTime(at)
	}
}

// signingCertificate writes SigningCertificateV2 with one ESSCertIDv2 (RFC 5035 §3); SHA-256 is its default and left out in DER.
func (d *Draft) signingCertificate(b *cryptobyte.Builder) {
	digest := sha256.Sum256(d.req.Certificate)
	if d.req.Algorithm == SM2 {
		digest = gm.SM3(d.req.Certificate)
	}
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				if d.req.Algorithm == SM2 {
					d.algorithm(b, oidSM3)
				}
				b.AddASN1OctetString(digest[:])
				b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(directoryName, func(b *cryptobyte.Builder) { b.AddBytes(d.signer.RawIssuer) })
					})
					b.AddASN1BigInt(d.signer.SerialNumber)
				})
			})
		})
	})
}

// algorithm writes AlgorithmIdentifier, with NULL parameters where the request asks for them.
func (d *Draft) algorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if d.req.Null || oid.Equal(oidRSA) { // RSA: RFC 3370 §3.2
			b.AddASN1NULL()
		}
	})
}

func (d *Draft) digestOID() asn1.ObjectIdentifier {
	if d.req.Algorithm == SM2 {
		return oidSM3
	}
	return oidSHA256
}

func (d *Draft) signatureOID() asn1.ObjectIdentifier {
	switch {
	case d.req.Algorithm == ECDSAP256:
		return oidECDSASHA256
	case d.req.Algorithm == RSA2048:
		return oidRSA
	case d.req.SM2WithSM3:
		return oidSM2WithSM3
	}
	return oidSM2Sign
}

// contentInfo writes the whole. The buffer is made large enough at once, since enclosed content may be a whole document.
func (d *Draft) contentInfo(value, timestamp []byte) ([]byte, error) {
	room := 4096 + len(d.req.Content) + len(d.req.Certificate) + len(d.message) + len(timestamp)
	for _, c := range d.req.Chain {
		room += len(c)
	}
	outer := oidSignedData
	if d.req.Form == GM {
		outer = oidGMSignedData
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, room))
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(outer)
		b.AddASN1(contextImplicit0, func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { d.signedData(b, value, timestamp) })
		})
	})
	return b.Bytes()
}

// signedData writes what stands inside SignedData. The certificates stand signer first: readers of GB/T 35275 take the first one.
func (d *Draft) signedData(b *cryptobyte.Builder, value, timestamp []byte) {
	version := int64(1)
	if d.req.Form == RFC && !d.contentType().Equal(oidData) {
		version = 3
	}
	b.AddASN1Int64(version)
	b.AddASN1(tags.SET, func(b *cryptobyte.Builder) { d.algorithm(b, d.digestOID()) })
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(d.contentType())
		if d.req.Content != nil {
			b.AddASN1(contextImplicit0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(d.req.Content) })
		}
	})
	if !d.req.WithoutCertificates {
		b.AddASN1(contextImplicit0, func(b *cryptobyte.Builder) {
			b.AddBytes(d.req.Certificate)
			for _, c := range d.req.Chain {
				b.AddBytes(c)
			}
		})
	}
	b.AddASN1(tags.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { d.signerInfo(b, value, timestamp) })
	})
}

func (d *Draft) signerInfo(b *cryptobyte.Builder, value, timestamp []byte) {
	b.AddASN1Int64(1)
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(d.signer.RawIssuer)
		b.AddASN1BigInt(d.signer.SerialNumber)
	})
	d.algorithm(b, d.digestOID())
	if !d.req.DigestContent {
		implicit := bytes.Clone(d.message)
		implicit[0] = byte(contextImplicit0)
		b.AddBytes(implicit)
	}
	d.algorithm(b, d.signatureOID())
	b.AddASN1OctetString(value)
	if timestamp != nil {
		b.AddASN1(contextImplicit1, func(b *cryptobyte.Builder) {
			b.AddBytes(attribute(oidTimeStampToken, func(b *cryptobyte.Builder) { b.AddBytes(timestamp) }))
		})
	}
}

// wholeSequence reports whether b is exactly one SEQUENCE with definite lengths.
func wholeSequence(b []byte) bool {
	in, s := cryptobyte.String(b), cryptobyte.String(nil)
	return in.ReadASN1(&s, tags.SEQUENCE) && in.Empty() && len(s) > 0
}
