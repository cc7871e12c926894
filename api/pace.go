package api

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// publicPace is how many public pages of codes one address may ask for in a second.
const publicPace = 20

// maxAddresses bounds what is remembered of one second; beyond it nobody new is let through.
const maxAddresses = 100_000

var tooFast = kind{nil, http.StatusTooManyRequests, "too-fast", "访问过于频繁，请稍后再试", "Too many requests from this address", 1, false}

// pace counts the requests of each address within the present second. An address without a certificate may be anybody's: IPv6 counts by /64.
type pace struct {
	now func() time.Time

	mu     sync.Mutex
	second int64          // guarded by mu
	seen   map[string]int // guarded by mu
}

func newPace() *pace { return &pace{now: time.Now, seen: map[string]int{}} }

// admit counts one request.
func (p *pace) admit(remote string) bool {
	key := networkOf(remote)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.now().Unix(); s != p.second {
		p.second = s
		clear(p.seen)
	}
	if p.seen[key] == 0 && len(p.seen) >= maxAddresses {
		return false
	}
	p.seen[key]++
	return p.seen[key] <= publicPace
}

func networkOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return p.String()
}

// paced refuses callers without a certificate that ask too often.
func (p *pace) paced(c *gin.Context) {
	if callerOf(c).Client == "" && !p.admit(c.Request.RemoteAddr) {
		refuse(c, tooFast.problem("", requestID(c.Request.Context())))
		return
	}
	c.Next()
}
