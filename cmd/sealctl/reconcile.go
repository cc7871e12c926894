package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// reconcile compares everything with everything and repairs nothing.
func (s *settings) reconcile() *cobra.Command {
	return &cobra.Command{Use: "reconcile", Short: "compare library, seals, certificates, filings, accounts, orders, messages and keys; name what does not agree and the command that mends it",
		Args: args(), RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := s.client()
			if err != nil {
				return err
			}
			step, stop := progress(cmd.ErrOrStderr(), "enterprises and seals looked at")
			all, err := cl.Reconcile(cmd.Context(), func(r client.Reconciliation) {
				n := uint64(r.Enterprises + r.Seals)
				step(n, n)
			})
			stop()
			if err != nil {
				return err
			}
			if err := s.show(cmd, all, func(w io.Writer) { showFindings(w, all) }); err != nil {
				return err
			}
			if len(all.Findings) > 0 {
				return exit{code: exitInvalid}
			}
			return nil
		}}
}

func showFindings(w io.Writer, r client.Reconciliation) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n\t\t\tmend: %s\n", f.Code, f.Subject, orDash(f.USCC), f.Detail, f.Mend)
	}
	fmt.Fprintf(w, "%d discrepancies\t%d enterprises, %d seals\n", len(r.Findings), r.Enterprises, r.Seals)
}
