package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) orderResolve() *cobra.Command {
	var r client.Resolution
	cmd := s.keyed(&cobra.Command{Use: "resolve ID", Short: "decide about an order that waits: continue, not_engraved (with --type) or cancel", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route("/v1/orders", a[0], "/resolve"), r, showOrder)
		}})
	cmd.Flags().StringVar(&r.Resolution, "resolution", "", "continue, not_engraved or cancel")
	cmd.Flags().StringVar(&r.Type, "type", "", "seal type, for not_engraved")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why; it is kept")
	require(cmd, "resolution", "reason")
	return cmd
}

func (s *settings) orderApply() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "apply USCC FILE", Short: "apply for the seals of the set that are lacking: send the responsible person's signed identity assertion",
		Args: args("USCC", "FILE"), RunE: func(cmd *cobra.Command, a []string) error {
			return putEnvelope(s, cmd, route("/v1/enterprises", a[0], "/orders"), a[1], showOrder)
		}})
}

// invitedAtOnce is how many codes the appliance takes in one list.
const invitedAtOnce = 1000

func (s *settings) orderInvite() *cobra.Command {
	return &cobra.Command{Use: "invite FILE", Short: "tell enterprises that they may apply: a file with one credit code a line, # begins a comment", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			codes, err := readCodes(a[0])
			if err != nil {
				return err
			}
			cl, err := s.client()
			if err != nil {
				return err
			}
			all := client.Invited{Refused: []client.NotInvited{}}
			for len(codes) > 0 {
				n := min(len(codes), invitedAtOnce)
				var part client.Invited
				if err := cl.JSON(cmd.Context(), http.MethodPost, "/v1/invitations", nil, client.NewKey(), client.Invitations{USCCs: codes[:n]}, &part); err != nil {
					return fmt.Errorf("from %s on: %w", codes[0], err)
				}
				all.Invited += part.Invited
				all.Refused = append(all.Refused, part.Refused...)
				codes = codes[n:]
			}
			return s.show(cmd, all, func(w io.Writer) {
				fmt.Fprintf(w, "%d invited, %d not\n", all.Invited, len(all.Refused))
				for _, r := range all.Refused {
					fmt.Fprintf(w, "%s\t%s\n", r.USCC, r.Code)
				}
			})
		}}
}

func readCodes(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var codes []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			codes = append(codes, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(codes) == 0 {
		return nil, fmt.Errorf("%s names no enterprise", path)
	}
	return codes, nil
}
