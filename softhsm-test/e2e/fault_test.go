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
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/stage"
)

// faultScene is an appliance whose module runs in a worker behind the fault module, with an owner's delegation to sign under.
type faultScene struct {
	*scene
	*softhsmtest.Faults
	seal, delegation string
}

func layFaults(t *testing.T) *faultScene {
	s := own(t, stage.Config{})
	f := &faultScene{scene: s, Faults: softhsmtest.WithFaults(t, s.Token)}
	s.stopAnd(t, func() {
		s.configure(t, "module: "+s.Token.Module, "module: "+f.Module)
		s.configure(t, `isolation: ""`, "isolation: worker")
		s.configure(t, "hang_after: 30s", "hang_after: 1s")
	})
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	f.seal, f.delegation = e.seals["01"], mustOf(s.delegate(t.Context(), e, "01", 1<<20))(t)
	return f
}

// once asks for one signature under a key of its own, and again under the same key while the answer is a problem that says when to come back. It
// tells those problems' codes.
func (f *faultScene) once(t *testing.T, n int, told func(code string)) error {
	a := askDigest(f.seal, fmt.Appendf(nil, "示例 %d", n))
	a.request.Delegation = f.delegation
	return until(t.Context(), "a signature", func() (bool, error) {
		out, err := a.sign(t, f.as(t, "department"))
		var p *client.Problem
		if errors.As(err, &p) && p.RetryAfter > 0 {
			told(p.Code)
			return false, nil
		}
		return len(out.bytes) > 0, err
	})
}

// TestFaultsOverHTTP: six callers ask for signatures without pause while the token gets into every kind of trouble. The daemon goes on without a restart;
// whoever's call was inside a module that crashed or hung is told so, comes back with the same key and is served; nobody else is refused.
func TestFaultsOverHTTP(t *testing.T) {
	f := layFaults(t)
	pid := f.SealdPID()
	for _, c := range []struct {
		name, rule, strikes string
		told                []string // problems that callers may see; none is none
	}{
		{"session invalid", "C_SignInit times=1 return=0xB3", "C_SignInit", nil},
		{"session closed", "C_SignInit times=1 close-session", "C_SignInit", nil},
		{"key handle invalid", "C_SignInit times=1 return=0x60", "C_SignInit", nil},
		{"logged out", "C_SignInit times=1 logout", "C_SignInit", nil},
		{"host memory", "C_Sign times=1 return=0x02", "C_Sign", nil},
		{"device error", "C_Sign times=1 return=0x30", "C_Sign", nil},
		{"slow", "C_Sign times=3 delay=100", "C_Sign", nil},
		{"crash", "C_Sign times=1 crash", "C_Sign", []string{"token-interrupted"}},
		{"hang", "C_Sign times=1 hang", "C_Sign", []string{"token-interrupted", "token-gone"}},
		{"removed and returned", "* absent", "", []string{"token-gone", "token-interrupted"}},
	} {
		t.Run(c.name, func(t *testing.T) { f.underLoad(t, c.rule, c.strikes, c.told) })
	}
	t.Run("wrong answer", func(t *testing.T) {
		f.Script("C_Sign corrupt")
		a := askDigest(f.seal, []byte("示例 错误签名"))
		a.request.Delegation = f.delegation
		if out, err := a.sign(t, f.as(t, "department")); client.Code(err) != "token-signature-wrong" || len(out.bytes) > 0 {
			t.Errorf("%x, %v", out.bytes, err)
		}
		f.Script()
		mustOf(a.sign(t, f.as(t, "department")))(t)
	})
	if f.SealdPID() != pid {
		t.Error("the daemon was started again")
	}
	f.stopAnd(t, func() { logHolds(t, f.scene) })
	if b := mustOf(os.ReadFile(filepath.Join(f.Dir, "seald.log")))(t); bytes.Contains(b, []byte(f.Token.PIN())) || !bytes.Contains(b, []byte("token worker ended")) {
		t.Error("the daemon's log holds the PIN, or nothing of the workers that died")
	}
}

func (f *faultScene) underLoad(t *testing.T, rule, strikes string, told []string) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	var served, refused atomic.Int64
	var slowest atomic.Int64
	for i := range 6 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				from := time.Now()
				err := f.once(t, i<<20|n, func(code string) {
					refused.Add(1)
					if !strings.Contains(strings.Join(told, " "), code) {
						t.Errorf("a caller was told %s", code)
					}
				})
				if err != nil {
					t.Error(err)
					return
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(from))))
				served.Add(1)
			}
		})
	}
	more := func(n int64) {
		from := served.Load()
		if err := until(t.Context(), "answers under load", func() (bool, error) { return served.Load()-from >= n || t.Failed(), nil }); err != nil {
			t.Error(err)
		}
	}
	more(20)
	before := f.Strikes(strikes)
	f.Script(rule)
	if err := until(t.Context(), "the fault", func() (bool, error) {
		return strikes != "" && f.Strikes(strikes) > before || strikes == "" && refused.Load() > 0, nil
	}); err != nil {
		t.Error(err)
	}
	if strings.Contains(rule, "hang") { // until the worker was given up
		if err := until(t.Context(), "the hung worker's end", func() (bool, error) { return refused.Load() > 0, nil }); err != nil {
			t.Error(err)
		}
	}
	f.Script()
	more(60)
	stop.Store(true)
	wg.Wait()
	t.Logf("%d served, %d refusals, slowest with its repetitions %v", served.Load(), refused.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
}

// TestFaultWrongPINAtStart: the daemon ends with code 77 and says why; a second start does not try the PIN by itself; the operator's clearing of the latch
// and a right PIN bring it back.
func TestFaultWrongPINAtStart(t *testing.T) {
	s := own(t, stage.Config{})
	f := softhsmtest.WithFaults(t, s.Token)
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	s.configure(t, "module: "+s.Token.Module, "module: "+f.Module)
	good, wrong := s.Token.PINFile, filepath.Join(s.Dir, "wrong.pin")
	if err := os.WriteFile(wrong, []byte("000000000000"), 0o400); err != nil {
		t.Fatal(err)
	}
	s.configure(t, "pin_file: "+good, "pin_file: "+wrong)
	for _, isolation := range []string{"in-process", "worker"} {
		before := f.Logins()
		for n := range 3 {
			out, err := s.Command(t.Context(), "seald", "--config", s.Config).CombinedOutput()
			if exitCode(t, err) != 77 || !strings.Contains(string(out), "an operator must clear it") || strings.Contains(string(out), "000000000000") {
				t.Errorf("start %d: %v\n%s", n, err, out)
			}
		}
		if tried := f.Logins() - before; tried != 1 {
			t.Errorf("%s: the wrong PIN was tried %d times", isolation, tried)
		}
		if err := os.Remove(filepath.Join(s.Dir, "state", "pin-latch.json")); err != nil {
			t.Error(err)
		}
		if isolation == "in-process" {
			s.configure(t, `isolation: ""`, "isolation: worker")
		}
	}
	s.configure(t, "pin_file: "+wrong, "pin_file: "+good)
	s.start(t)
}

// TestStartThatIsRefused: a module that is not the one on the list, another token in the slot, two tokens of one label: named, code 1, and no PIN is sent.
func TestStartThatIsRefused(t *testing.T) {
	s := own(t, stage.Config{})
	f := softhsmtest.WithFaults(t, s.Token)
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	s.configure(t, "module: "+s.Token.Module, "module: "+f.Module)
	text := string(mustOf(os.ReadFile(s.Config))(t))
	put := func(old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("the configuration does not hold %q:\n%s", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	writable := filepath.Join(s.Dir, "writable-"+filepath.Base(f.Module))
	if err := errors.Join(os.WriteFile(writable, mustOf(os.ReadFile(f.Module))(t), 0o600), os.Chmod(writable, 0o666)); err != nil {
		t.Fatal(err)
	}
	serial := `serial: ""`
	for name, c := range map[string]struct{ config, script, says string }{
		"not on the list":         {put("modules: []", "modules: [{path: /elsewhere.so}]"), "", "is not on the list of modules"},
		"another file":            {put("modules: []", "modules: [{path: "+f.Module+", sha256: "+strings.Repeat("a1", 32)+"}]"), "", "has SHA-256"},
		"everybody can write it":  {put("module: "+f.Module, "module: "+writable), "", "can be written by everybody"},
		"another token is there":  {put(serial, "serial: "+s.Token.Serial), "* serial=0123456789ABCDEF", "token is not present"},
		"the token is not there":  {text, "* absent", "token is not present"},
		"its PIN is locked":       {text, "C_GetTokenInfo flags=0x40000", "PIN as locked"},
		"its PIN has one try":     {text, "C_GetTokenInfo flags=0x20000", "one try left"},
		"the module cannot start": {text, "C_Initialize return=0x05", "CKR_GENERAL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, s.Config, []byte(c.config))
			f.Script(c.script)
			out, err := s.Command(t.Context(), "seald", "--config", s.Config).CombinedOutput()
			want := 1
			if strings.Contains(c.script, "flags") {
				want = 77
			}
			if exitCode(t, err) != want || !strings.Contains(string(out), c.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("two tokens of one label", func(t *testing.T) {
		twin := s.Command(t.Context(), "true")
		twin.Path = filepath.Join(filepath.Dir(s.Token.Module), "sealkeeper-tokeninit")
		twin.Args = []string{twin.Path, s.Token.Label, s.Token.SOPINFile, s.Token.PINFile}
		if out, err := twin.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		f.Script()
		write(t, s.Config, []byte(text))
		out, err := s.Command(t.Context(), "seald", "--config", s.Config).CombinedOutput()
		if exitCode(t, err) != 1 || !strings.Contains(string(out), "2 tokens with") {
			t.Errorf("%v\n%s", err, out)
		}
		write(t, s.Config, []byte(put(serial, "serial: "+s.Token.Serial)))
	})
	if f.Logins() != 0 {
		t.Errorf("the PIN was sent %d times", f.Logins())
	}
	s.start(t)
}
