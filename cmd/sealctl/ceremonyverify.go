package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sealkeeper/access/ceremony"
	"sealkeeper/internal/gm"
)

func (s *settings) ceremonyVerify() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{Use: "verify TRANSCRIPT --audit-key AUDIT.pem", Short: "check a transcript without the appliance; exit 3 when it does not hold", Args: args("TRANSCRIPT"),
		Long: `Check a transcript with the audit key alone: that every record stands in the log whose checkpoint the key signed, that the plan is the one that the
ceremony is named by, that as many officers as needed signed exactly this plan in time and none of them asked for it, and that the steps on record are the
plan's. The officers' keys are named by their SHA-256: compare them with the certificates.`,
		RunE: func(cmd *cobra.Command, a []string) error { return s.verifyTranscript(cmd, a[0], keys) }}
	cmd.Flags().StringArrayVar(&keys, "audit-key", nil, "audit key: PEM file (certificate or public key) or the 65-byte point in hexadecimal; repeated, any of them may have signed")
	require(cmd, "audit-key")
	return cmd
}

func (s *settings) verifyTranscript(cmd *cobra.Command, file string, names []string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the transcript: %w", err)
	}
	var keys []*gm.PublicKey
	for _, name := range names {
		k, err := publicKey(name)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	a, err := ceremony.ReadTranscript(raw, keys)
	if err != nil {
		return exit{exitInvalid, fmt.Errorf("checking the transcript %s: %w", file, err)}
	}
	return s.show(cmd, a, func(w io.Writer) { showAccount(w, a) })
}

func showAccount(w io.Writer, a ceremony.Account) {
	fmt.Fprintf(w, "the transcript holds\nceremony\t%s\nstate\t%s\nlog\t%s, %d records\ntitle\t%s\nreason\t%s\nasked by\t%s %s\n", a.Ceremony, a.State, a.Log, a.Size,
		visible(a.Plan.Title), visible(a.Plan.Reason), a.Asked.Role, a.Asked.Client)
	for _, p := range a.Approvals {
		fmt.Fprintf(w, "approved by\t%s %s\n", p.Role, p.Client)
	}
	fmt.Fprintf(w, "begun\t%s\nended\t%s\n", when(a.Begun), when(a.Ended))
	for i, p := range a.Steps {
		fmt.Fprintf(w, "step %d\t%s %s\t%s\n", i+1, p.Action, p.State, visible(string(p.Result)))
	}
}
