package signer_test

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"regexp"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer"
	"sealkeeper/signer/verify/signeddata"
)

// written is an SES_Signature taken apart by encoding/asn1, which shares nothing with package seal: minimal lengths and definite ones alone.
type written struct {
	sig, tbs, seal, info, header, property, picture, certs []asn1.RawValue
	stamped                                                bool
}

// children are the elements of one constructed value; what encoding/asn1 does not take is a fault of ours.
func children(t *testing.T, v asn1.RawValue) (out []asn1.RawValue) {
	t.Helper()
	for rest := v.Bytes; len(rest) > 0; {
		var e asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func takeApart(t *testing.T, der []byte) written {
	t.Helper()
	var w written
	w.sig = children(t, asn1.RawValue{Bytes: der})
	if len(w.sig) != 1 {
		t.Fatalf("%d values in SignedValue.dat", len(w.sig))
	}
	w.sig = children(t, w.sig[0])
	w.stamped = len(w.sig) == 5
	w.tbs = children(t, w.sig[0])
	w.seal = children(t, w.tbs[1])
	w.info = children(t, w.seal[0])
	w.header, w.property, w.picture = children(t, w.info[0]), children(t, w.info[2]), children(t, w.info[3])
	w.certs = children(t, w.property[3])
	return w
}

// strictValue is SEQUENCE{r, s} with minimal positive integers, in a BIT STRING of whole octets.
func strictValue(v asn1.RawValue) string {
	if v.Tag != asn1.TagBitString || len(v.Bytes) < 2 || v.Bytes[0] != 0 {
		return fmt.Sprintf("tag %d, %d unused bits", v.Tag, v.Bytes[0])
	}
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(v.Bytes[1:], &rs)
	if err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return fmt.Sprintf("not SEQUENCE{r,s} (%v, %d bytes behind)", err, len(rest))
	}
	if again, err := asn1.Marshal(rs); err != nil || !bytes.Equal(again, v.Bytes[1:]) {
		return "not the shortest integers"
	}
	return ""
}

func textOf(tag int, pattern string, v asn1.RawValue) string {
	if v.Class != asn1.ClassUniversal || v.Tag != tag || !regexp.MustCompile(`^`+pattern+`$`).Match(v.Bytes) {
		return fmt.Sprintf("tag %d, %q", v.Tag, v.Bytes)
	}
	return ""
}

const whenever = `\d{14}Z`

// neverWritten are the deviations of other products that we read; each row says what is wrong with a signature of ours, or nothing.
var neverWritten = map[string]func(w written) string{
	"raw r and s, or integers with superfluous zeros, in the signature": func(w written) string { return strictValue(w.sig[3]) },
	"the same in the seal": func(w written) string { return strictValue(w.seal[3]) },
	"unused bits, or stripped zeros, in dataHash": func(w written) string {
		if v := w.tbs[3]; v.Tag != asn1.TagBitString || len(v.Bytes) != 33 || v.Bytes[0] != 0 {
			return fmt.Sprintf("tag %d, %d bytes", v.Tag, len(v.Bytes))
		}
		return ""
	},
	"the shape of one generation under the version of another": func(w written) string {
		if len(w.seal) != 4 || len(w.sig) < 4 || len(w.sig) > 5 || len(w.property) != 7 || !bytes.Equal(w.header[1].Bytes, []byte{4}) {
			return fmt.Sprintf("%d, %d, %d children, version % x", len(w.seal), len(w.sig), len(w.property), w.header[1].Bytes)
		}
		return ""
	},
	"version of TBS_Sign other than the seal's": func(w written) string {
		if !bytes.Equal(w.tbs[0].FullBytes, w.header[1].FullBytes) {
			return fmt.Sprintf("% x", w.tbs[0].FullBytes)
		}
		return ""
	},
	"time as text, or in another form":     func(w written) string { return textOf(asn1.TagGeneralizedTime, whenever, w.tbs[2]) },
	"property information that is no path": func(w written) string { return textOf(asn1.TagIA5String, `/[!-~]+/Signature\.xml`, w.tbs[4]) },
	"UTCTime in the seal's property": func(w written) string {
		for _, v := range w.property[4:7] {
			if fault := textOf(asn1.TagGeneralizedTime, whenever, v); fault != "" {
				return fault
			}
		}
		return ""
	},
	"a tag that is missing or implicit on the time stamp": func(w written) string {
		if !w.stamped {
			return ""
		}
		v := w.sig[4]
		if v.Class != asn1.ClassContextSpecific || v.Tag != 0 || !v.IsCompound || len(v.Bytes) < 3 || v.Bytes[0] != asn1.TagBitString {
			return fmt.Sprintf("class %d, tag %d, begins % x", v.Class, v.Tag, v.Bytes[:min(3, len(v.Bytes))])
		}
		return ""
	},
	"an algorithm with parameters, or another": func(w written) string {
		want := []byte{0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75} // 1.2.156.10197.1.501
		if !bytes.Equal(w.sig[2].FullBytes, want) || !bytes.Equal(w.seal[2].FullBytes, want) {
			return fmt.Sprintf("% x, % x", w.sig[2].FullBytes, w.seal[2].FullBytes)
		}
		return ""
	},
	"other than ASCII in IA5String": func(w written) string {
		for _, v := range []asn1.RawValue{w.header[0], w.header[2], w.info[1], w.picture[0]} {
			if fault := textOf(asn1.TagIA5String, `[ -~]+`, v); fault != "" {
				return fault
			}
		}
		return ""
	},
	"one certificate listed twice, or as text": func(w written) string {
		if len(w.certs) != 1 || w.certs[0].Tag != asn1.TagOctetString || !bytes.Equal(w.certs[0].Bytes, w.sig[1].Bytes) {
			return fmt.Sprintf("%d certificates", len(w.certs))
		}
		return ""
	},
	"a picture that is a document": func(w written) string { return textOf(asn1.TagIA5String, `PNG`, w.picture[0]) },
}

// TestNoDeviationIsWritten takes many signatures apart, with and without time stamp: none has any of the deviations that are tolerated on reading.
func TestNoDeviationIsWritten(t *testing.T) {
	w := newWorld(t)
	w.authority(t)
	w.delegate(t, "delegation-1", 1000)
	doc := document(t)
	for i := range 32 { // some r or s begin with a zero byte or a set bit
		r := w.delegated(fmt.Sprintf("ofd-%d", i))
		r.Kind, r.Digest, r.Document, r.Plan.Stamps, r.Timestamp = signer.KindOFD, [32]byte{}, doc, stamps, i%8 == 0
		der := mustSign(t, w, r).Signature
		parts := takeApart(t, der)
		if parts.stamped != r.Timestamp {
			t.Errorf("%d: stamped %v", i, parts.stamped)
		}
		for name, fault := range neverWritten {
			if got := fault(parts); got != "" {
				t.Errorf("%d: %s: %s", i, name, got)
			}
		}
		if s, err := seal.ParseSignature(der); err != nil || len(s.Notes)+len(s.Seal.Notes) > 0 {
			t.Errorf("%d: read with notes %v, %v (%v)", i, s.Notes, s.Seal.Notes, err)
		}
	}
}

// TestDeviationsAreSeen: each row above sees what it is there for.
func TestDeviationsAreSeen(t *testing.T) {
	w := newWorld(t)
	w.authority(t)
	r := w.ofdRequestOf(t, "ofd", document(t), onTime)
	good := mustSign(t, w, r).Signature
	raw := make([]byte, 65)
	rand := asn1.RawValue{Tag: asn1.TagBitString, Bytes: raw}
	swap := func(v *asn1.RawValue, tag int, b []byte) { v.Tag, v.Bytes, v.FullBytes = tag, b, b }
	for name, spoil := range map[string]func(p *written){
		"raw r and s, or integers with superfluous zeros, in the signature": func(p *written) { p.sig[3] = rand },
		"the same in the seal":                                     func(p *written) { p.seal[3] = rand },
		"unused bits, or stripped zeros, in dataHash":              func(p *written) { swap(&p.tbs[3], asn1.TagBitString, p.tbs[3].Bytes[:32]) },
		"the shape of one generation under the version of another": func(p *written) { p.seal = p.seal[:2] },
		"version of TBS_Sign other than the seal's":                func(p *written) { swap(&p.tbs[0], asn1.TagInteger, []byte{2, 1, 3}) },
		"time as text, or in another form":                         func(p *written) { swap(&p.tbs[2], asn1.TagUTF8String, []byte("2026-01-01 00:00:00")) },
		"property information that is no path":                     func(p *written) { swap(&p.tbs[4], asn1.TagIA5String, []byte("Doc_0/Signs/Sign_0/Signature.xml")) },
		"UTCTime in the seal's property":                           func(p *written) { swap(&p.property[5], asn1.TagUTCTime, []byte("260101000000Z")) },
		"a tag that is missing or implicit on the time stamp":      func(p *written) { swap(&p.sig[4], 0, []byte{0, 0x30, 0x80}) },
		"an algorithm with parameters, or another":                 func(p *written) { p.sig[2].FullBytes = append([]byte{0x30, 10}, p.sig[2].FullBytes...) },
		"other than ASCII in IA5String":                            func(p *written) { swap(&p.header[2], asn1.TagIA5String, []byte("印")) },
		"one certificate listed twice, or as text":                 func(p *written) { p.certs = append(p.certs, p.certs[0]) },
		"a picture that is a document":                             func(p *written) { swap(&p.picture[0], asn1.TagIA5String, []byte("ofd")) },
	} {
		p := takeApart(t, good)
		spoil(&p)
		if fault := neverWritten[name]; fault == nil || fault(p) == "" {
			t.Errorf("%s: not seen", name)
		}
	}
	if len(neverWritten) != 13 {
		t.Errorf("%d rows, of which 13 are shown to bite", len(neverWritten))
	}
}

// TestSignatureForm: of the three forms in the wild the one that widespread readers take: detached, with signed attributes over SM3 of
// Signature.xml, under the object identifiers of GB/T 35275; never a bare value, never a digest signed twice.
func TestSignatureForm(t *testing.T) {
	w := newWorld(t)
	rel := mustSign(t, w, w.ofdRequestOf(t, "sign", document(t), signing, listing))
	for value, signed := range map[string]string{"Doc_0/Signs/Sign_0/SignedValue.dat": "Doc_0/Signs/Sign_0/Signature.xml", "signedvalue.dat": "OFDEntries.xml"} {
		sd := parseCMS(t, entryOf(t, rel.Document, value))
		s := sd.Signer()
		content := entryOf(t, rel.Document, signed)
		if sd.Content != nil || !sd.GM || s.SigningTime.IsZero() || s.SignatureOID != "1.2.156.10197.1.301.1" || s.DigestOID != "1.2.156.10197.1.401" {
			t.Errorf("%s: content %d bytes, GM %v, time %s, %s, %s", value, len(sd.Content), sd.GM, s.SigningTime, s.SignatureOID, s.DigestOID)
		}
		if err := s.VerifyContent(content); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		twice := gm.SM3(content)
		if s.VerifyContent(twice[:]) == nil {
			t.Errorf("%s is over the digest's digest", value)
		}
	}
	if _, err := signeddata.Parse(rel.Signature); err != nil {
		t.Error(err)
	}
}
