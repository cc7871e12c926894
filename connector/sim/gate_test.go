package sim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm/softkey"
)

// TestSignedRequests: what the appliance signs arrives, with body, query and key; what anybody changed, sent without a signature, sent twice or kept
// for later does not. An appliance whose key is away sends nothing and waits.
func TestSignedRequests(t *testing.T) {
	key, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now
	arrived := 0
	var last *http.Request
	var lastBody []byte
	gate := &sim.Gate{Key: key.Public(), Now: func() time.Time { return now() }}
	inner := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived++
		sim.Answer(w, http.StatusOK, struct{}{})
	}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lastBody, _ = io.ReadAll(r.Body)
		last = r.Clone(context.WithoutCancel(r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(lastBody))
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	plain, err := wire.New(wire.Config{Base: srv.URL + "/office", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(_ context.Context, m []byte) ([]byte, error) { return key.Sign(m) }
	call := wire.Call{Method: "POST", Path: "/v1/messages", Query: url.Values{"a": {"1 2"}}, Key: "k1", In: map[string]string{"name": "示例"}}
	for name, c := range map[string]*wire.Client{"unsigned": plain, "signed by another key": plain.Signed(func(_ context.Context, m []byte) ([]byte, error) {
		other, err := softkey.Generate(nil)
		if err != nil {
			return nil, err
		}
		return other.Sign(m)
	})} {
		if _, err := c.Do(t.Context(), call, nil); !errors.Is(err, wire.ErrRefused) || arrived != 0 {
			t.Errorf("%s: %v, %d arrived", name, err, arrived)
		}
	}
	away := errors.New("the token is away")
	if _, err := plain.Signed(func(context.Context, []byte) ([]byte, error) { return nil, away }).Do(t.Context(), call, nil); !errors.Is(err, wire.ErrDown) || !errors.Is(err, away) || arrived != 0 {
		t.Errorf("without its key: %v", err)
	}
	for range 2 { // each try is signed anew
		if _, err := plain.Signed(sign).Do(t.Context(), call, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := plain.Signed(sign).Do(t.Context(), wire.Call{Method: "GET", Path: "/v1/events", Query: url.Values{"after": {"3"}}}, nil); err != nil || arrived != 3 {
		t.Fatalf("a question: %v, %d arrived", err, arrived)
	}
	if _, err := plain.Signed(sign).Do(t.Context(), call, nil); err != nil {
		t.Fatal(err)
	}
	kept, body := last, lastBody
	replay := func(what string, want int, change func(r *http.Request) []byte) {
		t.Helper()
		r, err := http.NewRequest(kept.Method, srv.URL+kept.RequestURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = kept.Header.Clone()
		b := change(r)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || arrived != 4 {
			t.Errorf("%s: %d, %d arrived", what, resp.StatusCode, arrived)
		}
	}
	replay("sent again", http.StatusTooEarly, func(*http.Request) []byte { return body })
	replay("another body", http.StatusUnauthorized, func(*http.Request) []byte { return append(bytes.Clone(body), ' ') })
	replay("another path", http.StatusUnauthorized, func(r *http.Request) []byte { r.URL.Path = "/office/v1/other"; return body })
	replay("another query", http.StatusUnauthorized, func(r *http.Request) []byte { r.URL.RawQuery = "a=2"; return body })
	replay("another method", http.StatusUnauthorized, func(r *http.Request) []byte { r.Method = "PUT"; return body })
	replay("another key", http.StatusUnauthorized, func(r *http.Request) []byte { r.Header.Set("Idempotency-Key", "k2"); return body })
	replay("another host", http.StatusUnauthorized, func(r *http.Request) []byte { r.Host = "elsewhere.example"; return body })
	replay("another nonce", http.StatusUnauthorized, func(r *http.Request) []byte { r.Header.Set(wire.HeaderNonce, "00"); return body })
	gate2 := time.Now().Add(6 * time.Minute)
	now = func() time.Time { return gate2 }
	if _, err := plain.Signed(sign).Do(t.Context(), call, nil); !errors.Is(err, wire.ErrDown) || arrived != 4 {
		t.Errorf("six minutes old: %v", err)
	}
}
