package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// errEnded: the epoch was over before a permit was had. The call starts again in the next one.
var errEnded = errors.New("the epoch has ended")

// lane counts the calls that may be inside the module at once. A permit is held until the C call has returned, whoever waits for it.
type lane struct {
	permits chan struct{} // full when nobody is inside
	ended   <-chan struct{}
	drained int // permits taken by drain, which may need several calls; guarded by Module.turn
}

func newLane(n int, ended <-chan struct{}) *lane {
	l := &lane{permits: make(chan struct{}, n), ended: ended}
	for range n {
		l.permits <- struct{}{}
	}
	return l
}

// enter waits for a permit: ErrBusy when the context ends first, errEnded when the epoch does.
func (l *lane) enter(ctx context.Context) error {
	select {
	case <-l.permits:
	default:
		select {
		case <-l.permits:
		case <-l.ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
		}
	}
	select {
	case <-l.ended:
		l.leave()
		return errEnded
	default:
		return nil
	}
}

func (l *lane) leave() { l.permits <- struct{}{} }

// drain takes n permits, all there are, after the end of the epoch: it waits until nobody is inside.
func (l *lane) drain(ctx context.Context, n int) error {
	for l.drained < n {
		select {
		case <-l.permits:
			l.drained++
		case <-ctx.Done():
			return fmt.Errorf("a call is still inside the module: %w: %w", ErrTokenGone, context.Cause(ctx))
		}
	}
	return nil
}

// pool hands out sessions, the last returned first, so that few stay warm and the rest are opened only under load.
type pool struct {
	*lane
	open  func() (pkcs11.SessionHandle, error)
	close func(pkcs11.SessionHandle)

	mu    sync.Mutex
	idle  []pkcs11.SessionHandle
	total int // sessions open, idle or lent
	size  int // permits that exist; a token that refuses sessions lowers it
}

func newPool(n int, ended <-chan struct{}, open func() (pkcs11.SessionHandle, error), close func(pkcs11.SessionHandle)) *pool {
	return &pool{lane: newLane(n, ended), open: open, close: close, size: n}
}

// borrow returns a session; with fresh, one that was not lying idle, for after an error.
func (p *pool) borrow(ctx context.Context, fresh bool) (pkcs11.SessionHandle, error) {
	for {
		if err := p.enter(ctx); err != nil {
			return 0, err
		}
		h, err := p.take(fresh)
		if err == nil {
			return h, nil
		}
		if classify(err) == classCapacity && p.shrink() {
			continue // the permit is gone for good; wait for a session that somebody else has
		}
		p.leave()
		return 0, err
	}
}

func (p *pool) take(fresh bool) (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 && (!fresh || p.total >= p.size) {
		h := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !fresh {
			return h, nil
		}
		p.close(h)
		p.total--
	}
	h, err := p.open()
	if err != nil {
		return 0, fmt.Errorf("opening session: %w", err)
	}
	p.total++
	return h, nil
}

// shrink gives the caller's permit up when the token has no more sessions but others hold some.
func (p *pool) shrink() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size < 2 || p.total == 0 {
		return false
	}
	p.size--
	return true
}

// giveBack returns the session, or drops it after an error that may have left an operation active.
func (p *pool) giveBack(h pkcs11.SessionHandle, keep bool) {
	p.mu.Lock()
	if keep {
		p.idle = append(p.idle, h)
	} else {
		p.total--
		p.close(h)
	}
	p.mu.Unlock()
	p.leave()
}

func (p *pool) idleCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// shut drains the lane and closes what is idle.
func (p *pool) shut(ctx context.Context) error {
	p.mu.Lock()
	n := p.size
	p.mu.Unlock()
	if err := p.drain(ctx, n); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.idle {
		p.close(h)
	}
	p.idle = nil
	return nil
}
