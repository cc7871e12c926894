package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"sealkeeper/signer/verify"
)

const (
	signedValue  = "SignedValue.dat" // GB/T 33190: the seal signature in an OFD package
	signatureXML = "Signature.xml"   // beside it: what it signs
)

// kinds are the endings of the files that are judged of a directory.
var kinds = []string{".ofd", ".pdf", ".esl", ".p7s", ".p7m"}

// expand replaces directories by the files of known kinds in and below them. Links are not followed.
func expand(named []string) ([]string, error) {
	var files []string
	for _, name := range named {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			files = append(files, name) // what cannot be read is said with the reports of the others
			continue
		}
		before := len(files)
		err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && ofKind(path) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking for files in %s: %w", name, err)
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s holds no %s and no %s", name, strings.Join(kinds, ", "), signedValue)
		}
	}
	return files, nil
}

func ofKind(path string) bool {
	return strings.EqualFold(filepath.Base(path), signedValue) || slices.Contains(kinds, strings.ToLower(filepath.Ext(path)))
}

// judgeAll judges files side by side and returns the reports in their order, without those of files that could not be read.
func (v *verification) judgeAll(cmd *cobra.Command, files []string, opts verify.Options) ([]verify.Report, error) {
	reports, faults := make([]*verify.Report, len(files)), make([]error, len(files))
	step, stop := func(uint64, uint64) {}, func() {}
	if len(files) > 1 {
		step, stop = progress(cmd.ErrOrStderr(), "files")
	}
	var next, done atomic.Uint64
	var workers sync.WaitGroup
	for range min(v.workers(), len(files)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < uint64(len(files)); i = next.Add(1) - 1 {
				reports[i], faults[i] = judgeFile(cmd, files[i], opts)
				step(done.Add(1), uint64(len(files)))
			}
		})
	}
	workers.Wait()
	stop()
	out := []verify.Report{}
	for _, r := range reports {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out, errors.Join(faults...)
}

func (v *verification) workers() int {
	if v.jobs > 0 {
		return v.jobs
	}
	return runtime.GOMAXPROCS(0)
}

func judgeFile(cmd *cobra.Command, name string, opts verify.Options) (*verify.Report, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Base(name), signedValue) {
		switch xml, err := readBounded(filepath.Join(filepath.Dir(name), signatureXML)); {
		case err == nil:
			opts.SignatureXML = xml
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	r := verify.Document(cmd.Context(), name, b, opts)
	return &r, nil
}

// countVerdicts counts the verdicts of many files.
func countVerdicts(w io.Writer, reports []verify.Report) {
	if len(reports) < 2 {
		return
	}
	count := map[verify.Verdict]int{}
	for _, r := range reports {
		count[r.Verdict]++
	}
	fmt.Fprintf(w, "%d files: %d valid, %d invalid, %d indeterminate\n", len(reports), count[verify.Valid], count[verify.Invalid], count[verify.IndeterminateResult])
}
