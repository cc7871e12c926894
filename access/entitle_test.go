package access_test

import (
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
)

// TestEntitlement: who may ask at all, before any state is looked at.
func TestEntitlement(t *testing.T) {
	for _, c := range []struct {
		name   string
		grant  func(*access.Grant) // nil: a grant that names the seal
		none   bool                // no grant at all
		want   func(*access.Want)
		actor  func(*world) access.Actor
		refuse error
	}{
		{name: "named seal"},
		{name: "no grant", none: true, refuse: access.ErrNotEntitled},
		{name: "another seal", want: func(u *access.Want) { u.Seal, u.USCC = sealB, ownerB }, refuse: access.ErrNotEntitled},
		{name: "unknown seal", want: func(u *access.Want) { u.Seal, u.USCC = "41031199999999", "" }, refuse: access.ErrNotEntitled},
		{name: "another purpose", want: func(u *access.Want) { u.Purpose = "另一用途" }, refuse: access.ErrNotEntitled},
		{name: "another kind", grant: func(g *access.Grant) { g.Kinds, g.DigestOnly = []string{"ofd"}, false },
			want: func(u *access.Want) { u.Kind = "digest" }, refuse: access.ErrNotEntitled},
		{name: "too early", want: func(u *access.Want) { u.Now = start.Add(-2 * time.Hour) }, refuse: access.ErrGrantWindow},
		{name: "too late", want: func(u *access.Want) { u.Now = start.Add(48 * time.Hour) }, refuse: access.ErrGrantWindow},
		{name: "last second", want: func(u *access.Want) { u.Now = start.Add(24 * time.Hour) }},
		{name: "digest under a grant that says so", want: func(u *access.Want) { u.Kind = "digest" }},
		{name: "digest under one that does not", grant: func(g *access.Grant) { g.DigestOnly = false },
			want: func(u *access.Want) { u.Kind = "digest" }, refuse: access.ErrDigestOnly},
		{name: "digest with the legal representative's seal", grant: func(g *access.Grant) { g.Seals = []string{sealRep} },
			want: func(u *access.Want) { u.Kind, u.Seal, u.SealType = "digest", sealRep, "05" }, refuse: access.ErrDigestOnly},
		{name: "SignedData around content", grant: func(g *access.Grant) { g.Kinds, g.DigestOnly = []string{"cms"}, false }, want: func(u *access.Want) { u.Kind = "cms" }},
		{name: "unseen SignedData under a grant that does not say so", grant: func(g *access.Grant) { g.Kinds, g.DigestOnly = []string{"cms"}, false },
			want: func(u *access.Want) { u.Kind, u.Unseen = "cms", true }, refuse: access.ErrDigestOnly},
		{name: "unseen SignedData under one that does", grant: func(g *access.Grant) { g.Kinds = []string{"cms"} }, want: func(u *access.Want) { u.Kind, u.Unseen = "cms", true }},
		{name: "unseen SignedData with the legal representative's seal", grant: func(g *access.Grant) { g.Seals, g.Kinds = []string{sealRep}, []string{"cms"} },
			want: func(u *access.Want) { u.Kind, u.Unseen, u.Seal, u.SealType = "cms", true, sealRep, "05" }, refuse: access.ErrDigestOnly},
		{name: "unknown client", actor: func(w *world) access.Actor {
			return access.Actor{Client: access.ClientID([]byte("stranger")), Role: access.RoleDepartment}
		}, want: func(u *access.Want) { u.Client = access.ClientID([]byte("stranger")) }, refuse: access.ErrNotEntitled},
		{name: "for another client", actor: func(w *world) access.Actor {
			return access.Actor{Client: access.ClientID([]byte("stranger")), Role: access.RoleDepartment}
		}, refuse: access.ErrNotEntitled},
		{name: "operator", actor: func(w *world) access.Actor { return w.security },
			want: func(u *access.Want) { u.Client = access.ClientID([]byte("key of security")) }, refuse: access.ErrNotEntitled},
		{name: "operator who calls itself a department", actor: func(w *world) access.Actor {
			return access.Actor{Client: w.security.Client, Role: access.RoleDepartment}
		}, want: func(u *access.Want) { u.Client = access.ClientID([]byte("key of security")) }, refuse: access.ErrNotEntitled},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if !c.none {
				w.grant(t, c.grant)
			}
			u, actor := w.want(), w.dept
			if c.want != nil {
				c.want(&u)
			}
			if c.actor != nil {
				actor = c.actor(w)
			}
			_, err := w.Entitled(t.Context(), actor, u, access.Consent{})
			if !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
}

// TestAnyOwner: under a grant for any seal whose owner approves, the owner's own signature opens the door, and nothing else tells
// the caller whether a seal exists.
func TestAnyOwner(t *testing.T) {
	w := newWorld(t)
	w.grant(t, anyOwner)
	approve := func(p device, change func(*access.Approval)) access.Consent {
		a := w.approval(w.want())
		if change != nil {
			change(&a)
		}
		s := p.approve(t, a)
		s.Device = ""
		return access.Consent{Approval: &s}
	}
	d := w.delegation(nil)
	if _, err := w.Delegate(t.Context(), nil, w.dept, w.phoneA.delegate(t, d)); err != nil {
		t.Fatal(err)
	}
	unknown := func(u *access.Want) { u.Seal, u.SealType, u.USCC = "41031199999999", "", "" }
	forUnknown := func(a *access.Approval) { a.Seal = "41031199999999" }
	forged := deviceOf(t, access.AlgP256, "0000000000000000000000000000000000000000000000000000000000000007")
	for _, c := range []struct {
		name    string
		consent access.Consent
		want    func(*access.Want)
		refuse  error
	}{
		{"the owner's approval", approve(w.phoneA, nil), nil, nil},
		{"the owner's delegation", access.Consent{Delegation: d.ID}, nil, nil},
		{"nothing", access.Consent{}, nil, access.ErrApprovalMissing},
		{"nothing, unknown seal", access.Consent{}, unknown, access.ErrApprovalMissing},
		{"a forged approval", approve(forged, nil), nil, access.ErrNotEntitled},
		{"a forged approval, unknown seal", approve(forged, forUnknown), unknown, access.ErrNotEntitled},
		{"an approval for another seal", approve(w.phoneA, func(a *access.Approval) { a.Seal = sealRep }), nil, access.ErrApprovalForeign},
		{"an approval for another seal, unknown seal", approve(w.phoneA, nil), unknown, access.ErrApprovalForeign},
		{"unknown delegation", access.Consent{Delegation: "none"}, nil, access.ErrDelegationOutOfBounds},
		{"delegation for another seal", access.Consent{Delegation: d.ID}, unknown, access.ErrDelegationOutOfBounds},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := w.want()
			if c.want != nil {
				c.want(&u)
			}
			e, err := w.Entitled(t.Context(), w.dept, u, c.consent)
			if !errors.Is(err, c.refuse) {
				t.Fatalf("got %v, want %v", err, c.refuse)
			}
			if c.refuse == nil {
				if _, err := w.Clear(t.Context(), e, c.consent, u); err != nil {
					t.Errorf("clearing: %v", err)
				}
			}
		})
	}
	known, other := w.want(), w.want()
	unknown(&other)
	_, one := w.Entitled(t.Context(), w.dept, known, approve(forged, nil))
	_, two := w.Entitled(t.Context(), w.dept, other, approve(forged, forUnknown))
	if one.Error() != two.Error() {
		t.Errorf("a forged approval tells seals apart: %q and %q", one, two)
	}
}

// TestGrantIsSpent: the count goes in the releasing commit; a named grant is used before a wide one.
func TestGrantIsSpent(t *testing.T) {
	w := newWorld(t)
	g := w.grant(t, func(g *access.Grant) { g.Count = 1 })
	e, err := w.Entitled(t.Context(), w.dept, w.want(), access.Consent{})
	if err != nil || e.Grant.ID != g.ID {
		t.Fatalf("entitled by %q (%v), want %q", e.Grant.ID, err, g.ID)
	}
	part := access.Cleared{Spend: e.Spend, Expect: e.Expect}
	if err := w.spend(t, part); err != nil {
		t.Fatal(err)
	}
	if err := w.spend(t, part); !errors.Is(err, store.ErrLimit) {
		t.Errorf("second use of a grant for one: %v, want ErrLimit", err)
	}
	if _, err := w.Entitled(t.Context(), w.dept, w.want(), access.Consent{}); !errors.Is(err, access.ErrGrantSpent) {
		t.Errorf("spent grant: %v, want ErrGrantSpent", err)
	}
	if n, err := w.GrantSpent(t.Context(), g.ID); n != 1 || err != nil {
		t.Errorf("spent %d (%v), want 1", n, err)
	}
	wide := w.grant(t, anyOwner)
	s := w.phoneA.approve(t, w.approval(w.want()))
	if e, err = w.Entitled(t.Context(), w.dept, w.want(), access.Consent{Approval: &s}); err != nil || e.Grant.ID != wide.ID {
		t.Errorf("entitled by %q (%v), want the next grant", e.Grant.ID, err)
	}
}

// TestWithdrawalRaces: a grant withdrawn, or a client disabled, between check and commit wins.
func TestWithdrawalRaces(t *testing.T) {
	for name, act := range map[string]func(*world, access.Grant) error{
		"grant withdrawn": func(w *world, g access.Grant) error {
			_, err := w.WithdrawGrant(t.Context(), nil, w.security, g.ID, "演示")
			return err
		},
		"client disabled": func(w *world, g access.Grant) error {
			_, err := w.Disable(t.Context(), nil, w.security, g.Client, "演示")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.grant(t, nil)
			e, err := w.Entitled(t.Context(), w.dept, w.want(), access.Consent{})
			if err != nil {
				t.Fatal(err)
			}
			if err := act(w, g); err != nil {
				t.Fatal(err)
			}
			if err := w.spend(t, access.Cleared{Spend: e.Spend, Expect: e.Expect}); !errors.Is(err, store.ErrConflict) {
				t.Errorf("commit: %v, want ErrConflict", err)
			}
			if _, err := w.Entitled(t.Context(), w.dept, w.want(), access.Consent{}); !errors.Is(err, access.ErrNotEntitled) {
				t.Errorf("afterwards: %v, want ErrNotEntitled", err)
			}
		})
	}
}

func TestClear(t *testing.T) {
	w := newWorld(t)
	w.grant(t, nil)
	e, err := w.Entitled(t.Context(), w.dept, w.want(), access.Consent{})
	if err != nil {
		t.Fatal(err)
	}
	s := w.phoneA.approve(t, w.approval(w.want()))
	for _, c := range []struct {
		name    string
		consent access.Consent
		refuse  error
	}{
		{"approval", access.Consent{Approval: &s}, nil},
		{"missing", access.Consent{}, access.ErrApprovalMissing},
		{"both", access.Consent{Approval: &s, Delegation: "d"}, access.ErrApprovalForm},
		{"unknown delegation", access.Consent{Delegation: "d"}, access.ErrDelegationOutOfBounds},
	} {
		if _, err := w.Clear(t.Context(), e, c.consent, w.want()); !errors.Is(err, c.refuse) {
			t.Errorf("%s: %v, want %v", c.name, err, c.refuse)
		}
	}
}
