package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/stage"
)

// built is where the binaries of this run are; scratch is where stages are laid.
var built, scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp(base(), fmt.Sprintf("sealkeeper-softhsm-%d-e2e-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "making the tests' directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	built, scratch = filepath.Join(dir, "bin"), dir
	cmd := exec.Command("go", "build", "-o", built+string(filepath.Separator), "sealkeeper/cmd/seald", "sealkeeper/cmd/sealctl", "sealkeeper/cmd/sealsim")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := closeShared(); err != nil {
		fmt.Fprintln(os.Stderr, "ending the shared appliance:", err)
		return 1
	}
	return code
}

// base prefers the RAM disk: SoftHSM2 rewrites a file for every attribute of a key, and bbolt syncs every commit.
func base() string {
	if dir, err := os.MkdirTemp("/dev/shm", "sealkeeper-probe-"); err == nil {
		os.Remove(dir)
		return "/dev/shm"
	}
	return os.TempDir()
}

// common is the appliance of all tests that leave it as they found it, started by the first that needs it.
var common struct {
	sync.Mutex
	scene *scene
}

func shared(t *testing.T) *scene {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.scene == nil {
		common.scene = lay(t, filepath.Join(scratch, "shared"), stage.Config{})
		common.scene.start(t)
	}
	return common.scene
}

func closeShared() error {
	common.Lock()
	defer common.Unlock()
	if common.scene == nil {
		return nil
	}
	return common.scene.Close()
}

// own lays a stage for one test, which may kill it and put its past back.
func own(t *testing.T, c stage.Config) *scene {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "own-")
	if err != nil {
		t.Fatal(err)
	}
	s := lay(t, filepath.Join(dir, "stage"), c)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("ending the appliance: %v", err)
		}
	})
	s.start(t)
	return s
}

func lay(t *testing.T, dir string, c stage.Config) *scene {
	t.Helper()
	c.Dir, c.Build = dir, built
	st, err := stage.New(context.WithoutCancel(t.Context()), c)
	if errors.Is(err, softhsmtest.ErrUnavailable) && os.Getenv("REQUIRE_SOFTHSM") != "1" {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &scene{Stage: st}
}
