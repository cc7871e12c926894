package gm

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	tjsm2 "github.com/tjfoc/gmsm/sm2"
	tjsm3 "github.com/tjfoc/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	// ErrSignatureForm says that bytes are not an SM2 signature in the required encoding, or that r or s is outside 1..n-1.
	ErrSignatureForm = errors.New("not an SM2 signature")
	// ErrSignature says that a well-formed signature does not verify.
	ErrSignature = errors.New("signature does not verify")
	// ErrDisagree says that the two implementations of law 4 came to different verdicts. Nothing may be released on it.
	ErrDisagree = errors.New("the two SM2 implementations disagree")
)

// EncodeSignature turns r‖s (32+32 bytes, big-endian) into the DER SEQUENCE{INTEGER r, INTEGER s} of GM/T 0009.
func EncodeSignature(raw []byte) ([]byte, error) {
	if err := CheckRaw(raw); err != nil {
		return nil, err
	}
	der := append(make([]byte, 0, 72), 0x30, 0) // 2 + 2 + 33 + 2 + 33 bytes at most, so every length is one byte
	der = appendInteger(appendInteger(der, raw[:32]), raw[32:])
	der[1] = byte(len(der) - 2)
	return der, nil
}

// appendInteger adds a positive INTEGER with as few bytes as it takes.
func appendInteger(der, v []byte) []byte {
	for len(v) > 1 && v[0] == 0 {
		v = v[1:]
	}
	if v[0] < 0x80 {
		return append(append(der, 0x02, byte(len(v))), v...)
	}
	return append(append(der, 0x02, byte(len(v)+1), 0), v...)
}

// CheckRaw reports whether bytes are r‖s with both in 1…n-1, else ErrSignatureForm.
func CheckRaw(raw []byte) error {
	if len(raw) != 64 {
		return fmt.Errorf("raw signature of %d bytes, want 64: %w", len(raw), ErrSignatureForm)
	}
	for _, v := range [][]byte{raw[:32], raw[32:]} {
		if bytes.Compare(v, orderBytes) >= 0 || bytes.Equal(v, zeroBytes[:]) {
			return fmt.Errorf("r or s outside 1..n-1: %w", ErrSignatureForm)
		}
	}
	return nil
}

var (
	orderBytes = order().N.FillBytes(make([]byte, 32))
	zeroBytes  [32]byte
)

// DecodeSignature reads the strict DER form back to r‖s: minimal positive INTEGERs, definite lengths, nothing behind.
func DecodeSignature(der []byte) ([64]byte, error) {
	var raw [64]byte
	var seq cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() {
		return raw, fmt.Errorf("reading SEQUENCE{r,s}: %w", ErrSignatureForm)
	}
	var r, s []byte // without leading zeros
	if !seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&s) || !seq.Empty() {
		return raw, fmt.Errorf("reading r and s: %w", ErrSignatureForm)
	}
	if len(r) > 32 || len(s) > 32 {
		return raw, fmt.Errorf("r or s of more than 32 bytes: %w", ErrSignatureForm)
	}
	copy(raw[32-len(r):], r)
	copy(raw[64-len(s):], s)
	if err := CheckRaw(raw[:]); err != nil {
		return [64]byte{}, err
	}
	return raw, nil
}

// Deviation names how a signature seen in the wild departs from strict DER; empty means it does not.
type Deviation string

// The deviations that DecodeLenient accepts (GB/T 38540 signatures of shipped products).
const (
	DeviationRaw     Deviation = "raw r||s of 64 bytes instead of SEQUENCE{r,s}"
	DeviationInteger Deviation = "INTEGER r or s is not minimal DER"
)

// DecodeLenient reads a signature as found in the wild: strict DER, 64 raw bytes, or a SEQUENCE whose INTEGERs carry superfluous
// zeros or lack the sign byte. Bytes behind the structure are refused. It is for reading alone; nothing is ever written this way.
func DecodeLenient(b []byte) ([64]byte, Deviation, error) {
	if raw, err := DecodeSignature(b); err == nil {
		return raw, "", nil
	}
	if len(b) == 64 {
		if _, _, err := splitRaw(b); err == nil {
			return [64]byte(b), DeviationRaw, nil
		}
	}
	var seq, r, s cryptobyte.String
	in := cryptobyte.String(b)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1(&r, asn1.INTEGER) || !seq.ReadASN1(&s, asn1.INTEGER) || !seq.Empty() {
		return [64]byte{}, "", ErrSignatureForm
	}
	ri, si := new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)
	if err := inRange(ri, si); err != nil {
		return [64]byte{}, "", err
	}
	var raw [64]byte
	ri.FillBytes(raw[:32])
	si.FillBytes(raw[32:])
	return raw, DeviationInteger, nil
}

// VerifyE checks a raw signature r‖s over e. It returns nil, ErrSignatureForm, ErrSignature, or ErrDisagree when a hot key's table refuses what the
// library accepts.
func (p *PublicKey) VerifyE(e [32]byte, raw [64]byte) error {
	table := p.tableOf()
	if table != nil && table.Verify(e, raw) {
		return nil
	}
	r, s, err := splitRaw(raw[:])
	switch {
	case err != nil:
		return err
	case !sm2.Verify(p.key, e[:], r, s):
		return ErrSignature
	case table != nil:
		return fmt.Errorf("the table of a hot key: %w", ErrDisagree)
	}
	shared.earn(p, e, raw)
	return nil
}

// Verify checks a strict DER signature over message (Z and SM3 are applied here).
func (p *PublicKey) Verify(message, der []byte) error {
	raw, err := DecodeSignature(der)
	if err != nil {
		return err
	}
	return p.VerifyE(p.E(message), raw)
}

// VerifyTwice is law 4 for what is made once and trusted for years: both implementations must accept the strict DER signature over
// message. A split verdict is ErrDisagree. About 1.2 ms, so not for every signature.
func (p *PublicKey) VerifyTwice(message, der []byte) error {
	raw, err := DecodeSignature(der)
	if err != nil {
		return err
	}
	first := p.VerifyE(p.E(message), raw)
	second := secondOpinion(p, message, raw)
	switch {
	case first == nil && second:
		return nil
	case first != nil && !second:
		return first
	default:
		return ErrDisagree
	}
}

// secondOpinion asks tjfoc/gmsm, which gets r and s parsed here and a point checked here, since its own parsers are lax.
func secondOpinion(p *PublicKey, message []byte, raw [64]byte) bool {
	//lint:ignore SA1019 the other implementation takes coordinates; the point was checked when it came in
	pub := &tjsm2.PublicKey{Curve: tjsm2.P256Sm2(), X: p.key.X, Y: p.key.Y}
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	return tjsm2.Sm2Verify(pub, message, []byte(UserID), r, s)
}

func secondSelfTest() error {
	if [32]byte(tjsm3.Sm3Sum([]byte("abc"))) != SM3([]byte("abc")) {
		return fmt.Errorf("SM3 of \"abc\": %w", ErrDisagree)
	}
	return nil
}

func splitRaw(raw []byte) (r, s *big.Int, err error) {
	if err := CheckRaw(raw); err != nil {
		return nil, nil, err
	}
	return new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:]), nil
}

func inRange(r, s *big.Int) error {
	n := order().N
	for _, v := range []*big.Int{r, s} {
		if v.Sign() <= 0 || v.Cmp(n) >= 0 {
			return fmt.Errorf("r or s outside 1..n-1: %w", ErrSignatureForm)
		}
	}
	return nil
}

func order() *elliptic.CurveParams { return sm2.P256().Params() }
