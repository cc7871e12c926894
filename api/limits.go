package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Limits bound what a caller can make the appliance hold. Zero values take the defaults of DefaultLimits.
type Limits struct {
	JSON      int64         `yaml:"json"`       // bytes of a JSON body
	Document  int64         `yaml:"document"`   // bytes of a document
	Batch     int           `yaml:"batch"`      // signatures in one batch
	PerClient int           `yaml:"per_client"` // requests in flight of one client
	InFlight  int           `yaml:"in_flight"`  // requests in flight of all clients
	Timeout   time.Duration `yaml:"timeout"`    // one request, from first byte to answer
}

// DefaultLimits are the design's.
func DefaultLimits() Limits {
	return Limits{JSON: 1 << 20, Document: 64 << 20, Batch: 100, PerClient: 64, InFlight: 1024, Timeout: 30 * time.Second}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	l.JSON, l.Document = or(l.JSON, d.JSON), or(l.Document, d.Document)
	l.Batch, l.PerClient, l.InFlight = or(l.Batch, d.Batch), or(l.PerClient, d.PerClient), or(l.InFlight, d.InFlight)
	l.Timeout = or(l.Timeout, d.Timeout)
	return l
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// gate counts requests in flight, of each client and of all.
type gate struct {
	mu        sync.Mutex
	all       int
	of        map[string]int
	perClient int
	inFlight  int
}

func newGate(l Limits) *gate {
	return &gate{of: map[string]int{}, perClient: l.PerClient, inFlight: l.InFlight}
}

var (
	tooMany = kind{nil, http.StatusTooManyRequests, "too-many-requests", "该客户端在途请求过多", "Too many requests in flight for this client", 1, false}
	busy    = kind{nil, http.StatusServiceUnavailable, "busy", "系统繁忙", "The appliance is busy", 1, false}
)

// timeout is for a request whose time was over before anything was decided.
var timeout = kind{nil, http.StatusServiceUnavailable, "timeout", "处理超时", "The time for this request was over; repeat it with the same Idempotency-Key", 1, false}

// enter admits a request or returns the problem that refuses it; a nil problem obliges the caller to leave.
func (g *gate) enter(client string) *kind {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.all >= g.inFlight:
		return &busy
	case g.of[client] >= g.perClient:
		return &tooMany
	}
	g.all++
	g.of[client]++
	return nil
}

func (g *gate) leave(client string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.of[client]--; g.of[client] == 0 {
		delete(g.of, client)
	}
}

func (g *gate) middleware(c *gin.Context) {
	if p := c.FullPath(); p == "/livez" || p == "/readyz" { // the callers who fill an allowance must not decide about health
		c.Next()
		return
	}
	who := callerOf(c).Client
	if who == "" {
		who = "anonymous" // all who show no certificate share one allowance
	}
	if k := g.enter(who); k != nil {
		refuse(c, k.problem("", requestID(c.Request.Context())))
		return
	}
	defer g.leave(who)
	c.Next()
}
