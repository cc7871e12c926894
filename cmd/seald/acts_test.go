package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// bureau is an appliance with its three officers' keys.
type bureau struct {
	*appliance
	t    testing.TB
	plan *Plan
	keys map[access.Role]*ecdsa.PrivateKey
	n    int // of ceremonies
}

func newBureau(t testing.TB) *bureau {
	t.Helper()
	tok, dir := softhsmtest.New(t), t.TempDir() // the token stands until the daemon has let go of it
	b := &bureau{t: t, keys: map[access.Role]*ecdsa.PrivateKey{}, plan: &Plan{State: filepath.Join(dir, "state"), Bureau: "示例局", Hosts: []string{"127.0.0.1"},
		Config: PlanConfig{Mode: "demo", Division: "410300", Anchor: "token", Token: TokenConfig{Module: tok.Module, Profile: "softhsm2-sm2", Label: tok.Label, PINFile: tok.PINFile}}}}
	source, err := softkey.Generate(nil)
	b.must(err)
	pinned := []string{hex.EncodeToString(source.Public().Point())}
	b.plan.Config.Sources = SourcesConfig{Registration: pinned, PublicSecurity: pinned, ELicence: pinned}
	for _, role := range []access.Role{access.RoleSystem, access.RoleSecurity, access.RoleAudit} {
		key, csr := b.request()
		b.keys[role] = key
		at := filepath.Join(dir, string(role))
		b.must(os.WriteFile(at+".csr", []byte(csr), 0o600))
		b.plan.Clients = append(b.plan.Clients, PlanClient{Name: "示例 " + string(role), Role: string(role), Person: string(role), CSR: at + ".csr", Certificate: at + ".crt"})
	}
	b.must(initialise(t.Context(), b.plan, slog.New(slog.DiscardHandler), func(string) {}))
	b.start()
	return b
}

func (b *bureau) request() (*ecdsa.PrivateKey, string) {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	b.must(err)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func (b *bureau) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// start is one of the daemon without its server.
func (b *bureau) start() {
	b.t.Helper()
	cfg, err := LoadConfig(filepath.Join(b.plan.State, "seald.yaml"))
	b.must(err)
	a, err := build(b.t.Context(), cfg, slog.New(slog.DiscardHandler))
	b.must(err)
	b.appliance = a
	b.must(a.start(b.t.Context()))
	b.t.Cleanup(func() {
		if b.appliance == a {
			a.close(context.Background())
		}
	})
}

// die ends the process as a kill does: nothing is written any more.
func (b *bureau) die() {
	b.t.Helper()
	b.must(errors.Join(closeTokens(b.tokens), b.store.Close()))
	b.appliance = nil
}

func (b *bureau) restart() {
	b.t.Helper()
	b.must(b.appliance.close(b.t.Context()))
	b.start()
}

func (b *bureau) actor(role access.Role) access.Actor {
	spki, err := x509.MarshalPKIXPublicKey(b.keys[role].Public())
	b.must(err)
	return access.Actor{Client: access.ClientID(spki), Role: role}
}

// approved drafts a plan of one step and has whoever may approve it.
func (b *bureau) approved(asker access.Role, step string) ceremony.Ceremony {
	b.t.Helper()
	b.n++
	expires := time.Now().UTC().Add(time.Hour).Truncate(time.Second)
	text := fmt.Sprintf("ceremony: 1\nappliance: sealkeeper-410300\ntitle: 示例 %d\nreason: 演示数据\nexpires: %s\napprovals: 2\nsteps:\n  - %s\n", b.n,
		expires.Format("2006-01-02T15:04:05Z"), strings.ReplaceAll(step, "\n", "\n    "))
	c, err := b.ceremonies.Draft(b.t.Context(), nil, b.actor(asker), text)
	b.must(err)
	for role, key := range b.keys {
		if role == asker {
			continue
		}
		msg, err := ceremony.Statement{Ceremony: c.ID, Appliance: "sealkeeper-410300", Client: b.actor(role).Client, Expires: expires}.Canonical()
		b.must(err)
		d := sha256.Sum256(msg)
		sig, err := ecdsa.SignASN1(rand.Reader, key, d[:])
		b.must(err)
		spki, err := x509.MarshalPKIXPublicKey(key.Public())
		b.must(err)
		c, err = b.ceremonies.Approve(b.t.Context(), nil, b.actor(role), c.ID, ceremony.Given{Key: spki, Expires: expires, Signature: sig})
		b.must(err)
	}
	return c
}

// carry has a plan of one step approved and carried out.
func (b *bureau) carry(asker access.Role, step string) (ceremony.Ceremony, error) {
	b.t.Helper()
	return b.ceremonies.Execute(b.t.Context(), nil, b.actor(asker), b.approved(asker, step).ID)
}

func (b *bureau) key(p keystore.Purpose) *keystore.Key {
	b.t.Helper()
	k, err := b.appliance.keys.ByPurpose(b.t.Context(), p)
	b.must(err)
	return k
}

// held reports whether the token holds a private key under the identifier.
func (b *bureau) held(id keystore.ID) bool {
	b.t.Helper()
	all, err := b.tokens[0].Token.Objects(b.t.Context())
	b.must(err)
	for _, o := range all {
		if o.ID == id && o.Class == "private" {
			return true
		}
	}
	return false
}

// TestRenewAuditKey: the log stays verifiable over a change of its key, with the process killed between the commit and the first signature of the
// new key.
func TestRenewAuditKey(t *testing.T) {
	b := newBureau(t)
	old := b.key(keystore.PurposeAudit)
	c := b.approved(access.RoleSystem, "action: renew-key\npurpose: audit")
	dying := b.acts()
	renew := dying[ceremony.RenewKey]
	renew.Finish = func(context.Context, ceremony.Running, json.RawMessage) error { return errors.New("killed") }
	dying[ceremony.RenewKey] = renew
	desk, err := ceremony.New(ceremony.Config{Store: b.store, Access: b.access, Log: b.audit, Appliance: b.cfg.Audience, Now: time.Now, Acts: dying})
	b.must(err)
	if _, err := desk.Execute(t.Context(), nil, b.actor(access.RoleSystem), c.ID); err == nil {
		t.Fatal("not killed")
	}
	b.die()
	b.start()
	if why := b.audit.Recovering(); why != "" {
		t.Fatalf("the anchor of the former key put the log into recovery: %s", why)
	}
	done, err := b.ceremonies.Execute(t.Context(), nil, b.actor(access.RoleSystem), c.ID)
	if err != nil || done.State != ceremony.Executed {
		t.Fatalf("%s, %v", done.State, err)
	}
	now := b.key(keystore.PurposeAudit)
	if now.ID() == old.ID() || !b.held(old.ID()) || !b.held(now.ID()) {
		t.Fatalf("old %s (held %v), new %s", old.ID(), b.held(old.ID()), now.ID())
	}
	if _, err := audit.OpenCheckpoint(b.audit.Checkpoint(), now.Public()); err != nil {
		t.Errorf("the new key does not sign: %v", err)
	}
	tr, err := b.ceremonies.Transcript(t.Context(), b.actor(access.RoleAudit), c.ID)
	b.must(err)
	raw, err := json.Marshal(tr)
	b.must(err)
	if _, err := ceremony.ReadTranscript(raw, []*gm.PublicKey{now.Public()}); err != nil {
		t.Errorf("transcript: %v", err)
	}
	done, err = b.carry(access.RoleSystem, "action: destroy-key\nkey: "+old.ID().String())
	if err != nil || b.held(old.ID()) {
		t.Errorf("destroying the former key: %v, held %v", err, b.held(old.ID()))
	}
	b.restart()
	b.must(b.appliance.close(t.Context()))
	b.appliance = nil
	r, err := audit.VerifyFile(t.Context(), filepath.Join(b.plan.State, "sealkeeper.db"), now.Public(), audit.Options{FormerKeys: []*gm.PublicKey{old.Public()}})
	if err != nil || r.Bad != nil || r.Covered != r.Records {
		t.Errorf("the log: %+v, %v, %v", r, r.Bad, err)
	}
	if r, err := audit.VerifyFile(t.Context(), filepath.Join(b.plan.State, "sealkeeper.db"), now.Public(), audit.Options{}); err != nil || r.Bad == nil {
		t.Errorf("without the former key its checkpoints passed: %+v, %v", r, err)
	}
}

// TestForgedFormerKey: a former audit key that is in the store file but not in the token proves no anchor.
func TestForgedFormerKey(t *testing.T) {
	b := newBureau(t)
	forger, err := softkey.Generate(nil)
	b.must(err)
	var rec map[string]any
	own := b.key(keystore.PurposeAudit).ID()
	it, err := b.store.Get(t.Context(), keystore.Collections()[0], own[:])
	b.must(err)
	b.must(json.Unmarshal(it.Value, &rec))
	id := keystore.ID{1, 2, 3}
	rec["id"], rec["retired"] = id.String(), time.Now().UTC()
	rec["birth"].(map[string]any)["public"] = forger.Public().Point()
	value, err := json.Marshal(rec)
	b.must(err)
	_, err = b.store.Commit(t.Context(), store.Mutation{Put: []store.Put{{Collection: keystore.Collections()[0], Key: id[:], Value: value}}})
	b.must(err)
	former, err := formerAudit(t.Context(), b.appliance.keys, b.store, slog.New(slog.DiscardHandler))
	if err != nil || len(former) != 0 {
		t.Errorf("%d former keys count, %v", len(former), err)
	}
}

// TestRenewMaker: killed before the commit nothing is left; carried out, the next start makes seals with the new key and trusts the old one's.
func TestRenewMaker(t *testing.T) {
	b := newBureau(t)
	old, oldCert := b.key(keystore.PurposeMaker), b.issued[2]
	c := b.approved(access.RoleSystem, "action: renew-key\npurpose: seal-maker")
	p, err := b.prepareRenewal(t.Context(), ceremony.Running{Step: ceremony.Step{Action: ceremony.RenewKey, Purpose: "seal-maker"}, Ref: "ceremony/" + c.ID + "/1",
		By: audit.Appliance("test")})
	b.must(err)
	lost, err := hex.DecodeString(p.Result.(renewed).Key)
	b.must(err)
	b.die() // a key in the token, and no commit
	b.start()
	if b.held(keystore.ID(lost)) || b.key(keystore.PurposeMaker).ID() != old.ID() {
		t.Error("the start left the key that no commit brought")
	}
	done, err := b.ceremonies.Execute(t.Context(), nil, b.actor(access.RoleSystem), c.ID)
	b.must(err)
	var r renewed
	b.must(json.Unmarshal(done.Steps[0].Result, &r))
	now := b.key(keystore.PurposeMaker)
	if r.Key != now.ID().String() || r.Retired != old.ID().String() || r.InForce != "next-start" || now.ID() == old.ID() {
		t.Errorf("result %+v, maker %s", r, now.ID())
	}
	b.restart()
	cert, err := gm.ParseCertificate(b.issued[2])
	b.must(err)
	if pub, err := gm.CertificateKey(cert); err != nil || string(pub.Point()) != string(now.Public().Point()) {
		t.Errorf("the maker's certificate is not the new key's: %v", err)
	}
	makers := b.judge.options().Makers
	if len(makers) != 2 || string(makers[1].Raw) != string(oldCert) {
		t.Errorf("%d makers are trusted", len(makers))
	}
	for _, k := range []*keystore.Key{now, b.key(keystore.PurposeSM2Root), b.key(keystore.PurposeTLSClient)} {
		if _, err := b.carry(access.RoleSystem, "action: destroy-key\nkey: "+k.ID().String()); !errors.Is(err, ceremony.ErrRefused) || !b.held(k.ID()) {
			t.Errorf("destroying the %s key in use: %v", k.Purpose(), err)
		}
	}
	if _, err := b.carry(access.RoleSystem, "action: destroy-key\nkey: "+old.ID().String()); err != nil || b.held(old.ID()) {
		t.Errorf("destroying the former maker: %v", err)
	}
	if _, err := b.carry(access.RoleSystem, "action: destroy-key\nkey: "+old.ID().String()); !errors.Is(err, ceremony.ErrRefused) {
		t.Errorf("destroying it again: %v", err)
	}
	b.restart()
	if n := len(b.judge.options().Makers); n != 2 {
		t.Errorf("%d makers are trusted once the former key is destroyed", n)
	}
}

// TestRenewStamps: the keys of time stamps, of both algorithms, that of statements, and what is not renewed this way.
func TestRenewStamps(t *testing.T) {
	b := newBureau(t)
	for _, p := range []keystore.Purpose{keystore.PurposeTSASM2, keystore.PurposeTSAP256, keystore.PurposeStatement} {
		old := b.key(p).ID()
		if _, err := b.carry(access.RoleSystem, "action: renew-key\npurpose: "+string(p)); err != nil || b.key(p).ID() == old {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []string{"seal", "sm2-root", "tls-client", "impression-2026", "nothing"} {
		if _, err := b.carry(access.RoleSystem, "action: renew-key\npurpose: "+p); !errors.Is(err, ceremony.ErrRefused) {
			t.Errorf("%s: %v", p, err)
		}
	}
	b.restart() // openStamps and openStatements refuse certificates that are for something else
}

// TestDestroyOrphan: an object that nobody claims goes; one with a record does not, and neither does one that is not there.
func TestDestroyOrphan(t *testing.T) {
	b := newBureau(t)
	stray := keystore.ID{9, 9, 9}
	_, err := b.tokens[0].Token.Generate(t.Context(), hsm.GenerateRequest{ID: stray, Label: "stray", Algorithm: hsm.SM2})
	b.must(err)
	orphans, err := b.appliance.keys.Orphans(t.Context())
	if err != nil || len(orphans) != 1 || orphans[0].ID != stray {
		t.Fatalf("orphans %+v, %v", orphans, err)
	}
	for _, k := range []string{b.key(keystore.PurposeMaker).ID().String(), strings.Repeat("0", 32), strings.Repeat("ab", 16)} {
		if _, err := b.carry(access.RoleSystem, "action: destroy-orphan\nkey: '"+k+"'"); !errors.Is(err, ceremony.ErrRefused) {
			t.Errorf("%s: %v", k, err)
		}
	}
	if _, err := b.carry(access.RoleSystem, "action: destroy-key\nkey: "+stray.String()); !errors.Is(err, ceremony.ErrRefused) {
		t.Errorf("an orphan as a key: %v", err)
	}
	if _, err := b.carry(access.RoleSystem, "action: destroy-orphan\nkey: "+stray.String()); err != nil || b.held(stray) {
		t.Errorf("%v, held %v", err, b.held(stray))
	}
	if err := b.finishOrphan(t.Context(), ceremony.Running{Step: ceremony.Step{Key: stray.String()}, By: b.actor(access.RoleSystem).Audit(),
		Second: b.actor(access.RoleAudit).Audit(), Reason: "x"}, nil); err != nil {
		t.Errorf("once more after a crash: %v", err)
	}
}

// TestClearLatch: the latch that was decided on is cleared; a later one of the same token is not, though a crash makes the step run again.
func TestClearLatch(t *testing.T) {
	b := newBureau(t)
	latch := func(serial, key string) {
		t.Helper()
		l, err := json.Marshal(hsm.Latch{Serial: serial, PIN: "00", Key: key, Code: "CKR_PIN_INCORRECT", Time: time.Now()})
		b.must(err)
		b.must(os.WriteFile(b.cfg.Token.LatchFile, l, 0o600))
	}
	for name, set := range map[string]func(){"none": func() {}, "another token's": func() { latch("other", "aa") }} {
		set()
		if _, err := b.carry(access.RoleSystem, "action: clear-pin-latch\ntoken: '1234'"); !errors.Is(err, ceremony.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	latch("1234", "bb")
	done, err := b.carry(access.RoleSystem, "action: clear-pin-latch\ntoken: '1234'")
	if err != nil || hsm.Latched(b.cfg.Token.LatchFile) != nil {
		t.Fatalf("%v, %v", err, hsm.Latched(b.cfg.Token.LatchFile))
	}
	latch("1234", "cc")
	if err := b.finishLatch(t.Context(), ceremony.Running{}, done.Steps[0].Result); err != nil || hsm.Latched(b.cfg.Token.LatchFile) == nil {
		t.Errorf("a later latch was cleared by an earlier decision: %v", err)
	}
}

// TestRegisterOperator: two officers bring a third person in; the certificate is in the result, and no person gets a second role.
func TestRegisterOperator(t *testing.T) {
	b := newBureau(t)
	step := func(person, csr string) string {
		return "action: register-operator\nname: 示例 新员\nrole: operator-audit\nperson: " + person + "\ncsr: |\n  " + strings.ReplaceAll(strings.TrimSpace(csr), "\n", "\n  ")
	}
	key, csr := b.request()
	done, err := b.carry(access.RoleSecurity, step("new", csr))
	b.must(err)
	var r appointed
	b.must(json.Unmarshal(done.Steps[0].Result, &r))
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	b.must(err)
	if c, _, err := b.access.Client(t.Context(), spki); err != nil || c.ID != r.Client || c.Role != access.RoleAudit || c.Certificate != r.Certificate {
		t.Errorf("registered %+v, %v", c, err)
	}
	_, csr = b.request()
	if _, err := b.carry(access.RoleSecurity, step("operator-system", csr)); !errors.Is(err, access.ErrTwoRoles) {
		t.Errorf("a second role: %v", err)
	}
	if _, err := b.access.Register(t.Context(), nil, b.actor(access.RoleSecurity), access.Client{ID: access.ClientID([]byte("x")), Name: "示例", Role: access.RoleSystem,
		Person: "p"}); !errors.Is(err, access.ErrOperatorAlone) {
		t.Errorf("by one officer alone: %v", err)
	}
}
