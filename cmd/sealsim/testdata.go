package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sealkeeper/internal/gm/softkey"
	"sealkeeper/softhsm-test/synthetic/dataset"
)

func testdataCommand() *cobra.Command {
	var size, keys string
	c := dataset.Config{}
	cmd := &cobra.Command{Use: "testdata", Short: "生成演示数据: write a made-up city as JSON Lines, the same bytes for the same seed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			known := false
			if c.Size, known = dataset.Sizes[size]; !known {
				return fmt.Errorf("size %q is not one of %s", size, strings.Join(sizeNames(), ", "))
			}
			if keys != "" {
				if c.Events, err = softkey.Load(filepath.Join(keys, "registration.key")); err != nil {
					return err
				}
				if c.Filings, err = softkey.Load(filepath.Join(keys, "public-security.key")); err != nil {
					return err
				}
			}
			return writeTestdata(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c)
		}}
	f := cmd.Flags()
	f.StringVar(&size, "size", "tiny", "tiny (20 enterprises), small (2,000) or city (300,000, no pictures)")
	f.StringVar(&c.Seed, "seed", "1", "another seed is another city")
	f.StringVar(&c.Dir, "out", "testdata", "an empty directory")
	f.StringVar(&keys, "keys", "", "the simulators' directory, whose keys sign; without it keys are made from the seed and known to everybody")
	return cmd
}

func sizeNames() []string {
	var all []string
	for name := range dataset.Sizes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func writeTestdata(ctx context.Context, out, bars io.Writer, c dataset.Config) error {
	if f, ok := bars.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		bars = io.Discard
	}
	bar := progressbar.NewOptions(c.Size.Enterprises, progressbar.OptionSetWriter(bars), progressbar.OptionSetDescription("enterprises"),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(200*time.Millisecond))
	c.Progress = func(done int) { bar.Set(done) }
	start := time.Now()
	sum, err := dataset.Write(ctx, c)
	bar.Finish()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "演示数据: %d enterprises, %d events (%d to be refused), %d filings, in %s, %.1f s\n",
		sum.Enterprises, sum.Events, sum.Rejected, sum.Filings+sum.Late, c.Dir, time.Since(start).Seconds())
	return nil
}
