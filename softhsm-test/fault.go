package softhsmtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const faultName = "libsealkeeper-fault.so"

// Faults is a module with scripted faults in front of a token's own. One script
// rules the whole process, so tests that use it do not run in parallel.
type Faults struct {
	Module string // path to load in place of the token's
	script string
	t      testing.TB
}

// WithFaults puts the fault module in front of the token's module. The module's
// file is named after the one behind it, so the same firmware profile matches.
// Child processes that inherit the environment obey the same script.
func WithFaults(t testing.TB, k *Token) *Faults {
	t.Helper()
	module, err := FaultModule(t.Context(), k.Dir, k.Module)
	if err != nil {
		t.Fatalf("preparing the fault module: %v", err)
	}
	f := &Faults{Module: module, script: filepath.Join(k.Dir, "fault-script"), t: t}
	for name, value := range map[string]string{"SEALKEEPER_FAULT_MODULE": k.Module, "SEALKEEPER_FAULT_CONTROL": f.script} {
		if os.Getenv(name) == value {
			continue // a module that is open may be reading the environment
		}
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	f.clear()
	t.Cleanup(f.clear)
	return f
}

// FaultModule builds the fault module if need be and copies it into dir under a
// name that ends as that of behind does.
func FaultModule(ctx context.Context, dir, behind string) (string, error) {
	from, err := library(ctx, faultName, "fault")
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "fault-"+filepath.Base(behind))
	if _, err := os.Stat(to); err == nil {
		return to, nil // loaded already, perhaps
	}
	return to, os.WriteFile(to, b, 0o700)
}

// clear leaves no rule and no log.
func (f *Faults) clear() {
	for _, path := range []string{f.script, f.script + ".log"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.t.Error(err)
		}
	}
}

// Script puts these rules in force in place of the former ones; none ends every
// fault. softhsm-test/fault/README.md describes them.
func (f *Faults) Script(rules ...string) {
	f.t.Helper()
	next := f.script + ".next"
	if err := os.WriteFile(next, []byte(strings.Join(rules, "\n")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.script); err != nil {
		f.t.Fatal(err)
	}
}

// count counts the log's lines that begin with what.
func (f *Faults) count(what string) int {
	f.t.Helper()
	b, err := os.ReadFile(f.script + ".log")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, what) {
			n++
		}
	}
	return n
}

// Strikes counts how often a call was struck by a rule other than absent and serial.
func (f *Faults) Strikes(call string) int { return f.count("strike " + call + "\n") }

// Logins counts the calls of C_Login, that is the tries of a PIN.
func (f *Faults) Logins() int { return f.count("login begins") }

// Await returns when a call was struck n times in all.
func (f *Faults) Await(call string, n int) {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.Strikes(call) < n {
		select {
		case <-tick.C:
		case <-f.t.Context().Done():
			f.t.Fatalf("%s was struck %d times, want %d", call, f.Strikes(call), n)
		}
	}
}
