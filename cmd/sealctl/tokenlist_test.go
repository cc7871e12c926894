package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// sealctl runs one command in this process.
func sealctl(t *testing.T, arguments ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), arguments, &o, &e)
	return code, o.String(), e.String()
}

func TestTokenList(t *testing.T) {
	k := softhsmtest.New(t)
	code, out, errs := sealctl(t, "token", "list", "--module", k.Module)
	if code != exitDone || !strings.Contains(out, k.Label) || !strings.Contains(out, k.Serial) || !strings.Contains(out, "softhsm2-sm2") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if !strings.Contains(out, "not initialised") { // SoftHSM2 always shows one slot more
		t.Errorf("the free slot is not told apart:\n%s", out)
	}
	code, out, errs = sealctl(t, "token", "list", "--module", k.Module, "--output", "json")
	var s hsm.Surveyed
	if err := json.Unmarshal([]byte(out), &s); code != exitDone || err != nil || s.ModuleSHA256 == "" || len(s.Slots) < 2 {
		t.Errorf("%d %v\n%s%s", code, err, out, errs)
	}
}

// TestTokenListObeysTheList: what the daemon would not load is not loaded here either.
func TestTokenListObeysTheList(t *testing.T) {
	k := softhsmtest.New(t)
	config := filepath.Join(t.TempDir(), "seald.yaml")
	for sum, want := range map[string]int{strings.Repeat("0", 64): exitUsage, "": exitDone} {
		text := fmt.Sprintf("modules:\n- {path: %s, sha256: %q}\ntoken: {module: %s}\n", k.Module, sum, k.Module)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := sealctl(t, "token", "list", "--config", config)
		if code != want || want != exitDone && !strings.Contains(errs, "the list says") {
			t.Errorf("%q: %d\n%s%s", sum, code, out, errs)
		}
	}
	if code, _, errs := sealctl(t, "token", "list"); code != exitUsage || !strings.Contains(errs, "--help") {
		t.Errorf("%d %s", code, errs)
	}
}
