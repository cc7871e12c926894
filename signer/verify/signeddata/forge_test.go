package signeddata_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/signer/verify/signeddata"
)

// This writer shares nothing with signer/cms: it exists to write what must not be written.

var (
	noon    = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	content = []byte("演示数据: a document of the bureau\n")
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func dotted(s string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for p := range strings.SplitSeq(s, ".") {
		oid = append(oid, must(strconv.Atoi(p)))
	}
	return oid
}

type bytesOf func(*cryptobyte.Builder)

func der(f bytesOf) []byte {
	var b cryptobyte.Builder
	f(&b)
	return b.BytesOrPanic()
}

func tlv(tag byte, parts ...[]byte) []byte {
	return der(func(b *cryptobyte.Builder) {
		b.AddASN1(tags.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
	})
}

func oid(s string) []byte {
	return der(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(dotted(s)) })
}
func octets(b []byte) []byte { return tlv(0x04, b) }
func number(n int64) []byte {
	return der(func(b *cryptobyte.Builder) { b.AddASN1Int64(n) })
}

func algorithm(s string, parameters ...[]byte) []byte {
	return tlv(0x30, slices.Concat([][]byte{oid(s)}, parameters)...)
}

func attribute(s string, values ...[]byte) []byte {
	return tlv(0x30, oid(s), tlv(0x31, values...))
}

// key is one signer of the tests: its certificate and how it signs a whole message with the digest of a given OID.
type key struct {
	cert   []byte
	parsed *gm.Certificate
	sigOID string
	digest string
	sign   func(message []byte) []byte
}

func template(cn string) *gm.Certificate {
	return &gm.Certificate{SerialNumber: big.NewInt(0x91), Subject: pkix.Name{CommonName: cn}, NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(10, 0, 0),
		KeyUsage: gm.KeyUsageDigitalSignature, SubjectKeyId: []byte("示例 key id")}
}

func (k *key) certify(tpl *gm.Certificate, pub any, signer crypto.Signer) *key {
	k.cert = must(gm.CreateCertificate(tpl, tpl, pub, signer))
	k.parsed = must(gm.ParseCertificate(k.cert))
	return k
}

func sm2Key() *key {
	s := must(softkey.Generate(nil))
	tpl := template("示例 SM2")
	tpl.SignatureAlgorithm = gm.SM2WithSM3
	k := &key{sigOID: signeddata.OIDSM2Sign, digest: signeddata.OIDSM3, sign: func(m []byte) []byte { return must(s.Sign(m)) }}
	return k.certify(tpl, s.Public().ECDSA(), s.Signer())
}

var hashes = map[string]crypto.Hash{signeddata.OIDSHA1: crypto.SHA1, signeddata.OIDSHA256: crypto.SHA256, signeddata.OIDSHA384: crypto.SHA384, signeddata.OIDSHA512: crypto.SHA512}

func hashed(digest string, m []byte) []byte {
	switch digest {
	case signeddata.OIDSM3:
		d := gm.SM3(m)
		return d[:]
	case signeddata.OIDSHA1:
		d := sha1.Sum(m)
		return d[:]
	case signeddata.OIDSHA256:
		d := sha256.Sum256(m)
		return d[:]
	case signeddata.OIDSHA384:
		d := sha512.Sum384(m)
		return d[:]
	}
	d := sha512.Sum512(m)
	return d[:]
}

func ecKey(c elliptic.Curve, sigOID, digest string) *key {
	s := must(ecdsa.GenerateKey(c, rand.Reader))
	k := &key{sigOID: sigOID, digest: digest, sign: func(m []byte) []byte { return must(ecdsa.SignASN1(rand.Reader, s, hashed(digest, m))) }}
	return k.certify(template("示例 EC"), &s.PublicKey, s)
}

func rsaKey(bits int, sigOID, digest string) *key {
	s := must(rsa.GenerateKey(rand.Reader, bits))
	k := &key{sigOID: sigOID, digest: digest, sign: func(m []byte) []byte {
		if sigOID == signeddata.OIDPSS {
			return must(rsa.SignPSS(rand.Reader, s, hashes[digest], hashed(digest, m), &rsa.PSSOptions{SaltLength: 32, Hash: hashes[digest]}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, s, hashes[digest], hashed(digest, m)))
	}}
	return k.certify(template("示例 RSA"), &s.PublicKey, s)
}

// forgery is a SignedData whose every part a test may replace.
type forgery struct {
	outer, inner string // content types
	version      int64
	digests      [][]byte
	content      []byte // nil: detached
	original     []byte // what was hashed
	certificates [][]byte
	crls         [][]byte
	sid          []byte
	signerV      int64
	digest       string
	signed       [][]byte // attributes in the order written; nil: none
	bare         bool     // no attributes: the value is over content or original
	sigAlgorithm []byte
	value        func([]byte) []byte
	unsigned     [][]byte
	signers      int
	tail         []byte // inside SignedData, at the end
	after        []byte // behind ContentInfo
	sort         bool
}

func (k *key) forge(change func(*forgery)) []byte {
	issuer, serial := k.parsed.RawIssuer, der(func(b *cryptobyte.Builder) { b.AddASN1BigInt(k.parsed.SerialNumber) })
	f := forgery{outer: signeddata.OIDGMSignedData, inner: signeddata.OIDGMData, version: 1, digests: [][]byte{algorithm(k.digest)}, original: content,
		certificates: [][]byte{k.cert}, sid: tlv(0x30, issuer, serial), signerV: 1, digest: k.digest, sigAlgorithm: algorithm(k.sigOID),
		value: func(b []byte) []byte { return b }, signers: 1, sort: true}
	f.signed = [][]byte{attribute(signeddata.OIDContentType, oid(f.inner)), attribute(signeddata.OIDMessageDigest, octets(hashed(k.digest, content)))}
	if change != nil {
		change(&f)
	}
	return f.write(k)
}

func (f forgery) write(k *key) []byte {
	message := f.original
	if f.content != nil {
		message = f.content
	}
	info := [][]byte{number(f.signerV), f.sid, algorithm(f.digest)}
	if !f.bare {
		if f.sort {
			f.signed = slices.Clone(f.signed)
			slices.SortFunc(f.signed, bytes.Compare)
		}
		message = tlv(0x31, f.signed...)
		info = append(info, tlv(0xA0, f.signed...))
	}
	info = append(info, f.sigAlgorithm, octets(f.value(k.sign(message))))
	if f.unsigned != nil {
		info = append(info, tlv(0xA1, f.unsigned...))
	}
	encap := [][]byte{oid(f.inner)}
	if f.content != nil {
		encap = append(encap, tlv(0xA0, octets(f.content)))
	}
	body := [][]byte{number(f.version), tlv(0x31, f.digests...), tlv(0x30, encap...)}
	if f.certificates != nil {
		body = append(body, tlv(0xA0, f.certificates...))
	}
	if f.crls != nil {
		body = append(body, tlv(0xA1, f.crls...))
	}
	body = append(body, tlv(0x31, slices.Repeat([][]byte{tlv(0x30, info...)}, f.signers)...), f.tail)
	return append(tlv(0x30, oid(f.outer), tlv(0xA0, tlv(0x30, body...))), f.after...)
}

func codes(notes []signeddata.Note) string {
	var out []string
	for _, n := range notes {
		out = append(out, n.Code)
	}
	return strings.Join(out, " ")
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)-1] ^= 1
	return b
}
