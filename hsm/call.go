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

// remedies counts what one call has tried. Each is tried once.
type remedies struct{ session, handle, epoch bool }

// outcome is what an attempt tells about itself besides its error.
type outcome struct {
	used  ObjectID
	final bool
	docs  bool // the error came from inside crypto11, whose sessions nobody can drop one by one
	err   error
}

// call runs f with a session of the pool.
func (m *Module) call(ctx context.Context, act string, f func(s *session) error) error {
	return m.repeat(ctx, act, func(e *epoch, tried remedies) outcome {
		h, err := e.pool.borrow(ctx, tried.session)
		if err != nil {
			return outcome{err: err}
		}
		return await(ctx, func() outcome {
			s := &session{m: m, e: e, h: h}
			err := f(s)
			_, bad := code(err)
			if bad {
				m.evictions.Add(1)
			}
			e.pool.giveBack(h, !bad)
			return outcome{used: s.used, final: s.final, err: err}
		})
	})
}

// onDocs runs f with crypto11.
func (m *Module) onDocs(ctx context.Context, act string, id ObjectID, f func(e *epoch, docs *crypto11.Context) error) error {
	return m.repeat(ctx, act, func(e *epoch, _ remedies) outcome {
		if err := e.sign.enter(ctx); err != nil {
			return outcome{err: err}
		}
		return await(ctx, func() outcome {
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
		return await(ctx, func() outcome {
			defer e.desk.leave()
			return outcome{err: f(e)}
		})
	})
}

// await runs the C call and waits for it as long as the caller does. The call itself always runs to its end and returns its permit.
func await(ctx context.Context, run func() outcome) outcome {
	if ctx.Done() == nil {
		return run()
	}
	done := make(chan outcome, 1)
	go func() { done <- run() }()
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
		if errors.Is(o.err, errEnded) {
			continue // the epoch was over before the call got in
		}
		if again := m.remedy(e, &tried, o); !again {
			return fmt.Errorf("%s: %w", act, m.verdict(e, o.err))
		}
	}
}

// remedy does what the error calls for and says whether to go on. Every branch is taken at most once per call.
func (m *Module) remedy(e *epoch, tried *remedies, o outcome) bool {
	once := func(did *bool) bool {
		again := !*did && !o.final
		*did = true
		return again
	}
	switch classify(o.err) {
	case classSession:
		if !o.docs && once(&tried.session) {
			return true
		}
	case classHandle:
		e.keys.forget(o.used)
		if once(&tried.handle) {
			return true
		}
	case classDevice:
		if e.alive(m.serial) {
			return false
		}
	case classLogin, classGone, classModule:
	default:
		return false
	}
	// Sessions, login and handles end together.
	m.end(e, o.err)
	return once(&tried.epoch)
}

// verdict maps an error that no remedy is left for. A device that answers nothing any more is gone, whatever its code.
func (m *Module) verdict(e *epoch, err error) error {
	if classify(err) == classDevice {
		select {
		case <-e.ended:
			return fmt.Errorf("%w: %w", ErrTokenGone, err)
		default:
		}
	}
	return sentinel(err)
}
