package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"sealkeeper/connector/wire"
)

// ConnectorsConfig names the systems outside. Any of them may be down for as long as it likes: what is for it waits.
type ConnectorsConfig struct {
	// Systems lists those that are connected, each once.
	Systems []SystemConfig `yaml:"systems"`
	// Codes is a file with public security's codes; default: the embedded table. Cannot cause a false signature.
	Codes string `yaml:"codes"`
	// BackOff is the longest pause before a message is sent again. Default 10m.
	BackOff time.Duration `yaml:"back_off"`
	// DeadAfter is the age at which a message that nobody takes becomes a dead letter. Default 168h.
	DeadAfter time.Duration `yaml:"dead_after"`
	// DeadTries is how many failures make one, 0 for any number. Default 0.
	DeadTries int `yaml:"dead_tries"`
	// Sign puts a signature by the key of statements (pki.statement) on every request to every system. Default false.
	Sign bool `yaml:"sign"`
	// Parallel is how many messages go to one system at once. Default 4.
	Parallel int `yaml:"parallel"`
}

// SystemConfig is one system outside.
type SystemConfig struct {
	// System is registration, public-security, account, notice, authority, person-check or e-licence.
	System string `yaml:"system"`
	// URL is its address; nothing else is reached. https, in demo mode also http.
	URL string `yaml:"url"`
	// CA (PEM) verifies it; default: the host's authorities.
	CA string `yaml:"ca"`
	// Certificate and Key (PEM) are shown to it.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Timeout of one call. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Every is how often it is asked for news, for those that have any. Default 30s.
	Every time.Duration `yaml:"every"`
	// Anchors (PEM) are the roots of the certificate authority, and its alone: who controls one of their keys can certify any key.
	Anchors string `yaml:"anchors"`
	// Codes is a file with the codes of authority, person-check or e-licence; default: the embedded table. Cannot cause a false signature.
	Codes string `yaml:"codes"`
}

// The systems that can be connected, by their names in the configuration.
const (
	sysRegistration   = "registration"
	sysPublicSecurity = "public-security"
	sysAccount        = "account"
	sysNotice         = "notice"
	sysAuthority      = "authority"
	sysPersonCheck    = "person-check"
	sysELicence       = "e-licence"
)

var systems = []string{sysRegistration, sysPublicSecurity, sysAccount, sysNotice, sysAuthority, sysPersonCheck, sysELicence}

func (c *ConnectorsConfig) defaults() {
	c.BackOff, c.DeadAfter, c.Parallel = or(c.BackOff, 10*time.Minute), or(c.DeadAfter, 168*time.Hour), or(c.Parallel, 4)
	for i := range c.Systems {
		s := &c.Systems[i]
		s.Timeout, s.Every = or(s.Timeout, 10*time.Second), or(s.Every, 30*time.Second)
	}
}

func (c *ConnectorsConfig) resolve(base string) {
	c.Codes = under(base, c.Codes)
	for i := range c.Systems {
		for _, p := range []*string{&c.Systems[i].CA, &c.Systems[i].Certificate, &c.Systems[i].Key, &c.Systems[i].Anchors, &c.Systems[i].Codes} {
			*p = under(base, *p)
		}
	}
}

func (c *ConnectorsConfig) check(mode string) error {
	var errs []error
	seen := map[string]bool{}
	for _, s := range c.Systems {
		u, err := url.Parse(s.URL)
		switch {
		case !slices.Contains(systems, s.System):
			err = fmt.Errorf("connectors.systems.system %q: want one of %v", s.System, systems)
		case seen[s.System]:
			err = fmt.Errorf("connectors.systems: %s stands there twice", s.System)
		case err != nil || !webAddress(s.URL):
			err = fmt.Errorf("connectors.systems.url of %s must be an http or https address", s.System)
		case mode == "production" && u.Scheme != "https":
			err = fmt.Errorf("connectors.systems.url of %s: production mode wants https", s.System)
		case (s.Certificate == "") != (s.Key == ""):
			err = fmt.Errorf("connectors.systems.certificate and key of %s go together", s.System)
		case (s.Anchors != "") != (s.System == sysAuthority):
			err = fmt.Errorf("connectors.systems.anchors of %s: the authority needs its anchors, and no other system has any", s.System)
		case s.Codes != "" && s.System != sysAuthority && s.System != sysPersonCheck && s.System != sysELicence:
			err = fmt.Errorf("connectors.systems.codes of %s: only authority, person-check and e-licence have a table of codes", s.System)
		case s.Timeout < 0 || s.Timeout > 5*time.Minute || s.Every < 0:
			err = fmt.Errorf("connectors.systems.timeout of %s must be within five minutes, and every not negative", s.System)
		}
		seen[s.System] = true
		errs = append(errs, err)
	}
	if c.BackOff < 0 || c.DeadAfter < 0 || c.DeadTries < 0 || c.Parallel < 0 || c.Parallel > 64 {
		errs = append(errs, errors.New("connectors.back_off, dead_after and dead_tries must not be negative, and parallel is 1..64"))
	}
	return errors.Join(errs...)
}

// system finds one that is connected.
func (c *ConnectorsConfig) system(name string) (SystemConfig, bool) {
	i := slices.IndexFunc(c.Systems, func(s SystemConfig) bool { return s.System == name })
	if i < 0 {
		return SystemConfig{}, false
	}
	return c.Systems[i], true
}

func (s SystemConfig) client(answer int64) (*wire.Client, error) {
	return wire.New(wire.Config{Base: s.URL, CA: s.CA, Certificate: s.Certificate, Key: s.Key, Timeout: s.Timeout, MaxAnswer: answer})
}
