package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// verification judges files on this machine alone: no daemon, no token, no network.
type verification struct {
	roots, others, makers []string
	language              string
	at                    string
}

func (s *settings) verify() *cobra.Command {
	v := &verification{}
	cmd := &cobra.Command{Use: "verify FILE...", Short: "judge sealed documents, seals and seal signatures offline, without a daemon",
		Long: `Judge OFD documents, seals (.esl) and seal signatures (SignedValue.dat) on this machine alone.

Trust comes from --root; without it no file can be more than indeterminate. Beside a seal signature named SignedValue.dat a file
Signature.xml is taken as what was signed. --output json prints an array with one report per file.

Exit codes: 0 all valid, 1 usage or I/O, 3 any invalid, 4 any indeterminate and none invalid.`,
		Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, files []string) error { return s.judge(cmd, v, files) }}
	f := cmd.Flags()
	f.StringArrayVar(&v.roots, "root", nil, "PEM file of trust anchors, repeated")
	f.StringArrayVar(&v.makers, "maker", nil, "PEM file of seal makers' certificates that are trusted, repeated; others' seals are not")
	f.StringArrayVar(&v.others, "intermediate", nil, "PEM file of certificates that may stand between, repeated")
	f.StringVar(&v.language, "language", language(), "zh or en, of the report on screen")
	f.StringVar(&v.at, "at", "", "judge as of this RFC 3339 time (default: now)")
	return cmd
}

// language follows the terminal.
func language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(v, "zh") {
				return verify.Chinese
			}
			return verify.English
		}
	}
	return verify.English
}

func (s *settings) judge(cmd *cobra.Command, v *verification, files []string) error {
	if len(files) == 0 {
		return fmt.Errorf("%s takes FILE..., got none; see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	opts, err := v.options()
	if err != nil {
		return err
	}
	reports, unread := []verify.Report{}, error(nil)
	for _, name := range files {
		r, err := judgeFile(cmd, name, opts)
		if err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		reports = append(reports, r)
	}
	err = s.show(cmd, reports, func(w io.Writer) {
		for _, r := range reports {
			fmt.Fprint(w, r.Text(v.language))
		}
	})
	switch code := verify.ExitCode(reports); {
	case err != nil:
		return err
	case unread != nil:
		return exit{exitUsage, unread}
	case code == exitIndeterminate && len(v.roots) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no trust anchor was named: pass the PEM file of the authority's root with --root")
		return exit{code: code}
	case code != exitDone:
		return exit{code: code}
	}
	return nil
}

func (v *verification) options() (verify.Options, error) {
	var o verify.Options
	var err error
	if v.language != verify.Chinese && v.language != verify.English {
		return o, fmt.Errorf("--language %q: want zh or en", v.language)
	}
	if v.at != "" {
		if o.Now, err = instant("--at", v.at); err != nil {
			return o, err
		}
	} else {
		o.Now = time.Now()
	}
	if o.Roots, err = certificates("trust anchors", v.roots); err != nil {
		return o, err
	}
	if o.Makers, err = certificates("seal makers", v.makers); err != nil {
		return o, err
	}
	o.Intermediates, err = certificates("intermediate certificates", v.others)
	return o, err
}

// certificates reads every certificate of some PEM files.
func certificates(what string, files []string) ([]*gm.Certificate, error) {
	var all []*gm.Certificate
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", what, err)
		}
		before := len(all)
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := gm.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("reading %s from %s: %w", what, path, err)
			}
			all = append(all, c)
		}
		if len(all) == before {
			return nil, fmt.Errorf("reading %s: no PEM certificate in %s", what, path)
		}
	}
	return all, nil
}

const (
	signedValue  = "SignedValue.dat" // GB/T 33190: the seal signature in an OFD package
	signatureXML = "Signature.xml"   // beside it: what it signs
)

// maxFile is what the verifier takes; one byte more is read so that it says so itself.
const maxFile = 64 << 20

func judgeFile(cmd *cobra.Command, name string, opts verify.Options) (verify.Report, error) {
	b, err := readBounded(name)
	if err != nil {
		return verify.Report{}, err
	}
	if strings.EqualFold(filepath.Base(name), signedValue) {
		switch xml, err := readBounded(filepath.Join(filepath.Dir(name), signatureXML)); {
		case err == nil:
			opts.SignatureXML = xml
		case !errors.Is(err, os.ErrNotExist):
			return verify.Report{}, err
		}
	}
	return verify.Document(cmd.Context(), name, b, opts), nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}
