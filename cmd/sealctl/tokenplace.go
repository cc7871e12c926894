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
	f.Bool(keypad, false, "type the PIN at the device, each time that it asks (probe: twice, doctor: once)")
	cmd.MarkFlagsMutuallyExclusive(keypad, "pin-file")
}

// keypad is the flag of a protected authentication path.
const keypad = "keypad"

// daemonSection is what the daemon's configuration says of modules and tokens.
type daemonSection struct {
	Store struct {
		Path string `yaml:"path"`
	} `yaml:"store"`
	Modules  []hsm.Allowed     `yaml:"modules"`
	Profiles string            `yaml:"profiles"`
	Token    configuredToken   `yaml:"token"`
	Further  []configuredToken `yaml:"further_tokens"`
}

// configuredToken is a token of the daemon's.
type configuredToken struct {
	Section   tokenSection `yaml:",inline"`
	Isolation string       `yaml:"isolation"`
}

// placed is a token as flags and configuration name it.
type placed struct {
	hsm.Config
	profile, isolation, profiles string // ids and the folder, as configured
}

// daemon reads the daemon's configuration, empty without one: then there is no list of modules, and the path alone is judged.
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
	c.Token.Section.LatchFile = first(c.Token.Section.LatchFile, filepath.Join(filepath.Dir(c.Store.Path), "pin-latch.json")) // the daemon's default
	paths := []*string{&c.Profiles, &c.Token.Section.Module, &c.Token.Section.PINFile, &c.Token.Section.LatchFile}
	for i := range c.Modules {
		paths = append(paths, &c.Modules[i].Path)
	}
	for i := range c.Further {
		paths = append(paths, &c.Further[i].Section.Module, &c.Further[i].Section.PINFile, &c.Further[i].Section.LatchFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(t.config), *p)
		}
	}
	return c, nil
}

// configured finds the token of the daemon's that the flags mean: the first when they name none. One token's PIN is never sent to another, so a
// token that the configuration does not know gets nothing from it but the module.
func (c daemonSection) configured(t tokenSection) configuredToken {
	if t.Label == "" && t.Serial == "" {
		return c.Token
	}
	for _, k := range append([]configuredToken{c.Token}, c.Further...) {
		if (t.Serial == "" || t.Serial == k.Section.Serial) && (t.Label == "" || t.Label == k.Section.Label) {
			return k
		}
	}
	return configuredToken{Section: tokenSection{Module: c.Token.Section.Module}}
}

// place resolves the flags to what package hsm opens, with the daemon's list of modules that may be loaded.
func (t *tokenFlags) place() (placed, error) {
	c, err := t.daemon()
	if err != nil {
		return placed{}, err
	}
	found := c.configured(t.tokenSection)
	k := found.Section
	p := placed{Config: hsm.Config{Module: first(t.Module, k.Module), Allowed: c.Modules, Serial: first(t.Serial, k.Serial), Label: first(t.Label, k.Label),
		PINFile: first(t.PINFile, k.PINFile), LatchFile: first(t.LatchFile, k.LatchFile), MaxSessions: max(t.Sessions, k.Sessions)},
		profile: first(t.Profile, k.Profile), isolation: found.Isolation, profiles: c.Profiles}
	if p.LatchFile == "" && p.PINFile != "" {
		p.LatchFile = filepath.Join(filepath.Dir(p.PINFile), "pin-latch.json")
	}
	return p, nil
}

// typed has the PIN typed at the device when the flag says so.
func typed(cmd *cobra.Command, cfg hsm.Config) hsm.Config {
	if cmd.Flags().Changed(keypad) {
		cfg.PINFile, cfg.Keypad = "", true
	}
	return cfg
}

// errNoPIN: there is neither a PIN file nor somebody to ask.
var errNoPIN = errors.New("no --pin-file, and no terminal to ask for the PIN at")

// withPIN sees to it that a PIN can be had: from the file, or asked for once, without echo, and kept for this run. It never comes from an
// argument or the environment (law 7).
func withPIN(cfg hsm.Config) (_ hsm.Config, forget func(), err error) {
	if cfg.PINFile != "" {
		return cfg, func() {}, nil
	}
	if cfg.LatchFile == "" {
		return cfg, nil, errors.New("name --latch-file: a wrong PIN must be remembered somewhere that the daemon and the next run look at")
	}
	if cfg.Keypad {
		return cfg, func() {}, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return cfg, nil, errNoPIN
	}
	defer tty.Close()
	fmt.Fprintf(tty, "PIN of token %s: ", first(cfg.Label, cfg.Serial))
	pin, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return cfg, nil, fmt.Errorf("reading the PIN: %w", err)
	}
	cfg.PIN = func() ([]byte, error) { return bytes.Clone(pin), nil }
	return cfg, func() { clear(pin) }, nil
}
