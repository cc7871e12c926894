package e2e

import (
	"path/filepath"
	"testing"

	"sealkeeper/client"
	"sealkeeper/softhsm-test/ofdgen"
)

// TestSealedOFD: two seals, a riding seam over five pages and time stamps verify offline with the SM2 root alone; the same bytes come again.
func TestSealedOFD(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	first := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Timestamp: true,
		Stamps: []client.Stamp{{Page: 5, X: ofdgen.NameSealX, Y: ofdgen.NameSealY, W: 40, H: 40}}, Riding: []client.Riding{{Edge: "right", W: 40, H: 40}}}, ofdgen.Document("演示合同", 5))
	second := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["05"], Timestamp: true,
		Stamps: []client.Stamp{{Page: 5, X: ofdgen.PersonSealX, Y: ofdgen.PersonSealY, W: 20, H: 20}}}, first.bytes)
	path := filepath.Join(t.TempDir(), "sealed.ofd")
	write(t, path, second.bytes)
	report := verified(t, s, path, 0)
	if report.Verdict != "valid" || len(report.Signatures) != 2 {
		t.Fatalf("report %+v", report)
	}
	for _, sig := range report.Signatures {
		for _, code := range []string{"timestamp", "references", "signature-value", "seal-signature"} {
			if got := result(sig, code); got != "pass" {
				t.Errorf("%s: %s is %q", sig.SealName, code, got)
			}
		}
	}
}
