package signer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/signer"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/placement"
)

const (
	sealFree   = "41030200000011" // in no grant
	sealOld    = "41030200000012" // certificate and seal are over
	sealFuture = "41030200000013" // not yet valid
	sealNobody = "41030299999999" // never made
)

// refusalRow is one way to be refused. The request is changed before the owner approves, the approval while the owner signs, and what is
// carried to the signer afterwards.
type refusalRow struct {
	name    string
	kind    string
	change  func(*signer.Request)
	approve func(*access.Approval)
	carry   func(*signer.Request)
	actor   *access.Actor
	want    error
}

// refusalRows needs what prepareRefusals made; used is a request that was answered.
func refusalRows(w *world, used signer.Request) []refusalRow {
	none := func(r *signer.Request) { r.Approval = nil }
	stranger := access.Actor{Client: access.ClientID([]byte("stranger")), Role: access.RoleDepartment}
	return []refusalRow{
		{name: "no request id", change: func(r *signer.Request) { r.ID = "" }, carry: none, want: signer.ErrRequestForm},
		{name: "request id not ASCII", change: func(r *signer.Request) { r.ID = "请求" }, want: signer.ErrRequestForm},
		{name: "unknown kind", change: func(r *signer.Request) { r.Kind = "fax" }, want: signer.ErrRequestForm},
		{name: "no seal", change: func(r *signer.Request) { r.Seal = "" }, carry: none, want: signer.ErrRequestForm},
		{name: "no purpose", change: func(r *signer.Request) { r.Purpose = "" }, carry: none, want: signer.ErrRequestForm},
		{name: "digest of zeros", change: func(r *signer.Request) { r.Digest = [32]byte{} }, want: signer.ErrRequestForm},
		{name: "digest with a document", change: func(r *signer.Request) { r.Document = []byte("x") }, want: signer.ErrRequestForm},
		{name: "ofd without stamps", kind: signer.KindOFD, change: func(r *signer.Request) { r.Plan = placement.Plan{} }, want: signer.ErrRequestForm},
		{name: "ofd with a digest", kind: signer.KindOFD, carry: func(r *signer.Request) { r.Digest[0] = 1 }, want: signer.ErrRequestForm},
		{name: "approval and delegation", carry: func(r *signer.Request) { r.Delegation = "delegation-1" }, want: signer.ErrRequestForm},

		{name: "operator", actor: &w.security, want: access.ErrNotEntitled},
		{name: "stranger", actor: &stranger, want: access.ErrNotEntitled},
		{name: "unknown seal", change: func(r *signer.Request) { r.Seal = sealNobody }, want: access.ErrNotEntitled},
		{name: "seal without a grant", change: func(r *signer.Request) { r.Seal = sealFree }, want: access.ErrNotEntitled},
		{name: "purpose without a grant", change: func(r *signer.Request) { r.Purpose = "另一用途" }, want: access.ErrNotEntitled},
		{name: "grant over", change: func(r *signer.Request) { r.Purpose = "过期用途" }, want: access.ErrGrantWindow},
		{name: "grant spent", change: func(r *signer.Request) { r.Purpose = "一次用途" }, want: access.ErrGrantSpent},
		{name: "digest not granted", change: func(r *signer.Request) { r.Purpose = "只签原文" }, want: access.ErrDigestOnly},
		{name: "digest with the legal representative's seal", change: func(r *signer.Request) { r.Seal = sealRep }, want: access.ErrDigestOnly},

		{name: "certificate over", change: func(r *signer.Request) { r.Seal = sealOld }, want: signer.ErrCertificate},
		{name: "certificate not yet valid", change: func(r *signer.Request) { r.Seal = sealFuture }, want: signer.ErrCertificate},

		{name: "approval missing", carry: none, want: access.ErrApprovalMissing},
		{name: "request id used before", carry: func(r *signer.Request) { r.ID, r.Approval = used.ID, used.Approval }, want: store.ErrRequestReused},
		{name: "approval used before", carry: func(r *signer.Request) { r.Digest, r.Approval = used.Digest, used.Approval }, want: access.ErrApprovalForeign},
		{name: "approval for another request", approve: func(a *access.Approval) { a.Request = "other" }, want: access.ErrApprovalForeign},
		{name: "approval for another seal", approve: func(a *access.Approval) { a.Seal = sealRep }, want: access.ErrApprovalForeign},
		{name: "approval for another client", approve: func(a *access.Approval) { a.Client = w.security.Client }, want: access.ErrApprovalForeign},
		{name: "approval for another digest", approve: func(a *access.Approval) { a.Document[0]++ }, want: access.ErrApprovalForeign},
		{name: "approval for another document", kind: signer.KindOFD, approve: func(a *access.Approval) { a.Document[0]++ }, want: access.ErrApprovalForeign},
		{name: "approval for other stamps", kind: signer.KindOFD, carry: func(r *signer.Request) { r.Plan.Stamps = r.Plan.Stamps[:1] }, want: access.ErrApprovalForeign},
		{name: "approval for another purpose", approve: func(a *access.Approval) { a.Purpose = "另一用途" }, want: access.ErrApprovalForeign},
		{name: "approval for two", approve: func(a *access.Approval) { a.Count = 2 }, want: access.ErrApprovalForm},
		{name: "approval altered", carry: func(r *signer.Request) { r.Approval.Expires = r.Approval.Expires.Add(time.Second) }, want: access.ErrApprovalAltered},
		{name: "approval expired", approve: func(a *access.Approval) { a.Expires = a.Expires.Add(-time.Hour) }, want: access.ErrApprovalExpired},
		{name: "approval not in form", carry: func(r *signer.Request) { r.Approval.Nonce = "00" }, want: access.ErrApprovalForm},
		{name: "unknown delegation", carry: func(r *signer.Request) { r.Approval, r.Delegation = nil, "none" }, want: access.ErrDelegationOutOfBounds},
		{name: "delegation for another purpose", kind: signer.KindOFD, change: func(r *signer.Request) { r.Purpose = "只签原文" },
			carry: func(r *signer.Request) { r.Approval, r.Delegation = nil, "delegation-1" }, want: access.ErrDelegationOutOfBounds},
		{name: "delegation spent", carry: func(r *signer.Request) { r.Approval, r.Delegation = nil, "delegation-spent" }, want: access.ErrDelegationSpent},
		{name: "delegation for the legal representative's seal", kind: signer.KindOFD, change: func(r *signer.Request) { r.Seal = sealRep },
			carry: func(r *signer.Request) { r.Approval, r.Delegation = nil, "delegation-1" }, want: access.ErrDelegationOutOfBounds},

		{name: "not an OFD", kind: signer.KindOFD, change: func(r *signer.Request) { r.Document = []byte("not a package") }, want: ofd.ErrNotZip},
		{name: "stamp beyond the last page", kind: signer.KindOFD, change: func(r *signer.Request) { r.Plan.Stamps = []placement.Stamp{{Page: 9, X: 1, Y: 1, W: 1, H: 1}} },
			want: ofd.ErrPage},
	}
}

// prepareRefusals makes seals, grants and delegations that refuse for one reason each.
func prepareRefusals(t *testing.T, w *world) (used signer.Request) {
	t.Helper()
	w.makeSeal(t, sealOld, "02", w.clock.now().Add(-2*time.Hour), w.clock.now().Add(-time.Hour))
	w.makeSeal(t, sealFuture, "03", w.clock.now().Add(time.Hour), w.clock.now().Add(2*time.Hour))
	w.makeSeal(t, sealFree, "02", w.clock.now().Add(-time.Hour), w.clock.now().Add(time.Hour))
	w.delegate(t, "delegation-1", 1)
	w.delegate(t, "delegation-spent", 1)
	spent := w.delegated("spends-it")
	spent.Delegation = "delegation-spent"
	mustSign(t, w, spent)
	used = w.digestRequest(t, "used")
	mustSign(t, w, used)
	w.grant(t, "grant-more", func(g *access.Grant) { g.Seals = []string{sealOld, sealFuture, sealNobody} })
	w.grant(t, "grant-seen", func(g *access.Grant) {
		g.Seals, g.Purposes, g.DigestOnly = []string{sealName}, []string{"只签原文"}, false
	})
	w.grant(t, "grant-over", func(g *access.Grant) {
		g.Purposes, g.NotBefore, g.Expires = []string{"过期用途"}, w.clock.now().AddDate(-2, 0, 0), w.clock.now().AddDate(-1, 0, 0)
	})
	w.grant(t, "grant-one", func(g *access.Grant) { g.Purposes, g.Count = []string{"一次用途"}, 1 })
	once := w.digestRequest(t, "uses-the-grant")
	once.Purpose = "一次用途"
	once.Approval = w.approve(t, once, nil)
	mustSign(t, w, once)
	return used
}

// TestRefusals: every way to be refused has its name, signs nothing, spends nothing, and is on record.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range refusalRows(w, prepareRefusals(t, w)) {
		t.Run(c.name, func(t *testing.T) { refusedBy(t, w, c) })
	}
	if n, err := w.st.Counter(t.Context(), "delegation/delegation-1"); n != 0 || err != nil {
		t.Errorf("refused uses spent %d of the delegation (%v)", n, err)
	}
}

func refusedBy(t *testing.T, w *world, c refusalRow) {
	r := w.digestRequest(t, "request-"+c.name)
	if c.kind == signer.KindOFD {
		r = w.ofdRequest(t, "request-"+c.name)
	}
	if c.change != nil {
		c.change(&r)
	}
	if r.Seal != "" && r.Purpose != "" && r.ID != "" { // else there is nothing that an owner could approve
		r.Approval = w.approve(t, r, c.approve)
	}
	if c.carry != nil {
		c.carry(&r)
	}
	actor := w.dept
	if c.actor != nil {
		actor = *c.actor
	}
	records, signs, noted := w.recordsNow(), w.token.Stats().Signs, len(w.refusals())
	rel, err := w.Sign(t.Context(), actor, r)
	wantErr(t, err, c.want)
	if rel.Document != nil || w.recordsNow() != records || w.token.Stats().Signs != signs {
		t.Errorf("refused, and yet %d records and %d signatures were made", w.recordsNow()-records, w.token.Stats().Signs-signs)
	}
	if all := w.refusals(); len(all) != noted+1 || all[noted].Actor.ID != actor.Client || all[noted].Kind != "refusal" {
		t.Errorf("%d refusals recorded, want one", len(all)-noted)
	}
}

// TestReplayedApproval: the same request id and approval, after the store has forgotten the request, is stopped by the nonce.
func TestReplayedApproval(t *testing.T) {
	w := newWorld(t)
	r := w.digestRequest(t, "request-1")
	mustSign(t, w, r)
	forgetful := w.cfg
	forgetful.Store = forgets{w.st}
	s, err := signer.New(forgetful)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Sign(t.Context(), w.dept, r)
	wantErr(t, err, access.ErrApprovalReplayed)
}

// forgets is the store after a request's time to live.
type forgets struct{ store.Store }

func (forgets) Lookup(context.Context, store.Request) (store.Receipt, error) {
	return store.Receipt{}, store.ErrNotFound
}

// TestLaw03Order: with everything wrong at once the earliest question answers; each repair uncovers the next, and whoever is not
// entitled hears the same as about a seal that does not exist.
func TestLaw03Order(t *testing.T) {
	w := newWorld(t)
	w.makeSeal(t, sealFuture, "01", w.clock.now().Add(time.Hour), w.clock.now().AddDate(1, 0, 0))
	w.suspend(t, sealFuture)
	w.event(t, licence.KindRevoked)
	r := w.ofdRequest(t, "request-1")
	r.Seal, r.Approval, r.Document = sealFuture, nil, []byte("not a package")
	try := func(step string, want error) {
		t.Helper()
		signs := w.token.Stats().Signs
		if _, err := w.Sign(t.Context(), w.dept, r); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", step, err, want)
		}
		if w.token.Stats().Signs != signs {
			t.Errorf("%s: the key was used", step)
		}
	}
	try("nothing repaired", access.ErrNotEntitled)
	_, known := w.Sign(t.Context(), w.dept, r)
	unknown := r
	unknown.Seal = sealNobody
	_, nobody := w.Sign(t.Context(), w.dept, unknown)
	if known.Error() != nobody.Error() {
		t.Errorf("an unentitled caller tells a suspended seal from none: %q and %q", known, nobody)
	}
	w.grant(t, "grant-2", func(g *access.Grant) { g.Seals = []string{sealFuture} })
	try("entitled", signer.ErrLicenceInactive)
	w.event(t, licence.KindRestored)
	try("licence restored", signer.ErrSealInactive)
	w.change(t, sealFuture, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Lift(v, register.Change{Actor: w.security.Audit(), Reason: register.ReasonMisuse, Time: w.clock.now()})
		return d, err
	})
	try("seal resumed", signer.ErrCertificate)
	w.clock.passes(2 * time.Hour)
	try("certificate valid", access.ErrApprovalMissing)
	r.Approval = w.approve(t, r, nil)
	try("approved", ofd.ErrNotZip)
	r.Document = document(t)
	try("another document", access.ErrApprovalForeign)
	r.Approval = w.approve(t, r, nil)
	mustSign(t, w, r)
}

// TestSealStates: only an active seal signs.
func TestSealStates(t *testing.T) {
	w := newWorld(t)
	for _, to := range []register.State{register.Suspended, register.Cancelled} {
		esid := map[register.State]string{register.Suspended: "41030200000021", register.Cancelled: "41030200000022"}[to]
		w.makeSeal(t, esid, "02", w.clock.now().Add(-time.Hour), w.clock.now().AddDate(1, 0, 0))
		w.grant(t, "grant-"+esid, func(g *access.Grant) { g.Seals = []string{esid} })
		w.change(t, esid, func(s register.Seal, v store.Version) (register.Draft, error) {
			c := register.Change{Actor: w.security.Audit(), Reason: register.ReasonOwnerRequest, Time: w.clock.now()}
			if to == register.Suspended {
				_, d, err := s.Suspend(v, c)
				return d, err
			}
			_, d, err := s.End(to, v, c)
			return d, err
		})
		r := w.digestRequest(t, "request-"+esid)
		r.Seal = esid
		r.Approval = w.approve(t, r, nil)
		_, err := w.Sign(t.Context(), w.dept, r)
		wantErr(t, err, signer.ErrSealInactive)
	}
}

// TestLicenceStates: what the licence's status allows decides, before the seal is asked.
func TestLicenceStates(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		kind licence.Kind
		want error
	}{
		{licence.KindDormant, nil}, {licence.KindRevoked, signer.ErrLicenceInactive}, {licence.KindCancelled, signer.ErrLicenceInactive},
	} {
		w.event(t, c.kind)
		_, err := w.Sign(t.Context(), w.dept, w.digestRequest(t, "request-"+string(rune('a'+i))))
		wantErr(t, err, c.want)
	}
}

// TestMismatchedMaterial: a register whose parts do not belong together signs nothing.
func TestMismatchedMaterial(t *testing.T) {
	w := newWorld(t)
	const esid = "41030200000041"
	other, err := w.reg.Certificate(t.Context(), sealName)
	if err != nil {
		t.Fatal(err)
	}
	was, _, err := w.reg.Seal(t.Context(), sealRep)
	if err != nil {
		t.Fatal(err)
	}
	// The seal lists the first seal's certificate, but the key is the second seal's.
	n := register.NewSeal{ESL: w.esl(t, esid, other, was.NotBefore, was.NotAfter), Certificate: other, Filing: "filing",
		Seal: register.Seal{ESID: esid, USCC: uscc, Type: "01", Key: was.Key, NotBefore: was.NotBefore, NotAfter: was.NotAfter, MadeAt: w.clock.now()}}
	_, d, err := n.Enter()
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, d.Mutation(nil))
	w.change(t, esid, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Activate(v, w.collected())
		return d, err
	})
	w.grant(t, "grant-2", func(g *access.Grant) { g.Seals = []string{esid} })
	r := w.digestRequest(t, "request-1")
	r.Seal = esid
	r.Approval = w.approve(t, r, nil)
	signs := w.token.Stats().Signs
	_, err = w.Sign(t.Context(), w.dept, r)
	wantErr(t, err, signer.ErrCertificate)
	if w.token.Stats().Signs != signs {
		t.Error("the key was used")
	}
}
