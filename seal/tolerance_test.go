package seal_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

// tlv writes one element; the tests below build deviating structures with it.
func tlv(tag asn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

func seq(parts ...[]byte) []byte             { return tlv(asn1.SEQUENCE, parts...) }
func number(n byte) []byte                   { return []byte{2, 1, n} }
func text(tag asn1.Tag, s string) []byte     { return tlv(tag, []byte(s)) }
func octets(b []byte) []byte                 { return tlv(asn1.OCTET_STRING, b) }
func bitString(unused byte, b []byte) []byte { return tlv(asn1.BIT_STRING, []byte{unused}, b) }

var (
	oidSM2      = []byte{6, 8, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 1, 0x83, 0x75}
	picture     = seq(text(asn1.IA5String, "PNG"), octets(pngOf(4)), number(40), number(40))
	extDatas    = seq(seq([]byte{6, 2, 0x2A, 3}, octets([]byte("v"))))
	oddExtDatas = seq(seq([]byte{6, 2, 0x2A, 0x83}, []byte{1, 1, 0}, octets([]byte("v")))) // a last arc that never ends
)

func header(version byte) []byte {
	return seq(text(asn1.IA5String, "ES"), number(version), text(asn1.IA5String, "v"))
}

func generalized(s string) []byte { return text(asn1.GeneralizedTime, s) }

// build signs seals and signatures of any shape with one key for maker and signatory.
type build struct {
	t    testing.TB
	pair pair
}

func (b build) sign(message []byte) []byte {
	b.t.Helper()
	sig, err := b.pair.key.Sign(message)
	if err != nil {
		b.t.Fatal(err)
	}
	return sig
}

func (b build) info(version byte, certList []byte, ext ...[]byte) []byte {
	property := seq(number(1), text(asn1.UTF8String, "章"), certList,
		generalized("20260101000000Z"), generalized("20260101000000Z"), generalized("20290101000000Z"))
	if version == 1 {
		utc := text(asn1.UTCTime, "260101000000Z")
		property = seq(number(1), text(asn1.UTF8String, "章"), certList, utc, generalized("20260101000000Z"), text(asn1.UTCTime, "290101000000Z"))
	}
	return seq(header(version), text(asn1.IA5String, "41030000000001"), property, picture, bytes.Join(ext, nil))
}

func (b build) list() []byte { return slices.Concat(number(1), seq(octets(b.pair.cert))) }

func (b build) seal(info []byte, more ...[]byte) []byte {
	return seq(info, octets(b.pair.cert), oidSM2, bitString(0, b.sign(info)), bytes.Join(more, nil))
}

func (b build) sealV1() []byte {
	info := b.info(1, seq(octets(b.pair.cert)))
	message := seq(info, octets(b.pair.cert), oidSM2)
	return seq(info, seq(octets(b.pair.cert), oidSM2, bitString(0, b.sign(message))))
}

func (b build) tbs(version byte, sealDER, dataHash []byte, ext ...[]byte) []byte {
	return seq(number(version), sealDER, generalized("20260301010203Z"), dataHash, text(asn1.IA5String, " "), bytes.Join(ext, nil))
}

func (b build) signature(tbs []byte, more ...[]byte) []byte {
	return seq(tbs, octets(b.pair.cert), oidSM2, bitString(0, b.sign(tbs)), bytes.Join(more, nil))
}

func (b build) signatureV1(timeInfo []byte) []byte {
	tbs := seq(number(1), b.sealV1(), timeInfo, octets(make([]byte, 32)), text(asn1.IA5String, "p"), octets(b.pair.cert), oidSM2)
	return seq(tbs, bitString(0, b.sign(tbs)))
}

func codes(notes []seal.Note) []string {
	var out []string
	for _, n := range notes {
		out = append(out, n.Code)
	}
	return out
}

func TestToleratedSeals(t *testing.T) {
	b := build{t, newPair(t, "u", 9)}
	digest := gm.SM3(b.pair.cert)
	digests := slices.Concat(number(2), seq(seq(text(asn1.PrintableString, "SM3"), octets(digest[:]))))
	token := seq(number(1))
	cases := []struct {
		name  string
		der   []byte
		gen   seal.Generation
		notes []string
	}{
		{"v4", b.seal(b.info(4, b.list())), seal.V4, nil},
		{"v5", b.seal(b.info(5, b.list())), seal.V5, nil},
		{"v5 stamped", b.seal(b.info(5, b.list()), tlv(0xA0, bitString(0, token))), seal.V5, nil},
		{"stamp untagged", b.seal(b.info(5, b.list()), bitString(0, token)), seal.V5, []string{seal.NoteTagging}},
		{"stamp implicit", b.seal(b.info(5, b.list()), tlv(0x80, []byte{0}, token)), seal.V5, []string{seal.NoteTagging}},
		{"header version 3", b.seal(b.info(3, b.list())), seal.V4, []string{seal.NoteHeaderVersion}},
		{"list of digests", b.seal(b.info(4, digests)), seal.V4, nil},
		{"extension without critical", b.seal(b.info(4, b.list(), extDatas)), seal.V4, nil},
		{"extension with odd OID", b.seal(b.info(4, b.list(), oddExtDatas)), seal.V4, []string{seal.NoteObjectID}},
		{"extensions tagged", b.seal(b.info(4, b.list(), tlv(0xA0, extDatas))), seal.V4, []string{seal.NoteTagging}},
		{"v1", b.sealV1(), seal.V1, []string{seal.NoteTimeForm}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := seal.Parse(c.der)
			if err != nil {
				t.Fatal(err)
			}
			if s.Generation != c.gen || !slices.Equal(codes(s.Notes), c.notes) {
				t.Errorf("%s with notes %v, want %s with %v", s.Generation, s.Notes, c.gen, c.notes)
			}
			if err := s.VerifySignature(); err != nil {
				t.Error(err)
			}
			if !s.Lists(b.pair.cert) {
				t.Error("certificate not listed")
			}
		})
	}
}

func TestToleratedSignatures(t *testing.T) {
	b := build{t, newPair(t, "u", 9)}
	s4 := b.seal(b.info(4, b.list()))
	hash := bitString(0, make([]byte, 32))
	token := seq(number(1))
	at := time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
	text1 := func(s string) []byte { return bitString(0, []byte(s)) }
	cases := []struct {
		name  string
		der   []byte
		time  time.Time
		notes []string
	}{
		{"v4", b.signature(b.tbs(4, s4, hash)), at, nil},
		{"stamped", b.signature(b.tbs(4, s4, hash), tlv(0xA0, bitString(0, token))), at, nil},
		{"TBS version 3", b.signature(b.tbs(3, s4, hash)), at, []string{seal.NoteTBSVersion}},
		{"dataHash cut", b.signature(b.tbs(4, s4, bitString(0, []byte{0}))), at, []string{seal.NoteDigestPadded}},
		{"unused bits", b.signature(b.tbs(4, s4, bitString(3, make([]byte, 32)))), at, []string{seal.NoteUnusedBits}},
		{"extensions explicit", b.signature(b.tbs(4, s4, hash, tlv(0xA0, extDatas))), at, nil},
		{"extensions implicit", b.signature(b.tbs(4, s4, hash, tlv(0xA0, extDatas[2:]))), at, []string{seal.NoteTagging}},
		{"extensions untagged", b.signature(b.tbs(4, s4, hash, extDatas)), at, []string{seal.NoteTagging}},
		{"v1 UTCTime", b.signatureV1(bitString(0, text(asn1.UTCTime, "260301010203Z"))), at, []string{seal.NoteOctetString}},
		{"v1 ISO text", b.signatureV1(text1("2026-03-01T01:02:03Z")), at, []string{seal.NoteTimeForm, seal.NoteOctetString}},
		{"v1 local text", b.signatureV1(text1("2026-03-01 09:02:03")), at, []string{seal.NoteLocalTime, seal.NoteOctetString}},
		{"v1 nonsense", b.signatureV1(text1("noon")), time.Time{}, []string{seal.NoteTimeUnreadable, seal.NoteOctetString}},
		{"v1 token", b.signatureV1(bitString(0, token)), time.Time{}, []string{seal.NoteOctetString}},
		{"v1 bare UTCTime", b.signatureV1(text(asn1.UTCTime, "260301010203Z")), at, []string{seal.NoteTimeForm, seal.NoteOctetString}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := seal.ParseSignature(c.der)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(codes(s.Notes), c.notes) || !s.Time.Equal(c.time) || s.DataHash != [32]byte{} {
				t.Errorf("time %s, notes %v, want %v", s.Time, s.Notes, c.notes)
			}
			if err := s.VerifyValue(); err != nil {
				t.Error(err)
			}
			if !s.SignatoryListed() {
				t.Error("signatory not listed")
			}
		})
	}
}

func TestStructureErrors(t *testing.T) {
	b := build{t, newPair(t, "u", 9)}
	info := b.info(4, b.list())
	good := b.seal(info)
	many := make([]byte, 0, 1<<16)
	for range 2000 {
		many = append(many, 4, 0)
	}
	hash := bitString(0, make([]byte, 32))
	seals := map[string][]byte{
		"nothing":            nil,
		"three elements":     seq(info, octets(b.pair.cert), oidSM2),
		"six elements":       b.seal(info, number(1), number(1)),
		"trailing byte":      append(slices.Clone(good), 0),
		"indefinite length":  append([]byte{0x30, 0x80}, append(slices.Clone(good[4:]), 0, 0)...),
		"claimed 4 GiB":      {0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF},
		"certListType 3":     b.seal(b.info(4, slices.Concat(number(3), seq()))),
		"list of 2000":       b.seal(b.info(4, slices.Concat(number(1), seq(many)))),
		"second extDatas":    b.seal(b.info(4, b.list(), extDatas, extDatas)),
		"implicit primitive": b.seal(info, tlv(0x81, []byte{0})),
		"too large":          make([]byte, seal.MaxSize+1),
	}
	for name, der := range seals {
		if s, err := seal.Parse(der); !errors.Is(err, seal.ErrStructure) || s != nil {
			t.Errorf("seal, %s: %v", name, err)
		}
	}
	signatures := map[string][]byte{
		"nothing":             nil,
		"a seal":              b.seal(b.info(5, b.list()), number(1)),
		"dataHash of 33":      b.signature(b.tbs(4, good, bitString(0, make([]byte, 33)))),
		"empty dataHash":      b.signature(b.tbs(4, good, bitString(0, nil))),
		"bad embedded seal":   b.signature(b.tbs(4, seq(), hash)),
		"v1 seal in v4":       b.signature(b.tbs(4, b.sealV1(), hash)),
		"time without zone":   b.signature(seq(number(4), good, generalized("20260301010203"), hash, text(asn1.IA5String, ""))),
		"truncated timestamp": b.signature(b.tbs(4, good, hash), tlv(0xA0, []byte{3})),
		"too large":           make([]byte, seal.MaxSize+1),
	}
	for name, der := range signatures {
		if s, err := seal.ParseSignature(der); !errors.Is(err, seal.ErrStructure) || s != nil {
			t.Errorf("signature, %s: %v", name, err)
		}
	}
}

func TestOtherAlgorithmsAreNamed(t *testing.T) {
	b := build{t, newPair(t, "u", 9)}
	info := b.info(4, b.list())
	rsa := []byte{6, 3, 0x2A, 3, 4}
	s, err := seal.Parse(seq(info, octets(b.pair.cert), rsa, bitString(0, b.sign(info))))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VerifySignature(); !errors.Is(err, seal.ErrAlgorithm) {
		t.Errorf("got %v", err)
	}
	if _, err := seal.NewSigning(b.sealV1()); !errors.Is(err, seal.ErrUnsupportedGeneration) {
		t.Errorf("signing with a v1 seal: %v", err)
	}
	if s, err = seal.Parse(seq(info, octets([]byte("no certificate")), oidSM2, bitString(0, b.sign(info)))); err != nil {
		t.Fatal(err)
	}
	if err := s.VerifySignature(); !errors.Is(err, gm.ErrCertificate) {
		t.Errorf("got %v", err)
	}
}

func addSeeds(f *testing.F) {
	b := build{f, newPair(f, "u", 9)}
	s4 := b.seal(b.info(4, b.list(), extDatas))
	f.Add(s4)
	f.Add(b.sealV1())
	f.Add(b.seal(b.info(5, b.list()), tlv(0xA0, bitString(0, seq(number(1))))))
	f.Add(b.signature(b.tbs(4, s4, bitString(0, make([]byte, 32)), tlv(0xA0, extDatas))))
	f.Add(b.signatureV1(bitString(1, []byte("2026-03-01 09:02:03"))))
}

func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		before := bytes.Clone(der)
		s, err := seal.Parse(der)
		if !bytes.Equal(before, der) {
			t.Fatal("input was changed")
		}
		if err != nil {
			return
		}
		if !bytes.Equal(s.Raw, der) || !bytes.Contains(der, s.InfoRaw) {
			t.Fatal("bytes were not kept")
		}
		_ = s.VerifySignature() // any answer will do, a panic will not
		s.Lists(der)
	})
}

func FuzzParseSignature(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		s, err := seal.ParseSignature(der)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Raw, der) || !bytes.Contains(der, s.TBS) || !bytes.Contains(s.TBS, s.Seal.Raw) {
			t.Fatal("bytes were not kept")
		}
		_ = s.VerifyValue() // any answer will do, a panic will not
	})
}
