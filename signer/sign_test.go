package signer_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/signer"
)

// TestSignDigest: what leaves is a seal signature over exactly that digest by the registered key, and its record stands in the log.
func TestSignDigest(t *testing.T) {
	w := newWorld(t)
	r := w.digestRequest(t, "digest-1")
	rel := mustSign(t, w, r)
	if !bytes.Equal(rel.Document, rel.Signature) {
		t.Error("kind digest returns something else than the signature")
	}
	checkSignature(t, w, rel.Signature, r.Digest, "digest")
	rec := recordOf(t, w, rel)
	if !rec.Unseen || rec.Seal != sealName || rec.Request != r.ID || rec.Client != w.dept.Client || rec.Document != hex.EncodeToString(r.Digest[:]) {
		t.Errorf("record %+v", rec)
	}
	var ev access.Evidence
	if err := json.Unmarshal(rec.Consent, &ev); err != nil || ev.Approval == nil || ev.Approval.Nonce != r.Approval.Nonce {
		t.Errorf("record does not keep the approval whole: %s (%v)", rec.Consent, err)
	}
}

// checkSignature reads the released structure with package seal, which built none of what custody hashed, and verifies it.
func checkSignature(t *testing.T, w *world, der []byte, hash [32]byte, property string) {
	t.Helper()
	s, err := seal.ParseSignature(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VerifyValue(); err != nil {
		t.Errorf("signature value: %v", err)
	}
	if err := s.Seal.VerifySignature(); err != nil {
		t.Errorf("embedded seal: %v", err)
	}
	esl, err := w.reg.ESL(t.Context(), s.Seal.Info.ESID)
	if err != nil || !bytes.Equal(esl, s.Seal.Raw) {
		t.Errorf("embedded seal is not the registered one (%v)", err)
	}
	if !s.SignatoryListed() || s.DataHash != hash || s.PropertyInfo != property || !s.Time.Equal(w.clock.now()) || len(s.Notes) > 0 {
		t.Errorf("listed %v, hash %x, property %q, time %s, notes %v", s.SignatoryListed(), s.DataHash, s.PropertyInfo, s.Time, s.Notes)
	}
}

// recordOf reads the record back from the log and checks that it has the place and the leaf that were released.
func recordOf(t *testing.T, w *world, rel signer.Released) signer.Record {
	t.Helper()
	rs, err := w.st.Records(t.Context(), rel.Index, 1)
	if err != nil || len(rs) != 1 {
		t.Fatalf("record %d: %v", rel.Index, err)
	}
	e, err := audit.ParseBody(rs[0].Body)
	if err != nil || e.Kind != "signature" || e.Actor != w.dept.Audit() {
		t.Fatalf("record %d is %+v (%v)", rel.Index, e, err)
	}
	var rec signer.Record
	if err := json.Unmarshal(e.Detail.(json.RawMessage), &rec); err != nil {
		t.Fatal(err)
	}
	if leaf := gm.SM3([]byte{0}, rs[0].Raw); leaf != rel.Leaf {
		t.Errorf("leaf %x, released as %x", leaf, rel.Leaf)
	}
	if rs[0].Request == nil || rs[0].Request.ID != rec.Request {
		t.Errorf("record answers %+v", rs[0].Request)
	}
	return rec
}

// TestSignOFD: the sealed package holds the signature over its own Signature.xml, the seal beside it, and everything else unchanged.
func TestSignOFD(t *testing.T) {
	w := newWorld(t)
	r := w.ofdRequest(t, "ofd-1")
	rel := mustSign(t, w, r)
	files := unzip(t, rel.Document)
	if !bytes.Equal(files["Doc_0/Signs/Sign_0/SignedValue.dat"], rel.Signature) {
		t.Error("the package holds another signature than was released")
	}
	checkSignature(t, w, rel.Signature, gm.SM3(files["Doc_0/Signs/Sign_0/Signature.xml"]), "/Doc_0/Signs/Sign_0/Signature.xml")
	for name, data := range unzip(t, r.Document) {
		if name != "OFD.xml" && !bytes.Equal(files[name], data) {
			t.Errorf("%s was changed", name)
		}
	}
	rec := recordOf(t, w, rel)
	if rec.Unseen || rec.Provider == nil || rec.Provider.Company != "示例" || len(rec.Stamps) != 2 || rec.Stamps[1].X != 10.5 {
		t.Errorf("record %+v", rec)
	}
	again := w.ofdRequest(t, "ofd-2") // a second signature, by the legal representative, on the sealed package
	again.Seal, again.Document = sealRep, rel.Document
	again.Approval = w.approve(t, again, nil)
	second := mustSign(t, w, again)
	files = unzip(t, second.Document)
	checkSignature(t, w, second.Signature, gm.SM3(files["Doc_0/Signs/Sign_1/Signature.xml"]), "/Doc_0/Signs/Sign_1/Signature.xml")
	if !bytes.Equal(files["Doc_0/Signs/Sign_0/SignedValue.dat"], rel.Signature) {
		t.Error("the second signature touched the first")
	}
}

func unzip(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestSameRequestSameBytes: from the record alone, also after a restart, after other settings and after the seal was suspended; with
// another body it is refused.
func TestSameRequestSameBytes(t *testing.T) {
	for name, request := range map[string]func(*world, testing.TB, string) signer.Request{
		"digest": (*world).digestRequest, "ofd": (*world).ofdRequest,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := request(w, t, "request-1")
			first := mustSign(t, w, r)
			size, signs := w.recordsNow(), w.token.Stats().Signs
			w.clock.passes(3e9)
			w.cfg.Provider.Name = "Renamed"
			w.restart(t)
			w.suspend(t, sealName)
			second := mustSign(t, w, r)
			if !bytes.Equal(second.Document, first.Document) || !second.Duplicate || second.Index != first.Index || second.Leaf != first.Leaf {
				t.Error("the same request was answered with something else")
			}
			if w.recordsNow() != size+1 || w.token.Stats().Signs != signs { // the one record is the suspension's
				t.Errorf("%d records and %d signatures for a repeated request", w.recordsNow()-size-1, w.token.Stats().Signs-signs)
			}
			other := r
			other.BodyDigest[0]++
			_, err := w.Sign(t.Context(), w.dept, other)
			wantErr(t, err, store.ErrRequestReused)
		})
	}
}

// TestSameRequestAtOnce: of the same request asked many times at once, one signature is released and all get its bytes.
func TestSameRequestAtOnce(t *testing.T) {
	w := newWorld(t)
	r := w.digestRequest(t, "request-1")
	const callers = 8
	got := make(chan signer.Released, callers)
	for range callers {
		go func() {
			rel, err := w.Sign(t.Context(), w.dept, r)
			if err != nil {
				t.Error(err)
			}
			got <- rel
		}()
	}
	first := <-got
	for range callers - 1 {
		if rel := <-got; !bytes.Equal(rel.Document, first.Document) || rel.Index != first.Index {
			t.Error("two answers to one request")
		}
	}
	st := w.Stats()
	if st.Released != 1 || st.Signed != st.Released+st.Discarded {
		t.Errorf("%+v: want one released and the rest accounted for", st)
	}
}

// TestDelegatedUses: a delegation for two releases two, whoever asks at once.
func TestDelegatedUses(t *testing.T) {
	w := newWorld(t)
	w.delegate(t, "delegation-1", 2)
	errs := make(chan error)
	const callers = 6
	for i := range callers {
		r := w.delegated("request-" + string(rune('a'+i)))
		go func() {
			_, err := w.Sign(t.Context(), w.dept, r)
			errs <- err
		}()
	}
	released := 0
	for range callers {
		if err := <-errs; err == nil {
			released++
		} else {
			wantErr(t, err, access.ErrDelegationSpent)
		}
	}
	if n, err := w.st.Counter(t.Context(), "delegation/delegation-1"); released != 2 || n != 2 || err != nil {
		t.Errorf("%d released, %d spent (%v), want 2", released, n, err)
	}
}

// TestLaw02NothingLeavesWithoutItsRecord: without a durable record nothing is released, whatever the store says.
func TestLaw02NothingLeavesWithoutItsRecord(t *testing.T) {
	w := newWorld(t)
	for i, fail := range []error{store.ErrUnavailable, store.ErrUnknownOutcome, store.ErrClock, store.ErrReadOnly, store.ErrFenced} {
		before := w.Stats()
		r := w.digestRequest(t, "request-"+string(rune('a'+i)))
		w.hook.next(nil, fail)
		rel, err := w.Sign(t.Context(), w.dept, r)
		wantErr(t, err, fail)
		if rel.Document != nil || rel.Signature != nil || rel.Record.Signature != nil {
			t.Errorf("%v: something was released", fail)
		}
		if st := w.Stats(); st.Discarded != before.Discarded+1 || st.Released != before.Released || st.Signed != before.Signed+1 {
			t.Errorf("%v: counted %+v after %+v", fail, st, before)
		}
		if rel, err := w.Sign(t.Context(), w.dept, r); err != nil || rel.Duplicate {
			t.Errorf("%v: the request is still good, got %v", fail, err)
		}
	}
}

// TestLaw03SuspensionWins: a suspension that is durable before the releasing commit wins, and the caller is told so by name.
func TestLaw03SuspensionWins(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*world)
		want error
	}{
		{"seal suspended", func(w *world) { w.suspend(t, sealName) }, signer.ErrSealInactive},
		{"licence revoked", func(w *world) { w.event(t, licence.KindRevoked) }, signer.ErrLicenceInactive},
		{"grant withdrawn", func(w *world) {
			if _, err := w.acc.WithdrawGrant(t.Context(), nil, w.security, "grant-1", "演示"); err != nil {
				t.Error(err)
			}
		}, access.ErrNotEntitled},
		{"client disabled", func(w *world) {
			if _, err := w.acc.Disable(t.Context(), nil, w.security, w.dept.Client, "演示"); err != nil {
				t.Error(err)
			}
		}, access.ErrNotEntitled},
		{"another phone bound", func(w *world) {
			w.phone = w.maker
			w.bind(t)
		}, access.ErrApprovalAltered},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.digestRequest(t, "request-1")
			w.hook.next(func() { c.act(w) }, nil)
			rel, err := w.Sign(t.Context(), w.dept, r)
			wantErr(t, err, c.want)
			if rel.Document != nil {
				t.Error("a signature was released after the change was acknowledged")
			}
			if st := w.Stats(); st.Released != 0 || st.Discarded != 1 || st.Signed != 1 {
				t.Errorf("counted %+v", st)
			}
			if rs, err := w.st.Records(t.Context(), 0, 1000); err != nil || countSignatures(t, rs) != 0 {
				t.Errorf("the log says that a signature was released (%v)", err)
			}
		})
	}
}

func countSignatures(t *testing.T, rs []store.Record) (n int) {
	t.Helper()
	for _, r := range rs {
		e, err := audit.ParseBody(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "signature" {
			n++
		}
	}
	return n
}

// TestLaw03SuspensionUnderLoad: signatures and a suspension at once; no record of a signature stands behind the record of the suspension.
func TestLaw03SuspensionUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.delegate(t, "delegation-1", 1<<20)
	started, stopped := make(chan struct{}, 1024), make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { stopped <- struct{}{} }()
			for i := 0; ; i++ {
				r := w.delegated(fmt.Sprintf("request-%d-%d", g, i))
				if _, err := w.Sign(t.Context(), w.dept, r); err != nil {
					wantErr(t, err, signer.ErrSealInactive)
					return
				}
				started <- struct{}{}
			}
		}()
	}
	for range 20 { // let signatures flow
		<-started
	}
	w.suspend(t, sealName)
	for range 4 {
		<-stopped
	}
	rs, err := w.st.Records(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	suspended := false
	for _, r := range rs {
		e, err := audit.ParseBody(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if suspended && e.Kind == "signature" {
			t.Errorf("record %d is a signature behind the suspension", r.Index)
		}
		suspended = suspended || e.Kind == "seal-state" && bytes.Contains(r.Body, []byte(`"to":"suspended"`))
	}
	if !suspended {
		t.Error("the suspension is not in the log")
	}
}

// TestFind: a department finds its own signatures, the audit officer all of them.
func TestFind(t *testing.T) {
	w := newWorld(t)
	rel := mustSign(t, w, w.digestRequest(t, "request-1"))
	auditor := access.Actor{Client: access.ClientID([]byte(access.RoleAudit)), Role: access.RoleAudit}
	stranger := access.Actor{Client: access.ClientID([]byte("stranger")), Role: access.RoleDepartment}
	for _, c := range []struct {
		name  string
		actor access.Actor
		index uint64
		want  error
	}{
		{"its own", w.dept, rel.Index, nil}, {"audit officer", auditor, rel.Index, nil}, {"another department", stranger, rel.Index, signer.ErrUnknown},
		{"system officer", access.Actor{Role: access.RoleSystem}, rel.Index, signer.ErrUnknown},
		{"not a signature", w.dept, 0, signer.ErrUnknown}, {"beyond the end", w.dept, 1 << 40, signer.ErrUnknown},
	} {
		rec, _, err := w.Find(t.Context(), c.actor, c.index)
		wantErr(t, err, c.want)
		if c.want == nil && !bytes.Equal(rec.Signature, rel.Record.Signature) {
			t.Errorf("%s: another record", c.name)
		}
	}
}

// TestLaw11DigestIsNeverSignedAsSuch: what a client gives ends inside TBS_Sign; the key never signs it, nor anything else a client chose.
func TestLaw11DigestIsNeverSignedAsSuch(t *testing.T) {
	w := newWorld(t)
	r := w.digestRequest(t, "request-1")
	rel := mustSign(t, w, r)
	s, err := seal.ParseSignature(rel.Signature)
	if err != nil {
		t.Fatal(err)
	}
	user, err := s.Signatory()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := gm.DecodeSignature(s.Value)
	if err != nil {
		t.Fatal(err)
	}
	if user.Key.VerifyE(r.Digest, raw) == nil || user.Key.VerifyE(user.Key.E(r.Digest[:]), raw) == nil {
		t.Error("the client's digest was signed as it came")
	}
	if err := user.Key.VerifyE(user.Key.E(s.TBS), raw); err != nil {
		t.Errorf("TBS_Sign: %v", err)
	}
}

// TestNoSearchPerSignature: once a seal is warm, a signature is one call to the token and no search for objects in it.
func TestNoSearchPerSignature(t *testing.T) {
	w := newWorld(t)
	mustSign(t, w, w.digestRequest(t, "first"))
	before := w.token.Stats()
	const n = 10
	for i := range n {
		mustSign(t, w, w.digestRequest(t, fmt.Sprint("request-", i)))
	}
	if after := w.token.Stats(); after.FindObjects != before.FindObjects || after.Signs != before.Signs+n {
		t.Errorf("%d searches and %d signatures for %d requests", after.FindObjects-before.FindObjects, after.Signs-before.Signs, n)
	}
}
