package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// institution is what has no licence behind it: the registration authority's own seals.
func (s *settings) institution() *cobra.Command {
	put := s.keyed(&cobra.Command{Use: "impression FILE", Short: "send the impression of an institution's own seal, signed by the institution (envelope JSON)", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return putEnvelope(s, cmd, "/v1/institutions/impressions", a[0], func(w io.Writer, t client.ImpressionTaken) { showImpression(w, t.Impression) })
		}})
	var of string
	list := s.paged("delegations", "list the standing delegations to a client", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/standing-delegations", showStandings, "client", of, "cursor", cursor, "limit", limit)
	})
	list.Flags().StringVar(&of, "client", "", "client identifier, or appliance (default: your own)")
	return noun("institution", "institutions' own seals (机构印章): made and delegated by ceremony", put, list)
}

func showStandings(w io.Writer, p client.Page[client.StandingDelegation]) {
	fmt.Fprintln(w, "DELEGATION\tSEAL\tCLIENT\tKINDS\tFROM\tUNTIL\tSPENT\tSTATE\tPURPOSES")
	for _, d := range p.Items {
		state := "in force"
		if d.Revoked != "" {
			state = "revoked"
		}
		fmt.Fprintf(w, "%s\t%s\t%.12s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", d.ID, d.Seal, d.Client, strings.Join(d.Kinds, " "), when(d.NotBefore), when(d.Expires), d.Spent, d.Count, state,
			strings.Join(d.Purposes, " "))
	}
	more(w, p.Next)
}
