package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) impression() *cobra.Command {
	put := s.keyed(&cobra.Command{Use: "put FILE", Short: "send a signed filing of an impression (envelope JSON)", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return putEnvelope(s, cmd, "/v1/impressions", a[0], func(w io.Writer, t client.ImpressionTaken) { showImpression(w, t.Impression) })
		}})
	get := &cobra.Command{Use: "get ID", Short: "show what is known of an impression; the picture never leaves the appliance", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/impressions", a[0], ""), showImpression)
		}}
	year := 0
	report := &cobra.Command{Use: "report", Short: "印模读取年度报告: how often impressions were read in a year, by purpose (audit officer)", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/impression-reads", showReads, "year", strconv.Itoa(year))
		}}
	report.Flags().IntVar(&year, "year", time.Now().UTC().Year(), "year of UTC")
	all := noun("impression", "filed impressions (印模)", put, get, report)
	all.Aliases = []string{"impressions"}
	return all
}

// purposes are the listed ones, with what a report calls them.
var purposes = []struct{ code, name string }{
	{"make", "制作印章"}, {"remake", "重新制作"}, {"compare_for_filing", "备案比对"}, {"authority_inquiry", "主管机关查询"},
}

func showReads(w io.Writer, r client.ImpressionReads) {
	fmt.Fprintf(w, "印模读取年度报告\t%d\nrecords\t%d from index %d\n", r.Year, r.Records, r.FirstRecord)
	for _, p := range purposes {
		fmt.Fprintf(w, "%s %s\t%d\n", p.name, p.code, r.Reads[p.code])
	}
	fmt.Fprintf(w, "目录外用途 unlisted\t%d\n", r.Unlisted)
	for _, q := range r.Inquiries {
		fmt.Fprintf(w, "inquiry\t%s, %s, impression %s, requested by %s, approved by %s, record %d\n", when(q.At), q.Reference, q.Impression,
			q.Requested.ID, q.Approved.ID, q.Record)
	}
}

func showImpression(w io.Writer, i client.Impression) {
	fmt.Fprintf(w, "id\t%s\ntype\t%s\nUSCC\t%s\nname\t%s\nfiling\t%s\nseal code\t%s\npicture\t%s, %g × %g mm, %d bytes\nSM3\t%s\norder\t%s\nfiled\t%s\n",
		i.ID, i.Type, i.USCC, i.Name, i.Filing, orDash(i.SealCode), i.Format, i.WidthMM, i.HeightMM, i.Size, i.SM3, orDash(i.Order), when(i.FiledAt))
	for _, warning := range i.Warnings {
		fmt.Fprintf(w, "warning\t%s\n", warning)
	}
}
