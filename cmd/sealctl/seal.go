package main

import (
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) seal() *cobra.Command {
	var uscc string
	list := &cobra.Command{Use: "list --uscc USCC", Short: "list the seals of an enterprise that you may see", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, route("/v1/enterprises", uscc, "/seals"), showSeals)
		}}
	list.Flags().StringVar(&uscc, "uscc", "", "unified social credit code")
	require(list, "uscc")
	get := &cobra.Command{Use: "get ESID", Short: "show a seal with the evidence of its key", Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/seals", a[0], ""), showSeal)
		}}
	return noun("seal", "issued seals (电子印章)", list, get,
		s.sealFile("esl", "write the seal itself (DER SESeal, GB/T 38540)"), s.sealFile("certificate", "write the seal's certificate (DER)"), s.revocations(),
		s.sealFile("document-certificate", "write the certificate of the seal's P-256 document key (DER)"), s.equipSeal(),
		s.sealPapers(), s.sealPaper(),
		s.changeSeal("suspend", "suspend a seal at once"), s.changeSeal("resume", "lift a suspension; --reason names the hold"), s.changeSeal("cancel", "cancel a seal for good"), s.reissueSeal())
}

func (s *settings) sealFile(part, short string) *cobra.Command {
	var out string
	cmd := &cobra.Command{Use: part + " ESID -f OUT", Short: short, Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return s.fetch(cmd, route("/v1/seals", a[0], "/"+part), out)
		}}
	cmd.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	require(cmd, "file")
	return cmd
}

// revocations fetches the list that sealctl verify --crl reads.
func (s *settings) revocations() *cobra.Command {
	var out, authority string
	cmd := &cobra.Command{Use: "revocations -f OUT", Short: "write the revocation list of seal certificates (DER CRL), for verify --crl; no certificate is needed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if authority != "" {
				query.Set("authority", authority)
			}
			return s.fetchOf(cmd, "/v1/revocation-list", query, out)
		}}
	cmd.Flags().StringVar(&authority, "authority", "", "key of an issuing authority that took the first one's place; its certificates name it (default: the first)")
	cmd.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	require(cmd, "file")
	return cmd
}

func (s *settings) changeSeal(verb, short string) *cobra.Command {
	var why client.Reason
	cmd := s.keyed(&cobra.Command{Use: verb + " ESID --reason CODE", Short: short, Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route("/v1/seals", a[0], "/"+verb), why, func(w io.Writer, x client.Seal) { showState(w, x) })
		}})
	cmd.Flags().StringVar(&why.Reason, "reason", "", "code from the closed list, for example owner-request, misuse-suspected, court-freeze, authority-decision")
	cmd.Flags().StringVar(&why.Evidence, "evidence", "", "reference of the decision; some reasons demand one")
	require(cmd, "reason")
	return cmd
}

// equipSeal asks for the companion key.
func (s *settings) equipSeal() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "document-key ESID", Short: "give an active seal a P-256 document key, for PDF profile pades and CMS profile rfc", Args: args("ESID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			call := client.Call{Method: "POST", Path: route("/v1/seals", a[0], "/document-key"), Key: s.newKey()}
			return ask(s, cmd, call, func(w io.Writer, x client.Seal) { showState(w, x); showDocumentKey(w, x) })
		}})
}

func showDocumentKey(w io.Writer, x client.Seal) {
	if d := x.Document; d != nil {
		fmt.Fprintf(w, "document key\t%s\nits certificate\tSHA-256 %s, valid %s to %s\n", d.Key, d.CertSHA256, when(d.NotBefore), when(d.NotAfter))
	}
}

func showSeals(w io.Writer, p client.Page[client.Seal]) {
	fmt.Fprintln(w, "ESID\tTYPE\tSTATE\tVALID UNTIL\tNAME")
	for _, x := range p.Items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.ESID, x.Type, x.State, when(x.NotAfter), x.Name)
	}
}

func showState(w io.Writer, x client.Seal) {
	fmt.Fprintf(w, "seal\t%s\nstate\t%s\n", x.ESID, x.State)
	for _, h := range x.Holds {
		fmt.Fprintf(w, "hold\t%s since %s by %s %s\n", h.Reason, when(h.At), h.By.Role, h.Evidence)
	}
	if x.EndReason != "" {
		fmt.Fprintf(w, "ended\t%s, %s\n", when(x.EndedAt), x.EndReason)
	}
}

func showSeal(w io.Writer, a client.SealWithKey) {
	x := a.Seal
	showState(w, x)
	fmt.Fprintf(w, "type\t%s\nname\t%s\nenterprise\t%s\nUSCC\t%s\nvalid\t%s to %s\ncertificate SHA-256\t%s\nseal SHA-256\t%s\nmade\t%s\ncollected\t%s\n", x.Type, x.Name, x.Enterprise,
		x.USCC, when(x.NotBefore), when(x.NotAfter), x.CertSHA256, x.ESLSHA256, when(x.MadeAt), when(x.CollectedAt))
	showDocumentKey(w, x)
	k := a.Key
	fmt.Fprintf(w, "key\t%s %s\nborn\t%s in token %s, serial %s\nevidence\t%s\nreading the value\t%s\n", k.Algorithm, k.ID, when(k.Time), k.Token.Label, k.Token.Serial,
		k.Token.Evidence, k.ValueRead)
	for _, at := range k.Attributes {
		fmt.Fprintf(w, "%s\t%s\n", at.Name, at.Value)
	}
}
