package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) order() *cobra.Command {
	var uscc, state string
	list := &cobra.Command{Use: "list", Short: "list the orders of an enterprise, or those in a state (default: exception, which wait for a human)", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/orders", func(w io.Writer, p client.Page[client.Order]) {
				fmt.Fprintln(w, "ORDER\tUSCC\tSTATE\tUPDATED\tSEALS")
				for _, o := range p.Items {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.ID, o.USCC, o.State, when(o.Updated), requests(o))
				}
			}, "uscc", uscc, "state", state)
		}}
	list.Flags().StringVar(&uscc, "uscc", "", "unified social credit code")
	list.Flags().StringVar(&state, "state", "", "awaiting_impression, awaiting_certificate, made, active, exception, …")
	get := &cobra.Command{Use: "get ID", Short: "show an order", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/orders", a[0], ""), showOrder)
		}}
	collect := s.keyed(&cobra.Command{Use: "collect ID FILE", Short: "collect (领取): send the signed identity assertion that binds the owner's device", Args: args("ID", "FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return putEnvelope(s, cmd, route("/v1/orders", a[0], "/collect"), a[1], func(w io.Writer, c client.Collected) {
				fmt.Fprintf(w, "USCC\t%s\nperson\t%s, %s\ndevice\t%s\nseals\t%s\n", c.USCC, c.Person, c.Role, c.Device, strings.Join(c.Seals, " "))
			})
		}})
	return noun("order", "orders for a set of seals", list, get, collect, s.orderResolve(), s.orderApply(), s.orderInvite())
}

func requests(o client.Order) string {
	var all []string
	for _, r := range o.Requests {
		all = append(all, r.Type+" "+r.State)
	}
	return strings.Join(all, ", ")
}

func showOrder(w io.Writer, o client.Order) {
	fmt.Fprintf(w, "order\t%s\nUSCC\t%s\nstate\t%s\nrelease\t%s\nlicence version\t%d\ncreated\t%s\nupdated\t%s\n", o.ID, o.USCC, o.State, o.Release, o.LicenceVersion,
		when(o.Created), when(o.Updated))
	if x := o.Exception; x != nil {
		fmt.Fprintf(w, "exception\t%s: %s\n", x.Code, x.Detail)
	}
	for _, f := range o.Filings {
		late := ""
		if f.Overdue {
			late = ", over 24 hours"
		}
		fmt.Fprintf(w, "filing %s\t%s since %s%s\t%s\n", f.Type, f.State, when(f.Since), late, orDash(f.Reference))
	}
	for _, r := range o.Requests {
		fmt.Fprintf(w, "seal %s\t%s\t%s\n", r.Type, r.State, orDash(r.ESID+r.Reason))
	}
}
