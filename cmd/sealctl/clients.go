package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) clients() *cobra.Command {
	return noun("client", "who may call the appliance", s.clientAdd(), s.clientList(),
		s.ending("disable ID", "shut a client out at once and for good", "/v1/clients", "/disable"))
}

func (s *settings) clientAdd() *cobra.Command {
	var r client.Registration
	var csr, out string
	cmd := s.keyed(&cobra.Command{Use: "add --csr FILE --name NAME --role ROLE --out CERT", Short: "register a client and write its certificate (PEM chain)", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := os.ReadFile(csr)
			if err != nil {
				return fmt.Errorf("reading the certificate request: %w", err)
			}
			if err := vacant(out); err != nil {
				return err
			}
			r.CSR = string(b)
			return s.addClient(cmd, r, out)
		}})
	f := cmd.Flags()
	f.StringVar(&csr, "csr", "", "PEM certificate request, P-256 (sealctl csr makes one)")
	f.StringVar(&r.Name, "name", "", "name for people")
	f.StringVar(&r.Role, "role", "", "operator-system, operator-security, operator-audit, department, source-registration, source-public-security or source-elicence")
	f.StringVar(&r.Person, "person", "", "operators alone: who holds the key; no person holds two roles")
	f.StringVar(&out, "out", "", "file for the certificate")
	require(cmd, "csr", "name", "role", "out")
	return cmd
}

func (s *settings) addClient(cmd *cobra.Command, r client.Registration, out string) error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	c, receipt, err := cl.RegisterClient(cmd.Context(), s.newKey(), r)
	if err != nil {
		return s.repeatable(client.Call{Key: s.idempotency}, err)
	}
	if err := writeOut(cmd, out, 0o644, []byte(c.Certificate)); err != nil {
		return fmt.Errorf("%w; the client is registered: repeat with --idempotency-key %s and another --out", err, s.idempotency)
	}
	return s.show(cmd, map[string]any{"client": c, "receipt": receipt}, func(w io.Writer) {
		fmt.Fprintf(w, "client\t%s\nname\t%s\nrole\t%s\ncertificate\t%s\nrecord\t%d\n", c.ID, c.Name, c.Role, out, receipt.Index)
	})
}

func (s *settings) clientList() *cobra.Command {
	return s.paged("list", "list clients", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/clients", func(w io.Writer, p client.Page[client.Registered]) {
			fmt.Fprintln(w, "CLIENT\tROLE\tSTATE\tSINCE\tNAME")
			for _, c := range p.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.ID, c.Role, c.State, when(c.Since), c.Name)
			}
			more(w, p.Next)
		}, "cursor", cursor, "limit", limit)
	})
}

// paged is a listing with a cursor.
func (s *settings) paged(use, short string, run func(cmd *cobra.Command, cursor, limit string) error) *cobra.Command {
	var cursor, limit string
	cmd := &cobra.Command{Use: use, Short: short, Args: args(), RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, cursor, limit) }}
	cmd.Flags().StringVar(&cursor, "cursor", "", "go on where the page before ended")
	cmd.Flags().StringVar(&limit, "limit", "", "items of one page, 1 to 500 (default 100)")
	return cmd
}

// ending is a verb that ends something with a reason.
func (s *settings) ending(use, short, path, tail string) *cobra.Command {
	var why struct {
		Reason string `json:"reason"`
	}
	cmd := s.keyed(&cobra.Command{Use: use + " --reason TEXT", Short: short, Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route(path, a[0], tail), why, showReceipt)
		}})
	cmd.Flags().StringVar(&why.Reason, "reason", "", "why; it stands in the record")
	require(cmd, "reason")
	return cmd
}

// showReceipt says where the record stands; an act that changed nothing wrote none.
func showReceipt(w io.Writer, r client.Receipt) {
	if r.Log == "" {
		fmt.Fprintln(w, "nothing to change")
		return
	}
	fmt.Fprintf(w, "record\t%d of log %s\nleaf\t%s\ntime\t%s\n", r.Index, r.Log, r.Leaf, when(r.Time))
}
