package access_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
)

// TestDelegate: what is registered was signed by the owner's bound device, within bounds that mean something.
func TestDelegate(t *testing.T) {
	w := newWorld(t)
	taken := w.delegation(nil)
	if _, err := w.Delegate(t.Context(), nil, w.dept, w.phoneA.delegate(t, taken)); err != nil {
		t.Fatal(err)
	}
	stranger := w.department(t, "another department")
	for _, c := range []struct {
		name   string
		change func(*access.Delegation)
		carry  func(*access.SignedDelegation)
		phone  *device
		actor  *access.Actor
		refuse error
	}{
		{name: "good"},
		{name: "identifier taken", change: func(d *access.Delegation) { d.ID = taken.ID }, refuse: access.ErrDelegationExists},
		{name: "another client presents it", actor: &stranger, refuse: access.ErrNotEntitled},
		{name: "an operator presents it", actor: &w.security, refuse: access.ErrNotEntitled},
		{name: "another owner's phone", phone: &w.phoneB, refuse: access.ErrApprovalAltered},
		{name: "seal without a device", change: func(d *access.Delegation) { d.Seal = sealC }, refuse: access.ErrNotEntitled},
		{name: "unknown seal", change: func(d *access.Delegation) { d.Seal = "41031199999999" }, refuse: access.ErrNotEntitled},
		{name: "another owner's seal", change: func(d *access.Delegation) { d.Seal = sealB }, refuse: access.ErrNotEntitled},
		{name: "legal representative's seal", change: func(d *access.Delegation) { d.Seal = sealRep }, refuse: access.ErrDelegationRefused},
		{name: "count altered", carry: func(d *access.SignedDelegation) { d.Count++ }, refuse: access.ErrApprovalAltered},
		{name: "purposes altered", carry: func(d *access.SignedDelegation) { d.Purposes = []string{"另一用途"} }, refuse: access.ErrApprovalAltered},
		{name: "window altered", carry: func(d *access.SignedDelegation) { d.Expires = d.Expires.Add(time.Hour) }, refuse: access.ErrApprovalAltered},
		{name: "signature altered", carry: func(d *access.SignedDelegation) {
			d.Signature = bytes.Clone(d.Signature)
			d.Signature[10] ^= 1
		}, refuse: access.ErrApprovalAltered},
		{name: "over", change: func(d *access.Delegation) { d.NotBefore, d.Expires = start.Add(-2*time.Hour), start.Add(-time.Hour) },
			refuse: access.ErrDelegationOutOfBounds},
		{name: "count zero", change: func(d *access.Delegation) { d.Count = 0 }, refuse: access.ErrApprovalForm},
		{name: "window backwards", change: func(d *access.Delegation) { d.Expires = d.NotBefore.Add(-time.Second) }, refuse: access.ErrApprovalForm},
		{name: "unknown kind", change: func(d *access.Delegation) { d.Kinds = []string{"fax"} }, refuse: access.ErrApprovalForm},
		{name: "purposes out of order", carry: func(d *access.SignedDelegation) { d.Purposes = []string{"b", "a"} }, refuse: access.ErrApprovalForm},
		{name: "blank purpose", change: func(d *access.Delegation) { d.Purposes = []string{"a", "b "} }, refuse: access.ErrApprovalForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			phone, actor := w.phoneA, w.dept
			if c.phone != nil {
				phone = *c.phone
			}
			if c.actor != nil {
				actor = *c.actor
			}
			s, err := w.delegation(c.change).Sign(phone.alg, phone.sign)
			if err == nil {
				if c.carry != nil {
					c.carry(&s)
				}
				_, err = w.Delegate(t.Context(), nil, actor, s)
			}
			if !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
	list, next, err := w.DelegationsPage(t.Context(), w.dept, w.dept.Client, "", 10)
	if err != nil || len(list) != 2 || next != "" {
		t.Errorf("%d delegations registered (%v), want the two good ones", len(list), err)
	}
}

// TestDelegationBounds: each bound has its refusal.
func TestDelegationBounds(t *testing.T) {
	w := newWorld(t)
	d := w.delegation(func(d *access.Delegation) { d.Kinds = []string{"ofd"} })
	if _, err := w.Delegate(t.Context(), nil, w.dept, w.phoneA.delegate(t, d)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		id     string
		want   func(*access.Want)
		refuse error
	}{
		{name: "inside"},
		{name: "unknown", id: "none", refuse: access.ErrDelegationOutOfBounds},
		{name: "another client", want: func(u *access.Want) { u.Client = w.security.Client }, refuse: access.ErrDelegationOutOfBounds},
		{name: "another seal", want: func(u *access.Want) { u.Seal = sealB }, refuse: access.ErrDelegationOutOfBounds},
		{name: "another kind", want: func(u *access.Want) { u.Kind = "digest" }, refuse: access.ErrDelegationOutOfBounds},
		{name: "another purpose", want: func(u *access.Want) { u.Purpose = "另一用途" }, refuse: access.ErrDelegationOutOfBounds},
		{name: "too early", want: func(u *access.Want) { u.Now = start.Add(-time.Second) }, refuse: access.ErrDelegationOutOfBounds},
		{name: "too late", want: func(u *access.Want) { u.Now = start.Add(time.Hour + time.Second) }, refuse: access.ErrDelegationOutOfBounds},
		{name: "legal representative's seal", want: func(u *access.Want) { u.SealType = "05" }, refuse: access.ErrDelegationRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, id := w.want(), d.ID
			if c.want != nil {
				c.want(&u)
			}
			if c.id != "" {
				id = c.id
			}
			if _, err := w.CheckDelegation(t.Context(), id, u); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
}

// TestDelegationIsSpent: two uses, and not a third, whoever comes first.
func TestDelegationIsSpent(t *testing.T) {
	w := newWorld(t)
	d := w.delegation(nil) // count 2
	if _, err := w.Delegate(t.Context(), nil, w.dept, w.phoneA.delegate(t, d)); err != nil {
		t.Fatal(err)
	}
	c, err := w.CheckDelegation(t.Context(), d.ID, w.want())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, store.ErrLimit} {
		if err := w.spend(t, c); !errors.Is(err, want) {
			t.Errorf("use %d: %v, want %v", i+1, err, want)
		}
	}
	if _, err := w.CheckDelegation(t.Context(), d.ID, w.want()); !errors.Is(err, access.ErrDelegationSpent) {
		t.Errorf("spent: %v, want ErrDelegationSpent", err)
	}
}

// TestDelegationEnds: by withdrawal and by another device.
func TestDelegationEnds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		end  func(id string) error
	}{
		{"withdrawn", func(id string) error {
			_, err := w.WithdrawDelegation(t.Context(), nil, w.security, id, "演示")
			return err
		}},
		{"another device bound", func(string) error {
			w.bind(t, ownerA, w.phoneB)
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := w.delegation(nil)
			if _, err := w.Delegate(t.Context(), nil, w.dept, w.phoneA.delegate(t, d)); err != nil {
				t.Fatal(err)
			}
			cleared, err := w.CheckDelegation(t.Context(), d.ID, w.want())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.end(d.ID); err != nil {
				t.Fatal(err)
			}
			if err := w.spend(t, cleared); !errors.Is(err, store.ErrConflict) {
				t.Errorf("commit of what was cleared before: %v, want ErrConflict", err)
			}
			if _, err := w.CheckDelegation(t.Context(), d.ID, w.want()); !errors.Is(err, access.ErrDelegationOutOfBounds) {
				t.Errorf("afterwards: %v, want ErrDelegationOutOfBounds", err)
			}
		})
	}
	if _, err := w.WithdrawDelegation(t.Context(), nil, w.security, "none", "演示"); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("withdrawing what is not there: %v", err)
	}
	if _, err := w.WithdrawDelegation(t.Context(), nil, w.dept, "none", "演示"); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("withdrawing by a department: %v", err)
	}
}
