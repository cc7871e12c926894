package certificate_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
)

const (
	uscc   = "91410302YYY00002X7"
	other  = "91410303YYY000038M"
	food   = "11100000YYY00AMR1B001"
	health = "11100000YYY00AMR1B002"
	issuer = "11410300YYY00AMR13"
	name   = "洛阳老城示例商贸有限公司"
)

// world is a certificate library over a real store file, with a licence library, access, and a clock that the test moves.
type world struct {
	testing.TB
	*certificate.Library
	st       *store.Bolt
	acc      *access.Access
	licences *licence.Library
	source   *softkey.Key
	at       time.Time
	table    *certificate.Catalogue
	events   int

	system, security, market, hygiene, tax access.Actor // market issues food, hygiene health, tax nothing
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, at: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	var err error
	w.st, err = store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Create: true, Now: w.now,
		Collections: slices.Concat(licence.Collections(), access.Collections(), certificate.Collections())})
	w.ok(err)
	t.Cleanup(func() { w.st.Close() })
	w.source, err = softkey.Generate(nil)
	w.ok(err)
	w.licences, err = licence.New(w.st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{w.source.Public()}, Now: w.now})
	w.ok(err)
	w.acc, err = access.New(w.st, access.Config{Audience: "sealkeeper-410300", Now: w.now,
		Owner: func(context.Context, string) (access.Owner, error) { return access.Owner{}, store.ErrNotFound }})
	w.ok(err)
	w.found()
	w.table, err = certificate.ParseCatalogue([]byte(fmt.Sprintf(`types:
  - {type: %s, title: 食品经营许可证（示例）, department: 示例市市场监督管理局, issuers: [%s], clients: ["%s"], attributes: [许可项目], public: true}
  - {type: %s, title: 卫生许可证（示例）, department: 示例市卫生健康委员会, issuers: ["410300"], clients: ["%s"], watch: [name], no_file: true}
`, food, issuer, w.market.Client, health, w.hygiene.Client)))
	w.ok(err)
	w.Library, err = certificate.New(certificate.Config{Store: w.st, Licences: w.licences, Access: w.acc, Catalogue: func() *certificate.Catalogue { return w.table }, Now: w.now})
	w.ok(err)
	w.tell(licence.KindEstablished, nil)
	return w
}

func (w *world) now() time.Time { return w.at }

func (w *world) passes(d time.Duration) { w.at = w.at.Add(d) }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// found registers three operators and three departments.
func (w *world) found() {
	w.Helper()
	var cs []access.Client
	for n, r := range []access.Role{access.RoleSystem, access.RoleSecurity, access.RoleAudit} {
		cs = append(cs, access.Client{ID: clientID(string(r)), Name: "示例", Role: r, Person: fmt.Sprint("person-", n)})
	}
	ch, err := w.acc.Founders(audit.Appliance("init"), cs)
	w.ok(err)
	_, err = w.st.Commit(context.Background(), ch.Mutation(nil))
	w.ok(err)
	w.system, w.security = cs[0].Actor(), cs[1].Actor()
	for who, into := range map[string]*access.Actor{"market": &w.market, "hygiene": &w.hygiene, "tax": &w.tax} {
		c := access.Client{ID: clientID(who), Name: "示例 " + who, Role: access.RoleDepartment}
		_, err := w.acc.Register(context.Background(), nil, w.security, c)
		w.ok(err)
		*into = c.Actor()
	}
}

func clientID(name string) string { return access.ClientID([]byte("key of " + name)) }

// tell has the registration system say something of the enterprise, an hour after the last event.
func (w *world) tell(kind licence.Kind, change func(*licence.Fields)) licence.Licence {
	w.Helper()
	w.passes(time.Hour)
	w.events++
	f := licence.Fields{USCC: uscc, Name: name, EntityType: "有限责任公司", LegalRep: "欧阳测甲", Scope: "示例货物的销售", Division: "410302"}
	if change != nil {
		change(&f)
	}
	ev := licence.Event{ID: fmt.Sprint("reg-", w.events), Kind: kind, Licence: f, EffectiveAt: w.at.Add(-time.Minute), IssuedAt: w.at.Add(-time.Minute)}
	e, err := envelope.Seal(licence.EventKind, ev, w.source.Sign)
	w.ok(err)
	c, err := w.licences.Prepare(context.Background(), e, audit.Actor{Role: "source-registration", ID: "x"})
	w.ok(err)
	_, err = w.st.Commit(context.Background(), c.Mutation())
	w.ok(err)
	w.passes(time.Minute)
	return c.Licence
}

// request is a fresh request of a client.
func request(of access.Actor) *store.Request {
	var b [16]byte
	rand.Read(b[:])
	return &store.Request{Client: of.Client, ID: hex.EncodeToString(b[:]), Digest: gm.SM3(b[:])}
}

func identifier(typ, issuer, serial string, version int) string {
	return certificate.Identifier{Type: typ, Issuer: issuer, Serial: serial, Version: version}.String()
}

// permit is a food permit without a fault.
func permit(serial string, change func(*certificate.Draft)) certificate.Draft {
	d := certificate.Draft{Identifier: identifier(food, issuer, serial, 1), USCC: uscc, Name: name, ValidFrom: "2026-01-01", ValidTo: "2030-12-31",
		Attributes: map[string]string{"许可项目": "示例食品销售"}, File: []byte("%PDF-1.7 示例 " + serial)}
	if change != nil {
		change(&d)
	}
	return d
}

func (w *world) put(actor access.Actor, d certificate.Draft) certificate.Row {
	w.Helper()
	s, err := w.Put(context.Background(), request(actor), actor, d)
	w.ok(err)
	return s.Row
}

func (w *world) view(series string) certificate.View {
	w.Helper()
	v, err := w.At(context.Background(), w.system, certificate.Asked{Certificate: series})
	w.ok(err)
	return v
}

func (w *world) wants(what string, err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: %v, want %v", what, err, want)
	}
}
