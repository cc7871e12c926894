package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/register"
	"sealkeeper/softhsm-test/stage"
	"sealkeeper/softhsm-test/synthetic"
)

// bureau is the registration authority that stands in the synthetic licences.
const bureau = "11410300YYY000011T"

// institution files the authority's impression and has its seal made by a ceremony.
func (s *scene) institution(t *testing.T, dir, name string) (esid string) {
	t.Helper()
	image, w, h, err := draw.Seal(draw.Spec{Type: "01", Name: name, Code: "4103000000001", DPI: 300})
	if err != nil {
		t.Fatal(err)
	}
	f := register.Filing{FilingNumber: "OWN-" + client.NewKey()[:8], SealType: "01", USCC: bureau, Name: name, Format: "PNG", WidthMM: float64(w), HeightMM: float64(h),
		Image: image, FiledAt: time.Now().UTC().Truncate(time.Second)}
	file := filepath.Join(dir, "impression.json")
	write(t, file, mustOf(json.Marshal(mustOf(s.registry.Institution(f))(t)))(t))
	s.officer(t, "registration", nil, "institution", "impression", file)
	c := s.carry(t, "system", planned(t, dir, "  - action: make-institutional-seal\n    filing: "+f.FilingNumber+"\n", 2), "security", "audit")
	var made struct{ Seal string }
	if err := json.Unmarshal(c.Steps[0].Result, &made); err != nil || made.Seal == "" {
		t.Fatalf("result %s: %v", c.Steps[0].Result, err)
	}
	return made.Seal
}

// stand has officers sign a standing delegation.
func (s *scene) stand(t *testing.T, dir, id, esid, to, purposes, kinds string, count int) ceremony.Ceremony {
	t.Helper()
	at := func(d time.Duration) string { return time.Now().UTC().Add(d).Format("2006-01-02T15:04:05Z") }
	steps := fmt.Sprintf("  - action: delegate-standing\n    delegation: %s\n    seal: %q\n    client: %q\n    purposes: %s\n    kinds: %s\n    from: %s\n    until: %s\n    count: \"%d\"\n",
		id, esid, to, purposes, kinds, at(-time.Hour), at(24*time.Hour), count)
	return s.carry(t, "security", planned(t, dir, steps, 2), "system", "audit")
}

// TestInstitutionOverHTTPS: the authority's own seal by ceremony, a department that signs with it under a standing delegation, its refusals, its
// revocation, and a transcript that says who decided.
func TestInstitutionOverHTTPS(t *testing.T) {
	s := own(t, stage.Config{})
	dir := t.TempDir()
	esid := s.institution(t, dir, synthetic.New("e2e", 1).Authority)
	dept := s.clientID(t, "department")
	if err := s.grant(t.Context(), func(g *access.Grant) { g.Seals = []string{esid} }); err != nil {
		t.Fatal(err)
	}
	c := mustOf(s.Client("department"))(t)
	digest := gm.SM3([]byte("示例"))
	sign := func(delegation string) error {
		_, err := c.SignDigest(t.Context(), client.NewKey(), client.SignatureRequest{Kind: "digest", Seal: esid, Digest: hex.EncodeToString(digest[:]), Purpose: purpose, Delegation: delegation})
		return err
	}
	wants := func(what, code string, err error) {
		t.Helper()
		if client.Code(err) != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	wants("without a delegation", "institutional-seal", sign(""))
	wants("with one that there is not", "institutional-seal", sign("good"))
	s.stand(t, dir, "good", esid, dept, purpose, "digest,ofd", 2)
	drafted := s.stand(t, dir, "narrow", esid, dept, "另一用途", "digest", 2)
	wants("another purpose", "delegation-out-of-bounds", sign("narrow"))
	for range 2 {
		if err := sign("good"); err != nil {
			t.Fatal(err)
		}
	}
	wants("spent", "delegation-spent", sign("good"))
	s.stand(t, dir, "more", esid, dept, purpose, "digest", 9)
	if err := sign("more"); err != nil {
		t.Fatal(err)
	}
	s.carry(t, "security", planned(t, dir, "  - action: revoke-standing\n    delegation: more\n", 1), "audit")
	wants("revoked", "delegation-out-of-bounds", sign("more"))
	list := mustOf(c.StandingDelegations(t.Context(), "", "", 10))(t)
	if len(list.Items) != 3 || list.Items[0].ID != "good" || list.Items[0].Spent != 2 || list.Items[1].Revoked == "" || list.Items[0].Authority != bureau {
		t.Errorf("listed %+v", list.Items)
	}
	for what, steps := range map[string]string{
		"an unknown filing":    "  - action: make-institutional-seal\n    filing: NONE\n",
		"the same once more":   "  - action: make-institutional-seal\n    filing: " + s.filingOf(t, esid) + "\n",
		"a key that is in use": "  - action: destroy-key\n    key: " + s.keyOf(t, esid) + "\n",
	} {
		plan := planned(t, dir, steps, 2)
		var refused ceremony.Ceremony
		s.officer(t, "system", &refused, "ceremony", plan)
		for _, role := range []string{"security", "audit"} {
			s.officer(t, role, nil, "ceremony", "approve", refused.ID, "--plan", plan, "--yes")
		}
		if exit, _, errs := s.sealctl(t, "system", "ceremony", "execute", refused.ID); exit != 2 || !strings.Contains(errs, "ceremony-refused") {
			t.Errorf("%s: exit %d, %s", what, exit, errs)
		}
	}
	transcript := filepath.Join(dir, "transcript.json")
	s.officer(t, "audit", nil, "ceremony", "transcript", drafted.ID, "--file", transcript)
	var account ceremony.Account
	s.officer(t, "audit", &account, "ceremony", "verify", transcript, "--audit-key", filepath.Join(s.Dir, "state", "audit.pem"))
	if account.State != ceremony.Executed || len(account.Approvals) != 2 || account.Plan.Steps[0].Seal != esid || !strings.Contains(string(account.Steps[0].Result), "narrow") {
		t.Errorf("account %+v", account)
	}
}

// keyOf is the key of a seal, as operators see it.
func (s *scene) keyOf(t *testing.T, esid string) string {
	t.Helper()
	return mustOf(mustOf(s.Client("system"))(t).Seal(t.Context(), esid))(t).Seal.Key
}

// filingOf is the filing of a seal's impression.
func (s *scene) filingOf(t *testing.T, esid string) string {
	t.Helper()
	c := mustOf(s.Client("system"))(t)
	var i register.Impression
	if err := c.JSON(t.Context(), "GET", "/v1/impressions/"+mustOf(c.Seal(t.Context(), esid))(t).Seal.Impression, nil, "", nil, &i); err != nil {
		t.Fatal(err)
	}
	return i.Filing
}
