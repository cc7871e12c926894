package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/doctor"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestTokenProbe: the printed profile drives the token, and the doctor is content with it.
func TestTokenProbe(t *testing.T) {
	k := softhsmtest.New(t)
	dir := t.TempDir()
	profiles := filepath.Join(dir, "profiles")
	if err := os.Mkdir(profiles, 0o700); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(profiles, "measured.yaml")
	token := []string{"--module", k.Module, "--serial", k.Serial, "--pin-file", k.PINFile, "--latch-file", filepath.Join(dir, "latch.json")}
	probe := append([]string{"token", "probe", "--id", "measured", "--signatures", "40", "--span", "0", "--max-sessions", "8", "--out", out}, token...)
	code, text, errs := sealctl(t, probe...)
	if code != exitDone || text != "" || !strings.Contains(errs, "agrees with the shipped profile softhsm2-sm2") {
		t.Fatalf("%d\n%s%s", code, text, errs)
	}
	if code, _, errs := sealctl(t, probe...); code != exitUsage || !strings.Contains(errs, "exists") {
		t.Errorf("a file was written over, or probed for nothing: %d %s", code, errs)
	}
	config := filepath.Join(dir, "seald.yaml")
	err := os.WriteFile(config, fmt.Appendf(nil, "store: {path: s.db}\nprofiles: profiles\nmodules: [{path: %s}]\ntoken: {module: %s, label: %s, profile: measured, pin_file: %s}\n",
		k.Module, k.Module, k.Label, k.PINFile), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	code, text, errs = sealctl(t, "token", "doctor", "--config", config, "--output", "json")
	var r doctor.Report
	if err := json.Unmarshal([]byte(text), &r); code != exitIndeterminate || err != nil || r.Profile != "measured" || r.Verdict != doctor.Warn {
		t.Errorf("%d %v\n%s%s", code, err, text, errs)
	}
}

func TestTokenProbeAsJSON(t *testing.T) {
	k := softhsmtest.New(t, softhsmtest.Plain())
	code, text, errs := sealctl(t, "token", "probe", "--module", k.Module, "--label", k.Label, "--pin-file", k.PINFile, "--latch-file", filepath.Join(t.TempDir(), "l"),
		"--span", "0", "--max-sessions", "4", "--output", "json")
	var m struct {
		Profile     string
		Differences []map[string]string
		Findings    map[string]any
	}
	if err := json.Unmarshal([]byte(text), &m); code != exitDone || err != nil || m.Findings["wrapping"] == nil {
		t.Fatalf("%d %v\n%s%s", code, err, text, errs)
	}
	if p, err := firmware.Read([]byte(m.Profile)); err != nil || p.Evidence.Level != firmware.Simulated || p.ECDSA == nil {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestTokenRefusals: every refusal has its exit code and says what is wrong; no PIN is tried twice.
func TestTokenRefusals(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	latch := filepath.Join(t.TempDir(), "latch.json")
	token := []string{"--module", f.Module, "--serial", k.Serial, "--pin-file", k.PINFile, "--latch-file", latch}
	for _, c := range []struct {
		name, script string
		arguments    []string
		code         int
		says         string
	}{
		{"few signatures", "", append([]string{"probe", "--signatures", "0"}, token...), exitUsage, "--signatures is 1"},
		{"few sessions", "", append([]string{"probe", "--max-sessions", "2"}, token...), exitUsage, "--max-sessions is 3"},
		{"long span", "", append([]string{"probe", "--span", "1h"}, token...), exitUsage, "--span is 0 to 1m"},
		{"another token", "", append([]string{"probe"}, append(token, "--label", "nobody")...), exitRefused, "not there"},
		{"bad profile folder", "", append([]string{"probe", "--profiles", "/nonexistent"}, token...), exitUsage, "firmware profiles"},
		{"breaks off", "C_Sign skip=4 return=0x32", append([]string{"probe"}, token...), exitRefused, "SM2 signatures"},
		{"breaks off as JSON", "C_Sign skip=4 return=0x32", append([]string{"probe", "--output", "json"}, token...), exitRefused, "SM2 signatures"},
		{"wrong PIN", "C_Login return=0xA0", append([]string{"probe"}, token...), exitRefused, "latched"},
		{"latched now", "", append([]string{"probe"}, token...), exitRefused, "latched"},
		{"doctor, latched", "", append([]string{"doctor"}, token...), exitInvalid, ""},
		{"doctor, no configuration", "", []string{"doctor", "--config", "/nonexistent.yaml"}, exitUsage, "configuration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Script(c.script)
			before := f.Logins()
			code, out, errs := sealctl(t, append([]string{"token"}, c.arguments...)...)
			if code != c.code || !strings.Contains(errs, c.says) {
				t.Errorf("%d\n%s%s", code, out, errs)
			}
			if n := f.Logins() - before; n > 1 || c.name == "latched now" && n != 0 {
				t.Errorf("%d logins", n)
			}
		})
	}
	if code, out, _ := sealctl(t, append([]string{"token", "doctor"}, token...)...); code != exitInvalid || !strings.Contains(out, "pin-latch") || !strings.Contains(out, "→ rm "+latch) ||
		!strings.Contains(out, "PIN tries left") {
		t.Errorf("%d\n%s", code, out)
	}
}
