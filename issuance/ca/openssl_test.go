package ca

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
)

const distID = "distid:" + gm.UserID

// TestOpenSSL checks every kind of SM2 certificate with a third implementation: pairs by openssl verify, whose user ID reaches the
// first certificate only, and each signature once more by extraction, which is the only way for a root.
func TestOpenSSL(t *testing.T) {
	h := newHierarchy(t, nil)
	ctx := context.Background()
	maker, err := h.IssueMaker(ctx, newKey(t).Public(), testName("示例制章"))
	if err != nil {
		t.Fatal(err)
	}
	seal, _, err := h.Issue(ctx, testRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, issuing := writePEM(t, dir, "root", h.rootDER), writePEM(t, dir, "issuing", h.issuingDER)
	files := map[string][2]string{"root": {root, root}, "issuing": {issuing, root},
		"maker": {writePEM(t, dir, "maker", maker), issuing}, "seal": {writePEM(t, dir, "seal", seal), issuing}}
	for name, f := range files {
		t.Run(name, func(t *testing.T) {
			extract(t, f[0], f[1], true)
			if name == "root" {
				return
			}
			out, err := openssl(t, "verify", "-attime", "1800000000", "-vfyopt", distID, "-partial_chain", "-trusted", f[1], f[0])
			if err != nil || !strings.Contains(out, ": OK") {
				t.Errorf("openssl verify: %v\n%s", err, out)
			}
		})
	}
	// The checks can fail: another issuer, another user ID.
	extract(t, files["seal"][0], root, false)
	if out, err := openssl(t, "verify", "-attime", "1800000000", "-partial_chain", "-trusted", issuing, files["seal"][0]); err == nil {
		t.Errorf("verified without the user ID:\n%s", out)
	}
	out, err := openssl(t, "x509", "-in", files["seal"][0], "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space")
	for _, want := range []string{"SM2-with-SM3", "Digital Signature, Non Repudiation", "CA:FALSE", "X509v3 Key Usage: critical", "serialNumber = 41030000000001", "1.2.156.10260.4.1.4"} {
		if err != nil || !strings.Contains(strings.ReplaceAll(out, "serialNumber=", "serialNumber = "), want) {
			t.Errorf("openssl x509 -text lacks %q (%v)\n%s", want, err, out)
		}
	}
}

var offset = regexp.MustCompile(`(?m)^ *(\d+):d=(\d+)`)

// extract cuts TBS and signature out of a certificate and verifies them as plain bytes under the issuer's key.
func extract(t *testing.T, file, issuer string, want bool) {
	t.Helper()
	dir := t.TempDir()
	listing, err := openssl(t, "asn1parse", "-in", file)
	if err != nil {
		t.Fatalf("asn1parse: %v\n%s", err, listing)
	}
	lines := offset.FindAllStringSubmatch(listing, -1)
	tbsAt := ""
	for _, l := range lines {
		if l[2] == "1" {
			tbsAt = l[1]
			break
		}
	}
	tbs, sig, pub := filepath.Join(dir, "tbs"), filepath.Join(dir, "sig"), filepath.Join(dir, "pub")
	for at, to := range map[string]string{tbsAt: tbs, lines[len(lines)-1][1]: sig} {
		if out, err := openssl(t, "asn1parse", "-in", file, "-strparse", at, "-noout", "-out", to); err != nil {
			t.Fatalf("cutting at %s: %v\n%s", at, err, out)
		}
	}
	key, err := openssl(t, "x509", "-in", issuer, "-noout", "-pubkey")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pub, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := openssl(t, "dgst", "-sm3", "-verify", pub, "-sigopt", distID, "-signature", sig, tbs)
	if got := err == nil && strings.Contains(out, "Verified OK"); got != want {
		t.Errorf("openssl dgst over the extracted bytes: %v, want %v\n%s", got, want, out)
	}
}
