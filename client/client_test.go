package client_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/client"
)

// appliance is an HTTPS server that demands the client's certificate and answers as a test says.
type appliance struct {
	config client.Config
	answer http.HandlerFunc
	last   *http.Request
	body   []byte
}

func newAppliance(t *testing.T) *appliance {
	t.Helper()
	a := &appliance{}
	own, pool := certificate(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.last = r
		a.body, _ = io.ReadAll(r.Body)
		a.answer(w, r)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	must(t, err)
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	a.config = client.Config{Address: s.URL, CA: cert, Certificate: cert, Key: key, Timeout: 30 * time.Second}
	return a
}

// certificate makes one self-signed certificate that both sides use.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (a *appliance) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(a.config)
	must(t, err)
	return c
}

// says answers with a status and a JSON value.
func (a *appliance) says(status int, v any, header ...string) {
	a.answer = func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		if s, ok := v.(string); ok {
			io.WriteString(w, s)
			return
		}
		json.NewEncoder(w).Encode(v)
	}
}

func TestSignDigest(t *testing.T) {
	a := newAppliance(t)
	a.says(200, map[string]any{"signature": []byte("DER"), "receipt": map[string]any{"log": "l", "index": 7, "leaf": "AA==", "time": "2026-01-02T03:04:05Z"}})
	s, err := a.client(t).SignDigest(t.Context(), "key-1", client.SignatureRequest{Kind: "digest", Seal: "1", Purpose: "示例", Digest: "00", Delegation: "d"})
	must(t, err)
	if string(s.Signature) != "DER" || s.Receipt.Index != 7 || s.Receipt.Log != "l" || s.Receipt.Leaf != "AA==" {
		t.Errorf("%+v", s)
	}
	if got := a.last.Header.Get("Idempotency-Key"); got != "key-1" || a.last.URL.Path != "/v1/signatures" || a.last.Method != "POST" {
		t.Errorf("%s %s under %q", a.last.Method, a.last.URL, got)
	}
	if want := `{"kind":"digest","seal":"1","purpose":"示例","digest":"00","delegation":"d"}`; string(a.body) != want {
		t.Errorf("sent %s", a.body)
	}
}

func TestSignOFD(t *testing.T) {
	a := newAppliance(t)
	a.says(200, "sealed bytes", "Sealkeeper-Receipt", `{"log":"l","index":9}`)
	document := []byte("PK\x03\x04 …")
	sealed, receipt, err := a.client(t).SignOFD(t.Context(), "key-2", client.SignatureRequest{Kind: "ofd", Seal: "1", Stamps: []client.Stamp{{Page: 1, X: 2.5, W: 40, H: 40}}}, document)
	must(t, err)
	if string(sealed) != "sealed bytes" || receipt.Index != 9 {
		t.Errorf("%q, %+v", sealed, receipt)
	}
	_, params, err := mime.ParseMediaType(a.last.Header.Get("Content-Type"))
	must(t, err)
	form, err := multipart.NewReader(bytes.NewReader(a.body), params["boundary"]).ReadForm(1 << 20)
	must(t, err)
	if got := form.Value["request"]; len(got) != 1 || !strings.Contains(got[0], `"stamps":[{"page":1,"x":2.5,"y":0,"w":40,"h":40}]`) {
		t.Errorf("request part %q", got)
	}
	f, err := form.File["document"][0].Open()
	must(t, err)
	if got, _ := io.ReadAll(f); !bytes.Equal(got, document) {
		t.Errorf("document part %q", got)
	}
	a.says(200, "sealed bytes")
	if _, _, err := a.client(t).SignOFD(t.Context(), "key-2", client.SignatureRequest{}, document); err == nil {
		t.Error("an answer without a receipt was taken")
	}
}

func TestSignBatch(t *testing.T) {
	a := newAppliance(t)
	a.says(200, map[string]any{"outcomes": []any{
		map[string]any{"key": "a", "signature": []byte("DER"), "receipt": map[string]any{"index": 3}},
		map[string]any{"key": "b", "problem": map[string]any{"code": "seal-inactive", "status": 409}}}})
	out, err := a.client(t).SignBatch(t.Context(), "batch", []client.BatchItem{{Key: "a"}, {Key: "b"}})
	must(t, err)
	if len(out) != 2 || out[0].Signature == nil || string(out[0].Signature.Signature) != "DER" || out[0].Receipt.Index != 3 || out[0].Problem != nil {
		t.Errorf("%+v", out)
	}
	if out[1].Signature != nil || out[1].Problem == nil || out[1].Problem.Code != "seal-inactive" {
		t.Errorf("%+v", out[1])
	}
	if !strings.Contains(string(a.body), `{"items":[{"key":"a",`) {
		t.Errorf("sent %s", a.body)
	}
}

func TestProblems(t *testing.T) {
	a := newAppliance(t)
	for _, c := range []struct {
		name   string
		status int
		body   any
		header []string
		want   client.Problem
		text   string
	}{
		{"the appliance's own", 409, map[string]any{"code": "seal-inactive", "title": "印章未处于可用状态", "title_en": "The seal is not active", "status": 409, "detail": "it is suspended",
			"errors": []string{"body.x"}, "request_id": "r1"}, nil, client.Problem{Status: 409, Code: "seal-inactive", RequestID: "r1"},
			"印章未处于可用状态 The seal is not active (seal-inactive: it is suspended; body.x) request r1"},
		{"told to wait", 503, map[string]any{"code": "busy", "title": "系统繁忙", "title_en": "The appliance is busy"}, []string{"Retry-After", "3"},
			client.Problem{Status: 503, Code: "busy", RetryAfter: 3 * time.Second}, "系统繁忙 The appliance is busy (busy)"},
		{"a proxy's page", 502, "<html>" + strings.Repeat("x", 1000), nil, client.Problem{Status: 502, Code: "http-502"}, ""},
		{"JSON of somebody else", 404, `{"error":"no"}`, nil, client.Problem{Status: 404, Code: "http-404"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.says(c.status, c.body, c.header...)
			_, err := a.client(t).Seal(t.Context(), "1")
			var p *client.Problem
			if !errors.As(err, &p) {
				t.Fatalf("error %v", err)
			}
			if p.Status != c.want.Status || p.Code != c.want.Code || p.RequestID != c.want.RequestID || p.RetryAfter != c.want.RetryAfter || client.Code(err) != c.want.Code {
				t.Errorf("%+v", p)
			}
			if c.text != "" && p.Error() != c.text {
				t.Errorf("reads %q", p.Error())
			}
			if len(p.Detail) > 200 {
				t.Errorf("detail of %d bytes", len(p.Detail))
			}
		})
	}
	if client.Code(io.EOF) != "" {
		t.Error("an error that is no refusal has a code")
	}
}

func TestReady(t *testing.T) {
	a := newAppliance(t)
	a.says(503, client.Readiness{Mode: "demo", Faults: []client.Fault{{Part: "token", Detail: "gone"}}})
	r, err := a.client(t).Ready(t.Context())
	if err != nil || r.Ready || len(r.Faults) != 1 || r.Faults[0].Part != "token" {
		t.Errorf("%+v, %v", r, err)
	}
	a.says(200, client.Readiness{Ready: true, Mode: "production"})
	if r, err := a.client(t).Ready(t.Context()); err != nil || !r.Ready {
		t.Errorf("%+v, %v", r, err)
	}
	for _, body := range []any{"<html>bad gateway", map[string]string{"code": "busy"}} {
		a.says(503, body)
		var p *client.Problem
		if _, err := a.client(t).Ready(t.Context()); !errors.As(err, &p) {
			t.Errorf("%v: %v", body, err)
		}
	}
}

// TestPaths sends every other method once and compares the request line: identifiers are escaped, empty query values left out.
func TestPaths(t *testing.T) {
	a := newAppliance(t)
	a.says(200, "{}")
	c, ctx := a.client(t), t.Context()
	asOf := time.Date(2026, 1, 31, 23, 59, 59, 0, time.FixedZone("", 8*3600))
	for _, x := range []struct {
		want, key, body string
		call            func() error
	}{
		{"GET /v1/licences/A%2FB", "", "", func() error { _, err := c.Licence(ctx, "A/B", time.Time{}); return err }},
		{"GET /v1/licences/A?as_of=2026-01-31T15%3A59%3A59Z", "", "", func() error { _, err := c.Licence(ctx, "A", asOf); return err }},
		{"GET /v1/licences/A/versions", "", "", func() error { _, err := c.LicenceVersions(ctx, "A"); return err }},
		{"POST /v1/licences", "k", `{"kind":"x","payload":"cA==","signature":"cw=="}`, func() error {
			_, err := c.PutLicenceEvent(ctx, "k", client.Envelope{Kind: "x", Payload: []byte("p"), Signature: []byte("s")})
			return err
		}},
		{"POST /v1/impressions", "k", "", func() error { _, err := c.PutImpression(ctx, "k", client.Envelope{}); return err }},
		{"GET /v1/impressions/i", "", "", func() error { _, err := c.Impression(ctx, "i"); return err }},
		{"GET /v1/orders?uscc=A", "", "", func() error { _, err := c.Orders(ctx, "A", ""); return err }},
		{"GET /v1/orders/o", "", "", func() error { _, err := c.Order(ctx, "o"); return err }},
		{"POST /v1/orders/o/collect", "k", "", func() error { _, err := c.Collect(ctx, "k", "o", client.Envelope{}); return err }},
		{"GET /v1/enterprises/A/seals", "", "", func() error { _, err := c.Seals(ctx, "A"); return err }},
		{"GET /v1/seals/1/certificates", "", "", func() error { _, err := c.SealPapers(ctx, "1"); return err }},
		{"GET /v1/seals/1/certificates/made", "", "", func() error { _, err := c.SealPaper(ctx, "1", "made"); return err }},
		{"GET /v1/licences/u/file", "", "", func() error { _, err := c.LicenceFile(ctx, "u"); return err }},
		{"GET /v1/seals/1/esl", "", "", func() error { _, err := c.ESL(ctx, "1"); return err }},
		{"GET /v1/seals/1/certificate", "", "", func() error { _, err := c.Certificate(ctx, "1"); return err }},
		{"POST /v1/seals/1/suspend", "k", `{"reason":"r","evidence":"e"}`, func() error {
			_, err := c.ChangeSeal(ctx, "k", "1", client.Suspend, client.Reason{Reason: "r", Evidence: "e"})
			return err
		}},
		{"POST /v1/verifications?name=%E7%A4%BA%E4%BE%8B.ofd", "", "bytes", func() error { _, err := c.Verify(ctx, "示例.ofd", []byte("bytes")); return err }},
		{"GET /v1/audit/checkpoint", "", "", func() error { _, err := c.Checkpoint(ctx); return err }},
		{"GET /v1/audit/entries?from=5&limit=10", "", "", func() error { _, err := c.Entries(ctx, 5, 10); return err }},
		{"GET /v1/audit/proof?index=5&size=0", "", "", func() error { _, err := c.Proof(ctx, 5, 0); return err }},
		{"GET /v1/audit/consistency?from=5&to=9", "", "", func() error { _, err := c.Consistency(ctx, 5, 9); return err }},
		{"POST /v1/clients", "k", `{"name":"n","role":"department","csr":"c"}`, func() error {
			_, _, err := c.RegisterClient(ctx, "k", client.Registration{Name: "n", Role: "department", CSR: "c"})
			return err
		}},
		{"GET /v1/clients?cursor=x&limit=2", "", "", func() error { _, err := c.Clients(ctx, "x", 2); return err }},
		{"POST /v1/clients/i/disable", "k", `{"reason":"r"}`, func() error { _, err := c.DisableClient(ctx, "k", "i", "r"); return err }},
		{"POST /v1/grants", "k", "", func() error { _, err := c.PutGrant(ctx, "k", client.Grant{}); return err }},
		{"GET /v1/grants?client=i", "", "", func() error { _, err := c.Grants(ctx, "i", "", 0); return err }},
		{"POST /v1/grants/g/withdraw", "k", `{"reason":"r"}`, func() error { _, err := c.WithdrawGrant(ctx, "k", "g", "r"); return err }},
		{"POST /v1/delegations", "k", `{"as":"signed"}`, func() error { _, err := c.PutDelegation(ctx, "k", json.RawMessage(`{"as":"signed"}`)); return err }},
		{"GET /v1/delegations", "", "", func() error { _, err := c.Delegations(ctx, "", "", 0); return err }},
		{"GET /v1/standing-delegations", "", "", func() error { _, err := c.StandingDelegations(ctx, "", "", 0); return err }},
		{"POST /v1/delegations/d/withdraw", "k", `{"reason":"r"}`, func() error { _, err := c.WithdrawDelegation(ctx, "k", "d", "r"); return err }},
		{"GET /v1/appliance", "", "", func() error { _, err := c.Appliance(ctx); return err }},
		{"POST /v1/appliance/clock", "k", "", func() error { _, err := c.AcceptClock(ctx, "k"); return err }},
		{"POST /v1/appliance/resynchronise", "k", "", func() error { _, err := c.Resynchronise(ctx, "k"); return err }},
	} {
		must(t, x.call())
		if got := a.last.Method + " " + a.last.URL.RequestURI(); got != x.want || a.last.Header.Get("Idempotency-Key") != x.key {
			t.Errorf("sent %s under %q, want %s under %q", got, a.last.Header.Get("Idempotency-Key"), x.want, x.key)
		}
		if x.body != "" && string(a.body) != x.body {
			t.Errorf("%s sent %s, want %s", x.want, a.body, x.body)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := newAppliance(t).config
	empty := filepath.Join(t.TempDir(), "empty.pem")
	must(t, os.WriteFile(empty, nil, 0o600))
	for name, change := range map[string]func(*client.Config){
		"no CA file":                    func(c *client.Config) { c.CA = "missing.pem" },
		"CA file without a certificate": func(c *client.Config) { c.CA = empty },
		"no certificate file":           func(c *client.Config) { c.Certificate = "missing.pem" },
		"no key":                        func(c *client.Config) { c.Key = empty },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			change(&bad)
			if _, err := client.New(bad); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestStranger talks to a server that another authority vouches for.
func TestStranger(t *testing.T) {
	a, other := newAppliance(t), newAppliance(t)
	a.says(200, "{}")
	a.config.CA = other.config.CA
	var unknown x509.UnknownAuthorityError
	if _, err := a.client(t).Ready(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
	if a.last != nil {
		t.Error("the request was sent all the same")
	}
}
