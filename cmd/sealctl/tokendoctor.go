package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/hsm"
	"sealkeeper/hsm/doctor"
	"sealkeeper/hsm/worker"
)

// examination is one run of sealctl token doctor.
type examination struct {
	*settings
	tokenFlags
	profiles string
	clean    bool
}

func (s *settings) tokenDoctor() *cobra.Command {
	d := &examination{settings: s}
	cmd := &cobra.Command{Use: "doctor (--config seald.yaml | --module LIBRARY)", Short: "say whether a token, as configured, can serve the appliance, and what mends it", Args: args(),
		Long: `Make numbered checks of module, token, PIN, profile and of what the token does, with throw-away keys that are destroyed afterwards. Each finding comes with the
command that mends it. A token that reports its last try is sent no PIN; a wrong PIN is tried once and latches. Many devices admit one application only: stop the daemon first.

Exit codes: 0 every check is ok; 1 usage or files; 3 a check failed; 4 none failed, and one warns.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) }}
	d.choose(cmd)
	f := cmd.Flags()
	f.StringVar(&d.Profile, "profile", "", "firmware profile (default: as the daemon's, or the one that fits)")
	f.StringVar(&d.profiles, "profiles", "", "folder with further profiles (default: as the daemon's)")
	f.IntVar(&d.Sessions, "sessions", 0, "sessions that the appliance will ask for (default: as the daemon's)")
	f.BoolVar(&d.clean, "clean", false, "destroy what probings that broke off left in the token, and nothing else")
	return cmd
}

func (d *examination) run(cmd *cobra.Command) error {
	p, err := d.place()
	if err != nil {
		return err
	}
	set, err := hsm.Profiles(first(d.profiles, p.profiles))
	if err != nil {
		return err
	}
	cfg, forget, err := withPIN(typed(cmd, p.Config))
	if err != nil {
		return err
	}
	defer forget()
	r, err := doctor.Run(cmd.Context(), doctor.Config{Config: cfg, Set: set, Profile: p.profile, InProcess: p.isolation == "in-process", Clean: d.clean, Flags: d.given()})
	if err != nil {
		return err
	}
	if err := d.show(cmd, r, func(w io.Writer) { showChecks(w, r) }); err != nil {
		return err
	}
	switch r.Verdict {
	case doctor.Fail:
		return exit{code: exitInvalid}
	case doctor.Warn:
		return exit{code: exitIndeterminate}
	}
	return nil
}

// given repeats how the token was named, for the commands that mend.
func (d *examination) given() string {
	var words []string
	for _, f := range []struct{ name, value string }{{"config", d.config}, {"module", d.Module}, {"serial", d.Serial}, {"label", d.Label}, {"pin-file", d.PINFile},
		{"latch-file", d.LatchFile}} {
		if f.value != "" {
			words = append(words, "--"+f.name, f.value)
		}
	}
	return strings.Join(words, " ")
}

func showChecks(w io.Writer, r *doctor.Report) {
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", c.Number, c.Result, c.Name, c.Detail)
		if c.Mend != "" {
			fmt.Fprintf(w, "\t\t\t→ %s\n", c.Mend)
		}
	}
	fmt.Fprintf(w, "\nPIN tries left\t%s\nverdict\t%s\n", orDash(r.PINTries), r.Verdict)
}

// tokenWorker is what the doctor runs this program as, to see the module work in a process of its own.
func tokenWorker() *cobra.Command {
	return &cobra.Command{Use: worker.Command, Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if code := worker.Main(); code != 0 {
			return exit{code: code}
		}
		return nil
	}}
}
