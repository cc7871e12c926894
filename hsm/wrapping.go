package hsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// KEK names the kind of key that wraps other keys and does nothing else: a key that could also decrypt would turn a wrapped key into clear
// text. It is made by Generate.
const KEK Algorithm = "aes-256-kek"

var (
	// ErrBlob: a wrapped key is not what was wrapped: cut, altered, of another key, or bound to something else. Nothing was unwrapped.
	ErrBlob = errors.New("the wrapped key is damaged or belongs to something else")
	// ErrUnproven: nobody has shown that this module wraps and unwraps keys of this algorithm.
	ErrUnproven = errors.New("wrapped custody is not proven for this module")
)

// Wrapping names the two keys behind a wrapped key: KEK wraps it, Binder (AES256) encrypts the result once more, bound to all that is
// said of it. A key that holds one blob's place can so never be given another's.
type Wrapping struct {
	KEK    ObjectID `json:"kek"`
	Binder ObjectID `json:"binder"`
}

// Wrapped is a private key outside the token. Any token that holds the two keys of Wrapping can use it.
type Wrapped struct {
	Key       ObjectID  `json:"key"`
	Algorithm Algorithm `json:"algorithm"`
	Public    []byte    `json:"public"`  // as in Birth
	Context   string    `json:"context"` // what custody says of the key
	Wrapping
	Mechanism string `json:"mechanism"` // as profiles name it
	Nonce     []byte `json:"nonce"`     // 12 bytes
	Blob      []byte `json:"blob"`
}

// WrapRequest asks for a key pair that is born in the token as session objects and leaves it wrapped alone.
type WrapRequest struct {
	GenerateRequest
	Wrapping Wrapping
	Context  string
}

// WrappedBirth is what GenerateWrapped returns.
type WrappedBirth struct {
	Birth   Birth   `json:"birth"`
	Wrapped Wrapped `json:"wrapped"`
}

// RewrapRequest asks for the same key under other wrapping keys.
type RewrapRequest struct {
	Wrapped Wrapped
	To      Wrapping
}

// sum is what the binding key binds the blob to, and, with nonce and blob, the name of the unwrapped object in memory:
//
//	SM3("SKW1" | key, algorithm, public, context, KEK, binder, mechanism, each behind its length in 4 bytes | more)
func (w Wrapped) sum(more ...[]byte) [32]byte {
	b := append(make([]byte, 0, 512), "SKW1"...)
	fields := [][]byte{w.Key[:], []byte(w.Algorithm), w.Public, []byte(w.Context), w.KEK[:], w.Binder[:], []byte(w.Mechanism)}
	for _, f := range append(fields, more...) {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return gm.SM3(b)
}

// the longest blob: RSA-2048 wrapped, and room
const maxBlob = 4 << 10

func (w Wrapped) check() error {
	if w.Key == (ObjectID{}) || len(w.Nonce) != 12 || len(w.Blob) <= tagSize || len(w.Blob) > maxBlob {
		return fmt.Errorf("key %s: a nonce of %d and a blob of %d bytes: %w", w.Key, len(w.Nonce), len(w.Blob), ErrBlob)
	}
	return nil
}

// mechanisms are the standard's numbers behind a profile's name, the best first; a token is asked which it lists.
var wrapMechanisms = map[string][]uint{
	"aes-kw":  {pkcs11.CKM_AES_KEY_WRAP},
	"aes-kwp": {0x210B, pkcs11.CKM_AES_KEY_WRAP_PAD}, // CKM_AES_KEY_WRAP_KWP of PKCS #11 3.0, and what came before it
}

// profileNames are the algorithms as profiles' wrap sections name them.
var profileNames = map[Algorithm]string{SM2: "sm2", ECDSAP256: "ecdsa", RSA2048: "rsa"}

// proven returns the wrapping that the profile has evidence for.
func proven(p *firmware.Profile, a Algorithm) (string, error) {
	alg := profileNames[a]
	name := p.Wrap[alg]
	switch {
	case alg == "" || name == "" || name == "none":
		return "", fmt.Errorf("profile %s names no wrapping for %s keys: %w", p.ID, a, ErrUnproven)
	case wrapMechanisms[name] == nil:
		return "", fmt.Errorf("profile %s wraps %s keys by %s, which is not driven: %w", p.ID, a, name, ErrUnproven)
	}
	level := p.Evidence.Level
	if s, ok := p.Sources["wrap."+alg]; ok {
		level = s.Level
	}
	if level != firmware.Simulated && level != firmware.Verified {
		return "", fmt.Errorf("wrap.%s of profile %s is %s, not measured (sealctl token probe measures it): %w", alg, p.ID, level, ErrUnproven)
	}
	return name, nil
}

// checkWrapping keeps the wrapping mechanisms that the profile names and the token lists both ways.
func (e *epoch) checkWrapping(m *Module) {
	e.wraps = map[string]uint{}
	for _, name := range m.cfg.Profile.Wrap {
		for _, number := range wrapMechanisms[name] {
			if e.offers(need{number, pkcs11.CKF_WRAP}) && e.offers(need{number, pkcs11.CKF_UNWRAP}) {
				e.wraps[name] = number
				break
			}
		}
	}
	if len(e.wraps) > 0 && e.offers(need{pkcs11.CKM_AES_KEY_GEN, pkcs11.CKF_GENERATE}) {
		e.suites[KEK] = &suite{name: KEK, class: pkcs11.CKO_SECRET_KEY, keyType: pkcs11.CKK_AES, typed: true, keyGen: pkcs11.CKM_AES_KEY_GEN,
			secrets: []uint{pkcs11.CKA_VALUE}, working: kekFlags}
	}
}

// wrapping is what a session needs to wrap or unwrap keys of an algorithm.
type wrapping struct {
	suite     *suite // of the keys
	kek       pkcs11.ObjectHandle
	binder    pkcs11.ObjectHandle
	name      string
	mechanism []*pkcs11.Mechanism
	trusted   bool // CKA_TRUSTED of the KEK, which the security officer alone can set
}

// wrapping finds the keys. Profile and token must both offer the mechanism.
func (s *session) wrapping(a Algorithm, w Wrapping) (wrapping, error) {
	name, err := proven(s.m.cfg.Profile, a)
	if err != nil {
		return wrapping{}, err
	}
	u := wrapping{suite: s.e.suites[a], name: name, mechanism: []*pkcs11.Mechanism{pkcs11.NewMechanism(s.e.wraps[name], nil)}}
	if u.suite == nil || s.e.suites[KEK] == nil || s.e.suites[AES256] == nil || s.e.wraps[name] == 0 {
		return u, fmt.Errorf("wrapping %s keys by %s: %w", a, name, ErrUnsupported)
	}
	if u.kek, err = s.key(w.KEK, s.e.suites[KEK]); err != nil {
		return u, fmt.Errorf("wrapping key %s: %w", w.KEK, err)
	}
	if u.binder, err = s.key(w.Binder, s.e.suites[AES256]); err != nil {
		return u, fmt.Errorf("binding key %s: %w", w.Binder, err)
	}
	return u, nil
}

// readTrusted asks whether the KEK is one that keys with CKA_WRAP_WITH_TRUSTED accept.
func (s *session) readTrusted(u *wrapping) error {
	v, err := s.attribute(u.kek, pkcs11.CKA_TRUSTED)
	if err != nil && classify(err) != classRefused {
		return fmt.Errorf("reading CKA_TRUSTED: %w", err)
	}
	u.trusted = err == nil && len(v) == 1 && v[0] != 0
	return nil
}
