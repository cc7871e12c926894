package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

func (s *settings) licence() *cobra.Command {
	var asOf string
	get := &cobra.Command{Use: "get USCC", Short: "show a licence now, or as of a time", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/licences", a[0], ""), showLicence, "as_of", asOf)
		}}
	get.Flags().StringVar(&asOf, "as-of", "", "RFC 3339 time, for example 2026-01-31T16:00:00Z")
	versions := &cobra.Command{Use: "versions USCC", Short: "list every version of a licence", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route("/v1/licences", a[0], "/versions"), func(w io.Writer, p client.Page[client.Licence]) {
				fmt.Fprintln(w, "VERSION\tVALID FROM\tSTATUS\tEVENT\tNAME")
				for _, l := range p.Items {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", l.Version, when(l.ValidFrom), l.Status, l.Kind, l.Name)
				}
			})
		}}
	put := s.keyed(&cobra.Command{Use: "put FILE", Short: "send a signed licence event (envelope JSON); an establishment opens an order", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return putEnvelope(s, cmd, "/v1/licences", a[0], func(w io.Writer, t client.LicenceTaken) {
				showLicence(w, t.Licence)
				if t.Order != "" {
					fmt.Fprintf(w, "order\t%s\n", t.Order)
				}
			})
		}})
	return noun("licence", "business licences (营业执照)", get, versions, put, s.licenceFile(), s.licenceSearch(), s.licenceChanges(), s.licenceImport(), s.licenceVerify())
}

func (s *settings) licenceSearch() *cobra.Command {
	var q client.LicenceQuery
	cmd := s.paged("search", "search licences by the beginning of a name, by status or by division (one of them)", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/licences", func(w io.Writer, p client.Page[client.Standing]) {
			standings(w, p.Items)
			more(w, p.Next)
		}, "name", q.Name, "status", q.Status, "division", q.Division, "cursor", cursor, "limit", limit)
	})
	cmd.Flags().StringVar(&q.Name, "name", "", "the name begins with it")
	cmd.Flags().StringVar(&q.Status, "status", "", "active, dormant, revoked_open, cancelled, annulled, moved_out, other")
	cmd.Flags().StringVar(&q.Division, "division", "", "two, four or six digits, for example 4103")
	return cmd
}

func (s *settings) licenceChanges() *cobra.Command {
	var since string
	cmd := s.paged("changes", "licences that changed since a time, in order, each once, up to 40 seconds ago", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, "/v1/licence-changes", func(w io.Writer, p client.LicenceChanges) {
			standings(w, p.Items)
			fmt.Fprintf(w, "up to %s; go on with --cursor %s\n", when(p.Until), p.Next)
		}, "since", since, "cursor", cursor, "limit", limit)
	})
	cmd.Flags().StringVar(&since, "since", "", "RFC 3339 time (default: from the beginning)")
	return cmd
}

func standings(w io.Writer, all []client.Standing) {
	fmt.Fprintln(w, "USCC\tVERSION\tSTATUS\tDIVISION\tTAKEN\tNAME")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", l.USCC, l.Version, l.Status, l.Division, when(l.TakenAt), l.Name)
	}
}

func showLicence(w io.Writer, l client.Licence) {
	for _, f := range [][2]string{{"USCC", l.USCC}, {"name", l.Name}, {"status", l.Status}, {"type", l.EntityType}, {"legal representative", l.LegalRep},
		{"capital", strings.TrimSpace(l.Capital + " " + l.Currency)}, {"established", l.Established}, {"term", strings.Trim(l.TermFrom+" to "+l.TermTo, " to")},
		{"scope", l.Scope}, {"address", l.Address}, {"authority", l.Authority}, {"approved", l.Approved}} {
		if f[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
		}
	}
	fmt.Fprintf(w, "version\t%d, from %s, by %s\n", l.Version, when(l.ValidFrom), l.Kind)
	for _, warning := range l.Warnings {
		fmt.Fprintf(w, "warning\t%s\n", warning)
	}
}

// putEnvelope sends a message that an outside system signed. Its form is checked here, its signature by the appliance.
func putEnvelope[T any](s *settings, cmd *cobra.Command, path, file string, table func(io.Writer, T)) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the signed message: %w", err)
	}
	var e client.Envelope
	if err := json.Unmarshal(b, &e); err != nil || e.Kind == "" {
		return fmt.Errorf("reading the signed message %s: not JSON of kind, payload and signature", file)
	}
	return tell(s, cmd, path, e, table)
}
