package access

import (
	"encoding/hex"
	"fmt"
	"time"
)

// SignedApproval is an approval as it travels and as it is kept in the record: JSON, byte values in lower-case hexadecimal, the
// signature in base64.
type SignedApproval struct {
	Request   string    `json:"request"`
	Seal      string    `json:"seal"`
	Document  string    `json:"document"`  // 64 hexadecimal digits
	Placement string    `json:"placement"` // 64 hexadecimal digits
	Purpose   string    `json:"purpose"`
	Client    string    `json:"client"` // 64 hexadecimal digits
	Count     uint64    `json:"count"`  // 1
	Expires   time.Time `json:"expires"`
	Nonce     string    `json:"nonce"`            // 32 hexadecimal digits
	Device    string    `json:"device,omitempty"` // DeviceKeyID of the signing key, when the phone says it
	Alg       string    `json:"alg"`              // AlgP256 or AlgSM2
	Signature []byte    `json:"signature"`        // over Approval.Canonical
}

// Sign makes the wire form of a, with sign applied to its canonical bytes. The phone does this; the service never does.
func (a Approval) Sign(alg, device string, sign func(message []byte) ([]byte, error)) (SignedApproval, error) {
	msg, err := a.Canonical()
	if err != nil {
		return SignedApproval{}, err
	}
	sig, err := sign(msg)
	if err != nil {
		return SignedApproval{}, fmt.Errorf("signing approval: %w", err)
	}
	return SignedApproval{
		Request: a.Request, Seal: a.Seal, Document: hex.EncodeToString(a.Document[:]), Placement: hex.EncodeToString(a.Placement[:]),
		Purpose: a.Purpose, Client: a.Client, Count: a.Count, Expires: a.Expires.UTC().Truncate(time.Second),
		Nonce: hex.EncodeToString(a.Nonce[:]), Device: device, Alg: alg, Signature: sig,
	}, nil
}

// Approval returns what was signed, or ErrApprovalForm.
func (s SignedApproval) Approval() (Approval, error) {
	a := Approval{Request: s.Request, Seal: s.Seal, Purpose: s.Purpose, Client: s.Client, Count: s.Count, Expires: s.Expires}
	if !whole(s.Expires) {
		return Approval{}, fmt.Errorf("expires is not a whole second: %w", ErrApprovalForm)
	}
	if !isHex(s.Client, 32) {
		return Approval{}, fmt.Errorf("client is not 64 lower-case hexadecimal digits: %w", ErrApprovalForm)
	}
	for _, f := range []struct {
		name, text string
		into       []byte
	}{{"document", s.Document, a.Document[:]}, {"placement", s.Placement, a.Placement[:]}, {"nonce", s.Nonce, a.Nonce[:]}} {
		if err := readHex(f.into, f.name, f.text); err != nil {
			return Approval{}, err
		}
	}
	return a, nil
}

func readHex(into []byte, name, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(into) || hex.EncodeToString(b) != text {
		return fmt.Errorf("%s is not %d lower-case hexadecimal digits: %w", name, 2*len(into), ErrApprovalForm)
	}
	copy(into, b)
	return nil
}

// SignedDelegation is a delegation as it travels and as it is kept, in the manner of SignedApproval.
type SignedDelegation struct {
	ID        string    `json:"id"`
	Seal      string    `json:"seal"`
	Client    string    `json:"client"`
	Purposes  []string  `json:"purposes"`
	Kinds     []string  `json:"kinds"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"`
	Nonce     string    `json:"nonce"`
	Alg       string    `json:"alg"`
	Signature []byte    `json:"signature"` // over Delegation.Canonical
}

// Sign makes the wire form of d, as Approval.Sign does.
func (d Delegation) Sign(alg string, sign func(message []byte) ([]byte, error)) (SignedDelegation, error) {
	msg, err := d.Canonical()
	if err != nil {
		return SignedDelegation{}, err
	}
	sig, err := sign(msg)
	if err != nil {
		return SignedDelegation{}, fmt.Errorf("signing delegation: %w", err)
	}
	return SignedDelegation{
		ID: d.ID, Seal: d.Seal, Client: d.Client, Purposes: d.Purposes, Kinds: d.Kinds,
		NotBefore: d.NotBefore.UTC().Truncate(time.Second), Expires: d.Expires.UTC().Truncate(time.Second),
		Count: d.Count, Nonce: hex.EncodeToString(d.Nonce[:]), Alg: alg, Signature: sig,
	}, nil
}

// Delegation returns what was signed, or ErrApprovalForm.
func (s SignedDelegation) Delegation() (Delegation, error) {
	d := Delegation{ID: s.ID, Seal: s.Seal, Client: s.Client, Purposes: s.Purposes, Kinds: s.Kinds,
		NotBefore: s.NotBefore, Expires: s.Expires, Count: s.Count}
	if !wholeWindow(s.NotBefore, s.Expires) || s.Count == 0 {
		return Delegation{}, fmt.Errorf("window is not of whole seconds in order, or count is zero: %w", ErrApprovalForm)
	}
	if !isHex(s.Client, 32) {
		return Delegation{}, fmt.Errorf("client is not 64 lower-case hexadecimal digits: %w", ErrApprovalForm)
	}
	if !subset(s.Kinds, kinds) {
		return Delegation{}, fmt.Errorf("kinds are not of cms, digest, ofd and pdf: %w", ErrApprovalForm)
	}
	err := readHex(d.Nonce[:], "nonce", s.Nonce)
	return d, err
}
