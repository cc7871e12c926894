package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/hsm"
	"sealkeeper/hsm/probe"
)

// probing is one run of sealctl token probe.
type probing struct {
	*settings
	tokenFlags
	profiles, against, id, by, out string
	signatures, most               int
	span                           time.Duration
}

// measured is what --output json prints.
type measured struct {
	Profile     string             `json:"profile"` // the YAML text; empty when there is nothing to write one of
	Differences []probe.Difference `json:"differences"`
	Findings    *probe.Findings    `json:"findings"`
}

func (s *settings) tokenProbe() *cobra.Command {
	p := &probing{settings: s}
	cmd := &cobra.Command{Use: "probe (--config seald.yaml | --module LIBRARY) --by NAME", Short: "find out by measurement what a token does, and print it as a firmware profile", Args: args(),
		Long: `Measure on a real token which mechanisms sign what, and in which encoding; how points read; which templates are taken; which wrapping comes back;
how many sessions can be open; how fast it is. The profile goes to standard output, or a new file; what differs from the shipped profile that fits goes to
standard error.

Only mechanisms that the token lists are tried, in the vendor range or in shipped profiles, with keys made for the purpose and destroyed afterwards. Many
devices admit one application only: stop the daemon first. A wrong PIN is not tried twice (the latch is the daemon's own with --config).

Exit codes: 0 a profile was printed; 1 usage or files; 2 the token or the latch refused, or the measuring broke off; 3 something was left in the token, or the
appliance could not use the token under the measured profile.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd) }}
	p.choose(cmd)
	f := cmd.Flags()
	f.StringVar(&p.profiles, "profiles", "", "folder with further profiles to compare with (default: as the daemon's)")
	f.StringVar(&p.against, "profile", "", "profile to compare with and to try first (default: the one that fits library and token by name)")
	f.StringVar(&p.id, "id", "", "id of the printed profile (default: measured- and the model)")
	f.StringVar(&p.by, "by", "", "who answers for the measurement; needed for a real device")
	f.StringVar(&p.out, "out", "-", "new file for the profile")
	f.IntVar(&p.signatures, "signatures", probe.Enough, "signatures by each mechanism; fewer may miss an encoding that fails for 1 value in 256")
	f.IntVar(&p.most, "max-sessions", 64, "most sessions that are opened")
	f.DurationVar(&p.span, "span", time.Second, "length of each measurement of speed; 0 leaves speed out")
	return cmd
}

func (p *probing) check() error {
	switch {
	case p.signatures < 1 || p.signatures > 1_000_000:
		return errors.New("--signatures is 1 to 1000000")
	case p.most < 3 || p.most > 4096:
		return errors.New("--max-sessions is 3 to 4096")
	case p.span < 0 || p.span > time.Minute:
		return errors.New("--span is 0 to 1m")
	}
	return vacant(p.out)
}

func (p *probing) run(cmd *cobra.Command) error {
	if err := p.check(); err != nil {
		return err
	}
	at, err := p.place()
	if err != nil {
		return err
	}
	set, err := hsm.Profiles(first(p.profiles, at.profiles))
	if err != nil {
		return err
	}
	cfg, forget, err := withPIN(typed(cmd, at.Config))
	if err != nil {
		return err
	}
	defer forget()
	step, stop := steps(cmd.ErrOrStderr())
	f, err := probe.Run(cmd.Context(), cfg, probe.Options{Set: set, Against: p.against, By: p.by, ID: p.id, Signatures: p.signatures, Sessions: p.most, Span: p.span, Progress: step})
	stop()
	if err != nil {
		return p.broken(cmd, f, err)
	}
	return p.report(cmd, f)
}

// broken tells what was found until the measuring broke off.
func (p *probing) broken(cmd *cobra.Command, f *probe.Findings, err error) error {
	if f == nil {
		return refusedByToken(err)
	}
	if p.output == "json" {
		err = errors.Join(err, p.show(cmd, measured{Findings: f, Differences: []probe.Difference{}}, nil))
	}
	showNotes(cmd.ErrOrStderr(), f)
	return exit{exitRefused, fmt.Errorf("probing the token: %w", err)}
}

// refusedByToken gives the refusals of a token or a latch their exit code.
func refusedByToken(err error) error {
	for _, refusal := range []error{hsm.ErrPINLatched, hsm.ErrTokenGone, hsm.ErrLoggedOut, probe.ErrToken} {
		if errors.Is(err, refusal) {
			return exit{exitRefused, err}
		}
	}
	return err
}

func (p *probing) report(cmd *cobra.Command, f *probe.Findings) error {
	profile, text, err := f.Profile()
	if err != nil {
		showNotes(cmd.ErrOrStderr(), f)
		return exit{exitRefused, err}
	}
	m := measured{Profile: string(text), Differences: f.Differences(profile), Findings: f}
	switch {
	case p.output == "json" && p.out == "-":
		err = p.show(cmd, m, nil)
	case p.output == "json":
		err = errors.Join(writeOut(cmd, p.out, 0o644, text), p.show(cmd, m, nil))
	default:
		err = writeOut(cmd, p.out, 0o644, text)
	}
	if err != nil {
		return err
	}
	showMeasured(cmd.ErrOrStderr(), f, m.Differences)
	return verdictOf(f)
}

// verdictOf fails a probing that left something, or whose profile the appliance could not use.
func verdictOf(f *probe.Findings) error {
	if len(f.Left) > 0 {
		return exit{exitInvalid, fmt.Errorf("left in the token: %s", strings.Join(f.Left, "; "))}
	}
	for _, t := range f.Trials {
		if t.Outcome != probe.Good {
			return exit{exitInvalid, fmt.Errorf("under the measured profile the appliance cannot use %s: %s", t.Algorithm, t.Outcome)}
		}
	}
	return nil
}

func showNotes(w io.Writer, f *probe.Findings) {
	for _, n := range f.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	for _, l := range f.Left {
		fmt.Fprintln(w, "LEFT IN THE TOKEN:", l)
	}
}

func showMeasured(w io.Writer, f *probe.Findings, d []probe.Difference) {
	showNotes(w, f)
	for _, r := range f.Rates {
		fmt.Fprintf(w, "rate: %s, sessions %d: %.0f/s\n", r.What, r.Sessions, r.PerSec)
	}
	switch {
	case f.Shipped == "":
		fmt.Fprintln(w, "no shipped profile fits this library and token")
	case len(d) == 0:
		fmt.Fprintf(w, "agrees with the shipped profile %s\n", f.Shipped)
	default:
		fmt.Fprintf(w, "differs from the shipped profile %s:\n", f.Shipped)
		for _, x := range d {
			fmt.Fprintf(w, "  %s: %s (shipped %s, measured %s)\n", x.Path, x.Meaning, orDash(x.Shipped), orDash(x.Measured))
		}
	}
}

// steps draws one bar for each step on a terminal, and nothing elsewhere.
func steps(w io.Writer) (step func(what string, done, of int), stop func()) {
	last, draw, end := "", func(uint64, uint64) {}, func() {}
	if _, isFile := w.(*os.File); !isFile {
		return func(string, int, int) {}, end
	}
	return func(what string, done, of int) {
		if what != last {
			end()
			draw, end = progress(w, what)
			last = what
		}
		draw(uint64(done), uint64(max(of, 1)))
	}, func() { end() }
}
