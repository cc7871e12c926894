package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestDescribesItself builds every route and reads the OpenAPI document that comes of it.
func TestDescribesItself(t *testing.T) {
	s := New(Config{Mode: "demo", Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, Services{})
	b, err := json.Marshal(s.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/licences", "/v1/impressions", "/v1/orders/{id}/collect", "/v1/seals/{esid}", "/v1/signatures",
		"/v1/signatures/batch", "/v1/verifications", "/v1/audit/proof", "/v1/clients", "/v1/grants", "/v1/delegations", "/livez", "/readyz"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
}

// TestTable holds the error table together: codes are unique per meaning, every row has both titles, and no status is a success.
func TestTable(t *testing.T) {
	titles := map[string]string{}
	for _, k := range table {
		if k.is == nil || k.code == "" || k.zh == "" || k.en == "" || k.status < 400 {
			t.Errorf("incomplete row %+v", k)
		}
		if was, seen := titles[k.code]; seen && was != k.en && k.code != "unknown-record" {
			t.Errorf("code %s means %q and %q", k.code, was, k.en)
		}
		titles[k.code] = k.en
	}
}

// TestCallersWithoutCertificate: whoever may connect can neither grow memory by inventing methods nor keep health from answering, and meets
// problems alone.
func TestCallersWithoutCertificate(t *testing.T) {
	metrics := prometheus.NewRegistry()
	s := New(Config{Mode: "demo", Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: metrics}, Services{})
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	for n := range 50 {
		ask("X"+strings.Repeat("X", n), "/nowhere")
	}
	if families, err := metrics.Gather(); err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Errorf("50 invented methods made %v, %v", families, err)
	}
	if w := ask(http.MethodGet, "/livez/"); w.Code != http.StatusNotFound || w.Header().Get(codeHeader) != "no-such-route" {
		t.Errorf("a slash too many: %d %v", w.Code, w.Header())
	}
	for range DefaultLimits().PerClient {
		s.gate.enter("anonymous")
	}
	if w := ask(http.MethodGet, "/livez"); w.Code != http.StatusOK {
		t.Errorf("health while the allowance is spent: %d", w.Code)
	}
	if w := ask(http.MethodPost, "/v1/verifications"); w.Code != http.StatusTooManyRequests {
		t.Errorf("verification while the allowance is spent: %d", w.Code)
	}
}

func TestStrictJSON(t *testing.T) {
	for _, body := range []string{`{"kind":"ofd"}}`, `{"kind":"ofd"}]`, `{"kind":"ofd"} {}`, `{"kind":"ofd","more":1}`} {
		if strictJSON([]byte(body), new(signatureRequest)) == nil {
			t.Errorf("%s was taken", body)
		}
	}
	if err := strictJSON([]byte(`{"kind":"ofd"} `+"\n"), new(signatureRequest)); err != nil {
		t.Error(err)
	}
}
