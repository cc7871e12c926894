package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/stated"
)

// receiptKind is the kind of the statements that `receipt verify` takes.
const receiptKind = "archive-receipt/1"

// licenceVerify has the appliance judge a licence file.
func (s *settings) licenceVerify() *cobra.Command {
	var lang string
	cmd := &cobra.Command{Use: "verify FILE", Short: "judge a licence file against the library, and the national system when it is from elsewhere", Args: args("FILE"),
		Long: `Judge a licence file (OFD): its seals, whether the archive knows it, which version it is and what the licence is worth now.

Exit codes: 0 valid, 1 usage or I/O, 2 refused, 3 invalid, 4 indeterminate.`,
		RunE: func(cmd *cobra.Command, a []string) error {
			b, err := readBounded(a[0])
			if err != nil {
				return err
			}
			verdict := verify.Verdict("")
			err = ask(s, cmd, client.Call{Method: http.MethodPost, Path: "/v1/licences/verify", Query: url.Values{"name": {filepath.Base(a[0])}}, ContentType: "application/octet-stream", Body: b},
				func(w io.Writer, r struct {
					verify.Report
					Licence *client.LicenceStanding `json:"licence"`
				}) {
					verdict = r.Verdict
					fmt.Fprint(w, r.Text(lang))
					if l := r.Licence; l != nil {
						fmt.Fprintf(w, "  %s %s: version %d of %d, %s at %s by the %s\n", l.USCC, l.Name, l.Version, l.Current, l.Status, when(l.StatusAt), l.By)
					}
				})
			if err != nil {
				return err
			}
			return licenceVerdict(verdict)
		}}
	cmd.Flags().StringVar(&lang, "language", language(), "zh or en, of the report on screen")
	return cmd
}

func licenceVerdict(v verify.Verdict) error {
	if code := verify.ExitCode([]verify.Report{{Verdict: v}}); code != exitDone {
		return exit{code: code}
	}
	return nil
}

// receipt is the noun of archive receipts.
func (s *settings) receipt() *cobra.Command {
	return noun("receipt", "archive receipts (存档回执) of licence files", s.receiptMake(), s.receiptChanges(), s.receiptVerify())
}

func (s *settings) receiptMake() *cobra.Command {
	var q client.ArchiveRequest
	var out string
	cmd := s.keyed(&cobra.Command{Use: "make --file-sm3 DIGEST --purpose TEXT --biz-no TEXT --out FILE", Short: "have a receipt for a licence file of the archive", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := vacant(out); err != nil {
				return err
			}
			var der []byte
			err := tell(s, cmd, "/v1/licences/archive-receipts", q, func(w io.Writer, r client.ArchiveReceipt) {
				der = r.Statement
				showArchived(w, r.ID, r.IssuedAt, r.Body)
			})
			if err != nil || s.output == "json" {
				return err
			}
			return writeOut(cmd, out, 0o644, der)
		}})
	cmd.Flags().StringVar(&q.SM3, "file-sm3", "", "digest of the file, as `licence verify` tells it")
	cmd.Flags().StringVar(&q.Purpose, "purpose", "", "one of the purposes of your grant of kind licence")
	cmd.Flags().StringVar(&q.BizNo, "biz-no", "", "your own number of the case")
	cmd.Flags().StringVar(&out, "out", "", "file for the receipt (with --output json it stands in the answer)")
	require(cmd, "file-sm3", "purpose", "biz-no", "out")
	return cmd
}

func showArchived(w io.Writer, id string, at time.Time, b client.ReceiptBody) {
	for _, f := range [][2]string{{"receipt", id}, {"issued", when(at)}, {"file", b.SM3}, {"licence", b.USCC + " " + b.Name},
		{"version", fmt.Sprintf("%d of %d", b.Version, b.Current)}, {"status", fmt.Sprintf("%s at %s by the %s", b.Status, when(b.StatusAt), b.StatusBy)},
		{"purpose", b.Purpose}, {"business number", b.BizNo}, {"client", b.ClientName + " " + b.Client}} {
		fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
	}
}

func (s *settings) receiptChanges() *cobra.Command {
	var since string
	cmd := s.paged("changes", "licences that changed after you archived them, up to 40 seconds ago", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/licences/archived/changes", func(w io.Writer, p client.ArchivedChanges) {
			fmt.Fprintln(w, "USCC\tVERSION\tARCHIVED\tSTATUS\tTAKEN\tNAME")
			for _, c := range p.Items {
				fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", c.USCC, c.Version, c.Archived, c.Status, when(c.TakenAt), c.Name)
			}
			fmt.Fprintf(w, "go on with --cursor %s\n", p.Next)
		}, "since", since, "cursor", cursor, "limit", limit)
	})
	cmd.Flags().StringVar(&since, "since", "", "RFC 3339 time (default: from the beginning)")
	return cmd
}

// receiptVerify judges receipts on this machine alone.
func (s *settings) receiptVerify() *cobra.Command {
	var roots, stampers []string
	var at, lang string
	cmd := &cobra.Command{Use: "verify FILE...", Short: "judge archive receipts offline, without a daemon",
		Long: `Judge archive receipts on this machine alone: no daemon, no token, no network. Trust comes from --root, which an appliance's own root.pem is.

Exit codes: 0 all valid, 1 usage or I/O, 3 any invalid, 4 any indeterminate and none invalid.`,
		Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, files []string) error {
			trust, err := receiptTrust(roots, stampers, at)
			if err != nil {
				return err
			}
			return s.judgeReceipts(cmd, files, trust, lang)
		}}
	f := cmd.Flags()
	f.StringArrayVar(&roots, "root", nil, "PEM file of trust anchors, repeated")
	f.StringArrayVar(&stampers, "timestamp-root", nil, "PEM file of trust anchors of time stamps, repeated (default: those of --root)")
	f.StringVar(&at, "at", "", "judge as of this RFC 3339 time (default: now)")
	f.StringVar(&lang, "language", language(), "zh or en, of the report on screen")
	return cmd
}

func receiptTrust(roots, stampers []string, at string) (t stated.Trust, err error) {
	if at != "" {
		if t.Now, err = instant("--at", at); err != nil {
			return t, err
		}
	}
	for _, c := range []struct {
		what  string
		files []string
		into  *[]*gm.Certificate
	}{{"trust anchors", roots, &t.Roots}, {"trust anchors of time stamps", stampers, &t.TimestampRoots}} {
		if *c.into, err = certificates(c.what, c.files); err != nil {
			return t, err
		}
	}
	return t, nil
}

// statedReport is a report with what was stated.
type statedReport struct {
	verify.Report
	Statement *stated.Statement `json:"statement,omitempty"`
}

func (s *settings) judgeReceipts(cmd *cobra.Command, files []string, trust stated.Trust, lang string) error {
	var all []statedReport
	var plain []verify.Report
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return exit{exitUsage, fmt.Errorf("reading the receipt: %w", err)}
		}
		r := judgeReceipt(filepath.Base(name), b, trust)
		all, plain = append(all, r), append(plain, r.Report)
	}
	err := s.show(cmd, all, func(w io.Writer) {
		for _, r := range all {
			fmt.Fprint(w, r.Text(lang))
			var b client.ReceiptBody
			if r.Statement != nil && json.Unmarshal(r.Statement.Body, &b) == nil {
				showArchived(w, r.Statement.ID, r.Statement.IssuedAt, b)
			}
		}
	})
	if code := verify.ExitCode(plain); err == nil && code != exitDone {
		return exit{code: code}
	}
	return err
}

// judgeReceipt also refuses what is a statement and no receipt.
func judgeReceipt(name string, b []byte, trust stated.Trust) statedReport {
	st, r := stated.Judge(name, b, trust)
	out := statedReport{Report: r}
	if st.Kind == "" {
		return out
	}
	out.Statement = &st
	if st.Kind != receiptKind {
		out.Verdict = verify.Invalid
		out.Findings = append(out.Findings, verify.Check{Code: verify.CodeStructure, Result: verify.Fail, Detail: fmt.Sprintf("%s is no archive receipt", st.Kind)})
	}
	return out
}
