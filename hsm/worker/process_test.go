package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	softhsmtest "sealkeeper/softhsm-test"
)

// What anybody on the machine may see of the child holds no PIN, and nothing can be dumped from it.
func TestChildKeepsToItself(t *testing.T) {
	k := softhsmtest.New(t)
	tok := open(t, config(t, k, "softhsm2-sm2"))
	proc := filepath.Join("/proc", strconv.Itoa(tok.Pid()))
	for _, name := range []string{"cmdline", "environ", "comm"} {
		b, err := os.ReadFile(filepath.Join(proc, name))
		if err != nil || bytes.Contains(b, []byte(k.PIN())) {
			t.Errorf("%s holds the PIN, or cannot be read: %v", name, err)
		}
	}
	for name, want := range map[string]string{"limits": "Max core file size        0                    0", "status": "NoNewPrivs:\t1"} {
		b, err := os.ReadFile(filepath.Join(proc, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q: %v\n%s", name, want, err, b)
		}
	}
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil || strings.Contains(string(b), filepath.Base(k.Module)) {
		t.Errorf("this process has loaded the module: %v", err)
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if strings.HasSuffix(to, ".pin") || strings.Contains(to, "latch") {
			t.Errorf("the child has %s open", to)
		}
	}
}

// parent, in the environment, has this binary open a token in a worker, say its number and wait to be killed.
const parent = "SEALKEEPER_TEST_PARENT"

func TestParentToBeKilled(t *testing.T) {
	if os.Getenv(parent) == "" {
		t.Skip("SKIPPED: the other half of TestChildDiesWithItsParent")
	}
	tok := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	fmt.Fprintf(os.Stderr, "child %d\n", tok.Pid())
	select {}
}

func TestChildDiesWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestParentToBeKilled$", "-test.v")
	cmd.Env = append(os.Environ(), parent+"=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "child %d", &pid)
	}
	if err := errors.Join(cmd.Process.Kill(), syscall.Kill(pid, 0)); pid == 0 || err != nil {
		t.Fatalf("child %d: %v", pid, err)
	}
	_ = cmd.Wait() // it was killed
	await(t, func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") Z ") // nobody reaps it in a container without init
	})
}

// A child that does not answer at all is given up.
func TestFaultChildStopped(t *testing.T) {
	f := openFaulty(t, time.Second)
	pid := f.tok.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") T ") || strings.Contains(string(b), ") Z ")
	})
	if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrInterrupted) {
		t.Errorf("got %v", err)
	}
	mustSign(t, f.tok, f.keys[0])
}

// Interrupts and requests to end that reach the whole group are the parent's business.
func TestChildIgnoresSignalsOfTheGroup(t *testing.T) {
	f := openFaulty(t, 0)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(f.tok.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	mustSign(t, f.tok, f.keys[0])
	if s := f.tok.Stats(); s.Relogins != 0 {
		t.Errorf("%+v", s)
	}
}

// A caller who leaves is free at once; the child gives his session back.
func TestCallerLeaves(t *testing.T) {
	f := openFaulty(t, 0)
	f.Script("C_Sign times=1 hang")
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- sign(ctx, f.tok, f.keys[0]) }()
	f.Await("C_Sign", 1)
	mustSign(t, f.tok, f.keys[0])
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.Script()
	mustSign(t, f.tok, f.keys[0])
	if s := f.tok.Stats(); s.Relogins != 0 || s.Evictions != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOpeningThatFails(t *testing.T) {
	k := softhsmtest.New(t)
	for name, c := range map[string]struct {
		change func(*worker.Config)
		want   error
	}{
		"no profile":          {func(c *worker.Config) { c.Profile = nil }, hsm.ErrConfig},
		"no PIN":              {func(c *worker.Config) { c.PINFile = "" }, hsm.ErrConfig},
		"no latch":            {func(c *worker.Config) { c.LatchFile = "" }, hsm.ErrConfig},
		"manual login":        {func(c *worker.Config) { c.ManualLogin = true }, hsm.ErrUnsupported},
		"negative hang":       {func(c *worker.Config) { c.Hang = -1 }, hsm.ErrConfig},
		"PIN file missing":    {func(c *worker.Config) { c.PINFile += ".none" }, hsm.ErrPINFile},
		"no such module":      {func(c *worker.Config) { c.Module = "/nonexistent.so" }, hsm.ErrConfig},
		"module not allowed":  {func(c *worker.Config) { c.Allowed = []hsm.Allowed{{Path: "/elsewhere.so"}} }, hsm.ErrModule},
		"three sessions":      {func(c *worker.Config) { c.MaxSessions = 3 }, hsm.ErrConfig},
		"another token":       {func(c *worker.Config) { c.Serial = "0000000000000000" }, hsm.ErrTokenGone},
		"no such program":     {func(c *worker.Config) { c.Command = []string{"/nonexistent"} }, os.ErrNotExist},
		"a program that ends": {func(c *worker.Config) { c.Command = []string{"/bin/true"} }, hsm.ErrTokenGone},
		"one that babbles":    {func(c *worker.Config) { c.Command = []string{"/bin/sh", "-c", "echo what is this all about >&3"} }, hsm.ErrTokenGone},
		"one that is silent": {func(c *worker.Config) {
			c.Command, c.Hang = []string{"/bin/sh", "-c", "read line"}, 20*time.Millisecond
			c.Command = []string{"/bin/sh", "-c", "exec sleep 1000"}
		}, hsm.ErrTokenGone},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, k, "softhsm2-sm2")
			c.change(&cfg)
			if _, err := worker.Open(t.Context(), cfg); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	cfg := config(t, k, "softhsm2-sm2")
	tok := open(t, cfg)
	if _, err := worker.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("a second opening: %v", err)
	}
	mustSign(t, tok, generate(t, tok, hsm.SM2))
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
	if _, err := tok.Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("a closed token: %v", err)
	}
}

func TestWrongPINLatches(t *testing.T) {
	k := softhsmtest.New(t)
	f, cfg := softhsmtest.WithFaults(t, k), config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.PINFile = f.Module, filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(cfg.PINFile, []byte("999999999999"), 0o400); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := worker.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) {
			t.Errorf("got %v", err)
		}
	}
	if f.Logins() != 1 {
		t.Errorf("the wrong PIN was tried %d times", f.Logins())
	}
}

// Started by hand the worker refuses.
func TestWorkerByHand(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], worker.Command)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "started by seald alone") {
		t.Errorf("%v: %s", err, out)
	}
}
