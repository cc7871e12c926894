package doctor_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/doctor"
	"sealkeeper/hsm/probe"
	"sealkeeper/hsm/worker"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == worker.Command {
		os.Exit(worker.Main())
	}
	os.Exit(softhsmtest.Main(m))
}

func profiles(t testing.TB, folder string) *firmware.Set {
	t.Helper()
	set, err := hsm.Profiles(folder)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// config is that of a healthy appliance on a throw-away token.
func config(t testing.TB, k *softhsmtest.Token) doctor.Config {
	t.Helper()
	return doctor.Config{Config: hsm.Config{Module: k.Module, Allowed: []hsm.Allowed{{Path: k.Module}}, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json"), MaxSessions: 8}, Set: profiles(t, ""), Flags: "--config seald.yaml"}
}

func examine(t testing.TB, cfg doctor.Config) *doctor.Report {
	t.Helper()
	r, err := doctor.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func named(t testing.TB, r *doctor.Report, name string) doctor.Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c doctor.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s in %+v", name, r)
	}
	return r.Checks[i]
}

// all results of a report but ok.
func findings(r *doctor.Report) map[string]doctor.Result {
	out := map[string]doctor.Result{}
	for _, c := range r.Checks {
		if c.Result != doctor.OK {
			out[c.Name] = c.Result
		}
	}
	return out
}

func TestHealthy(t *testing.T) {
	k := softhsmtest.New(t)
	r := examine(t, config(t, k))
	for i, c := range r.Checks {
		if c.Number != i+1 || c.Detail == "" {
			t.Errorf("%+v", c)
		}
		t.Logf("%2d %-17s %-4s %s", c.Number, c.Name, c.Result, c.Detail)
	}
	got := findings(r)
	delete(got, "clock") // whatever this machine's is
	if len(got) != 1 || got["evidence"] != doctor.Warn || r.Verdict != doctor.Warn || r.Serial != k.Serial || r.Profile != "softhsm2-sm2" || r.PINTries == "" {
		t.Errorf("%v, %+v", got, r)
	}
	for name, want := range map[string]string{"round-trip": "sm2, ecdsa-p256, rsa-2048, aes-256", "wrapping": "sm2, ecdsa-p256, rsa-2048"} {
		if c := named(t, r, name); !strings.Contains(c.Detail, want) {
			t.Errorf("%+v", c)
		}
	}
}

// TestFindings: what is wrong is found under its name, with the command that mends it, and what rests on it is skipped.
func TestFindings(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	twin := filepath.Join(filepath.Dir(k.Module), "sealkeeper-tokeninit")
	for range 2 {
		if out, err := exec.CommandContext(t.Context(), twin, "twin-of-doctor", k.SOPINFile, k.PINFile).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, c := range map[string]struct {
		script  string
		change  func(t *testing.T, c *doctor.Config)
		check   string
		result  doctor.Result
		says    string
		mend    string
		skipped string
		logins  int
	}{
		"PIN locked":         {"C_GetTokenInfo flags=0x40000", nil, "pin-tries", doctor.Fail, "no try is left", "--init-pin", "login", 0},
		"final try":          {"C_GetTokenInfo flags=0x20000", nil, "pin-tries", doctor.Fail, "no PIN is sent", "--login --list-objects", "login", 0},
		"few tries":          {"C_GetTokenInfo flags=0x10000", nil, "pin-tries", doctor.Warn, "wrong PIN was entered", "", "", 2},
		"PIN to change":      {"C_GetTokenInfo flags=0x80000", nil, "token-state", doctor.Fail, "must be changed", "--change-pin", "login", 0},
		"PIN incorrect":      {"C_Login return=0xA0", nil, "login", doctor.Fail, "latched", "rm ", "round-trip", 1},
		"token missing":      {"* on=" + k.Serial + " absent", nil, "token", doctor.Fail, "no token of serial", "sealctl token list --config seald.yaml", "profile", 0},
		"two of one label":   {"", func(_ *testing.T, c *doctor.Config) { c.Serial, c.Label = "", "twin-of-doctor" }, "token", doctor.Fail, "2 tokens", "serial:", "profile", 0},
		"no token named":     {"", func(_ *testing.T, c *doctor.Config) { c.Serial = "" }, "token", doctor.Fail, "neither label nor serial", "token list", "profile", 0},
		"mechanism missing":  {"", func(t *testing.T, c *doctor.Config) { other(t, c, 0x80007777) }, "mechanisms", doctor.Fail, "sm2 0x80007777", "token probe", "round-trip", 1},
		"profile unknown":    {"", func(_ *testing.T, c *doctor.Config) { c.Profile = "nobody" }, "profile", doctor.Fail, "no such firmware profile", "token probe", "login", 0},
		"profile of another": {"", func(_ *testing.T, c *doctor.Config) { c.Profile = "softhsm2" }, "profile", doctor.Fail, "library_manufacturer", "token probe", "login", 0},
		"latched":            {"", latched, "pin-latch", doctor.Fail, "latched", "rm ", "login", 0},
		"no latch file":      {"", func(_ *testing.T, c *doctor.Config) { c.LatchFile = "" }, "pin-latch", doctor.Fail, "could not be remembered", "--latch-file", "login", 0},
		"PIN readable":       {"", readable, "pin-source", doctor.Fail, "0400", "chmod 0400", "login", 0},
		"no keypad":          {"", func(_ *testing.T, c *doctor.Config) { c.PINFile, c.Keypad = "", true }, "pin-source", doctor.Fail, "no PIN at the device", "--pin-file", "login", 0},
		"not on the list":    {"", func(_ *testing.T, c *doctor.Config) { c.Allowed[0].Path = k.Module }, "module-file", doctor.Fail, "not on the list", "sha256:", "library", 0},
		"another file":       {"", func(_ *testing.T, c *doctor.Config) { c.Allowed[0].SHA256 = strings.Repeat("0", 64) }, "module-file", doctor.Fail, "the list says", "sha256:", "library", 0},
		"no list":            {"", func(_ *testing.T, c *doctor.Config) { c.Allowed = nil }, "module-file", doctor.Warn, "production mode wants", "modules:", "", 2},
		"no module":          {"", func(_ *testing.T, c *doctor.Config) { c.Module = "/nonexistent.so" }, "module-file", doctor.Fail, "nonexistent", "ls -l", "library", 0},
		"not a module":       {"", func(_ *testing.T, c *doctor.Config) { c.Module, c.Allowed = k.Conf, nil }, "module-functions", doctor.Fail, "loading", "ldd", "library", 0},
		"no PKCS#11":         {"", func(_ *testing.T, c *doctor.Config) { c.Module, c.Allowed = libc(t), nil }, "module-functions", doctor.Fail, "C_GetFunctionList", "", "library", 0},
		"library unwell":     {"C_GetInfo return=0x5", nil, "library", doctor.Fail, "GENERAL_ERROR", "", "token", 0},
		"too many sessions":  {"", func(_ *testing.T, c *doctor.Config) { c.MaxSessions = 100 }, "sessions", doctor.Warn, "the profile allows 64", "sessions: 64", "", 2},
		"wrong signature":    {"C_Sign corrupt", nil, "round-trip", doctor.Fail, "sm2", "token probe", "worker", 1},
		"no way back":        {"C_UnwrapKey return=0x6", nil, "wrapping", doctor.Fail, "FUNCTION_FAILED", "resident", "", 2},
		"stuck numbers":      {"C_GenerateRandom return=0x5", nil, "random", doctor.Fail, "GENERAL_ERROR", "", "", 2},
		"no worker":          {"", func(_ *testing.T, c *doctor.Config) { c.Worker = []string{"/bin/false"} }, "worker", doctor.Fail, "worker", "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f.Script(c.script)
			cfg := config(t, k)
			cfg.Module, cfg.Allowed[0].Path = f.Module, f.Module
			if c.change != nil {
				c.change(t, &cfg)
			}
			before := f.Logins()
			r := examine(t, cfg)
			got := named(t, r, c.check)
			if got.Result != c.result || !strings.Contains(got.Detail, c.says) || !strings.Contains(got.Mend, c.mend) {
				t.Errorf("got %+v", got)
			}
			if c.skipped != "" {
				if s := named(t, r, c.skipped); s.Result != doctor.Skip || !strings.Contains(s.Detail, "needs check") {
					t.Errorf("not skipped: %+v", s)
				}
			}
			if n := f.Logins() - before; n != c.logins {
				t.Errorf("%d logins, want %d", n, c.logins)
			}
			if c.result == doctor.Fail && r.Verdict != doctor.Fail {
				t.Errorf("verdict %s", r.Verdict)
			}
		})
	}
}

// other configures a profile that signs with another number.
func other(t *testing.T, c *doctor.Config, number firmware.Number) {
	t.Helper()
	shipped, err := c.Set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	p := *shipped
	sm2 := *p.SM2
	p.ID, p.Inherits, p.SM2 = "other", "", &sm2
	sm2.Sign = map[string]firmware.SignMechanism{"e-raw": {Mechanism: number, Input: "e32", Output: "raw64"}}
	p.Sources = map[string]firmware.Source{}
	for path, s := range shipped.Sources {
		if !strings.HasPrefix(path, "sm2.sign.") || path == "sm2.sign.e-raw.mechanism" {
			p.Sources[path] = s
		}
	}
	text, err := p.Print()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Set, c.Profile = profiles(t, dir), "other"
}

// latched leaves behind what a wrong PIN leaves.
func latched(t *testing.T, c *doctor.Config) {
	t.Helper()
	if err := os.WriteFile(c.LatchFile, []byte(`{"serial":"0","code":"CKR_PIN_INCORRECT","time":"2026-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readable(t *testing.T, c *doctor.Config) {
	t.Helper()
	b, err := os.ReadFile(c.PINFile)
	c.PINFile = filepath.Join(t.TempDir(), "pin")
	if err == nil {
		err = os.WriteFile(c.PINFile, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// libc is a library that is no PKCS#11 module.
func libc(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("SKIPPED: no libc to mistake for a module")
	return ""
}

// TestLaw07DoctorTriesOnce: the doctor latches a wrong PIN as the daemon does, and the next one sends none.
func TestLaw07DoctorTriesOnce(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k)
	cfg.Module, cfg.Allowed[0].Path = f.Module, f.Module
	f.Script("C_Login return=0xA0")
	for _, failing := range []string{"login", "pin-latch", "pin-latch"} {
		if c := named(t, examine(t, cfg), failing); c.Result != doctor.Fail {
			t.Errorf("%+v", c)
		}
	}
	if n := f.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// TestLeftovers: what a broken-off probing left is found, and Clean destroys exactly that.
func TestLeftovers(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k)
	var broken, other hsm.ObjectID
	rand.Read(broken[:])
	rand.Read(other[:])
	inside(t, cfg, func(m *hsm.Module) {
		for label, id := range map[string]hsm.ObjectID{probe.Label + hex.EncodeToString(broken[:8]): broken, "seal:kept": other,
			probe.Label + strings.Repeat("a", 16): {1}, probe.Label + "not-ours": {2}} { // the last two have the label, or part of it, alone
			if _, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: label, Algorithm: hsm.ECDSAP256}); err != nil {
				t.Fatal(err)
			}
		}
	})
	if c := named(t, examine(t, cfg), "leftovers"); c.Result != doctor.Warn || !strings.Contains(c.Mend, "sealctl token doctor --config seald.yaml --clean") ||
		strings.Contains(c.Detail, "kept") || strings.Contains(c.Detail, "not-ours") || strings.Contains(c.Detail, "aaaa") {
		t.Errorf("%+v", c)
	}
	cfg.Clean = true
	if c := named(t, examine(t, cfg), "leftovers"); c.Result != doctor.OK || !strings.Contains(c.Detail, "2 objects") {
		t.Errorf("%+v", c)
	}
	inside(t, cfg, func(m *hsm.Module) {
		left := map[string]int{}
		objects, err := m.Objects(t.Context())
		for _, o := range objects {
			left[o.Label]++
		}
		if err != nil || len(left) != 3 || left["seal:kept"] != 2 || left[probe.Label+"not-ours"] != 2 || left[probe.Label+strings.Repeat("a", 16)] != 2 {
			t.Errorf("%v, %v", left, err)
		}
	})
}

// inside opens the token as the appliance does.
func inside(t *testing.T, cfg doctor.Config, f func(m *hsm.Module)) {
	t.Helper()
	p, err := cfg.Set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	open := cfg.Config
	open.Profile = p
	m, err := hsm.Open(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f(m)
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if r, err := doctor.Run(ctx, config(t, softhsmtest.New(t))); err == nil {
		t.Errorf("%+v", r)
	}
}
