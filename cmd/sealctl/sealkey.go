package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/signer"
)

var (
	errOtherToken = errors.New("the seal's key is in another token")
	errSealKey    = errors.New("the key in your token is not the seal's, or the token errs; nothing was sent")
)

// sealKey is a seal's key in its owner's token, as the flags of a signing command name it.
type sealKey struct {
	file string // reference that sealctl token enrol --seal wrote; else the fields of
	keyReference
}

func (k *sealKey) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.file, "seal-key", "", "the seal's key is in your own token: the reference that sealctl token enrol --seal wrote")
	f.StringVar(&k.Module, "module", "", "the same without a reference: PKCS#11 library of your token")
	f.StringVar(&k.Profile, "firmware", "", "firmware profile of your token")
	f.StringVar(&k.Serial, "serial", "", "serial number of your token")
	f.StringVar(&k.PINFile, "pin-file", "", "file with the PIN of your token, mode 0400; without it the PIN is asked for")
	f.BoolVar(&k.Keypad, "keypad", false, "the PIN is typed at the device")
	f.DurationVar(&k.Wait, "wait", 0, "how long to wait for your token to be plugged in")
	cmd.MarkFlagsMutuallyExclusive("seal-key", "module")
	cmd.MarkFlagsRequiredTogether("module", "firmware", "serial")
}

// named says whether the seal's key is in a token of the caller's.
func (k *sealKey) named() bool { return k.file != "" || k.Module != "" }

// read takes the reference, or makes one of the flags; the latch of a token that has none stands where the command runs.
func (k *sealKey) read() (r keyReference, err error) {
	if k.file == "" {
		r = k.keyReference
		for _, p := range []*string{&r.Module, &r.PINFile} {
			if *p != "" {
				if *p, err = filepath.Abs(*p); err != nil {
					return r, err
				}
			}
		}
		r.Latch, err = filepath.Abs("sealctl-" + hex.EncodeToString([]byte(r.Serial)) + ".latch.json")
		return r, err
	}
	b, err := os.ReadFile(k.file)
	if err != nil {
		return r, fmt.Errorf("reading the reference to the seal's key: %w", err)
	}
	return readReference(k.file, b)
}

// token opens the seal's token, which may be the one that the caller's own key is in.
func (k *sealKey) token(s *settings, r keyReference) (_ *hsm.Module, done func() error, err error) {
	if s.opened != nil {
		if info, err := s.opened.Info(s.ctx); err == nil && info.Serial == r.Serial {
			return s.opened, func() error { return nil }, nil
		}
	}
	m, err := r.open(s.ctx, os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	return m, m.Close, nil
}

// signHere has the seal's key, in the caller's token, sign: the appliance decides and lays out, this machine lays the same out from its own document,
// the token signs what was laid out here, the appliance verifies and releases. The token is opened first, so that nobody types a PIN on borrowed time.
func (g *signing) signHere(cmd *cobra.Command, cl *client.Client, document []byte) (_ []byte, _ client.Receipt, err error) {
	var none client.Receipt
	r, err := g.sealKey.read()
	if err != nil {
		return nil, none, err
	}
	m, done, err := g.sealKey.token(g.settings, r)
	if err != nil {
		return nil, none, err
	}
	defer func() { err = errors.Join(err, done()) }()
	o, err := cl.Reserve(cmd.Context(), g.idempotency, g.request, document)
	if err != nil {
		return nil, none, err
	}
	if o.Reservation == "" { // answered before: the same bytes again
		return g.answered(cmd.Context(), cl, document)
	}
	signatures, err := g.signOffer(cmd.Context(), m, r, o, document)
	if err != nil {
		return nil, none, err
	}
	return cl.Release(cmd.Context(), g.idempotency, o.Reservation, signatures)
}

// deliverHere is signHere with its answer written.
func (g *signing) deliverHere(cmd *cobra.Command, cl *client.Client, document []byte) error {
	b, receipt, err := g.signHere(cmd, cl, document)
	if err != nil {
		return g.repeatable(client.Call{Key: g.idempotency}, err)
	}
	return g.deliver(cmd, b, receipt)
}

func (g *signing) answered(ctx context.Context, cl *client.Client, document []byte) ([]byte, client.Receipt, error) {
	if document != nil {
		return cl.SignDocument(ctx, g.idempotency, g.request, document)
	}
	s, err := cl.SignDigest(ctx, g.idempotency, g.request)
	return s.Signature, s.Receipt, err
}

// signOffer lays the request out and has the token sign that, each signature verified here before the next.
func (g *signing) signOffer(ctx context.Context, m *hsm.Module, r keyReference, o client.Offer, document []byte) ([][]byte, error) {
	if o.Token != r.Serial || r.Key != "" && r.Key != o.Key {
		return nil, fmt.Errorf("seal %s has key %s in token %s; you named token %s: %w", o.Seal, o.Key, o.Token, r.Serial, errOtherToken)
	}
	id, err := hsm.ParseObjectID(o.Key)
	if err != nil {
		return nil, err
	}
	offer, err := offerOf(o)
	if err != nil {
		return nil, err
	}
	public, err := r.publicOr(offer.Certificate)
	if err != nil {
		return nil, err
	}
	request, err := g.signerRequest(document)
	if err != nil {
		return nil, err
	}
	contents, err := signer.Outline(request, offer, public, time.Now(), signer.Limits{})
	if err != nil {
		return nil, fmt.Errorf("laying out here what the seal is to sign: %w", err)
	}
	var all [][]byte
	for _, c := range contents {
		der, err := signSM2(ctx, m, id, public, c)
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	return all, nil
}

// publicOr is the key that the reference pins, or that of the seal's certificate; the token's answer must be by it.
func (r keyReference) publicOr(certificate []byte) (*gm.PublicKey, error) {
	if r.Public != "" {
		point, err := hex.DecodeString(r.Public)
		if err != nil {
			return nil, fmt.Errorf("public half in the reference: %w: %w", errReference, err)
		}
		return gm.NewPublicKey(point)
	}
	c, err := gm.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("reading the seal's certificate: %w", err)
	}
	return gm.CertificateKey(c)
}

// signSM2 computes e over a whole message and returns strict DER that verifies.
func signSM2(ctx context.Context, m *hsm.Module, id hsm.ObjectID, public *gm.PublicKey, message []byte) ([]byte, error) {
	msg := public.NewMessage().Keep()
	msg.Write(message)
	e := msg.E()
	raw, err := m.Sign(ctx, hsm.SignRequest{Key: id, Algorithm: hsm.SM2, Digest: e, Message: msg.Preimage()})
	if err != nil {
		return nil, fmt.Errorf("signing with your token: %w", err)
	}
	if len(raw) != 64 || public.VerifyE(e, [64]byte(raw)) != nil {
		return nil, errSealKey
	}
	return gm.EncodeSignature(raw)
}

// signerRequest is the request as the signing code takes it, from the flags and files of this machine.
func (g *signing) signerRequest(document []byte) (signer.Request, error) {
	r := g.request
	u := signer.Request{ID: g.idempotency, Kind: r.Kind, Profile: r.Profile, Seal: r.Seal, Purpose: r.Purpose, Document: document, Plan: g.placing.plan(), PropertyInfo: r.Property,
		WholeDocument: r.Mode == "whole", Integrity: r.Integrity, Reason: r.Reason, Location: r.Location, Timestamp: r.Timestamp, Page: r.QR}
	if document == nil {
		d, err := hex.DecodeString(r.Digest)
		if err != nil || len(d) != 32 {
			return u, errors.New("--digest is not 64 hexadecimal digits")
		}
		u.Digest = [32]byte(d)
	}
	return u, nil
}

func offerOf(o client.Offer) (signer.Offer, error) {
	s := signer.Offer{Reservation: o.Reservation, Until: o.Until, Seal: o.Seal, Key: o.Key, Token: o.Token, Time: o.Time, ESL: o.ESL, Certificate: o.Certificate, Chain: o.Chain}
	for part, into := range map[*json.RawMessage]any{&o.Provider: &s.Provider, &o.Options: &s.Options} {
		if len(*part) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(*part))
		d.DisallowUnknownFields() // an option that this version does not know cannot be laid out here
		if err := d.Decode(into); err != nil {
			return s, fmt.Errorf("reading the offer: %w: %w", signer.ErrOffer, err)
		}
	}
	for _, c := range o.Contents {
		d, err := hex.DecodeString(c)
		if err != nil || len(d) != 32 {
			return s, fmt.Errorf("reading the offer: %w", signer.ErrOffer)
		}
		s.Contents = append(s.Contents, [32]byte(d))
	}
	return s, nil
}
