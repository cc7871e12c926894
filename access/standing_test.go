package access_test

import (
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

const (
	sealI     = "41030000000001" // of an institution
	authority = "11410300YYY000011T"
)

var officer = audit.Actor{Role: "operator-security", ID: "security"}

func (w *world) standing(change func(*access.Standing)) access.Standing {
	s := access.Standing{ID: "standing-1", Seal: sealI, Client: w.dept.Client, Purposes: []string{purpose}, Kinds: []string{"cms", "ofd"},
		NotBefore: start.Add(-time.Hour), Expires: start.Add(time.Hour), Count: 2, Ceremony: "ceremony/x/1"}
	if change != nil {
		change(&s)
	}
	return s
}

// stand registers a standing delegation as a ceremony's commit would.
func (w *world) stand(t testing.TB, s access.Standing) access.Standing {
	t.Helper()
	s, ch, err := w.Stand(t.Context(), officer, s)
	if err == nil {
		_, err = w.st.Commit(t.Context(), ch.Mutation(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) institutional() access.Want {
	u := w.want()
	u.Seal, u.SealType, u.USCC, u.Kind, u.Institutional = sealI, "01", authority, "ofd", true
	return u
}

// TestStand: what a ceremony signs names an institution's own seal, an active department or the appliance, and bounds that mean something.
func TestStand(t *testing.T) {
	w := newWorld(t)
	taken := w.stand(t, w.standing(nil))
	if taken.Authority != authority || taken.Since.IsZero() {
		t.Errorf("registered as %+v", taken)
	}
	for _, c := range []struct {
		name   string
		change func(*access.Standing)
		refuse error
	}{
		{"identifier taken", func(s *access.Standing) { s.ID = taken.ID }, access.ErrDelegationExists},
		{"no identifier", func(s *access.Standing) { s.ID = "" }, access.ErrStandingForm},
		{"an enterprise's seal", func(s *access.Standing) { s.Seal = sealA }, access.ErrStandingForm},
		{"unknown seal", func(s *access.Standing) { s.Seal = "41031199999999" }, access.ErrStandingForm},
		{"an operator as client", func(s *access.Standing) { s.Client = w.security.Client }, access.ErrUnknown},
		{"a name as client", func(s *access.Standing) { s.Client = "示例部门" }, access.ErrStandingForm},
		{"no purpose", func(s *access.Standing) { s.Purposes = nil }, access.ErrStandingForm},
		{"purposes out of order", func(s *access.Standing) { s.Purposes = []string{"b", "a"} }, access.ErrStandingForm},
		{"unknown kind", func(s *access.Standing) { s.Kinds = []string{"fax"} }, access.ErrStandingForm},
		{"digests for the appliance", func(s *access.Standing) { s.Client, s.Kinds = access.ApplianceClient, []string{"digest"} }, access.ErrStandingForm},
		{"count zero", func(s *access.Standing) { s.Count = 0 }, access.ErrStandingForm},
		{"window backwards", func(s *access.Standing) { s.Expires = s.NotBefore.Add(-time.Second) }, access.ErrStandingForm},
		{"over", func(s *access.Standing) { s.NotBefore, s.Expires = start.Add(-2*time.Hour), start.Add(-time.Hour) }, access.ErrStandingForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.standing(func(s *access.Standing) { s.ID = "standing-2" })
			c.change(&s)
			if _, _, err := w.Stand(t.Context(), officer, s); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
	if list, _, err := w.StandingsPage(t.Context(), w.dept, w.dept.Client, "", 10); err != nil || len(list) != 1 {
		t.Errorf("%d listed (%v), want the good one", len(list), err)
	}
	if _, _, err := w.StandingsPage(t.Context(), w.dept, "", "", 10); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a department lists others': %v", err)
	}
}

// TestStandingBounds: each bound has its refusal.
func TestStandingBounds(t *testing.T) {
	w := newWorld(t)
	s := w.stand(t, w.standing(nil))
	for _, c := range []struct {
		name   string
		id     string
		want   func(*access.Want)
		refuse error
	}{
		{name: "inside", id: s.ID},
		{name: "none", refuse: access.ErrNoStanding},
		{name: "unknown", id: "none", refuse: access.ErrNoStanding},
		{name: "another client", id: s.ID, want: func(u *access.Want) { u.Client = w.security.Client }, refuse: access.ErrNoStanding},
		{name: "another seal", id: s.ID, want: func(u *access.Want) { u.Seal = "41030000000002" }, refuse: access.ErrNoStanding},
		{name: "an enterprise's seal", id: s.ID, want: func(u *access.Want) { u.Institutional = false }, refuse: access.ErrNoStanding},
		{name: "another kind", id: s.ID, want: func(u *access.Want) { u.Kind = "pdf" }, refuse: access.ErrDelegationOutOfBounds},
		{name: "another purpose", id: s.ID, want: func(u *access.Want) { u.Purpose = "另一用途" }, refuse: access.ErrDelegationOutOfBounds},
		{name: "too early", id: s.ID, want: func(u *access.Want) { u.Now = start.Add(-2 * time.Hour) }, refuse: access.ErrDelegationOutOfBounds},
		{name: "expired", id: s.ID, want: func(u *access.Want) { u.Now = start.Add(time.Hour + time.Second) }, refuse: access.ErrDelegationOutOfBounds},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := w.institutional()
			if c.want != nil {
				c.want(&u)
			}
			if _, err := w.CheckStanding(t.Context(), c.id, u); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
}

// TestStandingEnds: its count is spent and no more, and revocation lets nothing through that was cleared before.
func TestStandingEnds(t *testing.T) {
	w := newWorld(t)
	s := w.stand(t, w.standing(nil)) // count 2
	c, err := w.CheckStanding(t.Context(), s.ID, w.institutional())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, store.ErrLimit} {
		if err := w.spend(t, c); !errors.Is(err, want) {
			t.Errorf("use %d: %v, want %v", i+1, err, want)
		}
	}
	if _, err := w.CheckStanding(t.Context(), s.ID, w.institutional()); !errors.Is(err, access.ErrDelegationSpent) {
		t.Errorf("spent: %v", err)
	}
	if access.SpendError(s.Counter()) != access.ErrDelegationSpent {
		t.Error("its counter has another name than a delegation's")
	}
	other := w.stand(t, w.standing(func(s *access.Standing) { s.ID = "standing-2" }))
	if c, err = w.CheckStanding(t.Context(), other.ID, w.institutional()); err != nil {
		t.Fatal(err)
	}
	_, ch, err := w.Revoke(t.Context(), officer, other.ID, "ceremony/y/1")
	if err == nil {
		_, err = w.st.Commit(t.Context(), ch.Mutation(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.spend(t, c); !errors.Is(err, store.ErrConflict) {
		t.Errorf("cleared before, committed after its revocation: %v", err)
	}
	if _, err := w.CheckStanding(t.Context(), other.ID, w.institutional()); !errors.Is(err, access.ErrDelegationOutOfBounds) {
		t.Errorf("revoked: %v", err)
	}
	for _, id := range []string{other.ID, "none"} {
		if _, _, err := w.Revoke(t.Context(), officer, id, "ceremony/y/2"); !errors.Is(err, access.ErrUnknown) {
			t.Errorf("revoking %s: %v", id, err)
		}
	}
}

// TestApplianceEntitled: the appliance has no grants; a standing delegation of its own for an institution's seal entitles it, and nothing else does.
func TestApplianceEntitled(t *testing.T) {
	w := newWorld(t)
	theirs := w.stand(t, w.standing(nil))
	own := w.stand(t, w.standing(func(s *access.Standing) { s.ID, s.Client = "standing-own", access.ApplianceClient }))
	for _, c := range []struct {
		name, id string
		want     func(*access.Want)
		refuse   error
	}{
		{name: "its own", id: own.ID},
		{name: "a department's", id: theirs.ID, refuse: access.ErrNotEntitled},
		{name: "none", refuse: access.ErrNotEntitled},
		{name: "an enterprise's seal", id: own.ID, want: func(u *access.Want) { u.Seal, u.USCC, u.Institutional = sealA, ownerA, false }, refuse: access.ErrNotEntitled},
		{name: "an unseen document", id: own.ID, want: func(u *access.Want) { u.Unseen = true }, refuse: access.ErrNotEntitled},
	} {
		u := w.institutional()
		u.Client = access.ApplianceClient
		if c.want != nil {
			c.want(&u)
		}
		_, err := w.Entitled(t.Context(), access.ApplianceActor, u, access.Consent{Delegation: c.id})
		if !errors.Is(err, c.refuse) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.refuse)
		}
	}
	if all, err := w.StandingFor(t.Context(), purpose, "ofd"); err != nil || len(all) != 1 || all[0].ID != own.ID {
		t.Errorf("covering now: %+v, %v", all, err)
	}
	if all, err := w.StandingFor(t.Context(), "另一用途", "ofd"); err != nil || len(all) != 0 {
		t.Errorf("covering another purpose: %+v, %v", all, err)
	}
	_, err := w.Register(t.Context(), nil, w.security, access.Client{ID: access.ClientID([]byte("key")), Name: "示例", Role: access.RoleAppliance})
	if !errors.Is(err, access.ErrClientForm) {
		t.Errorf("a client registered as the appliance: %v", err)
	}
}
