package api

import (
	"fmt"
	"testing"
	"time"
)

// TestPace: twenty a second and address; another second and another address begin anew, another port or host of an IPv6 network does not.
func TestPace(t *testing.T) {
	p, at := newPace(), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	p.now = func() time.Time { return at }
	for n := range publicPace {
		if !p.admit(fmt.Sprint("192.0.2.1:", 1000+n)) {
			t.Fatalf("request %d is refused", n+1)
		}
	}
	for address, want := range map[string]bool{"192.0.2.1:9": false, "[::ffff:192.0.2.1]:9": false, "192.0.2.2:9": true, "nonsense": true} {
		if p.admit(address) != want {
			t.Errorf("%s: admitted %v", address, !want)
		}
	}
	for n := range publicPace {
		p.admit(fmt.Sprintf("[2001:db8::%x]:1", n+1))
	}
	if p.admit("[2001:db8::ffff%eth0]:1") || !p.admit("[2001:db8:0:1::1]:1") {
		t.Error("IPv6 does not count by /64")
	}
	for n := len(p.seen); n < maxAddresses; n++ {
		p.admit(fmt.Sprint("x", n))
	}
	if p.admit("192.0.2.3:9") || len(p.seen) > maxAddresses {
		t.Errorf("%d addresses are remembered, and one more is let through", len(p.seen))
	}
	if at = at.Add(time.Second); !p.admit("192.0.2.1:9") || len(p.seen) != 1 {
		t.Errorf("the next second: %d remembered", len(p.seen))
	}
}
