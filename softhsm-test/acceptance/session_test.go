package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/ofdgen"
)

// TestReadmeSession runs the README's session as it is printed there, in a shell, against the appliance that make run starts.
func TestReadmeSession(t *testing.T) {
	if _, err := softhsmtest.Module(t.Context()); errors.Is(err, softhsmtest.ErrUnavailable) && os.Getenv("REQUIRE_SOFTHSM") != "1" {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "build")+"/", "./cmd/seald", "./cmd/sealctl", "./cmd/sealsim", "./softhsm-test/demo")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	exports := development(t, root, dir)
	_, chapter, _ := strings.Cut(read(t, filepath.Join(root, "README.md")), "\n## A session\n")
	_, block, _ := strings.Cut(chapter, "```\n")
	block, _, ok := strings.Cut(block, "```\n")
	if !ok || strings.Count(block, "\n") != 5 {
		t.Fatalf("the README's session is not five lines:\n%s", block)
	}
	write(t, filepath.Join(dir, "demo", "plain.ofd"), string(ofdgen.Document("示例合同（演示数据）", 3)))

	out, err := session(t, dir, exports+block)
	if err != nil || !strings.Contains(out, "41030200000001") || !strings.Contains(out, "sealed.ofd: VALID") {
		t.Errorf("%v\n%s", err, out)
	}
	without := strings.ReplaceAll(strings.Replace(block, "sealctl sign ofd $what --approval approval.json --out sealed.ofd", "sealctl sign ofd $what --out again.ofd", 1),
		"--out approval.json", "--out again.json")
	if out, err := session(t, dir, exports+without); err == nil || !strings.Contains(out, "approval-missing") {
		t.Errorf("without the approval: %v\n%s", err, out)
	}
}

// session runs lines in a shell whose user agrees to what is asked.
func session(t *testing.T, dir, lines string) (string, error) {
	t.Helper()
	sh := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", lines)
	sh.Dir, sh.Env, sh.Stdin = dir, append(os.Environ(), "LC_ALL=C.UTF-8", "LANG=C.UTF-8"), strings.NewReader("yes\nyes\n")
	out, err := sh.CombinedOutput()
	return string(out), err
}

// development starts what make run starts, in dir/run, and returns the lines that it tells its user to enter.
func development(t *testing.T, root, dir string) (exports string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "build", "demo"), "-run", "-build", filepath.Join(dir, "build"), "-dir", filepath.Join(dir, "run"))
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var notes strings.Builder
	cmd.Stderr = &notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ending the development appliance: %v\n%s", err, notes.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		l := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(l, "source "), strings.HasPrefix(l, "export "):
			exports += l + "\n"
		case strings.HasPrefix(l, "Ctrl-C"):
			return exports
		}
	}
	t.Fatalf("the development appliance did not start\n%s", notes.String())
	return ""
}
