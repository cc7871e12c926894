package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/keystore/audit"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// TestRollback puts an older store file back. The appliance starts in recovering: it reads, and neither signs nor makes anything; the keys
// of the lost seals stay in the token. Two operators of different roles let it go on, one alone does not. What was lost stays visible: a
// checkpoint from before contradicts the log for ever, and lost seal numbers are not given again.
func TestRollback(t *testing.T) {
	for name, anchor := range map[string]string{"anchor in the token": "", "anchor in a file": "anchor.note"} {
		t.Run(name, func(t *testing.T) { rollBack(t, own(t, stage.Config{Anchor: anchor})) })
	}
}

func rollBack(t *testing.T, s *scene) {
	kept := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	second := s.register(t, "operator-system")
	s.stopAnd(t, func() { copyFile(t, s.storePath(), s.storePath()+".old") })
	second = second.at(t, s)
	lost := mustOf(s.establish(t.Context()))(t)
	newest := proofsOf(t, s, []client.Receipt{{Index: s.logSize(t) - 1}})[0] // a checkpoint is signed for it if need be
	write(t, filepath.Join(s.Dir, "witnessed.note"), []byte(newest.Checkpoint))
	keys, _ := s.sealKeys(t)
	s.stopAnd(t, func() { copyFile(t, s.storePath()+".old", s.storePath()) })
	second = second.at(t, s)

	t.Run("recovering", func(t *testing.T) { recovering(t, s, kept, lost) })
	t.Run("one operator is not enough", func(t *testing.T) { oneIsNotEnough(t, s, second) })
	if held, _ := s.sealKeys(t); !maps.Equal(held, keys) {
		t.Errorf("the token held %d seal keys and now holds %d", len(keys), len(held))
	}
	t.Run("two operators", func(t *testing.T) { twoAreEnough(t, s, kept) })
	t.Run("what was lost", func(t *testing.T) { madeAnew(t, s, lost) })
	s.stopAnd(t, func() {})
	held, _ := s.sealKeys(t)
	for id := range keys {
		if !held[id] {
			t.Errorf("key %s of a seal that was lost is gone", id)
		}
	}
	if _, err := s.approved(t, askDigest(kept.seals["01"], []byte("示例")), kept.phone).sign(t, s.as(t, "department")); err != nil {
		t.Errorf("signing after another start: %v", err)
	}
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	logHolds(t, s)
	contradicted(t, s)
}

// stopAnd stops the daemon, does something to its files and starts it again.
func (s *scene) stopAnd(t *testing.T, do func()) {
	t.Helper()
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	do()
	if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	write(t, to, mustOf(os.ReadFile(from))(t))
}

// recovering: reads answer, everything that would change or sign is refused, and the faults say why.
func recovering(t *testing.T, s *scene, kept, lost *enterprise) {
	if s.ready(t) {
		t.Error("/readyz says ready")
	}
	var a struct {
		Faults []struct{ Part, Detail string }
	}
	if err := s.as(t, "system").JSON(t.Context(), "GET", "/v1/appliance", nil, "", nil, &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Faults) != 1 || a.Faults[0].Part != "log" || !strings.Contains(a.Faults[0].Detail, "recovering") {
		t.Errorf("faults %+v", a.Faults)
	}
	if l, err := s.as(t, "department").Licence(t.Context(), kept.USCC, time.Time{}); err != nil || l.Name != kept.Name {
		t.Errorf("reading a licence: %+v, %v", l, err)
	}
	if all, err := s.sealsOf(t.Context(), kept.USCC); err != nil || len(all) != len(set) {
		t.Errorf("reading seals: %d, %v", len(all), err)
	}
	if r, err := s.as(t, "department").Verify(t.Context(), "x", []byte("x")); err != nil || r.Verdict != "invalid" {
		t.Errorf("verifying: %+v, %v", r, err)
	}
	released, _ := s.signatures(t)
	for what, act := range map[string]func() error{
		"digest": func() error {
			_, err := s.approved(t, askDigest(kept.seals["01"], []byte("示例")), kept.phone).sign(t, s.as(t, "department"))
			return err
		},
		"document": func() error {
			_, err := s.approved(t, askOFD(kept.seals["05"], ofdgen.Document("示例", 1)), kept.phone).sign(t, s.as(t, "department"))
			return err
		},
		"event":      func() error { return s.tell(t.Context(), s.newEnterprise(), licence.KindEstablished, time.Hour) },
		"grant":      func() error { return s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }) },
		"delegation": func() error { _, err := s.delegate(t.Context(), kept, "01", 1); return err },
		"suspension": func() error {
			_, err := s.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), kept.seals["01"], client.Suspend, client.Reason{Reason: "misuse-suspected", Evidence: "x"})
			return err
		},
	} {
		if err := act(); client.Code(err) != "read-only" {
			t.Errorf("%s while recovering: %v", what, err)
		}
	}
	if r, _ := s.signatures(t); r != released {
		t.Errorf("%v signatures released while recovering", r-released)
	}
	if _, err := s.sealsOf(t.Context(), lost.USCC); client.Code(err) != "not-entitled" {
		t.Errorf("seals that this store does not know: %v", err)
	}
}

// agree gives one officer's half of the decision.
func agree(t *testing.T, c *client.Client) bool {
	t.Helper()
	var d struct{ Done bool }
	if err := c.JSON(t.Context(), "POST", "/v1/appliance/resynchronise", nil, client.NewKey(), nil, &d); err != nil {
		t.Fatal(err)
	}
	return d.Done
}

// oneIsNotEnough: the same operator twice, and another of the same role, change nothing; an audit officer has no half to give.
func oneIsNotEnough(t *testing.T, s *scene, second newcomer) {
	for _, c := range []*client.Client{s.as(t, "system"), s.as(t, "system"), second.Client, second.Client} {
		if agree(t, c) {
			t.Error("one role was enough")
		}
	}
	for _, role := range []string{"audit", "department", "registration"} {
		if err := s.post(t, role, "/v1/appliance/resynchronise", nil); client.Code(err) != "not-entitled" {
			t.Errorf("%s: %v", role, err)
		}
	}
	if s.ready(t) {
		t.Error("ready after one role's decision")
	}
}

// twoAreEnough: the other role's half ends recovering; the decision is the first new record, and names both.
func twoAreEnough(t *testing.T, s *scene, kept *enterprise) {
	size := s.logSize(t)
	if !agree(t, s.as(t, "security")) || !s.ready(t) {
		t.Fatal("two operators were not enough")
	}
	first := mustOf(s.entries(t.Context(), size))(t)[0]
	var d audit.Resynchronised
	if err := json.Unmarshal(first.Detail, &d); err != nil || first.Kind != audit.KindResynchronised {
		t.Fatalf("the first new record is %+v: %v", first, err)
	}
	roles := []string{first.Actor.Role, d.Second.Role}
	if slices.Sort(roles); !slices.Equal(roles, []string{"operator-security", "operator-system"}) {
		t.Errorf("decided by %+v and %+v", first.Actor, d.Second)
	}
	if _, err := s.approved(t, askOFD(kept.seals["01"], ofdgen.Document("示例", 1)), kept.phone).sign(t, s.as(t, "department")); err != nil {
		t.Error(err)
	}
}

// madeAnew: the lost enterprise is established again, under numbers that no lost seal has.
func madeAnew(t *testing.T, s *scene, lost *enterprise) {
	again := &enterprise{Fields: lost.Fields, seals: map[string]string{}}
	if err := s.tell(t.Context(), again, licence.KindEstablished, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.file(t.Context(), again, set...); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitMade(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	for _, was := range lost.seals {
		for sealType, is := range again.seals {
			if was == is {
				t.Errorf("number %s was given again, to seal %s", is, sealType)
			}
		}
	}
	if err := s.collect(t.Context(), again); err != nil {
		t.Error(err)
	}
}

// contradicted: with a checkpoint from before the loss, the check of the file names the lie.
func contradicted(t *testing.T, s *scene) {
	out, err := s.Command(t.Context(), "sealctl", "audit", "verify", "--output", "json", "--file", s.storePath(), "--key", filepath.Join(s.Dir, "state", "audit.pem"),
		"--checkpoint", filepath.Join(s.Dir, "witnessed.note")).Output()
	if code := exitCode(t, err); code != 3 {
		t.Errorf("sealctl audit verify with the lost checkpoint exits %d\n%s", code, out)
	}
}
