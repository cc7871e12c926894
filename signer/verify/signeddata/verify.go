package signeddata

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"sealkeeper/internal/gm"
)

// Form tells how SignedData speaks of an original.
type Form string

// The forms in which a signature covers its original. OFD's Type="Sign" knows Detached and Digest (and a bare value, which is no
// SignedData).
const (
	FormDetached     Form = "detached"      // messageDigest is the original's digest, the original is not enclosed
	FormBare         Form = "bare"          // detached without attributes: only VerifyValue can tell
	FormAttached     Form = "attached"      // the original itself is enclosed
	FormDigest       Form = "digest"        // the original's digest is enclosed as content
	FormDigestBase64 Form = "digest-base64" // the same in base64 text, as some products write it
)

// Covers reports how the first signer's statement speaks of original, or ErrDigest where it does not. It checks digests alone; whether
// the statement was signed is VerifyValue's to say. Errors: ErrDigest, ErrAlgorithm.
func (s *SignedData) Covers(original []byte) (Form, error) {
	i := s.Signer()
	digest, err := Digest(i.DigestOID, original)
	if err != nil {
		return "", err
	}
	return s.CoversDigest(digest, bytes.Equal(s.Content, original))
}

// CoversDigest is Covers for an original that is known by its digest under the first signer's DigestOID; same says that an enclosed
// content is the original.
func (s *SignedData) CoversDigest(digest []byte, same bool) (Form, error) {
	i := s.Signer()
	if s.Content == nil {
		if i.Attributes == nil {
			return FormBare, nil
		}
		return FormDetached, i.MatchDigest(digest)
	}
	if i.Attributes != nil {
		inner, err := Digest(i.DigestOID, s.Content)
		if err != nil {
			return "", err
		}
		if err := i.MatchDigest(inner); err != nil {
			return "", err
		}
	}
	switch {
	case same:
		return FormAttached, nil
	case bytes.Equal(s.Content, digest):
		return FormDigest, nil
	case string(s.Content) == base64.StdEncoding.EncodeToString(digest):
		return FormDigestBase64, nil
	}
	return "", fmt.Errorf("enclosed content: %w", ErrDigest)
}

// VerifyValue checks the first signer's signature value; original is used only where neither attributes nor content are enclosed, and
// may be nil otherwise.
func (s *SignedData) VerifyValue(original []byte) error {
	if s.Content != nil {
		return s.Signer().VerifyValue(s.Content)
	}
	return s.Signer().VerifyValue(original)
}

// MatchDigest compares the digest of the content, under DigestOID, with messageDigest. Errors: ErrDigest, ErrAttributes where there
// is no messageDigest.
func (i *Signer) MatchDigest(digest []byte) error {
	if i.Attributes == nil {
		return fmt.Errorf("no messageDigest: %w", ErrAttributes)
	}
	if len(digest) == 0 || subtle.ConstantTimeCompare(digest, i.MessageDigest) != 1 {
		return fmt.Errorf("messageDigest: %w", ErrDigest)
	}
	return nil
}

// VerifyContent is MatchDigest and VerifyValue over the whole content.
func (i *Signer) VerifyContent(content []byte) error {
	if i.Attributes != nil {
		digest, err := Digest(i.DigestOID, content)
		if err != nil {
			return err
		}
		if err := i.MatchDigest(digest); err != nil {
			return err
		}
	}
	return i.VerifyValue(content)
}

// VerifyDigest is MatchDigest and VerifyValue where only the content's digest under DigestOID is at hand. An SM2 signature without
// attributes covers Z and the content, so it cannot be checked this way: ErrContent.
func (i *Signer) VerifyDigest(digest []byte) error {
	if i.Attributes != nil {
		if err := i.MatchDigest(digest); err != nil {
			return err
		}
		return i.VerifyValue(nil)
	}
	scheme, err := i.scheme()
	if err != nil {
		return err
	}
	if scheme.digest != i.DigestOID || scheme.kind == sm2 {
		return ErrContent
	}
	return i.check(scheme, digest)
}

// VerifyValue checks the signature value over the signed attributes as encoded or, without them, over content (RFC 5652 §5.4; the SM2
// message also takes Z, GB/T 35275 §8.3). Errors: ErrSignature, ErrAlgorithm, ErrCertificate, ErrContent, ErrAmbiguous.
func (i *Signer) VerifyValue(content []byte) error {
	scheme, err := i.scheme()
	if err != nil {
		return err
	}
	message := i.Attributes
	if message == nil {
		if message = content; message == nil {
			return ErrContent
		}
		if looksSigned(message) {
			return ErrAmbiguous
		}
	}
	if scheme.kind == sm2 {
		return i.checkSM2(message)
	}
	digest, err := Digest(scheme.digest, message)
	if err != nil {
		return err
	}
	return i.check(scheme, digest)
}

func (i *Signer) checkSM2(message []byte) error {
	c, err := i.Signatory()
	if err != nil {
		return err
	}
	if c.Key == nil {
		return fmt.Errorf("SM2 signature under another kind of key: %w", ErrCertificate)
	}
	raw, _, err := gm.DecodeLenient(i.Value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := c.Key.VerifyE(c.Key.E(message), raw); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

func (i *Signer) check(scheme scheme, digest []byte) error {
	c, err := i.Signatory()
	if err != nil {
		return err
	}
	switch k := c.Public.(type) {
	case *ecdsa.PublicKey:
		if scheme.kind == elliptic {
			return verified(ecdsa.VerifyASN1(k, digest, i.Value))
		}
	case *rsa.PublicKey:
		switch scheme.kind {
		case pkcs1:
			return verified(rsa.VerifyPKCS1v15(k, scheme.hash, digest, i.Value) == nil)
		case pss:
			o := &rsa.PSSOptions{Hash: scheme.hash, SaltLength: scheme.salt}
			return verified(rsa.VerifyPSS(k, scheme.hash, digest, i.Value, o) == nil)
		}
	}
	return fmt.Errorf("%s signature under another kind of key: %w", Name(i.SignatureOID), ErrCertificate)
}

func verified(ok bool) error {
	if !ok {
		return ErrSignature
	}
	return nil
}

type kind int

const (
	sm2 kind = iota + 1
	elliptic
	pkcs1
	pss
)

// scheme is what a signature algorithm identifier asks for.
type scheme struct {
	kind   kind
	digest string      // OID of the digest of the message; empty for SM2, whose e takes Z too
	hash   crypto.Hash // the same for crypto/rsa
	salt   int
}

func isSM2(oid string) bool { return oid == OIDSM2Sign || oid == OIDSM2WithSM3 || oid == OIDSM2 }

// fixed are the algorithms that name their digest.
var fixed = map[string]scheme{
	OIDSHA1RSA: {kind: pkcs1, digest: OIDSHA1}, OIDSHA256RSA: {kind: pkcs1, digest: OIDSHA256},
	OIDSHA384RSA: {kind: pkcs1, digest: OIDSHA384}, OIDSHA512RSA: {kind: pkcs1, digest: OIDSHA512},
	OIDECDSASHA1: {kind: elliptic, digest: OIDSHA1}, OIDECDSASHA256: {kind: elliptic, digest: OIDSHA256},
	OIDECDSASHA384: {kind: elliptic, digest: OIDSHA384}, OIDECDSASHA512: {kind: elliptic, digest: OIDSHA512},
}

var hashes = map[string]crypto.Hash{OIDSHA1: crypto.SHA1, OIDSHA256: crypto.SHA256, OIDSHA384: crypto.SHA384, OIDSHA512: crypto.SHA512}

// scheme pairs signature and digest algorithm. Two digests in one SignerInfo are refused: one of them would be the weaker.
func (i *Signer) scheme() (scheme, error) {
	var s scheme
	switch oid := i.SignatureOID; {
	case isSM2(oid):
		if i.DigestOID != OIDSM3 {
			return s, fmt.Errorf("SM2 over digest %s: %w", Name(i.DigestOID), ErrAlgorithm)
		}
		return scheme{kind: sm2}, nil
	case oid == OIDRSA:
		s = scheme{kind: pkcs1, digest: i.DigestOID}
	case oid == OIDECKey:
		s = scheme{kind: elliptic, digest: i.DigestOID}
	case oid == OIDPSS:
		var err error
		if s, err = pssScheme(i.parameters); err != nil {
			return s, err
		}
	default:
		s = fixed[oid]
	}
	s.hash = hashes[s.digest]
	if s.hash == 0 || s.digest != i.DigestOID {
		return s, fmt.Errorf("%s over digest %s: %w", Name(i.SignatureOID), Name(i.DigestOID), ErrAlgorithm)
	}
	return s, nil
}

// pssScheme reads RSASSA-PSS-params (RFC 4055 §3.1); the mask must use the same digest, and the trailer field be the only one defined.
func pssScheme(parameters []byte) (scheme, error) {
	out := scheme{kind: pss, digest: OIDSHA1, salt: 20}
	r := &reading{}
	d := (&decoder{parameters, r}).sequence("RSASSA-PSS-params")
	mask := OIDSHA1
	if d.next(tagExplicit0) {
		out.digest, _ = d.enter(tagExplicit0, "hashAlgorithm").algorithm("hashAlgorithm")
	}
	if d.next(tagExplicit1) {
		m := d.enter(tagExplicit1, "maskGenAlgorithm").sequence("maskGenAlgorithm")
		if id := m.oid("maskGenAlgorithm"); id != "1.2.840.113549.1.1.8" {
			m.fail("maskGenAlgorithm")
		}
		mask, _ = m.algorithm("mask digest")
	}
	if d.next(tagExplicit2) {
		out.salt = d.enter(tagExplicit2, "saltLength").integer("saltLength")
	}
	if d.next(tagExplicit3) && d.enter(tagExplicit3, "trailerField").integer("trailerField") != 1 {
		d.fail("trailerField")
	}
	d.end("RSASSA-PSS-params")
	if r.err != nil || mask != out.digest || out.salt < 0 || out.salt > 512 {
		return out, fmt.Errorf("RSA-PSS parameters: %w", ErrAlgorithm)
	}
	return out, nil
}
