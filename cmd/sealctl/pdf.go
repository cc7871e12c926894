package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/signer/pdf"
	"sealkeeper/signer/verify/signeddata"
)

func (s *settings) pdf() *cobra.Command {
	return noun("pdf", "seal PDFs that do not leave this machine: prepare, have the digest signed (sealctl sign cms), embed", s.pdfPrepare(), s.pdfEmbed())
}

// preparingPDF is what a PDF needs beside the places.
type preparingPDF struct {
	preparing
	profile, filter, subFilter, reason, location string
	reserve                                      int
}

func (s *settings) pdfPrepare() *cobra.Command {
	p := &preparingPDF{preparing: preparing{settings: s}}
	cmd := &cobra.Command{Use: "prepare --document FILE --esl SEAL --stamp … --out PREPARED", Short: "append the revision with an empty place for the signature, and say which digest is to be signed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.lay(cmd) }}
	p.flags(cmd, "PDF", "file to write the prepared PDF to, which embed fills")
	require(cmd, "esl")
	cmd.MarkFlagsOneRequired(p.placing.names()...)
	f := cmd.Flags()
	f.StringVar(&p.profile, "profile", "gm", "gm, for sign cms --profile gm or gm-rfc; or pades, for sign cms --profile pades")
	f.StringVar(&p.filter, "filter", "Adobe.PPKLite", "/Filter")
	f.StringVar(&p.subFilter, "sub-filter", "", "/SubFilter (default: adbe.pkcs7.detached; pades: ETSI.CAdES.detached)")
	f.StringVar(&p.reason, "reason", "", "reason that PDF readers show")
	f.StringVar(&p.location, "location", "", "place that PDF readers show")
	f.IntVar(&p.reserve, "reserve", 24<<10, "bytes kept for the signature; one with a time stamp and its certificates takes some 8 kB")
	return cmd
}

func (p *preparingPDF) lay(cmd *cobra.Command) error {
	if p.profile != "gm" && p.profile != "pades" {
		return fmt.Errorf("--profile %q: want gm or pades", p.profile)
	}
	if p.subFilter == "" {
		p.subFilter = map[string]string{"gm": "adbe.pkcs7.detached", "pades": "ETSI.CAdES.detached"}[p.profile]
	}
	document, es, err := p.read()
	if err != nil {
		return err
	}
	d, err := pdf.Open(document, pdf.Limits{})
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.document, err)
	}
	stamps, err := p.placing.plan().Resolve(d.Pages(), d.Find)
	if err != nil {
		return fmt.Errorf("placing the seal: %w", err)
	}
	draft, err := d.Prepare(pdf.Request{Stamps: stamps, Picture: es.Info.Picture.Data, Time: time.Now().UTC().Truncate(time.Second), Filter: p.filter, SubFilter: p.subFilter,
		Name: es.Info.Name, Reason: p.reason, Location: p.location, Reserve: p.reserve})
	if err != nil {
		return fmt.Errorf("laying the signature out: %w", err)
	}
	h := hashOf(p.profile)
	for _, part := range draft.Covered() {
		h.Write(part)
	}
	digest := hex.EncodeToString(h.Sum(nil))
	if err := writeOut(cmd, p.out, 0o644, draft.Prepared()); err != nil || p.out == "-" {
		return err
	}
	return p.show(cmd, map[string]string{"prepared": p.out, "digest": digest}, func(w io.Writer) { fmt.Fprintf(w, "prepared\t%s\ndigest\t%s\n", p.out, digest) })
}

func (s *settings) pdfEmbed() *cobra.Command {
	e := &embedding{settings: s}
	cmd := &cobra.Command{Use: "embed --prepared FILE --signature FILE --out SEALED", Short: "put the signature into the PDF that was prepared", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.embedPDF(cmd) }}
	e.flags(cmd, "detached SignedData that sealctl sign cms wrote")
	return cmd
}

func (e *embedding) embedPDF(cmd *cobra.Command) error {
	prepared, value, err := e.read()
	if err != nil {
		return err
	}
	sealed, err := pdf.Embed(prepared, value)
	if err != nil {
		return fmt.Errorf("embedding: %w", err)
	}
	if err := judged(prepared, sealed, value); err != nil {
		return err
	}
	return e.written(cmd, sealed)
}

// judged makes sure that the signature is a good one over what surrounds the place that was filled.
func judged(prepared, sealed, value []byte) error {
	sd, err := signeddata.Parse(value)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	first := 0
	for first < len(prepared) && prepared[first] == sealed[first] {
		first++
	}
	from := bytes.LastIndexByte(prepared[:min(first+1, len(prepared))], '<')
	to := from + 1 + bytes.IndexByte(prepared[max(from, 0):], '>')
	if from < 0 || to <= from {
		return fmt.Errorf("the prepared PDF has no place: %w", pdf.ErrPrepared)
	}
	h, err := signeddata.NewHash(sd.Signer().DigestOID)
	if err != nil {
		return fmt.Errorf("checking the signature: %w", err)
	}
	h.Write(prepared[:from])
	h.Write(prepared[to:])
	if err := sd.Signer().VerifyDigest(h.Sum(nil)); err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
}
