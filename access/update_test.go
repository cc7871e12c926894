package access_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"sealkeeper/access"
)

func contains(doc, part []byte) bool { return bytes.Contains(doc, part) }

// writeVectors renews the published file; SM2 signatures are random, so it differs each time and is reviewed by verifying it.
func writeVectors(t *testing.T) {
	t.Helper()
	v := vectors{Note: "Canonical bytes of approvals and delegations, and signatures over them. The private keys are public: for tests alone."}
	for _, k := range [][2]string{{access.AlgP256, p256Scalar}, {access.AlgSM2, sm2Scalar}} {
		d := deviceOf(t, k[0], k[1])
		v.Keys = append(v.Keys, struct {
			Alg     string `json:"alg"`
			Private string `json:"private"`
			Public  string `json:"public"`
			KeyID   string `json:"key_id"`
		}{k[0], k[1], hex.EncodeToString(d.point), access.DeviceKeyID(d.point)})
		addApprovals(t, &v, d)
		addDelegation(t, &v, d)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func addApprovals(t *testing.T, v *vectors, d device) {
	a := sampleApproval()
	msg, err := a.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(msg)
	der := d.approve(t, a)
	raw, cut, broken := der, der, der
	raw.Signature = rawOf(t, der.Signature)
	cut.Signature = der.Signature[:len(der.Signature)-1]
	broken.Signature = bytes.Clone(raw.Signature)
	broken.Signature[63] ^= 1
	for _, c := range []struct {
		name, result string
		s            access.SignedApproval
	}{
		{"DER", "ok", der}, {"64 bytes", "ok", raw}, {"one byte short", "altered", cut}, {"one bit changed", "altered", broken},
	} {
		v.Approvals = append(v.Approvals, struct {
			Name      string                `json:"name"`
			Canonical string                `json:"canonical"`
			SHA256    string                `json:"canonical_sha256"`
			Signed    access.SignedApproval `json:"signed"`
			Result    string                `json:"result"`
		}{d.alg + " " + c.name, string(msg), hex.EncodeToString(sum[:]), c.s, c.result})
	}
}

func addDelegation(t *testing.T, v *vectors, d device) {
	msg, err := sampleDelegation().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	v.Delegations = append(v.Delegations, struct {
		Name      string                  `json:"name"`
		Canonical string                  `json:"canonical"`
		Signed    access.SignedDelegation `json:"signed"`
		Result    string                  `json:"result"`
	}{d.alg + " delegation", string(msg), d.delegate(t, sampleDelegation()), "ok"})
}
