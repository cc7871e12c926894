package main

import "github.com/spf13/cobra"

// Exit codes.
const (
	exitDone          = 0
	exitUsage         = 1
	exitRefused       = 2
	exitInvalid       = 3
	exitIndeterminate = 4
)

// exitCodes is a help topic: it cannot be run.
func exitCodes() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: `Exit codes:

  0  done; verify: every file is valid; health: the appliance is ready
  1  usage, files or network: nothing was decided
  2  the appliance refused (the problem code says why), or it is not ready
  3  verify: a file is invalid; audit verify: the log does not hold
  4  verify: a file is indeterminate (a trust anchor or a part is missing) and none is invalid

A file that cannot be read gives 1 even when the others could be judged.`}
}
