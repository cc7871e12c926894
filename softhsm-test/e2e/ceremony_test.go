package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	"sealkeeper/seal"
	"sealkeeper/softhsm-test/stage"
)

// sealctl runs the real command as one of the stage's officers and returns its exit code and what it printed.
func (s *scene) sealctl(t *testing.T, role string, args ...string) (int, []byte, string) {
	t.Helper()
	cmd := s.As(t.Context(), role, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var died *exec.ExitError
	if err != nil && !errors.As(err, &died) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out, errs.String()
}

// officer is sealctl for a step that must succeed, answering JSON.
func (s *scene) officer(t *testing.T, role string, into any, args ...string) {
	t.Helper()
	code, out, errs := s.sealctl(t, role, append(args, "--output", "json")...)
	if code != 0 {
		t.Fatalf("%s: sealctl %s: exit %d: %s", role, strings.Join(args, " "), code, errs)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatal(err)
		}
	}
}

// planned writes a plan of the given steps, in YAML.
func planned(t *testing.T, dir, steps string, approvals int) string {
	t.Helper()
	file := filepath.Join(dir, "plan-"+client.NewKey()+".yaml")
	write(t, file, []byte(fmt.Sprintf("ceremony: 1\nappliance: %s\ntitle: 示例 %s\nreason: 演示数据\nexpires: %s\napprovals: %d\nsteps:\n%s", audience, client.NewKey(),
		time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z"), approvals, steps)))
	return file
}

// carry drafts a plan, has the others approve it and executes it, all with the real command and the officers' own keys.
func (s *scene) carry(t *testing.T, asker, plan string, approvers ...string) ceremony.Ceremony {
	t.Helper()
	var c ceremony.Ceremony
	s.officer(t, asker, &c, "ceremony", plan)
	for _, role := range approvers {
		s.officer(t, role, nil, "ceremony", "approve", c.ID, "--plan", plan, "--yes")
	}
	s.officer(t, asker, &c, "ceremony", "execute", c.ID)
	return c
}

// appoint registers an operator and returns identity and certificate.
func (s *scene) appoint(t *testing.T, dir, role, person, csr string) (id, certificate string) {
	t.Helper()
	steps := fmt.Sprintf("  - action: register-operator\n    name: 示例 newcomer\n    role: %s\n    person: %s\n    csr: |\n      %s\n", role, person,
		strings.ReplaceAll(strings.TrimSpace(csr), "\n", "\n      "))
	c := s.carry(t, "security", planned(t, dir, steps, 1), "audit")
	var made struct{ Client, Certificate string }
	if err := json.Unmarshal(c.Steps[0].Result, &made); err != nil || made.Client == "" {
		t.Fatalf("result %s: %v", c.Steps[0].Result, err)
	}
	return made.Client, made.Certificate
}

// TestCeremony renews the audit key of a running appliance with three officers' commands: refusals on the way, the outcome, the transcript, and a log that
// verifies over the change and over a restart.
func TestCeremony(t *testing.T) {
	s := own(t, stage.Config{})
	dir := t.TempDir()
	plan := planned(t, dir, "  - action: renew-key\n    purpose: audit\n", 2)
	old := filepath.Join(s.Dir, "state", "audit.pem")
	refused := func(what, code, role string, args ...string) {
		t.Helper()
		if exit, _, errs := s.sealctl(t, role, args...); exit != 2 || !strings.Contains(errs, code) {
			t.Errorf("%s: exit %d, %s", what, exit, errs)
		}
	}
	refused("wrong role", "ceremony-role", "audit", "ceremony", "draft", plan)
	var c ceremony.Ceremony
	s.officer(t, "system", &c, "ceremony", "draft", plan)
	refused("the same plan again", "ceremony-exists", "system", "ceremony", "draft", plan)
	refused("the asker approves", "ceremony-role", "system", "ceremony", "approve", c.ID, "--yes")
	refused("without approvals", "ceremony-too-few-approvals", "system", "ceremony", "execute", c.ID)
	s.officer(t, "audit", nil, "ceremony", "approve", c.ID, "--plan", plan, "--yes")
	refused("twice", "ceremony-approved-twice", "audit", "ceremony", "approve", c.ID, "--yes")
	altered := planned(t, dir, "  - action: renew-key\n    purpose: seal-maker\n", 2)
	if exit, _, errs := s.sealctl(t, "security", "ceremony", "approve", c.ID, "--plan", altered, "--yes"); exit != 1 || !strings.Contains(errs, "nothing was signed") {
		t.Errorf("another plan than the one reviewed: exit %d, %s", exit, errs)
	}
	s.stopAnd(t, func() {}) // plans and approvals outlive the daemon
	s.officer(t, "security", nil, "ceremony", "approve", c.ID, "--plan", plan, "--yes")
	s.officer(t, "system", &c, "ceremony", "execute", c.ID)
	refused("again", "ceremony-executed", "system", "ceremony", "execute", c.ID)
	var made struct {
		Certificate string
		InForce     string `json:"in_force"`
	}
	if err := json.Unmarshal(c.Steps[0].Result, &made); err != nil || made.InForce != "at-once" || c.State != ceremony.Executed {
		t.Fatalf("%s, %s, %v", c.State, c.Steps[0].Result, err)
	}
	now := filepath.Join(dir, "audit-new.pem")
	write(t, now, []byte(made.Certificate))
	s.officer(t, "audit", nil, "audit", "checkpoint", "--audit-key", now)

	transcript := filepath.Join(dir, "transcript.json")
	s.officer(t, "audit", nil, "ceremony", "transcript", c.ID, "--file", transcript)
	var account ceremony.Account
	s.officer(t, "audit", &account, "ceremony", "verify", transcript, "--audit-key", now)
	if account.State != ceremony.Executed || len(account.Approvals) != 2 || account.Asked.Client != s.clientID(t, "system") {
		t.Errorf("account %+v", account)
	}
	raw := mustOf(os.ReadFile(transcript))(t)
	write(t, transcript, []byte(strings.Replace(string(raw), c.ID, strings.Repeat("0", 64), 1)))
	if exit, _, _ := s.sealctl(t, "audit", "ceremony", "verify", transcript, "--audit-key", now); exit != 3 {
		t.Errorf("a forged transcript: exit %d", exit)
	}
	s.stopAnd(t, func() {
		if exit, _, errs := s.sealctl(t, "audit", "audit", "verify", "--file", s.storePath(), "--key", now, "--former-key", old); exit != 0 {
			t.Errorf("the log over the change of keys: exit %d, %s", exit, errs)
		}
	})
	if exit, out, errs := s.sealctl(t, "audit", "health"); exit != 0 {
		t.Errorf("health after the change: %d %s%s", exit, out, errs)
	}
}

// TestCeremonyClearsLatch: a running daemon loses its login and the token refuses the PIN; nothing signs from then on, though the token is well again, until
// a ceremony of two clears the latch. Then the same daemon goes on by itself.
func TestCeremonyClearsLatch(t *testing.T) {
	f := layFaults(t)
	pid, n := f.SealdPID(), 0
	signs := func() error {
		n++
		a := askDigest(f.seal, fmt.Appendf(nil, "示例 锁定 %d", n))
		a.request.Delegation = f.delegation
		_, err := a.sign(t, f.as(t, "department"))
		return err
	}
	if err := signs(); err != nil {
		t.Fatal(err)
	}
	f.Script("C_SignInit times=1 logout", "C_Login return=0xA0")
	if err := signs(); client.Code(err) != "pin-latched" {
		t.Fatalf("the PIN refused: %v", err)
	}
	tried := f.Logins()
	f.Script()
	if err := signs(); client.Code(err) != "pin-latched" || f.Logins() != tried {
		t.Errorf("the token is well again: %v, %d tries more", err, f.Logins()-tried)
	}
	step := "  - action: clear-pin-latch\n    token: '" + f.Token.Serial + "'\n"
	if c := f.carry(t, "system", planned(t, t.TempDir(), step, 1), "security"); c.State != ceremony.Executed {
		t.Errorf("ceremony %s", c.State)
	}
	if err := signs(); err != nil {
		t.Errorf("after the ceremony: %v", err)
	}
	if f.SealdPID() != pid {
		t.Error("the daemon was started again")
	}
}

// TestCeremonyRenewsMaker: seals of both makers verify on the appliance after the change, and both sign.
func TestCeremonyRenewsMaker(t *testing.T) {
	s := own(t, stage.Config{})
	before := mustOf(s.establish(t.Context()))(t)
	c := s.carry(t, "system", planned(t, t.TempDir(), "  - action: renew-key\n    purpose: seal-maker\n", 2), "security", "audit")
	var made struct{ Retired string }
	if err := json.Unmarshal(c.Steps[0].Result, &made); err != nil {
		t.Fatal(err)
	}
	s.stopAnd(t, func() {}) // in force at the next start
	after := mustOf(s.establish(t.Context()))(t)
	s.carry(t, "system", planned(t, t.TempDir(), "  - action: destroy-key\n    key: "+made.Retired+"\n", 2), "security", "audit")
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	makers := map[string]bool{}
	for name, e := range map[string]*enterprise{"before": before, "after": after} {
		esl := mustOf(s.as(t, "system").ESL(t.Context(), e.seals["01"]))(t)
		r := mustOf(s.as(t, "system").Verify(t.Context(), "seal.esl", esl))(t)
		if r.Verdict != "valid" {
			t.Errorf("%s: %+v", name, r)
		}
		p := mustOf(seal.Parse(esl))(t)
		makers[string(p.MakerCert)] = true
		if _, err := s.approved(t, askDigest(e.seals["01"], []byte("示例")), e.phone).sign(t, s.as(t, "department")); err != nil {
			t.Errorf("%s signs: %v", name, err)
		}
	}
	if len(makers) != 2 {
		t.Errorf("%d makers", len(makers))
	}
}
