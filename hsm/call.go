package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// session is what a call has while it is inside the module.
type session struct {
	m *Module
	e *epoch
	h pkcs11.SessionHandle

	used  ObjectID // key whose cached handle is in use, to forget when it proves stale
	final bool     // something has changed in the token: the call must not be repeated
}

// remedies counts what one call has tried: a fresh session once, a new search once, a new epoch twice, since the first may have been somebody
// else's misfortune.
type remedies struct{ session, handle, epoch int }

// outcome is what an attempt tells about itself besides its error.
type outcome struct {
	used  ObjectID
	final bool
	docs  bool // the error came from inside crypto11, whose sessions nobody can drop one by one
	err   error
}

// call runs f with a session of the pool.
func (m *Module) call(ctx context.Context, act string, f func(s *session) error) error {
	return m.repeat(ctx, act, func(e *epoch, tried remedies) outcome { return m.attempt(ctx, act, e, tried, func() {}, f) })
}

// attempt runs f once with a session of the pool, and done when nothing of it is inside the module any more, whoever waited.
func (m *Module) attempt(ctx context.Context, act string, e *epoch, tried remedies, done func(), f func(s *session) error) outcome {
	if err := e.pool.enter(ctx); err != nil {
		done()
		return outcome{err: err}
	}
	return m.await(ctx, act, func() outcome {
		defer done()
		return m.entered(e, tried, f)
	})
}

// entered runs f for a caller whom the pool let in.
func (m *Module) entered(e *epoch, tried remedies, f func(s *session) error) outcome {
	h, err := e.pool.take(tried.session > 0)
	if err != nil {
		return outcome{err: err}
	}
	s := &session{m: m, e: e, h: h}
	err = f(s)
	_, bad := code(err)
	if bad {
		m.evictions.Add(1)
	}
	e.pool.giveBack(h, !bad)
	return outcome{used: s.used, final: s.final, err: err}
}

// onDocs runs f with crypto11.
func (m *Module) onDocs(ctx context.Context, act string, id ObjectID, f func(e *epoch, docs *crypto11.Context) error) error {
	return m.repeat(ctx, act, func(e *epoch, _ remedies) outcome {
		if err := e.sign.enter(ctx); err != nil {
			return outcome{err: err}
		}
		return m.await(ctx, act, func() outcome {
			defer e.sign.leave()
			return outcome{used: id, docs: true, err: f(e, e.docs)}
		})
	})
}

// onDesk runs f without a session.
func (m *Module) onDesk(ctx context.Context, act string, f func(e *epoch) error) error {
	return m.repeat(ctx, act, func(e *epoch, _ remedies) outcome {
		if err := e.desk.enter(ctx); err != nil {
			return outcome{err: err}
		}
		return m.await(ctx, act, func() outcome {
			defer e.desk.leave()
			return outcome{err: f(e)}
		})
	})
}

// await runs the C call and waits for it as long as the caller does. The call itself always runs to its end and returns its permit.
func (m *Module) await(ctx context.Context, act string, run func() outcome) outcome {
	timed := func() outcome {
		defer m.inside.enter(act)()
		return run()
	}
	if ctx.Done() == nil {
		return timed()
	}
	done := make(chan outcome, 1)
	go func() { done <- timed() }()
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
		return outcome{err: fmt.Errorf("leaving a call to the token: %w", context.Cause(ctx))}
	}
}

// repeat runs attempts until one succeeds or no remedy is left.
func (m *Module) repeat(ctx context.Context, act string, attempt func(e *epoch, tried remedies) outcome) error {
	var tried remedies
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", act, context.Cause(ctx))
		}
		e, err := m.enter(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		o := attempt(e, tried)
		if o.err == nil {
			return nil
		}
		if errors.Is(o.err, errEnded) || errors.Is(o.err, errFewer) {
			continue // the epoch was over before the call got in, or it waits for a session that somebody else has
		}
		if again := m.remedy(ctx, e, &tried, o); !again {
			return fmt.Errorf("%s: %w", act, m.verdict(e, o))
		}
	}
}

// remedy does what the error calls for and says whether to go on.
func (m *Module) remedy(ctx context.Context, e *epoch, tried *remedies, o outcome) bool {
	left := func(did *int, most int) bool {
		*did++
		return *did <= most && !o.final
	}
	switch classify(o.err) {
	case classSession:
		// crypto11 would keep the dead session and hand it out again: only a new epoch rids it of it.
		if !o.docs && left(&tried.session, 1) {
			return true
		}
	case classUnwell:
		if left(&tried.session, 1) {
			return true
		}
	case classHandle:
		e.keys.forget(o.used)
		if left(&tried.handle, 1) {
			return true
		}
	case classDevice:
		if m.alive(ctx, e) {
			return left(&tried.session, 1)
		}
	case classLogin, classGone, classModule:
	default:
		return false
	}
	// Sessions, login and handles end together.
	m.end(e, o.err)
	return left(&tried.epoch, 2)
}

var errAbsent = errors.New("the token does not answer for itself")

// alive asks whether the token is still there, as long as ctx waits: a device that takes longer is not called gone for it.
func (m *Module) alive(ctx context.Context, e *epoch) bool {
	o := m.await(ctx, "asking whether the token is there", func() outcome {
		if e.alive(m.serial) {
			return outcome{}
		}
		return outcome{err: errAbsent}
	})
	return !errors.Is(o.err, errAbsent)
}

// verdict maps an error that no remedy is left for. A device that answers nothing any more is gone, whatever its code; so is one that lost session,
// login or handle in the middle of a change.
func (m *Module) verdict(e *epoch, o outcome) error {
	switch k := classify(o.err); {
	case k == classDevice:
		select {
		case <-e.ended:
			return fmt.Errorf("%w: %w", ErrTokenGone, o.err)
		default:
		}
	case o.final && (k == classSession || k == classHandle || k == classLogin):
		return fmt.Errorf("cut off in the middle of a change: %w: %w", ErrTokenGone, o.err)
	}
	return sentinel(o.err)
}
