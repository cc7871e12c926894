package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// suite is one algorithm as this module does it: the profile's numbers for SM2, the standard's for the rest.
type suite struct {
	name    Algorithm
	class   uint // of the object that works: private or secret key
	keyType uint
	typed   bool   // templates carry CKA_KEY_TYPE
	keyGen  uint   // mechanism
	use     uint   // mechanism of Sign, or of Encrypt and Decrypt
	curve   []byte // DER of the curve's OID, the value of CKA_EC_PARAMS
	asked   bool   // templates carry the curve, so it must read back
	input   string // what an SM2 mechanism is given
	output  string // form of an SM2 signature
	forms   []string
	working []flag // of the object that works, unless class says it
	other   []flag // of the public half, unless publicFlags
	x, y    uint   // attributes of the coordinates, where the form xy is among forms
	bits    uint   // attribute of the key's length in both templates, or none
	secrets []uint // attributes that must never be readable

	// public reads the public half; check verifies a signature over a digest under what public returned.
	public func(s *session, h pkcs11.ObjectHandle) ([]byte, error)
	check  func(public []byte, digest [32]byte, sig []byte) error
}

var (
	oidSM2  = []byte{0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D} // 1.2.156.10197.1.301
	oidP256 = []byte{0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07} // 1.2.840.10045.3.1.7
)

const rsaBits, rsaExponent = 2048, 65537

// suitesOf builds the table of a profile.
func suitesOf(p *firmware.Profile) []*suite {
	var all []*suite
	if p.SM2 != nil {
		all = append(all, sm2Suite(p.SM2))
	}
	if p.ECDSA != nil {
		s := &suite{name: ECDSAP256, class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_EC, typed: true, keyGen: pkcs11.CKM_EC_KEY_PAIR_GEN,
			use: pkcs11.CKM_ECDSA, curve: oidP256, asked: true, forms: p.ECDSA.ECPoint.Forms, secrets: []uint{pkcs11.CKA_VALUE}, check: checkECDSA}
		s.public = s.publicP256
		all = append(all, s)
	}
	if p.RSA != nil {
		s := &suite{name: RSA2048, class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_RSA, typed: true, keyGen: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
			use: pkcs11.CKM_RSA_PKCS, secrets: []uint{pkcs11.CKA_PRIVATE_EXPONENT}, check: checkRSA}
		s.public = s.publicRSA
		all = append(all, s)
	}
	if p.AES != nil && p.AES.GCM {
		all = append(all, &suite{name: AES256, class: pkcs11.CKO_SECRET_KEY, keyType: pkcs11.CKK_AES, typed: true,
			keyGen: pkcs11.CKM_AES_KEY_GEN, use: pkcs11.CKM_AES_GCM, secrets: []uint{pkcs11.CKA_VALUE}})
	}
	return all
}

func sm2Suite(p *firmware.SM2) *suite {
	m := p.Sign[p.Use]
	s := &suite{name: SM2, class: pkcs11.CKO_PRIVATE_KEY, keyType: uint(p.KeyType), typed: p.KeyGen.PublicKeyType == "required",
		keyGen: uint(p.KeyGen.Mechanism), use: uint(m.Mechanism), curve: oidSM2, asked: p.KeyGen.ECParams == "oid",
		input: m.Input, output: m.Output, forms: p.ECPoint.Forms, x: uint(p.ECPoint.X), y: uint(p.ECPoint.Y), bits: uint(p.KeyGen.BitsAttribute),
		secrets: []uint{pkcs11.CKA_VALUE}, check: checkSM2}
	if p.ValueAttribute != 0 {
		s.secrets = append(s.secrets, uint(p.ValueAttribute))
	}
	s.public = s.publicSM2
	return s
}

// need is a mechanism and the flag that the token must list it with.
type need struct{ mechanism, flag uint }

func (s *suite) needs() []need {
	if s.class == pkcs11.CKO_SECRET_KEY {
		return []need{{s.keyGen, pkcs11.CKF_GENERATE}, {s.use, pkcs11.CKF_ENCRYPT}, {s.use, pkcs11.CKF_DECRYPT}}
	}
	return []need{{s.keyGen, pkcs11.CKF_GENERATE_KEY_PAIR}, {s.use, pkcs11.CKF_SIGN}}
}

// ErrPoint: CKA_EC_POINT has none of the forms that the profile allows.
var errPoint = errors.New("CKA_EC_POINT has none of the profile's forms")

// decodePoint turns CKA_EC_POINT into 04‖X‖Y. Forms are told apart by exact length and prefix: trying one parser after another
// would misread a raw point that happens to look like DER.
func decodePoint(b []byte, forms []string) ([]byte, error) {
	for _, form := range forms {
		switch {
		case form == firmware.PointDEROctet && len(b) == 67 && bytes.HasPrefix(b, []byte{4, 65, 4}):
			return b[2:], nil
		case form == firmware.PointRaw65 && len(b) == 65 && b[0] == 4:
			return b, nil
		case form == firmware.PointRaw64 && len(b) == 64:
			return append([]byte{4}, b...), nil
		case form == firmware.PointDERBit && len(b) == 68 && bytes.HasPrefix(b, []byte{3, 66, 0, 4}):
			return b[3:], nil
		}
	}
	return nil, fmt.Errorf("%d bytes: %w: %w", len(b), errPoint, ErrRefused)
}

func (s *suite) point(se *session, h pkcs11.ObjectHandle) ([]byte, error) {
	if slices.Contains(s.forms, firmware.PointXY) {
		return s.coordinates(se, h)
	}
	b, err := se.attribute(h, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_EC_POINT: %w", err)
	}
	return decodePoint(b, s.forms)
}

// coordinates reads a point from two attributes of the vendor's, each a big-endian number of at most 32 bytes.
func (s *suite) coordinates(se *session, h pkcs11.ObjectHandle) ([]byte, error) {
	point := make([]byte, 65)
	point[0] = 4
	for i, kind := range []uint{s.x, s.y} {
		b, err := se.attribute(h, kind)
		if err != nil {
			return nil, fmt.Errorf("reading coordinate attribute 0x%08x: %w", kind, err)
		}
		if len(b) == 0 || len(b) > 32 {
			return nil, fmt.Errorf("coordinate of %d bytes: %w: %w", len(b), errPoint, ErrRefused)
		}
		end := 33 + 32*i
		copy(point[end-len(b):end], b)
	}
	return point, nil
}

// publicSM2 returns the 65-byte point, on the curve.
func (s *suite) publicSM2(se *session, h pkcs11.ObjectHandle) ([]byte, error) {
	point, err := s.point(se, h)
	if err != nil {
		return nil, err
	}
	if _, err := gm.NewPublicKey(point); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return point, nil
}

// publicP256 returns the DER SubjectPublicKeyInfo.
func (s *suite) publicP256(se *session, h pkcs11.ObjectHandle) ([]byte, error) {
	point, err := s.point(se, h)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("reading P-256 point: %w: %w", ErrRefused, err)
	}
	return x509.MarshalPKIXPublicKey(key)
}

// publicRSA returns the DER SubjectPublicKeyInfo of a key of exactly the size and exponent that were asked for.
func (s *suite) publicRSA(se *session, h pkcs11.ObjectHandle) ([]byte, error) {
	n, err := se.attribute(h, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_MODULUS: %w", err)
	}
	e, err := se.attribute(h, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_PUBLIC_EXPONENT: %w", err)
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if modulus.BitLen() != rsaBits || exponent.Cmp(big.NewInt(rsaExponent)) != 0 {
		return nil, fmt.Errorf("RSA key of %d bits with exponent %v: %w", modulus.BitLen(), exponent, ErrRefused)
	}
	return x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus, E: rsaExponent})
}

// errChallenge: the key signed a challenge and the signature does not verify under the public key beside it.
var errChallenge = errors.New("the signature over the challenge does not verify")

func checkSM2(public []byte, e [32]byte, sig []byte) error {
	key, err := gm.NewPublicKey(public)
	if err != nil {
		return err
	}
	if len(sig) != 64 {
		return errChallenge
	}
	return key.VerifyE(e, [64]byte(sig))
}

func checkECDSA(public []byte, digest [32]byte, sig []byte) error {
	key, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return err
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || len(sig) != 64 || !ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return errChallenge
	}
	return nil
}

func checkRSA(public []byte, digest [32]byte, sig []byte) error {
	key, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return err
	}
	k, ok := key.(*rsa.PublicKey)
	if !ok {
		return errChallenge
	}
	return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig)
}
