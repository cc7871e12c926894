package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/ofdgen"
)

// applicant is an enterprise on its way to four active seals; every step can be repeated after the appliance died in it.
type applicant struct {
	*enterprise
	event   envelope.Envelope
	key     string
	filings map[string]envelope.Envelope // by filing number
	told    bool                         // the event was acknowledged
	filed   bool                         // and every filing
}

// sent is a signing request that the department sent, perhaps more than once.
type sent struct {
	asking
	batch    []client.BatchItem // instead of the asking
	receipts []client.Receipt   // acknowledged, by item
	values   [][]byte           // SES_Signature or the document, by item
}

// load uses the appliance for everything at once and keeps book of what was acknowledged.
type load struct {
	*scene
	owner       *enterprise // whose seals sign
	wide, short string      // delegations: without a bound that counts here, and with one
	studio      chan *applicant

	mu       sync.Mutex
	pending  []*sent // sent, not answered
	done     []*sent
	waiting  []*applicant // begun, not finished
	finished []*applicant
	spent    bool // the short delegation

	acknowledged atomic.Int64 // answers of any kind
	complete     atomic.Int64 // orders whose last impression was taken: their sets are being made
}

// shortCount is how many uses the short delegation has.
const shortCount = 25

func newLoad(t *testing.T, s *scene) *load {
	t.Helper()
	l := &load{scene: s, owner: mustOf(s.establish(t.Context()))(t), studio: make(chan *applicant, 8)}
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	l.wide = mustOf(s.delegate(t.Context(), l.owner, "01", 1<<40))(t)
	l.short = mustOf(s.delegate(t.Context(), l.owner, "02", shortCount))(t)
	ctx, stop := context.WithCancel(t.Context())
	var drawing sync.WaitGroup
	drawing.Go(func() { l.draw(ctx, t) })
	t.Cleanup(func() { stop(); drawing.Wait() })
	return l
}

// draw prepares applicants: the pictures take longer than everything the appliance does with them.
func (l *load) draw(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		a, err := l.applicant()
		if err != nil {
			t.Errorf("preparing an applicant: %v", err)
			return
		}
		select {
		case l.studio <- a:
		case <-ctx.Done():
		}
	}
}

func (l *load) applicant() (a *applicant, err error) {
	a = &applicant{enterprise: l.newEnterprise(), key: client.NewKey(), filings: map[string]envelope.Envelope{}}
	if a.event, err = l.registry.Event(licence.KindEstablished, a.Fields, time.Now().Add(-time.Hour)); err != nil {
		return nil, err
	}
	for _, sealType := range set {
		f, err := l.filing(a.enterprise, sealType, draw.DefectNone)
		if err != nil {
			return nil, err
		}
		if a.filings[f.FilingNumber], err = l.police.File(f); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// run works until ctx ends or the appliance dies. Its error is an answer that should not have been given.
func (l *load) run(ctx context.Context) error {
	workers := []func(context.Context) error{l.establishing, l.establishing, l.signing(l.digest), l.signing(l.approvedDigest), l.signing(l.document), l.signing(l.batch),
		l.signing(l.shortDigest)}
	errs := make([]error, len(workers))
	var all sync.WaitGroup
	for i, w := range workers {
		all.Go(func() { errs[i] = w(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// broken reports whether the call ended because the appliance died or the load was stopped, and not by an answer.
func broken(err error) bool {
	var p *client.Problem
	return err != nil && !errors.As(err, &p)
}

// establishing takes applicants to four active seals, those first that a crash interrupted.
func (l *load) establishing(ctx context.Context) error {
	for ctx.Err() == nil {
		a := l.next(ctx)
		if a == nil {
			return nil
		}
		err := l.pursue(ctx, a)
		l.mu.Lock()
		if err == nil {
			l.finished = append(l.finished, a)
		} else {
			l.waiting = append(l.waiting, a)
		}
		l.mu.Unlock()
		if broken(err) {
			return nil
		} else if err != nil {
			return fmt.Errorf("establishing %s: %w", a.USCC, err)
		}
	}
	return nil
}

func (l *load) next(ctx context.Context) *applicant {
	l.mu.Lock()
	if n := len(l.waiting); n > 0 {
		a := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		return a
	}
	l.mu.Unlock()
	select {
	case a := <-l.studio:
		return a
	case <-ctx.Done():
		return nil
	}
}

// pursue goes through every step from the first; those that were done before change nothing.
func (l *load) pursue(ctx context.Context, a *applicant) error {
	var taken client.LicenceTaken
	if err := l.send(ctx, "registration", "/v1/licences", a.key, a.event, &taken); err != nil {
		return err
	}
	a.order, a.told = taken.Order, true
	l.acknowledged.Add(1)
	for number, env := range a.filings {
		if err := l.send(ctx, "public-security", "/v1/impressions", number, env, nil); err != nil {
			return err
		}
		l.acknowledged.Add(1)
	}
	a.filed = true
	l.complete.Add(1)
	if err := l.awaitMade(ctx, a.enterprise); err != nil {
		return err
	}
	o, err := l.orderOf(ctx, a.order)
	if err != nil || o.State == register.OrderActive {
		return err // collected before the answer was lost
	}
	l.acknowledged.Add(1)
	return l.collect(ctx, a.enterprise)
}

// signing sends requests of one kind; one that was not answered is sent again before a new one.
func (l *load) signing(make func() (*sent, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			r, err := l.take(make)
			if err != nil || r == nil {
				return err
			}
			err = l.ask(ctx, r)
			l.mu.Lock()
			switch {
			case broken(err):
				l.pending = append(l.pending, r)
			case client.Code(err) == "delegation-spent" && r.request.Delegation == l.short:
				l.spent, err = true, nil
			case err == nil:
				l.done = append(l.done, r)
			}
			l.mu.Unlock()
			if broken(err) {
				return nil
			} else if err != nil {
				return fmt.Errorf("request %s: %w", r.key, err)
			}
			l.acknowledged.Add(1)
		}
		return nil
	}
}

func (l *load) take(make func() (*sent, error)) (*sent, error) {
	l.mu.Lock()
	if n := len(l.pending); n > 0 {
		r := l.pending[0]
		l.pending = l.pending[1:]
		l.mu.Unlock()
		return r, nil
	}
	l.mu.Unlock()
	return make()
}

// ask sends a request and keeps the answer.
func (l *load) ask(ctx context.Context, r *sent) error {
	c, err := l.Client("department")
	if err != nil {
		return err
	}
	if r.batch == nil {
		a, err := r.send(ctx, c)
		if err == nil {
			r.receipts, r.values = []client.Receipt{a.receipt}, [][]byte{a.bytes}
		}
		return err
	}
	out, err := c.SignBatch(ctx, r.key, r.batch)
	if err != nil {
		return err
	}
	for _, o := range out {
		if o.Problem != nil {
			return o.Problem
		}
		r.receipts, r.values = append(r.receipts, o.Receipt), append(r.values, o.Signature.Signature)
	}
	return nil
}

func (l *load) digest() (*sent, error) {
	a := askDigest(l.owner.seals["01"], []byte("示例 "+client.NewKey()))
	a.request.Delegation = l.wide
	return &sent{asking: a}, nil
}

func (l *load) shortDigest() (*sent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spent {
		return nil, nil
	}
	a := askDigest(l.owner.seals["02"], []byte("示例 "+client.NewKey()))
	a.request.Delegation = l.short
	return &sent{asking: a}, nil
}

func (l *load) approvedDigest() (*sent, error) {
	id, err := l.ID("department")
	if err != nil {
		return nil, err
	}
	a, err := askDigest(l.owner.seals["03"], []byte("示例 "+client.NewKey())).signedBy(l.owner.phone, id)
	return &sent{asking: a}, err
}

func (l *load) document() (*sent, error) {
	a := askOFD(l.owner.seals["01"], ofdgen.Document("示例 "+client.NewKey(), 2))
	a.request.Delegation = l.wide
	return &sent{asking: a}, nil
}

func (l *load) batch() (*sent, error) {
	r := &sent{asking: asking{key: client.NewKey()}}
	for range 10 {
		d := gm.SM3([]byte("示例 " + client.NewKey()))
		r.batch = append(r.batch, client.BatchItem{Key: client.NewKey(), SignatureRequest: client.SignatureRequest{Kind: "digest", Seal: l.owner.seals["01"], Purpose: purpose,
			Digest: hex.EncodeToString(d[:]), Delegation: l.wide}})
	}
	return r, nil
}

// ready asks whether the appliance could sign; what it names instead goes to the test's log.
func (s *scene) ready(t testing.TB) bool {
	t.Helper()
	r := mustOf(s.as(t, "system").Ready(t.Context()))(t)
	if !r.Ready {
		t.Logf("not ready: %+v", r.Faults)
	}
	return r.Ready
}
