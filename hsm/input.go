package hsm

import (
	"crypto/rand"
	"fmt"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

const (
	zSize      = 32
	maxMessage = 1 << 20 // a seal with its picture is some 20 kB; documents never come here
)

// given returns what the token is given to sign, and the mechanism with its parameter: e where the profile says so, otherwise the message that e
// is the digest of, with Z in front where the token adds none.
func (s *suite) given(r SignRequest) ([]byte, *pkcs11.Mechanism, error) {
	plain := pkcs11.NewMechanism(s.use, nil)
	switch {
	case s.name == RSA2048:
		return append(append([]byte{}, sha256Prefix...), r.Digest[:]...), plain, nil
	case s.name != SM2 || s.input == firmware.InputE32:
		return r.Digest[:], plain, nil
	case len(r.Message) < zSize || len(r.Message) > maxMessage:
		return nil, nil, fmt.Errorf("this token hashes itself and wants Z and the message, %d to %d bytes, not %d: %w", zSize, maxMessage, len(r.Message),
			ErrRefused)
	case gm.SM3(r.Message) != r.Digest:
		return nil, nil, fmt.Errorf("the message is not what e is the digest of: %w", ErrRefused)
	}
	switch s.input {
	case firmware.InputNoZ:
		return r.Message, plain, nil
	case firmware.InputZDefault:
		return r.Message[zSize:], plain, nil
	case firmware.InputZParam:
		return r.Message[zSize:], pkcs11.NewMechanism(s.use, []byte(gm.UserID)), nil
	}
	return nil, nil, fmt.Errorf("input %q: %w", s.input, ErrUnsupported)
}

// Trial asks a key to sign something random, for whoever tries it out. For SM2 the message that e is of comes along, which tokens that hash themselves
// want and the others do not look at.
func Trial(id ObjectID, a Algorithm, public []byte) (SignRequest, error) {
	r := SignRequest{Key: id, Algorithm: a}
	rand.Read(r.Digest[:]) // never returns an error
	if a != SM2 {
		return r, nil
	}
	key, err := gm.NewPublicKey(public)
	if err != nil {
		return r, err
	}
	z := key.Z()
	r.Message = append(z[:], r.Digest[:]...)
	r.Digest = gm.SM3(r.Message)
	return r, nil
}

// feed ends a signature that was started. What is longer than the token takes at once goes in parts.
func (s *session) feed(in []byte) ([]byte, error) {
	most := s.m.cfg.Profile.Limits.MaxFrame
	if most == 0 || len(in) <= most {
		return s.e.raw.Sign(s.h, in)
	}
	for len(in) > 0 {
		n := min(most, len(in))
		if err := s.e.raw.SignUpdate(s.h, in[:n]); err != nil {
			return nil, err
		}
		in = in[n:]
	}
	return s.e.raw.SignFinal(s.h)
}
