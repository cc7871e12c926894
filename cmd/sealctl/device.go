package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// why is the body of acts that need a word for the record.
type why struct {
	Evidence string `json:"evidence"`
}

func (s *settings) deviceNoun() *cobra.Command {
	var body why
	freeze := s.keyed(&cobra.Command{Use: "freeze USCC --evidence TEXT", Short: "take an enterprise's bound device away at once (a lost phone); it binds another one afterwards", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route("/v1/enterprises", a[0], "/device/freeze"), body, func(w io.Writer, x client.DeviceFrozen) {
				fmt.Fprintf(w, "USCC\t%s\ndevice\t%s\nof\t%s\nstate\tfrozen\n", x.USCC, x.Device, x.Person)
			})
		}})
	freeze.Flags().StringVar(&body.Evidence, "evidence", "", "who reported it, and how they were recognised")
	require(freeze, "evidence")
	return noun("device", "the phones that speak for enterprises", freeze)
}

func (s *settings) reissueSeal() *cobra.Command {
	var body why
	cmd := s.keyed(&cobra.Command{Use: "reissue ESID --evidence TEXT", Short: "order a seal's next edition from the same impression; the present one signs on until that is collected", Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route("/v1/seals", a[0], "/reissue"), body, showOrder)
		}})
	cmd.Flags().StringVar(&body.Evidence, "evidence", "", "why, and on whose word")
	require(cmd, "evidence")
	return cmd
}
