package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/keystore/store/conformance"
)

func TestCheckpointAndProofs(t *testing.T) {
	w := newWorld(t).found()
	w.add(300)
	older := w.log.Checkpoint()
	for _, index := range []uint64{300, 256, 255, 1, 0} {
		p, err := w.log.Inclusion(t.Context(), index, 0)
		w.must(err)
		rs, err := w.st.Records(t.Context(), index, 1)
		w.must(err)
		encoded, err := json.Marshal(p)
		w.must(err)
		var back audit.Proof
		w.must(json.Unmarshal(encoded, &back))
		c, err := audit.VerifyInclusion(w.public(), back, rs[0].Raw)
		w.must(err)
		if c.Size != 301 || c.Origin != audit.Origin(w.st.State()) || !strings.HasSuffix(c.Origin, "/sm3") {
			t.Fatalf("checkpoint %+v", c)
		}
		if _, err := audit.VerifyInclusion(w.public(), back, append(rs[0].Raw, 0)); !errors.Is(err, audit.ErrProof) {
			t.Fatalf("another record: %v", err)
		}
		if _, err := audit.VerifyInclusion(newKey(t).Public(), back, rs[0].Raw); !errors.Is(err, audit.ErrCheckpoint) {
			t.Fatalf("another key: %v", err)
		}
		back.Index ^= 1
		if _, err := audit.VerifyInclusion(w.public(), back, rs[0].Raw); !errors.Is(err, audit.ErrProof) {
			t.Fatalf("another index: %v", err)
		}
	}
	cons, err := w.log.Consistency(t.Context(), 1, 0)
	w.must(err)
	w.must(audit.VerifyConsistency(w.public(), older, []byte(cons.Checkpoint), cons.Hashes))
	cons.Hashes[0][0] ^= 1
	if err := audit.VerifyConsistency(w.public(), older, []byte(cons.Checkpoint), cons.Hashes); !errors.Is(err, audit.ErrProof) {
		t.Fatalf("altered consistency proof: %v", err)
	}
	for name, ask := range map[string][2]uint64{"index behind the end": {301, 0}, "size behind the end": {0, 302}, "index behind the size": {5, 5}} {
		if _, err := w.log.Inclusion(t.Context(), ask[0], ask[1]); !errors.Is(err, audit.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.log.Consistency(t.Context(), 1, 302); !errors.Is(err, audit.ErrProof) {
		t.Errorf("consistency behind the end: %v", err)
	}
}

func TestCheckpointForm(t *testing.T) {
	w := newWorld(t).found()
	good := string(w.log.Checkpoint())
	if _, err := audit.OpenCheckpoint([]byte(good), w.public()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{
		"empty":        "",
		"no signature": good[:strings.Index(good, "\n\n")+1],
		"other size":   strings.Replace(good, "\n1\n", "\n2\n", 1),
		"other origin": "x" + good,
		"more lines":   strings.Replace(good, "\n\n", "\nextension\n\n", 1),
		"cut off":      good[:len(good)-5],
	} {
		if _, err := audit.OpenCheckpoint([]byte(b), w.public()); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRollback is law 12: a store put back to an earlier state starts read-only until two different operators take it over.
func TestRollback(t *testing.T) {
	w := newWorld(t).found()
	w.add(10)
	w.close()
	copyFile(t, w.path, w.path+".old")
	w.reopen()
	w.add(10)
	w.close()
	copyFile(t, w.path+".old", w.path)

	w.reopen()
	if w.log.Recovering() == "" || !errors.Is(w.log.Health(), audit.ErrRecovering) {
		t.Fatalf("recovering %q, health %v", w.log.Recovering(), w.log.Health())
	}
	if _, err := w.st.Commit(t.Context(), store.Mutation{Audit: [][]byte{w.body("x")}}); !errors.Is(err, store.ErrReadOnly) {
		t.Fatalf("commit while recovering: %v", err)
	}
	if _, err := w.log.Sign(t.Context()); !errors.Is(err, audit.ErrRecovering) {
		t.Fatalf("checkpoint while recovering: %v", err)
	}
	if rs, err := w.st.Records(t.Context(), 0, 100); err != nil || len(rs) != 11 {
		t.Fatalf("reads must go on: %d records, %v", len(rs), err)
	}
	w.close() // closing must not make the store look right
	w.reopen()
	for name, pair := range map[string][2]audit.Actor{"same person": {alice, alice}, "same person in two roles": {alice, {Role: "operator-audit", ID: alice.ID}},
		"no operator": {alice, audit.Appliance("x")}, "nobody": {alice, {}}} {
		if err := w.log.Resynchronise(t.Context(), pair[0], pair[1]); !errors.Is(err, audit.ErrTwoOperators) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.log.Recovering() == "" {
		t.Fatal("refused operators ended recovering")
	}
	w.must(w.log.Resynchronise(t.Context(), alice, bob))
	w.add(1)
	rs, err := w.st.Records(t.Context(), 11, 2)
	w.must(err)
	e, err := audit.ParseBody(rs[0].Body)
	w.must(err)
	if e.Kind != audit.KindResynchronised || e.Actor != alice || !bytes.Contains(rs[0].Body, []byte(bob.ID)) {
		t.Fatalf("first new record %s", rs[0].Body)
	}
	w.close()
	w.reopen()
	if r := w.log.Recovering(); r != "" {
		t.Fatalf("recovering again: %s", r)
	}
}

// TestAnchors: what an anchor may say, and what follows.
func TestAnchors(t *testing.T) {
	other := newWorld(t).found()
	other.add(3)
	other.close()
	cases := map[string]struct {
		change func(w *world) error
		want   string // part of the reason; "" for none
	}{
		"untouched": {func(*world) error { return nil }, ""},
		"missing":   {func(w *world) error { return os.Remove(w.anchor.Path) }, "no anchor"},
		"forged": {func(w *world) error {
			b, err := os.ReadFile(w.anchor.Path)
			return errors.Join(err, os.WriteFile(w.anchor.Path, bytes.Replace(b, []byte("\n6\n"), []byte("\n1\n"), 1), 0o600))
		}, "not good"},
		"signed by another key": {func(w *world) error {
			b, err := os.ReadFile(other.anchor.Path)
			return errors.Join(err, os.WriteFile(w.anchor.Path, b, 0o600))
		}, "not good"},
		"empty": {func(w *world) error { return os.WriteFile(w.anchor.Path, nil, 0o600) }, "not good"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).found()
			w.add(5)
			w.close()
			w.must(c.change(w))
			w.reopen()
			if r := w.log.Recovering(); (r == "") != (c.want == "") || !strings.Contains(r, c.want) {
				t.Fatalf("recovering %q, want %q", r, c.want)
			}
			if c.want != "" {
				w.must(w.log.Resynchronise(t.Context(), alice, bob))
				w.add(1)
			}
		})
	}
}

// TestChangeOfKeys: under a new audit key, the anchor of the former one still counts, if it is named.
func TestChangeOfKeys(t *testing.T) {
	w := newWorld(t).found()
	w.add(3)
	w.close()
	former := w.public()
	w.key = newKey(t)
	w.reopen()
	if r := w.log.Recovering(); !strings.Contains(r, "not good") {
		t.Fatalf("recovering %q", r)
	}
	w.close()
	w.config.Former = []*gm.PublicKey{former}
	w.reopen()
	if r := w.log.Recovering(); r != "" {
		t.Fatalf("recovering %q", r)
	}
	w.close()
	report, err := audit.VerifyFile(t.Context(), w.path, w.public(), audit.Options{FormerKeys: []*gm.PublicKey{former}})
	if err != nil || report.Bad != nil {
		t.Fatalf("%+v %v", report.Bad, err)
	}
}

// TestOtherPast: a store of the same length with another past, under the same key, contradicts the anchor too.
func TestOtherPast(t *testing.T) {
	w := newWorld(t).found()
	w.close()
	copyFile(t, w.path, filepath.Join(w.dir, "fork.db"))
	w.reopen()
	w.add(5)
	w.close()
	copyFile(t, filepath.Join(w.dir, "fork.db"), w.path)
	w.openStore(false)
	for range 7 {
		_, err := w.st.Commit(t.Context(), store.Mutation{Audit: [][]byte{w.body("another past")}})
		w.must(err)
	}
	w.openLog()
	if r := w.log.Recovering(); !strings.Contains(r, "not those of the anchor") {
		t.Fatalf("recovering %q", r)
	}
}

func TestRunSignsRefusesAndCloses(t *testing.T) {
	w := newWorld(t).found()
	posted := make(chan []byte, 100)
	w.config.Witness = func(_ context.Context, b []byte) error { posted <- b; return errors.New("not now") }
	w.openLog()
	ran := make(chan error, 1)
	go func() { ran <- w.log.Run(t.Context()) }()
	w.add(1)
	for {
		c, err := audit.OpenCheckpoint(<-posted, w.public())
		w.must(err)
		if c.Size == 2 {
			break
		}
	}
	client := audit.Actor{Role: "department", ID: "client"}
	for range 50 {
		w.log.Refuse(audit.Event{Actor: client, Subject: "/v1/signatures", Detail: struct {
			Code string `json:"code"`
		}{"not-entitled"}})
	}
	w.log.Refuse(audit.Event{Subject: "no actor"}) // has no form and is only logged
	w.must(w.log.Close(t.Context()))
	w.must(<-ran)
	total, records := uint64(0), 0
	rs, err := w.st.Records(t.Context(), 2, 100)
	w.must(err)
	for _, r := range rs {
		e, err := audit.ParseBody(r.Body)
		w.must(err)
		var n audit.Refused
		w.must(json.Unmarshal(e.Result.(json.RawMessage), &n))
		if e.Kind != audit.KindRefusal || e.Actor != client {
			t.Fatalf("event %+v", e)
		}
		total, records = total+n.Count, records+1
	}
	if total != 50 || records > 10 {
		t.Fatalf("%d refusals in %d records", total, records)
	}
	anchored, err := w.anchor.Load(t.Context())
	w.must(err)
	c, err := audit.OpenCheckpoint(anchored, w.public())
	w.must(err)
	if c.Size != w.st.State().Size {
		t.Fatalf("anchor of size %d at close, store has %d", c.Size, w.st.State().Size)
	}
	if err := w.log.Run(t.Context()); err == nil {
		t.Fatal("a second Run must fail")
	}
}

// TestRefusalsAreBounded: however many are refused, and whatever becomes of the commits, memory is bounded and each refusal counts once.
func TestRefusalsAreBounded(t *testing.T) {
	w := newWorld(t).found()
	faulty := conformance.NewFaulty(w.st, conformance.Cycle(conformance.None, conformance.Forget, conformance.Refuse, conformance.Lose))
	l, err := audit.Open(t.Context(), faulty, audit.Config{Key: w.key, Anchor: w.anchor})
	w.must(err)
	refuse := func() {
		for i := range 3000 {
			l.Refuse(audit.Event{Actor: audit.Actor{Role: "department", ID: "c"}, Detail: struct{ N int }{i}})
		}
	}
	refuse()
	w.st.SetReadOnly("test")
	if err := l.Close(t.Context()); !errors.Is(err, store.ErrReadOnly) && !errors.Is(err, store.ErrUnknownOutcome) && !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("closing over a store that takes nothing: %v", err)
	}
	refuse()
	w.st.SetReadOnly("")
	for err := errors.New("not yet"); err != nil; {
		err = l.Close(t.Context())
	}
	total, records := uint64(0), 0
	for from := uint64(1); from < w.st.State().Size; {
		rs, err := w.st.Records(t.Context(), from, 1000)
		w.must(err)
		for _, r := range rs {
			e, err := audit.ParseBody(r.Body)
			w.must(err)
			var n audit.Refused
			w.must(json.Unmarshal(e.Result.(json.RawMessage), &n))
			total, records = total+n.Count, records+1
		}
		from += uint64(len(rs))
	}
	if total != 6000 || records > 2*1025 {
		t.Fatalf("%d refusals in %d records", total, records)
	}
}

func TestAnchorEvery(t *testing.T) {
	w := newWorld(t)
	w.config.AnchorEvery = time.Hour
	w.found()
	size := func() uint64 {
		t.Helper()
		b, err := w.anchor.Load(t.Context())
		w.must(err)
		c, err := audit.OpenCheckpoint(b, w.public())
		w.must(err)
		return c.Size
	}
	w.add(4)
	_, err := w.log.Sign(t.Context())
	w.must(err)
	if c, err := audit.OpenCheckpoint(w.log.Checkpoint(), w.public()); err != nil || c.Size != 5 || size() != 1 {
		t.Fatalf("checkpoint %+v, anchor of size %d, %v", c, size(), err)
	}
	w.close()
	if size() != 5 {
		t.Fatalf("after closing the anchor is of size %d", size())
	}
}

func TestAnchorThatFails(t *testing.T) {
	w := newWorld(t)
	broken := &failingAnchor{Anchor: w.anchor}
	w.config.Anchor = broken
	w.found()
	before := w.log.Checkpoint()
	broken.err = errors.New("disk gone")
	w.add(1)
	if _, err := w.log.Sign(t.Context()); !errors.Is(err, broken.err) || !errors.Is(w.log.Health(), broken.err) {
		t.Fatalf("sign: %v, health: %v", err, w.log.Health())
	}
	if !bytes.Equal(w.log.Checkpoint(), before) {
		t.Fatal("a checkpoint was published that is not anchored")
	}
	broken.err = nil
	if _, err := w.log.Sign(t.Context()); err != nil || w.log.Health() != nil {
		t.Fatalf("sign: %v, health: %v", err, w.log.Health())
	}
}

// TestOverdue holds the bound: a checkpoint that fails is not overdue at once, is after the bound, whatever fails in between, and no more with
// the next one that succeeds.
func TestOverdue(t *testing.T) {
	for _, c := range []struct {
		name    string
		bound   time.Duration
		overdue bool
	}{{"unbounded", 0, false}, {"an hour", time.Hour, false}, {"a nanosecond", time.Nanosecond, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			broken := &failingAnchor{Anchor: w.anchor}
			w.config.Anchor, w.config.Uncovered = broken, c.bound
			w.found()
			if err := w.log.Overdue(); err != nil {
				t.Errorf("all is well: %v", err)
			}
			w.add(1)
			for _, broken.err = range []error{errors.New("disk gone"), errors.New("disk still gone")} {
				if _, err := w.log.Sign(t.Context()); !errors.Is(err, broken.err) {
					t.Fatal(err)
				}
			}
			err := w.log.Overdue()
			if errors.Is(err, audit.ErrOverdue) != c.overdue || c.overdue && !strings.Contains(err.Error(), "still gone") {
				t.Errorf("while there is no anchor: %v", err)
			}
			broken.err = nil
			_, err = w.log.Sign(t.Context())
			w.must(err)
			if err := w.log.Overdue(); err != nil {
				t.Errorf("after it healed: %v", err)
			}
		})
	}
}

func TestOperatorRecords(t *testing.T) {
	w := newWorld(t).found()
	w.must(w.log.CloseEpoch(t.Context(), "serial", audit.Epoch{Started: w.clock.Now(), Signs: 3, Released: 2, Discarded: 1}))
	w.clock.add(-1e12)
	if _, err := w.st.Commit(t.Context(), store.Mutation{Audit: [][]byte{w.body("x")}}); !errors.Is(err, store.ErrClock) {
		t.Fatalf("commit with the clock set back: %v", err)
	}
	if err := w.log.AcceptClock(t.Context(), audit.Appliance("x")); err == nil {
		t.Fatal("the appliance accepted its own clock")
	}
	w.must(w.log.AcceptClock(t.Context(), bob))
	w.add(1)
	rs, err := w.st.Records(t.Context(), 1, 10)
	w.must(err)
	var kinds []string
	for _, r := range rs {
		e, err := audit.ParseBody(r.Body)
		w.must(err)
		kinds = append(kinds, e.Kind)
	}
	if strings.Join(kinds, " ") != "epoch clock-accepted order" {
		t.Fatalf("records %v", kinds)
	}
	w.close()
	report, err := audit.VerifyFile(t.Context(), w.path, w.public(), audit.Options{})
	if err != nil || report.Bad != nil {
		t.Fatalf("%+v %v", report, err)
	}
}
