package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"math/big"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
)

// verify checks a signature against the public half that the birth recorded.
func verify(b hsm.Birth, digest [32]byte, sig []byte) error {
	if b.Algorithm == hsm.SM2 {
		key, err := gm.NewPublicKey(b.Public)
		if err != nil {
			return err
		}
		if len(sig) != 64 {
			return errWrong
		}
		return key.VerifyE(digest, [64]byte(sig))
	}
	key, err := x509.ParsePKIXPublicKey(b.Public)
	if err != nil {
		return err
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if len(sig) == 64 && ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return nil
		}
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig)
	}
	return errWrong
}
