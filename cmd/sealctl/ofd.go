package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/placement"
)

func (s *settings) ofd() *cobra.Command {
	return noun("ofd", "seal OFD documents that do not leave this machine: prepare, have the digest signed (sealctl sign digest), embed", s.ofdPrepare(), s.ofdEmbed())
}

// laidOFD is what embed needs to lay the document out again, byte for byte as prepare did. It holds nothing of the document but its digest.
type laidOFD struct {
	Document  string            `json:"document_sm3"`
	DataHash  string            `json:"digest"`        // what is to be signed: sign digest --digest
	Property  string            `json:"property_info"` // sign digest --property-info
	Time      time.Time         `json:"time"`
	Whole     bool              `json:"whole_document,omitempty"`
	Stamps    []placement.Stamp `json:"stamps"`
	Provider  string            `json:"provider"`
	ProviderV string            `json:"provider_version"`
	Seal      []byte            `json:"seal"` // SESeal, DER
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
	require(cmd, "document", "esl", "out")
	cmd.MarkFlagsOneRequired(p.placing.names()...)
}

// read reads document and seal.
func (p *preparing) read() (document []byte, es *seal.Seal, err error) {
	if err := vacant(p.out); err != nil {
		return nil, nil, err
	}
	if document, err = os.ReadFile(p.document); err != nil {
		return nil, nil, fmt.Errorf("reading the document: %w", err)
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

func (s *settings) ofdPrepare() *cobra.Command {
	p := &preparing{settings: s}
	whole := false
	cmd := &cobra.Command{Use: "prepare --document FILE --esl SEAL --stamp … --out STATE", Short: "lay the signature out here and say which digest is to be signed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.layOFD(cmd, whole) }}
	p.flags(cmd, "OFD document", "file to write the layout to, which embed needs")
	cmd.Flags().BoolVar(&whole, "whole-document", false, "protect the list of signatures too: nobody can sign after this one")
	return cmd
}

func (p *preparing) layOFD(cmd *cobra.Command, whole bool) error {
	document, es, err := p.read()
	if err != nil {
		return err
	}
	pkg, err := ofd.Open(document, ofd.Limits{})
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.document, err)
	}
	var pages []placement.Page
	for _, g := range pkg.Pages() {
		pages = append(pages, placement.Page{WidthMM: g.WidthMM, HeightMM: g.HeightMM})
	}
	stamps, err := p.placing.plan().Resolve(pages, nil)
	if err != nil {
		return fmt.Errorf("placing the seal: %w", err)
	}
	sum := gm.SM3(document)
	l := laidOFD{Document: hex.EncodeToString(sum[:]), Time: time.Now().UTC().Truncate(time.Second), Whole: whole, Stamps: stamps, Provider: "sealctl", ProviderV: version, Seal: es.Raw}
	draft, err := l.draft(pkg)
	if err != nil {
		return err
	}
	d := draft.DataHash()
	l.DataHash, l.Property = hex.EncodeToString(d[:]), draft.PropertyInfo()
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the layout: %w", err)
	}
	if err := writeOut(cmd, p.out, 0o644, append(b, '\n')); err != nil || p.out == "-" {
		return err
	}
	return p.show(cmd, map[string]string{"layout": p.out, "digest": l.DataHash, "property_info": l.Property}, func(w io.Writer) {
		fmt.Fprintf(w, "layout\t%s\ndigest\t%s\nproperty-info\t%s\n", p.out, l.DataHash, l.Property)
	})
}

func (l laidOFD) draft(pkg *ofd.Package) (*ofd.Draft, error) {
	r := ofd.Request{Stamps: l.Stamps, Seal: l.Seal, SignatureTime: l.Time, ProviderName: l.Provider, ProviderVersion: l.ProviderV}
	if l.Whole {
		r.Mode = ofd.WholeDocument
	}
	draft, err := pkg.Prepare(r)
	if err != nil {
		return nil, fmt.Errorf("laying the signature out: %w", err)
	}
	return draft, nil
}

// embedding is the last step of either container.
type embedding struct {
	*settings
	document, state, signature, out string
}

func (s *settings) ofdEmbed() *cobra.Command {
	e := &embedding{settings: s}
	cmd := &cobra.Command{Use: "embed --document FILE --layout STATE --signature FILE --out SEALED", Short: "put the signature into the document that was prepared", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.embedOFD(cmd) }}
	f := cmd.Flags()
	f.StringVar(&e.document, "document", "", "the same document that was prepared")
	f.StringVar(&e.state, "layout", "", "what prepare wrote")
	f.StringVar(&e.signature, "signature", "", "SES_Signature that sealctl sign digest wrote")
	f.StringVar(&e.out, "out", "", "file to write, - for standard output")
	require(cmd, "document", "layout", "signature", "out")
	return cmd
}

// errOther says that a signature is not the one that was prepared for.
var errOther = errors.New("the signature is for something else")

func (e *embedding) embedOFD(cmd *cobra.Command) error {
	if err := vacant(e.out); err != nil {
		return err
	}
	var read [3][]byte
	for i, path := range []string{e.document, e.state, e.signature} {
		var err error
		if read[i], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	var l laidOFD
	if err := json.Unmarshal(read[1], &l); err != nil {
		return fmt.Errorf("reading the layout %s: %w", e.state, err)
	}
	if sum := gm.SM3(read[0]); hex.EncodeToString(sum[:]) != l.Document {
		return fmt.Errorf("%s is not the document that was prepared: %w", e.document, errOther)
	}
	pkg, err := ofd.Open(read[0], ofd.Limits{})
	if err != nil {
		return fmt.Errorf("opening %s: %w", e.document, err)
	}
	draft, err := l.draft(pkg)
	if err != nil {
		return err
	}
	if err := l.covers(read[2], draft); err != nil {
		return err
	}
	sealed, err := draft.Embed(read[2])
	if err != nil {
		return fmt.Errorf("embedding: %w", err)
	}
	return e.written(cmd, sealed)
}

// covers makes sure that the signature is a good one over exactly this layout.
func (l laidOFD) covers(der []byte, draft *ofd.Draft) error {
	s, err := seal.ParseSignature(der)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	if !bytes.Equal(s.Seal.Raw, l.Seal) {
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

func (e *embedding) written(cmd *cobra.Command, sealed []byte) error {
	if err := writeOut(cmd, e.out, 0o644, sealed); err != nil || e.out == "-" {
		return err
	}
	return e.show(cmd, map[string]any{"file": e.out, "bytes": len(sealed)}, func(w io.Writer) { fmt.Fprintf(w, "written\t%s, %d bytes\n", e.out, len(sealed)) })
}
