package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// health asks whether the appliance could sign; with --token an operator also sees the token.
func (s *settings) health() *cobra.Command {
	var token bool
	cmd := &cobra.Command{Use: "health", Short: "say whether the appliance could sign now, and what is in the way (exit 2 when it could not)", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if token {
				return look(s, cmd, "/v1/appliance", showAppliance)
			}
			return s.ready(cmd)
		}}
	cmd.Flags().BoolVar(&token, "token", false, "describe the token, too (operators)")
	return cmd
}

func (s *settings) ready(cmd *cobra.Command) error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	r, err := cl.Ready(cmd.Context())
	if err != nil {
		return err
	}
	err = s.show(cmd, r, func(w io.Writer) {
		word := "ready"
		if !r.Ready {
			word = "not ready"
		}
		fmt.Fprintf(w, "%s\t%s mode\n", word, r.Mode)
		showFaults(w, r.Faults)
	})
	if err == nil && !r.Ready {
		return exit{code: exitRefused}
	}
	return err
}

func showFaults(w io.Writer, faults []client.Fault) {
	for _, f := range faults {
		fmt.Fprintf(w, "%s\t%s\n", f.Part, f.Detail)
	}
}

func showAppliance(w io.Writer, a client.Appliance) {
	t := a.Token
	fmt.Fprintf(w, "mode\t%s\nversion\t%s\ntoken\t%s, serial %s\nmodel\t%s %s, firmware %s\nlibrary\t%s\nmodule SHA-256\t%s\nprofile\t%s\nevidence\t%s\nsessions\t%d\nepoch\t%d\n",
		a.Mode, a.Version, t.Label, t.Serial, t.Manufacturer, t.Model, t.Firmware, t.Library, t.ModuleSHA256, t.Profile, t.Evidence, t.Sessions, t.Epoch)
	if t.PINTriesLow {
		fmt.Fprintln(w, "PIN\tone or few tries left")
	}
	showFaults(w, a.Faults)
}

// decide sends an operator's act that has no body.
func (s *settings) decide(cmd *cobra.Command, path string) error {
	return ask(s, cmd, client.Call{Method: http.MethodPost, Path: path, Key: client.NewKey()}, func(w io.Writer, d client.Decision) {
		if d.Done {
			fmt.Fprintln(w, "done")
			return
		}
		fmt.Fprintln(w, "taken down, not done yet:", d.Next)
	})
}

func (s *settings) clock() *cobra.Command {
	return noun("clock", "the appliance's clock (law: it stops when its clock cannot be right)",
		&cobra.Command{Use: "accept", Short: "let the appliance go on: an operator has compared its clock with another", Args: args(),
			RunE: func(cmd *cobra.Command, _ []string) error { return s.decide(cmd, "/v1/appliance/clock") }})
}

func (s *settings) recovery() *cobra.Command {
	return noun("recovery", "going on after a store was put back to an older state",
		&cobra.Command{Use: "resynchronise", Short: "give one officer's half of the decision; a system and a security operator are needed", Args: args(),
			RunE: func(cmd *cobra.Command, _ []string) error { return s.decide(cmd, "/v1/appliance/resynchronise") }})
}
