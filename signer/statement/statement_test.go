package statement_test

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/statement"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/stated"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

// room is a statement key in a throw-away token under a hierarchy of its own, with somebody who stamps.
type room struct {
	*statement.Service
	cfg  statement.Config
	root *gm.Certificate
	at   time.Time
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{at: time.Now().UTC().Truncate(time.Second)}
	key := tokenKey(t)
	root, issuing := got(softkey.Generate(nil))(t), got(softkey.Generate(nil))(t)
	name := func(cn string) pkix.Name {
		return pkix.Name{Country: []string{"CN"}, Organization: []string{"示例局"}, CommonName: cn}
	}
	rootDER, err := ca.Root(t.Context(), soft{root}, name("示例根"), r.at.AddDate(0, -1, 0), ca.DefaultLifetimes().Root)
	if err != nil {
		t.Fatal(err)
	}
	issuingDER, err := ca.Issuing(t.Context(), soft{root}, rootDER, issuing.Public(), name("示例签发"), r.at, ca.DefaultLifetimes().Issuing)
	if err != nil {
		t.Fatal(err)
	}
	r.root = got(gm.ParseCertificate(rootDER))(t)
	authority, err := ca.NewEmbedded(soft{issuing}, ca.Config{RootDER: rootDER, IssuingDER: issuingDER, Lifetimes: ca.DefaultLifetimes(), Subject: ca.DefaultSubjectTemplate(), Now: func() time.Time { return r.at }})
	if err != nil {
		t.Fatal(err)
	}
	der := got(authority.IssueStatement(t.Context(), key.Public(), name("示例声明")))(t)
	clock := func() time.Time { return r.at }
	stamps := got(softkey.Generate(nil))(t)
	stampDER := got(authority.IssueTSA(t.Context(), stamps.Public(), name("示例时间戳")))(t)
	tsa := got(timestamp.NewAuthority(timestamp.AuthorityConfig{Key: soft{stamps}, Certificate: stampDER, Chain: [][]byte{issuingDER}, Serials: &counter{}, Policy: "1.2.3.4.1", Now: clock}))(t)
	r.cfg = statement.Config{Key: key, Certificate: der, Chain: [][]byte{issuingDER}, Appliance: "示例一体机", Now: clock,
		Stamp: func(ctx context.Context, sm3 []byte) ([]byte, error) { return tsa.Stamp(ctx, timestamp.SM3, sm3) }}
	r.Service = got(statement.New(r.cfg))(t)
	return r
}

func got[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// soft signs as a key of the authorities does.
type soft struct{ *softkey.Key }

func (s soft) Sign(_ context.Context, message []byte) ([]byte, error) { return s.Key.Sign(message) }

type counter struct{ n uint64 }

func (c *counter) Next(context.Context) (uint64, error) { c.n++; return c.n, nil }

func tokenKey(t *testing.T) *keystore.Key {
	t.Helper()
	k := softhsmtest.New(t)
	profile := got(got(firmware.Embedded())(t).Profile("softhsm2-sm2"))(t)
	token := got(hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")}))(t)
	t.Cleanup(func() { token.Close() })
	st := got(store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store.db"), Create: true, Collections: keystore.Collections()}))(t)
	t.Cleanup(func() { st.Close() })
	keys := got(keystore.Open(t.Context(), token, st, slog.New(slog.DiscardHandler)))(t)
	return got(keys.Create(t.Context(), audit.Appliance("test"), keystore.Want{Purpose: keystore.PurposeStatement, Label: "statement", Algorithm: hsm.SM2}))(t)
}

type body struct {
	Zeta  string `json:"zeta"`
	Alpha int64  `json:"alpha"`
}

func (r *room) trust() stated.Trust {
	return stated.Trust{Roots: []*gm.Certificate{r.root}, Now: r.at}
}

func (r *room) sign(t *testing.T, c statement.Claim) statement.Signed {
	t.Helper()
	return got(r.Sign(t.Context(), c))(t)
}

var claim = statement.Claim{Kind: "example/1", ID: "r-1", Body: body{"演示数据 <&>", 9007199254740993}, Stamp: true}

// TestStatement: what was stated is read back by a reader that shares nothing with the writer, and its content has its names in order.
func TestStatement(t *testing.T) {
	r := newRoom(t)
	for _, stamped := range []bool{true, false} {
		c := claim
		c.Stamp = stamped
		signed := r.sign(t, c)
		var b body
		s, err := stated.Open(signed.DER, r.trust(), "example/1", &b)
		if err != nil || b != claim.Body || s.ID != "r-1" || s.Appliance != "示例一体机" || !s.IssuedAt.Equal(r.at) || s.StampedAt.Equal(r.at) != stamped {
			t.Fatalf("stamped %v: %+v %+v, %v", stamped, s, b, err)
		}
		text := string(signed.Content)
		if strings.Index(text, "alpha") > strings.Index(text, "zeta") || !strings.Contains(text, "9007199254740993") {
			t.Errorf("content %s", text)
		}
	}
}

// TestJudge: every way in which a statement is not what it seems has its name and its verdict.
func TestJudge(t *testing.T) {
	r := newRoom(t)
	signed := r.sign(t, claim)
	other := stated.Trust{Roots: []*gm.Certificate{foreignRoot(t, r.at)}, Now: r.at}
	late := r.trust()
	late.Now = r.at.AddDate(30, 0, 0)
	early := r.trust()
	early.Now = r.at.Add(-time.Hour)
	for name, c := range map[string]struct {
		der   []byte
		trust stated.Trust
		want  verify.Verdict
		code  string
	}{
		"sound":             {signed.DER, r.trust(), verify.Valid, ""},
		"sound, years on":   {signed.DER, late, verify.Valid, ""},
		"no anchor":         {signed.DER, stated.Trust{Now: r.at}, verify.IndeterminateResult, verify.CodeSignerCertificate},
		"another anchor":    {signed.DER, other, verify.IndeterminateResult, verify.CodeSignerCertificate},
		"of the future":     {signed.DER, early, verify.Invalid, verify.CodeSigningTime},
		"empty":             {nil, r.trust(), verify.Invalid, verify.CodeStructure},
		"garbage":           {[]byte("garbage"), r.trust(), verify.Invalid, verify.CodeStructure},
		"bytes behind":      {append(bytes.Clone(signed.DER), 0), r.trust(), verify.Invalid, verify.CodeStructure},
		"another body":      {bytes.Replace(signed.DER, []byte("演示数据"), []byte("演示数字"), 1), r.trust(), verify.Invalid, verify.CodeSignatureValue},
		"another stamp":     {swapStamp(t, r), r.trust(), verify.Invalid, verify.CodeTimestamp},
		"no statement":      {r.document(t), r.trust(), verify.Invalid, verify.CodeStructure},
		"not canonical":     {r.content(t, `{"body":{},"appliance":"x","id":"x","issued_at":"2026-01-01T00:00:00Z","kind":"x/1"}`), r.trust(), verify.Invalid, verify.CodeStructure},
		"a name twice":      {r.content(t, `{"appliance":"x","body":{"a":1,"a":2},"id":"x","issued_at":"2026-01-01T00:00:00Z","kind":"x/1"}`), r.trust(), verify.Invalid, verify.CodeStructure},
		"an unknown name":   {r.content(t, `{"appliance":"x","body":{},"id":"x","issued_at":"2026-01-01T00:00:00Z","kind":"x/1","more":1}`), r.trust(), verify.Invalid, verify.CodeStructure},
		"times that differ": {r.content(t, `{"appliance":"x","body":{},"id":"x","issued_at":"2026-01-01T00:00:00Z","kind":"x/1"}`), r.trust(), verify.Invalid, verify.CodeSigningTime},
	} {
		_, report := stated.Judge("x", c.der, c.trust)
		got := ""
		for _, k := range report.Signatures[0].Checks {
			if got == "" && (k.Result == verify.Fail || k.Result == verify.Indeterminate && report.Verdict != verify.Invalid) {
				got = k.Code
			}
		}
		if c.code == verify.CodeSignerCertificate && got == verify.CodeTimestamp {
			got = c.code // the stamp has the same anchors
		}
		if report.Verdict != c.want || got != c.code {
			t.Errorf("%s: %s for %q, want %s for %q: %+v", name, report.Verdict, got, c.want, c.code, report.Signatures[0].Checks)
		}
	}
	var b body
	if _, err := stated.Open(signed.DER, r.trust(), "other/1", &b); !errors.Is(err, stated.ErrRefused) {
		t.Errorf("another kind: %v", err)
	}
	if _, err := stated.Open(signed.DER, r.trust(), "example/1", &struct{ Zeta string }{}); !errors.Is(err, stated.ErrRefused) {
		t.Errorf("a body with unknown names: %v", err)
	}
	if _, err := stated.Open(signed.DER, other, "example/1", &b); !errors.Is(err, stated.ErrRefused) {
		t.Errorf("another anchor: %v", err)
	}
}

// foreignRoot is an anchor that vouches for nothing here.
func foreignRoot(t *testing.T, at time.Time) *gm.Certificate {
	t.Helper()
	k := got(softkey.Generate(nil))(t)
	der := got(ca.Root(t.Context(), soft{k}, pkix.Name{CommonName: "示例别根"}, at, ca.DefaultLifetimes().Root))(t)
	return got(gm.ParseCertificate(der))(t)
}

// swapStamp puts the time stamp of another statement of the same length under this one.
func swapStamp(t *testing.T, r *room) []byte {
	t.Helper()
	foreign := r.cfg
	foreign.Stamp = func(ctx context.Context, _ []byte) ([]byte, error) { return r.cfg.Stamp(ctx, make([]byte, 32)) }
	s := got(statement.New(foreign))(t)
	return got(s.Sign(t.Context(), claim))(t).DER
}

// document is SignedData over data by the statement key: what its certificate must not be good for here.
func (r *room) document(t *testing.T) []byte { return r.raw(t, []byte("示例"), nil) }

func (r *room) content(t *testing.T, text string) []byte {
	return r.raw(t, []byte(text), statement.OIDContent)
}

func (r *room) raw(t *testing.T, content []byte, kind asn1.ObjectIdentifier) []byte {
	t.Helper()
	d := got(cms.Prepare(cms.Request{Form: cms.RFC, Algorithm: cms.SM2, Certificate: r.cfg.Certificate, Chain: r.cfg.Chain, Content: content, Digest: gm.SM3(content),
		ContentType: kind, SigningTime: r.at, SigningCertificateV2: true}))(t)
	return got(d.Assemble(got(r.cfg.Key.Sign(t.Context(), d.Attributes()))(t), nil))(t)
}

// TestClaimsRefused: nothing is signed that is no statement.
func TestClaimsRefused(t *testing.T) {
	r := newRoom(t)
	for name, change := range map[string]func(*statement.Claim){
		"no kind":         func(c *statement.Claim) { c.Kind = "" },
		"a kind in words": func(c *statement.Claim) { c.Kind = "Receipt of" },
		"no identifier":   func(c *statement.Claim) { c.ID = "" },
		"no body":         func(c *statement.Claim) { c.Body = nil },
		"no object":       func(c *statement.Claim) { c.Body = []int{1} },
		"null":            func(c *statement.Claim) { c.Body = (*body)(nil) },
		"no JSON":         func(c *statement.Claim) { c.Body = map[string]any{"f": func() {}} },
	} {
		c := claim
		change(&c)
		if s, err := r.Sign(t.Context(), c); !errors.Is(err, statement.ErrClaim) || s.DER != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	mute := r.cfg
	mute.Stamp = nil
	if _, err := got(statement.New(mute))(t).Sign(t.Context(), claim); !errors.Is(err, statement.ErrClaim) {
		t.Errorf("nobody stamps: %v", err)
	}
	down := errors.New("示例 down")
	mute.Stamp = func(context.Context, []byte) ([]byte, error) { return nil, down }
	if s, err := got(statement.New(mute))(t).Sign(t.Context(), claim); !errors.Is(err, down) || s.DER != nil {
		t.Errorf("the stamp fails: %v", err)
	}
	r.at = r.at.AddDate(30, 0, 0)
	if _, err := r.Sign(t.Context(), claim); !errors.Is(err, statement.ErrCertificate) {
		t.Errorf("an expired certificate: %v", err)
	}
}

// TestLaw11OnlyStatementsUnderItsCertificate: a key whose certificate is for anything else does not state.
func TestLaw11OnlyStatementsUnderItsCertificate(t *testing.T) {
	r := newRoom(t)
	k := got(softkey.Generate(nil))(t)
	plain := &gm.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例"}, NotBefore: r.at, NotAfter: r.at.AddDate(1, 0, 0), SignatureAlgorithm: gm.SM2WithSM3}
	der := got(gm.CreateCertificate(plain, plain, k.Public().ECDSA(), k.Signer()))(t)
	for name, c := range map[string][]byte{"no purpose": der, "the issuing authority": r.cfg.Chain[0], "garbage": []byte("x")} {
		cfg := r.cfg
		cfg.Certificate = c
		if _, err := statement.New(cfg); !errors.Is(err, statement.ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
