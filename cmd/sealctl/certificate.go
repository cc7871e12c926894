package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

const certificatesPath = "/v1/certificates"

func (s *settings) permits() *cobra.Command {
	versions := &cobra.Command{Use: "versions CERTIFICATE", Short: "list everything that was ever stated of a certificate", Args: args("CERTIFICATE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route(certificatesPath, a[0], "/versions"), func(w io.Writer, p client.Page[client.Certificate]) {
				fmt.Fprintln(w, "NUMBER\tRECORDED\tSINCE\tACT\tSTATUS\tLICENCE\tREASON")
				for _, c := range p.Items {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\n", c.Number, when(c.RecordedAt), when(c.EffectiveAt), c.Act, c.Status, c.Licence, orDash(c.Reason))
				}
			})
		}}
	var out string
	file := &cobra.Command{Use: "file CERTIFICATE -f OUT", Short: "write a certificate's file, as it was put", Args: args("CERTIFICATE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return s.fetch(cmd, route(certificatesPath, a[0], "/file"), out)
		}}
	file.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	require(file, "file")
	return noun("certificate", "certificates beside the business licence (市场主体电子证照库)", s.certificatePut(), s.certificateGet(), versions, file, s.certificateList(),
		s.certificateStatus(), s.certificateConfirm(), s.certificateShare(), s.certificateCatalogue())
}

func (s *settings) certificatePut() *cobra.Command {
	var file string
	cmd := s.keyed(&cobra.Command{Use: "put DRAFT [--file FILE]", Short: "put a certificate (JSON), or its next version, with its OFD or PDF", Args: args("DRAFT"),
		RunE: func(cmd *cobra.Command, a []string) error {
			draft, err := readDraft(a[0], file)
			if err != nil {
				return err
			}
			return tell(s, cmd, certificatesPath, draft, showTaken)
		}})
	cmd.Flags().StringVar(&file, "file", "", "the certificate's file, at most 2 MiB")
	return cmd
}

// readDraft reads a draft and puts the file into it.
func readDraft(path, file string) (map[string]any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the draft: %w", err)
	}
	var draft map[string]any
	if err := json.Unmarshal(b, &draft); err != nil || draft == nil {
		return nil, errors.Join(fmt.Errorf("reading the draft %s: not a JSON object", path), err)
	}
	if file == "" {
		return draft, nil
	}
	if draft["file"], err = os.ReadFile(file); err != nil {
		return nil, fmt.Errorf("reading the certificate's file: %w", err)
	}
	return draft, nil
}

func showTaken(w io.Writer, t client.CertificateTaken) {
	c := t.Certificate
	fmt.Fprintf(w, "identifier\t%s\ntitle\t%s\nUSCC\t%s\nholder\t%s\nstatus\t%s\nrow\t%d, %s, checked against version %d of the licence\n", c.Identifier, c.Title, c.USCC, c.Name,
		c.Status, c.Number, c.Act, c.Licence)
	showReceipt(w, t.Receipt)
}

func showCertificate(w io.Writer, c client.CertificateView) {
	for _, f := range [][2]string{{"identifier", c.Identifier}, {"title", c.Title}, {"USCC", c.USCC}, {"holder", c.Name}, {"state", c.State}, {"valid from", c.ValidFrom},
		{"valid to", c.ValidTo}, {"SM3 of the file", c.FileSM3}} {
		if f[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
		}
	}
	for name, v := range c.Attributes {
		fmt.Fprintf(w, "%s\t%s\n", name, v)
	}
	fmt.Fprintf(w, "checked\tagainst version %d of the licence\n", c.Licence)
	for _, f := range c.Flags {
		fmt.Fprintf(w, "flagged\t%s changed with version %d of the licence, %s\n", f.Changed, f.Version, when(f.Since))
	}
}

func (s *settings) certificateGet() *cobra.Command {
	var asOf, knownAt string
	cmd := &cobra.Command{Use: "get CERTIFICATE", Short: "show a certificate now, or as of a time, or by what was known at a time", Args: args("CERTIFICATE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route(certificatesPath, a[0], ""), showCertificate, "as_of", asOf, "known_at", knownAt)
		}}
	cmd.Flags().StringVar(&asOf, "as-of", "", "RFC 3339 time: what held then")
	cmd.Flags().StringVar(&knownAt, "known-at", "", "RFC 3339 time: by what had been recorded then")
	return cmd
}

func (s *settings) certificateList() *cobra.Command {
	var uscc, typ string
	var flagged bool
	cmd := s.paged("list (--uscc USCC | --type TYPE)", "list certificates of an enterprise or of a type", func(cmd *cobra.Command, cursor, limit string) error {
		only := ""
		if flagged {
			only = "true"
		}
		return look(s, cmd, certificatesPath, showCertificates, "uscc", uscc, "type", typ, "flagged", only, "cursor", cursor, "limit", limit)
	})
	cmd.Flags().StringVar(&uscc, "uscc", "", "credit code of the holder")
	cmd.Flags().StringVar(&typ, "type", "", "type of the catalogue, 21 characters")
	cmd.Flags().BoolVar(&flagged, "flagged", false, "only those whose licence has changed since they were checked against it")
	cmd.MarkFlagsOneRequired("uscc", "type")
	cmd.MarkFlagsMutuallyExclusive("uscc", "type")
	return cmd
}

func showCertificates(w io.Writer, p client.Page[client.CertificateView]) {
	fmt.Fprintln(w, "IDENTIFIER\tSTATE\tFROM\tTO\tFLAGS\tTITLE")
	for _, c := range p.Items {
		var flags []string
		for _, f := range c.Flags {
			flags = append(flags, fmt.Sprintf("%s(%d)", f.Changed, f.Version))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Identifier, c.State, c.ValidFrom, orDash(c.ValidTo), orDash(strings.Join(flags, " ")), c.Title)
	}
	more(w, p.Next)
}

func (s *settings) certificateStatus() *cobra.Command {
	var st client.CertificateStatus
	cmd := s.keyed(&cobra.Command{Use: "status CERTIFICATE --status STATUS --reason TEXT", Short: "suspend, revoke, cancel or annul a certificate, or lift a suspension", Args: args("CERTIFICATE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route(certificatesPath, a[0], "/status"), st, showTaken)
		}})
	cmd.Flags().StringVar(&st.Status, "status", "", "valid, suspended, revoked, cancelled or annulled")
	cmd.Flags().StringVar(&st.Reason, "reason", "", "why")
	require(cmd, "status", "reason")
	return cmd
}

func (s *settings) certificateConfirm() *cobra.Command {
	var c client.CertificateConfirmation
	cmd := s.keyed(&cobra.Command{Use: "confirm CERTIFICATE --licence VERSION --reason TEXT", Short: "confirm that a flagged certificate holds under the licence as it is now", Args: args("CERTIFICATE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route(certificatesPath, a[0], "/confirm"), c, showTaken)
		}})
	cmd.Flags().IntVar(&c.Licence, "licence", 0, "the version of the licence that was looked at")
	cmd.Flags().StringVar(&c.Reason, "reason", "", "why")
	require(cmd, "licence", "reason")
	return cmd
}

func (s *settings) certificateShare() *cobra.Command {
	var a client.Sharing
	cmd := s.keyed(&cobra.Command{Use: "share USCC --grant ID --purpose TEXT", Short: "read licence and certificates in one answer, under a sharing grant; the read is recorded", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, given []string) error {
			a.USCC = given[0]
			return tell(s, cmd, "/v1/certificate-shares", a, func(w io.Writer, f client.Folder) {
				showLicence(w, f.Licence)
				fmt.Fprintln(w)
				showCertificates(w, client.Page[client.CertificateView]{Items: f.Certificates})
			})
		}})
	cmd.Flags().StringVar(&a.Grant, "grant", "", "identifier of a sharing grant of yours")
	cmd.Flags().StringVar(&a.Purpose, "purpose", "", "one of the grant's purposes")
	require(cmd, "grant", "purpose")
	return cmd
}

func (s *settings) certificateCatalogue() *cobra.Command {
	type line struct {
		Type, Title, Department string
		Public                  bool
	}
	return &cobra.Command{Use: "catalogue", Short: "list the types of certificatesPath, and who states them", Args: args(), RunE: func(cmd *cobra.Command, _ []string) error {
		return look(s, cmd, "/v1/certificate-catalogue", func(w io.Writer, p client.Page[line]) {
			fmt.Fprintln(w, "TYPE\tPUBLIC\tTITLE\tDEPARTMENT")
			for _, t := range p.Items {
				fmt.Fprintf(w, "%s\t%t\t%s\t%s\n", t.Type, t.Public, t.Title, t.Department)
			}
		})
	}}
}

func (s *settings) sharing() *cobra.Command {
	var of string
	list := s.paged("list", "list sharing grants of a client", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/sharing-grants", func(w io.Writer, p client.Page[client.SharingGrant]) {
			fmt.Fprintln(w, "GRANT\tCLIENT\tUNTIL\tCOUNT\tSTATE\tPURPOSES\tTYPES")
			for _, g := range p.Items {
				state := "in force"
				if g.Withdrawn != "" {
					state = "withdrawn: " + g.Withdrawn
				}
				fmt.Fprintf(w, "%s\t%.12s\t%s\t%d\t%s\t%s\t%s\n", g.ID, g.Client, when(g.Expires), g.Count, state, strings.Join(g.Purposes, " "), strings.Join(g.Types, " "))
			}
			more(w, p.Next)
		}, "client", of, "cursor", cursor, "limit", limit)
	})
	list.Flags().StringVar(&of, "client", "", "client identifier (default: your own)")
	return noun("sharing", "which departments may read licence and certificates together, and for what", s.sharingAdd(), list,
		s.ending("withdraw ID", "withdraw a sharing grant", "/v1/sharing-grants", "/withdraw"))
}

func (s *settings) sharingAdd() *cobra.Command {
	var g client.SharingGrant
	var of string
	var w window
	cmd := s.keyed(&cobra.Command{Use: "add --id ID --client CLIENT --type TYPE --purpose TEXT", Short: "write a sharing grant", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if g.Client, err = clientID(of); err != nil {
				return err
			}
			if g.NotBefore, g.Expires, err = w.times(time.Now()); err != nil {
				return err
			}
			g.Types, g.Purposes = sorted(g.Types), sorted(g.Purposes)
			return tell(s, cmd, "/v1/sharing-grants", g, showReceipt)
		}})
	f := cmd.Flags()
	f.StringVar(&g.ID, "id", "", "identifier of the grant")
	f.StringVar(&of, "client", "", "client identifier, or a PEM file with its certificate")
	f.StringArrayVar(&g.Types, "type", nil, "type of certificate, repeated")
	f.StringArrayVar(&g.Purposes, "purpose", nil, "purpose the client may state, repeated")
	f.Uint64Var(&g.Count, "count", 1000, "reads in all")
	w.flags(cmd, 365*24*time.Hour)
	require(cmd, "id", "client", "type", "purpose")
	return cmd
}
