package ceremony

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Config is what a Desk stands on; all of it is required but Acts, without which nothing can be carried out.
type Config struct {
	Store     store.Store
	Access    *access.Access
	Log       *audit.Log
	Appliance string // this appliance's name: plans for others are refused
	Acts      map[Action]Act
	Now       func() time.Time
}

// Desk takes plans and approvals and carries plans out. Safe for concurrent use; one plan is carried out at a time.
type Desk struct {
	cfg Config
	mu  sync.Mutex // of Execute
}

// New makes a Desk.
func New(cfg Config) (*Desk, error) {
	if cfg.Store == nil || cfg.Access == nil || cfg.Log == nil || cfg.Appliance == "" || cfg.Now == nil {
		return nil, errors.New("a ceremony needs a store, officers, the log, the appliance's name and a clock")
	}
	return &Desk{cfg: cfg}, nil
}

func (d *Desk) now() time.Time { return d.cfg.Now().UTC().Truncate(time.Second) }

// acting is the first question of every verb: who is this officer, as registered now.
func (d *Desk) acting(ctx context.Context, actor access.Actor) (Officer, store.Expect, error) {
	if err := d.cfg.Access.Allow(actor, access.CeremonyAct, access.Resource{}); err != nil {
		return Officer{}, store.Expect{}, err
	}
	c, expect, err := d.cfg.Access.Officer(ctx, actor.Client)
	return officer(c), expect, err
}

// again answers a repeated request with the ceremony as it is now.
func (d *Desk) again(ctx context.Context, req *store.Request, id string) (Ceremony, bool, error) {
	if req == nil {
		return Ceremony{}, false, nil
	}
	_, err := d.cfg.Store.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return Ceremony{}, false, nil
	} else if err != nil {
		return Ceremony{}, false, err
	}
	c, err := d.get(ctx, id)
	return c, true, err
}

// Draft hands a plan in. ErrPlan, ErrForeign, ErrExpired, ErrRole, ErrNoAct, ErrExists.
func (d *Desk) Draft(ctx context.Context, req *store.Request, actor access.Actor, text string) (Ceremony, error) {
	asked, expect, err := d.acting(ctx, actor)
	if err != nil {
		return Ceremony{}, err
	}
	p, err := ParsePlan([]byte(text))
	if err != nil {
		return Ceremony{}, err
	}
	id, err := p.ID()
	if err != nil {
		return Ceremony{}, err
	}
	if c, done, err := d.again(ctx, req, id); done || err != nil {
		return c, err
	}
	if err := d.draftable(p, asked.Role); err != nil {
		return Ceremony{}, err
	}
	c := Ceremony{ID: id, Plan: text, Title: p.Title, State: Drafted, Asked: asked, AskedAt: d.now(), Needed: p.Approvals, Expires: p.Expires, Approvals: []Approval{}}
	for _, s := range p.Steps {
		c.Steps = append(c.Steps, Progress{Action: s.Action})
	}
	_, err = d.change(ctx, req, &c, actor.Audit(), detail{Phase: phaseDrafted, Plan: text, Asked: &asked}, nil, access.Change{Expect: []store.Expect{expect}})
	if errors.Is(err, store.ErrConflict) {
		if _, gerr := d.get(ctx, id); gerr == nil {
			return Ceremony{}, fmt.Errorf("ceremony %.12s: %w", id, ErrExists)
		}
	}
	return c, err
}

func (d *Desk) draftable(p Plan, role access.Role) error {
	if p.Appliance != d.cfg.Appliance {
		return fmt.Errorf("the plan is for %q, this is %q: %w", p.Appliance, d.cfg.Appliance, ErrForeign)
	}
	if now := d.now(); now.After(p.Expires) || p.Expires.After(now.Add(maxLife)) {
		return fmt.Errorf("the plan ends %s, want a time within %d days from now: %w", stamp(p.Expires), int(maxLife.Hours()/24), ErrExpired)
	}
	for i, s := range p.Steps {
		if _, can := d.cfg.Acts[s.Action]; !can {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Action, ErrNoAct)
		}
	}
	return p.allows(role, MayRequest)
}

// Given is an approval as an officer hands it in.
type Given struct {
	Key       []byte // SubjectPublicKeyInfo of the officer's client certificate
	Expires   time.Time
	Signature []byte // DER
}

// Approve adds an officer's approval. ErrApproval, ErrOwnRequest, ErrTwice, ErrRole, ErrExpired, ErrBegun, ErrExecuted, ErrAbandoned.
func (d *Desk) Approve(ctx context.Context, req *store.Request, actor access.Actor, id string, g Given) (Ceremony, error) {
	who, expect, err := d.acting(ctx, actor)
	if err != nil {
		return Ceremony{}, err
	}
	if c, done, err := d.again(ctx, req, id); done || err != nil {
		return c, err
	}
	c, err := d.get(ctx, id)
	if err != nil {
		return Ceremony{}, err
	}
	a := Approval{Officer: who, Key: g.Key, Expires: g.Expires.UTC(), At: d.now(), Signature: g.Signature}
	if err := c.admits(a); err != nil {
		return Ceremony{}, err
	}
	c.Approvals = append(append([]Approval(nil), c.Approvals...), a)
	_, err = d.change(ctx, req, &c, actor.Audit(), detail{Phase: phaseApproved, Approvals: []Approval{a}}, nil, access.Change{Expect: []store.Expect{expect}})
	return c, err
}

// admits judges one more approval.
func (c Ceremony) admits(a Approval) error {
	if err := c.open(); err != nil {
		return err
	}
	p, err := c.plan()
	if err != nil {
		return err
	}
	if err := p.allows(a.Role, MayApprove); err != nil {
		return err
	}
	if a.Person == c.Asked.Person {
		return ErrOwnRequest
	}
	for _, b := range c.Approvals {
		if b.Person == a.Person {
			return ErrTwice
		}
	}
	if a.At.After(p.Expires) || a.At.After(a.Expires) || a.Expires.After(p.Expires) {
		return fmt.Errorf("approval until %s of a plan until %s: %w", stamp(a.Expires), stamp(p.Expires), ErrExpired)
	}
	return a.verify(c.ID, p.Appliance)
}

// open refuses what takes no approvals any more.
func (c Ceremony) open() error {
	switch c.State {
	case Drafted:
		return nil
	case Begun:
		return ErrBegun
	case Executed:
		return ErrExecuted
	default:
		return ErrAbandoned
	}
}

// Abandon gives a ceremony up: whoever may ask for it or approve it can, at any time before its end. What was done stays done and on record.
func (d *Desk) Abandon(ctx context.Context, req *store.Request, actor access.Actor, id, reason string) (Ceremony, error) {
	who, expect, err := d.acting(ctx, actor)
	if err != nil {
		return Ceremony{}, err
	}
	if err := (field{"reason", reason, 256}).check(); err != nil {
		return Ceremony{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, done, err := d.again(ctx, req, id); done || err != nil {
		return c, err
	}
	c, err := d.get(ctx, id)
	if err != nil {
		return c, err
	}
	if err := c.open(); err != nil && !errors.Is(err, ErrBegun) {
		return c, err
	}
	if p, err := c.plan(); err == nil && p.allows(who.Role, MayRequest) != nil && p.allows(who.Role, MayApprove) != nil {
		return c, p.allows(who.Role, MayApprove)
	}
	now := d.now()
	c.State, c.EndedAt, c.Reason = Abandoned, &now, reason
	_, err = d.change(ctx, req, &c, actor.Audit(), detail{Phase: phaseAbandoned, Reason: reason}, nil, access.Change{Expect: []store.Expect{expect}})
	return c, err
}
