package signer_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sealkeeper/access"
	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/tsa"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

const (
	uscc     = "91410302YYY00002X7"
	sealName = "41030200000001" // 法定名称章
	sealRep  = "41030200000004" // 法定代表人章
	purpose  = "示例用途"
)

// world is an appliance without its HTTP: a throw-away token, a store file, an enterprise with a licence, two active seals and a phone.
type world struct {
	*signer.Signer
	cfg   signer.Config
	st    *store.Bolt
	token *hsm.Module
	acc   *access.Access
	reg   *register.Register
	lib   *licence.Library
	keys  *keystore.Keystore
	clock *clock
	hook  *gate // what stands between the signer and the store

	root, maker, registration, elicence *softkey.Key
	rootCert, makerCert                 *gm.Certificate
	phone                               *softkey.Key
	security, dept                      access.Actor

	mu      sync.Mutex
	refused []audit.Event // guarded by mu
	serial  int64
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) passes(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// gate is the real store with a hook in front of its commits, and the count of durable writes.
type gate struct {
	store.Store
	mu     sync.Mutex
	before func() // runs once, before the next commit; guarded by mu
	fail   error  // returned instead of committing; guarded by mu
	writes int
}

func (g *gate) pass() error {
	g.mu.Lock()
	before, fail := g.before, g.fail
	g.before, g.fail = nil, nil
	g.writes++
	g.mu.Unlock()
	if before != nil {
		before()
	}
	return fail
}

func (g *gate) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	if err := g.pass(); err != nil {
		return store.Receipt{}, err
	}
	return g.Store.Commit(ctx, m)
}

func (g *gate) CommitAll(ctx context.Context, ms []store.Mutation) []store.Result {
	if err := g.pass(); err != nil {
		out := make([]store.Result, len(ms))
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	return g.Store.CommitAll(ctx, ms)
}

// next arranges what happens right before the signer's next commit.
func (g *gate) next(before func(), fail error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before, g.fail = before, fail
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{clock: &clock{at: time.Now().UTC().Truncate(time.Second)}}
	for _, k := range []**softkey.Key{&w.root, &w.maker, &w.registration, &w.elicence, &w.phone} {
		var err error
		if *k, err = softkey.Generate(nil); err != nil {
			t.Fatal(err)
		}
	}
	w.openToken(t)
	w.openStore(t)
	w.certify(t)
	w.people(t)
	w.event(t, licence.KindEstablished)
	w.makeSeal(t, sealName, "01", w.clock.now().Add(-time.Hour), w.clock.now().AddDate(3, 0, 0))
	w.makeSeal(t, sealRep, "05", w.clock.now().Add(-time.Hour), w.clock.now().AddDate(3, 0, 0))
	w.bind(t)
	return w
}

func (w *world) openToken(t testing.TB) {
	t.Helper()
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	w.token, err = hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.token.Close() })
}

func (w *world) openStore(t testing.TB) {
	t.Helper()
	all := slices.Concat(access.Collections(), register.Collections(), licence.Collections(), keystore.Collections(), signer.Collections(), tsa.Collections())
	var err error
	w.st, err = store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store.db"), Create: true, Collections: all, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.st.Close() })
	if w.keys, err = keystore.Open(t.Context(), w.token, w.st, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	w.reg = register.New(register.Config{Store: w.st, Keys: w.keys, Now: w.clock.now})
	pinned := []*gm.PublicKey{w.registration.Public()}
	if w.lib, err = licence.New(w.st, licence.Config{Mode: licence.Demo, Pinned: pinned, Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	if w.acc, err = access.New(w.st, access.Config{Audience: "sealkeeper.demo", Now: w.clock.now, Owner: w.owner}); err != nil {
		t.Fatal(err)
	}
	w.hook = &gate{Store: w.st}
	w.cfg = signer.Config{Store: w.hook, Access: w.acc, Licences: w.lib, Seals: w.reg, Keys: w.keys, Refuse: w.refusal, Now: w.clock.now,
		Provider: signer.Provider{Name: "Sealkeeper", Version: "0.1", Company: "示例"}}
	w.restart(t)
}

// restart gives a signer with nothing in memory.
func (w *world) restart(t testing.TB) {
	t.Helper()
	var err error
	if w.Signer, err = signer.New(w.cfg); err != nil {
		t.Fatal(err)
	}
}

func (w *world) owner(ctx context.Context, esid string) (access.Owner, error) {
	s, _, err := w.reg.Seal(ctx, esid)
	return access.Owner{USCC: s.USCC, SealType: s.Type, Institutional: s.Institutional}, err
}

func (w *world) refusal(e audit.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, e)
}

func (w *world) refusals() []audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.refused)
}

func (w *world) commit(t testing.TB, m store.Mutation) {
	t.Helper()
	if _, err := w.st.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// people registers operators, a department and its grant for both kinds on both seals.
func (w *world) people(t testing.TB) {
	t.Helper()
	var cs []access.Client
	for _, r := range []access.Role{access.RoleSystem, access.RoleSecurity, access.RoleAudit} {
		cs = append(cs, access.Client{ID: access.ClientID([]byte(r)), Name: "示例", Role: r, Person: "person of " + string(r)})
	}
	ch, err := w.acc.Founders(audit.Actor{Role: "appliance", ID: "init"}, cs)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, ch.Mutation(nil))
	w.security = cs[1].Actor()
	d := access.Client{ID: access.ClientID([]byte("department")), Name: "示例部门", Role: access.RoleDepartment}
	if _, err := w.acc.Register(t.Context(), nil, w.security, d); err != nil {
		t.Fatal(err)
	}
	w.dept = d.Actor()
	w.grant(t, "grant-1", nil)
}

func (w *world) grant(t testing.TB, id string, change func(*access.Grant)) {
	t.Helper()
	g := access.Grant{ID: id, Client: w.dept.Client, Seals: []string{sealName, sealRep}, Kinds: []string{"digest", "ofd"}, Purposes: []string{purpose},
		NotBefore: w.clock.now().AddDate(-1, 0, 0), Expires: w.clock.now().AddDate(10, 0, 0), Count: 1 << 40, DigestOnly: true}
	if change != nil {
		change(&g)
	}
	if _, err := w.acc.PutGrant(t.Context(), nil, w.security, g); err != nil {
		t.Fatal(err)
	}
}

// event takes a signed licence event.
func (w *world) event(t testing.TB, kind licence.Kind) {
	t.Helper()
	w.serial++
	w.clock.passes(time.Second) // events of one entity are issued one after the other
	f := licence.Fields{USCC: uscc}
	if kind == licence.KindEstablished {
		f = licence.Fields{USCC: uscc, Name: "洛阳老城示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲", Capital: "100.5",
			Established: "2020-01-05", TermFrom: "2020-01-05", Scope: "示例货物的销售", Address: "老城区示例路1号", Division: "410302", Approved: "2020-01-05"}
	}
	ev := licence.Event{ID: "event-" + big.NewInt(w.serial).String(), Kind: kind, Licence: f, EffectiveAt: w.clock.now(), IssuedAt: w.clock.now()}
	e, err := envelope.Seal(licence.EventKind, ev, w.registration.Sign)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.lib.Prepare(t.Context(), e, audit.Actor{Role: "source-registration", ID: "registration"})
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit})
}

// change moves a seal to another state, durably.
func (w *world) change(t testing.TB, esid string, move func(register.Seal, store.Version) (register.Draft, error)) {
	t.Helper()
	s, v, err := w.reg.Seal(t.Context(), esid)
	if err != nil {
		t.Fatal(err)
	}
	d, err := move(s, v)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, d.Mutation(nil))
}

func (w *world) suspend(t testing.TB, esid string) {
	t.Helper()
	w.change(t, esid, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Suspend(v, register.Change{Actor: w.security.Audit(), Reason: register.ReasonMisuse, Time: w.clock.now()})
		return d, err
	})
}

// bind takes the owner's phone over.
func (w *world) bind(t testing.TB) {
	t.Helper()
	a := access.Assertion{ID: "assertion-" + hex.EncodeToString(random(4)), USCC: uscc, Person: "演示数据", Role: "legal-representative",
		DeviceAlg: access.AlgSM2, DeviceKey: w.phone.Public().Point(), IssuedAt: w.clock.now(), ExpiresAt: w.clock.now().Add(time.Minute),
		Audience: "sealkeeper.demo", Nonce: hex.EncodeToString(random(16))}
	e, err := envelope.Seal(access.AssertionKind, a, w.elicence.Sign)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.acc.Bind(t.Context(), e, []*gm.PublicKey{w.elicence.Public()}, uscc)
	if err != nil {
		t.Fatal(err)
	}
	m := b.Mutation(nil)
	body, err := audit.Event{Kind: "collected", Actor: audit.Actor{Role: "owner", ID: b.Device.KeyID()}, Subject: uscc, Detail: b.Evidence}.Body()
	if err != nil {
		t.Fatal(err)
	}
	m.Audit = [][]byte{body}
	w.commit(t, m)
}

// delegated is a request for a signature over a digest, under the delegation delegation-1.
func (w *world) delegated(id string) signer.Request {
	return signer.Request{ID: id, Kind: signer.KindDigest, Seal: sealName, Digest: gm.SM3([]byte("document of " + id)), Purpose: purpose,
		BodyDigest: gm.SM3([]byte("body of " + id)), Delegation: "delegation-1"}
}

// digestRequest is a request for a signature over a digest, approved by the owner.
func (w *world) digestRequest(t testing.TB, id string) signer.Request {
	t.Helper()
	r := w.delegated(id)
	r.Delegation = ""
	r.Approval = w.approve(t, r, nil)
	return r
}

var stamps = []placement.Stamp{{Page: 1, X: 150, Y: 230, W: 40, H: 40}, {Page: 2, X: 10.5, Y: 20, W: 40, H: 40}}

func (w *world) ofdRequest(t testing.TB, id string) signer.Request {
	t.Helper()
	r := signer.Request{ID: id, Kind: signer.KindOFD, Seal: sealName, Document: document(t), Plan: placement.Plan{Stamps: stamps}, Purpose: purpose,
		BodyDigest: gm.SM3([]byte("body of " + id))}
	r.Approval = w.approve(t, r, nil)
	return r
}

// approve is the owner's phone.
func (w *world) approve(t testing.TB, r signer.Request, change func(*access.Approval)) *access.SignedApproval {
	t.Helper()
	a := access.Approval{Request: r.ID, Seal: r.Seal, Document: r.Digest, Purpose: r.Purpose, Client: w.dept.Client, Count: 1,
		Expires: w.clock.now().Add(5 * time.Minute).Truncate(time.Second), Nonce: [16]byte(random(16))}
	if r.Document != nil {
		a.Document = gm.SM3(r.Document)
	}
	if !r.Plan.Empty() {
		a.Placement = r.Plan.Digest()
	}
	if change != nil {
		change(&a)
	}
	s, err := a.Sign(access.AlgSM2, "", w.phone.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// delegate registers a delegation of the owner.
func (w *world) delegate(t testing.TB, id string, count uint64) {
	t.Helper()
	d := access.Delegation{ID: id, Seal: sealName, Client: w.dept.Client, Purposes: []string{purpose}, Kinds: []string{"digest", "ofd"},
		NotBefore: w.clock.now().Add(-time.Hour).Truncate(time.Second), Expires: w.clock.now().AddDate(1, 0, 0).Truncate(time.Second),
		Count: count, Nonce: [16]byte(random(16))}
	s, err := d.Sign(access.AlgSM2, w.phone.Sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.acc.Delegate(t.Context(), nil, w.dept, s); err != nil {
		t.Fatal(err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// recordsNow is how many records the log has.
func (w *world) recordsNow() uint64 { return w.st.State().Size }

func mustSign(t testing.TB, w *world, r signer.Request) signer.Released {
	t.Helper()
	rel, err := w.Sign(t.Context(), w.dept, r)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
