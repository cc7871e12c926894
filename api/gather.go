package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Gather returns a listener whose connections can hold back what TLS writes, record by record, until an answer is complete. An answer of 20 kB is
// three records; written one by one each wakes the caller, who then finds a part.
func Gather(l net.Listener) net.Listener { return gatherer{l} }

type gatherer struct{ net.Listener }

func (g gatherer) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gathered{Conn: c}, nil
}

// gathered is a connection below TLS. While it holds, writes are kept, in order.
type gathered struct {
	net.Conn
	mu   sync.Mutex
	held []byte // guarded by mu, like holds
	hold bool
}

// maxHeld bounds what one answer may keep: the rest of a longer one goes out as it comes.
const maxHeld = 32 << 10

func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold = g.hold && len(g.held)+len(b) <= maxHeld; g.hold {
		g.held = append(g.held, b...)
		return len(b), nil
	}
	if err := g.flush(); err != nil {
		return 0, err
	}
	return g.Conn.Write(b)
}

// flush writes what is held. The caller has mu.
func (g *gathered) flush() error {
	if len(g.held) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.held)
	g.held = g.held[:0]
	return err
}

// together runs write, whose writes leave as one.
func (g *gathered) together(write func()) {
	g.holding(true)
	defer g.holding(false) // a panic of write must not leave anything held
	write()
}

func (g *gathered) holding(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold = on; !on {
		g.flush() // an error is the connection's: the next read or write says so
	}
}

type gatheredKey struct{}

// withGathered lets a request find the connection that it came by. HTTP/2 shares one among requests, so nothing is held there.
func withGathered(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if g, ok := t.NetConn().(*gathered); ok {
			return context.WithValue(ctx, gatheredKey{}, g)
		}
	}
	return ctx
}

// atOnce has everything that write and net/http write of an answer leave as one.
func atOnce(w http.ResponseWriter, r *http.Request, write func()) {
	g, _ := r.Context().Value(gatheredKey{}).(*gathered)
	if g == nil || r.ProtoMajor != 1 {
		write()
		return
	}
	g.together(func() {
		write()
		if f, ok := w.(http.Flusher); ok {
			f.Flush() // net/http's own buffer
		}
	})
}
