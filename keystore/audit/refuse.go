package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"sealkeeper/keystore/store"
)

// maxRefusals is how many different refusals may wait to be written; more are only counted.
const maxRefusals = 1024

// refusals collects what was refused since it was last written.
type refusals struct {
	mu      sync.Mutex
	waiting map[string]*refusal
	dropped uint64
	wake    chan struct{}

	writing sync.Mutex      // one writer at a time
	pending *store.Mutation // taken, but not known to be written; repeated under its request until it is
}

// refusal is one kind of refusal in one second.
type refusal struct {
	event  Event
	second int64 // Unix time
	count  uint64
}

// Refused is the Result of a refusal record: Count equal events of that second, UTC. A record with Subject "overflow" says how many more
// were refused than could be kept apart.
type Refused struct {
	Second string `json:"second"` // RFC 3339
	Count  uint64 `json:"count"`
}

// Refuse records that an authenticated client was refused. It does not wait: equal events (actor, subject, detail) within one second
// become one record with their number, written soon by Run and tried again until the store takes it. What is lost when the process is killed
// before is at most a second of refusals.
func (l *Log) Refuse(e Event) {
	e.Kind, e.Result = KindRefusal, nil
	body, err := e.Body()
	if err != nil {
		l.cfg.Log.Error("a refusal cannot be recorded", "error", err)
		return
	}
	r := &l.refusals
	second := time.Now().Unix()
	key := fmt.Sprintf("%d %s", second, body)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch known := r.waiting[key]; {
	case known != nil:
		known.count++
	case len(r.waiting) >= maxRefusals:
		r.dropped++
	default:
		if r.waiting == nil {
			r.waiting = map[string]*refusal{}
		}
		r.waiting[key] = &refusal{e, second, 1}
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take empties the collection, oldest first.
func (r *refusals) take() (list []*refusal, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.waiting {
		list = append(list, x)
	}
	dropped, r.waiting, r.dropped = r.dropped, nil, 0
	slices.SortFunc(list, func(a, b *refusal) int {
		return cmp.Or(cmp.Compare(a.second, b.second), cmp.Compare(a.event.Actor.ID, b.event.Actor.ID), cmp.Compare(a.event.Subject, b.event.Subject))
	})
	return list, dropped
}

// mutation makes the records of what was taken, nil when that is nothing.
func (l *Log) mutation(list []*refusal, dropped uint64) (*store.Mutation, error) {
	m := &store.Mutation{Request: &store.Request{Client: "audit-refusals", ID: rand.Text()}}
	for _, x := range list {
		x.event.Result = Refused{time.Unix(x.second, 0).UTC().Format(time.RFC3339), x.count}
		body, err := x.event.Body()
		if err != nil {
			return nil, err
		}
		m.Audit = append(m.Audit, body)
	}
	if dropped > 0 {
		e := Event{Kind: KindRefusal, Actor: Appliance("audit"), Subject: "overflow", Result: Refused{time.Now().UTC().Format(time.RFC3339), dropped}}
		body, err := e.Body()
		if err != nil {
			return nil, err
		}
		m.Audit = append(m.Audit, body)
	}
	if len(m.Audit) == 0 {
		return nil, nil
	}
	return m, nil
}

// flush writes what was refused, in one commit. One whose outcome is not known is repeated under the same request, so it counts once.
func (l *Log) flush(ctx context.Context) (err error) {
	r := &l.refusals
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.pending == nil {
		if r.pending, err = l.mutation(r.take()); err != nil {
			return fmt.Errorf("writing refusals: %w", err)
		}
	}
	if r.pending == nil {
		return nil
	}
	if _, err := l.st.Commit(ctx, *r.pending); err != nil {
		l.cfg.Log.Error("refusals could not be recorded yet", "records", len(r.pending.Audit), "error", err)
		select {
		case r.wake <- struct{}{}:
		default:
		}
		return fmt.Errorf("writing refusals: %w", err)
	}
	r.pending = nil
	return nil
}
