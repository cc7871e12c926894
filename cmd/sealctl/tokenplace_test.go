package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	softhsmtest "sealkeeper/softhsm-test"
)

// TestTokenPlace: flags win over the configuration, and no token gets another token's PIN.
func TestTokenPlace(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "seald.yaml")
	text := "store: {path: state/s.db}\nmodules: [{path: lib/m.so}]\nprofiles: profiles\ntoken: {module: lib/m.so, profile: one, serial: A, label: la, pin_file: a.pin, isolation: worker}\n" +
		"further_tokens:\n- {module: lib/n.so, profile: two, serial: B, label: lb, pin_file: b.pin, latch_file: b.latch}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(p string) string { return filepath.Join(dir, p) }
	for name, c := range map[string]struct {
		flags                               tokenSection
		module, serial, pin, latch, profile string
	}{
		"the first":               {tokenSection{}, at("lib/m.so"), "A", at("a.pin"), at("state/pin-latch.json"), "one"},
		"by serial":               {tokenSection{Serial: "B"}, at("lib/n.so"), "B", at("b.pin"), at("b.latch"), "two"},
		"by label":                {tokenSection{Label: "lb"}, at("lib/n.so"), "B", at("b.pin"), at("b.latch"), "two"},
		"unknown serial":          {tokenSection{Serial: "C"}, at("lib/m.so"), "C", "", "", ""},
		"serial and label of two": {tokenSection{Serial: "A", Label: "lb"}, at("lib/m.so"), "A", "", "", ""},
		"flags win":               {tokenSection{Serial: "B", PINFile: "/p/x", Profile: "three"}, at("lib/n.so"), "B", "/p/x", at("b.latch"), "three"},
		"PIN of a stranger":       {tokenSection{Serial: "C", PINFile: "/p/x"}, at("lib/m.so"), "C", "/p/x", "/p/pin-latch.json", ""},
	} {
		p, err := (&tokenFlags{config: config, tokenSection: c.flags}).place()
		if err != nil || p.Module != c.module || p.Serial != c.serial || p.PINFile != c.pin || p.LatchFile != c.latch || p.profile != c.profile || p.profiles != at("profiles") ||
			p.Allowed[0].Path != at("lib/m.so") {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if p, err := (&tokenFlags{config: config}).place(); err != nil || p.isolation != "worker" {
		t.Errorf("%+v, %v", p, err)
	}
	if err := os.WriteFile(config, []byte("token: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&tokenFlags{config: config}).place(); err == nil {
		t.Error("broken YAML was taken")
	}
}

// terminal is a pseudo terminal; the child's end becomes its controlling terminal.
func terminal(t *testing.T) (here, child *os.File) {
	t.Helper()
	here, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED, no pseudo terminal: %v", err)
	}
	t.Cleanup(func() { here.Close() })
	var unlocked, number int32
	control(t, here, syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked))
	control(t, here, syscall.TIOCGPTN, unsafe.Pointer(&number))
	if child, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { child.Close() })
	return here, child
}

func control(t *testing.T, f *os.File, request uintptr, value unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(value)); errno != 0 {
		t.Fatal(errno)
	}
}

// TestPINAtTheTerminal: without a file the PIN is asked for once, and nothing of it is shown.
func TestPINAtTheTerminal(t *testing.T) {
	k := softhsmtest.New(t)
	here, child := terminal(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"sealctl", "token", "doctor", "--module", k.Module, "--label", k.Label, "--latch-file", filepath.Join(t.TempDir(), "latch.json")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = child, &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { // until the child's end is closed on all sides
		b := make([]byte, 1024)
		for {
			n, err := here.Read(b)
			shown.Write(b[:n])
			if err != nil {
				return
			}
		}
	})
	awaitNoEcho(t, here)
	if _, err := here.WriteString(k.PIN() + "\n"); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != exitIndeterminate {
		t.Errorf("%v\n%s%s", err, out.String(), errs.String())
	}
	child.Close()
	reading.Wait()
	all := shown.String() + out.String() + errs.String()
	if strings.Contains(all, k.PIN()) || !strings.Contains(shown.String(), "PIN of token "+k.Label) || !strings.Contains(out.String(), "asked for at the terminal") {
		t.Errorf("%s", all)
	}
}

// awaitNoEcho returns when the terminal shows no more what is typed.
func awaitNoEcho(t *testing.T, f *os.File) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var s syscall.Termios
		control(t, f, syscall.TCGETS, unsafe.Pointer(&s))
		if s.Lflag&syscall.ECHO == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the PIN is never asked for")
		}
	}
}
