package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	phone "sealkeeper/connector/phone/sim"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// bad is one thing that the appliance must refuse by name.
type bad struct {
	name   string
	code   string
	status int
	role   string // who sends it
	send   func(t *testing.T) error
	// reason is what the signing path's record says instead of the code.
	reason error
	// exception is the enterprise whose order must wait for a human because of this filing: a failed check of a picture is never
	// repaired silently. Nothing else may change.
	exception *enterprise
}

// ground is what the refused requests stand on: enterprises in every state that matters.
type ground struct {
	*scene
	main      *enterprise // active; the department's grant names its seals
	other     *enterprise // active; under the grant for any owner who approves
	cancelled *enterprise // its licence is cancelled
	suspended *enterprise // its seal 01 is suspended
	made      *enterprise // its set waits to be collected
	stranger  newcomer    // a department without a grant
	spent     access.Approval
	replay    asking // what used that approval
	foreign   *phone.Phone
	cases     []bad
}

// TestBadInput sends everything that the appliance must refuse: each a named problem, nothing changed, nothing signed, the refusal in
// the log.
func TestBadInput(t *testing.T) {
	g := &ground{scene: shared(t)}
	g.prepare(t)
	g.messages(t)
	g.pictures(t)
	g.requests(t)
	g.consents(t)
	g.documents(t)
	watched := []*enterprise{g.main, g.other, g.cancelled, g.suspended, g.made}
	before := g.snapshot(t, watched...)
	size := g.logSize(t)
	for _, c := range g.cases {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c, c.send(t))
			if released, computed := g.signatures(t); released != before.released || computed != before.computed {
				t.Errorf("signatures: released %v, computed %v; before %v and %v", released, computed, before.released, before.computed)
			}
			if c.exception != nil {
				g.waits(t, c.exception)
			}
		})
	}
	t.Run("nothing changed", func(t *testing.T) { before.same(t, g.snapshot(t, watched...)) })
	t.Run("recorded", func(t *testing.T) { g.recorded(t, size) })
}

// prepare makes everything that the cases need, so that afterwards only refusals may enter the log.
func (g *ground) prepare(t *testing.T) {
	t.Helper()
	for _, e := range []**enterprise{&g.main, &g.other, &g.cancelled, &g.suspended} {
		*e = mustOf(g.establish(t.Context()))(t)
	}
	g.made = g.newEnterprise()
	g.foreign = mustOf(phone.New())(t)
	for _, err := range []error{
		g.tell(t.Context(), g.made, licence.KindEstablished, 0), g.file(t.Context(), g.made, set...), g.awaitMade(t.Context(), g.made),
		g.tell(t.Context(), g.cancelled, licence.KindCancelled, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), g.suspended.seals["01"], client.Suspend,
		client.Reason{Reason: string(register.ReasonMisuse), Evidence: "演示-1"}); err != nil {
		t.Fatal(err)
	}
	named := []string{g.made.seals["01"], g.cancelled.seals["01"], g.suspended.seals["01"]}
	for _, esid := range g.main.seals {
		named = append(named, esid)
	}
	slices.Sort(named)
	for _, change := range []func(*access.Grant){func(x *access.Grant) { x.Seals = named }, func(x *access.Grant) { x.AnyOwner = true }} {
		if err := g.grant(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	g.stranger = g.register(t, "department")
	g.replay = g.approved(t, askDigest(g.main.seals["01"], []byte("示例")), g.main.phone, func(a *access.Approval) { g.spent = *a })
	if _, err := g.replay.sign(t, g.as(t, "department")); err != nil {
		t.Fatal(err)
	}
}

// add enters a case.
func (g *ground) add(name, code string, status int, role string, send func(t *testing.T) error) *bad {
	g.cases = append(g.cases, bad{name: name, code: code, status: status, role: role, send: send})
	return &g.cases[len(g.cases)-1]
}

// refused checks the problem itself.
func refused(t *testing.T, c bad, err error) {
	t.Helper()
	var p *client.Problem
	if !errors.As(err, &p) {
		t.Fatalf("not refused: %v", err)
	}
	if p.Code != c.code || p.Status != c.status {
		t.Errorf("refused as %s (%d), want %s (%d): %v", p.Code, p.Status, c.code, c.status, p)
	}
	if p.Title == "" || p.TitleEN == "" || p.Title == p.TitleEN || len(p.RequestID) != 16 || p.Type != "urn:sealkeeper:problem:"+p.Code {
		t.Errorf("incomplete problem: %+v", p)
	}
}

// waits: the order is an exception, and nothing of the filing was taken.
func (g *ground) waits(t *testing.T, e *enterprise) {
	o := mustOf(g.orderOf(t.Context(), e.order))(t)
	if o.State != register.OrderException || o.Exception == nil {
		t.Errorf("order %s is %s", o.ID, o.State)
	}
	for _, q := range o.Requests {
		if q.State != register.RequestAwaiting || q.Impression != "" {
			t.Errorf("request %+v", q)
		}
	}
	if _, err := g.sealsOf(t.Context(), e.USCC); client.Code(err) != "not-entitled" {
		t.Errorf("seals of an order that waits: %v", err)
	}
}

// recorded: since the cases began, the log holds a refusal for each of them, the exceptions of orders, and nothing else. Equal refusals
// of one second share a record with their number.
func (g *ground) recorded(t *testing.T, from uint64) {
	want, exceptions := map[string]uint64{}, 0
	for _, c := range g.cases {
		id := g.stranger.id
		if c.role != "stranger" {
			id = g.clientID(t, c.role)
		}
		if c.reason != nil {
			want[id+" "+c.reason.Error()]++
		} else {
			want[id+" "+c.code]++
		}
		if c.exception != nil {
			exceptions++
		}
	}
	// The probes of waits are refusals of the operator, too.
	operator := g.clientID(t, "system")
	var have map[string]uint64
	err := until(t.Context(), "the refusals' records", func() (bool, error) {
		all, err := g.entries(t.Context(), from)
		have = map[string]uint64{}
		waiting := 0
		for _, x := range all {
			switch x.Kind {
			case "refusal":
				key, n := refusalOf(x)
				have[key] += n
			case "order":
				waiting++
			default:
				return false, errors.Join(err, fmt.Errorf("record %d of kind %s", x.Index, x.Kind))
			}
		}
		for key, n := range want {
			if have[key] < n {
				return false, err
			}
		}
		if waiting != exceptions {
			err = errors.Join(err, fmt.Errorf("%d orders became exceptions, want %d", waiting, exceptions))
		}
		return true, err
	})
	if err != nil {
		t.Error(err)
	}
	for key, n := range want {
		if have[key] != n && key != operator+" not-entitled" {
			t.Errorf("%d records of %s, want %d", have[key], key, n)
		}
	}
}

// refusalOf names who was refused what, and how often.
func refusalOf(x entry) (key string, count uint64) {
	var d struct{ Code, Reason string }
	var r struct{ Count uint64 }
	json.Unmarshal(x.Detail, &d)
	json.Unmarshal(x.Result, &r)
	return x.Actor.ID + " " + d.Code + d.Reason, r.Count
}

// clientID is the identity of one of the stage's callers.
func (s *scene) clientID(t testing.TB, role string) string {
	t.Helper()
	return mustOf(s.ID(role))(t)
}
