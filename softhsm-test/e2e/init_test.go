package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/stage"
)

// TestInit carries plans out that must be refused: over existing state, on a token that belongs to an appliance, with a key that nobody knows,
// with two operators who are one person. Each leaves nothing behind, neither files nor keys, so that the mended plan goes through.
func TestInit(t *testing.T) {
	s := own(t, stage.Config{})
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	plan := string(mustOf(os.ReadFile(filepath.Join(s.Dir, "plan.yaml")))(t))
	store := mustOf(os.ReadFile(s.storePath()))(t)
	out, code := s.init(t, filepath.Join(s.Dir, "plan.yaml"))
	if code != 1 || !strings.Contains(out, "existing state") {
		t.Errorf("over existing state: exit %d\n%s", code, out)
	}
	if string(store) != string(mustOf(os.ReadFile(s.storePath()))(t)) {
		t.Error("the existing state was changed")
	}

	second := mustOf(softhsmtest.InitToken(t.Context(), s.Token.Dir, "second"))(t)
	fresh := strings.ReplaceAll(strings.ReplaceAll(plan, s.Token.PINFile, second.PINFile), `label: "`+s.Token.Label+`"`, `label: "second"`)
	for _, c := range []struct{ name, plan, want string }{
		{"token of another appliance", plan, "belongs to another appliance"},
		{"unknown key", strings.Replace(fresh, "bureau:", "burrow: x\nbureau:", 1), "burrow"},
		{"unknown key inside", strings.Replace(fresh, "  mode: demo", "  mode: demo\n  pin: \"000000\"", 1), "pin"},
		{"one person with two roles", regexp.MustCompile(`person: DEMO-\w+`).ReplaceAllString(fresh, "person: DEMO-1"), "two operator roles"},
		{"unknown role", strings.Replace(fresh, "role: department", "role: superuser", 1), "superuser"},
		{"unknown profile", strings.Replace(fresh, "profile: softhsm2-sm2", "profile: no-such", 1), "no-such"},
		{"production with a simulated token", strings.Replace(fresh, "mode: demo", "mode: production", 1), "production"},
		{"request that is not there", strings.Replace(fresh, "clients/audit.csr", "clients/nobody.csr", 1), "nobody.csr"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := s.planned(t, c.plan)
			out, code := s.init(t, filepath.Join(dir, "plan.yaml"))
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("exit %d\n%s", code, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a state directory is left behind")
			}
			if left := mustOf(filepath.Glob(filepath.Join(dir, "*", "*.crt")))(t); len(left) > 0 {
				t.Errorf("certificates are left behind: %v", left)
			}
			if list := s.objects(t, second); strings.Contains(list, "Object") {
				t.Errorf("keys are left behind\n%s", list)
			}
		})
	}
	t.Run("the mended plan", func(t *testing.T) {
		if out, code := s.init(t, filepath.Join(s.planned(t, fresh), "plan.yaml")); code != 0 || !strings.Contains(s.objects(t, second), "sealkeeper:audit") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil || !s.ready(t) {
		t.Errorf("the first appliance: %v", err)
	}
}

// planned lays a plan beside copies of the certificate requests.
func (s *scene) planned(t *testing.T, plan string) (dir string) {
	t.Helper()
	dir = mustOf(os.MkdirTemp(s.Dir, "plan-"))(t)
	for _, sub := range []string{"clients", "sim"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range mustOf(filepath.Glob(filepath.Join(s.Dir, sub, "*.csr")))(t) {
			copyFile(t, f, filepath.Join(dir, sub, filepath.Base(f)))
		}
	}
	write(t, filepath.Join(dir, "plan.yaml"), []byte(plan))
	return dir
}

func (s *scene) init(t *testing.T, plan string) (out string, code int) {
	t.Helper()
	b, err := s.Command(t.Context(), "seald", "init", "--plan", plan).CombinedOutput()
	return string(b), exitCode(t, err)
}

// objects lists what a token of the stage's directory holds.
func (s *scene) objects(t *testing.T, token *softhsmtest.Token) string {
	t.Helper()
	return (&scene{Stage: &stage.Stage{Token: token}}).pkcs11(t, "-O")
}
