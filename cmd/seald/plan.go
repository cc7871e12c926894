package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"sealkeeper/hsm"
	"sealkeeper/issuance/ca"
)

// Plan is the reviewed file that `seald init` carries out once: it makes the appliance's keys and certificates and registers its first
// clients, writes the configuration, and refuses to start over anything that exists. Relative paths are relative to the plan.
type Plan struct {
	// State is the directory that init creates: store, certificates, server key, configuration, transcript. It must not exist.
	State string `yaml:"state"`
	// Bureau is the name in the authorities' certificates.
	Bureau string `yaml:"bureau"`
	// Hosts are the DNS names and IP addresses of the server's certificate.
	Hosts []string `yaml:"hosts"`
	// Config is the configuration to write; paths of store, TLS, PKI and the pin latch are filled in by init.
	Config PlanConfig `yaml:"config"`
	// Clients are the first callers, operators above all. Their keys stay with them: init takes certificate requests.
	Clients []PlanClient `yaml:"clients"`
	// Lifetimes of certificates, for example root: 20y. Defaults are the design's.
	Lifetimes PlanLifetimes `yaml:"lifetimes"`
}

// PlanConfig is the part of Config that a person decides.
type PlanConfig struct {
	Mode     string         `yaml:"mode"`
	Division string         `yaml:"division"`
	Listen   string         `yaml:"listen"`
	Anchor   string         `yaml:"anchor"`
	Modules  []hsm.Allowed  `yaml:"modules"`
	Profiles string         `yaml:"profiles"`
	Token    TokenConfig    `yaml:"token"`
	Further  []TokenConfig  `yaml:"further_tokens"`
	Sources  SourcesConfig  `yaml:"sources"`
	Issuance IssuanceConfig `yaml:"issuance"`
	Custody  CustodyConfig  `yaml:"custody"`
	TSA      TSAConfig      `yaml:"tsa"`
	PDF      PDFConfig      `yaml:"pdf"`

	Connectors ConnectorsConfig `yaml:"connectors"`

	Verification VerificationConfig `yaml:"verification"`
	Certificates CertificatesConfig `yaml:"certificates"`
	Pages        string             `yaml:"pages"`
}

// PlanClient is one first caller.
type PlanClient struct {
	Name        string `yaml:"name"`
	Role        string `yaml:"role"`
	Person      string `yaml:"person"`      // operators alone
	CSR         string `yaml:"csr"`         // PEM certificate request, P-256
	Certificate string `yaml:"certificate"` // where the PEM chain is written; must not exist
}

// PlanLifetimes overrides the lifetimes of the certificates that init makes. Certificates of clients registered later live as the
// default says; seals and theirs as issuance.seal_years does.
type PlanLifetimes struct {
	Root       ca.Period `yaml:"root"`
	Issuing    ca.Period `yaml:"issuing"`
	Maker      ca.Period `yaml:"maker"`
	Audit      ca.Period `yaml:"audit"`
	TSA        ca.Period `yaml:"tsa"`
	TLSRoot    ca.Period `yaml:"tls_root"`
	TLSIssuing ca.Period `yaml:"tls_issuing"`
	TLSClient  ca.Period `yaml:"tls_client"`
	TLSServer  ca.Period `yaml:"tls_server"`
}

func loadPlan(path string) (*Plan, error) {
	p := &Plan{Config: PlanConfig{Listen: "127.0.0.1:8443", Anchor: "token"}}
	if err := loadStrict(path, p); err != nil {
		return nil, err
	}
	base := filepath.Dir(path)
	p.State = under(base, p.State)
	p.Config.TSA.Roots = under(base, p.Config.TSA.Roots)
	p.Config.Token.resolve(base)
	for i := range p.Config.Further {
		p.Config.Further[i].resolve(base)
	}
	p.Config.Verification.resolve(base)
	p.Config.Certificates.Catalogue = under(base, p.Config.Certificates.Catalogue)
	p.Config.Profiles = under(base, p.Config.Profiles)
	p.Config.Connectors.resolve(base)
	for i := range p.Config.Modules {
		p.Config.Modules[i].Path = under(base, p.Config.Modules[i].Path)
	}
	if p.Config.Anchor != "token" {
		p.Config.Anchor = under(base, p.Config.Anchor)
	}
	for i := range p.Clients {
		p.Clients[i].CSR, p.Clients[i].Certificate = under(base, p.Clients[i].CSR), under(base, p.Clients[i].Certificate)
	}
	return p, p.check()
}

func (p *Plan) check() error {
	var errs []error
	if p.State == "" || p.Bureau == "" || len(p.Hosts) == 0 {
		errs = append(errs, errors.New("state, bureau and hosts are needed"))
	}
	for _, c := range p.Clients {
		if c.Name == "" || c.CSR == "" || c.Certificate == "" {
			errs = append(errs, fmt.Errorf("client %q needs name, csr and certificate", c.Name))
		}
	}
	c := p.config()
	errs = append(errs, c.check())
	return errors.Join(errs...)
}

// config is the configuration that init writes.
func (p *Plan) config() *Config {
	at := func(name string) string { return filepath.Join(p.State, name) }
	c := &Config{Mode: p.Config.Mode, Division: p.Config.Division, Listen: p.Config.Listen, Anchor: p.Config.Anchor, Modules: p.Config.Modules, Profiles: p.Config.Profiles, Token: p.Config.Token, FurtherTokens: p.Config.Further,
		Sources: p.Config.Sources, Issuance: p.Config.Issuance, Custody: p.Config.Custody, TSA: p.Config.TSA, PDF: p.Config.PDF, Verification: p.Config.Verification, Pages: p.Config.Pages, Log: "info",
		Connectors: p.Config.Connectors, Certificates: p.Config.Certificates,
		Store: StoreConfig{Path: at("sealkeeper.db")},
		TLS:   TLSConfig{Certificate: at("server.crt"), Key: at("server.key"), ClientCA: at("client-ca.pem")},
		PKI:   PKIConfig{Root: at("root.pem"), Issuing: at("issuing.pem"), Maker: at("maker.pem"), TSASM2: at("tsa-sm2.pem"), TSAP256: at("tsa-p256.pem"), Statement: at("statement.pem")}}
	c.defaults()
	return c
}

func (l PlanLifetimes) over(d ca.Lifetimes) ca.Lifetimes {
	for _, x := range []struct{ set, of *ca.Period }{{&l.Root, &d.Root}, {&l.Issuing, &d.Issuing}, {&l.Maker, &d.Maker}, {&l.Audit, &d.Audit}, {&l.TSA, &d.TSA},
		{&l.TLSRoot, &d.TLSRoot}, {&l.TLSIssuing, &d.TLSIssuing}, {&l.TLSClient, &d.TLSClient}, {&l.TLSServer, &d.TLSServer}} {
		if *x.set != (ca.Period{}) {
			*x.of = *x.set
		}
	}
	return d
}
