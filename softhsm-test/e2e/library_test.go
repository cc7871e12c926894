package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/client"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/stage"
)

// TestLibrary: enterprises older than the library come in by file through sealctl, with a bad line among them; they open no order, are found by
// name, status and division, and the feed gives them once they are old enough not to be overtaken.
func TestLibrary(t *testing.T) {
	s := own(t, stage.Config{})
	const n = 30
	var lines bytes.Buffer
	var all []*enterprise
	for range n {
		e := s.newEnterprise()
		all = append(all, e)
		if err := json.NewEncoder(&lines).Encode(mustOf(s.registry.Event(licence.KindEstablished, e.Fields, time.Now().Add(-time.Hour)))(t)); err != nil {
			t.Fatal(err)
		}
	}
	lines.WriteString("{\"kind\":\"licence-event/1\",\"payload\":\"e30=\"}\n")
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sealctl := func(who string, args ...string) string {
		t.Helper()
		out, err := s.As(t.Context(), who, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("sealctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := sealctl("registration", "licence", "import", file); !strings.Contains(out, "settled   30") || !strings.Contains(out, "rejected  1") {
		t.Errorf("import printed\n%s", out)
	}
	rejects := string(mustOf(os.ReadFile(file + ".rejects"))(t))
	if !strings.Contains(rejects, `"line":31`) || !strings.Contains(rejects, `"code":"event-unsigned"`) && !strings.Contains(rejects, "unsigned") {
		t.Errorf("rejects %s", rejects)
	}
	if out := sealctl("registration", "licence", "import", "--from-start", file); !strings.Contains(out, "settled   30") {
		t.Errorf("the same file again printed\n%s", out)
	}
	op := s.as(t, "system")
	one := all[3]
	found := mustOf(op.SearchLicences(t.Context(), client.LicenceQuery{Name: one.Name}, "", 0))(t)
	if len(found.Items) != 1 || found.Items[0].USCC != one.USCC {
		t.Errorf("by name: %+v", found)
	}
	if got := mustOf(op.SearchLicences(t.Context(), client.LicenceQuery{Status: "active"}, "", 500))(t); len(got.Items) != n {
		t.Errorf("%d active, want %d", len(got.Items), n)
	}
	if orders := mustOf(op.Orders(t.Context(), one.USCC, ""))(t); len(orders.Items) != 0 {
		t.Errorf("orders of an enterprise older than the library: %+v", orders.Items)
	}
	feed := mustOf(op.LicenceChanges(t.Context(), time.Time{}, "", 100))(t)
	if len(feed.Items) != 0 || feed.Next == "" || time.Since(feed.Until) < 30*time.Second {
		t.Errorf("the feed gives %d changes that may still be overtaken, up to %s", len(feed.Items), feed.Until)
	}
}
