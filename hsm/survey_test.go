package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

func find(s *hsm.Surveyed, serial string) *hsm.Present {
	for _, slot := range s.Slots {
		if slot.Token != nil && slot.Token.Serial == serial {
			return slot.Token
		}
	}
	return nil
}

// TestSurvey asks without a login, and closes the module again: it can be opened afterwards, and not surveyed while it is.
func TestSurvey(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	s, err := hsm.Survey(hsm.Config{Module: k.Module})
	if err != nil {
		t.Fatal(err)
	}
	p := find(s, k.Serial)
	if p == nil || p.Label != k.Label || !p.Flags.Initialised || !p.Flags.PINInitialised || !p.Flags.LoginRequired || p.Flags.PINLocked ||
		!slices.Contains(p.Mechanisms, "0x80008105") {
		t.Fatalf("%+v", p)
	}
	if err := cfg.Profile.Matches(s.Facts(p)); err != nil {
		t.Error(err)
	}
	m := open(t, cfg)
	if _, err := hsm.Survey(hsm.Config{Module: k.Module}); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("surveying an open module: %v", err)
	}
	mustSign(t, m, generate(t, m, hsm.SM2))
}

func TestSurveyTellsTriesLeft(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	for rule, want := range map[string]string{"C_GetTokenInfo flags=0x10000": "fewer than all", "C_GetTokenInfo flags=0x20000": "one",
		"C_GetTokenInfo flags=0x40000": "none (locked)", "# nothing": "all, as far as the token tells"} {
		f.Script(rule)
		s, err := hsm.Survey(hsm.Config{Module: f.Module})
		if err != nil {
			t.Fatal(err)
		}
		if p := find(s, k.Serial); p == nil || p.Flags.Tries() != want {
			t.Errorf("%s: %+v", rule, p)
		}
	}
}

func TestSurveyRefusesForeignModules(t *testing.T) {
	k := softhsmtest.New(t)
	open := filepath.Join(t.TempDir(), "libopen.so")
	b, err := os.ReadFile(k.Module)
	if err == nil {
		err = os.WriteFile(open, b, 0o700)
	}
	if err == nil {
		err = os.Chmod(open, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]hsm.Config{"writable": {Module: open}, "not on the list": {Module: k.Module, Allowed: []hsm.Allowed{{Path: open}}}} {
		if _, err := hsm.Survey(cfg); !errors.Is(err, hsm.ErrModule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]hsm.Config{"none": {}, "missing": {Module: "/nonexistent.so"}, "not a module": {Module: k.Conf}} {
		if _, err := hsm.Survey(cfg); !errors.Is(err, hsm.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
