package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
)

// Key is a private key in the token, or one that it alone can open. Safe for concurrent use.
type Key struct {
	id        ID
	purpose   Purpose
	algorithm hsm.Algorithm
	public    []byte
	sm2       *gm.PublicKey    // SM2
	std       crypto.PublicKey // ECDSA, RSA
	wrapped   *hsm.Wrapped     // nil for a resident key
	home      *home            // of its birth
	abroad    bool             // it is in its owner's token
	store     *Keystore
}

// key builds a Key from its record and refuses a public half that is not a usable key of its algorithm.
func (k *Keystore) key(r record) (*Key, error) {
	key := &Key{id: r.ID, purpose: r.Purpose, algorithm: r.Algorithm, public: r.Birth.Public, wrapped: r.message(), home: k.homes.of(r.Birth.Token.Serial), store: k}
	if r.Abroad != nil { // the only token of an appliance takes over records that name another, but never these
		key.abroad, key.home = true, &home{Member: Member{Serial: r.Birth.Token.Serial}, log: k.log}
	}
	var err error
	switch r.Algorithm {
	case hsm.SM2:
		key.sm2, err = gm.NewPublicKey(r.Birth.Public)
	case hsm.ECDSAP256, hsm.RSA2048:
		key.std, err = x509.ParsePKIXPublicKey(r.Birth.Public)
	case hsm.AES256, hsm.KEK:
	default:
		err = fmt.Errorf("algorithm %q: %w", r.Algorithm, ErrKeyUse)
	}
	if err != nil {
		return nil, fmt.Errorf("reading public half of key %s: %w", r.ID, err)
	}
	return key, nil
}

// raw has a token sign: the one that a resident key lives in, any that can open a wrapped one.
func (k *Key) raw(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	switch {
	case k.abroad:
		return nil, fmt.Errorf("token %s: %w", k.home.Serial, ErrOutside)
	case k.wrapped == nil:
		return k.home.sign(ctx, r)
	}
	hs, err := k.store.keepersOf(ctx, k.wrapped.KEK)
	if err != nil {
		return nil, err
	}
	r.Wrapped = k.wrapped
	return hs.sign(ctx, r)
}

// Token returns the serial of the token that the key was born in, and that a resident one lives in.
func (k *Key) Token() string { return k.home.Serial }

// ID returns the identifier that both halves carry in the token.
func (k *Key) ID() ID { return k.id }

// Purpose returns what the key is for.
func (k *Key) Purpose() Purpose { return k.purpose }

// Custody returns where the key is kept.
func (k *Key) Custody() Custody {
	switch {
	case k.abroad:
		return Outside
	case k.wrapped != nil:
		return Wrapped
	}
	return Resident
}

// Algorithm returns the kind of key.
func (k *Key) Algorithm() hsm.Algorithm { return k.algorithm }

// Public returns the SM2 public key, nil for other algorithms.
func (k *Key) Public() *gm.PublicKey { return k.sm2 }

// Standard returns the public key of an ECDSA or RSA key, nil for other algorithms.
func (k *Key) Standard() crypto.PublicKey { return k.std }

// PublicDER returns the SubjectPublicKeyInfo of an ECDSA or RSA key, the 65-byte point of an SM2 key.
func (k *Key) PublicDER() []byte { return append([]byte(nil), k.public...) }

// Begin starts a message for this SM2 key: Z is absorbed, a long common prefix may follow and be cloned.
func (k *Key) Begin() (*gm.Message, error) {
	if k.sm2 == nil {
		return nil, fmt.Errorf("key %s is %s: %w", k.id, k.algorithm, ErrKeyUse)
	}
	m := k.sm2.NewMessage()
	if k.home.hashes.Load() || k.wrapped != nil && k.store.homes.hash() {
		m.Keep()
	}
	return m, nil
}

// Sign signs a whole message and returns what certificates and CMS carry: strict DER for SM2 and ECDSA P-256, the PKCS #1 v1.5 block for RSA.
// The digest is computed here: SM3 over Z and the message for SM2, SHA-256 for the others. A signature that does not verify is
// ErrSignatureWrong and is not returned. The keys of the TLS hierarchy sign through CryptoSigner alone (ErrKeyUse).
func (k *Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if k.std != nil {
		return k.signStandard(ctx, message)
	}
	m, err := k.Begin()
	if err != nil {
		return nil, err
	}
	m.Write(message)
	return k.SignMessage(ctx, m)
}

// SignMessage signs a message that Begin started, for this key and no other (ErrKeyUse). A signature that does not verify is
// ErrSignatureWrong and is not returned.
func (k *Key) SignMessage(ctx context.Context, m *gm.Message) ([]byte, error) {
	if k.sm2 == nil || !m.Under(k.sm2) {
		return nil, fmt.Errorf("key %s is %s, or the message was begun for another: %w", k.id, k.algorithm, ErrKeyUse)
	}
	e := m.E()
	raw, err := k.raw(ctx, hsm.SignRequest{Key: k.id, Algorithm: hsm.SM2, Digest: e, Message: m.Preimage()})
	if err != nil {
		return nil, fmt.Errorf("signing with key %s: %w", k.id, err)
	}
	if len(raw) != 64 {
		return nil, fmt.Errorf("signing with key %s: %d bytes instead of 64: %w", k.id, len(raw), ErrSignatureWrong)
	}
	if err := k.sm2.VerifyE(e, [64]byte(raw)); err != nil {
		return nil, fmt.Errorf("signing with key %s: %w: %w", k.id, ErrSignatureWrong, err)
	}
	return gm.EncodeSignature(raw)
}

func (k *Key) signStandard(ctx context.Context, message []byte) ([]byte, error) {
	if k.purpose == PurposeTLSRoot || k.purpose == PurposeTLSClient {
		return nil, fmt.Errorf("key %s is for %s: %w", k.id, k.purpose, ErrKeyUse)
	}
	d := sha256.Sum256(message)
	return k.signSHA256(ctx, d)
}

// signSHA256 has the token sign a digest that this package computed, or that crypto/x509 computed over a structure built in this process.
func (k *Key) signSHA256(ctx context.Context, digest [32]byte) ([]byte, error) {
	sig, err := k.raw(ctx, hsm.SignRequest{Key: k.id, Algorithm: k.algorithm, Digest: digest})
	if err != nil {
		return nil, fmt.Errorf("signing with key %s: %w", k.id, err)
	}
	return k.verified(digest[:], sig)
}

// CryptoSigner returns the standard library's view of an ECDSA P-256 or RSA key, for TLS certificates. It signs SHA-256 digests alone and
// verifies each signature before returning it. The library hands it digests of structures that issuance/ca builds here (law 11).
func (k *Key) CryptoSigner() (crypto.Signer, error) {
	if k.std == nil || k.purpose != PurposeTLSRoot && k.purpose != PurposeTLSClient {
		return nil, fmt.Errorf("key %s is %s for %s: %w", k.id, k.algorithm, k.purpose, ErrKeyUse)
	}
	return tlsSigner{k}, nil
}

type tlsSigner struct{ k *Key }

func (s tlsSigner) Public() crypto.PublicKey { return s.k.std }

func (s tlsSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, fmt.Errorf("signing with key %s: want a SHA-256 digest: %w", s.k.id, ErrKeyUse)
	}
	if _, pss := opts.(*rsa.PSSOptions); pss {
		return nil, fmt.Errorf("signing with key %s: PSS: %w", s.k.id, ErrKeyUse)
	}
	return s.k.signSHA256(context.Background(), [32]byte(digest))
}

// verified is law 4 for ECDSA and RSA: the token's answer leaves only when the registered public key accepts it.
func (k *Key) verified(digest, sig []byte) ([]byte, error) {
	ok := false
	switch pub := k.std.(type) {
	case *ecdsa.PublicKey:
		if len(sig) == 64 {
			r, t := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
			ok = ecdsa.Verify(pub, digest, r, t)
			sig = encodeECDSA(r, t)
		}
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, sig) == nil
	}
	if !ok {
		return nil, fmt.Errorf("signing with key %s: %w", k.id, ErrSignatureWrong)
	}
	return sig, nil
}

func encodeECDSA(r, s *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.BytesOrPanic() // two INTEGERs cannot overflow a SEQUENCE
}
