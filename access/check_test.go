package access_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
)

// TestApprovalRefusals: each way in which an approval can fail to cover exactly this has its name.
func TestApprovalRefusals(t *testing.T) {
	w := newWorld(t)
	other := gm.SM3([]byte("other"))
	for _, c := range []struct {
		name   string
		sign   func(*access.Approval)       // before the owner signs
		carry  func(*access.SignedApproval) // on the way
		want   func(*access.Want)           // what is asked for
		phone  *device
		refuse error
	}{
		{name: "exactly this"},
		{name: "another request", want: func(u *access.Want) { u.Request = "request-2" }, refuse: access.ErrApprovalForeign},
		{name: "another seal", want: func(u *access.Want) { u.Seal, u.SealType = sealRep, "05" }, refuse: access.ErrApprovalForeign},
		{name: "another enterprise's seal", want: func(u *access.Want) { u.Seal, u.USCC = sealB, ownerB }, refuse: access.ErrApprovalForeign},
		{name: "another client", want: func(u *access.Want) { u.Client = access.ClientID([]byte("x")) }, refuse: access.ErrApprovalForeign},
		{name: "another document", want: func(u *access.Want) { u.Document = other }, refuse: access.ErrApprovalForeign},
		{name: "another placement", want: func(u *access.Want) { u.Placement = other }, refuse: access.ErrApprovalForeign},
		{name: "another purpose", want: func(u *access.Want) { u.Purpose = "另一用途" }, refuse: access.ErrApprovalForeign},
		{name: "another owner's phone", phone: &w.phoneB, refuse: access.ErrApprovalForeign},
		{name: "another phone that hides", phone: &w.phoneB, carry: func(s *access.SignedApproval) { s.Device = "" }, refuse: access.ErrApprovalForeign},
		{name: "document altered on the way", carry: func(s *access.SignedApproval) { s.Document = hexOf(other) },
			want: func(u *access.Want) { u.Document = other }, refuse: access.ErrApprovalAltered},
		{name: "placement altered", carry: func(s *access.SignedApproval) { s.Placement = hexOf(other) },
			want: func(u *access.Want) { u.Placement = other }, refuse: access.ErrApprovalAltered},
		{name: "purpose altered", carry: func(s *access.SignedApproval) { s.Purpose = "另一用途" },
			want: func(u *access.Want) { u.Purpose = "另一用途" }, refuse: access.ErrApprovalAltered},
		{name: "request altered", carry: func(s *access.SignedApproval) { s.Request = "request-2" },
			want: func(u *access.Want) { u.Request = "request-2" }, refuse: access.ErrApprovalAltered},
		{name: "expiry altered", carry: func(s *access.SignedApproval) { s.Expires = s.Expires.Add(time.Hour) }, refuse: access.ErrApprovalAltered},
		{name: "nonce altered", carry: func(s *access.SignedApproval) { s.Nonce = hexOf(other)[:32] }, refuse: access.ErrApprovalAltered},
		{name: "count altered", carry: func(s *access.SignedApproval) { s.Count = 2 }, refuse: access.ErrApprovalAltered},
		{name: "signature altered", carry: func(s *access.SignedApproval) {
			s.Signature = bytes.Clone(s.Signature)
			s.Signature[len(s.Signature)-1] ^= 1
		}, refuse: access.ErrApprovalAltered},
		{name: "no signature", carry: func(s *access.SignedApproval) { s.Signature = nil }, refuse: access.ErrApprovalAltered},
		{name: "expired", sign: func(a *access.Approval) { a.Expires = start.Add(-time.Second) }, refuse: access.ErrApprovalExpired},
		{name: "for ever", sign: func(a *access.Approval) { a.Expires = start.AddDate(1, 0, 0) }, refuse: access.ErrApprovalForm},
		{name: "for two signatures", sign: func(a *access.Approval) { a.Count = 2 }, refuse: access.ErrApprovalForm},
		{name: "unknown algorithm", carry: func(s *access.SignedApproval) { s.Alg = "rsa" }, refuse: access.ErrApprovalForeign},
		{name: "no device bound", want: func(u *access.Want) { u.USCC = ownerC }, refuse: access.ErrNoDevice},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, phone := w.approval(w.want()), w.phoneA
			if c.sign != nil {
				c.sign(&a)
			}
			if c.phone != nil {
				phone = *c.phone
			}
			s := phone.approve(t, a)
			if c.carry != nil {
				c.carry(&s)
			}
			u := w.want()
			if c.want != nil {
				c.want(&u)
			}
			cleared, err := w.CheckApproval(t.Context(), s, u)
			if !errors.Is(err, c.refuse) {
				t.Fatalf("got %v, want %v", err, c.refuse)
			}
			if err != nil && (cleared.Spend != nil || cleared.Evidence != nil) {
				t.Errorf("refused and yet cleared: %+v", cleared)
			}
		})
	}
}

// TestApprovalIsSpentOnce: the nonce goes with the releasing commit, also after a restart, and of two uses that were both cleared only
// one commits.
func TestApprovalIsSpentOnce(t *testing.T) {
	w := newWorld(t)
	s := w.phoneA.approve(t, w.approval(w.want()))
	first, err := w.CheckApproval(t.Context(), s, w.want())
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.CheckApproval(t.Context(), s, w.want())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.spend(t, first); err != nil {
		t.Fatal(err)
	}
	if err := w.spend(t, second); !errors.Is(err, store.ErrLimit) {
		t.Errorf("second commit with one nonce: %v, want ErrLimit", err)
	}
	if _, err := w.CheckApproval(t.Context(), s, w.want()); !errors.Is(err, access.ErrApprovalReplayed) {
		t.Errorf("replayed approval: %v, want ErrApprovalReplayed", err)
	}
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	if _, err := w.CheckApproval(t.Context(), s, w.want()); !errors.Is(err, access.ErrApprovalReplayed) {
		t.Errorf("replayed after a restart: %v, want ErrApprovalReplayed", err)
	}
}

// TestApprovalEvidence: what the record keeps is enough to check the consent again without this service.
func TestApprovalEvidence(t *testing.T) {
	w := newWorld(t)
	w.bind(t, ownerA, w.phoneB) // the other algorithm
	c, err := w.CheckApproval(t.Context(), w.phoneB.approve(t, w.approval(w.want())), w.want())
	if err != nil {
		t.Fatal(err)
	}
	var ev access.Evidence
	if err := json.Unmarshal(c.Evidence, &ev); err != nil {
		t.Fatal(err)
	}
	a, err := ev.Approval.Approval()
	if err != nil {
		t.Fatal(err)
	}
	msg, err := a.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if err := access.VerifyDevice(ev.Approval.Alg, ev.DeviceKey, msg, ev.Approval.Signature); err != nil {
		t.Errorf("kept approval: %v", err)
	}
}

// TestRebindingRaces: a device bound between check and commit takes the approval's ground away.
func TestRebindingRaces(t *testing.T) {
	w := newWorld(t)
	c, err := w.CheckApproval(t.Context(), w.phoneA.approve(t, w.approval(w.want())), w.want())
	if err != nil {
		t.Fatal(err)
	}
	w.bind(t, ownerA, w.phoneB)
	if err := w.spend(t, c); !errors.Is(err, store.ErrConflict) {
		t.Errorf("commit after another device was bound: %v, want ErrConflict", err)
	}
}

func TestSpendError(t *testing.T) {
	for counter, want := range map[string]error{
		"nonce/00": access.ErrApprovalReplayed, "grant/g": access.ErrGrantSpent, "delegation/d": access.ErrDelegationSpent, "quota/x": store.ErrLimit,
	} {
		if err := access.SpendError(counter); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", counter, err, want)
		}
	}
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
