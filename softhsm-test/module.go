package softhsmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// ErrUnavailable is returned, wrapped with what is missing, when this machine
// lacks SoftHSM2 or the tools that build the SM2 module.
var ErrUnavailable = errors.New("the SoftHSM2 test tools are not installed")

const (
	defaultLibrary = "/usr/lib/softhsm/libsofthsm2.so"
	moduleName     = "libsealkeeper-sm2.so"
	tokenInitName  = "sealkeeper-tokeninit"
	installHint    = "apt-get install softhsm2 gcc make libssl-dev libp11-kit-dev pkg-config"
)

// built remembers the outcome of the one build a process makes.
var built struct {
	sync.Mutex
	done bool
	dir  string
	err  error
}

// PlainModule gives the path of Debian's SoftHSM2, or of the library that
// SOFTHSM2_LIB names. It returns ErrUnavailable when there is none.
func PlainModule() (string, error) {
	path := os.Getenv("SOFTHSM2_LIB")
	if path == "" {
		path = defaultLibrary
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %s (%s)", ErrUnavailable, path, installHint)
	}
	return path, nil
}

// Module gives the path of the SM2 module in the build folder of the
// repository, after having it built if it is missing or older than its sources.
// Processes that call it at once wait for each other. It returns ErrUnavailable
// when SoftHSM2 or the tools are missing.
func Module(ctx context.Context) (string, error) {
	dir, err := buildDir(ctx)
	if err != nil {
		return "", err
	}
	if _, err := PlainModule(); err != nil {
		return "", err
	}
	return filepath.Join(dir, moduleName), nil
}

// buildDir brings the build folder up to date, once in the process.
func buildDir(ctx context.Context) (string, error) {
	built.Lock()
	defer built.Unlock()
	if !built.done {
		built.dir, built.err = build(ctx)
		built.done = ctx.Err() == nil
	}
	return built.dir, built.err
}

func build(ctx context.Context) (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "build")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the build folder: %w", err)
	}
	unlock, err := lockFile(filepath.Join(dir, ".softhsm-test.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := toolsPresent(ctx); err != nil {
		if present(filepath.Join(dir, moduleName)) && present(filepath.Join(dir, tokenInitName)) {
			return dir, nil // built elsewhere, for instance in an earlier layer of an image
		}
		return "", err
	}
	sources := filepath.Join(root, "softhsm-test", "module")
	if err := noteSources(sources); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", "-s", "-C", sources, "OUT="+dir, "all")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=") // of a make that runs the tests
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the SM2 module: %w\n%s", err, bytes.TrimSpace(out))
	}
	return dir, nil
}

// noteSources looks at every source file, so that the go command, which knows
// what a test looked at, runs it again when the module has changed.
func noteSources(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if err == nil {
			_, err = os.Stat(f)
		}
	}
	return err
}

func present(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func toolsPresent(ctx context.Context) error {
	for _, tool := range []string{"gcc", "make", "pkg-config"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %s (%s)", ErrUnavailable, tool, installHint)
		}
	}
	for _, lib := range []string{"p11-kit-1", "libcrypto"} {
		if err := exec.CommandContext(ctx, "pkg-config", "--exists", lib).Run(); err != nil {
			return fmt.Errorf("%w: headers of %s (%s)", ErrUnavailable, lib, installHint)
		}
	}
	return nil
}

// lockFile takes an exclusive lock that ends with the process at the latest.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the build lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("waiting for the build lock: %w", err)
	}
	return func() { f.Close() }, nil
}

// repositoryRoot walks up from the working directory to the module's go.mod.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module sealkeeper\n")) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("finding the repository: no go.mod of sealkeeper above the working directory")
		}
		dir = up
	}
}
