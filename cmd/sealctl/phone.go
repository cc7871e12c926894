package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/phone/sim"
	"sealkeeper/internal/gm"
)

func (s *settings) phone() *cobra.Command {
	return noun("phone", "the owner's device as a key file, for trying things out", s.phoneNew(), s.phoneShow(), s.phoneApprove(), s.phoneDelegate(), s.phonePresent())
}

// device is a phone's key file.
type device struct {
	*settings
	key, out string
	yes      bool
}

func (d *device) flags(cmd *cobra.Command, signs bool) {
	cmd.Flags().StringVar(&d.key, "device", "", "key file of the device (sealctl phone new)")
	require(cmd, "device")
	if signs {
		cmd.Flags().StringVar(&d.out, "out", "-", "file to write, - for standard output")
		cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "consent without being asked")
	}
}

func (s *settings) phoneNew() *cobra.Command {
	d := &device{settings: s}
	cmd := &cobra.Command{Use: "new --device FILE", Short: "make a device key (P-256, mode 0400)", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := sim.New()
			if err != nil {
				return err
			}
			if err := p.Save(d.key); err != nil {
				return fmt.Errorf("writing the device key: %w", err)
			}
			return d.describe(cmd, p)
		}}
	d.flags(cmd, false)
	return cmd
}

func (s *settings) phoneShow() *cobra.Command {
	d := &device{settings: s}
	cmd := &cobra.Command{Use: "show --device FILE", Short: "show a device's public key, as an identity assertion binds it", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := d.load()
			if err != nil {
				return err
			}
			return d.describe(cmd, p)
		}}
	d.flags(cmd, false)
	return cmd
}

func (d *device) load() (*sim.Phone, error) {
	p, err := sim.Load(d.key)
	if err != nil {
		return nil, fmt.Errorf("reading the device key: %w", err)
	}
	return p, nil
}

func (d *device) describe(cmd *cobra.Command, p *sim.Phone) error {
	point, err := p.Public()
	if err != nil {
		return err
	}
	v := struct {
		Device string `json:"device"`
		Alg    string `json:"alg"`
		Public string `json:"public"`
	}{access.DeviceKeyID(point), access.AlgP256, hex.EncodeToString(point)}
	return d.show(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "device\t%s\nalgorithm\t%s\npublic\t%s\n", v.Device, v.Alg, v.Public)
	})
}

// wanted is what the owner is asked to approve.
type wanted struct {
	device
	approval                  access.Approval
	document, digest, of, end string
	hash                      string
	length                    time.Duration
	placing                   placing
}

func (s *settings) phoneApprove() *cobra.Command {
	a := &wanted{device: device{settings: s}}
	cmd := &cobra.Command{Use: "approve --device FILE --seal ESID --purpose TEXT --client CLIENT (--document FILE [--stamp … | --keyword … | --riding … | --facing …] | --digest HEX)", Args: args(),
		Short: "show what would be signed, ask, and sign the approval of one use of one seal", RunE: func(cmd *cobra.Command, _ []string) error { return a.approve(cmd) }}
	a.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&a.approval.Request, "request", "", "Idempotency-Key of the signature request (default: a fresh one, which sealctl sign takes from the approval)")
	f.StringVar(&a.approval.Seal, "seal", "", "esID")
	f.StringVar(&a.approval.Purpose, "purpose", "", "purpose as the client states it")
	f.StringVar(&a.of, "client", "", "client identifier, or a PEM file with its certificate")
	f.StringVar(&a.document, "document", "", "the document to be sealed; without --stamp its digest alone is signed")
	f.StringVar(&a.digest, "digest", "", "SM3 of the document, 64 hexadecimal digits")
	f.StringVar(&a.end, "until", "", "RFC 3339 time of the last second that counts")
	f.DurationVar(&a.length, "for", 10*time.Minute, "how long it counts, in place of --until")
	f.StringVar(&a.hash, "hash", "sm3", "sm3, or sha256 for a digest that profile rfc or pades signs")
	a.placing.flags(cmd)
	require(cmd, "seal", "purpose", "client")
	cmd.MarkFlagsOneRequired("document", "digest")
	cmd.MarkFlagsMutuallyExclusive("document", "digest")
	for _, name := range a.placing.names() {
		cmd.MarkFlagsMutuallyExclusive("digest", name)
	}
	cmd.MarkFlagsMutuallyExclusive("until", "for")
	return cmd
}

func (a *wanted) approve(cmd *cobra.Command) error {
	p, err := a.load()
	if err != nil {
		return err
	}
	if err := errors.Join(a.fill(), vacant(a.out)); err != nil {
		return err
	}
	message, err := a.approval.Canonical()
	if err != nil {
		return fmt.Errorf("forming the approval: %w", err)
	}
	if err := a.consent(cmd, message, describeDocument(a.document), a.placing.describe()); err != nil {
		return err
	}
	point, err := p.Public()
	if err != nil {
		return err
	}
	signed, err := a.approval.Sign(access.AlgP256, access.DeviceKeyID(point), p.Sign)
	if err != nil {
		return err
	}
	return a.hand(cmd, signed)
}

// fill takes everything that will be signed from the flags. The nonce is drawn before the owner is asked, so that what is shown is what
// is signed, to the last byte.
func (a *wanted) fill() error {
	if a.approval.Request == "" {
		a.approval.Request = client.NewKey()
	}
	a.approval.Count = 1
	var err error
	if a.approval.Client, err = clientID(a.of); err != nil {
		return err
	}
	if _, a.approval.Expires, err = (&window{until: a.end, length: a.length}).times(time.Now()); err != nil {
		return err
	}
	rand.Read(a.approval.Nonce[:])
	if plan := a.placing.plan(); !plan.Empty() {
		a.approval.Placement = plan.Digest()
	}
	if a.hash != "sm3" && a.hash != "sha256" {
		return fmt.Errorf("--hash %q: want sm3 or sha256", a.hash)
	}
	if a.document != "" {
		h := gm.NewSM3()
		if a.hash == "sha256" {
			h = sha256.New()
		}
		a.approval.Document, err = digestFile(a.document, h)
		return err
	}
	d, err := hex.DecodeString(a.digest)
	if err != nil || len(d) != len(a.approval.Document) {
		return fmt.Errorf("--digest %q is not 64 hexadecimal digits", a.digest)
	}
	copy(a.approval.Document[:], d)
	return nil
}

// hand writes what was signed.
func (d *device) hand(cmd *cobra.Command, signed any) error {
	b, err := json.MarshalIndent(signed, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding what was signed: %w", err)
	}
	if err := writeOut(cmd, d.out, 0o600, append(b, '\n')); err != nil || d.out == "-" {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "written:", d.out)
	return nil
}

func (s *settings) phoneDelegate() *cobra.Command {
	d, g := &device{settings: s}, access.Delegation{}
	var w window
	var of string
	cmd := &cobra.Command{Use: "delegate --device FILE --id ID --seal ESID --client CLIENT --purpose TEXT --count N", Args: args(),
		Short: "show what would be signed, ask, and sign a consent in advance, in bounds",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if g.Client, err = clientID(of); err != nil {
				return err
			}
			if g.NotBefore, g.Expires, err = w.times(time.Now()); err != nil {
				return err
			}
			g.Purposes, g.Kinds = sorted(g.Purposes), sorted(g.Kinds)
			return d.delegate(cmd, g)
		}}
	d.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&g.ID, "id", "", "identifier, chosen by whoever will present it")
	f.StringVar(&g.Seal, "seal", "", "esID; never the legal representative's seal")
	f.StringVar(&of, "client", "", "client identifier, or a PEM file with its certificate")
	f.StringArrayVar(&g.Purposes, "purpose", nil, "purpose the client may state, repeated")
	f.StringArrayVar(&g.Kinds, "kind", []string{"ofd"}, "cms, digest, ofd or pdf, repeated")
	f.Uint64Var(&g.Count, "count", 1, "signatures in all")
	w.flags(cmd, 30*24*time.Hour)
	require(cmd, "id", "seal", "client", "purpose")
	return cmd
}

func (d *device) delegate(cmd *cobra.Command, g access.Delegation) error {
	p, err := d.load()
	if err != nil {
		return err
	}
	if err := vacant(d.out); err != nil {
		return err
	}
	rand.Read(g.Nonce[:])
	message, err := g.Canonical()
	if err != nil {
		return fmt.Errorf("forming the delegation: %w", err)
	}
	if err := d.consent(cmd, message); err != nil {
		return err
	}
	signed, err := g.Sign(access.AlgP256, p.Sign)
	if err != nil {
		return err
	}
	if _, err := signed.Delegation(); err != nil {
		return fmt.Errorf("forming the delegation: %w", err)
	}
	return d.hand(cmd, signed)
}

// describeDocument tells the owner which file stands behind the digest.
func describeDocument(path string) note {
	if path == "" {
		return note{"document", "只有摘要，未见原文"}
	}
	info, err := os.Stat(path)
	if err != nil {
		return note{"document", path}
	}
	return note{"document", fmt.Sprintf("文件 %s，%d 字节", path, info.Size())}
}

func describeStamps(all stamps) note {
	text := ""
	for i, s := range all {
		if i > 0 {
			text += "\n"
		}
		text += fmt.Sprintf("第 %d 页：距左 %.3f mm，距上 %.3f mm，宽 %.3f mm，高 %.3f mm", s.Page, s.X, s.Y, s.W, s.H)
	}
	return note{"placement", text}
}
