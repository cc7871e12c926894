package hsm_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// Law of the one library: crypto11 must come first.
func TestInitialisationOrder(t *testing.T) {
	k := softhsmtest.New(t)
	raw := under(t, k)
	already := pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)

	t.Run("raw first is fatal for crypto11 and says so", func(t *testing.T) {
		if err := raw.Initialize(); err != nil {
			t.Fatal(err)
		}
		_, err := hsm.Open(t.Context(), config(t, k, "softhsm2-sm2"))
		if !errors.Is(err, already) {
			t.Errorf("got %v", err)
		}
		if _, err := raw.GetSlotList(true); err != nil {
			t.Errorf("the failed opening broke the first owner: %v", err)
		}
		if err := raw.Finalize(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("crypto11 first lets a raw context attach", func(t *testing.T) {
		m := open(t, config(t, k, "softhsm2-sm2"))
		if err := raw.Initialize(); !errors.Is(err, already) {
			t.Errorf("attaching: %v", err)
		}
		mustSign(t, m, generate(t, m, hsm.SM2))
		mustSign(t, m, generate(t, m, hsm.ECDSAP256))
	})
	t.Run("closing the last one finalises", func(t *testing.T) {
		if _, err := raw.GetSlotList(true); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
			t.Errorf("got %v", err)
		}
	})
}

func TestClosingOneTokenLeavesTheOther(t *testing.T) {
	k1, k2 := softhsmtest.New(t), softhsmtest.New(t)
	m1, m2 := open(t, config(t, k1, "softhsm2-sm2")), open(t, config(t, k2, "softhsm2-sm2"))
	b2, d2 := generate(t, m2, hsm.SM2), generate(t, m2, hsm.ECDSAP256)
	if err := m1.Close(); err != nil {
		t.Fatal(err)
	}
	mustSign(t, m2, b2)
	mustSign(t, m2, d2)
	if s := m2.Stats(); s.Epoch != 1 {
		t.Errorf("the other token's epoch moved to %d", s.Epoch)
	}
	if _, err := m1.Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("closed module: %v", err)
	}
	if err := m1.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestTokenIsChosenBySerialAndLabel(t *testing.T) {
	k1, k2 := softhsmtest.New(t), softhsmtest.New(t)
	twin := filepath.Join(filepath.Dir(k1.Module), "sealkeeper-tokeninit")
	for range 2 {
		cmd := exec.CommandContext(t.Context(), twin, "twin-label", k1.SOPINFile, k1.PINFile)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, c := range map[string]struct {
		serial, label, want string
		err                 error
	}{
		"serial":             {k1.Serial, "", k1.Serial, nil},
		"label":              {"", k2.Label, k2.Serial, nil},
		"both agree":         {k2.Serial, k2.Label, k2.Serial, nil},
		"both disagree":      {k1.Serial, k2.Label, "", hsm.ErrTokenGone},
		"unknown serial":     {"0000000000000000", "", "", hsm.ErrTokenGone},
		"unknown label":      {"", "nobody", "", hsm.ErrTokenGone},
		"label of two":       {"", "twin-label", "", hsm.ErrConfig},
		"part of the serial": {k1.Serial[:8], "", "", hsm.ErrTokenGone},
	} {
		t.Run(name, func(t *testing.T) {
			k := k1
			if c.want == k2.Serial {
				k = k2
			}
			cfg := config(t, k, "softhsm2-sm2")
			cfg.Serial, cfg.Label = c.serial, c.label
			m, err := hsm.Open(t.Context(), cfg)
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Errorf("got %v, want %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			info, err := m.Info(t.Context())
			if err != nil || info.Serial != c.want {
				t.Errorf("got %+v, %v", info, err)
			}
			if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) {
				t.Errorf("a second opening in the same process: %v", err)
			}
		})
	}
}

func TestConfigurationIsRefusedByName(t *testing.T) {
	k := softhsmtest.New(t)
	for name, change := range map[string]func(*hsm.Config){
		"no profile":           func(c *hsm.Config) { c.Profile = nil },
		"another profile":      func(c *hsm.Config) { c.Profile = profile(t, "softhsm2") },
		"no token":             func(c *hsm.Config) { c.Serial = "" },
		"no PIN":               func(c *hsm.Config) { c.PINFile = "" },
		"two PINs":             func(c *hsm.Config) { c.PIN = func() ([]byte, error) { return nil, nil } },
		"no latch":             func(c *hsm.Config) { c.LatchFile = "" },
		"three sessions":       func(c *hsm.Config) { c.MaxSessions = 3 },
		"no module":            func(c *hsm.Config) { c.Module = "" },
		"missing module":       func(c *hsm.Config) { c.Module = "/nonexistent/module.so" },
		"not a module":         func(c *hsm.Config) { c.Module = k.Conf },
		"locking we lack":      func(c *hsm.Config) { p := *c.Profile; p.Module.Locking = "none-serialise"; c.Profile = &p },
		"foreign library file": func(c *hsm.Config) { p := *c.Profile; p.Match.LibraryFile = []string{"other"}; c.Profile = &p },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, k, "softhsm2-sm2")
			change(&cfg)
			if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) {
				t.Errorf("got %v", err)
			}
		})
	}
	mustSignAfterAll := open(t, config(t, k, "softhsm2-sm2"))
	mustSign(t, mustSignAfterAll, generate(t, mustSignAfterAll, hsm.SM2))
}

func TestSmallTokenHasNoRoom(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	p := *cfg.Profile
	p.Limits.MaxSessions = 3
	cfg.Profile = &p
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
