package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/seal"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify/signeddata"
)

func (s *settings) ofd() *cobra.Command {
	return noun("ofd", "seal OFD documents that do not leave this machine: prepare, have the digest signed (sealctl sign digest, or sign cms), embed", s.ofdPrepare(), s.ofdEmbed())
}

// preparing is one preparation of either container.
type preparing struct {
	*settings
	document, esl, out string
	placing            placing
}

func (p *preparing) flags(cmd *cobra.Command, container, out string) {
	f := cmd.Flags()
	f.StringVar(&p.document, "document", "", container)
	f.StringVar(&p.esl, "esl", "", "the seal's public file (sealctl seal esl)")
	f.StringVar(&p.out, "out", "", out)
	p.placing.flags(cmd)
	require(cmd, "document", "out")
}

// read reads the document, and the seal where one is named.
func (p *preparing) read() (document []byte, es *seal.Seal, err error) {
	if err := vacant(p.out); err != nil {
		return nil, nil, err
	}
	if document, err = os.ReadFile(p.document); err != nil {
		return nil, nil, fmt.Errorf("reading the document: %w", err)
	}
	if p.esl == "" {
		return document, nil, nil
	}
	b, err := os.ReadFile(p.esl)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the seal: %w", err)
	}
	if es, err = seal.Parse(b); err != nil {
		return nil, nil, fmt.Errorf("reading the seal %s: %w", p.esl, err)
	}
	return document, es, nil
}

// preparingOFD is what an OFD document needs beside the places.
type preparingOFD struct {
	preparing
	profile, mode string
	integrity     bool
}

func (s *settings) ofdPrepare() *cobra.Command {
	p := &preparingOFD{preparing: preparing{settings: s}}
	cmd := &cobra.Command{Use: "prepare --document FILE (--esl SEAL --stamp … | --profile sign) --out PREPARED", Short: "lay the signature out here and say which digest is to be signed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.lay(cmd) }}
	p.flags(cmd, "OFD document", "file to write the prepared document to, which embed fills")
	f := cmd.Flags()
	f.StringVar(&p.profile, "profile", "seal", "seal, for sign digest; or sign: SignedData without a seal, for sign cms --profile gm")
	modeFlag(cmd, &p.mode)
	f.BoolVar(&p.integrity, "integrity", false, "write the integrity list of GM/T 0099, whose digest is to be signed too (sign cms --profile gm)")
	return cmd
}

// modeFlag is --mode, of whoever signs OFD documents.
func modeFlag(cmd *cobra.Command, mode *string) {
	cmd.Flags().StringVar(mode, "mode", "", "continued (default): others may sign after this one; whole: the list of signatures is protected too, and nobody can (整份)")
}

// request says what is laid out, or what of the flags contradicts itself.
func (p *preparingOFD) request(pkg *ofd.Package, es *seal.Seal) (r ofd.Request, err error) {
	plan := p.placing.plan()
	r = ofd.Request{SignatureTime: time.Now().UTC().Truncate(time.Second), ProviderName: "sealctl", ProviderVersion: version, Integrity: p.integrity}
	switch {
	case p.mode == "whole":
		r.Mode = ofd.WholeDocument
	case p.mode != "" && p.mode != "continued":
		return r, fmt.Errorf("--mode %q: want continued or whole", p.mode)
	}
	switch {
	case p.profile == "sign" && es == nil && plan.Empty():
		r.Type = ofd.Sign
		return r, nil
	case p.profile == "sign":
		return r, errors.New("--profile sign shows no seal: leave --esl and places out")
	case p.profile != "seal":
		return r, fmt.Errorf("--profile %q: want seal or sign", p.profile)
	case es == nil || plan.Empty():
		return r, errors.New("--profile seal needs --esl and a place (--stamp, --keyword, --riding, --facing)")
	}
	var pages []placement.Page
	for _, g := range pkg.Pages() {
		pages = append(pages, placement.Page{WidthMM: g.WidthMM, HeightMM: g.HeightMM})
	}
	r.Seal = es.Raw
	if r.Stamps, err = plan.Resolve(pages, pkg.Find); err != nil {
		return r, fmt.Errorf("placing the seal: %w", err)
	}
	return r, nil
}

// laidOFD is what prepare says: each digest is to be signed, and each signature to be embedded.
type laidOFD struct {
	Prepared string `json:"prepared"`
	Digest   string `json:"digest"`                   // profile seal: sign digest --digest; profile sign: sign cms --digest
	Property string `json:"property_info,omitempty"`  // profile seal: sign digest --property-info
	Entries  string `json:"entries_digest,omitempty"` // of the integrity list: sign cms --digest
}

func (p *preparingOFD) lay(cmd *cobra.Command) error {
	document, es, err := p.read()
	if err != nil {
		return err
	}
	pkg, err := ofd.Open(document, ofd.Limits{})
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.document, err)
	}
	r, err := p.request(pkg, es)
	if err != nil {
		return err
	}
	draft, err := pkg.Prepare(r)
	if err != nil {
		return fmt.Errorf("laying the signature out: %w", err)
	}
	prepared, err := draft.Prepared()
	if err != nil {
		return fmt.Errorf("laying the signature out: %w", err)
	}
	if err := writeOut(cmd, p.out, 0o644, prepared); err != nil || p.out == "-" {
		return err
	}
	l := laidOFD{Prepared: p.out, Digest: hexOf(draft.DataHash())}
	if r.Type == ofd.Seal {
		l.Property = draft.PropertyInfo()
	}
	if r.Integrity {
		l.Entries = hexOf(draft.EntriesHash())
	}
	return p.show(cmd, l, func(w io.Writer) {
		fmt.Fprintf(w, "prepared\t%s\ndigest\t%s\n", l.Prepared, l.Digest)
		if l.Property != "" {
			fmt.Fprintf(w, "property-info\t%s\n", l.Property)
		}
		if l.Entries != "" {
			fmt.Fprintf(w, "entries-digest\t%s\n", l.Entries)
		}
	})
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }

// embedding is the last step of either container.
type embedding struct {
	*settings
	prepared, signature, entries, out string
}

func (s *settings) ofdEmbed() *cobra.Command {
	e := &embedding{settings: s}
	cmd := &cobra.Command{Use: "embed --prepared FILE --signature FILE [--entries-signature FILE] --out SEALED", Short: "put the signature into the document that was prepared", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.embedOFD(cmd) }}
	e.flags(cmd, "SES_Signature that sealctl sign digest wrote; profile sign: detached SignedData that sign cms wrote")
	cmd.Flags().StringVar(&e.entries, "entries-signature", "", "detached SignedData of the integrity list, that sign cms wrote")
	return cmd
}

func (e *embedding) flags(cmd *cobra.Command, signature string) {
	f := cmd.Flags()
	f.StringVar(&e.prepared, "prepared", "", "what prepare wrote")
	f.StringVar(&e.signature, "signature", "", signature)
	f.StringVar(&e.out, "out", "", "file to write, - for standard output")
	require(cmd, "prepared", "signature", "out")
}

// read reads what was prepared, and its signature.
func (e *embedding) read() (prepared, value []byte, err error) {
	if err := vacant(e.out); err != nil {
		return nil, nil, err
	}
	if prepared, err = os.ReadFile(e.prepared); err != nil {
		return nil, nil, fmt.Errorf("reading the prepared document: %w", err)
	}
	if value, err = os.ReadFile(e.signature); err != nil {
		return nil, nil, fmt.Errorf("reading the signature: %w", err)
	}
	return prepared, value, nil
}

// errOther says that a signature is not the one that was prepared for.
var errOther = errors.New("the signature is for something else")

func (e *embedding) embedOFD(cmd *cobra.Command) error {
	prepared, value, err := e.read()
	if err != nil {
		return err
	}
	draft, err := ofd.OpenPrepared(prepared, ofd.Limits{})
	if err != nil {
		return fmt.Errorf("opening %s: %w", e.prepared, err)
	}
	if err := covers(draft, value); err != nil {
		return err
	}
	if e.entries != "" {
		if draft, err = e.listed(draft); err != nil {
			return err
		}
	}
	sealed, err := draft.Embed(value)
	if err != nil {
		return fmt.Errorf("embedding: %w", err)
	}
	return e.written(cmd, sealed)
}

// listed gives the integrity list its value.
func (e *embedding) listed(draft *ofd.Draft) (*ofd.Draft, error) {
	value, err := os.ReadFile(e.entries)
	if err != nil {
		return nil, fmt.Errorf("reading the signature of the integrity list: %w", err)
	}
	if err := coversDigest(value, draft.EntriesHash()); err != nil {
		return nil, fmt.Errorf("integrity list: %w", err)
	}
	if draft, err = draft.WithEntriesValue(value); err != nil {
		return nil, fmt.Errorf("embedding the signature of the integrity list: %w", err)
	}
	return draft, nil
}

// covers makes sure that the signature is a good one over exactly this layout.
func covers(draft *ofd.Draft, der []byte) error {
	if draft.Type() == ofd.Sign {
		return coversDigest(der, draft.DataHash())
	}
	s, err := seal.ParseSignature(der)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	if !bytes.Equal(s.Seal.Raw, draft.SealDER()) {
		return fmt.Errorf("another seal: %w", errOther)
	}
	if s.DataHash != draft.DataHash() || s.PropertyInfo != draft.PropertyInfo() {
		return fmt.Errorf("digest or property information differ: %w", errOther)
	}
	if err := s.VerifyValue(); err != nil {
		return fmt.Errorf("checking the signature: %w", err)
	}
	return nil
}

func coversDigest(der []byte, digest [32]byte) error {
	sd, err := signeddata.Parse(der)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	if err := sd.Signer().VerifyDigest(digest[:]); err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
}

func (e *embedding) written(cmd *cobra.Command, sealed []byte) error {
	if err := writeOut(cmd, e.out, 0o644, sealed); err != nil || e.out == "-" {
		return err
	}
	return e.show(cmd, map[string]any{"file": e.out, "bytes": len(sealed)}, func(w io.Writer) { fmt.Fprintf(w, "written\t%s, %d bytes\n", e.out, len(sealed)) })
}
