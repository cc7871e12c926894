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

// errFewer: the token has fewer sessions than permits. This one is gone for good; the call waits for another.
var errFewer = errors.New("the token has no further session")

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

// take returns a session to a caller who entered; with fresh, one that was not lying idle, for after an error. When it fails the permit is
// given up. No lock is held over a call to the module, which may hang.
func (p *pool) take(fresh bool) (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	var stale pkcs11.SessionHandle
	if n := len(p.idle); n > 0 && (!fresh || p.total >= p.size) {
		h := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !fresh {
			p.mu.Unlock()
			return h, nil
		}
		stale = h
		p.total--
	}
	p.total++
	p.mu.Unlock()
	if stale != 0 {
		p.close(stale)
	}
	h, err := p.open()
	if err != nil {
		return 0, p.without(err)
	}
	return h, nil
}

// without gives the permit of a caller up who got no session: for good when the token has no more and others hold some.
func (p *pool) without(err error) error {
	p.mu.Lock()
	p.total--
	fewer := classify(err) == classCapacity && p.size > 1 && p.total > 0
	if fewer {
		p.size--
	}
	p.mu.Unlock()
	if fewer {
		return errFewer
	}
	p.leave()
	return fmt.Errorf("opening session: %w", err)
}

// giveBack returns the session, or drops it after an error that may have left an operation active.
func (p *pool) giveBack(h pkcs11.SessionHandle, keep bool) {
	p.mu.Lock()
	if keep {
		p.idle = append(p.idle, h)
	} else {
		p.total--
	}
	p.mu.Unlock()
	if !keep {
		p.close(h)
	}
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
