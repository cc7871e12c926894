package e2e

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// TestVerdictByDigest: what a detached signature is over stays with the caller; the appliance judges by its digest.
func TestVerdictByDigest(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	d, other := gm.SM3([]byte("示例")), gm.SM3([]byte("x"))
	signed := s.asked(t, e, client.SignatureRequest{Kind: "cms", Seal: e.seals["01"], Digest: hex.EncodeToString(d[:]), Timestamp: true}, nil)
	c := s.as(t, "department")
	for digest, want := range map[string]string{"sm3:" + hex.EncodeToString(d[:]): "valid", "sm3:" + hex.EncodeToString(other[:]): "invalid",
		"sha256:" + hex.EncodeToString(d[:]): "indeterminate"} {
		r, err := c.Verify(t.Context(), "x.p7s", signed.bytes, digest)
		if err != nil || r.Verdict != want || r.Kind != "cms" {
			t.Errorf("%s: %+v, %v, want %s", digest, r, err, want)
		}
	}
	for _, digest := range []string{"md5:00", "sm3:00", "sm3", "sm3:zz"} {
		var p *client.Problem
		if _, err := c.Verify(t.Context(), "x.p7s", signed.bytes, digest); !errors.As(err, &p) || p.Status != 400 {
			t.Errorf("%s: %v", digest, err)
		}
	}
}

// TestSealsOfVersion5: an appliance that makes seals of GM/T 0031-2025 stamps them, and what they sign is valid.
func TestSealsOfVersion5(t *testing.T) {
	s := own(t, stage.Config{})
	s.stopAnd(t, func() { s.configure(t, "seal_version: 4", "seal_version: 5") })
	e := granted(t, s)
	signed := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Timestamp: true, Stamps: []client.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}}, ofdgen.Document("演示合同", 1))
	path := filepath.Join(t.TempDir(), "sealed.ofd")
	write(t, path, signed.bytes)
	r := verified(t, s, path, 0)
	if sig := r.Signatures[0]; r.Verdict != "valid" || sig.Generation != "v5" || result(sig, "seal-timestamp") != "pass" || result(sig, "timestamp") != "pass" {
		t.Errorf("%+v", r)
	}
}

// TestRevocationListOffline: a cancelled seal stands in the published list, and whoever has the list is told so without asking the appliance.
func TestRevocationListOffline(t *testing.T) {
	s := own(t, stage.Config{})
	e := granted(t, s)
	before := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Timestamp: true, Stamps: []client.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}}, ofdgen.Document("演示合同", 1))
	sealed := time.Now().Unix()
	if err := until(t.Context(), "the next second", func() (bool, error) { return time.Now().Unix() > sealed, nil }); err != nil { // lists and stamps count seconds
		t.Fatal(err)
	}
	if _, err := s.as(t, "system").ChangeSeal(t.Context(), client.NewKey(), e.seals["01"], client.Cancel, client.Reason{Reason: "authority-decision", Evidence: "示例决定"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, list := filepath.Join(dir, "sealed.ofd"), filepath.Join(dir, "seals.crl")
	write(t, path, before.bytes)
	write(t, list, mustOf(s.as(t, "department").RevocationList(t.Context(), ""))(t))
	r := verified(t, s, path, 0, "--crl", list)
	if sig := r.Signatures[0]; r.Verdict != "valid" || result(sig, "certificate-revocation") != "note" || sig.Conclusion.Zh != "签章时有效，其后证书已吊销（未查询印章当前状态）" {
		t.Errorf("%+v", r)
	}
}
