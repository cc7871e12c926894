// Package gm is the one door to the SM2, SM3 and SM2-certificate code that Sealkeeper uses.
//
// It promises fixed widths (digests are [32]byte, raw signatures [64]byte), the default user ID of GM/T 0009 and no other, and
// strict DER on the way out. emmansun/gmsm does the work; tjfoc/gmsm is the second, unrelated opinion that a certificate or a seal
// needs before release (law 4). Nothing else in the project imports either module; a test holds that wall.
//
// Limits: no SM2 encryption, no private keys (those live in tokens), no SM9.
package gm

import (
	"crypto/ecdsa"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

// UserID is the signer identity that enters Z: the 16 ASCII bytes that GM/T 0009 fixes as the default.
const UserID = "1234567812345678"

// ErrKey says that bytes do not hold a usable SM2 public key.
var ErrKey = errors.New("not a usable SM2 public key")

// SM3 returns the SM3 digest (GB/T 32905) of the concatenation of parts.
func SM3(parts ...[]byte) [32]byte {
	if len(parts) == 1 {
		return sm3.Sum(parts[0])
	}
	h := sm3.New()
	for _, p := range parts {
		h.Write(p)
	}
	var d [32]byte
	h.Sum(d[:0])
	return d
}

// NewSM3 returns a streaming SM3 hash.
func NewSM3() hash.Hash { return sm3.New() }

// PublicKey is a checked point on sm2p256v1 together with its Z for the default user ID (GB/T 32918.2 §5.5).
// It is immutable but for what makes its verifications fast, and safe for concurrent use.
type PublicKey struct {
	key *ecdsa.PublicKey
	z   [32]byte
	hot hot
}

// NewPublicKey reads an uncompressed point, 65 bytes 04‖X‖Y. A point off the curve or at infinity is ErrKey.
func NewPublicKey(point []byte) (*PublicKey, error) {
	if len(point) != 65 {
		return nil, fmt.Errorf("reading SM2 point of %d bytes, want 65: %w", len(point), ErrKey)
	}
	k, err := sm2.NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("reading SM2 point: %w: %w", ErrKey, err)
	}
	return fromECDSA(k)
}

// FromECDSA wraps the public key of a parsed SM2 certificate; a key on any other curve is ErrKey.
func FromECDSA(k *ecdsa.PublicKey) (*PublicKey, error) {
	if k == nil || k.Curve != sm2.P256() {
		return nil, fmt.Errorf("public key is not on sm2p256v1: %w", ErrKey)
	}
	return fromECDSA(k)
}

func fromECDSA(k *ecdsa.PublicKey) (*PublicKey, error) {
	// CalculateZA keeps a cache entry per key object; calling it once here and never again keeps that bounded by live keys.
	z, err := sm2.CalculateZA(k, nil)
	if err != nil {
		return nil, fmt.Errorf("computing Z: %w: %w", ErrKey, err)
	}
	return &PublicKey{key: k, z: [32]byte(z)}, nil
}

// ECDSA returns the key in the form that the certificate code takes. The result must not be modified.
func (p *PublicKey) ECDSA() *ecdsa.PublicKey { return p.key }

// Point returns the uncompressed point, 65 bytes 04‖X‖Y.
func (p *PublicKey) Point() []byte {
	b := make([]byte, 65)
	b[0] = 4
	//lint:ignore SA1019 PublicKey.Bytes knows the NIST curves only, and this point was checked when it came in
	p.key.X.FillBytes(b[1:33])
	//lint:ignore SA1019 as above
	p.key.Y.FillBytes(b[33:])
	return b
}

// Z returns SM3(ENTL‖ID‖a‖b‖xG‖yG‖xA‖yA) for the default user ID.
func (p *PublicKey) Z() [32]byte { return p.z }

// E returns e = SM3(Z‖message), the number that SM2 signs.
func (p *PublicKey) E(message []byte) [32]byte { return SM3(p.z[:], message) }

// Equal reports whether both keys are the same point.
func (p *PublicKey) Equal(q *PublicKey) bool { return p.key.Equal(q.key) }

// Message collects the bytes of a message to be signed under one key, with Z already absorbed. Its state may be copied, so a long
// common prefix (the seal inside TBS_Sign) is hashed once. Not safe for concurrent use; Clone of a finished prefix is.
type Message struct {
	h    hash.Hash
	key  *PublicKey
	kept []byte // Z and what was written, where Keep asked for it
}

// NewMessage starts a message for p.
func (p *PublicKey) NewMessage() *Message {
	h := sm3.New()
	h.Write(p.z[:])
	return &Message{h: h, key: p}
}

// Keep has a message that nothing was written to yet remember its bytes, for tokens that hash themselves.
func (m *Message) Keep() *Message {
	m.kept = append([]byte(nil), m.key.z[:]...)
	return m
}

// Preimage returns what E is the SM3 of, Z in front, or nil when Keep was not asked for. The result must not be modified.
func (m *Message) Preimage() []byte { return m.kept }

// Under reports whether the message was begun for p, that is, whether its e is p's to sign.
func (m *Message) Under(p *PublicKey) bool {
	return m != nil && m.key != nil && p != nil && (m.key == p || m.key.Equal(p))
}

// Write adds message bytes; it never fails.
func (m *Message) Write(b []byte) (int, error) {
	if m.kept != nil {
		m.kept = append(m.kept, b...)
	}
	return m.h.Write(b)
}

// Clone returns an independent copy of the state.
func (m *Message) Clone() *Message {
	state, err := m.h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("sm3 state: " + err.Error()) // the marshaller of the pinned version has no failing path
	}
	h := sm3.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("sm3 state: " + err.Error())
	}
	return &Message{h, m.key, slices.Clone(m.kept)}
}

// E returns e of the bytes written so far; more may be written afterwards.
func (m *Message) E() [32]byte {
	var e [32]byte
	m.h.Sum(e[:0])
	return e
}

// SelfTest runs the known-answer tests of the underlying module; a daemon calls it at start and stops on an error.
func SelfTest() error {
	if err := sm3.SelfTest(); err != nil {
		return fmt.Errorf("SM3 self test: %w", err)
	}
	if err := sm2.SelfTest(); err != nil {
		return fmt.Errorf("SM2 self test: %w", err)
	}
	return secondSelfTest()
}
