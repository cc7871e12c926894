package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ceremonies is the collection of ceremonies, keyed by ID.
var ceremonies = &store.Collection{Name: "ceremony", Codec: 1}

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{ceremonies} }

// State is how far a ceremony got.
type State string

// The states. From drafted a ceremony begins or is given up; what has begun is finished or given up, never begun again.
const (
	Drafted   State = "drafted"
	Begun     State = "begun"
	Executed  State = "executed"
	Abandoned State = "abandoned"
)

// Progress is how far one step got.
type Progress struct {
	Action Action          `json:"action"`
	State  string          `json:"state,omitempty"` // "", StepCommitted or StepDone
	Result json.RawMessage `json:"result,omitempty"`
}

// States of a step: committed means that the store holds it and its effects elsewhere may still be due.
const (
	StepCommitted = "committed"
	StepDone      = "done"
)

// Ceremony is a plan on its way.
type Ceremony struct {
	ID        string     `json:"id"`
	Plan      string     `json:"plan"` // as it was handed in
	Title     string     `json:"title"`
	State     State      `json:"state"`
	Asked     Officer    `json:"asked"`
	AskedAt   time.Time  `json:"asked_at"`
	Needed    int        `json:"needed"` // approvals
	Expires   time.Time  `json:"expires"`
	Approvals []Approval `json:"approvals"`
	Steps     []Progress `json:"steps"`
	BegunAt   *time.Time `json:"begun_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Reason    string     `json:"reason,omitempty"` // why it was given up
	// Marks are sizes of the log right before each record of this ceremony was written: it stands there or soon after.
	Marks []uint64 `json:"marks"`

	version store.Version
}

// Phases of a ceremony's records, in Detail.Phase.
const (
	phaseDrafted   = "drafted"
	phaseApproved  = "approved"
	phaseBegun     = "begun"    // the intent: plan and approvals whole
	phaseStep      = "step"     // a step's commit, with its result
	phaseEffect    = "effect"   // a step's effects outside the store are there
	phaseFinished  = "finished" // the outcome
	phaseAbandoned = "abandoned"
)

// detail is the Detail of a ceremony's record.
type detail struct {
	Phase     string     `json:"phase"`
	Plan      string     `json:"plan,omitempty"`
	Asked     *Officer   `json:"asked,omitempty"`
	Approvals []Approval `json:"approvals,omitempty"`
	Step      int        `json:"step,omitempty"` // from 1
	Action    Action     `json:"action,omitempty"`
	Reason    string     `json:"reason,omitempty"`
}

// change is the commit of a new state of c with its record; c.version moves on when it succeeds.
func (d *Desk) change(ctx context.Context, req *store.Request, c *Ceremony, by audit.Actor, what detail, result any, more access.Change) (store.Receipt, error) {
	next := *c
	next.Marks = append(append([]uint64(nil), c.Marks...), d.cfg.Store.State().Size)
	value, err := json.Marshal(next)
	if err != nil {
		return store.Receipt{}, fmt.Errorf("encoding ceremony: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindCeremony, Actor: by, Subject: c.ID, Detail: what, Result: result}.Body()
	if err != nil {
		return store.Receipt{}, err
	}
	r, err := d.cfg.Store.Commit(ctx, store.Mutation{Request: req, Audit: append([][]byte{body}, more.Audit...), Spend: more.Spend,
		Expect: append([]store.Expect{{Collection: ceremonies, Key: []byte(c.ID), Version: c.version}}, more.Expect...),
		Put:    append([]store.Put{{Collection: ceremonies, Key: []byte(c.ID), Value: value}}, more.Put...)})
	if err != nil {
		return r, fmt.Errorf("recording the ceremony %.12s as %s: %w", c.ID, what.Phase, err)
	}
	next.version++
	*c = next
	return r, nil
}

func (d *Desk) get(ctx context.Context, id string) (Ceremony, error) {
	it, err := d.cfg.Store.Get(ctx, ceremonies, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return Ceremony{}, fmt.Errorf("ceremony %.12s: %w", id, err)
	} else if err != nil {
		return Ceremony{}, err
	}
	return read(it)
}

func read(it store.Item) (Ceremony, error) {
	var c Ceremony
	if err := json.Unmarshal(it.Value, &c); err != nil {
		return c, fmt.Errorf("reading ceremony: %w: %w", store.ErrCorrupt, err)
	}
	c.version = it.Version
	return c, nil
}

// plan reads the plan on file again and refuses one that is not the plan of this name.
func (c Ceremony) plan() (Plan, error) {
	p, err := ParsePlan([]byte(c.Plan))
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if id, err := p.ID(); err != nil || id != c.ID {
		return p, fmt.Errorf("ceremony %.12s: %w", c.ID, ErrAltered)
	}
	return p, nil
}

// Get returns one ceremony to an officer.
func (d *Desk) Get(ctx context.Context, actor access.Actor, id string) (Ceremony, error) {
	if err := d.cfg.Access.Allow(actor, access.CeremonyRead, access.Resource{}); err != nil {
		return Ceremony{}, err
	}
	return d.get(ctx, id)
}

// Page lists ceremonies by identifier; the cursor of the last page is empty.
func (d *Desk) Page(ctx context.Context, actor access.Actor, cursor string, limit int) ([]Ceremony, string, error) {
	if err := d.cfg.Access.Allow(actor, access.CeremonyRead, access.Resource{}); err != nil {
		return nil, "", err
	}
	p, err := d.cfg.Store.List(ctx, ceremonies, "", nil, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing ceremonies: %w", err)
	}
	all := make([]Ceremony, len(p.Items))
	for i, it := range p.Items {
		if all[i], err = read(it); err != nil {
			return nil, "", err
		}
	}
	return all, p.Next, nil
}
