package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) grant() *cobra.Command {
	var of string
	list := s.paged("list", "list grants of a client", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/grants", showGrants, "client", of, "cursor", cursor, "limit", limit)
	})
	list.Flags().StringVar(&of, "client", "", "client identifier (default: your own)")
	return noun("grant", "what a client may ask for; never in place of the owner's approval", s.grantAdd(), list,
		s.ending("withdraw ID", "withdraw a grant", "/v1/grants", "/withdraw"))
}

func (s *settings) grantAdd() *cobra.Command {
	g := client.Grant{}
	var of string
	var w window
	cmd := s.keyed(&cobra.Command{Use: "add --id ID --client CLIENT (--seal ESID | --any-owner) --purpose TEXT", Short: "write a grant", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if g.Client, err = clientID(of); err != nil {
				return err
			}
			if g.NotBefore, g.Expires, err = w.times(time.Now()); err != nil {
				return err
			}
			for _, list := range []*[]string{&g.Seals, &g.Kinds, &g.Purposes} {
				*list = sorted(*list)
			}
			return tell(s, cmd, "/v1/grants", g, showReceipt)
		}})
	f := cmd.Flags()
	f.StringVar(&g.ID, "id", "", "identifier of the grant")
	f.StringVar(&of, "client", "", "client identifier, or a PEM file with its certificate")
	f.StringArrayVar(&g.Seals, "seal", nil, "esID, repeated")
	f.BoolVar(&g.AnyOwner, "any-owner", false, "any seal whose owner consents for this client")
	f.StringArrayVar(&g.Kinds, "kind", []string{"ofd"}, "cms, digest, ofd or pdf, repeated")
	f.StringArrayVar(&g.Purposes, "purpose", nil, "purpose the client may state, repeated")
	f.Uint64Var(&g.Count, "count", 1000, "signatures in all")
	f.BoolVar(&g.DigestOnly, "digest-only", false, "also documents the appliance never saw (未见原文)")
	w.flags(cmd, 365*24*time.Hour)
	require(cmd, "id", "client", "purpose")
	cmd.MarkFlagsOneRequired("seal", "any-owner")
	cmd.MarkFlagsMutuallyExclusive("seal", "any-owner")
	return cmd
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func showGrants(w io.Writer, p client.Page[client.Grant]) {
	fmt.Fprintln(w, "GRANT\tCLIENT\tKINDS\tUNTIL\tCOUNT\tSEALS\tSTATE\tPURPOSES")
	for _, g := range p.Items {
		seals, state := strings.Join(g.Seals, " "), "in force"
		if g.AnyOwner {
			seals = "any whose owner consents"
		}
		if g.Withdrawn != "" {
			state = "withdrawn: " + g.Withdrawn
		}
		fmt.Fprintf(w, "%s\t%.12s\t%s\t%s\t%d\t%s\t%s\t%s\n", g.ID, g.Client, strings.Join(g.Kinds, " "), when(g.Expires), g.Count, seals, state, strings.Join(g.Purposes, " "))
	}
	more(w, p.Next)
}
