// Command sealsim plays the systems outside the appliance: registration, public security's seal management, the national e-licence system and the
// owner's phone. It is for demonstrations and tests and is never packaged for production.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "sealsim:", err)
		stop()
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{Use: "sealsim", Short: "simulators of the systems outside the appliance (演示数据)", Version: version, SilenceUsage: true, SilenceErrors: true}
	cmd.AddCommand(initCommand(), serveCommand(), testdataCommand())
	return cmd
}

func initCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "init", Short: "make the simulators' keys and certificate requests", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return makeKeys(dir)
	}}
	cmd.Flags().StringVar(&dir, "dir", "sim", "the simulators' directory")
	return cmd
}

func serveCommand() *cobra.Command {
	var c serveConfig
	cmd := &cobra.Command{Use: "serve", Short: "run the simulators on loopback", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return serve(cmd.Context(), c)
	}}
	f := cmd.Flags()
	f.StringVar(&c.dir, "dir", "sim", "the simulators' directory")
	f.StringVar(&c.listen, "listen", "127.0.0.1:0", "loopback address to listen on")
	f.StringVar(&c.server, "server", "https://127.0.0.1:8443", "address of the appliance")
	f.StringVar(&c.ca, "ca", "ca.pem", "PEM file that verifies the appliance")
	f.StringVar(&c.audience, "audience", "sealkeeper", "the appliance's name in identity assertions")
	return cmd
}
