package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type answer struct {
	Text string `json:"text"`
}

// TestFailuresAreSorted: each way of going wrong is one of three, and none is taken for an answer.
func TestFailuresAreSorted(t *testing.T) {
	hang := make(chan struct{})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		do   http.HandlerFunc
		want error
		says string
	}{
		"an answer": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"text":"好"}`)) }, nil, ""},
		"refused": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "名称\x01不符", http.StatusUnprocessableEntity)
		}, ErrRefused, "名称 不符"},
		"busy":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, ErrDown, "429"},
		"broken":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, ErrDown, "500"},
		"garbage":       {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, ErrGarbage, "decoding"},
		"unknown field": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"text":"","more":1}`)) }, ErrGarbage, "more"},
		"two answers":   {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"text":"a"}{"text":"b"}`)) }, ErrGarbage, "behind"},
		"no content":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, ErrGarbage, "204"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, ErrGarbage, "307"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte(" "), 2000)) }, ErrGarbage, "1000 bytes"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"text":`))
		}, ErrDown, "reading"},
		"hangs": {func(http.ResponseWriter, *http.Request) { <-hang }, ErrDown, "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.do)
			defer srv.Close()
			if name == "hangs" {
				defer close(hang)
			}
			cl, err := New(Config{Base: srv.URL + "/office/", Timeout: time.Second / 2, MaxAnswer: 1000})
			if err != nil {
				t.Fatal(err)
			}
			var got answer
			_, err = cl.Do(t.Context(), Call{Method: "POST", Path: "/v1/x", Key: "k", In: answer{"in"}}, &got)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
	cl, err := New(Config{Base: elsewhere.URL})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Close()
	if _, err := cl.Do(t.Context(), Call{Method: "GET", Path: "/"}, nil); !errors.Is(err, ErrDown) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestRequest: what goes out, and that no path leaves the address.
func TestRequest(t *testing.T) {
	var seen *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = r; w.WriteHeader(202) }))
	defer srv.Close()
	cl, err := New(Config{Base: srv.URL + "/base"})
	if err != nil {
		t.Fatal(err)
	}
	status, err := cl.Do(t.Context(), Call{Method: "PUT", Path: "/a%2Fb", Query: map[string][]string{"after": {"7"}}, Key: "key-1", In: answer{}}, &answer{})
	if err != nil || status != 202 {
		t.Fatal(status, err)
	}
	if seen.URL.EscapedPath() != "/base/a%2Fb" || seen.URL.Query().Get("after") != "7" || seen.Header.Get("Idempotency-Key") != "key-1" ||
		seen.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", seen.URL, seen.Header)
	}
	for _, path := range []string{"@other.example/x", ".other.example/"} {
		if _, err := cl.Do(t.Context(), Call{Method: "GET", Path: path}, nil); err == nil {
			t.Errorf("%q was asked", path)
		}
	}
}

func TestAddressesRefused(t *testing.T) {
	for _, base := range []string{"", "office", "ftp://office", "http://", "http://user@office", "http://office?x=1", "http://office#x"} {
		if _, err := New(Config{Base: base}); err == nil {
			t.Errorf("%q is an address", base)
		}
	}
	for name, c := range map[string]Config{"no such authority": {Base: "http://x", CA: "none"}, "a key alone": {Base: "http://x", Key: "none"},
		"no such certificate": {Base: "http://x", Certificate: "none", Key: "none"}} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestMutualTLS: the server is verified by the configured authority alone, and sees the client's certificate.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	der := own(t, dir)
	pool := x509.NewCertPool()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(c)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 || !r.TLS.PeerCertificates[0].Equal(c) {
			w.WriteHeader(403)
		}
		w.Write([]byte(`{"text":"ok"}`))
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		cfg  Config
		want error
	}{
		"both known":     {Config{CA: ca, Certificate: filepath.Join(dir, "own.crt"), Key: filepath.Join(dir, "own.key")}, nil},
		"no certificate": {Config{CA: ca}, ErrDown},
		"no authority":   {Config{Certificate: filepath.Join(dir, "own.crt"), Key: filepath.Join(dir, "own.key")}, ErrDown},
	} {
		x.cfg.Base = srv.URL
		cl, err := New(x.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Do(context.Background(), Call{Method: "GET", Path: "/"}, &answer{}); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// own writes a client certificate that certifies itself.
func own(t *testing.T, dir string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"own.crt": {Type: "CERTIFICATE", Bytes: der}, "own.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}
