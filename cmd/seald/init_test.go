package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
)

// TestInitTakesBackWhatItMade: an init that fails, wherever, leaves neither certificates nor keys behind, so the same plan can be carried out
// once the fault is mended. An anchor of another life is refused and stays.
func TestInitTakesBackWhatItMade(t *testing.T) {
	tok, dir := softhsmtest.New(t), t.TempDir()
	p := &Plan{State: filepath.Join(dir, "state"), Bureau: "示例局", Hosts: []string{"127.0.0.1"}, Config: PlanConfig{Mode: "demo", Division: "410300",
		Anchor: filepath.Join(dir, "anchor"), Token: TokenConfig{Module: tok.Module, Profile: "softhsm2-sm2", Label: tok.Label, PINFile: tok.PINFile}}}
	for _, role := range []string{"operator-system", "operator-security", "operator-audit"} {
		p.Clients = append(p.Clients, PlanClient{Name: role, Role: role, Person: role, CSR: filepath.Join(dir, role+".csr"), Certificate: filepath.Join(dir, role+".crt")})
		request(t, filepath.Join(dir, role+".csr"))
	}
	last := p.Clients[2].CSR
	p.Clients[2].CSR = filepath.Join(dir, "none.csr")
	fails := func(want string) {
		t.Helper()
		if err := initialise(t.Context(), p, slog.New(slog.DiscardHandler), func(string) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
		for _, f := range []string{p.State, p.Clients[0].Certificate, p.Clients[1].Certificate} {
			if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left behind", f)
			}
		}
	}
	fails("none.csr")
	p.Clients[2].CSR = last
	if err := os.WriteFile(p.Config.Anchor, []byte("of another life"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("another appliance's anchor")
	if err := os.Remove(p.Config.Anchor); err != nil {
		t.Fatalf("the anchor of another life: %v", err)
	}
	if err := initialise(t.Context(), p, slog.New(slog.DiscardHandler), func(string) {}); err != nil {
		t.Fatalf("the mended plan: %v", err)
	}
}

func request(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
