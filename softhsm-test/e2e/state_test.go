package e2e

import (
	"encoding/json"
	"net/url"

	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sealkeeper/client"
	"sealkeeper/keystore/audit"
)

// metrics reads the figures without labels.
func (s *scene) metrics(ctx context.Context) (map[string]float64, error) {
	c, err := s.Client("system")
	if err != nil {
		return nil, err
	}
	a, err := c.Do(ctx, client.Call{Method: "GET", Path: "/metrics"})
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(a.Body)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			all[name] = v
		}
	}
	return all, nil
}

func (s *scene) logSize(t testing.TB) uint64 {
	t.Helper()
	return uint64(mustOf(s.metrics(t.Context()))(t)["sealkeeper_log_size"])
}

// snapshot is what the appliance says about everything that a refused request might have changed.
type snapshot struct {
	parts              map[string]string // by what was asked
	released, computed float64           // signatures that left, and all that the token made for documents
}

// snapshot asks about these enterprises, and for all clients, grants and delegations.
func (s *scene) snapshot(t testing.TB, all ...*enterprise) snapshot {
	t.Helper()
	n := snapshot{parts: map[string]string{}}
	ask := func(role, path string, query url.Values) {
		a, err := s.as(t, role).Do(t.Context(), client.Call{Method: "GET", Path: path, Query: query})
		what := path + "?" + query.Encode()
		if err != nil {
			n.parts[what] = client.Code(err)
			if n.parts[what] == "" {
				t.Fatal(err)
			}
			return
		}
		n.parts[what] = string(a.Body)
	}
	for _, e := range all {
		ask("system", "/v1/orders", url.Values{"uscc": {e.USCC}})
		ask("system", "/v1/enterprises/"+e.USCC+"/seals", nil)
		ask("system", "/v1/licences/"+e.USCC+"/versions", nil)
	}
	ask("security", "/v1/clients", nil)
	id := mustOf(s.ID("department"))(t)
	ask("security", "/v1/grants", url.Values{"client": {id}})
	ask("security", "/v1/delegations", url.Values{"client": {id}})
	n.released, n.computed = s.signatures(t)
	return n
}

// signatures counts those that left the appliance, and all that its token made for documents.
func (s *scene) signatures(t testing.TB) (released, computed float64) {
	t.Helper()
	m := mustOf(s.metrics(t.Context()))(t)
	released = m["sealkeeper_signatures_released_total"]
	return released, released + m["sealkeeper_signatures_discarded_total"]
}

// same compares a later snapshot.
func (n snapshot) same(t testing.TB, later snapshot) {
	t.Helper()
	for what, was := range n.parts {
		if is := later.parts[what]; is != was {
			t.Errorf("%s changed\nfrom %s\nto   %s", what, was, is)
		}
	}
	if n.released != later.released || n.computed != later.computed {
		t.Errorf("signatures: released %v, computed %v; before %v and %v", later.released, later.computed, n.released, n.computed)
	}
}

// entry is a record of the log as an audit officer reads it.
type entry struct {
	Index   uint64
	Leaf    string
	Kind    string
	Actor   audit.Actor
	Subject string
	Request string
	Detail  json.RawMessage
	Result  json.RawMessage
}

// entries reads the log from an index to its end.
func (s *scene) entries(ctx context.Context, from uint64) ([]entry, error) {
	c, err := s.Client("audit")
	if err != nil {
		return nil, err
	}
	var all []entry
	for {
		var page struct {
			Items []entry
			Next  string
		}
		q := url.Values{"from": {fmt.Sprint(from + uint64(len(all)))}, "limit": {"500"}}
		if err := c.JSON(ctx, "GET", "/v1/audit/entries", q, "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
	}
}
