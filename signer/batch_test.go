package signer_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
	"sealkeeper/signer"
)

// TestBatch: each request has its own fate and its own record, all of them one durable write; repeating the batch, or one of it alone,
// gives the same bytes.
func TestBatch(t *testing.T) {
	w := newWorld(t)
	w.delegate(t, "delegation-1", 1<<20)
	var rs []signer.Request
	for i := range 8 {
		rs = append(rs, w.delegated(fmt.Sprintf("item-%d", i)))
	}
	rs[1].Purpose = "另一用途"
	rs[3] = w.ofdRequest(t, "item-3")
	rs[4].Delegation = ""
	rs[6] = rs[5] // the same twice
	rs[7].ID, rs[7].Digest[0] = rs[0].ID, rs[7].Digest[0]+1
	rs[7].BodyDigest[0]++ // the id of another item for something else
	want := []error{nil, access.ErrNotEntitled, nil, nil, access.ErrApprovalMissing, nil, nil, store.ErrRequestReused}

	size, writes := w.recordsNow(), w.hook.writes
	first, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range first {
		// Which of two requests with one id comes first is chance; exactly one of them is answered.
		if i == 0 || i == 7 {
			continue
		}
		wantErr(t, o.Err, want[i])
		if (o.Released == nil) == (o.Err == nil) {
			t.Errorf("item %d: %+v", i, o)
		}
	}
	if (first[0].Err == nil) == (first[7].Err == nil) {
		t.Errorf("one id, two bodies: %v and %v", first[0].Err, first[7].Err)
	}
	if n := w.recordsNow() - size; n != 4 || w.hook.writes != writes+1 {
		t.Errorf("%d records in %d writes, want 4 in one", n, w.hook.writes-writes)
	}
	if !bytes.Equal(first[5].Released.Document, first[6].Released.Document) || first[5].Released.Index != first[6].Released.Index {
		t.Error("the same request twice in a batch has two answers")
	}
	for _, o := range first {
		if o.Released != nil {
			recordOf(t, w, *o.Released)
		}
	}
	checkAgain(t, w, rs, first)
}

// TestBatchOfKinds: digests and SignedData, stamped or not, by either key go out with one durable write of their own beside the stamps' records, and
// repeat byte for byte.
func TestBatchOfKinds(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	w.authority(t)
	rs := []signer.Request{w.digestRequest(t, "digest"), stamped(w.digestRequest(t, "stamped")), w.cmsRequest(t, "gm", signer.ProfileGM, []byte("x"), false),
		w.cmsRequest(t, "rfc", signer.ProfileRFC, []byte("x"), false), stamped(w.cmsRequest(t, "stamped-rfc", signer.ProfileRFC, []byte("x"), true))}
	writes := w.hook.writes
	first, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	if w.hook.writes != writes+1 {
		t.Errorf("%d writes of the signer, want one", w.hook.writes-writes)
	}
	for i, o := range first {
		if o.Err != nil || rs[i].Timestamp != (o.Released.Record.Timestamp != nil) {
			t.Fatalf("item %d: %+v", i, o)
		}
	}
	w.clock.passes(3e9)
	second, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rs {
		if second[i].Err != nil || !bytes.Equal(second[i].Released.Document, first[i].Released.Document) {
			t.Errorf("item %d: asked again it is something else (%v)", i, second[i].Err)
		}
	}
}

// checkAgain repeats a batch, and one of it alone.
func checkAgain(t *testing.T, w *world, rs []signer.Request, first []signer.Outcome) {
	t.Helper()
	size := w.recordsNow()
	second, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rs {
		if (first[i].Err == nil) != (second[i].Err == nil) || first[i].Err == nil && !bytes.Equal(first[i].Released.Document, second[i].Released.Document) {
			t.Errorf("item %d: %v, then %v", i, first[i].Err, second[i].Err)
		}
	}
	if alone := mustSign(t, w, rs[2]); !alone.Duplicate || !bytes.Equal(alone.Document, first[2].Released.Document) {
		t.Error("an item asked alone is answered with something else")
	}
	if w.recordsNow() != size {
		t.Error("repeating wrote records")
	}
	if st := w.Stats(); st.Signed != st.Released+st.Discarded || st.Released != 4 {
		t.Errorf("counted %+v", st)
	}
}

// TestBatchBounds: a delegation for three releases three of a batch, and the others are told so.
func TestBatchBounds(t *testing.T) {
	w := newWorld(t)
	w.delegate(t, "delegation-1", 3)
	var rs []signer.Request
	for i := range 10 {
		rs = append(rs, w.delegated(fmt.Sprintf("item-%d", i)))
	}
	out, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	released := 0
	for _, o := range out {
		if o.Err == nil {
			released++
		} else {
			wantErr(t, o.Err, access.ErrDelegationSpent)
		}
	}
	if released != 3 {
		t.Errorf("%d released of a delegation for 3", released)
	}
}

// TestBatchRace: a suspension between the checks and the write of a batch refuses every item of that seal, and no other.
func TestBatchRace(t *testing.T) {
	w := newWorld(t)
	rs := []signer.Request{w.digestRequest(t, "item-0"), w.ofdRequest(t, "item-1"), w.digestRequest(t, "item-2")}
	rs[1].Seal = sealRep
	rs[1].Approval = w.approve(t, rs[1], nil)
	w.hook.next(func() { w.suspend(t, sealName) }, nil)
	out, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{signer.ErrSealInactive, nil, signer.ErrSealInactive} {
		wantErr(t, out[i].Err, want)
	}
	if st := w.Stats(); st.Released != 1 || st.Discarded != 2 || st.Signed != 3 {
		t.Errorf("counted %+v", st)
	}
}

// TestBatchFailure: when the write fails nothing of the batch is released.
func TestBatchFailure(t *testing.T) {
	w := newWorld(t)
	rs := []signer.Request{w.digestRequest(t, "item-0"), w.digestRequest(t, "item-1")}
	w.hook.next(nil, store.ErrUnavailable)
	out, err := w.SignBatch(t.Context(), w.dept, rs)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		wantErr(t, o.Err, store.ErrUnavailable)
		if o.Released != nil {
			t.Error("something was released")
		}
	}
}

func TestBatchSize(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, signer.MaxBatch + 1} {
		_, err := w.SignBatch(t.Context(), w.dept, slices.Repeat([]signer.Request{{}}, n))
		wantErr(t, err, signer.ErrBatchSize)
	}
	out, err := w.SignBatch(t.Context(), w.dept, make([]signer.Request, signer.MaxBatch))
	if err != nil || len(out) != signer.MaxBatch {
		t.Fatalf("%d outcomes (%v)", len(out), err)
	}
	for _, o := range out {
		wantErr(t, o.Err, signer.ErrRequestForm)
	}
}
