package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/client"
)

func (s *settings) delegation() *cobra.Command {
	var of string
	list := s.paged("list", "list delegations to a client", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/delegations", showDelegations, "client", of, "cursor", cursor, "limit", limit)
	})
	list.Flags().StringVar(&of, "client", "", "client identifier (default: your own)")
	return noun("delegation", "the owner's consent in advance, in bounds", s.delegationAdd(), list,
		s.ending("withdraw ID", "withdraw a delegation", "/v1/delegations", "/withdraw"))
}

func (s *settings) delegationAdd() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "add FILE", Short: "register a delegation as the owner's device signed it (sealctl phone delegate)", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			b, err := os.ReadFile(a[0])
			if err != nil {
				return fmt.Errorf("reading the delegation: %w", err)
			}
			var d access.SignedDelegation
			if err := json.Unmarshal(b, &d); err != nil {
				return fmt.Errorf("reading the delegation %s: %w", a[0], err)
			}
			if _, err := d.Delegation(); err != nil {
				return fmt.Errorf("reading the delegation %s: %w", a[0], err)
			}
			return tell(s, cmd, "/v1/delegations", d, showReceipt)
		}})
}

func showDelegations(w io.Writer, p client.Page[client.Delegation]) {
	fmt.Fprintln(w, "DELEGATION\tSEAL\tCLIENT\tKINDS\tUNTIL\tCOUNT\tSTATE\tPURPOSES")
	for _, d := range p.Items {
		state := "in force"
		if d.Withdrawn != "" {
			state = "withdrawn: " + d.Withdrawn
		}
		fmt.Fprintf(w, "%s\t%s\t%.12s\t%s\t%s\t%d\t%s\t%s\n", d.ID, d.Seal, d.Client, strings.Join(d.Kinds, " "), when(d.Expires), d.Count, state, strings.Join(d.Purposes, " "))
	}
	more(w, p.Next)
}
