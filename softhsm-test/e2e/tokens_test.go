package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/stage"
)

// twoTokens is an appliance with two tokens of one library, and an enterprise whose keys live in each.
type twoTokens struct {
	*scene
	*softhsmtest.Faults
	serial     [2]string
	seal       [2]string
	delegation [2]string
}

// layTwo sets up an appliance with one token and an enterprise, gives it another token, and establishes a second enterprise, whose keys are born there.
func layTwo(t *testing.T, isolation string) *twoTokens {
	t.Helper()
	s := own(t, stage.Config{})
	w := &twoTokens{scene: s, Faults: softhsmtest.WithFaults(t, s.Token)}
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	w.enter(t, 0)
	s.stopAnd(t, func() {
		second := mustOf(softhsmtest.InitToken(t.Context(), s.Token.Dir, "sealkeeper-second"))(t)
		w.serial = [2]string{s.Token.Serial, second.Serial}
		s.configure(t, "module: "+s.Token.Module, "module: "+w.Module)
		s.configure(t, `isolation: ""`, "isolation: "+isolation)
		s.configure(t, `serial: ""`, fmt.Sprintf("serial: %q", s.Token.Serial))
		s.configure(t, "further_tokens: []", fmt.Sprintf("further_tokens:\n- {module: %q, profile: softhsm2-sm2, isolation: %s, serial: %q, label: %s, pin_file: %q, latch_file: second-latch.json, sessions: 8}",
			w.Module, isolation, second.Serial, second.Label, second.PINFile))
	})
	w.enter(t, 1)
	return w
}

// enter establishes the enterprise whose keys live in token i.
func (w *twoTokens) enter(t *testing.T, i int) {
	t.Helper()
	e := mustOf(w.establish(t.Context()))(t)
	w.seal[i], w.delegation[i] = e.seals["01"], mustOf(w.delegate(t.Context(), e, "01", 1<<20))(t)
}

func (w *twoTokens) sign(t *testing.T, i int) error {
	a := askDigest(w.seal[i], fmt.Appendf(nil, "示例 %p", &i))
	a.request.Delegation = w.delegation[i]
	_, err := a.sign(t, w.as(t, "department"))
	return err
}

// named holds a problem to its code and to naming the second token and no other.
func (w *twoTokens) named(t *testing.T, what, code, text string) {
	t.Helper()
	if code != "token-gone" || !strings.Contains(text, w.serial[1]) || strings.Contains(text, w.serial[0]) {
		t.Errorf("%s: %s: %s", what, code, text)
	}
}

// without says what an appliance does whose second token is away: its keys are told so by name, everybody else is served.
func (w *twoTokens) without(t *testing.T) {
	t.Helper()
	for range 3 {
		if err := w.sign(t, 0); err != nil {
			t.Errorf("a key in the token that is there: %v", err)
		}
	}
	err := w.sign(t, 1)
	if client.Code(err) != "token-gone" {
		t.Errorf("a key in the token that is away: %v", err)
	}
	r := mustOf(w.as(t, "system").Ready(t.Context()))(t)
	if len(r.Faults) != 1 || r.Faults[0].Part != "token" {
		t.Fatalf("/readyz says %+v", r.Faults)
	}
	w.named(t, "/readyz", "token-gone", r.Faults[0].Detail)
	w.up(t, 1, 0)
}

// up holds the metric that says which token is there.
func (w *twoTokens) up(t *testing.T, want ...float64) {
	t.Helper()
	m := mustOf(w.metrics(t.Context()))(t)
	for i, serial := range w.serial {
		found := false
		for name, v := range m {
			if strings.HasPrefix(name, "sealkeeper_token_up{") && strings.Contains(name, fmt.Sprintf("serial=%q", serial)) {
				if found = true; v != want[i] {
					t.Errorf("%s is %v", name, v)
				}
			}
		}
		if !found {
			t.Errorf("no metric names token %s", serial)
		}
	}
}

// TestTwoTokens: a lost token takes its own keys with it and nobody else's, is named by /readyz, /metrics and every refusal, and is back without a restart;
// it may be away at the start.
func TestTwoTokens(t *testing.T) {
	for _, isolation := range []string{"in-process", "worker"} {
		t.Run(isolation, func(t *testing.T) {
			w := layTwo(t, isolation)
			away := "* on=" + w.serial[1] + " absent"
			if err := errors.Join(w.sign(t, 0), w.sign(t, 1)); err != nil || !w.ready(t) {
				t.Fatal(err)
			}
			w.up(t, 1, 1)
			pid := w.SealdPID()
			w.underLoad(t, away)
			w.Script(away)
			w.without(t)
			third := mustOf(w.establish(t.Context()))(t) // born in the token that is there
			w.Script()
			w.back(t)
			if w.SealdPID() != pid {
				t.Error("the daemon was started again")
			}
			w.stopAnd(t, func() { w.Script(away) })
			w.without(t)
			w.Script()
			w.back(t)
			w.seal[0], w.delegation[0] = third.seals["01"], mustOf(w.delegate(t.Context(), third, "01", 100))(t)
			if err := w.sign(t, 0); err != nil {
				t.Error(err)
			}
			w.stopAnd(t, func() { logHolds(t, w.scene) })
		})
	}
}

// back waits until the second token signs again.
func (w *twoTokens) back(t *testing.T) {
	t.Helper()
	if err := until(t.Context(), "the token's return", func() (bool, error) {
		err := w.sign(t, 1)
		if client.Code(err) == "token-gone" {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		t.Error(err)
	}
	if !w.ready(t) {
		t.Error("not ready")
	}
	w.up(t, 1, 1)
}

// underLoad takes the second token away and gives it back while three callers sign with keys in each.
func (w *twoTokens) underLoad(t *testing.T, rule string) {
	t.Helper()
	var wg sync.WaitGroup
	var stop atomic.Bool
	var served [2]atomic.Int64
	var told atomic.Int64
	for c := range 6 {
		wg.Go(func() {
			for i := c % 2; !stop.Load(); {
				switch err := w.sign(t, i); {
				case err == nil:
					served[i].Add(1)
				case i == 1 && (client.Code(err) == "token-gone" || client.Code(err) == "token-interrupted"):
					told.Add(1)
				default:
					t.Errorf("a key in token %d: %v", i, err)
					return
				}
			}
		})
	}
	more := func(what string, enough func() bool) {
		if err := until(t.Context(), what, func() (bool, error) { return enough() || t.Failed(), nil }); err != nil {
			t.Error(err)
		}
	}
	more("signatures", func() bool { return served[0].Load() > 5 && served[1].Load() > 5 })
	w.Script(rule)
	more("the loss", func() bool { return told.Load() > 2 })
	from := served[0].Load()
	more("signatures beside it", func() bool { return served[0].Load() > from+10 })
	w.Script()
	back := served[1].Load()
	more("its return", func() bool { return served[1].Load() > back+5 })
	stop.Store(true)
	wg.Wait()
	t.Logf("token that stayed: %d signatures, none refused; token that went: %d, %d callers told", served[0].Load(), served[1].Load(), told.Load())
}

// TestTokensThatDoNotGoTogether: a start says what is wrong with a set of tokens, and sends no PIN. A token of another serial is one that is away.
func TestTokensThatDoNotGoTogether(t *testing.T) {
	w := layTwo(t, "in-process")
	if err := w.StopSeald(); err != nil {
		t.Fatal(err)
	}
	good := mustOf(os.ReadFile(w.Config))(t)
	for name, c := range map[string]struct{ old, with, want string }{
		"the same token twice": {"serial: \"" + w.serial[1], "serial: \"" + w.serial[0], "further_tokens[0].serial is that of token as well"},
		"one label for two":    {"serial: \"" + w.serial[1] + "\", label: sealkeeper-second", "label: sealkeeper-demo", "further_tokens[0].serial is needed"},
		"no latch of its own":  {"latch_file: second-latch.json, ", "", "further_tokens[0].latch_file is needed"},
		"the first's latch":    {"latch_file: second-latch.json", "latch_file: " + filepath.Join(w.Dir, "state", "pin-latch.json"), "further_tokens[0].latch_file is that of token as well"},
		"nothing to bear":      {"sessions: 8}", "sessions: 8, births: [seals, wishes]}", "further_tokens[0].births: wishes is neither"},
	} {
		logins := w.Logins()
		write(t, w.Config, bytes.Replace(good, []byte(c.old), []byte(c.with), 1))
		err := w.StartSeald(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if n := w.Logins(); n != logins {
			t.Errorf("%s: %d logins", name, n-logins)
		}
	}
	write(t, w.Config, bytes.Replace(good, []byte(w.serial[1]), []byte("0123456789abcdef"), 1))
	w.serial[1] = "0123456789abcdef"
	if err := w.StartSeald(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.sign(t, 0); err != nil {
		t.Error(err)
	}
	if r := mustOf(w.as(t, "system").Ready(t.Context()))(t); len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Detail, w.serial[1]) {
		t.Errorf("/readyz says %+v", r.Faults)
	}
	if err := w.sign(t, 1); client.Code(err) != "token-gone" {
		t.Errorf("a key whose token is not configured: %v", err)
	}
}
