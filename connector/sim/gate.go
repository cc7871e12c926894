package sim

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
)

// Gate lets through what the appliance signed, once, within five minutes.
type Gate struct {
	Key *gm.PublicKey
	Now func() time.Time

	mu   sync.Mutex
	seen map[string]bool
}

// Wrap puts the gate before a simulator: 401 for what the appliance did not sign, 425 for what it signed for another moment.
func (g *Gate) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		at, nonce := r.Header.Get(wire.HeaderTime), r.Header.Get(wire.HeaderNonce)
		value, err := base64.StdEncoding.DecodeString(r.Header.Get(wire.HeaderSignature))
		if err != nil || g.Key.Verify(wire.SignedBytes(r.Method, r.Host, r.RequestURI, r.Header.Get("Idempotency-Key"), body, at, nonce), value) != nil {
			http.Error(w, "签名无效", http.StatusUnauthorized)
			return
		}
		if t, err := time.Parse(time.RFC3339, at); err != nil || g.Now().Sub(t).Abs() > 5*time.Minute || g.again(nonce) {
			http.Error(w, "请重新签名", http.StatusTooEarly)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (g *Gate) again(nonce string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		g.seen = map[string]bool{}
	}
	was := g.seen[nonce]
	g.seen[nonce] = true
	return was
}
