package hsm_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestKeypad: where the token has a protected authentication path, the PIN is typed there and this process never has it. What was typed wrongly latches
// like any other PIN, and a token without the path is never asked.
func TestKeypad(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.Label, cfg.PINFile, cfg.Keypad = f.Module, k.Label, "", true
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) || f.Logins() != 0 {
		t.Fatalf("a token without a keypad: %v, %d logins", err, f.Logins())
	}
	pin, err := os.ReadFile(k.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	typed := "C_Login typed=" + string(bytes.TrimSpace(pin))
	f.Script("C_GetTokenInfo flags=0x100", typed)
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil || f.Logins() != 1 {
		t.Fatalf("typed at the device: %v, %d logins", err, f.Logins())
	}
	mustSign(t, m, generate(t, m, hsm.ECDSAP256))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	f.Script("C_GetTokenInfo flags=0x100", "C_Login typed=wrong")
	for range 2 {
		if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) {
			t.Errorf("typed wrongly: %v", err)
		}
	}
	if f.Logins() != 2 {
		t.Errorf("%d logins, the second wrong try among them", f.Logins())
	}
	both := cfg
	both.PINFile = k.PINFile
	if _, err := hsm.Open(t.Context(), both); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("a PIN file beside the keypad: %v", err)
	}
}
