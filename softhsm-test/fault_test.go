package softhsmtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
)

// TestFaultModule runs the module's self-test, which covers every action, without the sanitizers of `make asan`.
func TestFaultModule(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	binary := filepath.Join(t.TempDir(), "faulttest")
	cmd := exec.CommandContext(t.Context(), "gcc", "-std=gnu11", "-D_GNU_SOURCE", "-I/usr/include/p11-kit-1", "-o", binary,
		"fault/selftest.c", "-ldl", "-lpthread")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), binary, f.Module)
	run.Env = os.Environ()
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
