package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
)

// Algorithms of a device key.
const (
	AlgP256 = "p256" // ECDSA P-256 over SHA-256 of the canonical bytes; signature 64 bytes r‖s (WebCrypto) or DER
	AlgSM2  = "sm2"  // SM2 with SM3 under the default user ID; signature strict DER or 64 bytes r‖s
)

// Device is the phone (or other thing) whose key speaks for an enterprise, bound at collection (领取).
type Device struct {
	USCC      string    `json:"uscc"`
	Alg       string    `json:"alg"`       // AlgP256 or AlgSM2
	Key       []byte    `json:"key"`       // uncompressed point, 65 bytes
	Person    string    `json:"person"`    // the responsible person, as the e-licence system names them
	Role      string    `json:"role"`      // the person's role in the enterprise
	Assertion string    `json:"assertion"` // Assertion.ID that bound it
	Bound     time.Time `json:"bound"`
}

// Devices is the collection of bound devices, keyed by USCC: one device at a time, and a new one ends what the old one delegated.
var Devices = &store.Collection{Name: "device", Codec: 1}

// KeyID names the device key: hexadecimal SHA-256 of its uncompressed point.
func (d Device) KeyID() string { return DeviceKeyID(d.Key) }

// DeviceKeyID is Device.KeyID of a point.
func DeviceKeyID(point []byte) string {
	s := sha256.Sum256(point)
	return hex.EncodeToString(s[:])
}

// Device returns the device that an enterprise has bound, or ErrNoDevice.
func (a *Access) Device(ctx context.Context, uscc string) (Device, store.Version, error) {
	b, v, err := a.bound(ctx, uscc)
	return b.Device, v, err
}

// bound is a device with its key read, as memory keeps it: reading a key costs a fifth of a verification.
type bound struct {
	Device
	key deviceKey
}

// UnmarshalJSON reads a stored Device and its key.
func (b *bound) UnmarshalJSON(j []byte) (err error) {
	if err = json.Unmarshal(j, &b.Device); err == nil {
		b.key, err = readKey(b.Alg, b.Key)
	}
	return err
}

func (a *Access) bound(ctx context.Context, uscc string) (bound, store.Version, error) {
	b, v, err := read(ctx, a, Devices, &a.devices, uscc)
	if errors.Is(err, store.ErrNotFound) {
		return b, 0, ErrNoDevice
	}
	return b, v, err
}

// ParseDeviceKey reads a public key and returns its uncompressed point, 65 bytes. P-256 also comes as DER SubjectPublicKeyInfo, as
// WebCrypto exports it. ErrDeviceKey otherwise.
func ParseDeviceKey(alg string, b []byte) ([]byte, error) {
	switch alg {
	case AlgP256:
		return parseP256(b)
	case AlgSM2:
		k, err := gm.NewPublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
		}
		return k.Point(), nil
	default:
		return nil, fmt.Errorf("algorithm %.20q: %w", alg, ErrDeviceKey)
	}
}

func parseP256(b []byte) ([]byte, error) {
	if len(b) == 65 && b[0] == 4 {
		if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
		}
		return bytes.Clone(b), nil
	}
	k, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
	}
	p, ok := k.(*ecdsa.PublicKey)
	if !ok || p.Curve != elliptic.P256() {
		return nil, fmt.Errorf("not on P-256: %w", ErrDeviceKey)
	}
	return p.Bytes()
}

// VerifyDevice reports whether sig is the device key's signature over message: nil, ErrDeviceKey or ErrApprovalAltered.
func VerifyDevice(alg string, point, message, sig []byte) error {
	k, err := readKey(alg, point)
	if err != nil {
		return err
	}
	if !k.verify(message, sig) {
		return ErrApprovalAltered
	}
	return nil
}

// deviceKey is a key of one of the algorithms.
type deviceKey interface {
	verify(message, sig []byte) bool
}

func readKey(alg string, point []byte) (deviceKey, error) {
	switch alg {
	case AlgP256:
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
		}
		return p256Key{k}, nil
	case AlgSM2:
		k, err := gm.NewPublicKey(point)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDeviceKey, err)
		}
		return sm2Key{k}, nil
	default:
		return nil, fmt.Errorf("algorithm %.20q: %w", alg, ErrDeviceKey)
	}
}

type p256Key struct{ *ecdsa.PublicKey }

// verify takes IEEE P1363 (64 bytes, what WebCrypto makes) or DER.
func (k p256Key) verify(message, sig []byte) bool {
	digest := sha256.Sum256(message)
	if len(sig) == 64 {
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		return ecdsa.Verify(k.PublicKey, digest[:], r, s)
	}
	return ecdsa.VerifyASN1(k.PublicKey, digest[:], sig)
}

type sm2Key struct{ *gm.PublicKey }

// verify takes strict DER or 64 raw bytes.
func (k sm2Key) verify(message, sig []byte) bool {
	if len(sig) == 64 {
		return k.VerifyE(k.E(message), [64]byte(sig)) == nil
	}
	return k.Verify(message, sig) == nil
}
