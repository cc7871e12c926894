package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
)

// signing is what every request for a signature has.
type signing struct {
	*settings
	request                         client.SignatureRequest
	document, digest, approval, out string
	placing                         placing
	sealKey                         sealKey
}

func (s *settings) sign() *cobra.Command {
	return noun("sign", "have a seal sign; the owner's approval or delegation is needed", s.signOFD(), s.signPDF(), s.signCMS(), s.signDigest())
}

func (s *settings) signOFD() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "ofd"}}
	cmd := s.keyed(&cobra.Command{Use: "ofd --seal ESID --purpose TEXT --document FILE (--stamp … | --keyword … | --riding … | --facing … | --profile sign) --out FILE", Short: "have an OFD document sealed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (g.request.Profile == "sign") != g.placing.plan().Empty() {
				return errors.New("a seal needs a place (--stamp, --keyword, --riding, --facing), and --profile sign takes none")
			}
			return g.sealDocument(cmd)
		}})
	g.flags(cmd, "OFD document")
	g.placing.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&g.request.Profile, "profile", "", "seal: SES_Signature of GB/T 38540 (default); sign: SignedData of GB/T 35275, which shows no seal and takes no place")
	modeFlag(cmd, &g.request.Mode)
	f.BoolVar(&g.request.Integrity, "integrity", false, "write the integrity list of GM/T 0099, so that nobody can add a file")
	require(cmd, "document")
	return cmd
}

func (s *settings) signPDF() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "pdf"}}
	cmd := s.keyed(&cobra.Command{Use: "pdf --seal ESID --purpose TEXT --document FILE (--stamp … | --keyword … | --riding … | --facing …) --out FILE", Short: "have a PDF sealed, in one more revision", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.sealDocument(cmd) }})
	g.flags(cmd, "PDF")
	g.placing.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&g.request.Profile, "profile", "", "gm: with the seal's SM2 key (default); pades: ETSI.CAdES.detached with its P-256 document key, which PDF readers know")
	f.StringVar(&g.request.Reason, "reason", "", "reason that PDF readers show")
	f.StringVar(&g.request.Location, "location", "", "place that PDF readers show")
	require(cmd, "document")
	cmd.MarkFlagsOneRequired(g.placing.names()...)
	return cmd
}

func (s *settings) signCMS() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "cms"}}
	attached := false
	cmd := s.keyed(&cobra.Command{Use: "cms --seal ESID --purpose TEXT (--document FILE [--attached] | --digest HEX) --out FILE", Args: args(),
		Short: "SignedData over a document, detached (the document stays here, 未见原文) or around it", RunE: func(cmd *cobra.Command, _ []string) error {
			if attached {
				return g.sealDocument(cmd)
			}
			return g.digestOnly(cmd)
		}})
	g.flags(cmd, "document of any kind")
	f := cmd.Flags()
	f.StringVar(&g.request.Profile, "profile", "", "gm: GB/T 35275 (default); gm-rfc: the same under RFC 5652's content types; rfc: RFC 5652 with the seal's P-256 document key; pades: as in a PDF")
	f.StringVar(&g.digest, "digest", "", "digest of the document, 64 hexadecimal digits: SM3; for profiles rfc and pades SHA-256")
	f.BoolVar(&attached, "attached", false, "send the document and put it inside")
	cmd.MarkFlagsOneRequired("document", "digest")
	cmd.MarkFlagsMutuallyExclusive("document", "digest")
	cmd.MarkFlagsMutuallyExclusive("attached", "digest")
	return cmd
}

func (s *settings) signDigest() *cobra.Command {
	g := &signing{settings: s, request: client.SignatureRequest{Kind: "digest"}}
	cmd := s.keyed(&cobra.Command{Use: "digest --seal ESID --purpose TEXT (--document FILE | --digest HEX) --out FILE", Args: args(),
		Short: "have a document's SM3 digest signed; the document stays here (未见原文)", RunE: func(cmd *cobra.Command, _ []string) error { return g.digestOnly(cmd) }})
	g.flags(cmd, "document of any kind, digested here")
	cmd.Flags().StringVar(&g.digest, "digest", "", "SM3 of the document, 64 hexadecimal digits")
	cmd.Flags().StringVar(&g.request.Property, "property-info", "", "what the signature will be embedded under (sealctl ofd prepare prints it)")
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
	f.BoolVar(&g.request.Timestamp, "timestamp", false, "put a time stamp over the signature value")
	f.BoolVar(&g.request.QR, "qr", false, "publish the signature at a page that nobody can guess; in a PDF with a QR code beside the stamp")
	f.StringVar(&g.out, "out", "", "file to write, - for standard output")
	g.sealKey.flags(cmd)
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

func (g *signing) sealDocument(cmd *cobra.Command) error {
	document, err := os.ReadFile(g.document)
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	cl, err := g.prepare()
	if err != nil {
		return err
	}
	g.placing.wire(&g.request)
	if g.sealKey.named() {
		return g.deliverHere(cmd, cl, document)
	}
	sealed, receipt, err := cl.SignDocument(cmd.Context(), g.idempotency, g.request, document)
	if err != nil {
		return g.repeatable(client.Call{Key: g.idempotency}, err)
	}
	return g.deliver(cmd, sealed, receipt)
}

func (g *signing) digestOnly(cmd *cobra.Command) error {
	g.request.Digest = g.digest
	if g.document != "" {
		d, err := digestFile(g.document, g.hash())
		if err != nil {
			return err
		}
		g.request.Digest = hex.EncodeToString(d[:])
	}
	cl, err := g.prepare()
	if err != nil {
		return err
	}
	if g.sealKey.named() {
		return g.deliverHere(cmd, cl, nil)
	}
	signed, err := cl.SignDigest(cmd.Context(), g.idempotency, g.request)
	if err != nil {
		return g.repeatable(client.Call{Key: g.idempotency}, err)
	}
	return g.deliver(cmd, signed.Signature, signed.Receipt)
}

// hash is what the profile digests the document with.
func (g *signing) hash() hash.Hash { return hashOf(g.request.Profile) }

func hashOf(profile string) hash.Hash {
	if profile == "rfc" || profile == "pades" {
		return sha256.New()
	}
	return gm.NewSM3()
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
		if r.Timestamp != "" {
			fmt.Fprintf(w, "time stamp\t%s\n", r.Timestamp)
		}
		if r.Page != "" {
			fmt.Fprintf(w, "page\t%s\n", r.Page)
		}
	})
}

// digestFile is the digest of a file of any size.
func digestFile(path string, h hash.Hash) (d [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, fmt.Errorf("reading the document: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return d, fmt.Errorf("reading the document: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}
