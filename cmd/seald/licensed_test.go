package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/connector/authority/sim"
)

// TestProductionWantsLicensedAuthority: production does not certify enterprise seals itself; with a licensed authority connected, that one does.
func TestProductionWantsLicensedAuthority(t *testing.T) {
	a := &appliance{cfg: &Config{Mode: "production"}}
	if err := a.openLicensed(); err == nil || !strings.Contains(err.Error(), "connect a licensed one") {
		t.Errorf("production without an authority: %v", err)
	}
	a.cfg.Mode = "demo"
	if err := a.openLicensed(); err != nil || a.licensed != nil || len(a.sealAnchors()) != 0 {
		t.Errorf("demo without an authority: %v", err)
	}
	office, err := sim.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	anchors := filepath.Join(t.TempDir(), "anchors.pem")
	if err := os.WriteFile(anchors, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: office.Anchor()}), 0o600); err != nil {
		t.Fatal(err)
	}
	a.cfg.Mode = "production"
	a.cfg.Connectors.Systems = []SystemConfig{{System: sysAuthority, URL: "https://ca.example.cn", Anchors: anchors}}
	if err := a.openLicensed(); err != nil || a.issuer() != a.licensed || len(a.sealAnchors()) != 1 || len(a.lists()) != 0 {
		t.Errorf("production with an authority: %v", err)
	}
	for name, text := range map[string]string{"no certificate": "示例\n", "no SM2 certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := os.WriteFile(anchors, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.openLicensed(); err == nil {
			t.Errorf("anchors with %s were taken", name)
		}
	}
}

// TestAnchorsBelongToTheAuthority: the authority needs its anchors, and nobody else may bring some.
func TestAnchorsBelongToTheAuthority(t *testing.T) {
	for name, s := range map[string]SystemConfig{
		"authority without anchors": {System: sysAuthority, URL: "https://ca.example.cn"},
		"notice with anchors":       {System: sysNotice, URL: "https://n.example.cn", Anchors: "a.pem"},
		"notice with codes":         {System: sysNotice, URL: "https://n.example.cn", Codes: "c.yaml"},
	} {
		c := ConnectorsConfig{Systems: []SystemConfig{s}}
		c.defaults()
		if err := c.check("production"); err == nil || !strings.Contains(err.Error(), "connectors.systems.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
