package issuance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/synthetic/dataset"
)

// TestMadeUpCity sends the tiny data set through the appliance: every filing, each kind of defective one among them, gets the answer that the set
// expects, and every order without a defect is complete.
func TestMadeUpCity(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "tiny")
	sum := must(dataset.Write(t.Context(), dataset.Config{Size: dataset.Sizes["tiny"], Seed: "1", Dir: dir, Events: w.reg.Key, Filings: w.ps.Key}))(t)
	refused := 0
	eachLine(t, dir, "licences.jsonl", func(line []byte) {
		var e envelope.Envelope
		if json.Unmarshal(line, &e) != nil {
			refused++
		} else if _, err := w.iss.Event(w.ctx, nil, registrar, e); err != nil {
			refused++
		}
	})
	if refused != sum.Rejected {
		t.Errorf("%d events were refused, %d should be", refused, sum.Rejected)
	}
	answers := map[string]string{}
	for _, name := range []string{"filings.jsonl", "filings-late.jsonl"} {
		eachLine(t, dir, name, func(line []byte) {
			number, answer := w.answer(line)
			answers[number] = answer
		})
	}
	taken := 0
	eachLine(t, dir, "expected.jsonl", func(line []byte) {
		var e dataset.Expected
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		whole := len(e.Filings) > 0
		for _, f := range e.Filings {
			if answers[f.Number] != f.Answer {
				t.Errorf("enterprise %d, filing %s %s: %s, expected %s", e.Ordinal, f.Number, f.Defect, answers[f.Number], f.Answer)
			}
			whole = whole && f.Answer == "taken"
			if f.Answer == "taken" {
				taken++
			}
		}
		for _, o := range must(w.seals.OrdersOf(w.ctx, e.USCC))(t) {
			if complete := o.State == register.AwaitingCertificate; o.State.Open() && complete != whole {
				t.Errorf("enterprise %d: order is %s, whole set %v", e.Ordinal, o.State, whole)
			}
		}
	})
	if taken < 60 || len(answers) != sum.Filings+sum.Late {
		t.Errorf("%d of %d filings were taken", taken, len(answers))
	}
	r := must(w.seals.ReadsOf(w.ctx, time.Now().UTC().Year()))(t)
	if r.Reads["make"]+r.Reads["remake"]+r.Reads["authority_inquiry"]+r.Unlisted != 0 || r.Reads["compare_for_filing"] == 0 {
		t.Errorf("readings before anything was made: %+v", r)
	}
}

// answer files a line and says what came of it; an order that waits for a human goes on.
func (w *world) answer(line []byte) (number, answer string) {
	w.Helper()
	var e envelope.Envelope
	var f register.Filing
	if err := json.Unmarshal(line, &e); err != nil {
		w.Fatal(err)
	}
	if err := json.Unmarshal(e.Payload, &f); err != nil {
		w.Fatal(err)
	}
	_, err := w.iss.File(w.ctx, nil, police, e)
	if err == nil {
		return f.FilingNumber, "taken"
	}
	for _, o := range must(w.seals.OrdersOf(w.ctx, f.USCC))(w) {
		if o.Exception != nil {
			must(w.iss.Resolve(w.ctx, nil, system, o.ID, issuance.Continue, "", "示例: 与公安核对"))(w)
			return f.FilingNumber, o.Exception.Code
		}
	}
	return f.FilingNumber, err.Error()
}

func eachLine(t *testing.T, dir, name string, do func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		do(s.Bytes())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestProductionRefusesSyntheticEverywhere: no door of a production appliance lets a made-up enterprise in: not the event, nor the import, nor the
// filing of an impression, an institution's own among them; and a demonstration lets in nobody else.
func TestProductionRefusesSyntheticEverywhere(t *testing.T) {
	w := newWorld(t)
	event := w.signed(licence.KindEstablished, fields(uscc))
	filing := w.sign(w.engrave(fields(uscc), "01", 0))
	real := fields("91350100M000100Y43") // the example printed in GB 32100
	foreign := w.sign(w.engrave(real, "01", 0))
	if _, err := w.iss.File(w.ctx, nil, police, foreign); !errors.Is(err, licence.ErrNotSynthetic) {
		t.Errorf("a real code's filing in a demonstration: %v", err)
	}
	w.lib = must(licence.New(w.gate, licence.Config{Mode: licence.Production, Pinned: []*gm.PublicKey{w.reg.Key.Public()}, Now: w.clock.now}))(t)
	w.iss.Library = w.lib
	before := w.bolt.State()
	if _, err := w.iss.Event(w.ctx, nil, registrar, event); !errors.Is(err, licence.ErrSynthetic) {
		t.Errorf("event: %v", err)
	}
	if reasons, err := w.lib.Take(w.ctx, []envelope.Envelope{event}, registrar.Audit(), nil); err != nil || !errors.Is(reasons[0], licence.ErrSynthetic) {
		t.Errorf("import: %v %v", reasons, err)
	}
	if _, err := w.iss.File(w.ctx, nil, police, filing); !errors.Is(err, licence.ErrSynthetic) {
		t.Errorf("filing: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("a refusal changed the store")
	}
	if _, err := w.iss.File(w.ctx, nil, police, foreign); !errors.Is(err, issuance.ErrNoOrder) {
		t.Errorf("a real code's filing in production: %v", err)
	}
}
