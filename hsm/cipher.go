package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"
)

const (
	maxText = 1 << 10 // data keys, never documents
	tagSize = 16
)

// Encrypt runs AES-256-GCM in the token and returns the text with its 16-byte tag behind it.
func (m *Module) Encrypt(ctx context.Context, r CipherRequest) ([]byte, error) {
	return m.crypt(ctx, r, true, 0, maxText)
}

// Decrypt reverses Encrypt. A text, nonce or AAD that does not belong together is ErrRefused.
func (m *Module) Decrypt(ctx context.Context, r CipherRequest) ([]byte, error) {
	return m.crypt(ctx, r, false, tagSize, maxText+tagSize)
}

func (m *Module) crypt(ctx context.Context, r CipherRequest, encrypt bool, shortest, longest int) ([]byte, error) {
	act := fmt.Sprintf("decrypting with key %s", r.Key)
	if encrypt {
		act = fmt.Sprintf("encrypting with key %s", r.Key)
	}
	if len(r.Text) < shortest || len(r.Text) > longest || len(r.AAD) > maxText {
		return nil, fmt.Errorf("%s: text of %d bytes with %d bytes bound to it: %w", act, len(r.Text), len(r.AAD), ErrRefused)
	}
	var out []byte
	err := m.call(ctx, act, func(s *session) error {
		a := s.e.suites[AES256]
		if a == nil {
			return ErrUnsupported
		}
		h, err := s.key(r.Key, a)
		if err != nil {
			return err
		}
		out, err = s.cipher(h, r, encrypt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *session) cipher(h pkcs11.ObjectHandle, r CipherRequest, encrypt bool) ([]byte, error) {
	// The parameters live in C memory until the operation is over.
	params := pkcs11.NewGCMParams(r.Nonce[:], r.AAD, tagSize*8)
	defer params.Free()
	mech := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
	start, finish := s.e.raw.DecryptInit, s.e.raw.Decrypt
	if encrypt {
		start, finish = s.e.raw.EncryptInit, s.e.raw.Encrypt
	}
	if err := start(s.h, mech, h); err != nil {
		return nil, fmt.Errorf("starting: %w", err)
	}
	out, err := finish(s.h, r.Text)
	if err != nil {
		return nil, fmt.Errorf("finishing: %w", err)
	}
	if want := len(r.Text) + tagSize; encrypt && len(out) != want {
		return nil, fmt.Errorf("the token returned %d bytes, want %d: %w", len(out), want, ErrRefused)
	}
	return out, nil
}

const maxRandom = 4 << 10

// Random returns 1 to 4096 bytes of the token's generator.
func (m *Module) Random(ctx context.Context, n int) ([]byte, error) {
	if n < 1 || n > maxRandom {
		return nil, fmt.Errorf("asking for %d random bytes, at most %d: %w", n, maxRandom, ErrRefused)
	}
	var out []byte
	err := m.call(ctx, "asking for random bytes", func(s *session) (err error) {
		out, err = s.e.raw.GenerateRandom(s.h, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
