// Package softkey holds SM2 private keys in software, for the simulators of outside systems and for tests.
//
// Its one promise is that it never reaches the appliance: the import wall keeps it out of cmd/seald, where every private key lives
// in a PKCS#11 token (law 1).
package softkey

import (
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"sealkeeper/internal/gm"
)

// Key is an SM2 private key in memory.
type Key struct {
	priv *sm2.PrivateKey
	pub  *gm.PublicKey
	same bool // the same message has the same signature
}

// Generate makes a key from r, or from crypto/rand when r is nil.
func Generate(r io.Reader) (*Key, error) {
	if r == nil {
		r = rand.Reader
	}
	priv, err := sm2.GenerateKey(r)
	if err != nil {
		return nil, fmt.Errorf("generating SM2 key: %w", err)
	}
	return wrap(priv)
}

// FromScalar takes a 32-byte big-endian private scalar; test vectors use it.
func FromScalar(d []byte) (*Key, error) {
	priv, err := sm2.NewPrivateKey(d)
	if err != nil {
		return nil, fmt.Errorf("reading SM2 scalar: %w", err)
	}
	return wrap(priv)
}

// FromSeed makes the key of a text, for generators that write the same bytes each time. Whoever knows the text has the key.
func FromSeed(text string) (*Key, error) {
	d := gm.SM3([]byte(text))
	k, err := FromScalar(d[:])
	if err != nil {
		return nil, err
	}
	return k.Repeatable(), nil
}

// Repeatable returns the key as one that signs the same message with the same signature (RFC 6979 with SM3).
func (k *Key) Repeatable() *Key { return &Key{priv: k.priv, pub: k.pub, same: true} }

// Load reads a PKCS#8 PEM file.
func Load(file string) (*Key, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("reading %s: no PEM block", file)
	}
	k, err := smx509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	priv, ok := k.(*sm2.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading %s: not an SM2 key", file)
	}
	return wrap(priv)
}

// Save writes a PKCS#8 PEM file, mode 0400, and refuses to overwrite.
func (k *Key) Save(file string) error {
	der, err := smx509.MarshalPKCS8PrivateKey(k.priv)
	if err != nil {
		return fmt.Errorf("encoding SM2 key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	if err := pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func wrap(priv *sm2.PrivateKey) (*Key, error) {
	pub, err := gm.FromECDSA(&priv.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Key{priv: priv, pub: pub}, nil
}

// Public returns the public half.
func (k *Key) Public() *gm.PublicKey { return k.pub }

// SignE signs a finished e and returns r‖s.
func (k *Key) SignE(e [32]byte) ([64]byte, error) {
	sign := func() ([]byte, error) { return sm2.SignASN1(rand.Reader, k.priv, e[:], nil) }
	if k.same {
		sign = func() ([]byte, error) { return sm2.SignDeterministic(k.priv, e[:], nil) }
	}
	der, err := sign()
	if err != nil {
		return [64]byte{}, fmt.Errorf("signing: %w", err)
	}
	return gm.DecodeSignature(der)
}

// Sign signs a message under the default user ID and returns strict DER.
func (k *Key) Sign(message []byte) ([]byte, error) {
	raw, err := k.SignE(k.pub.E(message))
	if err != nil {
		return nil, err
	}
	return gm.EncodeSignature(raw[:])
}

// Signer returns the crypto.Signer that certificate writers take.
func (k *Key) Signer() *gm.Signer { return gm.NewSigner(k.pub, k.Sign) }
