package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMode: the two modes of an OFD signature, by their names and for that kind alone, as the description says.
func TestMode(t *testing.T) {
	for name, c := range map[string]struct {
		kind, mode string
		whole      bool
		want       error
	}{
		"none":          {"ofd", "", false, nil},
		"continued":     {"ofd", "continued", false, nil},
		"whole":         {"ofd", "whole", true, nil},
		"unknown":       {"ofd", "half", false, errForm},
		"of a PDF":      {"pdf", "whole", false, errForm},
		"of a digest":   {"digest", "continued", false, errForm},
		"in upper case": {"ofd", "Whole", false, errForm},
	} {
		u, err := signatureRequest{Kind: c.kind, Mode: c.mode}.toUse("key", [32]byte{}, nil)
		if !errors.Is(err, c.want) || err == nil && u.WholeDocument != c.whole {
			t.Errorf("%s: %v, whole %v", name, err, u.WholeDocument)
		}
	}
	s := New(Config{Mode: "demo", Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, Services{})
	b, err := json.Marshal(s.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	type field struct {
		Enum        []string
		Description string
	}
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]field }
				}
			}
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	described := doc.Paths["/v1/signatures"]["post"].RequestBody.Content["application/json"].Schema.Properties
	if got := described["mode"]; !slices.Equal(got.Enum, []string{"continued", "whole"}) || got.Description == "" || described["integrity"].Description == "" {
		t.Errorf("mode %+v, integrity %+v", got, described["integrity"])
	}
}
