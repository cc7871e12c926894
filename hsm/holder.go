package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

// Opened bounds the wrapped keys that are open, that is unwrapped to session objects, at one time.
type Opened struct {
	// Keys is how many stay open for their next use. Zero means 4,096; in SoftHSM2 one takes some 10 kB.
	Keys int
	// Renew is after how many unwraps the library is closed and opened again. Zero means 50,000 where the profile's quirk unwrap-leaks says that
	// the library keeps memory of each, and never elsewhere; less than zero means never.
	Renew int
}

const (
	defaultOpened = 4096
	defaultRenew  = 50_000
)

func (c Config) opened() (most, renew int) {
	most, renew = c.Opened.Keys, c.Opened.Renew
	if most == 0 {
		most = defaultOpened
	}
	if renew == 0 && c.Profile.Has(firmware.QuirkUnwrapLeaks) {
		renew = defaultRenew
	}
	if c.ManualLogin {
		renew = 0 // nobody would log in again
	}
	return most, max(renew, 0)
}

// signWrapped signs with a key that is not in the token: it is opened first, unless it is open.
func (m *Module) signWrapped(ctx context.Context, act string, r SignRequest) ([]byte, error) {
	w := *r.Wrapped
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", act, err)
	}
	if w.Key != r.Key || w.Algorithm != r.Algorithm {
		return nil, fmt.Errorf("%s: the wrapped key is %s key %s: %w", act, w.Algorithm, w.Key, ErrBlob)
	}
	var sig []byte
	sum := w.sum(w.Nonce, w.Blob)
	err := m.repeat(ctx, act, func(e *epoch, tried remedies) outcome {
		a := e.suites[r.Algorithm]
		if a == nil {
			return outcome{err: ErrUnsupported}
		}
		o, err := e.opened.acquire(ctx, sum, func() (*opened, error) { return m.openWrapped(e, tried, w) })
		if err != nil {
			return outcome{err: err}
		}
		return m.attempt(ctx, act, e, tried, func() { e.opened.release(o) }, func(s *session) (err error) {
			sig, err = s.signRaw(a, o.handle, r)
			if classify(err) == classHandle {
				e.opened.stale(o)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// openWrapped opens one wrapped key. What it was bound to is checked with a session of the pool, since a refusal may leave a session in a state that
// ends it; the unwrapping is the holder's. It does not depend on the callers, who may leave.
func (m *Module) openWrapped(e *epoch, tried remedies, w Wrapped) (*opened, error) {
	ctx := context.Background()
	act := fmt.Sprintf("opening key %s", w.Key)
	var u wrapping
	var blob []byte
	o := m.attempt(ctx, act, e, tried, func() {}, func(s *session) (err error) {
		if u, err = s.wrapping(w.Algorithm, w.Wrapping); err == nil {
			blob, err = s.unbind(u, w)
		}
		if classify(err) == classHandle {
			e.keys.forget(w.KEK)
			e.keys.forget(w.Binder)
		}
		return err
	})
	if o.err != nil {
		return nil, o.err
	}
	h, err := m.hold(e, act, u, blob)
	if err != nil {
		return nil, err
	}
	if e.opened.worn() {
		m.end(e, errRenewal)
	}
	return &opened{key: w.Key, handle: h}, nil
}

// hold unwraps with the holder and destroys what was put out.
func (m *Module) hold(e *epoch, act string, u wrapping, blob []byte) (h pkcs11.ObjectHandle, err error) {
	if err := e.opened.turn.enter(context.Background()); err != nil {
		return 0, err
	}
	defer e.opened.turn.leave()
	defer m.inside.enter(act)()
	s, err := m.holder(e)
	if err != nil {
		return 0, err
	}
	if h, err = s.unwrap(u, blob, useFlags); err == nil {
		err = s.sweep()
	}
	if classify(err) == classSession {
		_ = e.raw.CloseSession(s.h) // it may be dead, which is why
		e.opened.holder = 0
		e.opened.lost()
	}
	return h, err
}

// holder returns the session that owns open keys. The caller has its turn.
func (m *Module) holder(e *epoch) (*session, error) {
	if e.holders == 0 {
		return nil, fmt.Errorf("%d sessions are too few for wrapped keys, %d are needed: %w", m.cfg.MaxSessions, minSessions+1, ErrUnsupported)
	}
	if e.opened.holder == 0 {
		h, err := e.openSession()
		if err != nil {
			return nil, fmt.Errorf("opening a session to hold keys: %w", err)
		}
		e.opened.holder = h
	}
	return &session{m: m, e: e, h: e.opened.holder}, nil
}

// sweep destroys what was put out of the open keys. A handle that is not valid any more is none.
func (s *session) sweep() error {
	for _, h := range s.e.opened.taken() {
		if err := s.e.raw.DestroyObject(s.h, h); err != nil && classify(err) != classHandle {
			return fmt.Errorf("destroying session object: %w", err)
		}
	}
	return nil
}

// shutHolder waits until the holder is at rest and closes it, which ends its objects.
func (e *epoch) shutHolder(ctx context.Context) error {
	if err := e.opened.turn.drain(ctx, 1); err != nil {
		return err
	}
	if e.opened.holder != 0 {
		_ = e.raw.CloseSession(e.opened.holder)
		e.opened.holder = 0
	}
	return nil
}

// forgetOpened destroys what is open of a key.
func (s *session) forgetOpened(id ObjectID) (bool, error) {
	if !s.e.opened.forget(id) {
		return false, nil
	}
	err := s.sweep()
	return true, err
}
