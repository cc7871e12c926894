// Command seald is the signing appliance's daemon: it parses its configuration, constructs the floors, connects them and serves.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "seald:", err)
		stop()
		os.Exit(exitCode(err))
	}
}

func root() *cobra.Command {
	var config, profile string
	var checkOnly bool
	cmd := &cobra.Command{Use: "seald", Short: "掌印 signing appliance daemon", Version: version, SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := LoadConfig(config)
			if err != nil || checkOnly {
				return err
			}
			return profiled(profile, func() error { return run(cmd.Context(), c) })
		}}
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write a processor profile of the whole run to this file")
	cmd.Flags().StringVar(&config, "config", "seald.yaml", "configuration file")
	cmd.Flags().BoolVar(&checkOnly, "check-config", false, "check the configuration and exit")
	cmd.AddCommand(initCommand(), workerCommand())
	return cmd
}

// profiled runs do under the processor profiler when a file is named.
func profiled(path string, do func() error) error {
	if path == "" {
		return do()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}
