package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

var (
	// ErrUnknown: no such message; it was delivered, or never was.
	ErrUnknown = errors.New("no such message")
	// ErrNotDead: the message is still being delivered.
	ErrNotDead = errors.New("the message is not a dead letter")
	// ErrWhy: no reason was given.
	ErrWhy = errors.New("no reason given")
)

// Stats counts one destination.
type Stats struct {
	Waiting, Dead     int64  // messages taken in; those behind others count as waiting
	Delivered, Failed uint64 // tries since the start
	Down              bool
}

// Stats reports on one queue.
func (d *Dispatcher) Stats(queue string) Stats {
	l := d.lanes[queue]
	if l == nil {
		return Stats{}
	}
	return Stats{Waiting: l.waiting.Load(), Dead: l.dead.Load(), Delivered: l.delivered.Load(), Failed: l.failed.Load(), Down: l.isDown.Load()}
}

// census counts what an earlier process left, once.
func (d *Dispatcher) census(ctx context.Context, l *lane) error {
	if l.counted {
		return nil
	}
	for _, s := range []State{Waiting, Dead} {
		for cursor := ""; ; {
			p, err := d.st.List(ctx, messages, byState, stateKey(l.queue, s), cursor, 1000)
			if err != nil {
				return fmt.Errorf("counting messages of %s: %w", l.queue, err)
			}
			l.count(s, int64(len(p.Items)))
			if cursor = p.Next; cursor == "" {
				break
			}
		}
	}
	l.counted = true
	return nil
}

// List pages through the messages of a queue in a state, the oldest first.
func (d *Dispatcher) List(ctx context.Context, queue string, s State, cursor string, limit int) (all []Message, next string, err error) {
	p, err := d.st.List(ctx, messages, byState, stateKey(queue, s), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing messages: %w", err)
	}
	for _, it := range p.Items {
		m, err := decode(it)
		if err != nil {
			return nil, "", err
		}
		all = append(all, m)
	}
	return all, p.Next, nil
}

// Redeliver sends a dead letter again, under its own key. A request that was carried out before changes nothing. ErrUnknown, ErrNotDead.
func (d *Dispatcher) Redeliver(ctx context.Context, req *store.Request, by audit.Actor, id string) error {
	if done, err := d.answered(ctx, req); done || err != nil {
		return err
	}
	p, l, err := d.deadLetter(ctx, id)
	if err != nil {
		return err
	}
	now := d.cfg.Now().UTC()
	m := p.Message
	m.State, m.Tries, m.Since, m.Due = Waiting, 0, now, now
	body, err := audit.Event{Kind: "redelivered", Actor: by, Subject: m.ID, Detail: p.tag("")}.Body()
	if err != nil {
		return err
	}
	if err := d.write(ctx, req, m, p.at, body); err != nil {
		return err
	}
	l.count(Dead, -1)
	l.count(Waiting, 1)
	return nil
}

// answered reports whether a request was carried out before.
func (d *Dispatcher) answered(ctx context.Context, req *store.Request) (bool, error) {
	if req == nil {
		return false, nil
	}
	_, err := d.st.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Discard gives a dead letter up for good, and says why; what stands behind it moves up. ErrUnknown, ErrNotDead, ErrWhy.
func (d *Dispatcher) Discard(ctx context.Context, req *store.Request, by audit.Actor, id, why string) error {
	if done, err := d.answered(ctx, req); done || err != nil {
		return err
	}
	if why = strings.TrimSpace(why); why == "" {
		return fmt.Errorf("discarding message %.16q: %w", id, ErrWhy)
	}
	p, l, err := d.deadLetter(ctx, id)
	if err != nil {
		return err
	}
	body, err := audit.Event{Kind: "discarded", Actor: by, Subject: p.ID, Detail: p.tag(wire.Cut(why, 256))}.Body()
	if err != nil {
		return err
	}
	return d.remove(ctx, l, req, p, body)
}

func (d *Dispatcher) deadLetter(ctx context.Context, id string) (parcel, *lane, error) {
	it, err := d.st.Get(ctx, messages, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		err = ErrUnknown
	}
	if err != nil {
		return parcel{}, nil, fmt.Errorf("message %.16q: %w", id, err)
	}
	m, err := decode(it)
	if err != nil {
		return parcel{}, nil, err
	}
	l := d.lanes[m.Queue]
	if m.State != Dead || l == nil {
		return parcel{}, nil, fmt.Errorf("message %s is %s: %w", m.ID, m.State, ErrNotDead)
	}
	return parcel{m, it.Version}, l, nil
}

// Overdue reports how long the oldest waiting message of a queue has waited; zero when none waits.
func (d *Dispatcher) Overdue(ctx context.Context, queue string) (time.Duration, error) {
	all, _, err := d.List(ctx, queue, Waiting, "", 1)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return max(0, d.cfg.Now().Sub(all[0].Since)), nil
}
