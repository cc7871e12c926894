package access_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

const (
	sealA   = "41031100000001" // legal name seal of the owner
	sealRep = "41031100000004" // the owner's legal representative's seal
	sealB   = "41031100000009" // of another enterprise, which has a device of its own
	sealC   = "41031100000011" // of an enterprise without a device
	ownerA  = "91410311YYY000089G"
	ownerB  = "91410323YYY000097P"
	ownerC  = "91410324YYY0000A51"
	purpose = "示例用途"
)

var seals = map[string]access.Owner{
	sealA: {USCC: ownerA, SealType: "01"}, sealRep: {USCC: ownerA, SealType: "05"}, sealB: {USCC: ownerB, SealType: "01"},
	sealC: {USCC: ownerC, SealType: "01"}, sealI: {USCC: authority, SealType: "01", Institutional: true},
}

// world is an access over a real store, with one department, operators, and two owners' devices.
type world struct {
	*access.Access
	st     *store.Bolt
	path   string
	source *softkey.Key // the national e-licence system

	security, dept access.Actor
	phoneA, phoneB device
}

var start = time.Date(2030, 1, 1, 8, 0, 0, 0, time.UTC)

func now() time.Time { return start }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "store.db")}
	w.open(t)
	var err error
	if w.source, err = softkey.Generate(nil); err != nil {
		t.Fatal(err)
	}
	w.found(t)
	w.phoneA, w.phoneB = deviceOf(t, access.AlgP256, p256Scalar), deviceOf(t, access.AlgSM2, sm2Scalar)
	w.bind(t, ownerA, w.phoneA)
	w.bind(t, ownerB, w.phoneB)
	return w
}

// open opens the store and the access over it; called again after the store was closed, it is a restart.
func (w *world) open(t testing.TB) {
	t.Helper()
	var err error
	w.st, err = store.Open(store.Config{Path: w.path, Create: true, Collections: access.Collections(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.st.Close() })
	w.Access, err = access.New(w.st, access.Config{Audience: "sealkeeper.demo", Now: now,
		Owner: func(_ context.Context, esid string) (access.Owner, error) {
			if o, ok := seals[esid]; ok {
				return o, nil
			}
			return access.Owner{}, fmt.Errorf("seal %s: %w", esid, store.ErrNotFound)
		}})
	if err != nil {
		t.Fatal(err)
	}
}

// found registers three operators and a department.
func (w *world) found(t testing.TB) {
	t.Helper()
	cs := []access.Client{operator("system", access.RoleSystem), operator("security", access.RoleSecurity), operator("audit", access.RoleAudit)}
	ch, err := w.Founders(audit.Actor{Role: "appliance", ID: "init"}, cs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.st.Commit(t.Context(), ch.Mutation(nil)); err != nil {
		t.Fatal(err)
	}
	w.security = cs[1].Actor()
	w.dept = w.department(t, "department")
}

func operator(name string, r access.Role) access.Client {
	return access.Client{ID: access.ClientID([]byte("key of " + name)), Name: "示例 " + name, Role: r, Person: "person-" + name}
}

func (w *world) department(t testing.TB, name string) access.Actor {
	t.Helper()
	c := access.Client{ID: access.ClientID([]byte("key of " + name)), Name: "示例部门", Role: access.RoleDepartment}
	if _, err := w.Register(t.Context(), nil, w.security, c); err != nil {
		t.Fatal(err)
	}
	return c.Actor()
}

// bind puts a device through the whole path: assertion, checks, commit.
func (w *world) bind(t testing.TB, uscc string, d device) {
	t.Helper()
	b, err := w.Bind(t.Context(), w.assertion(t, uscc, d, nil), []*gm.PublicKey{w.source.Public()}, uscc)
	if err != nil {
		t.Fatal(err)
	}
	m := b.Mutation(nil)
	body, err := audit.Event{Kind: "collected", Actor: audit.Actor{Role: "owner", ID: b.Device.KeyID()}, Subject: uscc, Detail: b.Evidence}.Body()
	if err != nil {
		t.Fatal(err)
	}
	m.Audit = [][]byte{body}
	if _, err := w.st.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func (w *world) assertion(t testing.TB, uscc string, d device, change func(*access.Assertion)) envelope.Envelope {
	t.Helper()
	a := access.Assertion{
		ID: "assertion-" + hex.EncodeToString(random(8)), USCC: uscc, Person: "演示数据", Role: "legal-representative",
		DeviceAlg: d.alg, DeviceKey: d.point, IssuedAt: now(), ExpiresAt: now().Add(5 * time.Minute),
		Audience: "sealkeeper.demo", Nonce: hex.EncodeToString(random(16)),
	}
	if change != nil {
		change(&a)
	}
	e, err := envelope.Seal(access.AssertionKind, a, w.source.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *world) grant(t testing.TB, change func(*access.Grant)) access.Grant {
	t.Helper()
	g := access.Grant{
		ID: "grant-" + hex.EncodeToString(random(4)), Client: w.dept.Client, Seals: []string{sealA}, Kinds: []string{"digest", "ofd"},
		Purposes: []string{purpose}, NotBefore: start.Add(-time.Hour), Expires: start.Add(24 * time.Hour), Count: 10, DigestOnly: true,
	}
	if change != nil {
		change(&g)
	}
	if _, err := w.PutGrant(t.Context(), nil, w.security, g); err != nil {
		t.Fatal(err)
	}
	return g
}

func anyOwner(g *access.Grant) { g.Seals, g.AnyOwner = nil, true }

// want is a use of sealA that everything below is a variation of.
func (w *world) want() access.Want {
	return access.Want{
		Request: "request-1", Seal: sealA, SealType: "01", USCC: ownerA, Kind: "ofd", Document: gm.SM3([]byte("document")),
		Placement: gm.SM3([]byte("placement")), Purpose: purpose, Client: w.dept.Client, Now: start,
	}
}

// approval is the owner's consent to exactly that.
func (w *world) approval(u access.Want) access.Approval {
	return access.Approval{
		Request: u.Request, Seal: u.Seal, Document: u.Document, Placement: u.Placement, Purpose: u.Purpose, Client: u.Client, Count: 1,
		Expires: now().Add(5 * time.Minute).Truncate(time.Second), Nonce: [16]byte(random(16)),
	}
}

func (w *world) delegation(change func(*access.Delegation)) access.Delegation {
	d := access.Delegation{
		ID: "delegation-" + hex.EncodeToString(random(4)), Seal: sealA, Client: w.dept.Client, Purposes: []string{purpose},
		Kinds: []string{"digest", "ofd"}, NotBefore: start, Expires: start.Add(time.Hour), Count: 2, Nonce: [16]byte(random(16)),
	}
	if change != nil {
		change(&d)
	}
	return d
}

// spend commits what a cleared use would spend, under the expectations it made.
func (w *world) spend(t testing.TB, parts ...access.Cleared) error {
	t.Helper()
	body, err := audit.Event{Kind: "signature", Actor: w.dept.Audit(), Subject: sealA}.Body()
	if err != nil {
		t.Fatal(err)
	}
	m := store.Mutation{Audit: [][]byte{body}}
	for _, p := range parts {
		m.Expect, m.Spend = append(m.Expect, p.Expect...), append(m.Spend, p.Spend...)
	}
	_, err = w.st.Commit(t.Context(), m)
	return err
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
