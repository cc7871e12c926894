package softhsmtest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the one token directory of this test binary. Its path is chosen
// once and stays, because SOFTHSM2_CONF names it.
var process struct {
	sync.Mutex
	dir    string
	tokens int
	kept   bool // Main removes the directory at the end
}

// Option changes what New makes.
type Option func(*options)

type options struct{ plain bool }

// Plain gives Debian's SoftHSM2 itself instead of the SM2 module.
func Plain() Option { return func(o *options) { o.plain = true } }

// New makes a throw-away token and removes it when the test ends. It sets
// SOFTHSM2_CONF for the process. Where SoftHSM2 or the tools are missing the test
// is skipped aloud, or fails if REQUIRE_SOFTHSM=1.
//
// The token's cleanup is registered here, so what a test opens on the token
// later is closed first. A module that is already open does not see it: make the
// tokens of a test before opening one.
func New(t testing.TB, opts ...Option) *Token {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	dir, err := acquire()
	if err != nil {
		t.Fatalf("making the token directory: %v", err)
	}
	k, err := InitToken(t.Context(), dir, newLabel(t.Name()))
	if err == nil && o.plain {
		k.Module, err = PlainModule()
	}
	t.Cleanup(func() {
		if err := release(k); err != nil {
			t.Errorf("removing the throw-away token: %v", err)
		}
	})
	if errors.Is(err, ErrUnavailable) && os.Getenv("REQUIRE_SOFTHSM") != "1" {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	if err != nil {
		t.Fatalf("making a throw-away token: %v", err)
	}
	return k
}

// Main runs a test binary with its token directory kept from the first test to
// the last, then removes it. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }
//
// in packages that leave the PKCS#11 module open across tests.
func Main(m *testing.M) int {
	process.Lock()
	process.kept = true
	process.Unlock()
	code := m.Run()
	process.Lock()
	defer process.Unlock()
	if process.dir != "" {
		os.RemoveAll(process.dir)
	}
	return code
}

// acquire gives the process's directory, makes it if need be, and counts a token.
func acquire() (string, error) {
	process.Lock()
	defer process.Unlock()
	if process.dir == "" {
		base := ramDisk()
		sweep(base)
		dir, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-", directoryPrefix, os.Getpid()))
		if err != nil {
			return "", err
		}
		if err := os.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf")); err != nil {
			return "", err
		}
		process.dir = dir
	}
	process.tokens++
	return process.dir, os.MkdirAll(process.dir, 0o700)
}

const directoryPrefix = "sealkeeper-softhsm-"

// sweep removes directories that killed test binaries left behind: their
// process is gone, and nothing was added for an hour.
func sweep(base string) {
	dirs, err := filepath.Glob(filepath.Join(base, directoryPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), directoryPrefix), "-")
		pid, err := strconv.Atoi(text)
		info, statErr := os.Stat(dir)
		if err == nil && statErr == nil && time.Since(info.ModTime()) > time.Hour && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.RemoveAll(dir)
		}
	}
}

// release removes the token, and the directory with the last one.
func release(k *Token) error {
	process.Lock()
	defer process.Unlock()
	process.tokens--
	if process.tokens == 0 && !process.kept {
		return os.RemoveAll(process.dir)
	}
	if k == nil {
		return nil
	}
	return k.remove()
}

// ramDisk names the RAM disk, or the usual temporary folder. On a disk a
// key pair takes 40 to 300 ms, because every attribute rewrites a file.
func ramDisk() string {
	const shm = "/dev/shm"
	probe, err := os.CreateTemp(shm, "sealkeeper-probe-")
	if err != nil {
		return os.TempDir()
	}
	probe.Close()
	os.Remove(probe.Name())
	return shm
}

var notLabel = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// newLabel gives a label of at most 32 characters, unlike any other.
func newLabel(test string) string {
	tail := make([]byte, 4)
	rand.Read(tail) // never returns an error
	name := notLabel.ReplaceAllString(test, "-")
	return name[:min(len(name), 23)] + "-" + hex.EncodeToString(tail)
}
