package hsm

import (
	"context"

	"github.com/miekg/pkcs11"
)

// Hooks for tests alone.

// Raw returns the raw context and slot of the present epoch, to do things underneath.
func (m *Module) Raw() (*pkcs11.Ctx, uint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cur.raw, m.cur.slot
}

// Idle returns the sessions lying in the pool.
func (m *Module) Idle() []pkcs11.SessionHandle {
	m.mu.Lock()
	e := m.cur
	m.mu.Unlock()
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	return append([]pkcs11.SessionHandle{}, e.pool.idle...)
}

// Occupy runs f inside the module with a session of the pool.
func (m *Module) Occupy(ctx context.Context, f func()) error {
	return m.call(ctx, "occupying", func(*session) error { f(); return nil })
}

// FailWith runs a call whose session answers with an error, and returns how often it was tried.
func (m *Module) FailWith(ctx context.Context, err error, final bool) (int, error) {
	n := 0
	got := m.call(ctx, "failing", func(s *session) error { n++; s.final = final; return err })
	return n, got
}

// Forget empties the handle cache.
func (m *Module) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur.keys.forget(ObjectID{})
}

// EncodeData is the content of a data object.
var EncodeData = encodeData

// Holder is the session that owns open keys.
func (m *Module) Holder() pkcs11.SessionHandle {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cur.opened.holder
}
