package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// succession is an appliance whose issuing authority was renewed, with an enterprise from before and one from after.
type succession struct {
	*scene
	dir         string
	old, new    *enterprise
	former, key string // of the authorities
	certificate string // file of the new one's certificate
}

// succeed renews the issuing authority by ceremony, between two enterprises.
func succeed(t *testing.T) *succession {
	t.Helper()
	x := &succession{scene: own(t, stage.Config{}), dir: t.TempDir()}
	x.old = granted(t, x.scene)
	c := x.carry(t, "system", planned(t, x.dir, "  - action: renew-key\n    purpose: sm2-issuing\n", 2), "security", "audit")
	var made struct{ Key, Retired, Certificate string }
	if err := json.Unmarshal(c.Steps[0].Result, &made); err != nil || c.State != ceremony.Executed {
		t.Fatalf("%s: %s, %v", c.State, c.Steps[0].Result, err)
	}
	x.former, x.key, x.certificate = made.Retired, made.Key, filepath.Join(x.dir, "issuing-g2.pem")
	write(t, x.certificate, []byte(made.Certificate))
	x.stopAnd(t, func() {})
	x.new = granted(t, x.scene)
	return x
}

// seal has a document sealed and kept in a file.
func (x *succession) seal(t *testing.T, e *enterprise, name string) (path string, bytes []byte) {
	t.Helper()
	path = filepath.Join(x.dir, name)
	signed := x.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Timestamp: true, Stamps: []client.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}}, ofdgen.Document("演示合同", 1))
	write(t, path, signed.bytes)
	return path, signed.bytes
}

// list fetches and reads the revocation list of an authority.
func (x *succession) list(t *testing.T, authority, file string) *gm.RevocationList {
	t.Helper()
	der := mustOf(x.as(t, "department").RevocationList(t.Context(), authority))(t)
	write(t, file, der)
	return mustOf(gm.ParseRevocationList(der))(t)
}

// TestRenewedAuthority: seals from before and after the issuing authority was renewed sign and verify, with and without the appliance; each authority
// lists its own revoked certificates, at the address that these give; and the former key stays while it owes that list.
func TestRenewedAuthority(t *testing.T) {
	x := succeed(t)
	before, oldBytes := x.seal(t, x.old, "old.ofd")
	after, newBytes := x.seal(t, x.new, "new.ofd")
	for name, b := range map[string][]byte{"old.ofd": oldBytes, "new.ofd": newBytes} {
		if r, err := x.as(t, "department").Verify(t.Context(), name, b); err != nil || r.Verdict != "valid" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	verified(t, x.scene, before, 0)
	verified(t, x.scene, after, 4) // nobody told it of the new authority
	verified(t, x.scene, after, 0, "--intermediate", x.certificate)
	c := mustOf(gm.ParseCertificate(mustOf(x.as(t, "system").Certificate(t.Context(), x.new.seals["01"]))(t)))(t)
	if want := "https://seal.example/v1/revocation-list?authority=" + x.key; len(c.CRLDistributionPoints) != 1 || c.CRLDistributionPoints[0] != want {
		t.Errorf("distribution points %q", c.CRLDistributionPoints)
	}
	x.revoke(t)
	lists := []string{filepath.Join(x.dir, "old.crl"), filepath.Join(x.dir, "new.crl")}
	first, second := x.list(t, "", lists[0]), x.list(t, x.key, lists[1])
	if len(first.RevokedCertificateEntries) != 1 || len(second.RevokedCertificateEntries) != 1 || second.RevokedCertificateEntries[0].SerialNumber.Cmp(c.SerialNumber) != 0 ||
		string(first.RawIssuer) == string(second.RawIssuer) || !strings.HasSuffix(c.Issuer.CommonName, " G2") {
		t.Errorf("lists of %q with %d and of %q with %d", first.Issuer, len(first.RevokedCertificateEntries), second.Issuer, len(second.RevokedCertificateEntries))
	}
	for _, path := range []string{before, after} {
		r := verified(t, x.scene, path, 0, "--intermediate", x.certificate, "--crl", lists[0], "--crl", lists[1])
		if sig := r.Signatures[0]; r.Verdict != "valid" || result(sig, "certificate-revocation") != "note" {
			t.Errorf("%s: %+v", path, r)
		}
	}
	if _, err := x.as(t, "department").RevocationList(t.Context(), x.former); client.Code(err) != "unknown-record" {
		t.Errorf("a list of the first authority by its key: %v", err)
	}
	plan := planned(t, x.dir, "  - action: destroy-key\n    key: "+x.former+"\n", 2)
	var drafted ceremony.Ceremony
	x.officer(t, "system", &drafted, "ceremony", plan)
	for _, role := range []string{"security", "audit"} {
		x.officer(t, role, nil, "ceremony", "approve", drafted.ID, "--plan", plan, "--yes")
	}
	if exit, _, errs := x.sealctl(t, "system", "ceremony", "execute", drafted.ID); exit != 2 || !strings.Contains(errs, "ceremony-refused") || !strings.Contains(errs, "revocation list") {
		t.Errorf("destroying the former key: exit %d, %s", exit, errs)
	}
	x.inUse(t)
}

// revoke cancels the seals that signed, in a second after.
func (x *succession) revoke(t *testing.T) {
	t.Helper()
	sealed := time.Now().Unix()
	if err := until(t.Context(), "the next second", func() (bool, error) { return time.Now().Unix() > sealed, nil }); err != nil { // lists and stamps count seconds
		t.Fatal(err)
	}
	for _, e := range []*enterprise{x.old, x.new} {
		if _, err := x.as(t, "system").ChangeSeal(t.Context(), client.NewKey(), e.seals["01"], client.Cancel, client.Reason{Reason: "authority-decision", Evidence: "示例决定"}); err != nil {
			t.Fatal(err)
		}
	}
}

// inUse holds what officers see of the authorities' keys to one that lives and one that is retired and there.
func (x *succession) inUse(t *testing.T) {
	t.Helper()
	var a struct{ Keys []keystore.Listed }
	if err := x.as(t, "audit").JSON(t.Context(), "GET", "/v1/keys", nil, "", nil, &a); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, k := range a.Keys {
		if k.Purpose == keystore.PurposeSM2Issuing {
			found[k.ID.String()] = k.Retired == nil && k.Destroyed == nil
		}
	}
	if len(found) != 2 || found[x.former] || !found[x.key] {
		t.Errorf("issuing keys %v", found)
	}
}
