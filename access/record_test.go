package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
)

// TestEntitledRecord: a grant of the kind, for the purpose, in its window, with something left; it is good for no signature, and none for signatures is
// good for it.
func TestEntitledRecord(t *testing.T) {
	w := newWorld(t)
	g := w.grant(t, func(g *access.Grant) {
		g.ID, g.Kinds, g.Seals, g.DigestOnly, g.Purposes = "licences", []string{access.KindLicence}, nil, false, []string{"演示"}
	})
	w.grant(t, func(g *access.Grant) { g.ID = "documents" })
	now := g.NotBefore.Add(time.Minute)
	e, err := w.EntitledRecord(t.Context(), w.dept, access.LicenceArchive, access.KindLicence, "演示", now)
	if err != nil || e.ID != "licences" || len(e.Spend) != 1 || len(e.Expect) != 2 {
		t.Fatalf("%+v, %v", e, err)
	}
	stranger := access.Actor{Client: strings.Repeat("c", 64), Role: access.RoleDepartment}
	for name, c := range map[string]struct {
		actor         access.Actor
		kind, purpose string
		now           time.Time
		want          error
	}{
		"another purpose": {w.dept, access.KindLicence, "别的", now, access.ErrNotEntitled},
		"another kind":    {w.dept, "certificate", "演示", now, access.ErrNotEntitled},
		"too early":       {w.dept, access.KindLicence, "演示", g.NotBefore.Add(-time.Second), access.ErrGrantWindow},
		"too late":        {w.dept, access.KindLicence, "演示", g.Expires.Add(time.Second), access.ErrGrantWindow},
		"an officer":      {w.security, access.KindLicence, "演示", now, access.ErrNotEntitled},
		"a stranger":      {stranger, access.KindLicence, "演示", now, access.ErrNotEntitled},
	} {
		if _, err := w.EntitledRecord(t.Context(), c.actor, access.LicenceArchive, c.kind, c.purpose, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	want := access.Want{Request: "k", Seal: sealA, SealType: "01", Kind: access.KindLicence, Purpose: "演示", Client: w.dept.Client, Now: now}
	if _, err := w.Entitled(t.Context(), w.dept, want, access.Consent{}); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a licence grant for a signature: %v", err)
	}
	if _, err := w.WithdrawGrant(t.Context(), nil, w.security, "licences", "演示"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.EntitledRecord(t.Context(), w.dept, access.LicenceArchive, access.KindLicence, "演示", now); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("withdrawn: %v", err)
	}
}
