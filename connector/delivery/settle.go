package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// appliance is who makes a message a dead letter.
var appliance = audit.Appliance("delivery")

// deliver tries a batch at once, each message of another entity, and settles each.
func (d *Dispatcher) deliver(ctx context.Context, l *lane, batch []parcel) error {
	failures := make([]error, len(batch))
	var g sync.WaitGroup
	for n, p := range batch {
		g.Go(func() {
			try, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
			defer cancel()
			failures[n] = l.to.Deliver(try, p.Message)
		})
	}
	g.Wait()
	if ctx.Err() != nil {
		return ctx.Err() // what was taken is delivered once more, and known by its key
	}
	var errs []error
	answered := false
	for n, p := range batch {
		err := failures[n]
		answered = answered || err == nil || errors.Is(err, wire.ErrRefused)
		errs = append(errs, d.settle(ctx, l, p, err))
	}
	d.weather(ctx, l, answered)
	return errors.Join(errs...)
}

// weather notes whether the destination answers at all: while it does not, one message at a time is tried, after a pause.
func (d *Dispatcher) weather(ctx context.Context, l *lane, answered bool) {
	was := l.down
	if l.down++; answered {
		l.down = 0
	}
	l.isDown.Store(l.down > 0)
	if l.down > 0 {
		l.until = d.cfg.Now().Add(d.backoff(l.down))
	}
	if (was > 0) != (l.down > 0) {
		d.cfg.Log.WarnContext(ctx, "outside system", slog.String("queue", l.queue), slog.Bool("answers", answered))
	}
}

func (d *Dispatcher) settle(ctx context.Context, l *lane, p parcel, failure error) error {
	if failure == nil {
		l.delivered.Add(1)
		return d.remove(ctx, l, nil, p, nil)
	}
	l.failed.Add(1)
	now := d.cfg.Now().UTC()
	m := p.Message
	m.Tries++
	m.Last = wire.Cut(failure.Error(), 300)
	if !d.hopeless(m, failure, now) {
		m.Due = now.Add(d.backoff(m.Tries))
		return d.write(ctx, nil, m, p.at, nil)
	}
	m.State = Dead
	body, err := audit.Event{Kind: "dead-letter", Actor: appliance, Subject: m.ID, Detail: m.tag(m.Last)}.Body()
	if err != nil {
		return err
	}
	d.cfg.Log.WarnContext(ctx, "dead letter", slog.String("id", m.ID), slog.String("queue", m.Queue), slog.String("error", m.Last))
	if err := d.write(ctx, nil, m, p.at, body); err != nil {
		return err
	}
	l.count(Waiting, -1)
	l.count(Dead, 1)
	return nil
}

func (d *Dispatcher) hopeless(m Message, failure error, now time.Time) bool {
	return errors.Is(failure, wire.ErrRefused) || now.Sub(m.Since) > d.cfg.Age || d.cfg.Tries > 0 && m.Tries >= d.cfg.Tries
}

// tag is what records say of a message. The body is in the records of the change that sent it.
type tag struct {
	Queue  string `json:"queue"`
	Entity string `json:"entity"`
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Tries  int    `json:"tries"`
	Why    string `json:"why,omitempty"`
}

func (m Message) tag(why string) tag { return tag{m.Queue, m.Entity, m.Kind, m.Key, m.Tries, why} }

func (d *Dispatcher) write(ctx context.Context, req *store.Request, m Message, at store.Version, record []byte) error {
	mu, err := m.put(at)
	if err != nil {
		return err
	}
	mu.Request = req
	if record != nil {
		mu.Audit = [][]byte{record}
	}
	if _, err := d.st.Commit(ctx, mu); err != nil {
		return fmt.Errorf("settling message %s: %w", m.ID, err)
	}
	return nil
}

// remove ends a message; the next one of its entity moves up in the same commit.
func (d *Dispatcher) remove(ctx context.Context, l *lane, req *store.Request, p parcel, record []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := []byte(p.ID)
	mu := store.Mutation{Request: req, Put: []store.Put{{Collection: messages, Key: key}}, Expect: []store.Expect{{Collection: messages, Key: key, Version: p.at}}}
	if record != nil {
		mu.Audit = [][]byte{record}
	}
	page, err := d.st.List(ctx, messages, byEntity, entityKey(p.Queue, p.Entity), "", 2)
	if err != nil {
		return err
	}
	for _, it := range page.Items {
		next, err := decode(it)
		if err != nil {
			return err
		}
		if next.ID == p.ID || !next.Behind {
			continue
		}
		next.Behind = false
		up, err := next.put(it.Version)
		if err != nil {
			return err
		}
		mu.Put, mu.Expect = append(mu.Put, up.Put...), append(mu.Expect, up.Expect...)
		break
	}
	if _, err := d.st.Commit(ctx, mu); err != nil {
		return fmt.Errorf("settling message %s: %w", p.ID, err)
	}
	l.count(p.State, -1)
	return nil
}
