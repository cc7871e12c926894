package e2e

import (
	"bytes"
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

// buildFlags are for go build.
var buildFlags []string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp(base(), fmt.Sprintf("sealkeeper-softhsm-%d-e2e-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "making the tests' directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	built, scratch = filepath.Join(dir, "bin"), dir
	args := append(append([]string{"build"}, buildFlags...), "-o", built+string(filepath.Separator), "sealkeeper/cmd/seald", "sealkeeper/cmd/sealctl", "sealkeeper/cmd/sealsim")
	cmd := exec.Command("go", args...)
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
	return common.scene.end()
}

// end stops what runs, and reports data races that the daemon found in itself.
func (s *scene) end() error {
	err := s.Close()
	b, failed := os.ReadFile(filepath.Join(s.Dir, "seald.log"))
	if at := bytes.Index(b, []byte("WARNING: DATA RACE")); at >= 0 {
		failed = fmt.Errorf("data race in seald:\n%s", b[at:min(len(b), at+4000)])
	}
	return errors.Join(err, failed)
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
		if err := s.end(); err != nil {
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
