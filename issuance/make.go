package issuance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// appliance is who makes seals.
var appliance = audit.Actor{Role: register.RoleAppliance, ID: "issuance"}

// set is a set of seals in the making.
type set struct {
	order    register.Order
	at       store.Version
	licence  licence.Licence
	standing store.Expect // the licence as it was read
	from, to time.Time    // validity
	sheets   []*sheet

	institutional bool // of one seal, without an order or a licence; order.ID is the ceremony's step
}

// ref is what the keys are born for.
func (s *set) ref() string {
	if s.institutional {
		return s.order.ID
	}
	return "order/" + s.order.ID
}

// Make makes the seals of a complete order and releases them in one commit. An order that is made already is returned as it is. When it
// fails, nothing of the set exists for anyone: keys that were born wait in memory for the next attempt, and a restart destroys them
// by their intents. Errors that no repetition mends make the order an exception; ErrNotComplete and ErrLicenceInactive change nothing.
func (i *Issuance) Make(ctx context.Context, order string) (register.Order, error) {
	m, release := i.making.take(order)
	defer release()
	return again(ctx, func(ctx context.Context) (register.Order, error) { return i.make(ctx, m, order) })
}

func (i *Issuance) make(ctx context.Context, m *making, order string) (register.Order, error) {
	s, err := i.begin(ctx, order)
	if err != nil || s.order.State != register.AwaitingCertificate {
		m.settled = s.order.State != register.AwaitingCertificate
		return s.order, err
	}
	for _, step := range []func(context.Context, *making, *set) error{i.number, i.prepare, i.seal} {
		if err = step(ctx, m, s); err != nil {
			return s.order, i.makingFailed(ctx, s, err)
		}
	}
	o, err := i.release(ctx, s)
	m.settled = err == nil
	return o, err
}

// begin reads what the set stands on. An order that has its seals comes back without more.
func (i *Issuance) begin(ctx context.Context, order string) (*set, error) {
	o, at, err := i.Register.Order(ctx, order)
	s := &set{order: o, at: at}
	if err != nil || o.State == register.OrderMade || o.State == register.OrderActive {
		return s, err
	}
	if o.State != register.AwaitingCertificate {
		return s, fmt.Errorf("order %s is %s: %w", o.ID, o.State, ErrNotComplete)
	}
	var version store.Version
	if s.licence, version, err = i.Library.Current(ctx, o.USCC); err != nil {
		return s, err
	}
	if !s.licence.Status.Effect().SealUse {
		return s, fmt.Errorf("order %s: licence is %s: %w", o.ID, s.licence.Status, ErrLicenceInactive)
	}
	if _, err := i.Keys.Token(ctx); err != nil { // before intents are written that nothing can follow
		return s, fmt.Errorf("order %s: %w", o.ID, err)
	}
	s.standing = licence.Expect(o.USCC, version)
	s.from = i.now().Truncate(time.Second)
	s.to = s.from.AddDate(i.cfg.SealYears, 0, 0)
	for _, q := range o.Ready() {
		h := &sheet{request: q}
		if q.Replaces != "" {
			if h.old, _, err = i.Register.Seal(ctx, q.Replaces); err != nil {
				return s, err
			}
		}
		s.sheets = append(s.sheets, h)
	}
	return s, nil
}

// makingFailed makes the order an exception if no repetition mends the failure.
func (i *Issuance) makingFailed(ctx context.Context, s *set, cause error) error {
	cause = fmt.Errorf("making order %s: %w", s.order.ID, cause)
	code := exceptionCode(cause)
	if code == "" || errors.Is(cause, store.ErrConflict) {
		return cause
	}
	_, d, err := s.order.Fail(register.Exception{Code: code, Detail: cut(cause.Error(), 300)}, s.at,
		register.Change{Actor: appliance, Reason: register.ReasonMakingFailed, Time: i.now()})
	if err == nil {
		_, err = i.Store.Commit(ctx, d.Mutation(nil))
	}
	return errors.Join(cause, err)
}

// setRecord is the detail of a set-made record.
type setRecord struct {
	USCC    string       `json:"uscc"`
	Licence int          `json:"licence_version"`
	Seals   []sealRecord `json:"seals"`
}

type sealRecord struct {
	ESID       string `json:"esid"`
	Type       string `json:"type"`
	Key        string `json:"key"`
	Cert       string `json:"cert_sha256"`
	ESL        string `json:"esl_sha256"`
	Impression string `json:"impression"`
}

// release is the one commit: seals, certificates, keys, order, records and messages, expecting order and licence as they were read and
// every number to be free.
func (i *Issuance) release(ctx context.Context, s *set) (register.Order, error) {
	detail := setRecord{USCC: s.order.USCC, Licence: s.licence.Version}
	o, parts := s.order, register.Draft{Expect: []store.Expect{s.standing}}
	for _, h := range s.sheets {
		made, d, err := h.enter(s)
		if err != nil {
			return o, err
		}
		parts.Add(d)
		o = o.With(register.Request{Type: made.Type, State: register.RequestMade, Impression: made.Impression, ESID: made.ESID, Replaces: made.Replaces})
		detail.Seals = append(detail.Seals, sealRecord{made.ESID, made.Type, made.Key.String(), made.CertSHA256, made.ESLSHA256, made.Impression})
	}
	body, err := audit.Event{Kind: audit.KindSetMade, Actor: appliance, Subject: o.ID, Detail: detail}.Body()
	if err != nil {
		return o, err
	}
	o, d, err := o.Move(o.Next(), s.at, register.Change{Actor: appliance, Reason: register.ReasonSetMade, Time: s.from})
	if err != nil {
		return o, err
	}
	last, err := register.Numbered(s.sheets[len(s.sheets)-1].born.esid)
	if err != nil {
		return o, err
	}
	told, err := i.tell(NoticeMessage{Kind: NoticeMade, USCC: o.USCC, Name: s.licence.Name, Order: o.ID, Seals: len(s.sheets)})
	if err != nil {
		return o, err
	}
	d.Add(parts, last, told, register.Draft{Audit: [][]byte{body}})
	if _, err := i.Store.Commit(ctx, d.Mutation(nil)); err != nil {
		return o, fmt.Errorf("releasing order %s: %w", o.ID, err)
	}
	i.cfg.Log.InfoContext(ctx, "set made", slog.String("order", o.ID), slog.Int("seals", len(s.sheets)))
	return o, nil
}

// Finish makes every complete order: after a start, and whenever Run is woken. It returns how many were made and what kept the others.
func (i *Issuance) Finish(ctx context.Context) (int, error) {
	waiting, err := i.Register.OrdersIn(ctx, register.AwaitingCertificate)
	if err != nil {
		return 0, err
	}
	errs := make([]error, len(waiting))
	var g errgroup.Group
	g.SetLimit(2) // the token is the bottleneck; more only queue there
	for n, o := range waiting {
		g.Go(func() error {
			if ctx.Err() == nil {
				_, errs[n] = i.Make(ctx, o.ID)
			} else {
				errs[n] = ctx.Err()
			}
			return nil
		})
	}
	g.Wait() // the functions return no error; errs has them
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		}
	}
	return made, errors.Join(errs...)
}

// Run makes orders as they become complete until ctx ends. Orders that could not be made are tried again every Config.RetryEvery.
func (i *Issuance) Run(ctx context.Context) {
	timer := time.NewTimer(i.cfg.RetryEvery)
	defer timer.Stop()
	for {
		if _, err := i.Finish(ctx); err != nil && ctx.Err() == nil {
			i.cfg.Log.WarnContext(ctx, "complete orders that could not be made", slog.String("error", err.Error()))
		}
		timer.Reset(i.cfg.RetryEvery)
		select {
		case <-ctx.Done():
			return
		case <-i.nudge:
		case <-timer.C:
		}
	}
}

// wakeMaker tells Run that an order is complete.
func (i *Issuance) wakeMaker() {
	select {
	case i.nudge <- struct{}{}:
	default: // it is awake already
	}
}
