// Package sim plays the owner's phone: it holds the device key and signs approvals and delegations in their canonical form.
//
// A real phone keeps a non-exportable P-256 key; here it is a file, so this never serves as anybody's real device.
package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"sealkeeper/access"
	"sealkeeper/signer/placement"
)

// Phone is a device with its P-256 key.
type Phone struct{ key *ecdsa.PrivateKey }

// New makes a device key.
func New() (*Phone, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making device key: %w", err)
	}
	return &Phone{k}, nil
}

// Load reads the key file that Save wrote.
func Load(path string) (*Phone, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("reading device key %s: no PEM block", path)
	}
	k, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading device key %s: %w", path, err)
	}
	return &Phone{k}, nil
}

// Save writes the key, mode 0400, and refuses to overwrite.
func (p *Phone) Save(path string) error {
	der, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		return fmt.Errorf("encoding device key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	if err := pem.Encode(f, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Public returns the uncompressed point, 65 bytes, as assertions carry it.
func (p *Phone) Public() ([]byte, error) { return p.key.PublicKey.Bytes() }

// Sign signs canonical bytes: ECDSA over SHA-256, r‖s of 64 bytes, as WebCrypto gives it.
func (p *Phone) Sign(message []byte) ([]byte, error) {
	d := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, p.key, d[:])
	if err != nil {
		return nil, fmt.Errorf("signing on the device: %w", err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

// Approve signs an approval, filling in a fresh nonce, count 1 and, when it has none, an expiry in ten minutes.
func (p *Phone) Approve(a access.Approval) (access.SignedApproval, error) {
	rand.Read(a.Nonce[:])
	a.Count = 1
	if a.Expires.IsZero() {
		a.Expires = time.Now().Add(10 * time.Minute)
	}
	a.Expires = a.Expires.UTC().Truncate(time.Second)
	point, err := p.Public()
	if err != nil {
		return access.SignedApproval{}, err
	}
	return a.Sign(access.AlgP256, access.DeviceKeyID(point), p.Sign)
}

// ApprovePlan is Approve for a document on which the seal's picture is to stand: the phone is shown the plan and takes its digest itself, so that
// the owner approves places and not a number.
func (p *Phone) ApprovePlan(a access.Approval, plan placement.Plan) (access.SignedApproval, error) {
	if !plan.Empty() {
		a.Placement = plan.Digest()
	}
	return p.Approve(a)
}

// Delegate signs a delegation with a fresh nonce.
func (p *Phone) Delegate(d access.Delegation) (access.SignedDelegation, error) {
	rand.Read(d.Nonce[:])
	d.NotBefore, d.Expires = d.NotBefore.UTC().Truncate(time.Second), d.Expires.UTC().Truncate(time.Second)
	return d.Sign(access.AlgP256, p.Sign)
}
