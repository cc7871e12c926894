// Command sealctl is the operator's and tester's command: it speaks to the daemon over its API, and verifies documents, seals and the audit log
// offline, without one.
//
// Exit codes: 0 done (verify: all valid); 1 usage, files or network; 2 refused by the appliance, or the appliance is not ready; 3 verify,
// audit verify: something is invalid; 4 verify: something is indeterminate and nothing invalid.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/hsm"
)

var version = "dev"

// exit is an error that names its exit code and has been told to the user already when quiet.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	s := &settings{}
	s.begin(ctx)
	cmd := s.root()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	used, err := cmd.ExecuteContextC(ctx)
	return code(errors.Join(usage(used, err), s.end()), errs)
}

// usage points at the help where cobra's own complaint about flags does not.
func usage(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	for _, begin := range []string{"required flag(s)", "at least one of the flags", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), begin) {
			return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
		}
	}
	return err
}

// code tells the user what is wrong and what to do about it, and returns the exit code.
func code(err error, errs io.Writer) int {
	if err == nil {
		return exitDone
	}
	var e exit
	var p *client.Problem
	status := exitUsage
	switch {
	case errors.As(err, &e):
		if status = e.code; e.err == nil {
			return status
		}
		err = e.err
	case errors.As(err, &p):
		status = exitRefused
	}
	fmt.Fprintln(errs, "sealctl:", err)
	if todo := advice(err); todo != "" {
		fmt.Fprintln(errs, "  what to do:", todo)
	}
	return status
}

// settings are the flags of every command.
type settings struct {
	server, ca, cert, key, output string
	idempotency                   string // of a mutating command

	ctx    context.Context // of the command; crypto.Signer takes none
	opened *hsm.Module     // the token with the caller's key, when it is in one
}

func (s *settings) root() *cobra.Command {
	cmd := &cobra.Command{Use: "sealctl", Short: "掌印 operator's command", Version: version, SilenceUsage: true, SilenceErrors: true,
		Args: cobra.ArbitraryArgs, RunE: wantVerb,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if s.output != "table" && s.output != "json" {
				return fmt.Errorf("--output %q: want table or json", s.output)
			}
			return nil
		}}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return fmt.Errorf("%w; see %s --help", err, c.CommandPath()) })
	f := cmd.PersistentFlags()
	f.StringVar(&s.server, "server", env("SEALCTL_SERVER", "https://127.0.0.1:8443"), "address of the appliance (SEALCTL_SERVER)")
	f.StringVar(&s.ca, "ca", env("SEALCTL_CA", "ca.pem"), "PEM file that verifies the appliance (SEALCTL_CA)")
	f.StringVar(&s.cert, "cert", env("SEALCTL_CERT", ""), "PEM chain of your certificate (SEALCTL_CERT)")
	f.StringVar(&s.key, "key", env("SEALCTL_KEY", ""), "PEM file of your key, or a reference to one in a token (SEALCTL_KEY)")
	f.StringVarP(&s.output, "output", "o", "table", "table or json")
	cmd.AddCommand(s.health(), s.licence(), s.impression(), s.order(), s.deviceNoun(), s.reconcile(), s.seal(), s.sign(), s.ofd(), s.pdf(), s.timestamp(), s.verify(), s.trustList(), s.audit(), s.clients(), s.grant(), s.delegation(),
		s.csr(), s.phone(), s.bench(), s.token(), tokenWorker(), s.clock(), s.recovery(), s.ceremony(), exitCodes())
	cmd.AddCommand(s.outbox(), s.feed(), s.institution(), s.receipt(), s.backup())
	cmd.AddCommand(s.permits(), s.sharing(), s.code())
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// show prints v as JSON, or lets table print rows.
func (s *settings) show(cmd *cobra.Command, v any, table func(w io.Writer)) error {
	if s.output == "json" || table == nil {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}
