package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/licence/certificate"
	"sealkeeper/signer/verify/stated"
)

func (s *scene) entityCode(t *testing.T, e *enterprise) client.EntityCode {
	t.Helper()
	var c client.EntityCode
	if err := s.as(t, "e-licence").JSON(t.Context(), "POST", "/v1/enterprises/"+e.USCC+"/code", nil, client.NewKey(), nil, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// stranger reads a public page as a browser without a certificate does.
func (s *scene) stranger(t *testing.T, path, accept string) (int, http.Header, string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(mustOf(os.ReadFile(s.CA()))(t))
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}}
	defer transport.CloseIdleConnections()
	req := mustOf(http.NewRequestWithContext(t.Context(), "GET", s.Address+path, nil))(t)
	req.Header.Set("Accept", accept)
	resp := mustOf((&http.Client{Transport: transport}).Do(req))(t)
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header, string(mustOf(io.ReadAll(resp.Body))(t))
}

// TestEntityCode: an enterprise's static code leads a stranger to a page in Chinese, without scripts, that says name, status and the title of its
// permit, and nothing else of it.
func TestEntityCode(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	s.permit(t, e)
	var code client.EntityCode
	s.officer(t, "system", &code, "code", "issue", e.USCC)
	if again := s.entityCode(t, e); !reflect.DeepEqual(again, code) {
		t.Errorf("another code: %+v and %+v", again, code)
	}
	file := filepath.Join(t.TempDir(), "code.png")
	s.officer(t, "system", nil, "code", "qr", e.USCC, "-f", file)
	if _, err := png.Decode(bytes.NewReader(mustOf(os.ReadFile(file))(t))); err != nil {
		t.Errorf("the QR code: %v", err)
	}
	path := strings.TrimPrefix(code.URL, "https://seal.example")
	status, head, html := s.stranger(t, path, "text/html")
	if status != 200 || !strings.Contains(html, e.Name) || !strings.Contains(html, "存续") || !strings.Contains(html, "食品经营许可证") || !strings.Contains(html, "演示数据") {
		t.Errorf("%d: %s", status, html)
	}
	if strings.Contains(html, "<script") || !strings.Contains(head.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("scripts: %v", head)
	}
	for _, private := range []string{e.USCC, e.LegalRep, e.Address, e.Scope, "许可项目", "2026-01-01"} {
		if private != "" && strings.Contains(html, private) {
			t.Errorf("the page tells %s", private)
		}
	}
	_, _, raw := s.stranger(t, path, "application/json")
	if want := fmt.Sprintf(`{"mode":"demo","name":"%s","status":"active","certificates":["食品经营许可证（演示数据）"]}`, e.Name); raw != want {
		t.Errorf("%s, want %s", raw, want)
	}
	if status, _, body := s.stranger(t, "/c/"+strings.Repeat("a", 26), "text/html"); status != 404 || !strings.Contains(body, "no-entity-code") {
		t.Errorf("a name that was never given out: %d %s", status, body)
	}
}

// TestPresentationCode: the phone chooses, a department redeems once, the holder sees who; every other try is refused by name, over HTTPS and by the real
// command.
func TestPresentationCode(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	series := mustOf(certificate.ParseSeries(s.permit(t, e)))(t)
	dir := t.TempDir()
	phone, wish := filepath.Join(dir, "phone.pem"), filepath.Join(dir, "wish.json")
	if err := e.phone.Save(phone); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := s.sealctl(t, "e-licence", "phone", "present", "--device", phone, "--uscc", e.USCC, "--show", "name", "--show", "legal_rep", "--certificate", series,
		"--out", wish, "--yes"); code != 0 || !strings.Contains(errs, "执照字段") {
		t.Fatalf("phone present: exit %d: %s", code, errs)
	}
	var made client.Presented
	s.officer(t, "e-licence", &made, "code", "present", wish)
	bank := s.register(t, "department")
	shown := mustOf(bank.Redeem(t.Context(), client.NewKey(), client.Redemption{Code: made.Code, Purpose: purpose}))(t)
	if shown.USCC != e.USCC || !reflect.DeepEqual(shown.Attributes, map[string]string{"name": e.Name, "legal_rep": e.LegalRep}) || len(shown.Certificates) != 1 {
		t.Errorf("shown %+v", shown)
	}
	s.keeps(t, shown.Statement, e.USCC)
	var seen struct{ Items []client.Presentation }
	s.officer(t, "e-licence", &seen, "code", "presentations", "--uscc", e.USCC)
	if len(seen.Items) != 1 || seen.Items[0].Redeemed == nil || seen.Items[0].Redeemed.Client != bank.id || seen.Items[0].Redeemed.Purpose != purpose {
		t.Errorf("what the holder sees: %+v", seen.Items)
	}
	mine := s.presented(t, e, func(p *access.Presentation) { p.Client = bank.id })
	altered := strings.Split(s.presented(t, e, nil), ".")
	altered[2] = strings.Split(made.Code, ".")[2]
	for want, code := range map[string]string{"presentation-redeemed": made.Code, "presentation-foreign": mine, "presentation-altered": strings.Join(altered, "."), "presentation-code": "SK1"} {
		if _, err := s.as(t, "department").Redeem(t.Context(), client.NewKey(), client.Redemption{Code: code, Purpose: purpose}); client.Code(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if code, _, errs := s.sealctl(t, "e-licence", "code", "present", wish); code != 2 || !strings.Contains(errs, "approval-replayed") {
		t.Errorf("the same wish again: exit %d: %s", code, errs)
	}
}

// TestOneRedemptionWinsOverHTTP: departments redeem a code at the same moment, over HTTPS; one sees it.
func TestOneRedemptionWinsOverHTTP(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	others := []*client.Client{s.as(t, "department"), s.register(t, "department").Client, s.register(t, "department").Client}
	for range 10 {
		code := s.presented(t, e, nil)
		var wg sync.WaitGroup
		errs := make([]error, 2*len(others))
		for n := range errs {
			wg.Go(func() {
				_, errs[n] = others[n%len(others)].Redeem(t.Context(), client.NewKey(), client.Redemption{Code: code, Purpose: purpose})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if client.Code(err) != "presentation-redeemed" {
				t.Errorf("a loser: %v", err)
			}
		}
		if won != 1 {
			t.Fatalf("%d redemptions of one code", won)
		}
	}
}

func (s *scene) presented(t *testing.T, e *enterprise, change func(*access.Presentation)) string {
	t.Helper()
	w := access.Presentation{USCC: e.USCC, Attributes: []string{"name"}}
	if change != nil {
		change(&w)
	}
	return mustOf(s.as(t, "e-licence").Present(t.Context(), client.NewKey(), encode(t, mustOf(e.phone.Present(w))(t))))(t).Code
}

// keeps verifies the department's copy of the statement with nothing but the root's certificate.
func (s *scene) keeps(t *testing.T, der []byte, uscc string) {
	t.Helper()
	block, _ := pem.Decode(mustOf(os.ReadFile(filepath.Join(s.Dir, "state", "root.pem")))(t))
	root := mustOf(gm.ParseCertificate(block.Bytes))(t)
	var said map[string]any
	st, err := stated.Open(der, stated.Trust{Roots: []*gm.Certificate{root}}, "presentation/1", &said)
	if err != nil || said["uscc"] != uscc || st.Appliance != audience {
		t.Errorf("the statement: %+v, %v, %v", st, said, err)
	}
}
