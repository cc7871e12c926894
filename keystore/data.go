package keystore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"sealkeeper/hsm"
)

// Sealed is a small secret (a data key) encrypted by a token-held key of one year.
type Sealed struct {
	Key   ID     `json:"key"`
	Nonce []byte `json:"nonce"` // 12 bytes
	Text  []byte `json:"text"`  // ciphertext with its tag
}

// ErrSealed: the ciphertext, its nonce or what it is bound to was changed.
var ErrSealed = errors.New("sealed data does not open")

// SealData encrypts at most 1 KiB inside the token under the key of an impression purpose, bound to aad.
func (k *Keystore) SealData(ctx context.Context, p Purpose, aad, text []byte) (Sealed, error) {
	key, err := k.ByPurpose(ctx, p)
	if err != nil {
		return Sealed{}, err
	}
	if key.algorithm != hsm.AES256 {
		return Sealed{}, fmt.Errorf("key %s is %s: %w", key.id, key.algorithm, ErrKeyUse)
	}
	r := hsm.CipherRequest{Key: key.id, AAD: aad, Text: text}
	rand.Read(r.Nonce[:])
	ct, err := key.home.encrypt(ctx, r)
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing a data key: %w", err)
	}
	return Sealed{Key: key.id, Nonce: r.Nonce[:], Text: ct}, nil
}

// OpenData decrypts what SealData made. ErrSealed when anything differs.
func (k *Keystore) OpenData(ctx context.Context, s Sealed, aad []byte) ([]byte, error) {
	key, err := k.Key(ctx, s.Key)
	if err != nil {
		return nil, err
	}
	if key.algorithm != hsm.AES256 || len(s.Nonce) != 12 {
		return nil, ErrSealed
	}
	text, err := key.home.decrypt(ctx, hsm.CipherRequest{Key: s.Key, Nonce: [12]byte(s.Nonce), AAD: aad, Text: s.Text})
	if errors.Is(err, hsm.ErrRefused) {
		return nil, fmt.Errorf("opening a data key: %w: %w", ErrSealed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a data key: %w", err)
	}
	return text, nil
}
