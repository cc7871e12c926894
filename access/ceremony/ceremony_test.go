package ceremony_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/keystore/store"
)

// TestRules spells who may ask for what and who may approve it, every cell; a change of the table is a change of this text.
func TestRules(t *testing.T) {
	letters := []struct {
		role   access.Role
		letter string
	}{{access.RoleSystem, "s"}, {access.RoleSecurity, "x"}, {access.RoleAudit, "a"}, {access.RoleDepartment, "d"}, {access.RoleRegistration, "r"},
		{access.RolePublicSecurity, "p"}, {access.RoleELicence, "e"}, {"", "?"}, {"root", "!"}}
	want := map[ceremony.Action]string{ // who asks / who approves
		"renew-key": "s/xa", "destroy-key": "s/xa", "destroy-orphan": "s/xa", "make-kek": "s/xa", "retire-kek": "s/xa", "destroy-kek": "s/xa", "replicate-kek": "s/xa",
		"make-replicated-kek": "s/xa",
		"clear-pin-latch":     "s/xa", "register-operator": "x/sa",
		"make-institutional-seal": "s/xa", "delegate-standing": "x/sa", "revoke-standing": "x/sa",
	}
	if len(want) != len(ceremony.Actions()) {
		t.Errorf("%d actions, %d spelt here", len(ceremony.Actions()), len(want))
	}
	for action, text := range want {
		var ask, approve string
		for _, l := range letters {
			if ceremony.MayRequest(l.role, action) {
				ask += l.letter
			}
			if ceremony.MayApprove(l.role, action) {
				approve += l.letter
			}
		}
		if got := ask + "/" + approve; got != text {
			t.Errorf("%s: %s, want %s", action, got, text)
		}
	}
	for _, l := range letters {
		if ceremony.MayRequest(l.role, "unheard-of") || ceremony.MayApprove(l.role, "unheard-of") {
			t.Errorf("%q may do what nobody knows", l.role)
		}
	}
}

// TestRolesAtTheDesk asks the desk itself for every action in every role: whoever may not is refused and nothing is written.
func TestRolesAtTheDesk(t *testing.T) {
	w := newWorld(t)
	steps := map[ceremony.Action]string{"renew-key": "purpose: audit", "destroy-key": "key: 00112233445566778899aabbccddeeff", "clear-pin-latch": "token: '1234'",
		"register-operator": "name: 示例\n    role: operator-audit\n    person: p\n    csr: x", "make-institutional-seal": "filing: F1", "revoke-standing": "delegation: d",
		"delegate-standing": "delegation: d\n    seal: '1'\n    client: appliance\n    purposes: p\n    kinds: ofd\n    from: 2030-01-01T00:00:00Z\n    until: 2030-12-31T00:00:00Z\n    count: '1'"}
	for n, action := range []ceremony.Action{"renew-key", "destroy-key", "clear-pin-latch", "register-operator", "make-institutional-seal", "delegate-standing", "revoke-standing"} {
		for _, asker := range []person{w.system, w.keeper, w.aud} {
			text := fmt.Sprintf("ceremony: 1\nappliance: sealkeeper-demo\ntitle: 示例 %d %s\nreason: 演示数据\nexpires: 2030-01-02T08:00:00Z\napprovals: 2\nsteps:\n  - action: %s\n    %s\n",
				n, asker.Role, action, steps[action])
			c, err := w.Draft(t.Context(), nil, asker.Actor(), text)
			if may := ceremony.MayRequest(asker.Role, action); may != (err == nil) || !may && !errors.Is(err, ceremony.ErrRole) {
				t.Errorf("%s asked for by %s: %v", action, asker.Role, err)
			}
			if err != nil {
				continue
			}
			for _, p := range []person{w.second, w.keeper, w.aud} {
				if p.Person == asker.Person {
					continue
				}
				_, err := w.Approve(t.Context(), nil, p.Actor(), c.ID, p.approves(t, c.ID, until))
				if may := ceremony.MayApprove(p.Role, action); may != (err == nil) || !may && !errors.Is(err, ceremony.ErrRole) {
					t.Errorf("%s approved by %s: %v", action, p.Role, err)
				}
			}
		}
	}
}

func TestPlansRefused(t *testing.T) {
	for _, c := range []struct{ name, old, new string }{
		{"unknown key", "title:", "colour: red\ntitle:"},
		{"unknown key in a step", "purpose: seal-maker", "purpose: seal-maker\n    force: true"},
		{"repeated key", "reason: 演示数据", "reason: 演示数据\nreason: 另一个"},
		{"second document", "approvals: 2", "approvals: 2\n---\nx: 1"},
		{"another format", "ceremony: 1", "ceremony: 2"},
		{"no title", "title: 示例 更换制章密钥", "title: ''"},
		{"line break in a value", "reason: 演示数据", "reason: \"a\\nstep:destroy-orphan\""},
		{"line separator in a value", "reason: 演示数据", "reason: \"a\\u2028b\""},
		{"time without a zone", "08:00:00Z", "08:00:00"},
		{"one approval where two are needed", "approvals: 2", "approvals: 1"},
		{"no approvals", "approvals: 2", "approvals: 0"},
		{"nobody knows the action", "action: renew-key", "action: sign-digest"},
		{"a field that is not the action's", "purpose: seal-maker", "purpose: seal-maker\n    token: '1'"},
		{"a field that is missing", "    key: 00112233445566778899aabbccddeeff\n", ""},
		{"a key in capitals", "aabbccddeeff", "AABBCCDDEEFF"},
		{"a key cut short", "aabbccddeeff", "aabb"},
		{"no steps", "steps:\n", "steps: []\n#"},
		{"not YAML", "ceremony: 1", "ceremony: [1"},
		{"too large", "title:", "#" + strings.Repeat("x", ceremony.MaxPlan) + "\ntitle:"},
	} {
		text := strings.Replace(plan, c.old, c.new, 1)
		if c.name == "no steps" {
			text, _, _ = strings.Cut(plan, "steps:")
			text += "steps: []\n"
		}
		if text == plan {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		if _, err := ceremony.ParsePlan([]byte(text)); !errors.Is(err, ceremony.ErrPlan) {
			t.Errorf("%s: %v, want ErrPlan", c.name, err)
		}
	}
}

// TestPlanName: layout and comments do not matter, every value does, and the form is fixed for ever.
func TestPlanName(t *testing.T) {
	p, err := ceremony.ParsePlan([]byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	want := "sealkeeper-ceremony-v1\nappliance:sealkeeper-demo\ntitle:示例 更换制章密钥\nreason:演示数据\nexpires:2030-01-02T08:00:00Z\napprovals:2\n" +
		"step:renew-key\npurpose:seal-maker\nstep:destroy-key\nkey:00112233445566778899aabbccddeeff\n"
	if string(got) != want {
		t.Errorf("canonical form\n%s, want\n%s", got, want)
	}
	id, _ := p.ID()
	same, err := ceremony.ParsePlan([]byte("# 说明\n" + strings.Replace(plan, "title: 示例 更换制章密钥", `title: "示例 更换制章密钥"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := same.ID(); other != id {
		t.Error("a comment changed the plan's name")
	}
	for _, v := range [][2]string{{"sealkeeper-demo", "sealkeeper-b"}, {"更换制章密钥", "更换审计密钥"}, {"演示数据", "示例"}, {"2030-01-02", "2030-01-03"},
		{"approvals: 2", "approvals: 3"}, {"seal-maker", "audit"}, {"eeff", "eeee"}} {
		q, err := ceremony.ParsePlan([]byte(strings.Replace(plan, v[0], v[1], 1)))
		if err != nil {
			t.Fatal(err)
		}
		if other, _ := q.ID(); other == id {
			t.Errorf("%s instead of %s, and the same name", v[1], v[0])
		}
	}
}

func TestDraftRefused(t *testing.T) {
	w := newWorld(t)
	with := func(old, new string) string { return strings.Replace(plan, old, new, 1) }
	for _, c := range []struct {
		name, text string
		by         access.Actor
		want       error
	}{
		{"another appliance's", with("sealkeeper-demo", "sealkeeper-other"), w.system.Actor(), ceremony.ErrForeign},
		{"over", with("2030-01-02", "2029-12-31"), w.system.Actor(), ceremony.ErrExpired},
		{"for years", with("2030-01-02", "2031-01-02"), w.system.Actor(), ceremony.ErrExpired},
		{"unknown key", with("title:", "colour: red\ntitle:"), w.system.Actor(), ceremony.ErrPlan},
		{"wrong role", plan, w.keeper.Actor(), ceremony.ErrRole},
		{"no officer", plan, access.Actor{Client: w.system.ID, Role: access.RoleDepartment}, access.ErrNotEntitled},
		{"not registered", plan, newPerson(t, "stranger", access.RoleSystem).Actor(), access.ErrNotEntitled},
		{"what this appliance cannot do", with("action: renew-key\n    purpose: seal-maker", "action: make-kek"), w.system.Actor(), ceremony.ErrNoAct},
	} {
		before := w.bolt.State().Size
		if _, err := w.Draft(t.Context(), nil, c.by, c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if w.bolt.State().Size != before {
			t.Errorf("%s: refused and yet on record", c.name)
		}
	}
	if _, err := w.Draft(t.Context(), nil, w.system.Actor(), plan); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Draft(t.Context(), nil, w.second.Actor(), "# again\n"+plan); !errors.Is(err, ceremony.ErrExists) {
		t.Errorf("the same plan again: %v, want ErrExists", err)
	}
}

func TestApprovalsRefused(t *testing.T) {
	w := newWorld(t)
	c, err := w.Draft(t.Context(), nil, w.system.Actor(), plan)
	w.must(err)
	altered, err := ceremony.ParsePlan([]byte(strings.Replace(plan, "eeff", "eeee", 1)))
	w.must(err)
	otherID, _ := altered.ID()
	twin := newPerson(t, "twin", access.RoleSecurity) // a second key of the system officer's person would need another role; of the keeper's it does not
	twin.Person = w.keeper.Person
	w.admit(twin)
	own := newPerson(t, "own", access.RoleSystem)
	own.Person = w.system.Person
	w.admit(own)
	ok := w.keeper.approves(t, c.ID, until)
	for _, r := range []struct {
		name string
		by   person
		g    ceremony.Given
		want error
	}{
		{"an altered plan's approval", w.keeper, w.keeper.approves(t, otherID, until), ceremony.ErrApproval},
		{"another officer's signature", w.keeper, w.aud.approves(t, c.ID, until), ceremony.ErrApproval},
		{"another key's signature under the own key", w.keeper, ceremony.Given{Key: w.keeper.spki, Expires: until, Signature: w.aud.approves(t, c.ID, until).Signature}, ceremony.ErrApproval},
		{"another expiry than was signed", w.keeper, ceremony.Given{Key: ok.Key, Expires: until.Add(-time.Hour), Signature: ok.Signature}, ceremony.ErrApproval},
		{"no signature", w.keeper, ceremony.Given{Key: ok.Key, Expires: until}, ceremony.ErrApproval},
		{"over", w.keeper, w.keeper.approves(t, c.ID, start.Add(-time.Second)), ceremony.ErrExpired},
		{"longer than the plan", w.keeper, w.keeper.approves(t, c.ID, start.Add(25*time.Hour)), ceremony.ErrExpired},
		{"wrong role", w.second, w.second.approves(t, c.ID, until), ceremony.ErrRole},
		{"the asker", w.system, w.system.approves(t, c.ID, until), ceremony.ErrRole},
		{"good", w.keeper, ok, nil},
		{"twice", w.keeper, ok, ceremony.ErrTwice},
		{"twice, with another key of the same person", twin, twin.approves(t, c.ID, until), ceremony.ErrTwice},
	} {
		if _, err := w.Approve(t.Context(), nil, r.by.Actor(), c.ID, r.g); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
	}
	if _, err := w.Approve(t.Context(), nil, w.aud.Actor(), otherID, ok); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a ceremony that nobody drafted: %v", err)
	}
}

// admit registers one more officer.
func (w *world) admit(p person) {
	w.t.Helper()
	ch, err := w.acc.Appoint(w.t.Context(), w.keeper.Actor().Audit(), p.Client)
	w.must(err)
	_, err = w.bolt.Commit(w.t.Context(), ch.Mutation(nil))
	w.must(err)
}

// TestAskerNeverApproves: where the asker's role may approve in general, the person still may not, whatever key they use.
func TestAskerNeverApproves(t *testing.T) {
	w := newWorld(t)
	text := strings.NewReplacer("action: renew-key\n    purpose: seal-maker", "action: clear-pin-latch\n    token: '1'", "  - action: destroy-key\n    key: 00112233445566778899aabbccddeeff\n", "",
		"approvals: 2", "approvals: 1").Replace(plan)
	c, err := w.Draft(t.Context(), nil, w.system.Actor(), text)
	w.must(err)
	// The person leaves the system officers and comes back as an audit officer, who may approve.
	_, err = w.acc.Disable(t.Context(), nil, w.keeper.Actor(), w.system.ID, "演示")
	w.must(err)
	again := newPerson(t, "again", access.RoleAudit)
	again.Person = w.system.Person
	w.admit(again)
	if _, err := w.Approve(t.Context(), nil, again.Actor(), c.ID, again.approves(t, c.ID, until)); !errors.Is(err, ceremony.ErrOwnRequest) {
		t.Errorf("the asker in another role: %v, want ErrOwnRequest", err)
	}
	if _, err := w.Execute(t.Context(), nil, w.second.Actor(), c.ID); !errors.Is(err, ceremony.ErrTooFew) {
		t.Errorf("executed without an approval: %v", err)
	}
}

func TestExecuteRefused(t *testing.T) {
	w := newWorld(t)
	c, err := w.Draft(t.Context(), nil, w.system.Actor(), plan)
	w.must(err)
	try := func(what string, by person, want error) {
		t.Helper()
		if _, err := w.Execute(t.Context(), nil, by.Actor(), c.ID); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if w.prepared+w.effects > 0 {
			t.Fatalf("%s: refused, and yet %d prepared, %d effects", what, w.prepared, w.effects)
		}
	}
	try("no approval", w.system, ceremony.ErrTooFew)
	_, err = w.Approve(t.Context(), nil, w.keeper.Actor(), c.ID, w.keeper.approves(t, c.ID, until))
	w.must(err)
	try("one approval", w.system, ceremony.ErrTooFew)
	_, err = w.Approve(t.Context(), nil, w.aud.Actor(), c.ID, w.aud.approves(t, c.ID, start.Add(time.Hour)))
	w.must(err)
	try("wrong role", w.keeper, ceremony.ErrRole)
	w.now = start.Add(2 * time.Hour)
	try("one approval is over", w.system, ceremony.ErrTooFew)
	w.now = start.Add(25 * time.Hour)
	try("the plan is over", w.system, ceremony.ErrExpired)
	w.now = start
	_, err = w.acc.Disable(t.Context(), nil, w.keeper.Actor(), w.aud.ID, "演示")
	w.must(err)
	try("an approver is no officer any more", w.system, ceremony.ErrTooFew)
	w.restart()
	try("the same after a restart", w.system, ceremony.ErrTooFew)
}

// TestAlteredOnFile: whoever writes into the store gets nothing carried out that was not approved.
func TestAlteredOnFile(t *testing.T) {
	for name, alter := range map[string]func(*ceremony.Ceremony){
		"plan":              func(c *ceremony.Ceremony) { c.Plan = strings.Replace(c.Plan, "eeff", "eeee", 1) },
		"number needed":     func(c *ceremony.Ceremony) { c.Plan = strings.Replace(c.Plan, "approvals: 2", "approvals: 1", 1) },
		"an approver":       func(c *ceremony.Ceremony) { c.Approvals[1].Client = c.Approvals[0].Client },
		"a signature":       func(c *ceremony.Ceremony) { c.Approvals[1].Signature[10] ^= 1 },
		"begun by the file": func(c *ceremony.Ceremony) { c.State, c.BegunAt, c.Approvals = ceremony.Begun, &start, c.Approvals[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.approved(plan)
			alter(&c)
			value, err := json.Marshal(c)
			w.must(err)
			col := ceremony.Collections()[0]
			_, err = w.bolt.Commit(t.Context(), store.Mutation{Put: []store.Put{{Collection: col, Key: []byte(c.ID), Value: value}}})
			w.must(err)
			if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); err == nil || w.prepared+w.effects > 0 {
				t.Errorf("%v, %d prepared, %d effects", err, w.prepared, w.effects)
			}
		})
	}
}

func TestExecutedOnce(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	req := &store.Request{Client: w.system.ID, ID: "once", Digest: [32]byte{1}}
	done, err := w.Execute(t.Context(), req, w.system.Actor(), c.ID)
	if err != nil || done.State != ceremony.Executed || w.prepared != 2 || w.effects != 1 {
		t.Fatalf("%s, %v, %d prepared, %d effects", done.State, err, w.prepared, w.effects)
	}
	if again, err := w.Execute(t.Context(), req, w.system.Actor(), c.ID); err != nil || again.State != ceremony.Executed {
		t.Errorf("the same request: %s, %v", again.State, err)
	}
	if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); !errors.Is(err, ceremony.ErrExecuted) {
		t.Errorf("another request: %v, want ErrExecuted", err)
	}
	w.restart()
	for what, err := range map[string]error{
		"execute": second(w.Execute(t.Context(), nil, w.second.Actor(), c.ID)), "approve": second(w.Approve(t.Context(), nil, w.aud.Actor(), c.ID, w.aud.approves(t, c.ID, until))),
		"abandon": second(w.Abandon(t.Context(), nil, w.system.Actor(), c.ID, "演示")),
	} {
		if !errors.Is(err, ceremony.ErrExecuted) {
			t.Errorf("%s after a restart: %v, want ErrExecuted", what, err)
		}
	}
	if _, err := w.Draft(t.Context(), nil, w.system.Actor(), plan); !errors.Is(err, ceremony.ErrExists) {
		t.Errorf("the same plan drafted again: %v", err)
	}
	if w.prepared != 2 || w.effects != 1 {
		t.Errorf("%d prepared, %d effects", w.prepared, w.effects)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAbandoned(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	for _, reason := range []string{"", "a\nb"} {
		if _, err := w.Abandon(t.Context(), nil, w.keeper.Actor(), c.ID, reason); !errors.Is(err, ceremony.ErrPlan) {
			t.Errorf("reason %q: %v", reason, err)
		}
	}
	w.failLate = errors.New("the token is away")
	if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); !errors.Is(err, w.failLate) {
		t.Fatal(err)
	}
	if _, err := w.Approve(t.Context(), nil, w.aud.Actor(), c.ID, w.aud.approves(t, c.ID, until)); !errors.Is(err, ceremony.ErrBegun) {
		t.Errorf("approving what has begun: %v", err)
	}
	done, err := w.Abandon(t.Context(), nil, w.keeper.Actor(), c.ID, "演示")
	if err != nil || done.State != ceremony.Abandoned || done.Steps[1].State != ceremony.StepCommitted {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); !errors.Is(err, ceremony.ErrAbandoned) {
		t.Errorf("executing what was given up: %v", err)
	}
}

// TestKillPoints: the process dies at every commit of an execution, before it happened and after. A start and the same request resolve it:
// what a step changes in the store it has changed once, every effect is there, and the transcript holds.
func TestKillPoints(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	w.gate.n = 0
	_, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID)
	w.must(err)
	commits := w.gate.n
	if commits != 5 { // intent, step 1, step 2, effect of step 2, finished
		t.Fatalf("%d commits of an execution", commits)
	}
	for n := range commits {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("commit %d after %v", n, after), func(t *testing.T) {
				w := newWorld(t)
				c := w.approved(plan)
				req := &store.Request{Client: w.system.ID, ID: "execute", Digest: [32]byte{1}}
				w.gate.left, w.gate.after = n, after
				if _, err := w.Execute(t.Context(), req, w.system.Actor(), c.ID); !errors.Is(err, errKilled) {
					t.Fatalf("died with %v", err)
				}
				if after && w.undone > 0 || w.undone > 1 {
					t.Errorf("%d undone where the outcome was unknown: %v", w.undone, after)
				}
				w.restart()
				w.now = start.Add(25 * time.Hour) // the plan is over; what has begun is still resolved
				if n == 0 && !after {
					w.now = start
				}
				done, err := w.Execute(t.Context(), req, w.system.Actor(), c.ID)
				if err != nil || done.State != ceremony.Executed || w.effects < 1 {
					t.Fatalf("after the restart: %s, %v, %d effects", done.State, err, w.effects)
				}
				for i := range 2 {
					it, err := w.bolt.Get(t.Context(), things, []byte(fmt.Sprintf("ceremony/%s/%d", c.ID, i+1)))
					if err != nil || it.Version != 1 {
						t.Errorf("step %d changed the store %d times: %v", i+1, it.Version, err)
					}
				}
				w.holds(c.ID)
			})
		}
	}
}

// TestFailedStep: a step that cannot be done leaves the ceremony begun; mended, the same call goes on with the step that failed.
func TestFailedStep(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	w.fail = fmt.Errorf("no such key: %w", ceremony.ErrRefused)
	if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); !errors.Is(err, ceremony.ErrRefused) {
		t.Fatal(err)
	}
	w.fail, w.failLate = nil, errors.New("the token is away")
	if _, err := w.Execute(t.Context(), nil, w.system.Actor(), c.ID); !errors.Is(err, w.failLate) {
		t.Fatal(err)
	}
	prepared := w.prepared
	w.failLate = nil
	done, err := w.Execute(t.Context(), nil, w.second.Actor(), c.ID)
	if err != nil || done.State != ceremony.Executed || w.prepared != prepared || w.effects != 1 {
		t.Errorf("%s, %v, prepared %d then %d, %d effects", done.State, err, prepared, w.prepared, w.effects)
	}
	w.holds(c.ID)
}

// TestCallerLeaves: whoever hangs up after the commit does not leave its effects undone.
func TestCallerLeaves(t *testing.T) {
	w := newWorld(t)
	c := w.approved(plan)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	act := ceremony.Act{Prepare: func(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
		p, err := w.prepare(ctx, s)
		cancel()
		return p, err
	}, Finish: func(ctx context.Context, s ceremony.Running, r json.RawMessage) error {
		if ctx.Err() != nil {
			t.Error("the effects were cut off with the caller")
		}
		return w.finish(ctx, s, r)
	}}
	desk, err := ceremony.New(ceremony.Config{Store: w.gate, Access: w.acc, Log: w.log, Appliance: appliance, Now: func() time.Time { return start },
		Acts: map[ceremony.Action]ceremony.Act{ceremony.RenewKey: act, ceremony.DestroyKey: act}})
	w.must(err)
	_, err = desk.Execute(ctx, nil, w.system.Actor(), c.ID)
	if w.effects == 0 {
		t.Errorf("no effect: %v", err)
	}
}
