package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sealkeeper/hsm"
)

// locate is flags without what only logging in needs.
func (t *tokenFlags) locate(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.config, "config", "", "seald.yaml: the daemon's configuration, whose module and token are meant")
	f.StringVar(&t.Module, "module", "", "PKCS#11 library")
	cmd.MarkFlagsOneRequired("config", "module")
}

// choose adds the flags that choose one token and its PIN.
func (t *tokenFlags) choose(cmd *cobra.Command) {
	t.locate(cmd)
	f := cmd.Flags()
	f.StringVar(&t.Label, "label", "", "label of the token")
	f.StringVar(&t.Serial, "serial", "", "serial number of the token")
	f.StringVar(&t.PINFile, "pin-file", "", "file with the user PIN, mode 0400 (default: as the daemon's; without one the PIN is asked for, at a terminal alone)")
	f.StringVar(&t.LatchFile, "latch-file", "", "where a wrong PIN is remembered (default: as the daemon's, or beside the PIN file)")
}

// place resolves the flags to what package hsm opens, with the daemon's list of modules that may be loaded.
func (t *tokenFlags) place() (hsm.Config, error) {
	s, err := t.resolve()
	if err != nil {
		return hsm.Config{}, err
	}
	if s.PINFile == "" && t.LatchFile == "" && t.config == "" {
		s.LatchFile = "" // resolve would put it into whatever folder this is
	}
	d, err := t.daemon()
	return hsm.Config{Module: s.Module, Allowed: d.Modules, Serial: s.Serial, Label: s.Label, PINFile: s.PINFile, LatchFile: s.LatchFile, MaxSessions: s.Sessions}, err
}

// daemonSection is what the daemon's configuration says beside the token itself.
type daemonSection struct {
	Modules  []hsm.Allowed `yaml:"modules"`
	Profiles string        `yaml:"profiles"`
	Token    struct {
		Isolation string `yaml:"isolation"`
	} `yaml:"token"`
}

// daemon reads that section, empty without a configuration: then there is no list of modules, and the path alone is judged.
func (t *tokenFlags) daemon() (daemonSection, error) {
	var c daemonSection
	if t.config == "" {
		return c, nil
	}
	b, err := os.ReadFile(t.config)
	if err != nil {
		return c, fmt.Errorf("reading the daemon's configuration: %w", err)
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("reading %s: %s", t.config, yaml.FormatError(err, false, true))
	}
	at := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(t.config), *p)
		}
	}
	at(&c.Profiles)
	for i := range c.Modules {
		at(&c.Modules[i].Path)
	}
	return c, nil
}

// errNoPIN: there is neither a PIN file nor somebody to ask.
var errNoPIN = errors.New("no --pin-file, and no terminal to ask for the PIN at")

// withPIN sees to it that a PIN can be had: from the file, or asked for once, without echo, and kept for this run. It never comes from an
// argument or the environment (law 7).
func withPIN(cfg hsm.Config) (_ hsm.Config, forget func(), err error) {
	if cfg.PINFile != "" {
		return cfg, func() {}, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return cfg, nil, errNoPIN
	}
	defer tty.Close()
	if cfg.LatchFile == "" {
		return cfg, nil, errors.New("name --latch-file: a wrong PIN must be remembered somewhere that the daemon and the next run look at")
	}
	fmt.Fprintf(tty, "PIN of token %s: ", first(cfg.Label, cfg.Serial))
	pin, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return cfg, nil, fmt.Errorf("reading the PIN: %w", err)
	}
	cfg.PIN = func() ([]byte, error) { return bytes.Clone(pin), nil }
	return cfg, func() { clear(pin) }, nil
}
