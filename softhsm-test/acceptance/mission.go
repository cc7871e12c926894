package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed mission.yaml
var missionYAML []byte

// mission is what was asked for, cut into rows.
type mission struct {
	Groups []group `yaml:"groups"`
}

// group is a part of the mission, or the laws, or the measures.
type group struct {
	Name text  `yaml:"name"`
	Rows []row `yaml:"rows"`
}

// text is a sentence in both languages.
type text struct {
	ZH string `yaml:"zh" json:"zh"`
	EN string `yaml:"en" json:"en"`
}

// row is one clause of the mission. It is shown by tests, a command or a reported figure; Later names what completes or delivers it.
type row struct {
	Mission  text    `yaml:"mission"`
	Delivers string  `yaml:"delivers"` // what does, or will
	Test     []named `yaml:"test"`     // each "./package TestName"
	Command  string  `yaml:"command"`  // run by sh at the top of the repository; exit code 0 is a pass
	Figure   figure  `yaml:"figure"`   // as docs/benchmarks.md reports it
	Later    string  `yaml:"later"`
}

// figure is a cell of a table in docs/benchmarks.md: the row by its first cell, the column by its head.
type figure struct {
	Row    string `yaml:"row"`
	Column string `yaml:"column"`
}

// deliveries are what a row may be put off to.
var deliveries = []string{"Containers", "Devices", "Licences", "Access", "Operations", "Scale"}

// named is a test: the package's folder and the test's name.
type named struct {
	Package string `json:"package"`
	Name    string `json:"name"`
}

var namedForm = regexp.MustCompile(`^(\./[a-z0-9/-]+) (Test[A-Z][A-Za-z0-9_]*)$`)

// UnmarshalText reads "./package TestName".
func (n *named) UnmarshalText(b []byte) error {
	m := namedForm.FindSubmatch(b)
	if m == nil {
		return fmt.Errorf("test %q: want \"./package TestName\"", b)
	}
	n.Package, n.Name = string(m[1]), string(m[2])
	return nil
}

func (n named) String() string { return n.Package + " " + n.Name }

// load reads the mission strictly: unknown keys, unknown deliveries and half-written rows are refused. A row that nothing shows and
// nothing promises is no error here; it fails when it is judged.
func load(b []byte) (mission, error) {
	var m mission
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := d.Decode(&m); err != nil && err != io.EOF {
		return m, fmt.Errorf("reading mission.yaml: %s", yaml.FormatError(err, false, true))
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("reading mission.yaml: %w", err)
	}
	return m, nil
}

func (m mission) check() error {
	var errs []error
	seen := map[string]bool{}
	rows := 0
	for _, g := range m.Groups {
		if g.Name.ZH == "" || g.Name.EN == "" || len(g.Rows) == 0 {
			errs = append(errs, fmt.Errorf("group %q needs a name in both languages and rows", g.Name.EN))
		}
		for _, r := range g.Rows {
			rows++
			if err := r.check(); err != nil {
				errs = append(errs, fmt.Errorf("row %d %q: %w", rows, r.Mission.EN, err))
			}
			if seen[r.Mission.ZH] {
				errs = append(errs, fmt.Errorf("row %d %q stands twice", rows, r.Mission.ZH))
			}
			seen[r.Mission.ZH] = true
		}
	}
	if rows == 0 {
		errs = append(errs, errors.New("no rows"))
	}
	return errors.Join(errs...)
}

func (r row) check() error {
	switch {
	case r.Mission.ZH == "" || r.Mission.EN == "":
		return errors.New("the mission is wanted in both languages")
	case r.Delivers == "":
		return errors.New("what delivers it?")
	case (r.Figure.Row == "") != (r.Figure.Column == ""):
		return errors.New("a figure has a row and a column")
	case r.Later != "" && !slices.Contains(deliveries, r.Later):
		return fmt.Errorf("later %q: want one of %s", r.Later, strings.Join(deliveries, ", "))
	}
	for i, t := range r.Test {
		if slices.Contains(r.Test[:i], t) {
			return fmt.Errorf("%s stands twice", t)
		}
	}
	return nil
}

// tests are all tests that rows name, each once, in order.
func (m mission) tests() []named {
	var all []named
	for _, g := range m.Groups {
		for _, r := range g.Rows {
			for _, t := range r.Test {
				if !slices.Contains(all, t) {
					all = append(all, t)
				}
			}
		}
	}
	return all
}
