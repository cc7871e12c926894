package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/client"
	accounts "sealkeeper/connector/account/sim"
	notices "sealkeeper/connector/notice/sim"
	publicsecurity "sealkeeper/connector/publicsecurity/sim"
	registration "sealkeeper/connector/registration/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/stage"
)

// city is the systems outside, each on its own address.
type city struct {
	registry registration.Office
	police   publicsecurity.Office
	accounts accounts.Office
	notices  notices.Office

	mu    sync.Mutex
	known map[string]licence.Fields
	moved string // what is added to the plan
}

// newCity opens the offices. Their keys come with the stage.
func newCity(t *testing.T) *city {
	c := &city{known: map[string]licence.Fields{}}
	c.police.DPI = 300
	c.police.Enterprise = func(uscc string) (licence.Fields, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		f, ok := c.known[uscc]
		return f, ok
	}
	var lines []string
	for name, h := range map[string]http.Handler{"registration": c.registry.Routes(), "public-security": c.police.Routes(), "account": c.accounts.Routes(),
		"notice": c.notices.Routes()} {
		srv := httptest.NewServer(h)
		t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
		lines = append(lines, fmt.Sprintf("{system: %s, url: %q, every: 50ms, timeout: 2s}", name, srv.URL))
	}
	c.moved = "connectors: {back_off: 100ms, systems: [" + strings.Join(lines, ", ") + "]}"
	return c
}

// settle lays a stage that is connected with the city.
func (c *city) settle(t *testing.T) *scene {
	t.Helper()
	s := own(t, stage.Config{More: []string{c.moved}})
	c.registry.Key, c.police.Key = s.registry.Key, s.police.Key
	return s
}

// founds has an enterprise established: the registry alone is told.
func (c *city) founds(t *testing.T, e *enterprise) {
	t.Helper()
	c.mu.Lock()
	c.known[e.USCC] = e.Fields
	c.mu.Unlock()
	if err := c.registry.Tell(licence.KindEstablished, e.Fields, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// complete waits until an enterprise's set is made, filed and told of, and notes order and seals.
func (c *city) complete(ctx context.Context, s *scene, e *enterprise) error {
	sys, err := s.Client("system")
	if err != nil {
		return err
	}
	return until(ctx, "the set of "+e.USCC, func() (bool, error) {
		var p client.Page[client.Order]
		if err := sys.JSON(ctx, "GET", "/v1/orders", map[string][]string{"uscc": {e.USCC}}, "", nil, &p); err != nil || len(p.Items) != 1 {
			return false, err
		}
		var o client.Order
		if err := sys.JSON(ctx, "GET", "/v1/orders/"+p.Items[0].ID, nil, "", nil, &o); err != nil || o.State != "made" {
			return false, err
		}
		for _, f := range o.Filings {
			if e.seals[f.Type] = f.ESID; f.State != "filed" || f.Reference != "BA-"+f.ESID || f.Overdue {
				return false, nil
			}
		}
		e.order = o.ID
		_, account := c.accounts.Account(e.USCC)
		return account && len(o.Filings) == 4 && slices.Contains(c.notices.Told(e.USCC), "seals-made"), nil
	})
}

// TestClosedLoopOverHTTP runs the loop with the real daemon and all simulators: an establishment in the registry's feed leads, with nobody's help,
// to four seals filed with public security, an account, and notices; then the owner collects.
func TestClosedLoopOverHTTP(t *testing.T) {
	c := newCity(t)
	s := c.settle(t)
	var all []*enterprise
	for range 3 {
		e := s.newEnterprise()
		c.founds(t, e)
		all = append(all, e)
	}
	for _, e := range all {
		if err := c.complete(t.Context(), s, e); err != nil {
			t.Fatal(err)
		}
		for _, esid := range e.seals {
			if got := c.police.Filed(esid); got != "03" {
				t.Errorf("seal %s is filed as %q", esid, got)
			}
		}
		if err := s.collect(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := until(t.Context(), "the notice of the collection", func() (bool, error) {
			return slices.Equal(c.notices.Told(e.USCC), []string{"seals-ordered", "seals-made", "seals-collected"}), nil
		}); err != nil {
			t.Errorf("%v: told %v", err, c.notices.Told(e.USCC))
		}
		c.inOrder(t, e.USCC)
	}
	if err := until(t.Context(), "nothing to reconcile", func() (bool, error) {
		out, err := s.As(t.Context(), "audit", "reconcile").CombinedOutput()
		return err == nil && bytes.Contains(out, []byte("0 discrepancies")), nil
	}); err != nil {
		out, _ := s.As(t.Context(), "audit", "reconcile").CombinedOutput()
		t.Errorf("%v\n%s", err, out)
	}
	t.Run("everybody is down", func(t *testing.T) { c.everybodyDown(t, s) })
	t.Run("operators", func(t *testing.T) { c.operators(t, s) })
}

// inOrder demands that public security heard of an enterprise in the order in which things happened.
func (c *city) inOrder(t *testing.T, uscc string) {
	t.Helper()
	var last time.Time
	var kinds []string
	for _, n := range c.police.Notices() {
		if n.USCC != uscc {
			continue
		}
		at := n.At.Truncate(time.Second) // the making of a set is dated in whole seconds
		if kinds = append(kinds, n.Kind); at.Before(last) {
			t.Errorf("%s of %s after one of %s", n.Kind, at, last)
		}
		last = at
	}
	if len(kinds) < 6 || kinds[0] != "expect-impressions" || strings.Count(strings.Join(kinds, " "), "seal-made") != 4 {
		t.Errorf("public security heard %v", kinds)
	}
}

// everybodyDown: the appliance stays ready, what is for the others waits, and nothing of it is lost.
func (c *city) everybodyDown(t *testing.T, s *scene) {
	offices := []*sim.Manners{&c.registry.Manners, &c.police.Manners, &c.accounts.Manners, &c.notices.Manners}
	for i, o := range offices {
		o.Behave([]sim.Mood{sim.Down, sim.Hang, sim.Garbage, sim.Error}[i], -1)
	}
	e := s.newEnterprise()
	c.mu.Lock()
	c.known[e.USCC] = e.Fields
	c.mu.Unlock()
	if err := s.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil { // the event comes over HTTPS all the same
		t.Fatal(err)
	}
	if err := until(t.Context(), "the alarm", func() (bool, error) { return s.metric(t, `sealkeeper_outbox_down{queue="filing"}`) == 1, nil }); err != nil {
		t.Error(err)
	}
	if r := mustOf(s.as(t, "system").Do(t.Context(), client.Call{Method: "GET", Path: "/readyz"}))(t); r.Status != http.StatusOK {
		t.Errorf("not ready: %s", r.Body)
	}
	if n := s.metric(t, `sealkeeper_outbox_waiting{queue="filing"}`); n < 1 {
		t.Errorf("%v messages wait", n)
	}
	for _, o := range offices {
		o.Behave(sim.Well, 0)
	}
	if err := c.complete(t.Context(), s, e); err != nil {
		t.Error(err)
	}
}

// operators see the systems, and decide about a notice that is refused and a filing that cannot be taken.
func (c *city) operators(t *testing.T, s *scene) {
	e := s.newEnterprise()
	c.police.Behave(sim.Refuse, -1)
	if err := s.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil {
		t.Fatal(err)
	}
	var dead client.Page[client.OutboxMessage]
	list := func() (bool, error) {
		out, err := s.As(t.Context(), "system", "--output", "json", "outbox", "list", "filing").Output()
		return err == nil && json.Unmarshal(out, &dead) == nil && len(dead.Items) == 1, err
	}
	if err := until(t.Context(), "a dead letter", list); err != nil {
		t.Fatal(err)
	}
	c.police.Behave(sim.Well, 0)
	out, err := s.As(t.Context(), "system", "--output", "json", "reconcile").Output()
	var found client.Reconciliation
	var end *exec.ExitError
	if !errors.As(err, &end) || end.ExitCode() != 3 || json.Unmarshal(out, &found) != nil ||
		!slices.ContainsFunc(found.Findings, func(f client.Finding) bool { return f.Code == "dead-letter" && f.Subject == "filing" && f.Mend != "" }) {
		t.Errorf("reconcile beside a dead letter: %v\n%s", err, out)
	}
	if m := dead.Items[0]; m.Entity != e.USCC || m.Kind != "expect-impressions" || !strings.Contains(m.Last, "422") {
		t.Errorf("dead letter %+v", m)
	}
	if out, err := s.As(t.Context(), "system", "outbox", "systems").CombinedOutput(); err != nil || !bytes.Contains(out, []byte("to filing")) || !bytes.Contains(out, []byte("from registration")) {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := s.As(t.Context(), "security", "outbox", "redeliver", dead.Items[0].ID).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("not-entitled")) {
		t.Errorf("the security officer redelivers: %v\n%s", err, out)
	}
	if out, err := s.As(t.Context(), "system", "outbox", "redeliver", "--all", "filing").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := until(t.Context(), "the notice", func() (bool, error) {
		return slices.ContainsFunc(c.police.Notices(), func(n register.Notice) bool { return n.USCC == e.USCC }), nil
	}); err != nil {
		t.Error(err)
	}
	stranger := s.newEnterprise() // of whom the platform has never heard
	f, err := s.filing(stranger, "01", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.police.Publish(f); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), "the held filing", func() (bool, error) {
		out, err := s.As(t.Context(), "system", "feed", "held", "public-security").Output()
		return bytes.Contains(out, []byte(stranger.USCC)) && bytes.Contains(out, []byte("by itself")), err
	}); err != nil {
		t.Error(err)
	}
	number := strconv.Itoa(c.police.Len())
	for _, args := range [][]string{{"retry", "public-security", number}, {"drop", "public-security", number, "--reason", "示例：误报"}} {
		if out, err := s.As(t.Context(), "system", append([]string{"feed"}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if n := s.metric(t, `sealkeeper_feed_held{feed="public-security"}`); n != 0 {
		t.Errorf("%v held", n)
	}
}

// metric reads one figure of /metrics.
func (s *scene) metric(t *testing.T, name string) float64 {
	t.Helper()
	a := mustOf(s.as(t, "system").Do(t.Context(), client.Call{Method: "GET", Path: "/metrics"}))(t)
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(a.Body)
	if m == nil {
		t.Fatalf("no metric %s", name)
	}
	return mustOf(strconv.ParseFloat(string(m[1]), 64))(t)
}

// TestDeliverySurvivesKill ends the daemon with SIGKILL while a message is with its receiver: before the receiver did anything, after it did and
// before its answer arrived, and while answers are garbage. Afterwards everything arrived, in order, and the receivers know what came twice.
func TestDeliverySurvivesKill(t *testing.T) {
	c := newCity(t)
	s := c.settle(t)
	var all []*enterprise
	for n, mood := range []sim.Mood{sim.Hang, sim.Lost, sim.Garbage, sim.Lost, sim.Hang} {
		for _, o := range []*sim.Manners{&c.police.Manners, &c.accounts.Manners, &c.notices.Manners} {
			o.Behave(mood, -1)
		}
		e := s.newEnterprise()
		c.founds(t, e)
		all = append(all, e)
		before := c.accounts.Calls()
		if err := until(t.Context(), "a message on its way", func() (bool, error) { return c.accounts.Calls() > before, nil }); err != nil {
			t.Fatal(err)
		}
		if err := s.KillSeald(); err != nil {
			t.Fatal(err)
		}
		for _, o := range []*sim.Manners{&c.police.Manners, &c.accounts.Manners, &c.notices.Manners} {
			o.Behave(sim.Well, 0)
		}
		if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
			t.Fatalf("start after kill %d: %v", n, err)
		}
	}
	for _, e := range all {
		if err := c.complete(t.Context(), s, e); err != nil {
			t.Fatal(err)
		}
		c.inOrder(t, e.USCC)
		if told := c.notices.Told(e.USCC); !slices.Equal(told, []string{"seals-ordered", "seals-made"}) {
			t.Errorf("%s was told %v", e.USCC, told)
		}
	}
	if c.accounts.Taken() != len(all) || c.accounts.Repeats() == 0 {
		t.Errorf("%d accounts opened for %d enterprises, %d repetitions known", c.accounts.Taken(), len(all), c.accounts.Repeats())
	}
	t.Logf("5 kills, %d notices to public security, %d repetitions known as such", len(c.police.Notices()), c.police.Repeats()+c.accounts.Repeats()+c.notices.Repeats())
}
