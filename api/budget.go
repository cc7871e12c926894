package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes of documents held at once, so that many large uploads cannot exhaust the memory. Callers without a certificate have a
// smaller share and a smaller document.
type budget struct {
	all, anonymous *semaphore.Weighted
}

const (
	documentBytes     = 512 << 20 // of all callers at once
	anonymousBytes    = 128 << 20 // of these, of callers without a certificate
	anonymousDocument = 16 << 20  // one document of a caller without a certificate
)

func newBudget(l Limits) *budget {
	return &budget{semaphore.NewWeighted(max(documentBytes, 2*l.Document)), semaphore.NewWeighted(anonymousBytes)}
}

// reserve takes n bytes, or returns the problem busy; give returns them.
func (b *budget) reserve(anonymous bool, n int64) (give func(), err error) {
	if anonymous && !b.anonymous.TryAcquire(n) {
		return nil, busy.problem("too many documents at once", "")
	}
	if !b.all.TryAcquire(n) {
		if anonymous {
			b.anonymous.Release(n)
		}
		return nil, busy.problem("too many documents at once", "")
	}
	return func() {
		b.all.Release(n)
		if anonymous {
			b.anonymous.Release(n)
		}
	}, nil
}

// readDocument reads a body of at most limit bytes into a buffer of its stated length. The caller gives the bytes back when it is done.
func (s *Server) readDocument(c *gin.Context, limit int64) (b []byte, give func(), err error) {
	anonymous := callerOf(c).Client == ""
	if anonymous {
		limit = min(limit, anonymousDocument)
	}
	n := c.Request.ContentLength
	switch {
	case n > limit:
		return nil, nil, tooLarge("body")
	case n < 0:
		n = limit
	}
	if give, err = s.budget.reserve(anonymous, n); err != nil {
		return nil, nil, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(c.Request.ContentLength, 0)+bytes.MinRead))
	if _, err = io.Copy(buf, http.MaxBytesReader(c.Writer, c.Request.Body, limit)); err != nil {
		give()
		return nil, nil, readError(err, "body")
	}
	return buf.Bytes(), give, nil
}

// reserveBody takes the stated length of a multipart body, or its limit.
func (s *Server) reserveBody(c *gin.Context, limit int64) (func(), error) {
	n := c.Request.ContentLength
	if n > limit {
		return nil, tooLarge(fmt.Sprintf("body of %d bytes", n))
	}
	if n < 0 {
		n = limit
	}
	return s.budget.reserve(false, n)
}
