package access_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"sealkeeper/access"
)

// TestParseDeviceKey: the forms that phones export.
func TestParseDeviceKey(t *testing.T) {
	p256, sm2 := deviceOf(t, access.AlgP256, p256Scalar), deviceOf(t, access.AlgSM2, sm2Scalar)
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), p256.point)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := x509.MarshalPKIXPublicKey(x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, alg string
		in, want  []byte
	}{
		{"P-256 point", access.AlgP256, p256.point, p256.point}, {"P-256 SubjectPublicKeyInfo", access.AlgP256, spki, p256.point},
		{"SM2 point", access.AlgSM2, sm2.point, sm2.point},
		{"X25519 key", access.AlgP256, wrong, nil}, {"compressed point", access.AlgP256, append([]byte{2}, p256.point[1:33]...), nil},
		{"cut SubjectPublicKeyInfo", access.AlgP256, spki[:len(spki)-1], nil}, {"point at infinity", access.AlgP256, []byte{0}, nil},
		{"SM2 point on P-256", access.AlgP256, sm2.point, nil}, {"nothing", access.AlgSM2, nil, nil}, {"unknown algorithm", "rsa", spki, nil},
	} {
		got, err := access.ParseDeviceKey(c.alg, c.in)
		if !bytes.Equal(got, c.want) || c.want == nil && !errors.Is(err, access.ErrDeviceKey) {
			t.Errorf("%s: %x (%v), want %x", c.name, got, err, c.want)
		}
	}
}

// TestVerifyDeviceKeys: a key that cannot be read is not a bad signature.
func TestVerifyDeviceKeys(t *testing.T) {
	for _, alg := range []string{access.AlgP256, access.AlgSM2, "rsa"} {
		if err := access.VerifyDevice(alg, []byte{4, 1, 2}, []byte("m"), make([]byte, 64)); !errors.Is(err, access.ErrDeviceKey) {
			t.Errorf("%s: %v, want ErrDeviceKey", alg, err)
		}
	}
}
