package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/internal/gm/softkey"
)

// TestPersonCheckNeedsItsKey: the check is wired where it is connected, never without pinned keys, and never with a table that cannot say no.
func TestPersonCheckNeedsItsKey(t *testing.T) {
	a := &appliance{cfg: &Config{}}
	if p, err := a.personCheck(); p != nil || err != nil {
		t.Errorf("not connected: %v, %v", p, err)
	}
	a.cfg.Connectors.Systems = []SystemConfig{{System: sysPersonCheck, URL: "https://check.example.cn"}}
	if err := a.cfg.check(); err == nil || !strings.Contains(err.Error(), "sources.person_check") {
		t.Errorf("connected without a key: %v", err)
	}
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	a.cfg.Sources.PersonCheck = []string{hex.EncodeToString(k.Public().Point())}
	if err := a.cfg.check(); err == nil || strings.Contains(err.Error(), "sources.person_check") {
		t.Errorf("connected with a key: %v", err)
	}
	if p, err := a.personCheck(); p == nil || err != nil {
		t.Errorf("connected: %v, %v", p, err)
	}
	table := filepath.Join(t.TempDir(), "codes.yaml")
	for _, text := range []string{"results: {ok: confirmed}\n", "results: {ok: confirmed, no: refused, so: perhaps}\n", "colours: {}\n"} {
		if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a.cfg.Connectors.Systems[0].Codes = table
		if _, err := a.personCheck(); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// TestSignedRequestsNeedTheKey: requests cannot be signed without the key of statements.
func TestSignedRequestsNeedTheKey(t *testing.T) {
	c := &Config{Connectors: ConnectorsConfig{Sign: true}}
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "connectors.sign needs pki.statement") {
		t.Errorf("without a key: %v", err)
	}
	c.PKI.Statement = "pki/statement.pem"
	if err := c.check(); err == nil || strings.Contains(err.Error(), "connectors.sign") {
		t.Errorf("with a key: %v", err)
	}
}
