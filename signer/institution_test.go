package signer_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
)

const (
	sealOwn   = "41030000000031" // an institution's
	authority = "11410300YYY000011T"
)

// institution makes the institution's own seal, and a grant on it for the department.
func (w *world) institution(t testing.TB) {
	t.Helper()
	w.enter(t, register.Seal{ESID: sealOwn, USCC: authority, Enterprise: "示例登记机关", Type: "01", Name: "示例登记机关", Institutional: true},
		w.clock.now().Add(-time.Hour), w.clock.now().AddDate(3, 0, 0))
	w.grant(t, "grant-own", func(g *access.Grant) { g.Seals = []string{sealOwn} })
}

// stand registers a standing delegation as the ceremony's commit would.
func (w *world) stand(t testing.TB, id string, change func(*access.Standing)) {
	t.Helper()
	d := access.Standing{ID: id, Seal: sealOwn, Client: w.dept.Client, Purposes: []string{purpose}, Kinds: []string{"digest", "ofd"},
		NotBefore: w.clock.now().Add(-time.Hour), Expires: w.clock.now().AddDate(1, 0, 0), Count: 100, Ceremony: "ceremony/x/1"}
	if change != nil {
		change(&d)
	}
	_, ch, err := w.acc.Stand(t.Context(), w.security.Audit(), d)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, ch.Mutation(nil))
}

func (w *world) revoke(t testing.TB, id string) {
	t.Helper()
	_, ch, err := w.acc.Revoke(t.Context(), w.security.Audit(), id, "ceremony/y/1")
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, ch.Mutation(nil))
}

// own is a request for a signature over a digest with the institution's seal.
func (w *world) own(id, delegation string) signer.Request {
	return signer.Request{ID: id, Kind: signer.KindDigest, Seal: sealOwn, Digest: gm.SM3([]byte("document of " + id)), Purpose: purpose,
		BodyDigest: gm.SM3([]byte("body of " + id)), Delegation: delegation}
}

// TestInstitutional: without a standing delegation that covers exactly this, an institution's seal signs nothing, and the answer says what is missing.
func TestInstitutional(t *testing.T) {
	w := newWorld(t)
	w.institution(t)
	w.stand(t, "good", nil)
	w.stand(t, "once", func(d *access.Standing) { d.Count = 1 })
	w.stand(t, "other purpose", func(d *access.Standing) { d.Purposes = []string{"另一用途"} })
	w.stand(t, "other kind", func(d *access.Standing) { d.Kinds = []string{"ofd"} })
	w.stand(t, "appliance", func(d *access.Standing) { d.Client, d.Kinds = access.ApplianceClient, []string{"ofd"} })
	w.stand(t, "later", func(d *access.Standing) { d.NotBefore = w.clock.now().Add(time.Hour) })
	w.stand(t, "short", func(d *access.Standing) { d.Expires = w.clock.now().Add(time.Minute) })
	w.stand(t, "ended", nil)
	w.revoke(t, "ended")
	rel := mustSign(t, w, w.own("request-once-1", "once"))
	if !strings.Contains(string(rel.Record.Consent), `"standing":"once"`) || rel.Record.USCC != authority || rel.Record.Licence != 0 {
		t.Errorf("record %+v", rel.Record)
	}
	w.clock.passes(2 * time.Minute)
	for n, c := range []struct {
		delegation string
		change     func(*signer.Request)
		want       error
	}{
		{"", nil, signer.ErrInstitutional},
		{"unknown", nil, signer.ErrInstitutional},
		{"appliance", nil, signer.ErrInstitutional},
		{"", func(r *signer.Request) { r.Approval = w.approve(t, *r, nil) }, signer.ErrInstitutional},
		{"once", nil, access.ErrDelegationSpent},
		{"other purpose", nil, access.ErrDelegationOutOfBounds},
		{"other kind", nil, access.ErrDelegationOutOfBounds},
		{"later", nil, access.ErrDelegationOutOfBounds},
		{"short", nil, access.ErrDelegationOutOfBounds},
		{"ended", nil, access.ErrDelegationOutOfBounds},
		{"good", func(r *signer.Request) { r.Seal = sealName }, access.ErrDelegationOutOfBounds}, // not a licence's or an owner's substitute elsewhere
		{"good", func(r *signer.Request) { r.Purpose = "另一用途" }, access.ErrNotEntitled},          // the grant comes first
		{"good", nil, nil},
	} {
		r := w.own("request-"+string(rune('a'+n)), c.delegation)
		if c.change != nil {
			c.change(&r)
		}
		before := w.recordsNow()
		_, err := w.Sign(t.Context(), w.dept, r)
		wantErr(t, err, c.want)
		if c.want != nil && w.recordsNow() != before {
			t.Errorf("delegation %q: a refusal wrote a record", c.delegation)
		}
	}
	if got := len(w.refusals()); got < 10 {
		t.Errorf("%d refusals on record", got)
	}
	w.suspend(t, sealOwn)
	_, err := w.Sign(t.Context(), w.dept, w.own("request-z", "good"))
	wantErr(t, err, signer.ErrSealInactive)
}

// TestInstitutionalInFlight: a revocation acknowledged while a signature is being made wins over it, and the last use is not had twice.
func TestInstitutionalInFlight(t *testing.T) {
	w := newWorld(t)
	w.institution(t)
	w.stand(t, "good", nil)
	w.stand(t, "once", func(d *access.Standing) { d.Count = 1 })
	before := w.Stats()
	w.hook.next(func() { w.revoke(t, "good") }, nil)
	_, err := w.Sign(t.Context(), w.dept, w.own("request-1", "good"))
	wantErr(t, err, access.ErrDelegationOutOfBounds)
	w.hook.next(func() { mustSign(t, w, w.own("request-2", "once")) }, nil)
	_, err = w.Sign(t.Context(), w.dept, w.own("request-3", "once"))
	wantErr(t, err, access.ErrDelegationSpent)
	if s := w.Stats(); s.Signed-before.Signed != 3 || s.Released-before.Released != 1 || s.Discarded-before.Discarded != 2 {
		t.Errorf("signed, released, discarded: %+v", s)
	}
}

// TestApplianceSigns: the appliance seals an OFD package of its own, is answered the same way again, and a department cannot stand in its place.
func TestApplianceSigns(t *testing.T) {
	w := newWorld(t)
	w.institution(t)
	w.stand(t, "appliance", func(d *access.Standing) { d.Client, d.Kinds = access.ApplianceClient, []string{"ofd"} })
	r := signer.Request{ID: "paper/1", Kind: signer.KindOFD, Seal: sealOwn, Document: document(t), Plan: placement.Plan{Stamps: stamps}, Purpose: purpose,
		BodyDigest: gm.SM3([]byte("body")), Delegation: "appliance"}
	rel, err := w.Sign(t.Context(), access.ApplianceActor, r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Sign(t.Context(), access.ApplianceActor, r)
	if err != nil || !again.Duplicate || !bytes.Equal(again.Document, rel.Document) {
		t.Errorf("again: duplicate %v, %v", again.Duplicate, err)
	}
	r.ID, r.Delegation = "paper/2", ""
	_, err = w.Sign(t.Context(), access.ApplianceActor, r)
	wantErr(t, err, access.ErrNotEntitled)
	r.Seal = sealName
	_, err = w.Sign(t.Context(), access.ApplianceActor, r)
	wantErr(t, err, access.ErrNotEntitled)
	_, err = w.Sign(t.Context(), w.dept, w.own("request-1", "appliance"))
	wantErr(t, err, signer.ErrInstitutional)
	recs, err := w.st.Records(t.Context(), rel.Index, 1)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := audit.ParseBody(recs[0].Body)
	if raw, _ := json.Marshal(ev.Actor); err != nil || !strings.Contains(string(raw), `"appliance"`) {
		t.Errorf("on record as %s, %v", raw, err)
	}
}
