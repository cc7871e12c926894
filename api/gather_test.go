package api

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
)

// counted counts the writes that reach the wire.
type counted struct {
	net.Listener
	writes *atomic.Int64
}

type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, l.writes}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// serveGathered serves /n/:size, bytes of that many kB, over TLS and a gathering listener.
func serveGathered(t *testing.T, h2 bool) (get func(path string) []byte, writes *atomic.Int64) {
	t.Helper()
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	body := func(kB int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), kB<<6) }
	for path, kB := range map[string]int{"/20": 20, "/300": 300, "/0": 0} {
		e.GET(path, func(c *gin.Context) { whole(c, "application/octet-stream", body(kB)) })
	}
	e.GET("/panic", func(c *gin.Context) { atOnce(c.Writer, c.Request, func() { panic("in the middle") }) })
	writes = new(atomic.Int64)
	s := httptest.NewUnstartedServer(e)
	s.Listener = Gather(counted{s.Listener, writes})
	s.EnableHTTP2, s.Config.ConnContext = h2, withGathered
	s.StartTLS()
	t.Cleanup(s.Close)
	return func(path string) []byte {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if want := 1 + btoi(h2); resp.ProtoMajor != want {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		return b
	}, writes
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestGather: an answer of several records leaves in one write; longer ones, answers after a panic, and HTTP/2 lose nothing.
func TestGather(t *testing.T) {
	get, writes := serveGathered(t, false)
	for range 12 { // TLS begins with small records
		get("/20")
	}
	before := writes.Load()
	if got := get("/20"); len(got) != 20<<10 || got[len(got)-1] != 'f' {
		t.Fatalf("%d bytes", len(got))
	}
	if n := writes.Load() - before; n != 1 {
		t.Errorf("an answer of 20 kB left in %d writes", n)
	}
	get("/panic")
	for _, h2 := range []bool{false, true} {
		if h2 {
			get, _ = serveGathered(t, true)
		}
		for path, kB := range map[string]int{"/0": 0, "/20": 20, "/300": 300} {
			if got := get(path); len(got) != kB<<10 || !bytes.Equal(got, bytes.Repeat([]byte("0123456789abcdef"), kB<<6)) {
				t.Errorf("HTTP/2 %v: %s gave %d bytes", h2, path, len(got))
			}
		}
	}
}

// TestGatherFails: what was held and cannot be written is the connection's error, told to the next write.
func TestGatherFails(t *testing.T) {
	here, there := net.Pipe()
	g := &gathered{Conn: here}
	there.Close()
	g.together(func() {
		if n, err := g.Write([]byte("held")); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	if _, err := g.Write([]byte("next")); err == nil {
		t.Error("a closed connection took a write")
	}
	if withGathered(t.Context(), tls.Server(here, &tls.Config{})).Value(gatheredKey{}) != nil {
		t.Error("a connection that does not gather was taken for one that does")
	}
}
