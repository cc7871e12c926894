package onecode_test

import (
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
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
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/licence/onecode"
	"sealkeeper/signer/statement"
	"sealkeeper/signer/verify/stated"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

const (
	uscc      = "91410302YYY00002X7"
	name      = "洛阳老城示例商贸有限公司"
	food      = "11100000YYY00AMR1B001"
	health    = "11100000YYY00AMR1B002"
	issuer    = "11410300YYY00AMR13"
	purpose   = "示例.窗口核验"
	appliance = "sealkeeper-410300"
)

// world is a desk over a token, a store file, both libraries and access, with an enterprise whose phone is bound, and a clock that the test moves.
type world struct {
	testing.TB
	*onecode.Desk
	st       *store.Bolt
	acc      *access.Access
	licences *licence.Library
	certs    *certificate.Library
	root     *gm.Certificate
	phone    *softkey.Key
	mu       sync.Mutex
	at       time.Time // guarded by mu

	elicence, system, security, market, bank, tax access.Actor
	permit                                        string // series
}

func got[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) passes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, at: time.Now().UTC().Truncate(time.Second)}
	w.st = got(store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Create: true, Now: w.now,
		Collections: slices.Concat(licence.Collections(), access.Collections(), certificate.Collections(), onecode.Collections(), keystore.Collections())}))(t)
	t.Cleanup(func() { w.st.Close() })
	source := got(softkey.Generate(nil))(t)
	w.licences = got(licence.New(w.st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{source.Public()}, Now: w.now}))(t)
	w.acc = got(access.New(w.st, access.Config{Audience: appliance, Now: w.now,
		Owner: func(context.Context, string) (access.Owner, error) { return access.Owner{}, store.ErrNotFound }}))(t)
	w.found()
	table := got(certificate.ParseCatalogue([]byte(fmt.Sprintf(`types:
  - {type: %s, title: 食品经营许可证（示例）, department: 示例局, issuers: [%s], clients: ["%[3]s"], public: true, no_file: true}
  - {type: %[4]s, title: 内部备案（示例）, department: 示例局, issuers: [%[2]s], clients: ["%[3]s"], no_file: true}
`, food, issuer, w.market.Client, health))))(t)
	w.certs = got(certificate.New(certificate.Config{Store: w.st, Licences: w.licences, Access: w.acc, Catalogue: func() *certificate.Catalogue { return table }, Now: w.now}))(t)
	w.Desk = got(onecode.New(onecode.Config{Store: w.st, Access: w.acc, Licences: w.licences, Certificates: w.certs, Statements: w.statements(), Judge: w.judge,
		Appliance: appliance, Pages: "https://seal.example", Now: w.now}))(t)
	w.establish(source)
	return w
}

// judge reads a statement as whoever keeps it would, with nothing but the root.
func (w *world) judge(der []byte, kind string, body any) error {
	_, err := stated.Open(der, stated.Trust{Roots: []*gm.Certificate{w.root}, Now: w.now()}, kind, body)
	return err
}

func (w *world) found() {
	w.Helper()
	var cs []access.Client
	for n, r := range []access.Role{access.RoleSystem, access.RoleSecurity, access.RoleAudit} {
		cs = append(cs, access.Client{ID: clientID(string(r)), Name: "示例", Role: r, Person: fmt.Sprint("person-", n)})
	}
	ch := got(w.acc.Founders(audit.Appliance("init"), cs))(w)
	got(w.st.Commit(context.Background(), ch.Mutation(nil)))(w)
	w.system, w.security = cs[0].Actor(), cs[1].Actor()
	for who, into := range map[string]*access.Actor{"market": &w.market, "bank": &w.bank, "tax": &w.tax, "e-licence": &w.elicence} {
		c := access.Client{ID: clientID(who), Name: "示例 " + who, Role: access.RoleDepartment}
		if who == "e-licence" {
			c.Role = access.RoleELicence
		}
		got(w.acc.Register(context.Background(), nil, w.security, c))(w)
		*into = c.Actor()
	}
}

func clientID(name string) string { return access.ClientID([]byte("key of " + name)) }

// statements is the appliance's key in a throw-away token, certified under a hierarchy of its own.
func (w *world) statements() *statement.Service {
	w.Helper()
	ctx, k := w.Context(), softhsmtest.New(w)
	profile := got(got(firmware.Embedded())(w).Profile("softhsm2-sm2"))(w)
	token := got(hsm.Open(ctx, hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(w.TempDir(), "latch.json")}))(w)
	w.Cleanup(func() { token.Close() })
	keys := got(keystore.Open(ctx, token, w.st, slog.New(slog.DiscardHandler)))(w)
	key := got(keys.Create(ctx, audit.Appliance("test"), keystore.Want{Purpose: keystore.PurposeStatement, Label: "statement", Algorithm: hsm.SM2}))(w)
	root, issuing := got(softkey.Generate(nil))(w), got(softkey.Generate(nil))(w)
	called := func(cn string) pkix.Name {
		return pkix.Name{Country: []string{"CN"}, Organization: []string{"示例局"}, CommonName: cn}
	}
	rootDER := got(ca.Root(ctx, soft{root}, called("示例根"), w.now().AddDate(0, -1, 0), ca.DefaultLifetimes().Root))(w)
	issuingDER := got(ca.Issuing(ctx, soft{root}, rootDER, issuing.Public(), called("示例签发"), w.now(), ca.DefaultLifetimes().Issuing))(w)
	w.root = got(gm.ParseCertificate(rootDER))(w)
	authority := got(ca.NewEmbedded(soft{issuing}, ca.Config{RootDER: rootDER, IssuingDER: issuingDER, Lifetimes: ca.DefaultLifetimes(), Subject: ca.DefaultSubjectTemplate(), Now: w.now}))(w)
	der := got(authority.IssueStatement(ctx, key.Public(), called("示例声明")))(w)
	return got(statement.New(statement.Config{Key: key, Certificate: der, Chain: [][]byte{issuingDER}, Appliance: appliance, Now: w.now}))(w)
}

// soft signs as a key of the authorities does.
type soft struct{ *softkey.Key }

func (s soft) Sign(_ context.Context, message []byte) ([]byte, error) { return s.Key.Sign(message) }

// establish brings the enterprise in, with a phone and two certificates.
func (w *world) establish(source *softkey.Key) {
	w.Helper()
	ctx := w.Context()
	f := licence.Fields{USCC: uscc, Name: name, EntityType: "有限责任公司", LegalRep: "欧阳测甲", Scope: "示例货物的销售", Division: "410302"}
	ev := licence.Event{ID: "reg-1", Kind: licence.KindEstablished, Licence: f, EffectiveAt: w.now().Add(-time.Hour), IssuedAt: w.now().Add(-time.Hour)}
	c := got(w.licences.Prepare(ctx, got(envelope.Seal(licence.EventKind, ev, source.Sign))(w), audit.Actor{Role: "source-registration", ID: "x"}))(w)
	got(w.st.Commit(ctx, c.Mutation()))(w)
	w.phone = got(softkey.Generate(nil))(w)
	assertion := access.Assertion{ID: "a-1", USCC: uscc, Person: "欧阳测甲", Role: "legal-representative", DeviceAlg: access.AlgSM2, DeviceKey: w.phone.Public().Point(),
		IssuedAt: w.now(), ExpiresAt: w.now().Add(time.Minute), Audience: appliance, Nonce: nonce()}
	system := got(softkey.Generate(nil))(w)
	b := got(w.acc.Bind(ctx, got(envelope.Seal(access.AssertionKind, assertion, system.Sign))(w), []*gm.PublicKey{system.Public()}, uscc))(w)
	got(w.st.Commit(ctx, store.Mutation{Expect: b.Expect, Put: b.Put, Spend: b.Spend, Audit: [][]byte{[]byte(`{"kind":"collected","actor":{"role":"appliance","id":"test"}}`)}}))(w)
	for _, typ := range []string{food, health} {
		d := certificate.Draft{Identifier: certificate.Identifier{Type: typ, Issuer: issuer, Serial: "A1", Version: 1}.String(), USCC: uscc, Name: name, ValidFrom: "2020-01-01"}
		s := got(w.certs.Put(ctx, request(w.market), w.market, d))(w)
		if typ == food {
			w.permit = s.Row.Certificate
		}
	}
}

func nonce() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func request(of access.Actor) *store.Request {
	id := nonce()
	return &store.Request{Client: of.Client, ID: id, Digest: gm.SM3([]byte(id))}
}

// wish is what the phone signs: name, legal representative and permit, for any department, for two minutes.
func (w *world) wish(change func(*access.Presentation)) access.SignedPresentation {
	w.Helper()
	p := access.Presentation{USCC: uscc, Client: access.AnyClient, Attributes: []string{"legal_rep", "name"}, Certificates: []string{w.permit}, Seconds: 120,
		Expires: w.now().Add(5 * time.Minute).Truncate(time.Second)}
	rand.Read(p.Nonce[:])
	if change != nil {
		change(&p)
	}
	return got(p.Sign(access.AlgSM2, w.phone.Sign))(w)
}

func (w *world) present(change func(*access.Presentation)) onecode.Presented {
	w.Helper()
	return got(w.Present(w.Context(), request(w.elicence), w.elicence, w.wish(change)))(w)
}

func (w *world) wants(what string, err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: %v, want %v", what, err, want)
	}
}
