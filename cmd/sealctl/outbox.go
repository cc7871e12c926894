package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) outbox() *cobra.Command {
	return noun("outbox", "messages to the systems outside", s.outsideSystems(), s.outboxList(), s.outboxRedeliver(), s.outboxDiscard())
}

func (s *settings) outsideSystems() *cobra.Command {
	return &cobra.Command{Use: "systems", Short: "show the queues to and the feeds from the systems outside", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/outside", func(w io.Writer, p client.Page[client.OutsideSystem]) {
				fmt.Fprintln(w, "QUEUE OR FEED\tWAITING\tDEAD\tDELIVERED\tFAILED\tREAD\tHELD\tSTATE")
				for _, o := range p.Items {
					state := "answers"
					if o.Down {
						state = "does not answer"
					}
					if o.Feed != "" {
						fmt.Fprintf(w, "from %s\t\t\t\t\t%d\t%d\t%s\n", o.Feed, o.Last, o.Held, orDash(o.Stopped))
						continue
					}
					fmt.Fprintf(w, "to %s\t%d\t%d\t%d\t%d\t\t\t%s\n", o.Queue, o.Waiting, o.Dead, o.Delivered, o.Failed, state)
				}
			})
		}}
}

func (s *settings) outboxList() *cobra.Command {
	var state, cursor string
	var limit int
	cmd := &cobra.Command{Use: "list QUEUE", Short: "list dead letters, or the messages that wait, of a queue (filing, account, notice)", Args: args("QUEUE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/outbox", a[0], ""), func(w io.Writer, p client.Page[client.OutboxMessage]) {
				fmt.Fprintln(w, "ID\tABOUT\tKIND\tQUEUED\tTRIES\tDUE\tLAST FAILURE")
				for _, m := range p.Items {
					due := when(m.Due)
					if m.Behind || m.State == "dead" {
						due = "-"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, m.Entity, m.Kind, when(m.Created), m.Tries, due, orDash(m.Last))
				}
				more(w, p.Next)
			}, "state", state, "cursor", cursor, "limit", strconv.Itoa(limit))
		}}
	cmd.Flags().StringVar(&state, "state", "dead", "dead or waiting")
	cmd.Flags().StringVar(&cursor, "cursor", "", "go on from a page before")
	cmd.Flags().IntVar(&limit, "limit", 100, "messages on a page, at most 500")
	return cmd
}

func (s *settings) outboxRedeliver() *cobra.Command {
	var all string
	cmd := &cobra.Command{Use: "redeliver [ID...]", Short: "send dead letters again, under the keys they have", RunE: func(cmd *cobra.Command, ids []string) error {
		if (all == "") == (len(ids) == 0) {
			return fmt.Errorf("name messages, or a queue with --all; see %s --help", cmd.CommandPath())
		}
		cl, err := s.client()
		if err != nil {
			return err
		}
		if all != "" {
			var p client.Page[client.OutboxMessage]
			if err := cl.JSON(cmd.Context(), http.MethodGet, route("/v1/outbox", all, ""), map[string][]string{"limit": {"500"}}, "", nil, &p); err != nil {
				return err
			}
			for _, m := range p.Items {
				ids = append(ids, m.ID)
			}
		}
		for _, id := range ids {
			if err := cl.JSON(cmd.Context(), http.MethodPost, route("/v1/outbox-messages", id, "/redeliver"), nil, client.NewKey(), struct{}{}, nil); err != nil {
				return fmt.Errorf("message %s: %w", id, err)
			}
		}
		return s.show(cmd, map[string]int{"redelivered": len(ids)}, func(w io.Writer) { fmt.Fprintf(w, "%d sent again\n", len(ids)) })
	}}
	cmd.Flags().StringVar(&all, "all", "", "the first 500 dead letters of this queue")
	return cmd
}

func (s *settings) outboxDiscard() *cobra.Command {
	var why string
	cmd := s.keyed(&cobra.Command{Use: "discard ID", Short: "give a dead letter up; what stands behind it moves up", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route("/v1/outbox-messages", a[0], "/discard"), client.ReasonGiven{Reason: why}, func(w io.Writer, _ client.Done) {
				fmt.Fprintf(w, "%s discarded\n", a[0])
			})
		}})
	cmd.Flags().StringVar(&why, "reason", "", "why; it is on record")
	require(cmd, "reason")
	return cmd
}

func (s *settings) feed() *cobra.Command {
	var cursor string
	held := &cobra.Command{Use: "held FEED", Short: "list the messages of a feed (registration, public-security) that could not be taken", Args: args("FEED"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/feeds", a[0], "/held"), func(w io.Writer, p client.Page[client.HeldMessage]) {
				fmt.Fprintln(w, "NUMBER\tABOUT\tISSUED\tSINCE\tTRIED\tNEXT\tWHY")
				for _, m := range p.Items {
					next := "you decide"
					if m.Again {
						next = "by itself"
					}
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Seq, orDash(m.Entity), when(m.At), when(m.Since), when(m.Tried), next, m.Why)
				}
				more(w, p.Next)
			}, "cursor", cursor)
		}}
	held.Flags().StringVar(&cursor, "cursor", "", "go on from a page before")
	retry := s.keyed(&cobra.Command{Use: "retry FEED NUMBER", Short: "try a held message again; the list says whether it was taken", Args: args("FEED", "NUMBER"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, heldRoute(a)+"/retry", struct{}{}, func(w io.Writer, _ client.Done) { fmt.Fprintln(w, "tried") })
		}})
	var why string
	drop := s.keyed(&cobra.Command{Use: "drop FEED NUMBER", Short: "give a held message up; what waited behind it is tried", Args: args("FEED", "NUMBER"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, heldRoute(a)+"/drop", client.ReasonGiven{Reason: why}, func(w io.Writer, _ client.Done) { fmt.Fprintln(w, "dropped") })
		}})
	drop.Flags().StringVar(&why, "reason", "", "why; it is on record")
	require(drop, "reason")
	return noun("feed", "messages from the systems outside", held, retry, drop)
}

func heldRoute(a []string) string { return route("/v1/feeds", a[0], route("/held", a[1], "")) }
