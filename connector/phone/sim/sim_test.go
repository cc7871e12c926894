package sim_test

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/phone/sim"
)

// TestPhone: what a phone signs verifies under the key it shows, also after it was kept in a file, and nothing else does.
func TestPhone(t *testing.T) {
	p, err := sim.New()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "phone.pem")
	if err := p.Save(file); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(file); err == nil {
		t.Error("an existing key was overwritten")
	}
	if p, err = sim.Load(file); err != nil {
		t.Fatal(err)
	}
	a := access.Approval{Request: "r-1", Seal: "41030200000001", Purpose: "演示.测试", Client: "c1"}
	signed, err := p.Approve(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Count, a.Expires = 1, signed.Expires
	nonce, err := hex.DecodeString(signed.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	a.Nonce = [16]byte(nonce)
	msg, err := a.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	point, err := p.Public()
	if err != nil {
		t.Fatal(err)
	}
	if err := access.VerifyDevice(access.AlgP256, point, msg, signed.Signature); err != nil {
		t.Errorf("the approval: %v", err)
	}
	if err := access.VerifyDevice(access.AlgP256, point, append(msg, '\n'), signed.Signature); !errors.Is(err, access.ErrApprovalAltered) {
		t.Errorf("changed bytes: %v", err)
	}
	if signed.Device != access.DeviceKeyID(point) || !signed.Expires.After(time.Now()) {
		t.Errorf("device %s, expires %s", signed.Device, signed.Expires)
	}
}
