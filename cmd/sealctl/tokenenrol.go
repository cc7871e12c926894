package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/hsm"
)

// enrolling makes a caller's or a seal's key in their own token.
type enrolling struct {
	*settings
	keyReference
	name, out   string
	order, seal string // of a seal's key
}

func (s *settings) tokenEnrol() *cobra.Command {
	e := &enrolling{settings: s}
	cmd := s.keyed(&cobra.Command{Use: "enrol --module LIBRARY --profile ID --serial S (--name NAME | --seal TYPE --order ORDER) --out PREFIX", Short: "make the key of a client certificate, or of a seal, in your own token", Args: args(),
		Long: `Make a P-256 key in a USB key or another token, a certificate request that it signs (PREFIX.csr), and a reference (PREFIX.key.yaml) that stands in the place of a key
file: --key PREFIX.key.yaml. The key never leaves the token. The request goes the way of every other: sealctl client add, or for an officer a ceremony with
register-operator.

With --seal and --order, before the order's last impression comes: an SM2 key for that seal of the order, made in its owner's token at an officer's machine. The appliance
keeps the evidence of its birth, certifies it and makes the seal with it when the set is made; the owner then signs with sealctl sign … --seal-key PREFIX.key.yaml.

The PIN is asked for at the terminal without echo, read from --pin-file (0400), or typed at the device (--keypad). A wrong PIN is not tried again: remove the latch
(PREFIX.key.yaml.latch.json) when you know why it was wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) }})
	f := cmd.Flags()
	f.StringVar(&e.Module, "module", "", "PKCS#11 library")
	f.StringVar(&e.Profile, "profile", "", "firmware profile")
	f.StringVar(&e.Profiles, "profiles", "", "folder with further profiles")
	f.StringVar(&e.Serial, "serial", "", "serial number of the token (sealctl token list)")
	f.StringVar(&e.PINFile, "pin-file", "", "file with the PIN, mode 0400")
	f.BoolVar(&e.Keypad, "keypad", false, "the PIN is typed at the device")
	f.DurationVar(&e.Wait, "wait", 0, "how long to wait for the token to be plugged in, now and whenever the key is used")
	f.StringVar(&e.name, "name", "", "common name of a client certificate")
	f.StringVar(&e.seal, "seal", "", "type of the seal that the key is for, 01 to 05")
	f.StringVar(&e.order, "order", "", "the order that has this seal made")
	f.StringVar(&e.out, "out", "", "prefix of the two files")
	require(cmd, "module", "profile", "serial", "out")
	cmd.MarkFlagsRequiredTogether("seal", "order")
	cmd.MarkFlagsMutuallyExclusive("name", "seal")
	cmd.MarkFlagsOneRequired("name", "seal")
	return cmd
}

func (e *enrolling) run(cmd *cobra.Command) (err error) {
	reference, request := e.out+".key.yaml", e.out+".csr"
	if err := errors.Join(vacant(reference), vacant(request)); err != nil {
		return err
	}
	for _, p := range []*string{&e.Module, &e.Profiles, &e.PINFile} {
		if *p != "" {
			if *p, err = filepath.Abs(*p); err != nil {
				return err
			}
		}
	}
	e.Latch = reference + ".latch.json"
	m, err := e.open(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	var id hsm.ObjectID
	rand.Read(id[:])
	if e.seal != "" {
		return e.offer(cmd, m, id, reference, request)
	}
	birth, err := m.Generate(cmd.Context(), hsm.GenerateRequest{ID: id, Label: "sealctl:" + hex.EncodeToString(id[:4]), Algorithm: hsm.ECDSAP256})
	if err != nil {
		return fmt.Errorf("making the key in the token: %w", err)
	}
	if err := e.write(cmd, m, birth, reference, request); err != nil {
		return errors.Join(err, m.Destroy(cmd.Context(), id))
	}
	return e.show(cmd, map[string]string{"client": access.ClientID(birth.Public), "key": reference, "csr": request}, func(w io.Writer) {
		fmt.Fprintf(w, "client\t%s\nkey\t%s, in token %s\ncsr\t%s\n", access.ClientID(birth.Public), reference, e.Serial, request)
	})
}

// write has the key sign its request, and writes both files.
func (e *enrolling) write(cmd *cobra.Command, m *hsm.Module, birth hsm.Birth, reference, request string) error {
	public, err := x509.ParsePKIXPublicKey(birth.Public)
	if err != nil {
		return fmt.Errorf("reading the key's public half: %w", err)
	}
	pub, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("the token made a key of type %T", public)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: e.name}}, tokenKey{cmd.Context(), m, birth.ID, pub})
	if err != nil {
		return fmt.Errorf("making the certificate request: %w", err)
	}
	b, err := e.reference(birth)
	if err != nil {
		return err
	}
	if err := writeNew(request, 0o644, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}); err != nil {
		return err
	}
	return writeOut(cmd, reference, 0o600, b)
}

// reference is the file that stands in the place of the key.
func (e *enrolling) reference(birth hsm.Birth) ([]byte, error) {
	r := e.keyReference
	r.Key, r.Latch = birth.ID.String(), ""
	if birth.Algorithm == hsm.SM2 {
		r.Public = hex.EncodeToString(birth.Public)
	}
	b, err := yaml.MarshalWithOptions(r, yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(d.String()), nil }))
	if err != nil {
		return nil, fmt.Errorf("encoding the reference: %w", err)
	}
	return b, nil
}
