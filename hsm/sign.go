package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// Sign returns r‖s (64 bytes) for SM2 and ECDSA, the signature block for RSA. It does not verify: custody does, against the key it has
// on record.
func (m *Module) Sign(ctx context.Context, r SignRequest) ([]byte, error) {
	act := fmt.Sprintf("signing with %s key %s", r.Algorithm, r.Key)
	switch {
	case r.Wrapped != nil:
		return m.signWrapped(ctx, act, r)
	case r.Algorithm == SM2:
		return m.signSM2(ctx, act, r)
	case r.Algorithm == ECDSAP256, r.Algorithm == RSA2048:
		return m.signDocs(ctx, act, r)
	}
	return nil, fmt.Errorf("%s: %w", act, ErrUnsupported)
}

func (m *Module) signSM2(ctx context.Context, act string, r SignRequest) ([]byte, error) {
	var sig []byte
	err := m.call(ctx, act, func(s *session) error {
		a := s.e.suites[SM2]
		if a == nil {
			return ErrUnsupported
		}
		h, err := s.key(r.Key, a)
		if err != nil {
			return err
		}
		sig, err = s.signRaw(a, h, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// sha256Prefix is the DigestInfo of PKCS#1 v1.5 before a SHA-256 digest (RFC 8017 §9.2 note 1).
var sha256Prefix = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// signRaw signs with the raw context: SM2 always, the others once at birth.
func (s *session) signRaw(a *suite, h pkcs11.ObjectHandle, r SignRequest) ([]byte, error) {
	in, mech, err := a.given(r)
	if err != nil {
		return nil, err
	}
	if err := s.e.raw.SignInit(s.h, []*pkcs11.Mechanism{mech}, h); err != nil {
		return nil, fmt.Errorf("starting signature: %w", err)
	}
	sig, err := s.feed(in)
	if err != nil {
		return nil, fmt.Errorf("finishing signature: %w", err)
	}
	s.m.signs.Add(1)
	if a.name == SM2 {
		return normalise(sig, a.output)
	}
	return sig, nil
}

// normalise turns the profile's output form into r‖s with both numbers in range. A form is never guessed.
func normalise(sig []byte, output string) ([]byte, error) {
	var raw [64]byte
	var err error
	switch output {
	case firmware.OutputRaw64:
		if len(sig) != 64 {
			return nil, fmt.Errorf("the token returned %d bytes, the profile says 64: %w", len(sig), ErrRefused)
		}
		raw = [64]byte(sig)
		err = gm.CheckRaw(sig)
	case firmware.OutputRaw128:
		if len(sig) != 128 || !zero(sig[:32]) || !zero(sig[64:96]) {
			return nil, fmt.Errorf("the token returned %d bytes, the profile says two numbers right-aligned in 64 bytes each: %w", len(sig), ErrRefused)
		}
		raw = [64]byte(append(append([]byte{}, sig[32:64]...), sig[96:]...))
		err = gm.CheckRaw(raw[:])
	case firmware.OutputDER:
		raw, err = gm.DecodeSignature(sig)
	case firmware.OutputBroken:
		raw, _, err = gm.DecodeLenient(sig)
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("reading the token's signature as %s: %w: %w", output, ErrRefused, err)
	}
	return raw[:], nil
}

func zero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

// signDocs signs with crypto11, which keeps its own sessions.
func (m *Module) signDocs(ctx context.Context, act string, r SignRequest) ([]byte, error) {
	var sig []byte
	err := m.onDocs(ctx, act, r.Key, func(e *epoch, docs *crypto11.Context) error {
		key, err := m.signer(e, docs, r)
		if err != nil {
			return err
		}
		// crypto11 signs bare whatever it is given and panics without options: digest and option are fixed here.
		out, err := key.Sign(rand.Reader, r.Digest[:sha256.Size], crypto.SHA256)
		if err != nil {
			return fmt.Errorf("signing in crypto11: %w", err)
		}
		m.signs.Add(1)
		if r.Algorithm == ECDSAP256 {
			out, err = rawECDSA(out)
		}
		sig = out
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// signer returns crypto11's view of a key, found once per epoch and checked to be of the algorithm asked for.
func (m *Module) signer(e *epoch, docs *crypto11.Context, r SignRequest) (crypto.Signer, error) {
	if e.suites[r.Algorithm] == nil {
		return nil, ErrUnsupported
	}
	key := e.keys.signer(r.Key)
	if key == nil {
		m.finds.Add(2) // private half, then public
		pairs, err := docs.FindKeyPairs(r.Key[:], nil)
		if err != nil {
			if classify(err) == classNone {
				err = fmt.Errorf("%w: %w", ErrRefused, err) // a key that crypto11 cannot use, for example one on the SM2 curve
			}
			return nil, fmt.Errorf("searching: %w", err)
		}
		switch {
		case len(pairs) == 0:
			return nil, m.missingPair(e, r.Key)
		case len(pairs) > 1:
			return nil, fmt.Errorf("%d key pairs with identifier %s: %w", len(pairs), r.Key, ErrNotFound)
		}
		key = pairs[0]
	}
	ok := false
	switch k := key.Public().(type) {
	case *ecdsa.PublicKey:
		ok = r.Algorithm == ECDSAP256 && k.Curve.Params().BitSize == 256
	case *rsa.PublicKey:
		ok = r.Algorithm == RSA2048 && k.N.BitLen() == rsaBits
	}
	if !ok {
		return nil, fmt.Errorf("the key is not one of %s: %w", r.Algorithm, ErrRefused)
	}
	e.keys.putSigner(r.Key, key)
	return key, nil
}

// missingPair asks why crypto11 found nothing, on the login session, which nothing else uses.
func (m *Module) missingPair(e *epoch, id ObjectID) error {
	s := &session{m: m, e: e, h: e.login}
	return s.missing(id)
}

// rawECDSA turns crypto11's DER back into r‖s.
func rawECDSA(der []byte) ([]byte, error) {
	var seq cryptobyte.String
	in := cryptobyte.String(der)
	r, s := new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(s) || !seq.Empty() ||
		r.Sign() <= 0 || s.Sign() <= 0 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, fmt.Errorf("reading the token's ECDSA signature: %w", ErrRefused)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return raw, nil
}
