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
  2  the appliance refused (the problem code says why), or it is not ready; token probe: the token or the PIN latch refused
  3  verify: a file is invalid; reconcile: something does not agree; audit verify: the log does not hold; token doctor: a check failed; token probe: something was left in the token
  4  verify: a file is indeterminate (a trust anchor or a part is missing) and none is invalid; token doctor: a check warns and none failed

A file that cannot be read gives 1 even when the others could be judged.`}
}
