package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/phone/sim"
)

func (s *settings) code() *cobra.Command {
	const enterprises = "/v1/enterprises"
	show := func(w io.Writer, c client.EntityCode) {
		fmt.Fprintf(w, "USCC\t%s\nURL\t%s\nsince\t%s\n", c.USCC, c.URL, when(c.Since))
	}
	issue := s.keyed(&cobra.Command{Use: "issue USCC", Short: "give an enterprise its static code, or show the one it has", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return ask(s, cmd, client.Call{Method: http.MethodPost, Path: route(enterprises, a[0], "/code"), Key: s.newKey()}, show)
		}})
	get := &cobra.Command{Use: "get USCC", Short: "show the static code of an enterprise", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route(enterprises, a[0], "/code"), show)
		}}
	var out string
	qr := &cobra.Command{Use: "qr USCC -f OUT", Short: "write the static code as a QR code (PNG)", Args: args("USCC"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return s.fetch(cmd, route(enterprises, a[0], "/code/qr"), out)
		}}
	qr.Flags().StringVarP(&out, "file", "f", "", "file to write, - for standard output")
	require(qr, "file")
	return noun("code", "codes by which an enterprise shows itself (一码)", issue, get, qr, s.codePresent(), s.codeRedeem(), s.codePresentations())
}

func (s *settings) codePresent() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "present FILE", Short: "make a presentation code from a wish that the owner's device signed (sealctl phone present)", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			b, err := os.ReadFile(a[0])
			if err != nil {
				return fmt.Errorf("reading the wish: %w", err)
			}
			var wish access.SignedPresentation
			if err := json.Unmarshal(b, &wish); err != nil {
				return errors.Join(fmt.Errorf("reading the wish %s: not JSON of sealctl phone present", a[0]), err)
			}
			return tell(s, cmd, "/v1/presentations", wish, func(w io.Writer, p client.Presented) {
				fmt.Fprintf(w, "code\t%s\nuntil\t%s\n", p.Code, when(p.Presentation.Expires))
			})
		}})
}

func (s *settings) codeRedeem() *cobra.Command {
	var r client.Redemption
	cmd := s.keyed(&cobra.Command{Use: "redeem CODE --purpose TEXT", Short: "redeem a presentation code, once; the holder sees who and what for", Args: args("CODE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			r.Code = a[0]
			return tell(s, cmd, "/v1/presentations/redeem", r, func(w io.Writer, sh client.Shown) {
				fmt.Fprintf(w, "USCC\t%s\nstatus\t%s\n", sh.USCC, sh.Status)
				for _, name := range slices.Sorted(maps.Keys(sh.Attributes)) {
					fmt.Fprintf(w, "%s\t%s\n", name, sh.Attributes[name])
				}
				fmt.Fprintln(w)
				showCertificates(w, client.Page[client.CertificateView]{Items: sh.Certificates})
			})
		}})
	cmd.Flags().StringVar(&r.Purpose, "purpose", "", "what for")
	require(cmd, "purpose")
	return cmd
}

func (s *settings) codePresentations() *cobra.Command {
	var uscc string
	cmd := s.paged("presentations --uscc USCC", "list presentation codes of an enterprise, and who redeemed them", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, route("/v1/enterprises", uscc, "/presentations"), func(w io.Writer, p client.Page[client.Presentation]) {
			fmt.Fprintln(w, "MADE\tFOR\tSHOWS\tREDEEMED\tBY\tPURPOSE")
			for _, x := range p.Items {
				at, by, why := "-", "-", "-"
				if r := x.Redeemed; r != nil {
					at, by, why = when(r.At), r.Name, r.Purpose
				}
				fmt.Fprintf(w, "%s\t%.12s\t%d fields, %d certificates\t%s\t%s\t%s\n", when(x.Made), x.Client, len(x.Attributes), len(x.Certificates), at, by, why)
			}
			more(w, p.Next)
		}, "cursor", cursor, "limit", limit)
	})
	cmd.Flags().StringVar(&uscc, "uscc", "", "credit code")
	require(cmd, "uscc")
	return cmd
}

// phonePresent plays the owner who chooses what to show.
func (s *settings) phonePresent() *cobra.Command {
	d := &device{settings: s}
	var w access.Presentation
	var of string
	cmd := &cobra.Command{Use: "present --device FILE --uscc USCC [--show FIELD …] [--certificate CERTIFICATE …]", Args: args(),
		Short: "show what a presentation code would show, ask, and sign the wish", RunE: func(cmd *cobra.Command, _ []string) error { return d.present(cmd, w, of) }}
	d.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&w.USCC, "uscc", "", "credit code of the enterprise")
	f.StringVar(&of, "client", access.AnyClient, "client identifier of the department that may redeem it, a PEM file with its certificate, or any")
	f.StringArrayVar(&w.Attributes, "show", nil, "field of the licence, repeated: name, legal_rep, address …; credit code and status are always shown")
	f.StringArrayVar(&w.Certificates, "certificate", nil, "type, issuer and serial of a certificate, repeated")
	f.Uint64Var(&w.Seconds, "seconds", access.MaxPresentationSeconds, "life of the code, 1 to 120")
	require(cmd, "uscc")
	return cmd
}

func (d *device) present(cmd *cobra.Command, w access.Presentation, of string) error {
	p, err := d.load()
	if err != nil {
		return err
	}
	if w.Client = of; of != access.AnyClient {
		if w.Client, err = clientID(of); err != nil {
			return err
		}
	}
	w.Attributes, w.Certificates = sorted(w.Attributes), sorted(w.Certificates)
	w = sim.Wish(w)
	message, err := w.Canonical()
	if err != nil {
		return fmt.Errorf("forming the wish: %w", err)
	}
	if err := errors.Join(vacant(d.out), d.consent(cmd, message)); err != nil {
		return err
	}
	signed, err := w.Sign(access.AlgP256, p.Sign)
	if err != nil {
		return err
	}
	return d.hand(cmd, signed)
}
