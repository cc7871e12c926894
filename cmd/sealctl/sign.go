package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
)

// signing is what both kinds of request have.
type signing struct {
	*settings
	request                         client.SignatureRequest
	document, digest, approval, out string
	stamps                          stamps
}

func (s *settings) sign() *cobra.Command {
	return noun("sign", "have a seal sign; the owner's approval or delegation is needed", s.signOFD(), s.signDigest())
}

func (s *settings) signOFD() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "ofd"}}
	cmd := s.keyed(&cobra.Command{Use: "ofd --seal ESID --purpose TEXT --document FILE --stamp page,x,y,w,h --out FILE", Short: "have an OFD document sealed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.sealOFD(cmd) }})
	g.flags(cmd, "OFD document")
	g.stamps.flag(cmd)
	require(cmd, "document", "stamp")
	return cmd
}

func (s *settings) signDigest() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "digest"}}
	cmd := s.keyed(&cobra.Command{Use: "digest --seal ESID --purpose TEXT (--document FILE | --digest HEX) --out FILE", Args: args(),
		Short: "have a document's SM3 digest signed; the document stays here (未见原文)", RunE: func(cmd *cobra.Command, _ []string) error { return g.digestOnly(cmd) }})
	g.flags(cmd, "document of any kind, digested here")
	cmd.Flags().StringVar(&g.digest, "digest", "", "SM3 of the document, 64 hexadecimal digits")
	cmd.MarkFlagsOneRequired("document", "digest")
	cmd.MarkFlagsMutuallyExclusive("document", "digest")
	return cmd
}

func (g *signing) flags(cmd *cobra.Command, document string) {
	f := cmd.Flags()
	f.StringVar(&g.request.Seal, "seal", "", "esID")
	f.StringVar(&g.request.Purpose, "purpose", "", "purpose as granted and as approved")
	f.StringVar(&g.document, "document", "", document)
	f.StringVar(&g.approval, "approval", "", "the owner's signed approval (sealctl phone approve); its request becomes the Idempotency-Key")
	f.StringVar(&g.request.Delegation, "delegation", "", "identifier of a registered delegation")
	f.StringVar(&g.out, "out", "", "file to write, - for standard output")
	cmd.MarkFlagsMutuallyExclusive("approval", "delegation")
	require(cmd, "seal", "purpose", "out")
}

// prepare reads the approval and makes sure that what comes back has a place.
func (g *signing) prepare() (*client.Client, error) {
	if err := vacant(g.out); err != nil {
		return nil, err
	}
	if g.approval != "" {
		b, err := os.ReadFile(g.approval)
		if err != nil {
			return nil, fmt.Errorf("reading the approval: %w", err)
		}
		var a struct {
			Request string `json:"request"`
		}
		if err := json.Unmarshal(b, &a); err != nil || a.Request == "" {
			return nil, fmt.Errorf("reading the approval %s: not the JSON that sealctl phone approve writes", g.approval)
		}
		g.request.Approval = b
		if g.idempotency == "" {
			g.idempotency = a.Request // an approval counts for one request alone
		}
	}
	g.newKey()
	return g.client()
}

func (g *signing) sealOFD(cmd *cobra.Command) error {
	document, err := os.ReadFile(g.document)
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	cl, err := g.prepare()
	if err != nil {
		return err
	}
	g.request.Stamps = g.stamps.wire()
	sealed, receipt, err := cl.SignOFD(cmd.Context(), g.idempotency, g.request, document)
	if err != nil {
		return g.repeatable(client.Call{Key: g.idempotency}, err)
	}
	return g.deliver(cmd, sealed, receipt)
}

func (g *signing) digestOnly(cmd *cobra.Command) error {
	g.request.Digest = g.digest
	if g.document != "" {
		d, err := digestFile(g.document)
		if err != nil {
			return err
		}
		g.request.Digest = hex.EncodeToString(d[:])
	}
	cl, err := g.prepare()
	if err != nil {
		return err
	}
	signed, err := cl.SignDigest(cmd.Context(), g.idempotency, g.request)
	if err != nil {
		return g.repeatable(client.Call{Key: g.idempotency}, err)
	}
	return g.deliver(cmd, signed.Signature, signed.Receipt)
}

// deliver writes what came and says where its record stands.
func (g *signing) deliver(cmd *cobra.Command, b []byte, r client.Receipt) error {
	if err := writeOut(cmd, g.out, 0o644, b); err != nil {
		return fmt.Errorf("%w; the signature was made: repeat with --idempotency-key %s and another --out", err, g.idempotency)
	}
	if g.out == "-" {
		return nil
	}
	v := struct {
		File    string         `json:"file"`
		Bytes   int            `json:"bytes"`
		Key     string         `json:"idempotency_key"`
		Receipt client.Receipt `json:"receipt"`
	}{g.out, len(b), g.idempotency, r}
	return g.show(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "written\t%s, %d bytes\nIdempotency-Key\t%s\nrecord\t%d of log %s\nleaf\t%s\ntime\t%s\n", g.out, len(b), g.idempotency, r.Index, r.Log, r.Leaf, when(r.Time))
	})
}

// digestFile is SM3 of a file of any size.
func digestFile(path string) (d [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, fmt.Errorf("reading the document: %w", err)
	}
	defer f.Close()
	h := gm.NewSM3()
	if _, err := io.Copy(h, f); err != nil {
		return d, fmt.Errorf("reading the document: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}
