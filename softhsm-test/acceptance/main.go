// Command acceptance holds the mission against the repository: every sentence of it, what delivers it, the test or command that shows it,
// and whether that holds today.
//
//	acceptance                 run what the rows name and print the table (make acceptance)
//	acceptance --output json   the same for programs
//
// Its promise: nothing is green for being written down. A row passes when every test it names exists, runs and passes, none of it
// skipped, and its command ends with 0. A row that is not built yet names what will deliver it; a row with neither fails. The exit
// code is 0 only when no row fails.
//
// Limits: it shows what the named tests show. The measures are figures reported in docs/benchmarks.md, never asserted here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
	}
	os.Exit(code)
}

// run returns the exit code: 0 every row holds, 1 it could not be judged, 2 a row fails.
func run(ctx context.Context, args []string, out, progress io.Writer) (int, error) {
	flags := flag.NewFlagSet("acceptance", flag.ContinueOnError)
	flags.SetOutput(progress)
	output := flags.String("output", "table", "table or json")
	width := flags.Int("width", 148, "columns of the table")
	if err := flags.Parse(args); err != nil {
		return 1, nil // the flag set has said why
	}
	if *output != "table" && *output != "json" || flags.NArg() > 0 || *width < 80 {
		return 1, errors.New("want --output table or json, --width of at least 80, and no arguments")
	}
	root, err := repository()
	if err != nil {
		return 1, err
	}
	m, err := load(missionYAML)
	if err != nil {
		return 1, err
	}
	r, err := judge(ctx, m, bench{root: root, progress: progress})
	if err != nil {
		return 1, err
	}
	if *output == "json" {
		err = r.json(out)
	} else {
		err = r.table(out, *width)
	}
	if err == nil && r.Failed > 0 {
		return 2, fmt.Errorf("%d of %d rows fail", r.Failed, r.Failed+r.Passed+r.Later)
	}
	return 0, err
}

// repository is the folder that holds go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if filepath.Dir(at) == at {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}
