package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// licenceFile fetches the sealed document of a licence.
func (s *settings) licenceFile() *cobra.Command {
	var out, asOf string
	var version int
	cmd := &cobra.Command{Use: "file USCC -f OUT", Short: "write the licence document that its registration authority sealed (OFD): now, as of a time, or of a version", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			q := url.Values{}
			if asOf != "" {
				q.Set("as_of", asOf)
			}
			if version > 0 {
				q.Set("version", strconv.Itoa(version))
			}
			return s.fetchOf(cmd, route("/v1/licences", a[0], "/file"), q, out)
		}}
	cmd.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	cmd.Flags().StringVar(&asOf, "as-of", "", "RFC 3339 time, for example 2026-01-31T16:00:00Z")
	cmd.Flags().IntVar(&version, "version", 0, "the version itself")
	cmd.MarkFlagsMutuallyExclusive("as-of", "version")
	require(cmd, "file")
	return cmd
}

// sealPapers lists the certificates of a seal.
func (s *settings) sealPapers() *cobra.Command {
	return &cobra.Command{Use: "papers ESID", Short: "list a seal's certificates of making and of ending, issued or owed", Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/seals", a[0], "/certificates"), func(w io.Writer, p client.Page[client.Paper]) {
				fmt.Fprintln(w, "KIND\tOWED SINCE\tISSUED\tSIZE\tSM3")
				for _, x := range p.Items {
					if x.Issued == nil {
						fmt.Fprintf(w, "%s\t%s\t-\t-\t-\n", x.Kind, when(x.Since))
						continue
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", x.Kind, when(x.Since), when(x.Issued.At), x.Issued.Size, x.Issued.SM3)
				}
			})
		}}
}

// sealPaper fetches one of them.
func (s *settings) sealPaper() *cobra.Command {
	var out, kind string
	cmd := &cobra.Command{Use: "paper ESID --kind made|cancelled -f OUT", Short: "write the 电子印章制作证书 or 电子印章注销证书 of a seal (OFD)", Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return s.fetch(cmd, route("/v1/seals", a[0], "/certificates/"+url.PathEscape(kind)), out)
		}}
	cmd.Flags().StringVar(&kind, "kind", "made", "made or cancelled")
	cmd.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	require(cmd, "file")
	return cmd
}
