package ceremony_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

const appliance = "sealkeeper-demo"

var start = time.Date(2030, 1, 1, 8, 0, 0, 0, time.UTC)

// key is an audit key in software.
type key struct{ *softkey.Key }

func (k key) Sign(_ context.Context, message []byte) ([]byte, error) { return k.Key.Sign(message) }

// person is an officer with the key of their certificate.
type person struct {
	access.Client
	key  *ecdsa.PrivateKey
	spki []byte
}

func newPerson(t testing.TB, name string, role access.Role) person {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return person{access.Client{ID: access.ClientID(spki), Name: "示例 " + name, Role: role, Person: "person-" + name}, k, spki}
}

// approves signs a plan.
func (p person) approves(t testing.TB, id string, until time.Time) ceremony.Given {
	t.Helper()
	msg, err := ceremony.Statement{Ceremony: id, Appliance: appliance, Client: p.ID, Expires: until}.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	d := sha256.Sum256(msg)
	sig, err := ecdsa.SignASN1(rand.Reader, p.key, d[:])
	if err != nil {
		t.Fatal(err)
	}
	return ceremony.Given{Key: p.spki, Expires: until, Signature: sig}
}

var errKilled = errors.New("the process died here")

// gate stands before the store: it can fail one commit, before it happens or after.
type gate struct {
	store.Store
	left  int // commits that pass before one fails; negative: none fails
	after bool
	n     int // commits so far
}

func (g *gate) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	now := g.left == 0
	g.left--
	g.n++
	if now && !g.after {
		return store.Receipt{}, errKilled
	}
	r, err := g.Store.Commit(ctx, m)
	if now {
		return store.Receipt{}, fmt.Errorf("%w: %w", store.ErrUnknownOutcome, errKilled)
	}
	return r, err
}

// things is what the acts of these tests change.
var things = &store.Collection{Name: "thing", Codec: 1}

// world is a desk over a real store and log.
type world struct {
	*ceremony.Desk
	t      testing.TB
	dir    string
	bolt   *store.Bolt
	gate   *gate
	acc    *access.Access
	log    *audit.Log
	key    key
	now    time.Time // the desk's; the store's stands still
	system person
	keeper person // security
	aud    person
	second person // another system officer

	prepared, undone, effects int
	fail                      error // of Prepare
	failLate                  error // of Finish
}

func newWorld(t testing.TB) *world {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), key: key{k}, now: start, system: newPerson(t, "system", access.RoleSystem),
		keeper: newPerson(t, "security", access.RoleSecurity), aud: newPerson(t, "audit", access.RoleAudit), second: newPerson(t, "second", access.RoleSystem)}
	w.open(true)
	return w
}

// open is a start; a second one is a restart.
func (w *world) open(fresh bool) {
	w.t.Helper()
	var err error
	w.bolt, err = store.Open(store.Config{Path: filepath.Join(w.dir, "store.db"), Create: fresh, Now: func() time.Time { return start },
		Collections: append(append(append([]*store.Collection{things}, access.Collections()...), ceremony.Collections()...), audit.Collections()...)})
	w.must(err)
	bolt := w.bolt
	w.t.Cleanup(func() { bolt.Close() })
	w.gate = &gate{Store: w.bolt, left: -1}
	w.acc, err = access.New(w.gate, access.Config{Audience: appliance, Now: func() time.Time { return start },
		Owner: func(context.Context, string) (access.Owner, error) { return access.Owner{}, store.ErrNotFound }})
	w.must(err)
	if fresh {
		ch, err := w.acc.Founders(audit.Appliance("init"), []access.Client{w.system.Client, w.keeper.Client, w.aud.Client, w.second.Client})
		w.must(err)
		_, err = w.bolt.Commit(w.t.Context(), ch.Mutation(nil))
		w.must(err)
	}
	w.log, err = audit.Open(w.t.Context(), w.bolt, audit.Config{Key: w.key, Anchor: audit.FileAnchor{Path: filepath.Join(w.dir, "anchor")}, Genesis: fresh})
	w.must(err)
	w.Desk, err = ceremony.New(ceremony.Config{Store: w.gate, Access: w.acc, Log: w.log, Appliance: appliance, Now: func() time.Time { return w.now },
		Acts: map[ceremony.Action]ceremony.Act{
			ceremony.DestroyKey:       {Prepare: w.prepare, Finish: w.finish},
			ceremony.ClearPINLatch:    {Finish: w.finish},
			ceremony.RenewKey:         {Prepare: w.prepare},
			ceremony.RegisterOperator: {Prepare: w.prepare},

			ceremony.MakeInstitutional: {Prepare: w.prepare}, ceremony.DelegateStanding: {Prepare: w.prepare}, ceremony.RevokeStanding: {Prepare: w.prepare},
		}})
	w.must(err)
}

func (w *world) restart() {
	w.t.Helper()
	w.must(w.bolt.Close())
	w.open(false)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// prepare changes the store once per step: a second commit of the same step would meet its expectation.
func (w *world) prepare(_ context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	if w.fail != nil {
		return ceremony.Prepared{}, w.fail
	}
	w.prepared++
	return ceremony.Prepared{Result: map[string]string{"made": s.Ref}, Undo: func(context.Context) { w.undone++ },
		Change: access.Change{Expect: []store.Expect{{Collection: things, Key: []byte(s.Ref)}},
			Put: []store.Put{{Collection: things, Key: []byte(s.Ref), Value: []byte("made")}}}}, nil
}

func (w *world) finish(context.Context, ceremony.Running, json.RawMessage) error {
	if w.failLate != nil {
		return w.failLate
	}
	w.effects++
	return nil
}

// plan is one of each kind of step, for this appliance.
const plan = `ceremony: 1
appliance: sealkeeper-demo
title: 示例 更换制章密钥
reason: 演示数据
expires: 2030-01-02T08:00:00Z
approvals: 2
steps:
  - action: renew-key
    purpose: seal-maker
  - action: destroy-key
    key: 00112233445566778899aabbccddeeff
`

var until = start.Add(20 * time.Hour)

// approved drafts the plan as the system officer and has the two others approve it.
func (w *world) approved(text string) ceremony.Ceremony {
	w.t.Helper()
	c, err := w.Draft(w.t.Context(), nil, w.system.Actor(), text)
	w.must(err)
	for _, p := range []person{w.keeper, w.aud} {
		c, err = w.Approve(w.t.Context(), nil, p.Actor(), c.ID, p.approves(w.t, c.ID, until))
		w.must(err)
	}
	return c
}
