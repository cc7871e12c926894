package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Act carries one action out, in two halves of which either may be missing.
type Act struct {
	// Prepare does what can still be taken back, and returns what the step's commit changes. It is called again after a crash before the commit.
	Prepare func(ctx context.Context, s Running) (Prepared, error)
	// Finish has the effects outside the store, after the commit. Called again after a crash, it finds its work done and says so with nil.
	Finish func(ctx context.Context, s Running, result json.RawMessage) error
}

// Running is a step that is being carried out.
type Running struct {
	Step
	Ref    string      // "ceremony/<id>/<number>": what the step makes is made for this
	By     audit.Actor // who asked
	Second audit.Actor // the first of those who approved
	Reason string      // title and reason of the plan
}

// Prepared is a step that is ready to be committed.
type Prepared struct {
	access.Change
	Result any                       // what the record says came of it
	Undo   func(ctx context.Context) // takes back what Prepare did, when the commit is refused; may be nil
}

// Execute carries an approved plan out, or goes on where it was interrupted. It is asked for by whoever may ask for the plan. A step that
// fails leaves the ceremony begun: mend what is wrong and execute it again, or abandon it. ErrTooFew, ErrExpired, ErrAltered, ErrRole, ErrExecuted,
// ErrAbandoned, or the act's own error.
func (d *Desk) Execute(ctx context.Context, req *store.Request, actor access.Actor, id string) (Ceremony, error) {
	who, expect, err := d.acting(ctx, actor)
	if err != nil {
		return Ceremony{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, repeated, err := d.again(ctx, req, id)
	if err != nil || repeated && c.State != Begun {
		return c, err
	}
	if !repeated {
		if c, err = d.get(ctx, id); err != nil {
			return c, err
		}
	}
	p, err := c.plan()
	if err != nil {
		return c, err
	}
	if err := p.allows(who.Role, MayRequest); err != nil {
		return c, err
	}
	if err := d.begin(ctx, req, actor, &c, p, expect); err != nil {
		return c, err
	}
	return c, d.steps(ctx, &c, p)
}

// begin writes the intent, unless it stands already: what has begun is decided, and only its repeat resolves it.
func (d *Desk) begin(ctx context.Context, req *store.Request, actor access.Actor, c *Ceremony, p Plan, expect store.Expect) error {
	if err := c.open(); errors.Is(err, ErrBegun) {
		return counts(p, c.ID, c.Asked, c.Approvals, *c.BegunAt)
	} else if err != nil {
		return err
	}
	now := d.now()
	if now.After(p.Expires) {
		return fmt.Errorf("the plan ended %s: %w", stamp(p.Expires), ErrExpired)
	}
	valid, expects, err := d.standing(ctx, c.Approvals)
	if err != nil {
		return err
	}
	if err := counts(p, c.ID, c.Asked, valid, now); err != nil {
		return err
	}
	next := *c
	next.State, next.BegunAt, next.Approvals = Begun, &now, valid
	if _, err = d.change(ctx, req, &next, actor.Audit(), detail{Phase: phaseBegun, Plan: c.Plan, Asked: &c.Asked, Approvals: valid}, nil,
		access.Change{Expect: append(expects, expect)}); err == nil {
		*c = next
	}
	return err
}

// standing leaves out approvals of officers who are none any more, and expects the others to stay what they are.
func (d *Desk) standing(ctx context.Context, all []Approval) (valid []Approval, expects []store.Expect, err error) {
	for _, a := range all {
		now, expect, err := d.cfg.Access.Officer(ctx, a.Client)
		if errors.Is(err, access.ErrNotEntitled) || err == nil && (now.Role != a.Role || now.Person != a.Person) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		valid, expects = append(valid, a), append(expects, expect)
	}
	return valid, expects, nil
}

func (d *Desk) steps(ctx context.Context, c *Ceremony, p Plan) error {
	for i := range p.Steps {
		if c.Steps[i].State == StepDone {
			continue
		}
		act, can := d.cfg.Acts[p.Steps[i].Action]
		if !can {
			return fmt.Errorf("step %d, %s: %w", i+1, p.Steps[i].Action, ErrNoAct)
		}
		if err := d.step(ctx, c, i, act, c.running(p, i)); err != nil {
			return fmt.Errorf("step %d of %d, %s: %w", i+1, len(p.Steps), p.Steps[i].Action, err)
		}
	}
	now := d.now()
	next := *c
	next.State, next.EndedAt = Executed, &now
	_, err := d.change(ctx, nil, &next, c.asker(), detail{Phase: phaseFinished}, nil, access.Change{})
	if err == nil {
		*c = next
	}
	return err
}

func (c Ceremony) asker() audit.Actor {
	return audit.Actor{Role: string(c.Asked.Role), ID: c.Asked.Client}
}

func (c Ceremony) running(p Plan, i int) Running {
	a := c.Approvals[0]
	return Running{Step: p.Steps[i], Ref: "ceremony/" + c.ID + "/" + strconv.Itoa(i+1), By: c.asker(),
		Second: audit.Actor{Role: string(a.Role), ID: a.Client}, Reason: p.Title + ": " + p.Reason}
}

// step does one step: prepared, committed, finished.
func (d *Desk) step(ctx context.Context, c *Ceremony, i int, act Act, s Running) error {
	if c.Steps[i].State == "" {
		if err := d.commit(ctx, c, i, act, s); err != nil {
			return err
		}
	}
	if c.Steps[i].State == StepDone {
		return nil
	}
	// What is committed is seen through although the caller leaves.
	ctx = context.WithoutCancel(ctx)
	if err := act.Finish(ctx, s, c.Steps[i].Result); err != nil {
		return err
	}
	next := c.with(i, Progress{s.Action, StepDone, c.Steps[i].Result})
	_, err := d.change(ctx, nil, &next, s.By, detail{Phase: phaseEffect, Step: i + 1, Action: s.Action}, nil, access.Change{})
	if err == nil {
		*c = next
	}
	return err
}

func (d *Desk) commit(ctx context.Context, c *Ceremony, i int, act Act, s Running) error {
	var ready Prepared
	if act.Prepare != nil {
		var err error
		if ready, err = act.Prepare(ctx, s); err != nil {
			return err
		}
	}
	ctx = context.WithoutCancel(ctx)
	result, err := json.Marshal(ready.Result)
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	state := StepCommitted
	if act.Finish == nil {
		state = StepDone
	}
	next := c.with(i, Progress{s.Action, state, result})
	_, err = d.change(ctx, nil, &next, s.By, detail{Phase: phaseStep, Step: i + 1, Action: s.Action}, json.RawMessage(result), ready.Change)
	if err == nil {
		*c = next
	} else if ready.Undo != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		ready.Undo(ctx)
	}
	return err
}

// with is c with another state of step i.
func (c Ceremony) with(i int, p Progress) Ceremony {
	c.Steps = append([]Progress(nil), c.Steps...)
	c.Steps[i] = p
	return c
}
