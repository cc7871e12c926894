package hsm

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// opened is a wrapped key as a session object. It is found by the digest of the whole message, so that another blob under the same
// identifier never meets it.
type opened struct {
	sum    [32]byte
	key    ObjectID
	handle pkcs11.ObjectHandle
	refs   int           // calls that may be using the handle; guarded by openings.mu
	place  *list.Element // in openings.recent; nil once it was put out
	dead   bool          // the token does not know the handle any more
}

// openings are the wrapped keys that are open in one epoch: at most so many, the ones used longest ago put out first, and none while a
// call uses it. Their objects belong to the holder, a session that does nothing else.
type openings struct {
	most  int // objects kept when nobody is using them
	renew int // unwraps after which the epoch is renewed, zero for never

	turn   *lane                // over the holder: one call at a time
	holder pkcs11.SessionHandle // zero until the first unwrap; guarded by turn

	mu      sync.Mutex
	keys    map[[32]byte]*opened
	recent  *list.List // of *opened, the latest first
	flights map[[32]byte]*flight
	out     []pkcs11.ObjectHandle // put out, to be destroyed by whoever next has the holder
	unwraps int                   // in this epoch
}

// flight is one unwrapping that callers of the same key wait for together.
type flight struct {
	done    chan struct{}
	waiting int // guarded by openings.mu
	o       *opened
	err     error
}

func newOpenings(most, renew int, ended <-chan struct{}) *openings {
	return &openings{most: most, renew: renew, turn: newLane(1, ended), keys: map[[32]byte]*opened{}, recent: list.New(), flights: map[[32]byte]*flight{}}
}

// acquire returns the open key and holds it until release. Where it is not open, one caller's unwrap runs for all who wait for it, and goes on
// when they leave.
func (p *openings) acquire(ctx context.Context, sum [32]byte, unwrap func() (*opened, error)) (*opened, error) {
	p.mu.Lock()
	if o := p.keys[sum]; o != nil {
		o.refs++
		p.recent.MoveToFront(o.place)
		p.mu.Unlock()
		return o, nil
	}
	f := p.flights[sum]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		p.flights[sum] = f
		go func() { p.land(sum, f, unwrap) }()
	}
	f.waiting++
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.o, f.err
	case <-ctx.Done():
		p.abandon(f)
		return nil, fmt.Errorf("waiting for a wrapped key to be opened: %w: %w", ErrBusy, context.Cause(ctx))
	}
}

func (p *openings) land(sum [32]byte, f *flight, unwrap func() (*opened, error)) {
	o, err := unwrap()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, sum)
	if f.o, f.err = o, err; err == nil {
		o.sum, o.refs = sum, f.waiting
		o.place = p.recent.PushFront(o)
		p.keys[sum] = o
		p.trim()
	}
	close(f.done)
}

// abandon takes a caller who left off the flight, or off the key when it has landed meanwhile.
func (p *openings) abandon(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-f.done:
		if f.o != nil {
			p.leave(f.o)
		}
	default:
		f.waiting--
	}
}

func (p *openings) release(o *opened) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(o)
}

func (p *openings) leave(o *opened) {
	o.refs--
	switch {
	case o.refs > 0:
	case o.place == nil && !o.dead:
		p.out = append(p.out, o.handle)
	case o.place != nil:
		p.trim()
	}
}

// trim puts out what is too much, from the one used longest ago, and passes over those in use. The caller holds mu.
func (p *openings) trim() {
	for e := p.recent.Back(); e != nil && p.recent.Len() > p.most; {
		o := e.Value.(*opened)
		e = e.Prev()
		if o.refs == 0 {
			p.putOut(o)
		}
	}
}

func (p *openings) putOut(o *opened) {
	p.recent.Remove(o.place)
	delete(p.keys, o.sum)
	o.place = nil
	if o.refs == 0 && !o.dead {
		p.out = append(p.out, o.handle)
	}
}

// forget puts out all that is open of a key, and says whether there was anything. What is in use is destroyed when it is not any more.
func (p *openings) forget(id ObjectID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	any := false
	for _, o := range p.keys {
		if o.key == id {
			p.putOut(o)
			any = true
		}
	}
	return any
}

// stale drops a key whose handle the token does not know any more, without destroying anything.
func (p *openings) stale(o *opened) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.dead = true
	if o.place != nil {
		p.putOut(o)
	}
}

// lost drops everything: the holder is dead, and its objects with it.
func (p *openings) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.keys {
		o.place, o.dead = nil, true
	}
	clear(p.keys)
	p.recent.Init()
	p.out = nil
}

// taken hands out what is to be destroyed.
func (p *openings) taken() []pkcs11.ObjectHandle {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out
	p.out = nil
	return out
}

func (p *openings) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwraps++
}

// worn says whether so much was unwrapped that the epoch is to be renewed.
func (p *openings) worn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renew > 0 && p.unwraps >= p.renew
}

func (p *openings) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys)
}

// errRenewal: the library keeps some memory of every key that was unwrapped, until it is closed.
var errRenewal = errors.New("as many keys were unwrapped as one epoch may; the library is closed and opened again")
