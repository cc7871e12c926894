package ceremony_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// transcript is what the appliance hands out.
func (w *world) transcript(id string) ceremony.Transcript {
	w.t.Helper()
	tr, err := w.Transcript(w.t.Context(), w.aud.Actor(), id)
	w.must(err)
	return tr
}

func encode(t testing.TB, tr ceremony.Transcript) []byte {
	t.Helper()
	b, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holds demands that the transcript verifies with the audit key alone.
func (w *world) holds(id string) ceremony.Account {
	w.t.Helper()
	a, err := ceremony.ReadTranscript(encode(w.t, w.transcript(id)), []*gm.PublicKey{w.key.Public()})
	if err != nil {
		w.t.Errorf("transcript: %v", err)
	}
	return a
}

func TestTranscript(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	if a := w.holds(c.ID); a.State != ceremony.Drafted || len(a.Approvals) != 0 {
		t.Errorf("before: %+v", a)
	}
	for n := range 700 { // the log goes on beside the ceremony
		body, err := audit.Event{Kind: "refusal", Actor: audit.Appliance("test"), Detail: n}.Body()
		w.must(err)
		_, err = w.bolt.Commit(t.Context(), store.Mutation{Audit: [][]byte{body}})
		w.must(err)
	}
	_, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID)
	w.must(err)
	a := w.holds(c.ID)
	if a.State != ceremony.Executed || len(a.Approvals) != 2 || len(a.Steps) != 2 || a.Steps[1].State != ceremony.StepDone || a.Asked.Client != w.system.ID ||
		!strings.Contains(string(a.Steps[0].Result), c.ID) || a.Plan.Steps[1].Key != "00112233445566778899aabbccddeeff" {
		t.Errorf("account %+v", a)
	}
	if _, err := w.Transcript(t.Context(), access.Actor{Role: access.RoleDepartment}, c.ID); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a department reads transcripts: %v", err)
	}
}

// TestTranscriptForged: whatever is changed, left out, put elsewhere or signed by another, the transcript does not hold.
func TestTranscriptForged(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	_, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID)
	w.must(err)
	other, err := softkey.Generate(nil)
	w.must(err)
	good := w.transcript(c.ID)
	for name, forge := range map[string]func(*ceremony.Transcript){
		"a plan altered": func(tr *ceremony.Transcript) { tr.Records[0].Raw = replace(tr.Records[0].Raw, "eeff", "eeee") },
		"an approver altered": func(tr *ceremony.Transcript) {
			tr.Records[3].Raw = replace(tr.Records[3].Raw, "person-audit", "person-other")
		},
		"the intent left out":    func(tr *ceremony.Transcript) { tr.Records = slices.Delete(tr.Records, 3, 4) },
		"the draft left out":     func(tr *ceremony.Transcript) { tr.Records = tr.Records[1:] },
		"a step left out":        func(tr *ceremony.Transcript) { tr.Records = slices.Delete(tr.Records, 4, 5) },
		"a step twice":           func(tr *ceremony.Transcript) { tr.Records = slices.Insert(tr.Records, 5, tr.Records[4]) },
		"the order changed":      func(tr *ceremony.Transcript) { tr.Records[4], tr.Records[5] = tr.Records[5], tr.Records[4] },
		"another index":          func(tr *ceremony.Transcript) { tr.Records[4].Proof.Index++ },
		"another ceremony":       func(tr *ceremony.Transcript) { tr.Ceremony = strings.Repeat("0", 64) },
		"another checkpoint":     func(tr *ceremony.Transcript) { tr.Checkpoint = strings.Replace(tr.Checkpoint, "\n", "0\n", 1) },
		"no checkpoint":          func(tr *ceremony.Transcript) { tr.Checkpoint = "" },
		"no records":             func(tr *ceremony.Transcript) { tr.Records = nil },
		"another format":         func(tr *ceremony.Transcript) { tr.Format = "v0" },
		"a proof without hashes": func(tr *ceremony.Transcript) { tr.Records[2].Proof.Hashes = nil },
	} {
		var tr ceremony.Transcript
		w.must(json.Unmarshal(encode(t, good), &tr))
		forge(&tr)
		if _, err := ceremony.ReadTranscript(encode(t, tr), []*gm.PublicKey{w.key.Public()}); !errors.Is(err, ceremony.ErrTranscript) {
			t.Errorf("%s: %v, want ErrTranscript", name, err)
		}
	}
	for name, keys := range map[string][]*gm.PublicKey{"another key": {other.Public()}, "no key": nil} {
		if _, err := ceremony.ReadTranscript(encode(t, good), keys); !errors.Is(err, ceremony.ErrTranscript) {
			t.Errorf("%s: %v, want ErrTranscript", name, err)
		}
	}
	if _, err := ceremony.ReadTranscript(encode(t, good), []*gm.PublicKey{other.Public(), w.key.Public()}); err != nil {
		t.Errorf("one of several keys: %v", err)
	}
}

func replace(b []byte, old, new string) []byte {
	return []byte(strings.Replace(string(b), old, new, 1))
}
