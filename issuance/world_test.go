package issuance_test

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/account"
	"sealkeeper/connector/authority"
	"sealkeeper/connector/delivery"
	elicence "sealkeeper/connector/elicence/sim"
	"sealkeeper/connector/feed"
	publicsecurity "sealkeeper/connector/publicsecurity/sim"
	"sealkeeper/connector/publicsecurity/sim/draw"
	registration "sealkeeper/connector/registration/sim"
	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

const (
	uscc     = "91410302YYY00002X7"
	name     = "洛阳老城示例商贸有限公司"
	person   = "欧阳测甲"
	audience = "sealkeeper-demo"
)

func client(role access.Role) access.Actor {
	return access.Actor{Client: fmt.Sprintf("%064x", len(role)), Role: role, Name: string(role)}
}

var (
	registrar = client(access.RoleRegistration)
	police    = client(access.RolePublicSecurity)
	national  = client(access.RoleELicence)
	system    = client(access.RoleSystem)
	security  = client(access.RoleSecurity)
	tax       = client(access.RoleDepartment)
)

// gate stands between everybody and the store: it can fail one commit, before it happens or after.
type gate struct {
	store.Store
	mu     sync.Mutex
	left   int    // commits that pass before one fails; negative: none fails; guarded by mu
	after  bool   // the failing commit happens and its answer is lost; guarded by mu
	hook   func() // runs before each commit; guarded by mu
	failed int
}

var errKilled = errors.New("the process died here")

func (g *gate) fail(in int, after bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.after = in, after
}

func (g *gate) before(hook func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = hook
}

func (g *gate) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	g.mu.Lock()
	now := g.left == 0
	g.left--
	after, hook := g.after, g.hook
	if now {
		g.failed++
	}
	g.mu.Unlock()
	if hook != nil {
		hook()
	}
	if now && !after {
		return store.Receipt{}, errKilled
	}
	r, err := g.Store.Commit(ctx, m)
	if now {
		return store.Receipt{}, errKilled
	}
	return r, err
}

// world is an appliance without HTTP, with the systems around it.
type world struct {
	testing.TB
	ctx   context.Context
	token *hsm.Module
	path  string
	cfg   issuance.Config
	clock *clock

	reg registration.System
	ps  publicsecurity.System
	el  elicence.System

	bolt  *store.Bolt
	gate  *gate
	keys  *keystore.Keystore
	lib   *licence.Library
	seals *register.Register
	acc   *access.Access
	iss   *issuance.Issuance
	made  [3][]byte // root, issuing, maker certificates

	filings int
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

// now moves on a little with each look, as clocks do.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Millisecond)
	return c.at
}

func (c *clock) passes(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t testing.TB) *softkey.Key {
	t.Helper()
	return must(softkey.Generate(nil))(t)
}

func newWorld(t testing.TB, change ...func(*issuance.Config)) *world {
	t.Helper()
	w := &world{TB: t, ctx: context.WithoutCancel(t.Context()), path: filepath.Join(t.TempDir(), "store"), clock: &clock{at: time.Now().UTC()},
		reg: registration.System{Key: newKey(t)}, ps: publicsecurity.System{Key: newKey(t)}, el: elicence.System{Key: newKey(t)}}
	w.openToken()
	w.cfg = issuance.DefaultConfig()
	w.cfg.PublicSecurity, w.cfg.ELicence = []*gm.PublicKey{w.ps.Key.Public()}, []*gm.PublicKey{w.el.Key.Public()}
	w.cfg.Now = w.clock.now
	for _, c := range change {
		c(&w.cfg)
	}
	w.open(true)
	t.Cleanup(func() { w.bolt.Close() })
	return w
}

func (w *world) openToken() {
	w.Helper()
	k := softhsmtest.New(w)
	set := must(firmware.Embedded())(w)
	w.token = must(hsm.Open(w.ctx, hsm.Config{Module: k.Module, Profile: must(set.Profile("softhsm2-sm2"))(w), Serial: k.Serial,
		PINFile: k.PINFile, LatchFile: filepath.Join(w.TempDir(), "latch")}))(w)
	w.Cleanup(func() { w.token.Close() })
}

func collections() []*store.Collection {
	var all []*store.Collection
	for _, of := range [][]*store.Collection{keystore.Collections(), register.Collections(), licence.Collections(), access.Collections(), audit.Collections(),
		delivery.Collections(), feed.Collections(), account.Collections(), authority.Collections()} {
		all = append(all, of...)
	}
	return all
}

// open starts the appliance over the file; a fresh one makes its authorities.
func (w *world) open(fresh bool) {
	w.Helper()
	w.bolt = must(store.Open(store.Config{Path: w.path, Create: fresh, Collections: collections()}))(w)
	w.gate = &gate{Store: w.bolt, left: -1}
	w.keys = must(keystore.Open(w.ctx, w.token, w.gate, slog.New(slog.DiscardHandler)))(w)
	w.lib = must(licence.New(w.gate, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{w.reg.Key.Public()}, Now: w.clock.now}))(w)
	w.seals = register.New(register.Config{Store: w.gate, Keys: w.keys, Now: w.clock.now})
	w.acc = must(access.New(w.gate, access.Config{Audience: audience, Now: w.clock.now, Owner: w.ownerOf}))(w)
	if fresh {
		w.found()
	}
	key := func(p keystore.Purpose) *keystore.Key { return must(w.keys.ByPurpose(w.ctx, p))(w) }
	w.iss = must(issuance.New(issuance.Parts{Store: w.gate, Library: w.lib, Register: w.seals, Keys: w.keys, Access: w.acc,
		Issuer: w.authority(key(keystore.PurposeSM2Issuing)), Maker: issuance.Maker{Key: key(keystore.PurposeMaker), Certificate: w.made[2]}}, w.cfg))(w)
}

func (w *world) ownerOf(ctx context.Context, esid string) (access.Owner, error) {
	s, _, err := w.seals.Seal(ctx, esid)
	return access.Owner{USCC: s.USCC, SealType: s.Type, Institutional: s.Institutional}, err
}

func (w *world) authority(key *keystore.Key) *ca.Embedded {
	w.Helper()
	return must(ca.NewEmbedded(key, ca.Config{RootDER: w.made[0], IssuingDER: w.made[1], Lifetimes: ca.DefaultLifetimes(),
		Subject: ca.DefaultSubjectTemplate(), Now: w.clock.now}))(w)
}

func (w *world) found() {
	w.Helper()
	create := func(p keystore.Purpose) *keystore.Key {
		return must(w.keys.Create(w.ctx, audit.Actor{Role: "appliance", ID: "test"}, keystore.Want{Purpose: p, Label: string(p), Algorithm: hsm.SM2}))(w)
	}
	root, issuing, maker := create(keystore.PurposeSM2Root), create(keystore.PurposeSM2Issuing), create(keystore.PurposeMaker)
	now := w.clock.now().Add(-time.Minute)
	life := ca.DefaultLifetimes()
	w.made[0] = must(ca.Root(w.ctx, root, pkix.Name{CommonName: "DEMO root"}, now, life.Root))(w)
	w.made[1] = must(ca.Issuing(w.ctx, root, w.made[0], issuing.Public(), pkix.Name{CommonName: "DEMO issuing"}, now, life.Issuing))(w)
	w.made[2] = must(w.authority(issuing).IssueMaker(w.ctx, maker.Public(), pkix.Name{CommonName: "DEMO maker"}))(w)
}

// restart closes the appliance without a farewell and starts it again, as the daemon does: reconcile, then work.
func (w *world) restart() keystore.Reconciliation {
	w.Helper()
	if err := w.bolt.Close(); err != nil {
		w.Fatal(err)
	}
	w.open(false)
	return must(w.keys.Reconcile(w.ctx, audit.Actor{Role: "appliance", ID: "start"}))(w)
}

func fields(code string) licence.Fields {
	return licence.Fields{USCC: code, Name: name, EntityType: "有限责任公司", LegalRep: person, Established: "2026-01-05",
		Address: "老城区示例路1号", Division: code[2:8]}
}

// event signs and sends a licence event that happens now.
func (w *world) event(kind licence.Kind, f licence.Fields) (issuance.EventOutcome, error) {
	w.Helper()
	return w.iss.Event(w.ctx, nil, registrar, w.signed(kind, f))
}

// signed is a licence event that happens now, as the registration system sends it.
func (w *world) signed(kind licence.Kind, f licence.Fields) envelope.Envelope {
	w.Helper()
	w.clock.passes(time.Second)
	at := w.clock.now()
	return must(w.reg.Sign(licence.Event{ID: fmt.Sprintf("reg-%s-%d", f.USCC, at.UnixNano()), Kind: kind, Licence: f, EffectiveAt: at, IssuedAt: at}))(w)
}

func (w *world) establish(code string) string {
	w.Helper()
	o := must(w.event(licence.KindEstablished, fields(code)))(w)
	if o.Order == "" {
		w.Fatal("no order")
	}
	return o.Order
}

var types = []string{"01", "02", "03", "05"}

// drawn keeps pictures by what they show: drawing is slow and deterministic. Half the usual resolution is a quarter of the work.
var drawn sync.Map

func (w *world) engrave(f licence.Fields, sealType string, defect draw.Defect) register.Filing {
	w.Helper()
	w.filings++
	type show struct {
		code, name, person, sealType string
		defect                       draw.Defect
		number                       int
	}
	key := show{f.USCC, f.Name, f.LegalRep, sealType, defect, w.filings}
	if got, ok := drawn.Load(key); ok {
		filing := got.(register.Filing)
		filing.FiledAt = w.clock.now().Add(-time.Minute)
		return filing
	}
	code := fmt.Sprintf("%.6s%07d", f.Division, w.filings)
	picture, width, height, err := draw.Seal(draw.Spec{Type: sealType, Name: f.Name, TaxNumber: f.USCC, Person: f.LegalRep, Code: code, DPI: 300, Defect: defect})
	if err != nil {
		w.Fatal(err)
	}
	filing := register.Filing{FilingNumber: "PS-" + code + "-" + sealType, SealCode: code, SealType: sealType, USCC: f.USCC, Name: f.Name,
		Format: format(picture), WidthMM: float64(width), HeightMM: float64(height), Image: picture, Engraver: "示例刻章单位",
		FiledAt: w.clock.now().Add(-time.Minute)}
	drawn.Store(key, filing)
	return filing
}

func format(picture []byte) string {
	if bytes.HasPrefix(picture, []byte{0xff, 0xd8}) {
		return "JPEG"
	}
	return "PNG"
}

func (w *world) sign(f register.Filing) envelope.Envelope {
	w.Helper()
	return must(w.ps.File(f))(w)
}

func (w *world) file(f register.Filing) (issuance.FilingOutcome, error) {
	w.Helper()
	return w.iss.File(w.ctx, nil, police, w.sign(f))
}

// fileAll files good impressions of the types.
func (w *world) fileAll(f licence.Fields, types ...string) {
	w.Helper()
	for _, t := range types {
		must(w.file(w.engrave(f, t, 0)))(w)
	}
}

// complete takes an entity to a complete order.
func (w *world) complete(code string) string {
	w.Helper()
	order := w.establish(code)
	w.fileAll(fields(code), types...)
	return order
}

// set takes an entity to a made set.
func (w *world) set(code string) string {
	w.Helper()
	order := w.complete(code)
	if n, err := w.iss.Finish(w.ctx); err != nil || n != 1 {
		w.Fatalf("made %d orders: %v", n, err)
	}
	return order
}

func (w *world) assertion(code, who string) access.Assertion {
	w.Helper()
	return w.el.Assertion(code, who, access.AlgSM2, newKey(w).Public().Point(), audience, w.clock.now())
}

func (w *world) collect(order string, a access.Assertion) (issuance.CollectOutcome, error) {
	w.Helper()
	return w.iss.Collect(w.ctx, nil, national, order, must(w.el.Sign(a))(w))
}

// collected takes an entity to active seals.
func (w *world) collected(code string) string {
	w.Helper()
	order := w.set(code)
	must(w.collect(order, w.assertion(code, person)))(w)
	return order
}

func (w *world) order(id string) register.Order {
	w.Helper()
	o, _, err := w.seals.Order(w.ctx, id)
	return must(o, err)(w)
}

// states lists type and state of an entity's seals in the order of their numbers.
func (w *world) states(code string) string {
	w.Helper()
	out := ""
	for _, s := range must(w.seals.SealsOf(w.ctx, code))(w) {
		out += s.Type + " " + string(s.State) + "; "
	}
	return out
}
