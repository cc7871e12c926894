package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"sealkeeper/keystore/store"
)

// events checks that records follow each other as the store writes them.
type events struct {
	last time.Time
	open int // records of the present mutation that are still to come
	part int
}

// next judges a record's place, time and event.
func (e *events) next(h store.Head, r store.Record) *Finding {
	if r.Part == 0 {
		if e.open > 0 {
			return record(r.Index, "begins a mutation, but %d records of the one before are missing", e.open)
		}
		e.open, e.part = r.Of, 0
	} else if e.open == 0 || r.Part != e.part {
		return record(r.Index, "is part %d of a mutation, part %d was due", r.Part, e.part)
	}
	e.open--
	e.part++
	ev, err := ParseBody(r.Body)
	if err != nil {
		return record(r.Index, "%v", err)
	}
	if r.Time.Before(e.last) && ev.Kind != KindClockAccepted && ev.Kind != KindResynchronised {
		return record(r.Index, "is older than the one before it, and no operator accepted the clock")
	}
	e.last = r.Time
	if r.Index == 0 {
		return genesis(h, ev)
	}
	return nil
}

// genesis compares the log's first record, where it names log and hash, with the file.
func genesis(h store.Head, e Event) *Finding {
	raw, _ := e.Detail.(json.RawMessage)
	var g Genesis
	if e.Kind != KindGenesis || json.Unmarshal(raw, &g) != nil {
		return nil
	}
	if g.Log != "" && g.Log != h.Log || g.Hash != "" && g.Hash != h.Hash {
		return record(0, "founds log %q with %q, the file is log %q with %q", g.Log, g.Hash, h.Log, h.Hash)
	}
	return nil
}

// books keeps counters and requests as the records tell them, to be compared with the snapshot.
type books struct {
	head     store.Head
	counters map[string]account
	covered  map[string]account // as they stood at the snapshot's position

	oldest   uint64              // from this record on requests are remembered
	stored   map[uint64][16]byte // the snapshot's requests, not met yet
	requests map[[16]byte]uint64
}

type account struct {
	value   uint64
	expires time.Time // zero for never
}

// pruneEvery is how often expired counters are let go, so that the check of a long log stays small.
const pruneEvery = 1 << 16

func (b *books) load(ctx context.Context, f *store.File, h store.Head) error {
	b.head, b.counters, b.stored, b.requests = h, map[string]account{}, map[uint64][16]byte{}, map[[16]byte]uint64{}
	b.oldest = h.Covered
	return f.Requests(ctx, func(first uint64, key [16]byte) error {
		if len(b.stored) == 0 { // they come in order
			b.oldest = first
		}
		b.stored[first] = key
		return nil
	})
}

// next books a record.
func (b *books) next(r store.Record) *Finding {
	if r.Index == b.head.Covered {
		b.covered = maps.Clone(b.counters)
	}
	if r.Index%pruneEvery == 0 {
		maps.DeleteFunc(b.counters, func(_ string, a account) bool { return !a.expires.IsZero() && a.expires.Before(r.Time) })
	}
	for _, s := range r.Spent {
		a, known := b.counters[s.Counter]
		if known && s.After == s.N && !a.expires.IsZero() && a.expires.Before(r.Time) {
			known = false // forgotten after its expiry, begun again
		}
		if known && s.After != a.value+s.N || !known && s.After < s.N {
			return record(r.Index, "counter %q: %d and %d do not give %d", s.Counter, a.value, s.N, s.After)
		}
		if !known || !a.expires.IsZero() && (s.Expires.IsZero() || s.Expires.After(a.expires)) {
			a.expires = s.Expires
		}
		a.value = s.After
		b.counters[s.Counter] = a
	}
	if r.Request != nil && r.Index >= b.oldest {
		return b.request(r)
	}
	return nil
}

func (b *books) request(r store.Record) *Finding {
	key := store.RequestKey(*r.Request)
	if first, twice := b.requests[key]; twice {
		return record(r.Index, "answers request %q again, which record %d answered", r.Request.ID, first)
	}
	b.requests[key] = r.Index
	if r.Index >= b.head.Covered {
		return nil
	}
	if stored, ok := b.stored[r.Index]; !ok || stored != key {
		return &Finding{Part: "request", Problem: fmt.Sprintf("the snapshot does not know the request of record %d", r.Index)}
	}
	delete(b.stored, r.Index)
	return nil
}

// finish compares the snapshot: no counter may be behind its records, ahead of them, unknown to them, or missing before its time.
func (b *books) finish(ctx context.Context, f *store.File) error {
	if b.covered == nil {
		b.covered = b.counters
	}
	for first := range b.stored {
		if first < b.head.Covered {
			return &Finding{Part: "request", Problem: fmt.Sprintf("the snapshot knows a request of record %d that is not there", first)}
		}
	}
	found := map[string]uint64{}
	err := f.Counters(ctx, func(name string, value uint64, expires time.Time) error {
		end, known := b.counters[name]
		if !known && (expires.IsZero() || !expires.Before(b.head.Time)) {
			return &Finding{Part: "counter", Problem: fmt.Sprintf("no record tells of counter %q", name)}
		}
		if known && value > end.value {
			return &Finding{Part: "counter", Problem: fmt.Sprintf("counter %q stands at %d, the records say %d", name, value, end.value)}
		}
		found[name] = max(found[name], value)
		return nil
	})
	if err != nil {
		return err
	}
	for name, a := range b.covered {
		forgotten := !a.expires.IsZero() && a.expires.Before(b.head.Horizon)
		if !forgotten && found[name] < a.value {
			return &Finding{Part: "counter", Problem: fmt.Sprintf("counter %q stands at %d, the records say at least %d", name, found[name], a.value)}
		}
	}
	return nil
}
