package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// noun groups the verbs of one subject.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs, RunE: wantVerb}
	cmd.AddCommand(verbs...)
	return cmd
}

// wantVerb runs when no verb was named, or none that exists: doing nothing is not success.
func wantVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		cmd.Help()
		return exit{code: exitUsage}
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%s has no %q%s; see %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
}

// args demands exactly the named arguments.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) == len(names) {
			return nil
		}
		want := "no arguments"
		if len(names) > 0 {
			want = strings.Join(names, " ")
		}
		return fmt.Errorf("%s takes %s, got %d; see %s --help", cmd.CommandPath(), want, len(given), cmd.CommandPath())
	}
}

// require marks flags without which a command has nothing to do.
func require(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // a flag that the line above did not define: no user can cause it
		}
	}
}
