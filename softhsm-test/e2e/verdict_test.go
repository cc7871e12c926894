package e2e

import (
	"encoding/hex"
	"errors"
	"testing"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
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
