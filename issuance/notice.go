package issuance

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// NoticeOutcome answers a notice about a physical seal. Its JSON is the same each time the notice is sent.
type NoticeOutcome struct {
	Seals    []string         `json:"seals"`           // numbers of the seals that it changed
	Order    string           `json:"order,omitempty"` // that waits for the new impression
	Repeated bool             `json:"-"`
	Receipt  keystore.Receipt `json:"-"`
}

// ErrNoSeal: no seal that could be changed bears the impression of that filing.
var ErrNoSeal = errors.New("no seal in use bears the impression of that filing")

// SealNotice takes a signed notice of public security. A physical seal that is lost or engraved anew suspends the e-seal of the same filing and opens
// the order that waits for the new impression; a freeze suspends it until the same authority lifts it under the same reference. All in one commit; the
// same notice again changes nothing. Errors: those of package envelope, register.ErrNoticeForm, register.ErrNoticeReused, register.ErrUnknown for a
// filing that was never made, ErrNoSeal, register.ErrNotHeld, register.ErrRole, access.ErrNotEntitled.
func (i *Issuance) SealNotice(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (NoticeOutcome, error) {
	if err := i.Access.Allow(actor, access.SealNotice, access.Resource{}); err != nil {
		return NoticeOutcome{}, err
	}
	var n register.SealNotice
	if err := envelope.Open(env, register.SealNoticeKind, i.cfg.PublicSecurity, &n); err != nil {
		return NoticeOutcome{}, err
	}
	if err := n.Check(i.now()); err != nil {
		return NoticeOutcome{}, err
	}
	payload := hexSM3(env.Payload)
	return again(ctx, func(ctx context.Context) (NoticeOutcome, error) {
		out := NoticeOutcome{Seals: []string{}}
		seen, err := i.Register.NoticeTaken(ctx, n.ID, payload, &out)
		if seen || err != nil {
			out.Repeated = true
			return out, err
		}
		d, err := i.notice(ctx, n, actor, &out)
		if err != nil {
			return out, fmt.Errorf("notice %s about filing %s: %w", n.ID, n.FilingNumber, err)
		}
		taken, err := register.TakeNotice(n, payload, env.Signature, out)
		if err != nil {
			return out, err
		}
		body, err := audit.Event{Kind: "seal-notice", Actor: actor.Audit(), Subject: n.ID, Detail: struct {
			register.SealNotice
			Payload   string `json:"payload_sm3"`
			Signature []byte `json:"signature"`
		}{n, payload, env.Signature}, Result: out}.Body()
		if err != nil {
			return out, err
		}
		d.Add(taken, register.Draft{Audit: [][]byte{body}})
		out.Receipt, err = i.Store.Commit(ctx, d.Mutation(req))
		return out, err
	})
}

// noticeReasons says what a notice does to a seal.
var noticeReasons = map[register.NoticeWhat]register.Reason{register.NoticeLost: register.ReasonPhysicalLost,
	register.NoticeFreeze: register.ReasonPoliceFreeze, register.NoticeLift: register.ReasonPoliceFreeze}

func (i *Issuance) notice(ctx context.Context, n register.SealNotice, actor access.Actor, out *NoticeOutcome) (register.Draft, error) {
	var d register.Draft
	imp, err := i.Register.ByFiling(ctx, n.FilingNumber)
	if err != nil {
		return d, err
	}
	all, err := i.Register.SealsOf(ctx, imp.USCC)
	if err != nil {
		return d, err
	}
	c := register.Change{Actor: actor.Audit(), Reason: noticeReasons[n.What], Evidence: n.Reference, Time: i.now()}
	for _, listed := range all {
		if listed.Impression != imp.ID || listed.State.Final() {
			continue
		}
		s, at, err := i.Register.Seal(ctx, listed.ESID)
		if err != nil {
			return d, err
		}
		act := register.Seal.Suspend
		if n.What == register.NoticeLift {
			act = lift
		}
		s, sd, err := act(s, at, c)
		if err != nil {
			return d, err
		}
		d.Add(sd)
		out.Seals = append(out.Seals, s.ESID)
	}
	if len(out.Seals) == 0 {
		return d, ErrNoSeal
	}
	if n.What != register.NoticeLost {
		return d, nil
	}
	ordered, err := i.engraveAnew(ctx, n, imp, out, c)
	d.Add(ordered)
	return d, err
}

// engraveAnew opens the order for the new impression of a seal that is lost. A licence whose seals may not be used gets none; one order at a time.
func (i *Issuance) engraveAnew(ctx context.Context, n register.SealNotice, imp register.Impression, out *NoticeOutcome, c register.Change) (register.Draft, error) {
	old := out.Seals[len(out.Seals)-1]
	l, version, err := i.Library.Standing(ctx, imp.USCC)
	if err != nil || !l.Status.Effect().SealUse {
		return register.Draft{}, err
	}
	s, _, err := i.Register.Seal(ctx, old)
	if err != nil {
		return register.Draft{}, err
	}
	var d register.Draft
	if _, err := i.attemptsToReplace(ctx, s); errors.Is(err, ErrReplacing) {
		// An edition made from the lost impression must not come into its place.
		if d, err = i.dropReplacements(ctx, s, c); err != nil {
			return d, err
		}
	} else if err != nil {
		return d, err
	}
	o, od, err := register.NewOrder("notice-"+n.ID, imp.USCC, l.Name, l.Version, i.cfg.Release, []register.Request{{Type: imp.Type,
		State: register.RequestAwaiting, Replaces: old}}, c)
	if err != nil {
		return d, err
	}
	out.Order = o.ID
	told, err := i.tell(NoticeMessage{Kind: NoticeOrdered, USCC: imp.USCC, Name: l.Name, Order: o.ID, Seals: 1})
	d.Add(od, told, register.Draft{Expect: []store.Expect{licence.Expect(imp.USCC, version)}})
	return d, err
}

// dropReplacements supersedes the orders under way that were to replace a seal from the impression that is lost now.
func (i *Issuance) dropReplacements(ctx context.Context, s register.Seal, c register.Change) (register.Draft, error) {
	var d register.Draft
	all, err := i.Register.OrdersOf(ctx, s.USCC)
	if err != nil {
		return d, err
	}
	for _, listed := range all {
		if len(listed.Requests) != 1 || listed.Requests[0].Replaces != s.ESID || !listed.State.Open() {
			continue
		}
		o, at, err := i.Register.Order(ctx, listed.ID)
		if err != nil {
			return d, err
		}
		_, od, err := o.Move(register.OrderSuperseded, at, c)
		if err != nil {
			return d, err
		}
		d.Add(od)
	}
	return d, nil
}
