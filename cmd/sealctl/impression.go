package main

import (
	"fmt"
	"io"

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
	return noun("impression", "filed impressions (印模)", put, get)
}

func showImpression(w io.Writer, i client.Impression) {
	fmt.Fprintf(w, "id\t%s\ntype\t%s\nUSCC\t%s\nname\t%s\nfiling\t%s\nseal code\t%s\npicture\t%s, %g × %g mm, %d bytes\nSM3\t%s\norder\t%s\nfiled\t%s\n",
		i.ID, i.Type, i.USCC, i.Name, i.Filing, orDash(i.SealCode), i.Format, i.WidthMM, i.HeightMM, i.Size, i.SM3, orDash(i.Order), when(i.FiledAt))
	for _, warning := range i.Warnings {
		fmt.Fprintf(w, "warning\t%s\n", warning)
	}
}
