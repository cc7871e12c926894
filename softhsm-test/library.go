package softhsmtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Simulator gives the path of the simulator's library, built if need be. Package simulator makes tokens of it.
func Simulator(ctx context.Context) (string, error) {
	return library(ctx, "libsealkeeper-simulator.so", "simulator", "c")
}

// library brings one more C library of this folder up to date and gives its path in the build folder.
func library(ctx context.Context, name string, folder ...string) (string, error) {
	build, err := buildDir(ctx)
	if err != nil {
		return "", err
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(build, ".softhsm-test.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	sources := filepath.Join(append([]string{root, "softhsm-test"}, folder...)...)
	if err := noteSources(sources); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", "-s", "-C", sources, "OUT="+build, "all")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=") // of a make that runs the tests
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return filepath.Join(build, name), nil
}
