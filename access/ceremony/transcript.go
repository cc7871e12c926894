package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// TranscriptFormat names the form of a Transcript.
const TranscriptFormat = "sealkeeper-ceremony-transcript-v1"

// Transcript is a ceremony as the log holds it: its records, byte for byte, each with the proof that it stands in the log whose checkpoint the audit key
// signed. The audit key signs nothing but checkpoints (law 11), so the transcript has no signature of its own and needs none.
type Transcript struct {
	Format     string   `json:"format"`
	Ceremony   string   `json:"ceremony"`
	Records    []Proven `json:"records"`
	Checkpoint string   `json:"checkpoint"`
}

// Proven is one record with its place.
type Proven struct {
	Raw   []byte      `json:"raw"`
	Proof audit.Proof `json:"proof"` // its checkpoint is the transcript's
}

// Transcript collects a ceremony's records and proves them under one checkpoint.
func (d *Desk) Transcript(ctx context.Context, actor access.Actor, id string) (Transcript, error) {
	if err := d.cfg.Access.Allow(actor, access.CeremonyRead, access.Resource{}); err != nil {
		return Transcript{}, err
	}
	c, err := d.get(ctx, id)
	if err != nil {
		return Transcript{}, err
	}
	if _, err := d.cfg.Log.Sign(ctx); err != nil {
		return Transcript{}, err
	}
	t := Transcript{Format: TranscriptFormat, Ceremony: id}
	size := uint64(0)
	next := uint64(0)
	for _, mark := range c.Marks {
		r, err := d.find(ctx, max(mark, next), id) // a mark may be a moment older than the record before
		if err != nil {
			return t, err
		}
		next = r.Index + 1
		t.Records = append(t.Records, Proven{Raw: r.Raw, Proof: audit.Proof{Index: r.Index}})
	}
	for i := len(t.Records) - 1; i >= 0; i-- { // the youngest first: its checkpoint covers the others
		p, err := d.cfg.Log.Inclusion(ctx, t.Records[i].Proof.Index, size)
		if err != nil {
			return t, err
		}
		if size == 0 {
			size, t.Checkpoint = p.Size, p.Checkpoint
		}
		p.Checkpoint = ""
		t.Records[i].Proof = p
	}
	return t, nil
}

// find looks for a ceremony's record from a mark on; other commits of the same moment may stand in between.
func (d *Desk) find(ctx context.Context, from uint64, id string) (store.Record, error) {
	for {
		rs, err := d.cfg.Store.Records(ctx, from, 500)
		if err != nil {
			return store.Record{}, fmt.Errorf("looking for the ceremony's records: %w", err)
		}
		for _, r := range rs {
			if ev, err := audit.ParseBody(r.Body); err == nil && ev.Kind == audit.KindCeremony && ev.Subject == id {
				return r, nil
			}
		}
		if len(rs) == 0 {
			return store.Record{}, fmt.Errorf("no record of ceremony %.12s behind %d: %w", id, from, store.ErrCorrupt)
		}
		from = rs[len(rs)-1].Index + 1
	}
}

// Account is what a transcript proves.
type Account struct {
	Ceremony  string     `json:"ceremony"`
	Log       string     `json:"log"`  // origin of the checkpoint
	Size      uint64     `json:"size"` // of the log that the checkpoint covers
	Plan      Plan       `json:"plan"`
	State     State      `json:"state"`
	Asked     Officer    `json:"asked"`
	Approvals []Approval `json:"approvals"`
	Steps     []Progress `json:"steps"`
	Begun     time.Time  `json:"begun,omitzero"`
	Ended     time.Time  `json:"ended,omitzero"`

	last uint64 // index of the record read last
}

// ReadTranscript verifies a transcript with nothing but audit keys: that one of them signed its checkpoint, that every record stands in that
// log, that the plan is the one that the ceremony is named by, that as many officers signed exactly this plan in time as plan and table
// demand, none of them the asker, and that the steps recorded are the plan's, in its order. ErrTranscript otherwise.
//
// That the keys which signed are those of the bureau's officers is what their certificates say: compare Client with them.
func ReadTranscript(raw []byte, keys []*gm.PublicKey) (Account, error) {
	var t Transcript
	if err := json.Unmarshal(raw, &t); err != nil || t.Format != TranscriptFormat {
		return Account{}, fmt.Errorf("not a %s: %w", TranscriptFormat, ErrTranscript)
	}
	a := Account{Ceremony: t.Ceremony}
	var err error
	for _, key := range keys {
		var c audit.Checkpoint
		if c, err = audit.OpenCheckpoint([]byte(t.Checkpoint), key); err == nil {
			a.Log, a.Size = c.Origin, c.Size
			err = a.read(t, key)
			break
		}
	}
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrTranscript, err)
	}
	if a.State == "" {
		return a, fmt.Errorf("no key was given, or no record: %w", ErrTranscript)
	}
	return a, nil
}

func (a *Account) read(t Transcript, key *gm.PublicKey) error {
	for i, r := range t.Records {
		r.Proof.Checkpoint = t.Checkpoint
		if _, err := audit.VerifyInclusion(key, r.Proof, r.Raw); err != nil {
			return fmt.Errorf("record %d: %w", r.Proof.Index, err)
		}
		if i > 0 && r.Proof.Index <= a.last {
			return errors.New("records are out of order")
		}
		a.last = r.Proof.Index
		rec, err := store.ParseRecord(r.Proof.Index, r.Raw)
		if err != nil {
			return err
		}
		if err := a.take(rec); err != nil {
			return fmt.Errorf("record %d: %w", rec.Index, err)
		}
	}
	return nil
}

// take goes one record on.
func (a *Account) take(r store.Record) error {
	ev, err := audit.ParseBody(r.Body)
	if err != nil {
		return err
	}
	var d detail
	raw, _ := ev.Detail.(json.RawMessage)
	if err := json.Unmarshal(raw, &d); err != nil || ev.Kind != audit.KindCeremony || ev.Subject != a.Ceremony {
		return errors.New("not a record of this ceremony")
	}
	result, _ := ev.Result.(json.RawMessage)
	switch d.Phase {
	case phaseDrafted:
		return a.drafted(d)
	case phaseApproved:
		return a.must(Drafted) // the approvals that counted stand in the intent
	case phaseBegun:
		return a.begun(d, r.Time)
	case phaseStep, phaseEffect:
		return a.step(d, result)
	case phaseFinished:
		return a.finished(r.Time)
	case phaseAbandoned:
		if a.State != Begun && a.State != Drafted {
			return a.must(Begun)
		}
		a.State, a.Ended = Abandoned, r.Time
		return nil
	}
	return fmt.Errorf("phase %.40q", d.Phase)
}

func (a *Account) must(s State) error {
	if a.State != s {
		return fmt.Errorf("follows %q, not %q", a.State, s)
	}
	return nil
}

func (a *Account) drafted(d detail) error {
	p, err := ParsePlan([]byte(d.Plan))
	if err != nil {
		return err
	}
	if id, err := p.ID(); err != nil || id != a.Ceremony {
		return ErrAltered
	}
	if d.Asked == nil || p.allows(d.Asked.Role, MayRequest) != nil {
		return ErrRole
	}
	a.Plan, a.Asked, a.State = p, *d.Asked, Drafted
	return a.noStepYet()
}

func (a *Account) noStepYet() error {
	if len(a.Steps) > 0 {
		return errors.New("drafted twice")
	}
	return nil
}

func (a *Account) begun(d detail, at time.Time) error {
	if err := a.must(Drafted); err != nil {
		return err
	}
	p, err := ParsePlan([]byte(d.Plan))
	if err != nil {
		return err
	}
	if id, err := p.ID(); err != nil || id != a.Ceremony || d.Asked == nil || *d.Asked != a.Asked {
		return ErrAltered
	}
	if at.Truncate(time.Second).After(p.Expires) {
		return ErrExpired
	}
	if err := counts(p, a.Ceremony, a.Asked, d.Approvals, at.Truncate(time.Second)); err != nil {
		return err
	}
	a.Approvals, a.State, a.Begun = d.Approvals, Begun, at
	return nil
}

// step takes a step's commit, which comes once and in the plan's order, or the record of its effects.
func (a *Account) step(d detail, result json.RawMessage) error {
	if err := a.must(Begun); err != nil {
		return err
	}
	next := len(a.Steps)
	if d.Phase == phaseEffect {
		next--
	}
	if d.Step != next+1 || next < 0 || next >= len(a.Plan.Steps) || d.Action != a.Plan.Steps[next].Action {
		return fmt.Errorf("step %d, %s, is not the one that was due", d.Step, d.Action)
	}
	if d.Phase == phaseEffect {
		a.Steps[next].State = StepDone
		return nil
	}
	a.Steps = append(a.Steps, Progress{d.Action, StepCommitted, slices.Clone(result)})
	return nil
}

func (a *Account) finished(at time.Time) error {
	if err := a.must(Begun); err != nil {
		return err
	}
	if len(a.Steps) != len(a.Plan.Steps) {
		return fmt.Errorf("%d of %d steps", len(a.Steps), len(a.Plan.Steps))
	}
	a.State, a.Ended = Executed, at
	return nil
}
