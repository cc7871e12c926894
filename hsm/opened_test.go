package hsm

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
)

func opens(h pkcs11.ObjectHandle) func() (*opened, error) {
	return func() (*opened, error) { return &opened{key: ObjectID{byte(h)}, handle: h}, nil }
}

func acquire(t *testing.T, p *openings, h pkcs11.ObjectHandle) *opened {
	t.Helper()
	o, err := p.acquire(t.Context(), [32]byte{byte(h)}, opens(h))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A key that is in use is never destroyed, however many others come.
func TestOpenKeyInUseIsNotDestroyed(t *testing.T) {
	p := newOpenings(2, 0, nil)
	used := acquire(t, p, 1)
	for h := pkcs11.ObjectHandle(2); h < 6; h++ {
		p.release(acquire(t, p, h))
	}
	for _, h := range p.taken() {
		if h == used.handle {
			t.Error("the key in use is to be destroyed")
		}
	}
	if p.len() != 2 {
		t.Errorf("%d keys are kept", p.len())
	}
	if again := acquire(t, p, 1); again != used {
		t.Error("the key in use was opened a second time")
	}
	if !p.forget(used.key) {
		t.Error("forgetting found nothing")
	}
	p.release(used)
	if out := p.taken(); len(out) != 0 {
		t.Errorf("%v is to be destroyed while it is in use", out)
	}
	p.release(used)
	if out := p.taken(); len(out) != 1 || out[0] != used.handle {
		t.Errorf("to be destroyed after use: %v", out)
	}
}

// What was used longest ago goes first.
func TestOpenKeysGoByTheirLastUse(t *testing.T) {
	p := newOpenings(2, 0, nil)
	p.release(acquire(t, p, 1))
	p.release(acquire(t, p, 2))
	p.release(acquire(t, p, 1))
	p.release(acquire(t, p, 3))
	if out := p.taken(); len(out) != 1 || out[0] != 2 {
		t.Errorf("put out: %v", out)
	}
}

// All who want a key that is not open wait for one unwrapping; those who leave hold nothing.
func TestOneUnwrappingForAll(t *testing.T) {
	p := newOpenings(8, 0, nil)
	begun, proceed := make(chan struct{}), make(chan struct{})
	calls := 0
	unwrap := func() (*opened, error) {
		calls++
		close(begun)
		<-proceed
		return &opened{handle: 7}, nil
	}
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := p.acquire(leaving, [32]byte{7}, unwrap)
		left <- err
	}()
	<-begun
	leave()
	if err := <-left; !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who left: %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			o, err := p.acquire(t.Context(), [32]byte{7}, unwrap)
			if err != nil || o.handle != 7 {
				t.Errorf("got %+v, %v", o, err)
			}
			p.release(o)
		})
	}
	close(proceed)
	wg.Wait()
	if calls != 1 || p.keys[[32]byte{7}].refs != 0 {
		t.Errorf("%d unwrappings, %d hold the key still", calls, p.keys[[32]byte{7}].refs)
	}
}

// A refusal is told to all who waited and is not remembered.
func TestRefusedUnwrappingIsNotKept(t *testing.T) {
	p := newOpenings(8, 0, nil)
	if _, err := p.acquire(t.Context(), [32]byte{1}, func() (*opened, error) { return nil, ErrBlob }); !errors.Is(err, ErrBlob) {
		t.Errorf("got %v", err)
	}
	p.release(acquire(t, p, 1))
}

// A handle that the token does not know any more, or one of a holder that died, is not destroyed: it might be another's by now.
func TestDeadHandlesAreNotDestroyed(t *testing.T) {
	p := newOpenings(8, 0, nil)
	a, b := acquire(t, p, 1), acquire(t, p, 2)
	p.stale(a)
	p.release(a)
	p.lost()
	p.release(b)
	if out := p.taken(); len(out) != 0 || p.len() != 0 {
		t.Errorf("to be destroyed: %v; kept: %d", out, p.len())
	}
}
