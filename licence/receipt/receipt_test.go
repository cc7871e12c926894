package receipt_test

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
	"sealkeeper/licence/presented"
	"sealkeeper/licence/receipt"
	"sealkeeper/signer/statement"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/tsa"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/stated"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/synthetic"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

const (
	purpose = "演示.不动产登记"
)

// bank is an appliance's archive with its token, a licence in it, and departments that may archive.
type bank struct {
	testing.TB
	*receipt.Office
	cfg    receipt.Config
	st     *store.Bolt
	gate   *gate
	keys   *keystore.Keystore
	lib    *licence.Library
	acc    *access.Access
	source *softkey.Key
	root   *gm.Certificate
	events int
	codes  []string
	clock  time.Time // of the library alone, so that its feed gets where it is asked about
}

// gate can fail commits.
type gate struct {
	store.Store
	mu   sync.Mutex
	fail error // guarded by mu
}

func (g *gate) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	g.mu.Lock()
	fail := g.fail
	g.mu.Unlock()
	if fail != nil {
		return store.Receipt{}, fail
	}
	return g.Store.Commit(ctx, m)
}

var (
	officer = access.Actor{Client: strings.Repeat("0", 64), Role: access.RoleSecurity, Name: "示例安全员"}
	dept    = access.Actor{Client: strings.Repeat("a", 64), Role: access.RoleDepartment, Name: "示例部门"}
	other   = access.Actor{Client: strings.Repeat("b", 64), Role: access.RoleDepartment, Name: "示例银行"}
)

func (b *bank) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func newBank(t testing.TB) *bank {
	t.Helper()
	b := &bank{TB: t, clock: time.Now()}
	var err error
	b.codes = []string{synthetic.USCC("91", "410300", 1), synthetic.USCC("91", "410300", 2)}
	b.st, err = store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Create: true,
		Collections: append(append(append(append(keystore.Collections(), licence.Collections()...), access.Collections()...), receipt.Collections()...), tsa.Collections()...)})
	b.must(err)
	t.Cleanup(func() { b.st.Close() })
	b.gate = &gate{Store: b.st}
	b.source, err = softkey.Generate(nil)
	b.must(err)
	b.lib, err = licence.New(b.st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{b.source.Public()}, Now: func() time.Time { return b.clock }})
	b.must(err)
	b.openAccess()
	b.openKeys()
	desk := presented.New(presented.Config{Store: b.gate, Library: b.lib, Judge: func() verify.Options { return verify.Options{} }, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	b.cfg = receipt.Config{Store: b.gate, Library: b.lib, Access: b.acc, Desk: desk, Statements: b.statements(), Now: time.Now}
	b.Office = receipt.New(b.cfg)
	for _, c := range b.codes {
		b.event(c, licence.KindEstablished)
	}
	return b
}

func (b *bank) openAccess() {
	b.Helper()
	var err error
	b.acc, err = access.New(b.st, access.Config{Audience: "示例", Owner: func(context.Context, string) (access.Owner, error) { return access.Owner{}, nil }})
	b.must(err)
	ch, err := b.acc.Founders(audit.Appliance("test"), []access.Client{{ID: officer.Client, Name: officer.Name, Role: officer.Role, Person: "p1"},
		{ID: strings.Repeat("1", 64), Name: "示例系统员", Role: access.RoleSystem, Person: "p2"}, {ID: strings.Repeat("2", 64), Name: "示例审计员", Role: access.RoleAudit, Person: "p3"},
		{ID: dept.Client, Name: dept.Name, Role: dept.Role}, {ID: other.Client, Name: other.Name, Role: other.Role}})
	b.must(err)
	_, err = b.st.Commit(context.Background(), ch.Mutation(nil))
	b.must(err)
}

// grant lets a department archive a number of times.
func (b *bank) grant(id string, a access.Actor, count uint64) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	_, err := b.acc.PutGrant(context.Background(), nil, officer, access.Grant{ID: id, Client: a.Client, Kinds: []string{access.KindLicence}, Purposes: []string{purpose},
		NotBefore: now.Add(-time.Hour), Expires: now.AddDate(1, 0, 0), Count: count})
	b.must(err)
}

func (b *bank) openKeys() {
	b.Helper()
	k := softhsmtest.New(b)
	set, err := firmware.Embedded()
	b.must(err)
	profile, err := set.Profile("softhsm2-sm2")
	b.must(err)
	token, err := hsm.Open(context.Background(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(b.TempDir(), "latch.json")})
	b.must(err)
	b.Cleanup(func() { token.Close() })
	b.keys, err = keystore.Open(context.Background(), token, b.st, slog.New(slog.DiscardHandler))
	b.must(err)
}

func (b *bank) key(p keystore.Purpose, a hsm.Algorithm) *keystore.Key {
	b.Helper()
	k, err := b.keys.Create(context.Background(), audit.Appliance("test"), keystore.Want{Purpose: p, Label: string(p), Algorithm: a})
	b.must(err)
	return k
}

// statements opens the room with the appliance's own keys and time stamps, all in the token.
func (b *bank) statements() *statement.Service {
	b.Helper()
	ctx, life, now := context.Background(), ca.DefaultLifetimes(), time.Now()
	name := func(cn string) pkix.Name {
		return pkix.Name{Country: []string{"CN"}, Organization: []string{"示例局"}, CommonName: cn}
	}
	root, issuing := b.key(keystore.PurposeSM2Root, hsm.SM2), b.key(keystore.PurposeSM2Issuing, hsm.SM2)
	rootDER, err := ca.Root(ctx, root, name("示例根"), now, life.Root)
	b.must(err)
	issuingDER, err := ca.Issuing(ctx, root, rootDER, issuing.Public(), name("示例签发"), now, life.Issuing)
	b.must(err)
	authority, err := ca.NewEmbedded(issuing, ca.Config{RootDER: rootDER, IssuingDER: issuingDER, Lifetimes: life, Subject: ca.DefaultSubjectTemplate(), Now: time.Now})
	b.must(err)
	b.root, err = gm.ParseCertificate(rootDER)
	b.must(err)
	stamps, key := b.key(keystore.PurposeTSASM2, hsm.SM2), b.key(keystore.PurposeStatement, hsm.SM2)
	stampDER, err := authority.IssueTSA(ctx, stamps.Public(), name("示例时间戳"))
	b.must(err)
	keyDER, err := authority.IssueStatement(ctx, key.Public(), name("示例声明"))
	b.must(err)
	stamper, err := timestamp.NewAuthority(timestamp.AuthorityConfig{Key: stamps, Certificate: stampDER, Chain: [][]byte{issuingDER}, Serials: &counter{}, Policy: "1.2.3.4.1", Now: time.Now})
	b.must(err)
	s, err := statement.New(statement.Config{Key: key, Certificate: keyDER, Chain: [][]byte{issuingDER}, Appliance: "示例一体机", Now: time.Now,
		Stamp: func(ctx context.Context, sm3 []byte) ([]byte, error) { return stamper.Stamp(ctx, timestamp.SM3, sm3) }})
	b.must(err)
	return s
}

type counter struct {
	mu sync.Mutex
	n  uint64 // guarded by mu
}

func (c *counter) Next(context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n, nil
}

func (b *bank) event(uscc string, kind licence.Kind) {
	b.Helper()
	b.events++
	at := time.Date(2026, 1, 5, 0, b.events, 0, 0, time.UTC)
	f := licence.Fields{USCC: uscc}
	if kind == licence.KindEstablished {
		f = licence.Fields{USCC: uscc, Name: "洛阳示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲"}
	}
	e, err := envelope.Seal(licence.EventKind, licence.Event{ID: fmt.Sprintf("e%d", b.events), Kind: kind, EffectiveAt: at, IssuedAt: at, Licence: f}, b.source.Sign)
	b.must(err)
	c, err := b.lib.Prepare(context.Background(), e, audit.Appliance("test"))
	b.must(err)
	m := c.Mutation()
	m.NotAfter = time.Time{}
	_, err = b.st.Commit(context.Background(), m)
	b.must(err)
}

// file archives a file of a licence's version and returns its digest.
func (b *bank) file(uscc string, version int) string {
	b.Helper()
	c, err := b.lib.ArchiveFile(context.Background(), licence.FileNote{USCC: uscc, Version: version, Origin: licence.OriginIssued}, []byte(fmt.Sprint("演示数据 ", uscc, version)), audit.Appliance("test"))
	b.must(err)
	_, err = b.st.Commit(context.Background(), c.Mutation())
	b.must(err)
	return c.File.SM3
}

func request(a access.Actor, key string, body ...byte) store.Request {
	return store.Request{Client: a.Client, ID: key, Digest: gm.SM3(body)}
}

func ask(sm3 string) receipt.ArchiveRequest {
	return receipt.ArchiveRequest{SM3: sm3, Purpose: purpose, BizNo: "示例-0001"}
}

// TestReceipt: it states what the licence was worth, stands in the log whole, and is checked with nothing but the root.
func TestReceipt(t *testing.T) {
	b := newBank(t)
	b.grant("g", dept, 5)
	sm3 := b.file(b.codes[0], 1)
	size := b.st.State().Size
	r, err := b.Make(t.Context(), request(dept, "k"), dept, ask(sm3))
	b.must(err)
	var body receipt.ReceiptBody
	s, err := stated.Open(r.DER, stated.Trust{Roots: []*gm.Certificate{b.root}}, receipt.Kind, &body)
	if err != nil || body != r.Body || s.ID != r.ID || s.StampedAt.IsZero() || !s.IssuedAt.Equal(r.IssuedAt) {
		t.Fatalf("%+v, %+v, %v", s, body, err)
	}
	if body.SM3 != sm3 || body.USCC != b.codes[0] || body.Version != 1 || body.Current != 1 || body.Status != licence.Active || body.StatusBy != presented.ByLibrary ||
		body.Purpose != purpose || body.BizNo != "示例-0001" || body.Client != dept.Client || body.ClientName != dept.Name || body.Grant != "g" {
		t.Errorf("%+v", body)
	}
	rs, err := b.st.Records(t.Context(), size, 10)
	if err != nil || len(rs) != 1 {
		t.Fatalf("%d records, %v", len(rs), err)
	}
	e, err := audit.ParseBody(rs[0].Body)
	b.must(err)
	var kept receipt.ArchiveReceipt
	b.must(json.Unmarshal(e.Detail.(json.RawMessage), &kept))
	if e.Kind != receipt.EventKind || e.Subject != b.codes[0] || !bytes.Equal(kept.DER, r.DER) || rs[0].Request == nil || len(rs[0].Spent) != 1 {
		t.Errorf("record %+v of request %v", e, rs[0].Request)
	}
	b.event(b.codes[0], licence.KindRevoked)
	r, err = b.Make(t.Context(), request(dept, "k2"), dept, ask(sm3))
	if err != nil || r.Body.Status != licence.RevokedOpen || r.Body.Version != 1 || r.Body.Current != 2 {
		t.Errorf("after revocation: %+v, %v", r.Body, err)
	}
}

// TestSameRequestSameBytes: again, at once from many sides, and under another body.
func TestSameRequestSameBytes(t *testing.T) {
	b := newBank(t)
	b.grant("g", dept, 2)
	sm3 := b.file(b.codes[0], 1)
	var all sync.WaitGroup
	got := make([]receipt.ArchiveReceipt, 6)
	for n := range got {
		all.Go(func() {
			var err error
			if got[n], err = b.Make(t.Context(), request(dept, "k"), dept, ask(sm3)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, r := range got {
		if !bytes.Equal(r.DER, got[0].DER) || r.ID != got[0].ID {
			t.Fatal("one request has two receipts")
		}
	}
	if _, err := b.Make(t.Context(), request(dept, "k", 1), dept, ask(sm3)); !errors.Is(err, store.ErrRequestReused) {
		t.Errorf("another body: %v", err)
	}
	if _, err := b.Make(t.Context(), request(dept, "k2"), dept, ask(sm3)); err != nil {
		t.Errorf("the grant was spent more than once: %v", err)
	}
	if _, err := b.Make(t.Context(), request(dept, "k3"), dept, ask(sm3)); !errors.Is(err, access.ErrGrantSpent) {
		t.Errorf("a third of two: %v", err)
	}
}

// TestLaw02NoReceiptBeforeItIsDurable: what cannot be kept is not given, and nothing of it stays.
func TestLaw02NoReceiptBeforeItIsDurable(t *testing.T) {
	b := newBank(t)
	b.grant("g", dept, 1)
	sm3 := b.file(b.codes[0], 1)
	for _, fail := range []error{store.ErrUnavailable, store.ErrReadOnly, store.ErrClock, store.ErrUnknownOutcome, store.ErrFull} {
		b.gate.fail = fail
		if r, err := b.Make(t.Context(), request(dept, "k"), dept, ask(sm3)); !errors.Is(err, fail) || r.DER != nil {
			t.Errorf("%v: %+v, %v", fail, r, err)
		}
	}
	b.gate.fail = nil
	if _, err := b.Make(t.Context(), request(dept, "k"), dept, ask(sm3)); err != nil {
		t.Error(err)
	}
}

func TestReceiptsRefused(t *testing.T) {
	b := newBank(t)
	b.grant("g", dept, 5)
	sm3 := b.file(b.codes[0], 1)
	for name, c := range map[string]struct {
		actor access.Actor
		ask   receipt.ArchiveRequest
		want  error
	}{
		"no digest":           {dept, receipt.ArchiveRequest{Purpose: purpose, BizNo: "1"}, receipt.ErrForm},
		"no purpose":          {dept, receipt.ArchiveRequest{SM3: sm3, BizNo: "1"}, receipt.ErrForm},
		"no business number":  {dept, receipt.ArchiveRequest{SM3: sm3, Purpose: purpose}, receipt.ErrForm},
		"a control character": {dept, receipt.ArchiveRequest{SM3: sm3, Purpose: purpose, BizNo: "1\n2"}, receipt.ErrForm},
		"too long":            {dept, receipt.ArchiveRequest{SM3: sm3, Purpose: purpose, BizNo: strings.Repeat("1", 65)}, receipt.ErrForm},
		"another purpose":     {dept, receipt.ArchiveRequest{SM3: sm3, Purpose: "演示.别的", BizNo: "1"}, access.ErrNotEntitled},
		"no grant":            {other, ask(sm3), access.ErrNotEntitled},
		"an officer":          {officer, ask(sm3), access.ErrNotEntitled},
		"a stranger":          {access.Actor{Client: strings.Repeat("c", 64), Role: access.RoleDepartment}, ask(sm3), access.ErrNotEntitled},
		"no such file":        {dept, ask(hex.EncodeToString(make([]byte, 32))), licence.ErrNoFile},
	} {
		if r, err := b.Make(t.Context(), request(c.actor, name), c.actor, c.ask); !errors.Is(err, c.want) || r.DER != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	none := b.cfg
	none.Statements = nil
	if _, err := receipt.New(none).Make(t.Context(), request(dept, "k"), dept, ask(sm3)); !errors.Is(err, receipt.ErrNone) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := b.acc.WithdrawGrant(t.Context(), nil, officer, "g", "示例"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Make(t.Context(), request(dept, "w"), dept, ask(sm3)); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a withdrawn grant: %v", err)
	}
}

// feed reads everything that a client's feed has, from a cursor, in pages of one.
func (b *bank) feed(a access.Actor, cursor string) (news []receipt.ArchivedChange, next string) {
	b.Helper()
	for {
		c, err := b.Changed(context.Background(), a, time.Time{}, cursor, 1)
		b.must(err)
		news, cursor = append(news, c.Items...), c.Next
		if !c.Until.IsZero() {
			return news, cursor
		}
	}
}

// TestChanges: a client hears of what it archived, once it changes, and of nothing else; the cursor is all there is to keep.
func TestChanges(t *testing.T) {
	b := newBank(t)
	b.grant("g", dept, 5)
	b.grant("h", other, 5)
	sm3 := b.file(b.codes[0], 1)
	first, err := b.Make(t.Context(), request(dept, "k"), dept, ask(sm3))
	b.must(err)
	if _, err := b.Make(t.Context(), request(other, "k"), other, ask(b.file(b.codes[1], 1))); err != nil {
		t.Fatal(err)
	}
	b.clock = b.clock.Add(time.Hour)
	news, cursor := b.feed(dept, "")
	if len(news) != 0 {
		t.Errorf("news of what was archived as it stands: %+v", news)
	}
	b.event(b.codes[0], licence.KindRevoked)
	b.event(b.codes[1], licence.KindDormant)
	if news, _ := b.feed(dept, cursor); len(news) != 0 {
		t.Errorf("the feed runs ahead of what is being committed: %+v", news)
	}
	b.clock = b.clock.Add(time.Hour)
	b.Office = receipt.New(b.cfg) // nothing is in memory
	news, cursor = b.feed(dept, cursor)
	if len(news) != 1 || news[0].USCC != b.codes[0] || news[0].Status != licence.RevokedOpen || news[0].Version != 2 || news[0].Archived != 1 || news[0].Receipt != first.ID {
		t.Errorf("%+v", news)
	}
	if news, _ := b.feed(dept, cursor); len(news) != 0 {
		t.Errorf("twice: %+v", news)
	}
	if news, _ := b.feed(other, ""); len(news) != 1 || news[0].USCC != b.codes[1] {
		t.Errorf("the other client: %+v", news)
	}
	if _, err := b.Changed(t.Context(), officer, time.Time{}, "", 10); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("an officer: %v", err)
	}
	if _, err := b.Changed(t.Context(), dept, time.Time{}, "x", 10); !errors.Is(err, licence.ErrCursor) {
		t.Errorf("a cursor made up: %v", err)
	}
}

// BenchmarkSignatures is what BenchmarkReceipts is held against: the token's own signatures, each verified, from as many sides.
func BenchmarkSignatures(b *testing.B) {
	h := newBank(b)
	key := h.key(keystore.PurposeMaker, hsm.SM2)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := key.Sign(context.Background(), []byte("演示数据")); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signatures/s")
}

// BenchmarkReceipts gives receipts at once from several sides: two signatures in the token, the statement's and the time stamp's, each
// verified, and a durable commit.
func BenchmarkReceipts(b *testing.B) {
	h := newBank(b)
	h.grant("g", dept, 1<<40)
	sm3 := h.file(h.codes[0], 1)
	var n sync.Mutex
	next := 0
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Lock()
			next++
			key := fmt.Sprint(b.N, "-", next)
			n.Unlock()
			if _, err := h.Make(context.Background(), request(dept, key), dept, ask(sm3)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}
