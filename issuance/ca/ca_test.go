package ca

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

var testNow = time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.FixedZone("CST", 8*3600))

// testKey is a software key in the shape that keystore's keys have.
type testKey struct {
	*softkey.Key
	signs int
	spoil func(der []byte) []byte
}

func (k *testKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k.signs++
	der, err := k.Key.Sign(message)
	if err == nil && k.spoil != nil {
		der = k.spoil(der)
	}
	return der, err
}

func newKey(t testing.TB) *testKey {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &testKey{Key: k}
}

func testName(cn string) pkix.Name {
	return pkix.Name{Country: []string{"CN"}, Organization: []string{"示例市场监督管理局"}, CommonName: cn}
}

// hierarchy is a whole SM2 hierarchy with software keys.
type hierarchy struct {
	rootKey, issuingKey *testKey
	rootDER, issuingDER []byte
	*Embedded
}

func newHierarchy(t testing.TB, change func(*Config)) *hierarchy {
	t.Helper()
	ctx := context.Background()
	life := DefaultLifetimes()
	h := &hierarchy{rootKey: newKey(t), issuingKey: newKey(t)}
	var err error
	if h.rootDER, err = Root(ctx, h.rootKey, testName("示例根"), testNow, life.Root); err != nil {
		t.Fatal(err)
	}
	if h.issuingDER, err = Issuing(ctx, h.rootKey, h.rootDER, h.issuingKey.Public(), testName("示例签发"), testNow, life.Issuing); err != nil {
		t.Fatal(err)
	}
	cfg := Config{IssuingDER: h.issuingDER, RootDER: h.rootDER, Lifetimes: life, Subject: DefaultSubjectTemplate(), Now: func() time.Time { return testNow }}
	if change != nil {
		change(&cfg)
	}
	if h.Embedded, err = NewEmbedded(h.issuingKey, cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

const testName64 = "示例市洛河两岸数字经济技术开发与服务有限责任公司"

func testRequest(t testing.TB) Request {
	t.Helper()
	return Request{PublicKey: newKey(t).Public(), ESID: "41030000000001", Name: testName64, USCC: "91410300MA0000000A"}
}

func mustParse(t testing.TB, der []byte) *gm.Certificate {
	t.Helper()
	c, err := gm.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSealCertificate(t *testing.T) {
	h := newHierarchy(t, func(c *Config) {
		c.Endpoints = Endpoints{CRL: []string{"http://crl.example/1.crl"}, OCSP: []string{"http://ocsp.example"}}
	})
	r := testRequest(t)
	der, chain, err := h.Issue(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, der)
	if len(chain) != 2 || !bytes.Equal(chain[0], h.issuingDER) || !bytes.Equal(chain[1], h.rootDER) {
		t.Error("chain is not issuing, root")
	}
	if got := c.Subject.String(); got != "SERIALNUMBER=41030000000001,CN="+testName64+",O="+testName64+",C=CN" {
		t.Errorf("subject %s", got)
	}
	from := time.Date(2026, 5, 5, 23, 8, 9, 0, time.UTC)
	if !c.NotBefore.Equal(from) || !c.NotAfter.Equal(from.AddDate(3, 0, 0)) {
		t.Errorf("valid %s to %s", c.NotBefore, c.NotAfter)
	}
	if c.KeyUsage != gm.KeyUsageDigitalSignature|gm.KeyUsageContentCommitment || c.IsCA || !c.BasicConstraintsValid || len(c.ExtKeyUsage) != 0 {
		t.Errorf("usage %b, CA %v", c.KeyUsage, c.IsCA)
	}
	if n := len(c.SerialNumber.Bytes()); c.SerialNumber.Sign() <= 0 || n < 16 || n > 20 {
		t.Errorf("serial of %d octets", n)
	}
	if !bytes.Equal(c.AuthorityKeyId, h.issuing.SubjectKeyId) || len(c.SubjectKeyId) != 20 || c.CRLDistributionPoints[0] != "http://crl.example/1.crl" || c.OCSPServer[0] != "http://ocsp.example" {
		t.Error("key identifiers or endpoints")
	}
	if uscc, name, ok := Holder(c); !ok || uscc != r.USCC || name != r.Name {
		t.Errorf("holder %q %q %v", uscc, name, ok)
	}
	critical := map[string]bool{}
	for _, e := range c.Extensions {
		critical[e.Id.String()] = e.Critical
	}
	if !critical["2.5.29.15"] || !critical["2.5.29.19"] || critical["1.2.156.10260.4.1.4"] {
		t.Errorf("critical extensions %v", critical)
	}
	other, _, err := h.Issue(context.Background(), r)
	if err != nil || mustParse(t, other).SerialNumber.Cmp(c.SerialNumber) == 0 {
		t.Errorf("serial numbers repeat, %v", err)
	}
}

// TestAuthorities checks usages, path lengths, lifetimes and nesting of the hierarchy itself.
func TestAuthorities(t *testing.T) {
	h := newHierarchy(t, nil)
	ctx := context.Background()
	maker, err := h.IssueMaker(ctx, newKey(t).Public(), testName("示例制章"))
	if err != nil {
		t.Fatal(err)
	}
	audit, err := h.IssueAudit(ctx, newKey(t).Public(), testName("示例审计"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		der   []byte
		years int
		ca    bool
		path  int
		usage gm.KeyUsage
	}{
		"root":    {h.rootDER, 20, true, 1, usageAuthority},
		"issuing": {h.issuingDER, 15, true, 0, usageAuthority},
		"maker":   {maker, 10, false, -1, usageSign},
		"audit":   {audit, 5, false, -1, usageSign},
	} {
		got := mustParse(t, c.der)
		if !got.NotAfter.Equal(got.NotBefore.AddDate(c.years, 0, 0)) || got.IsCA != c.ca || got.MaxPathLen != c.path || got.KeyUsage != c.usage {
			t.Errorf("%s: %s to %s, CA %v, path %d, usage %b", name, got.NotBefore, got.NotAfter, got.IsCA, got.MaxPathLen, got.KeyUsage)
		}
	}
	roots, between := gm.NewCertPool(), gm.NewCertPool()
	roots.AddCert(mustParse(t, h.rootDER))
	between.AddCert(h.issuing)
	if _, err := mustParse(t, maker).Verify(gm.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: testNow.Add(time.Hour)}); err != nil {
		t.Errorf("maker's chain: %v", err)
	}
	m := mustParse(t, maker)
	for name, c := range map[string]struct {
		from, to time.Time
		want     error
	}{
		"within":         {m.NotBefore, m.NotAfter, nil},
		"ends later":     {m.NotBefore, m.NotAfter.Add(time.Second), ErrValidity},
		"begins earlier": {m.NotBefore.Add(-time.Second), m.NotAfter, ErrValidity},
		"empty":          {m.NotBefore, m.NotBefore, ErrValidity},
	} {
		if err := MakerCovers(m, c.from, c.to); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("maker covers, %s: %v", name, err)
		}
	}
}

func TestValidityRefusals(t *testing.T) {
	ctx := context.Background()
	h := newHierarchy(t, nil)
	at := func(from, to time.Time) Request {
		r := testRequest(t)
		r.NotBefore, r.NotAfter = from, to
		return r
	}
	for name, c := range map[string]struct {
		r    Request
		want error
	}{
		"a year":                {at(testNow, testNow.AddDate(1, 0, 0)), nil},
		"later start":           {at(testNow.AddDate(11, 0, 0), time.Time{}), nil},
		"before the issuer":     {at(testNow.Add(-time.Minute), testNow.AddDate(1, 0, 0)), ErrValidity},
		"ends with the issuer":  {at(h.issuing.NotAfter.AddDate(-3, 0, 0), time.Time{}), nil},
		"ends after the issuer": {at(h.issuing.NotAfter.AddDate(-3, 0, 1), time.Time{}), ErrValidity},
		"too long":              {at(testNow, testNow.AddDate(3, 0, 1)), ErrValidity},
		"ends at its start":     {at(testNow, testNow), ErrValidity},
		"ends before its start": {at(testNow, testNow.AddDate(-1, 0, 0)), ErrValidity},
	} {
		t.Run(name, func(t *testing.T) {
			before := h.issuingKey.signs
			der, _, err := h.Issue(ctx, c.r)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want != nil && (der != nil || h.issuingKey.signs != before) {
				t.Error("a refused certificate was signed")
			}
		})
	}
	if _, err := Issuing(ctx, h.rootKey, h.rootDER, newKey(t).Public(), testName("x"), testNow.Add(time.Second), DefaultLifetimes().Root); !errors.Is(err, ErrValidity) {
		t.Errorf("issuing authority outliving its root: %v", err)
	}
	short := newHierarchy(t, func(c *Config) { c.Lifetimes.Maker = Period{Years: 16} })
	if _, err := short.IssueMaker(ctx, newKey(t).Public(), testName("x")); !errors.Is(err, ErrValidity) {
		t.Errorf("maker outliving its issuer: %v", err)
	}
}

func TestSubjects(t *testing.T) {
	h := newHierarchy(t, nil)
	long := strings.Repeat("洛", 63) + "阳市" + strings.Repeat("x", 100) // 64 characters end inside a three-byte rune for whoever counts bytes
	for name, c := range map[string]struct {
		name, want string
		err        error
	}{
		"63 characters":   {strings.Repeat("章", 63), strings.Repeat("章", 63), nil},
		"64 characters":   {strings.Repeat("章", 64), strings.Repeat("章", 64), nil},
		"65 characters":   {strings.Repeat("章", 65), strings.Repeat("章", 64), nil},
		"mixed":           {long, strings.Repeat("洛", 63) + "阳", nil},
		"beyond the BMP":  {strings.Repeat("𠀀", 70), strings.Repeat("𠀀", 64), nil},
		"blank at the 64": {strings.Repeat("a", 63) + " b", strings.Repeat("a", 63), nil},
		"empty":           {"", "", ErrSubject},
		"control":         {"a\nb", "", ErrSubject},
		"not UTF-8":       {"a\xff", "", ErrSubject},
		"outer blank":     {" a", "", ErrSubject},
		"513 characters":  {strings.Repeat("a", 513), "", ErrSubject},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRequest(t)
			r.Name = c.name
			der, _, err := h.Issue(context.Background(), r)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			cert := mustParse(t, der)
			if cert.Subject.CommonName != c.want || cert.Subject.Organization[0] != c.want || !utf8.ValidString(cert.Subject.CommonName) {
				t.Errorf("CN %q, want %q", cert.Subject.CommonName, c.want)
			}
			if _, whole, ok := Holder(cert); !ok || whole != c.name {
				t.Errorf("whole name %q", whole)
			}
		})
	}
	for name, change := range map[string]func(*Request){
		"no esID": func(r *Request) { r.ESID = "" }, "long esID": func(r *Request) { r.ESID = strings.Repeat("1", 65) },
		"no code": func(r *Request) { r.USCC = "" }, "code with I": func(r *Request) { r.USCC = "91410300MI0000000A" },
		"lower case code": func(r *Request) { r.USCC = strings.ToLower(r.USCC) },
	} {
		r := testRequest(t)
		change(&r)
		if der, _, err := h.Issue(context.Background(), r); !errors.Is(err, ErrSubject) || der != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := testRequest(t)
	r.PublicKey = nil
	if _, _, err := h.Issue(context.Background(), r); !errors.Is(err, ErrPublicKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestSubjectTemplate(t *testing.T) {
	tmpl, err := ParseSubjectTemplate([]string{"C=CN", "ST=示例省", "O={uscc}{name}", "OU=演示数据", "CN={esid}"})
	if err != nil {
		t.Fatal(err)
	}
	h := newHierarchy(t, func(c *Config) { c.Subject = tmpl })
	r := testRequest(t)
	der, _, err := h.Issue(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, der)
	if got := c.Subject.String(); got != "CN=41030000000001,OU=演示数据,O="+cut(r.USCC+r.Name)+",ST=示例省,C=CN" {
		t.Errorf("subject %s", got)
	}
	for name, lines := range map[string][]string{
		"none": nil, "no CN": {"O=x"}, "unknown attribute": {"CN=x", "X=y"}, "unknown placeholder": {"CN={nam}"}, "no value": {"CN="}, "no equals": {"CN"},
		"too many": append(make([]string, 0, 17), strings.Split("CN=a"+strings.Repeat("|OU=b", 16), "|")...),
	} {
		if _, err := ParseSubjectTemplate(lines); !errors.Is(err, ErrSubject) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, line := range map[string]string{"country": "C={esid}", "identifier": "serialNumber={name}{name}{name}{name}"} {
		tmpl, err := ParseSubjectTemplate([]string{"CN=x", line})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl.name(testRequest(t)); !errors.Is(err, ErrSubject) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFaultyToken: a signature that does not verify, or another key's, never leaves.
func TestFaultyToken(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped":  func(der []byte) []byte { der[len(der)-1] ^= 1; return der },
		"not DER":  func([]byte) []byte { return make([]byte, 64) },
		"trailing": func(der []byte) []byte { return append(der, 0) },
		"nothing":  func([]byte) []byte { return nil },
	} {
		h := newHierarchy(t, nil)
		h.issuingKey.spoil = spoil
		if der, chain, err := h.Issue(context.Background(), testRequest(t)); err == nil || der != nil || chain != nil {
			t.Errorf("%s: a spoilt signature was released", name)
		}
	}
	h := newHierarchy(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := h.Issue(ctx, testRequest(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNotAnAuthority(t *testing.T) {
	h, foreign := newHierarchy(t, nil), newHierarchy(t, nil)
	seal, _, err := h.Issue(context.Background(), testRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"foreign root":    func(c *Config) { c.RootDER = foreign.rootDER },
		"foreign issuing": func(c *Config) { c.IssuingDER, c.RootDER = foreign.issuingDER, foreign.rootDER },
		"no issuing":      func(c *Config) { c.IssuingDER = nil },
		"no root":         func(c *Config) { c.RootDER = []byte("x") },
		"seal as root":    func(c *Config) { c.RootDER = seal },
		"no clock":        func(c *Config) { c.Now = nil },
		"no template":     func(c *Config) { c.Subject = SubjectTemplate{} },
	} {
		cfg := h.cfg
		change(&cfg)
		if _, err := NewEmbedded(h.issuingKey, cfg); !errors.Is(err, ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
	key := newKey(t)
	r := testRequest(t)
	r.PublicKey = key.Public()
	if seal, _, err = h.Issue(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := Issuing(context.Background(), key, seal, newKey(t).Public(), testName("x"), testNow, DefaultLifetimes().Seal); !errors.Is(err, ErrAuthority) {
		t.Errorf("seal certificate as issuer: %v", err)
	}
}

func TestPeriod(t *testing.T) {
	for text, want := range map[string]Period{"3y": {Years: 3}, "18m": {Months: 18}, "90d": {Days: 90}} {
		var p Period
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
		if b, err := want.MarshalText(); err != nil || string(b) != text {
			t.Errorf("%+v: %s, %v", want, b, err)
		}
	}
	for _, text := range []string{"", "y", "3", "0y", "-1y", "3 y", "3Y", "1e3d", "999999999d"} {
		if err := new(Period).UnmarshalText([]byte(text)); !errors.Is(err, ErrValidity) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := (Period{Years: 1, Days: 1}).MarshalText(); !errors.Is(err, ErrValidity) {
		t.Errorf("mixed: %v", err)
	}
}

func writePEM(t testing.TB, dir, name string, der []byte) string {
	t.Helper()
	file := filepath.Join(dir, name+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// openssl runs the command line and returns everything it printed; some of its verdicts are text alone.
func openssl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("REQUIRE_SOFTHSM") == "1" {
			t.Fatal("no openssl command: make deps installs it")
		}
		t.Skip("SKIPPED: no openssl command")
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	return string(out), err
}
