package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// pinFlags reads the token's flags without logging in.
func pinCountLow(t *testing.T, k *softhsmtest.Token) bool {
	t.Helper()
	raw := under(t, k)
	if err := raw.Initialize(); err != nil {
		t.Fatal(err)
	}
	defer raw.Finalize()
	slots, err := raw.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slots {
		if info, err := raw.GetTokenInfo(s); err == nil && info.SerialNumber == k.Serial {
			return info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0
		}
	}
	t.Fatal("token not found")
	return false
}

func writePIN(t *testing.T, pin string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte(pin), 0o400); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLaw07WrongPINLatches: one wrong PIN, and nothing logs in again, in this process or another, with this PIN or the right one,
// until an operator clears the latch.
func TestLaw07WrongPINLatches(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.PINFile = writePIN(t, "999999999999")
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) || !errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)) {
		t.Fatalf("wrong PIN: %v", err)
	}
	if !pinCountLow(t, k) {
		t.Error("the token does not remember the wrong PIN, so the test proves nothing")
	}
	l, err := hsm.ReadLatch(cfg.LatchFile)
	if err != nil || l == nil || l.Serial != k.Serial {
		t.Fatalf("latch %+v, %v", l, err)
	}
	_, err = hsm.Open(t.Context(), cfg)
	if !errors.Is(err, hsm.ErrPINLatched) || errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)) ||
		!strings.Contains(err.Error(), "is the one that was refused") {
		t.Errorf("the same PIN again: %v", err)
	}
	// Had the right PIN reached the token, the opening would have succeeded and its flag been cleared.
	cfg.PINFile = k.PINFile
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) {
		t.Errorf("the right PIN under a latch: %v", err)
	}
	if !pinCountLow(t, k) {
		t.Error("something logged in under the latch")
	}
	if err := hsm.ClearLatch(cfg.LatchFile); err != nil {
		t.Fatal(err)
	}
	m := open(t, cfg)
	mustSign(t, m, generate(t, m, hsm.SM2))
}

// A damaged latch still latches.
func TestLaw07DamagedLatch(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	if err := os.WriteFile(cfg.LatchFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) {
		t.Errorf("got %v", err)
	}
}

// A PIN whose refusal could not be remembered is not tried at all.
func TestLaw07LatchThatCannotBeWritten(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.PINFile = writePIN(t, "999999999999")
	cfg.LatchFile = filepath.Join(t.TempDir(), "missing", "latch.json")
	if _, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("wrong PIN: %v", err)
	}
	if pinCountLow(t, k) {
		t.Error("the PIN reached the token")
	}
	cfg.PINFile, cfg.LatchFile = k.PINFile, filepath.Join(t.TempDir(), "latch.json")
	m := open(t, cfg)
	mustSign(t, m, generate(t, m, hsm.SM2))
	if l, err := hsm.ReadLatch(cfg.LatchFile); l != nil || err != nil {
		t.Errorf("the latch of a good login stays: %+v, %v", l, err)
	}
}

// The PIN of a lost login is only sent again when it is the one that was good before.
func TestLaw07AnotherPINIsNotTriedOnAReopening(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	pin := k.PIN()
	asked := 0
	cfg.PINFile = ""
	cfg.PIN = func() ([]byte, error) { asked++; return []byte(pin), nil }
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := generate(t, m, hsm.SM2)
	pin = "999999999999"
	raw, h := rawSession(t, m)
	if err := raw.Logout(h); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sign(m, b.ID, hsm.SM2); !errors.Is(err, hsm.ErrLoggedOut) {
			t.Errorf("got %v", err)
		}
	}
	if asked < 2 {
		t.Error("the PIN was not asked for again, so the test proves nothing")
	}
	if l, err := hsm.ReadLatch(cfg.LatchFile); l != nil || err != nil {
		t.Errorf("latch %v, %v", l, err)
	}
	pin = k.PIN()
	mustSign(t, m, b)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if pinCountLow(t, k) {
		t.Error("the other PIN reached the token")
	}
}
