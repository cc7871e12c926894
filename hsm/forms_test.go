package hsm

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

func TestDecodePoint(t *testing.T) {
	xy := bytes.Repeat([]byte{0x41}, 64)
	raw65 := append([]byte{4}, xy...)
	octet := append([]byte{4, 65}, raw65...)
	bit := append([]byte{3, 66, 0}, raw65...)
	all := []string{firmware.PointDEROctet, firmware.PointRaw65, firmware.PointRaw64, firmware.PointDERBit}
	// A raw point whose X begins like the DER header: one parser after another would misread it.
	trap := append([]byte{4, 63}, xy[:63]...)
	for name, c := range map[string]struct {
		in    []byte
		forms []string
		want  []byte
	}{
		"octet":                {octet, all, raw65},
		"raw 65":               {raw65, all, raw65},
		"raw 64":               {xy, all, raw65},
		"bit string":           {bit, all, raw65},
		"trap":                 {trap, all, trap},
		"not in the profile":   {raw65, []string{firmware.PointDEROctet}, nil},
		"stray byte behind":    {append(append([]byte{}, raw65...), 4), all, nil},
		"octet cut":            {octet[:66], all, nil},
		"octet of a wrong tag": {append([]byte{5}, octet[1:]...), all, nil},
		"compressed":           {append([]byte{2}, xy[:32]...), all, nil},
		"empty":                {nil, all, nil},
		"no form":              {octet, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodePoint(c.in, c.forms)
			if !bytes.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Errorf("got %x, %v", got, err)
			}
			if err != nil && (!errors.Is(err, errPoint) || !errors.Is(err, ErrRefused)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNormalise(t *testing.T) {
	// r has a leading zero byte and then the top bit set; s is plain.
	raw := append(append([]byte{0, 0x80}, bytes.Repeat([]byte{7}, 30)...), bytes.Repeat([]byte{9}, 32)...)
	der := append(append([]byte{0x30, 0x44, 2, 0x20}, raw[:32]...), append([]byte{2, 0x20}, raw[32:]...)...)
	der[1] = byte(len(der) - 2)
	// The firmware fault seen in the wild: the zero byte is dropped and the number turns negative.
	broken := append(append([]byte{0x30, 0, 2, 0x1f}, raw[1:32]...), append([]byte{2, 0x20}, raw[32:]...)...)
	broken[1] = byte(len(broken) - 2)
	wide := append(append(make([]byte, 32), raw[:32]...), append(make([]byte, 32), raw[32:]...)...)
	for name, c := range map[string]struct {
		in     []byte
		output string
		ok     bool
	}{
		"raw":                        {raw, firmware.OutputRaw64, true},
		"DER":                        {der, firmware.OutputDER, true},
		"broken DER, said so":        {broken, firmware.OutputBroken, true},
		"strict DER, said broken":    {der, firmware.OutputBroken, true},
		"broken DER, not said so":    {broken, firmware.OutputDER, false},
		"DER instead of raw":         {der, firmware.OutputRaw64, false},
		"raw instead of DER":         {raw, firmware.OutputDER, false},
		"zero r":                     {append(make([]byte, 32), raw[32:]...), firmware.OutputRaw64, false},
		"s above the order":          {append(append([]byte{}, raw[:32]...), bytes.Repeat([]byte{255}, 32)...), firmware.OutputRaw64, false},
		"nothing":                    {nil, firmware.OutputRaw64, false},
		"wide":                       {wide, firmware.OutputRaw128, true},
		"wide and not right-aligned": {append(append(append([]byte{}, raw[:32]...), make([]byte, 64)...), raw[32:]...), firmware.OutputRaw128, false},
		"raw, said wide":             {raw, firmware.OutputRaw128, false},
		"a form that is not driven":  {raw, "raw256", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := normalise(c.in, c.output)
			if (err == nil) != c.ok || c.ok && !bytes.Equal(got, raw) {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
}

// borrow is what a call does to get a session.
func borrow(t *testing.T, p *pool, fresh bool) (pkcs11.SessionHandle, error) {
	for {
		if err := p.enter(t.Context()); err != nil {
			return 0, err
		}
		if h, err := p.take(fresh); !errors.Is(err, errFewer) {
			return h, err
		}
	}
}

// A token that has fewer sessions than promised makes the pool smaller, and nobody fails for it.
func TestPoolShrinks(t *testing.T) {
	var open, most atomic.Int32
	var next atomic.Uint64
	p := newPool(4, make(chan struct{}), func() (pkcs11.SessionHandle, error) {
		if open.Load() == 2 {
			return 0, pkcs11.Error(pkcs11.CKR_SESSION_COUNT)
		}
		most.Store(max(most.Load(), open.Add(1)))
		return pkcs11.SessionHandle(next.Add(1)), nil
	}, func(pkcs11.SessionHandle) { open.Add(-1) })
	a, err1 := borrow(t, p, false)
	b, err2 := borrow(t, p, false)
	if err1 != nil || err2 != nil || a == b {
		t.Fatal(a, b, err1, err2)
	}
	got := make(chan pkcs11.SessionHandle)
	go func() {
		h, err := borrow(t, p, false)
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	p.giveBack(a, true)
	if h := <-got; h != a {
		t.Errorf("got session %d, want the one given back", h)
	}
	p.giveBack(b, false)
	c, err := borrow(t, p, true)
	if err != nil || c == b {
		t.Errorf("fresh session %d, %v", c, err)
	}
	p.giveBack(a, true)
	p.giveBack(c, true)
	if h, err := borrow(t, p, false); err != nil || h != c {
		t.Errorf("the last session returned is %d, got %d, %v", c, h, err)
	}
	if most.Load() > 2 || p.size > 4 {
		t.Errorf("%d sessions at once, size %d", most.Load(), p.size)
	}
}

func TestPoolWithoutAnySession(t *testing.T) {
	p := newPool(2, make(chan struct{}), func() (pkcs11.SessionHandle, error) {
		return 0, pkcs11.Error(pkcs11.CKR_SESSION_COUNT)
	}, func(pkcs11.SessionHandle) {})
	for range 3 { // and the permits come back
		if _, err := borrow(t, p, false); classify(err) != classCapacity {
			t.Errorf("got %v", err)
		}
	}
}

func TestEndedEpochLetsNobodyIn(t *testing.T) {
	ended := make(chan struct{})
	l := newLane(1, ended)
	if err := l.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- l.enter(t.Context()) }()
	close(ended)
	if err := <-waiting; !errors.Is(err, errEnded) {
		t.Errorf("got %v", err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.drain(short, 1); !errors.Is(err, ErrTokenGone) {
		t.Errorf("drained with a call inside: %v", err)
	}
	l.leave()
	if err := l.drain(t.Context(), 1); err != nil {
		t.Errorf("draining again: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeData(7, []byte("value")))
	f.Add(append([]byte{4, 65, 4}, make([]byte, 64)...))
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	forms := []string{firmware.PointDEROctet, firmware.PointRaw65, firmware.PointRaw64, firmware.PointDERBit}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, v := decodeData(b); n != 0 && !bytes.Equal(encodeData(n, v), b) {
			t.Errorf("data of sequence %d does not encode to what it was", n)
		}
		if p, err := decodePoint(b, forms); err == nil && (len(p) != 65 || p[0] != 4) {
			t.Errorf("point %x", p)
		}
		for _, o := range []string{firmware.OutputRaw64, firmware.OutputDER, firmware.OutputBroken, firmware.OutputRaw128} {
			if sig, err := normalise(b, o); err == nil && len(sig) != 64 {
				t.Errorf("%s gives %d bytes", o, len(sig))
			}
		}
		if sig, err := rawECDSA(b); err == nil && len(sig) != 64 {
			t.Errorf("ECDSA gives %d bytes", len(sig))
		}
	})
}
