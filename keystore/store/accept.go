package store

import "encoding/binary"

// resume commits the item although the store is read-only and, from the next item on, lifts that state; a failing commit stops the store
// anyway. Whoever may put the past right may also accept the clock, so a clock in doubt does not stand in the way.
func (b *Bolt) resume(g *group, it *item) (Receipt, error) {
	apply := it.apply
	if _, err := g.time(); err != nil {
		apply = func(g *group) (Receipt, error) { return b.acceptClock(g, it) }
	}
	r, err := apply(g)
	if err == nil && g.fatal == nil && !r.Duplicate {
		b.readOnly.Store(nil)
	}
	return r, err
}

// acceptClock makes the clock right and applies the item as the first one under it. An earlier record of this group shares its
// transaction but not its time.
func (b *Bolt) acceptClock(g *group, it *item) (Receipt, error) {
	clockBefore, coverBefore, nowBefore := *b.w.clock, b.w.cover, g.now
	now := b.w.clock.accept()
	b.w.cover.horizon = min(coverBefore.horizon, micros(now))
	g.now = now
	r, err := it.apply(g)
	if err != nil || r.Duplicate {
		*b.w.clock, b.w.cover, g.now = clockBefore, coverBefore, nowBefore
		return r, err
	}
	if b.w.cover.horizon != coverBefore.horizon {
		if err := g.recall(micros(now)); err != nil {
			g.fatal = err
			return Receipt{}, err
		}
	}
	b.doubt.Store(nil)
	return r, nil
}

// recall restores from the log every counter that is still valid at now: with the clock set back, some were forgotten too early. Until the
// next snapshot an Open would replay the whole log.
func (g *group) recall(now int64) error {
	c := g.tx.Bucket(bucketRecord).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r, err := ParseRecord(binary.BigEndian.Uint64(k), v)
		if err != nil {
			return err
		}
		for _, s := range r.Spent {
			if at := micros(s.Expires); at == 0 || at >= now {
				g.counters[s.Counter] = g.counter(s.Counter, at).merge(s.After, at)
			}
		}
	}
	g.b.w.cover.records = 0
	return g.tx.Bucket(bucketMeta).Put(keySnapshot, g.b.w.cover.encode())
}
