package seal

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // verified alone, and reported as weak
	"crypto/sha256"
	"errors"
	"fmt"

	"sealkeeper/internal/gm"
)

// The RSA algorithms of GM/T 0031-2014 §5.3, PKCS #1 v1.5; v4 and v5 know SM2 alone.
const (
	RSAWithSHA1   = "1.2.840.113549.1.1.5"
	RSAWithSHA256 = "1.2.840.113549.1.1.11"
)

// ErrWeak says that a signature value holds, but under a digest for which two messages can be made to fit one value.
var ErrWeak = errors.New("the signature value holds, but under SHA-1, which proves little")

const minRSABits = 2048

// verifyRSA checks a v1 value. It returns nil, ErrWeak, ErrAlgorithm, gm.ErrKey or gm.ErrSignature.
func verifyRSA(algorithm string, signer *Certificate, message, value []byte) error {
	if signer.X509 == nil {
		return fmt.Errorf("certificate %s: %w", signer.Serial, gm.ErrKey)
	}
	key, ok := signer.X509.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("certificate %s holds no RSA key: %w", signer.Serial, gm.ErrKey)
	}
	hash, digest := crypto.SHA256, sha256.Sum256(message)
	d := digest[:]
	if algorithm == RSAWithSHA1 {
		short := sha1.Sum(message)
		hash, d = crypto.SHA1, short[:]
	}
	if err := rsa.VerifyPKCS1v15(key, hash, d, value); err != nil {
		return fmt.Errorf("%w: %w", gm.ErrSignature, err)
	}
	if bits := key.N.BitLen(); hash == crypto.SHA1 || bits < minRSABits {
		return fmt.Errorf("RSA of %d bits: %w", bits, ErrWeak)
	}
	return nil
}
