package signeddata

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"sealkeeper/internal/gm"
)

// Content types: GM/T 0010 and GB/T 35275 §5, RFC 5652 §4 and §5.1, RFC 3161 §2.4.2.
const (
	OIDData         = "1.2.840.113549.1.7.1"
	OIDSignedData   = "1.2.840.113549.1.7.2"
	OIDGMData       = "1.2.156.10197.6.1.4.2.1"
	OIDGMSignedData = "1.2.156.10197.6.1.4.2.2"
	OIDTSTInfo      = "1.2.840.113549.1.9.16.1.4"
)

// Digest algorithms.
const (
	OIDSM3    = "1.2.156.10197.1.401"
	OIDSHA1   = "1.3.14.3.2.26"
	OIDSHA256 = "2.16.840.1.101.3.4.2.1"
	OIDSHA384 = "2.16.840.1.101.3.4.2.2"
	OIDSHA512 = "2.16.840.1.101.3.4.2.3"
)

// Signature algorithms.
const (
	OIDSM2Sign     = "1.2.156.10197.1.301.1" // the one GB/T 35275 producers write
	OIDSM2WithSM3  = "1.2.156.10197.1.501"
	OIDSM2         = "1.2.156.10197.1.301" // the curve, used as an algorithm by some producers
	OIDRSA         = "1.2.840.113549.1.1.1"
	OIDSHA1RSA     = "1.2.840.113549.1.1.5"
	OIDPSS         = "1.2.840.113549.1.1.10"
	OIDSHA256RSA   = "1.2.840.113549.1.1.11"
	OIDSHA384RSA   = "1.2.840.113549.1.1.12"
	OIDSHA512RSA   = "1.2.840.113549.1.1.13"
	OIDECKey       = "1.2.840.10045.2.1" // the key type, used as an algorithm by some producers
	OIDECDSASHA1   = "1.2.840.10045.4.1"
	OIDECDSASHA256 = "1.2.840.10045.4.3.2"
	OIDECDSASHA384 = "1.2.840.10045.4.3.3"
	OIDECDSASHA512 = "1.2.840.10045.4.3.4"
)

// Attributes: RFC 5652 §11, RFC 2634 §5.4, RFC 5035 §3, RFC 3161 Appendix A.
const (
	OIDContentType          = "1.2.840.113549.1.9.3"
	OIDMessageDigest        = "1.2.840.113549.1.9.4"
	OIDSigningTime          = "1.2.840.113549.1.9.5"
	OIDSigningCertificate   = "1.2.840.113549.1.9.16.2.12"
	OIDSigningCertificateV2 = "1.2.840.113549.1.9.16.2.47"
	OIDTimeStampToken       = "1.2.840.113549.1.9.16.2.14"
)

// NewHash returns the hash that a digest OID names, or ErrAlgorithm. SM3 here is plain SM3: no Z enters a message digest.
func NewHash(oid string) (hash.Hash, error) {
	switch oid {
	case OIDSM3:
		return gm.NewSM3(), nil
	case OIDSHA1:
		return sha1.New(), nil
	case OIDSHA256:
		return sha256.New(), nil
	case OIDSHA384:
		return sha512.New384(), nil
	case OIDSHA512:
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("digest %s: %w", oid, ErrAlgorithm)
}

// Digest hashes b with the algorithm that oid names, or returns ErrAlgorithm.
func Digest(oid string, b []byte) ([]byte, error) {
	h, err := NewHash(oid)
	if err != nil {
		return nil, err
	}
	h.Write(b)
	return h.Sum(nil), nil
}

// names are for the details of findings.
var names = map[string]string{
	OIDSM3: "SM3", OIDSHA1: "SHA-1", OIDSHA256: "SHA-256", OIDSHA384: "SHA-384", OIDSHA512: "SHA-512",
	OIDSM2Sign: "SM2", OIDSM2WithSM3: "SM2 with SM3", OIDSM2: "SM2", OIDRSA: "RSA", OIDPSS: "RSA-PSS",
	OIDSHA1RSA: "RSA with SHA-1", OIDSHA256RSA: "RSA with SHA-256", OIDSHA384RSA: "RSA with SHA-384", OIDSHA512RSA: "RSA with SHA-512",
	OIDECKey: "ECDSA", OIDECDSASHA1: "ECDSA with SHA-1", OIDECDSASHA256: "ECDSA with SHA-256",
	OIDECDSASHA384: "ECDSA with SHA-384", OIDECDSASHA512: "ECDSA with SHA-512",
}

// Name returns the common name of an algorithm's OID, or the OID.
func Name(oid string) string {
	if n, ok := names[oid]; ok {
		return n
	}
	return oid
}
