// Package reconcile compares what the appliance keeps in different places about the same enterprises and seals, names what does not agree, and changes
// nothing.
//
// Its one promise is that it never repairs: every finding says which command a human runs. It reads page by page, so that a city's library needs no
// long call; what changes meanwhile is judged as each record was read.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// Finding is one thing that does not agree with another.
type Finding struct {
	Code    string `json:"code"`
	Subject string `json:"subject"` // seal, order, enterprise, key, queue or feed
	USCC    string `json:"uscc,omitempty"`
	Detail  string `json:"detail"`
	Mend    string `json:"mend"` // what a human does about it
}

// Page is a part of a reconciliation; Next is empty at the end.
type Page struct {
	Enterprises int       `json:"enterprises"` // looked at in this page
	Seals       int       `json:"seals"`       // of these, looked at
	Findings    []Finding `json:"findings"`
	Next        string    `json:"next,omitempty"`
}

// ErrCursor: the cursor belongs to no reconciliation.
var ErrCursor = errors.New("cursor of another list")

// Account is what an enterprise's account on the service site is known to be.
type Account struct {
	State   string // open or closed; empty when none is known
	Licence int    // version that it shows
}

// Queue is a queue to, or a feed from, a system outside.
type Queue struct {
	Name                string
	Feed                bool
	Waiting, Dead, Held int64
}

// Parts are what is compared. Accounts and Outside may be nil.
type Parts struct {
	Library  *licence.Library
	Register *register.Register
	Access   *access.Access
	Keys     *keystore.Keystore
	Lists    func(ctx context.Context) ([][]byte, error) // revocation lists as handed out, DER; none when an outside authority publishes them
	Accounts func(ctx context.Context, uscc string) (Account, error)
	Outside  func(ctx context.Context) []Queue
	Now      func() time.Time
}

// look is one page on its way.
type look struct {
	Parts
	page *Page
	now  time.Time
}

const (
	inLibrary  = "l."
	inRegister = "s."
)

// Run looks at one page: at the tokens and queues, then at every enterprise, then at every seal. The first cursor is empty. Errors: ErrCursor, those of
// the store and of the tokens.
func (p Parts) Run(ctx context.Context, cursor string, limit int) (Page, error) {
	if p.Now == nil {
		p.Now = time.Now
	}
	page := Page{Findings: []Finding{}}
	l := &look{Parts: p, page: &page, now: p.Now().UTC()}
	var err error
	switch {
	case cursor == "":
		page.Next = inLibrary
		err = errors.Join(l.tokens(ctx), l.outside(ctx))
	case strings.HasPrefix(cursor, inLibrary):
		err = l.library(ctx, cursor[len(inLibrary):], limit)
	case strings.HasPrefix(cursor, inRegister):
		err = l.register(ctx, cursor[len(inRegister):], limit)
	default:
		err = ErrCursor
	}
	if err != nil {
		return Page{}, fmt.Errorf("reconciling: %w", err)
	}
	return page, nil
}

func (l *look) find(code, subject, uscc, mend, detail string, a ...any) {
	l.page.Findings = append(l.page.Findings, Finding{code, subject, uscc, fmt.Sprintf(detail, a...), mend})
}

// tokens compares key records with the tokens' objects. A key that is born while this looks is seen the second time.
func (l *look) tokens(ctx context.Context) error {
	r, err := l.Keys.Compare(ctx)
	if err != nil {
		return err
	}
	for _, id := range r.Missing {
		l.find("key-missing", id.String(), "", "restore the token from its clone; a seal whose key is gone for good is cancelled (sealctl seal cancel --reason authority-decision) and applied for anew",
			"its record names a token that does not hold it")
	}
	for _, o := range r.Orphans {
		l.find("key-unknown", o.RawID, "", "sealctl ceremony draft destroy-orphan, after finding out where it comes from", "key %.80q in token %s is in no record", o.Label, o.Token)
	}
	for _, serial := range r.Away {
		l.find("token-away", serial, "", "connect the token, or remove it from the configuration", "not looked into; its keys are not compared")
	}
	return nil
}

// outside names what is not delivered or not taken.
func (l *look) outside(ctx context.Context) error {
	if l.Outside == nil {
		return nil
	}
	for _, q := range l.Outside(ctx) {
		switch {
		case q.Dead > 0:
			l.find("dead-letter", q.Name, "", "sealctl outbox list "+q.Name+"; then outbox redeliver ID or outbox discard ID", "%d messages that nobody took", q.Dead)
		case q.Held > 0:
			l.find("message-held", q.Name, "", "sealctl feed held "+q.Name+"; then feed retry or feed drop", "%d messages that could not be taken", q.Held)
		case q.Waiting > 0:
			l.find("undelivered", q.Name, "", "wait until the other side answers: sealctl outbox systems", "%d messages on their way", q.Waiting)
		}
	}
	return nil
}

func (l *look) library(ctx context.Context, cursor string, limit int) error {
	p, err := l.Library.All(ctx, cursor, limit)
	if err != nil {
		return err
	}
	l.page.Enterprises = len(p.Items)
	for _, s := range p.Items {
		if err := l.enterprise(ctx, s); err != nil {
			return err
		}
	}
	l.page.Next = inLibrary + p.Next
	if p.Next == "" {
		l.page.Next = inRegister
	}
	return nil
}

// enterprise compares what is kept under one code.
func (l *look) enterprise(ctx context.Context, s licence.Standing) error {
	v, err := l.Library.Version(ctx, s.USCC, s.Version)
	switch {
	case errors.Is(err, licence.ErrUnknown):
		l.find("licence-version-missing", s.USCC, s.USCC, "restore the store from a backup: sealctl backup", "version %d is not in the library", s.Version)
	case err != nil:
		return err
	case v.Status != s.Status || v.Name != s.Name || v.LegalRep != s.LegalRep || v.Event != s.Event:
		l.find("licence-standing-differs", s.USCC, s.USCC, "restore the store from a backup: sealctl backup", "the standing says %s, %q; version %d says %s, %q", s.Status, s.Name, s.Version, v.Status, v.Name)
	}
	seals, err := l.Register.SealsOf(ctx, s.USCC)
	if err != nil {
		return err
	}
	l.sealsOf(s, seals)
	if err := l.orders(ctx, s, seals); err != nil {
		return err
	}
	if err := l.device(ctx, s); err != nil {
		return err
	}
	return l.account(ctx, s, seals)
}

const decide = "sealctl seal cancel ESID --reason authority-decision --evidence TEXT"

// sealsOf compares the seals of an enterprise with its licence and with one another.
func (l *look) sealsOf(s licence.Standing, seals []register.Seal) {
	active := map[string]string{}
	effect := s.Status.Effect()
	for _, x := range seals {
		if x.Institutional || x.State.Final() {
			continue
		}
		mend := strings.Replace(decide, "ESID", x.ESID, 1)
		switch {
		case effect.Final:
			l.find("seal-outlives-licence", x.ESID, s.USCC, mend, "%s, the licence is %s", x.State, s.Status)
		case !effect.SealUse && x.State == register.Active:
			l.find("seal-not-suspended", x.ESID, s.USCC, strings.Replace(mend, "cancel", "suspend", 1), "%s, the licence is %s", x.State, s.Status)
		case x.Type != "05" && x.Enterprise != s.Name:
			l.find("seal-of-another-name", x.ESID, s.USCC, mend, "bears %q, the licence %q", x.Enterprise, s.Name)
		}
		if x.State != register.Active {
			continue
		}
		if other := active[x.Type]; other != "" {
			l.find("two-active-seals", x.ESID, s.USCC, mend, "type %s, as seal %s", x.Type, other)
		}
		active[x.Type] = x.ESID
	}
}

// orders compares the orders of an enterprise with its licence and with the seals that they made.
func (l *look) orders(ctx context.Context, s licence.Standing, seals []register.Seal) error {
	orders, err := l.Register.OrdersOf(ctx, s.USCC)
	if err != nil {
		return err
	}
	made := map[string]register.Seal{}
	for _, x := range seals {
		made[x.ESID] = x
	}
	for _, o := range orders {
		switch {
		case o.State.Open() && s.Status.Effect().Final:
			l.find("order-outlives-licence", o.ID, s.USCC, "sealctl order resolve "+o.ID+" --cancel --reason TEXT", "%s, the licence is %s", o.State, s.Status)
		case o.State == register.OrderException && o.Exception != nil:
			l.find("order-waits-for-a-human", o.ID, s.USCC, "sealctl order resolve "+o.ID, "%s: %s", o.Exception.Code, o.Exception.Detail)
		}
		for _, q := range o.Requests {
			if q.State != register.RequestMade {
				continue
			}
			if x, there := made[q.ESID]; !there || x.Order != o.ID || x.Type != q.Type {
				l.find("order-without-seal", o.ID, s.USCC, "restore the store from a backup: sealctl backup", "its seal %q of type %s is of order %q", q.ESID, q.Type, x.Order)
			}
		}
	}
	return nil
}

// device compares the bound device with the responsible person.
func (l *look) device(ctx context.Context, s licence.Standing) error {
	d, _, err := l.Access.Device(ctx, s.USCC)
	switch {
	case errors.Is(err, access.ErrNoDevice):
		return nil
	case err != nil:
		return err
	case s.Status.Effect().Final || d.Person != s.LegalRep:
		l.find("device-of-another-person", s.USCC, s.USCC, "sealctl device freeze "+s.USCC+" --evidence TEXT", "bound by %q, the licence is %s and names %q", d.Person, s.Status, s.LegalRep)
	}
	return nil
}

// account compares the account on the service site, of enterprises that came here with an order.
func (l *look) account(ctx context.Context, s licence.Standing, seals []register.Seal) error {
	if l.Accounts == nil {
		return nil
	}
	a, err := l.Accounts(ctx, s.USCC)
	want := "open"
	if s.Status.Effect().Final {
		want = "closed"
	}
	const mend = "sealctl outbox list account --state waiting; a dead letter goes out again with outbox redeliver ID"
	switch {
	case err != nil:
		return err
	case a.State == "" && len(seals) > 0 && want == "open":
		l.find("account-missing", s.USCC, s.USCC, mend, "has %d seals, and no account is known", len(seals))
	case a.State != "" && a.State != want:
		l.find("account-differs", s.USCC, s.USCC, mend, "the account is %s since licence version %d, the licence is %s", a.State, a.Licence, s.Status)
	}
	return nil
}
