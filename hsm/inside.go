package hsm

import (
	"sync"
	"time"
)

// inside knows which calls are in the module now. The zero value is empty.
type inside struct {
	mu    sync.Mutex
	next  uint64
	calls map[uint64]visit
}

type visit struct {
	act   string
	since time.Time
}

// enter notes a call; the result ends it.
func (i *inside) enter(act string) func() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.calls == nil {
		i.calls = map[uint64]visit{}
	}
	n := i.next
	i.next++
	i.calls[n] = visit{act, time.Now()}
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.calls, n)
	}
}

// oldest returns what has been inside longest; false when nothing is.
func (i *inside) oldest() (visit, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var first visit
	for _, v := range i.calls {
		if first.since.IsZero() || v.since.Before(first.since) {
			first = v
		}
	}
	return first, !first.since.IsZero()
}

// Oldest says what has been inside the module longest, and for how long: zero when nothing is. A C call cannot be interrupted, so whoever runs
// the module in a process of its own ends that process when this grows too long.
func (m *Module) Oldest() (act string, inside time.Duration) {
	v, any := m.inside.oldest()
	if !any {
		return "", 0
	}
	return v.act, time.Since(v.since)
}
