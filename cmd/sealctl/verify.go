package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/trust"
)

// verification judges files on this machine alone: no daemon, no token, no network.
type verification struct {
	roots, documents, others, makers, stampers, signers []string
	lists, publishers, crls                             []string
	content, language, at                               string
	jobs                                                int
}

func (s *settings) verify() *cobra.Command {
	v := &verification{}
	cmd := &cobra.Command{Use: "verify FILE|DIRECTORY...", Short: "judge sealed documents, seals and signatures offline, without a daemon",
		Long: `Judge OFD and PDF documents, seals (.esl), seal signatures (SignedValue.dat) and SignedData (.p7s) on this machine alone. Of a directory, all files
of these kinds in it and below are judged.

Trust comes from --root, and from --trust-list for seals of other regions; without either no file can be more than indeterminate. Beside a seal
signature named SignedValue.dat a file Signature.xml is taken as what was signed. --output json prints an array with one report per file.

Exit codes: 0 all valid, 1 usage or I/O, 3 any invalid, 4 any indeterminate and none invalid.`,
		Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, files []string) error { return s.judge(cmd, v, files) }}
	f := cmd.Flags()
	f.StringArrayVar(&v.roots, "root", nil, "PEM file of trust anchors, repeated")
	f.StringArrayVar(&v.documents, "document-root", nil, "PEM file of trust anchors that count only for certificates made to sign documents (RFC 9336), repeated")
	f.StringArrayVar(&v.makers, "maker", nil, "PEM file of seal makers' certificates that are trusted, repeated; others' seals are not")
	f.StringArrayVar(&v.others, "intermediate", nil, "PEM file of certificates that may stand between, repeated")
	f.StringArrayVar(&v.stampers, "timestamp-root", nil, "PEM file of trust anchors of time stamps, repeated (default: those of --root)")
	f.StringArrayVar(&v.signers, "signer", nil, "PEM file of certificates whose bare signatures are tried, repeated")
	f.StringArrayVar(&v.lists, "trust-list", nil, "signed trust list of a region, repeated; needs --trust-signer")
	f.StringArrayVar(&v.publishers, "trust-signer", nil, "PEM file of certificates that may sign trust lists, repeated")
	f.StringArrayVar(&v.crls, "crl", nil, "revocation list, DER or PEM, repeated")
	f.StringVar(&v.content, "content", "", "what SignedData that encloses nothing is over")
	f.StringVar(&v.language, "language", language(), "zh or en, of the report on screen")
	f.StringVar(&v.at, "at", "", "judge as of this RFC 3339 time (default: now)")
	f.IntVar(&v.jobs, "jobs", 0, "files judged at a time (default: one for each processor)")
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

func (s *settings) judge(cmd *cobra.Command, v *verification, named []string) error {
	if len(named) == 0 {
		return fmt.Errorf("%s takes FILE|DIRECTORY..., got none; see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	opts, err := v.options()
	if err != nil {
		return err
	}
	files, err := expand(named)
	if err != nil {
		return err
	}
	reports, unread := v.judgeAll(cmd, files, opts)
	err = s.show(cmd, reports, func(w io.Writer) {
		for _, r := range reports {
			fmt.Fprint(w, r.Text(v.language))
		}
	})
	countVerdicts(cmd.ErrOrStderr(), reports)
	switch code := verify.ExitCode(reports); {
	case err != nil:
		return err
	case unread != nil:
		return exit{exitUsage, unread}
	case code == exitIndeterminate && len(v.roots)+len(v.lists) == 0:
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
	for _, c := range []struct {
		what  string
		files []string
		into  *[]*gm.Certificate
	}{{"trust anchors", v.roots, &o.Roots}, {"trust anchors of documents", v.documents, &o.DocumentRoots}, {"seal makers", v.makers, &o.Makers}, {"intermediate certificates", v.others, &o.Intermediates},
		{"trust anchors of time stamps", v.stampers, &o.TimestampRoots}, {"signers", v.signers, &o.Signers}} {
		if *c.into, err = certificates(c.what, c.files); err != nil {
			return o, err
		}
	}
	if o.CRLs, err = revocationLists(v.crls); err != nil {
		return o, err
	}
	if v.content != "" {
		if o.Content, err = readBounded(v.content); err != nil {
			return o, err
		}
	}
	o.TrustLists, err = v.trustLists()
	return o, err
}

// trustLists reads the lists of other regions. One that is not signed by a named publisher is an error, not a file without trust.
func (v *verification) trustLists() ([]*trust.List, error) {
	publishers, err := certificates("signers of trust lists", v.publishers)
	if err != nil {
		return nil, err
	}
	if len(v.lists) > 0 && len(publishers) == 0 {
		return nil, errors.New("--trust-list counts only by the certificate of who signed it: pass --trust-signer")
	}
	var all []*trust.List
	for _, name := range v.lists {
		l, err := readTrustList(name, publishers)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func readTrustList(name string, publishers []*gm.Certificate) (*trust.List, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	l, err := trust.Parse(b, publishers)
	if err != nil {
		return nil, fmt.Errorf("reading the trust list %s: %w", name, err)
	}
	return l, nil
}

// revocationLists reads CRLs, every one of a PEM file or the one that is DER.
func revocationLists(files []string) ([][]byte, error) {
	var all [][]byte
	for _, name := range files {
		b, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		before := len(all)
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "X509 CRL" {
				all = append(all, block.Bytes)
			}
		}
		if len(all) == before {
			all = append(all, b)
		}
		for _, der := range all[before:] {
			if _, err := gm.ParseRevocationList(der); err != nil {
				return nil, fmt.Errorf("reading the revocation list %s: %w", name, err)
			}
		}
	}
	return all, nil
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

// maxFile is what the verifier takes; one byte more is read so that it says so itself.
const maxFile = 64 << 20

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
