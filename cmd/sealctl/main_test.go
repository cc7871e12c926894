package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sealkeeper/access"
	"sealkeeper/connector/phone/sim"
	"sealkeeper/hsm/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == worker.Command {
		os.Exit(worker.Main())
	}
	testscript.Main(m, map[string]func(){"sealctl": main})
}

// TestScripts runs the sessions in testdata. Commands of their own: "sealed" and "log" make files to judge, "publish" and "revoke" sign
// lists, "answered" signs what prepare printed and "judges" verifies (see their functions), and "exits CODE
// COMMAND..." demands that very exit code, "hexkey FILE" puts a file's text into $KEY, "approved" and
// "delegated" check what a device signed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("ID", strings.Repeat("1", 64))
			e.Setenv("BELL", "a\ab")
			e.Setenv("TURN", "a\u202eb") // turns the direction of writing
			for _, name := range []string{"SEALCTL_SERVER", "SEALCTL_CA", "SEALCTL_CERT", "SEALCTL_KEY", "LC_ALL", "LC_MESSAGES"} {
				e.Setenv(name, "")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"sealed": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(writeSealed(ts.MkAbs("."))) },
			"publish": func(ts *testscript.TestScript, _ bool, a []string) {
				ts.Check(publish(ts.MkAbs("."), ts.MkAbs(a[0]), ts.MkAbs(a[1])))
			},
			"revoke":    func(ts *testscript.TestScript, _ bool, a []string) { ts.Check(revoke(ts.MkAbs("."), ts.MkAbs(a[0]))) },
			"approved":  approved,
			"delegated": delegated,
			"answered":  answered,
			"judges":    judges,
			"hexkey":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Setenv("KEY", ts.ReadFile(args[0])) },
			"log":       func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(writeLog(ts.MkAbs("."))) },
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var failed *exec.ExitError
	got := 0
	if errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", args[1], got, want)
	}
}

// approved checks a signed approval against the device that should have signed it, as the appliance does.
func approved(ts *testscript.TestScript, neg bool, args []string) {
	var s access.SignedApproval
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &s))
	a, err := s.Approval()
	ts.Check(err)
	message, err := a.Canonical()
	ts.Check(err)
	checkDevice(ts, args[0], s.Alg, message, s.Signature)
}

// delegated does the same for a delegation.
func delegated(ts *testscript.TestScript, neg bool, args []string) {
	var s access.SignedDelegation
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &s))
	d, err := s.Delegation()
	ts.Check(err)
	message, err := d.Canonical()
	ts.Check(err)
	checkDevice(ts, args[0], s.Alg, message, s.Signature)
}

func checkDevice(ts *testscript.TestScript, file, alg string, message, signature []byte) {
	p, err := sim.Load(ts.MkAbs(file))
	ts.Check(err)
	point, err := p.Public()
	ts.Check(err)
	ts.Check(access.VerifyDevice(alg, point, message, signature))
}

// write makes one file of a session.
func write(dir, name string, b []byte) error {
	return os.WriteFile(dir+"/"+name, b, 0o600)
}
