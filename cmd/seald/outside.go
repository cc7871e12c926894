package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sealkeeper/api"
	"sealkeeper/connector/account"
	certifier "sealkeeper/connector/authority"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/feed"
	"sealkeeper/connector/notice"
	"sealkeeper/connector/publicsecurity"
	"sealkeeper/connector/registration"
	"sealkeeper/connector/wire"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
)

// outside is what speaks with the systems outside. None of it is needed to sign.
type outside struct {
	delivery *delivery.Dispatcher
	feeds    map[string]*feed.Reader
	police   *publicsecurity.Connector // nil when it is not connected
	every    time.Duration             // how often police is asked
	licensed *certifier.Connector      // nil when it is not connected
}

// openOutside wires the connected systems.
func (a *appliance) openOutside(context.Context) error {
	o := &outside{feeds: map[string]*feed.Reader{}, licensed: a.licensed}
	to := map[string]delivery.Destination{}
	for _, s := range a.cfg.Connectors.Systems {
		if err := a.connect(o, to, s); err != nil {
			return fmt.Errorf("connecting %s: %w", s.System, err)
		}
	}
	c := a.cfg.Connectors
	o.delivery = delivery.New(a.store, delivery.Config{Most: c.BackOff, Age: c.DeadAfter, Tries: c.DeadTries, Parallel: c.Parallel, Now: time.Now, Log: a.log}, to)
	a.outside = o
	return nil
}

func (a *appliance) connect(o *outside, to map[string]delivery.Destination, s SystemConfig) error {
	answer := int64(0)
	if s.System == sysPublicSecurity {
		answer = publicsecurity.MaxAnswer
	}
	if s.System == sysRegistration {
		answer = 8 << 20
	}
	cl, err := a.client(s, answer)
	if err != nil {
		return err
	}
	reading := feed.Config{Every: s.Every, Now: time.Now, Log: a.log}
	switch s.System {
	case sysRegistration:
		pinned, err := points(a.cfg.Sources.Registration)
		if err != nil {
			return err
		}
		o.feeds[s.System] = feed.New(a.store, registration.Feed(registration.Source{Client: cl}, a.issuance, pinned, reading))
	case sysPublicSecurity:
		pinned, err := points(a.cfg.Sources.PublicSecurity)
		if err != nil {
			return err
		}
		codes, err := publicsecurity.LoadCodes(a.cfg.Connectors.Codes)
		if err != nil {
			return err
		}
		o.police, o.every = publicsecurity.New(publicsecurity.Config{Client: cl, Pinned: pinned, Codes: codes, Issuance: a.issuance, Register: a.register, Now: time.Now}), s.Every
		to[register.QueueFiling], o.feeds[s.System] = o.police, feed.New(a.store, o.police.Feed(reading))
	case sysAccount:
		to[issuance.QueueAccount] = &account.Connector{Client: cl, Store: a.store, Now: time.Now}
	case sysAuthority:
		to[register.QueueCertificates] = a.licensed
	case sysNotice:
		to[issuance.QueueNotice] = &notice.Connector{Client: cl}
	}
	return nil
}

// works lists what runs in the background for the systems outside.
func (a *appliance) works() []func(context.Context) {
	o := a.outside
	all := []func(context.Context){o.delivery.Run, a.issuance.RunExpiry}
	for _, f := range o.feeds {
		all = append(all, f.Run)
	}
	if o.police != nil {
		all = append(all, func(ctx context.Context) { o.police.Run(ctx, o.every, a.log) })
	}
	if o.licensed != nil && a.audit.Recovering() == "" {
		all = append(all, func(ctx context.Context) { o.licensed.Run(ctx, settleRequests, a.log) })
	}
	return all
}

// settleRequests is how often requests for certificates are looked through.
const settleRequests = time.Minute

// measure registers one line for each queue and feed.
func (o *outside) measure(r *prometheus.Registry) {
	gauge := func(name, help, label, of string, v func() float64) {
		opts := prometheus.GaugeOpts{Name: name, Help: help}
		if label != "" {
			opts.ConstLabels = prometheus.Labels{label: of}
		}
		r.MustRegister(prometheus.NewGaugeFunc(opts, v))
	}
	for _, q := range o.delivery.Queues() {
		stats := func() delivery.Stats { return o.delivery.Stats(q) }
		gauge("sealkeeper_outbox_waiting", "Messages that wait to be delivered.", "queue", q, func() float64 { return float64(stats().Waiting) })
		gauge("sealkeeper_outbox_dead", "Dead letters: an operator decides.", "queue", q, func() float64 { return float64(stats().Dead) })
		gauge("sealkeeper_outbox_down", "1 while the system outside does not answer.", "queue", q, func() float64 { return one(stats().Down) })
		gauge("sealkeeper_outbox_delivered", "Messages delivered since the start.", "queue", q, func() float64 { return float64(stats().Delivered) })
		gauge("sealkeeper_outbox_failed", "Failed tries since the start.", "queue", q, func() float64 { return float64(stats().Failed) })
	}
	for name, f := range o.feeds {
		gauge("sealkeeper_feed_last", "Number of the last message read.", "feed", name, func() float64 { return float64(f.Stats().Last) })
		gauge("sealkeeper_feed_held", "Messages that could not be taken.", "feed", name, func() float64 { return float64(f.Stats().Held) })
		gauge("sealkeeper_feed_stopped", "1 when the last round did not come to the end of the feed.", "feed", name, func() float64 { return one(f.Stats().Stopped != "") })
	}
	if o.licensed != nil {
		gauge("sealkeeper_certificates_waiting", "Requests that the certificate authority has not answered.", "", "", func() float64 { return float64(o.licensed.Waiting()) })
	}
	if o.police != nil {
		gauge("sealkeeper_filings_pending", "Made seals that wait to be filed with public security.", "", "", func() float64 { n, _ := o.police.Pending(); return float64(n) })
		gauge("sealkeeper_filings_overdue", "Made seals not filed within 24 hours: an alarm.", "", "", func() float64 { _, n := o.police.Pending(); return float64(n) })
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Systems is api.Outside.
func (o *outside) Systems(context.Context) []api.OutsideSystem {
	var all []api.OutsideSystem
	for _, q := range o.delivery.Queues() {
		s := o.delivery.Stats(q)
		all = append(all, api.OutsideSystem{Queue: q, Waiting: s.Waiting, Dead: s.Dead, Delivered: s.Delivered, Failed: s.Failed, Down: s.Down})
	}
	for _, name := range systems {
		if f := o.feeds[name]; f != nil {
			s := f.Stats()
			all = append(all, api.OutsideSystem{Feed: name, Last: s.Last, Held: s.Held, Stopped: s.Stopped})
		}
	}
	return all
}

func (o *outside) Messages(ctx context.Context, queue, state, cursor string, limit int) ([]api.OutboxMessage, string, error) {
	ms, next, err := o.delivery.List(ctx, queue, delivery.State(state), cursor, limit)
	all := make([]api.OutboxMessage, len(ms))
	for n, m := range ms {
		all[n] = shown(m)
	}
	return all, next, outsideError(err)
}

func shown(m delivery.Message) api.OutboxMessage {
	return api.OutboxMessage{ID: m.ID, Queue: m.Queue, Entity: m.Entity, Kind: m.Kind, State: string(m.State), Behind: m.Behind, Created: m.Created, Due: m.Due,
		Tries: m.Tries, Last: m.Last}
}

func (o *outside) Redeliver(ctx context.Context, req *keystore.Request, by audit.Actor, id string) error {
	return outsideError(o.delivery.Redeliver(ctx, req, by, id))
}

func (o *outside) Discard(ctx context.Context, req *keystore.Request, by audit.Actor, id, why string) error {
	return outsideError(o.delivery.Discard(ctx, req, by, id, why))
}

func (o *outside) Held(ctx context.Context, name, cursor string, limit int) ([]api.HeldMessage, string, error) {
	f := o.feeds[name]
	if f == nil {
		return nil, "", fmt.Errorf("feed %.40q: %w", name, keystore.ErrNotFound)
	}
	hs, next, err := f.Held(ctx, cursor, limit)
	all := make([]api.HeldMessage, len(hs))
	for n, h := range hs {
		all[n] = api.HeldMessage{Feed: h.Feed, Seq: h.Seq, Entity: h.Entity, At: h.At, Since: h.Since, Tried: h.Tried, Again: h.Again, Why: h.Why}
	}
	return all, next, outsideError(err)
}

func (o *outside) Retry(ctx context.Context, req *keystore.Request, by audit.Actor, name string, seq uint64) error {
	f := o.feeds[name]
	if f == nil {
		return fmt.Errorf("feed %.40q: %w", name, keystore.ErrNotFound)
	}
	return outsideError(f.Retry(ctx, req, by, seq))
}

func (o *outside) Drop(ctx context.Context, req *keystore.Request, by audit.Actor, name string, seq uint64, why string) error {
	f := o.feeds[name]
	if f == nil {
		return fmt.Errorf("feed %.40q: %w", name, keystore.ErrNotFound)
	}
	return outsideError(f.Drop(ctx, req, by, seq, why))
}

// outsideErrors gives the connectors' errors the names by which the HTTP layer knows them.
var outsideErrors = []struct{ is, as error }{
	{delivery.ErrUnknown, keystore.ErrNotFound}, {feed.ErrUnknown, keystore.ErrNotFound}, {delivery.ErrNotDead, api.ErrNotDead},
	{delivery.ErrWhy, api.ErrNoReason}, {feed.ErrWhy, api.ErrNoReason},
	{wire.ErrDown, api.ErrOutside}, {wire.ErrGarbage, api.ErrOutside}, {wire.ErrRefused, api.ErrOutside},
}

func outsideError(err error) error {
	for _, e := range outsideErrors {
		if errors.Is(err, e.is) {
			return fmt.Errorf("%w: %w", e.as, err)
		}
	}
	return err
}
