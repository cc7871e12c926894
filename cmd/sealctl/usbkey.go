package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/hsm"
)

// keyReference says in which token a caller's key is: a file that stands in the place of a key file. It holds no secret.
type keyReference struct {
	Module   string        `yaml:"module"`  // PKCS#11 library
	Profile  string        `yaml:"profile"` // firmware profile
	Profiles string        `yaml:"profiles,omitempty"`
	Serial   string        `yaml:"serial"`           // of the token; the slot may be another each time it is plugged in
	Key      string        `yaml:"key"`              // CKA_ID, 32 hexadecimal digits
	Public   string        `yaml:"public,omitempty"` // of a seal's key: its point, hexadecimal
	PINFile  string        `yaml:"pin_file,omitempty"`
	Keypad   bool          `yaml:"keypad,omitempty"`     // the PIN is typed at the device
	Latch    string        `yaml:"latch_file,omitempty"` // default: beside this file
	Wait     time.Duration `yaml:"wait,omitempty"`       // how long to wait for the token to be plugged in
}

var errReference = errors.New("not a reference to a key in a token")

// readReference reads one strictly; relative paths are relative to it.
func readReference(file string, b []byte) (keyReference, error) {
	var r keyReference
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&r); err != nil {
		return r, fmt.Errorf("%s is neither a PEM key nor a reference to one in a token: %w: %s", file, errReference, yaml.FormatError(err, false, false))
	}
	if id, err := hex.DecodeString(r.Key); err != nil || len(id) != len(hsm.ObjectID{}) || r.Module == "" || r.Profile == "" || r.Serial == "" {
		return r, fmt.Errorf("%s needs module, profile, serial, and key of 32 hexadecimal digits: %w", file, errReference)
	}
	for _, p := range []*string{&r.Module, &r.Profiles, &r.PINFile, &r.Latch} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(file), *p)
		}
	}
	if r.Latch == "" {
		r.Latch = file + ".latch.json"
	}
	return r, nil
}

// usbSessions is enough for one person's token.
const usbSessions = 4

// rescan is how often a token that is not there is looked for.
var rescan = 2 * time.Second

// open opens the token, when it is there: nothing tells of a token that is plugged in, so it is looked for again and again by its serial number.
func (r keyReference) open(ctx context.Context, say io.Writer) (*hsm.Module, error) {
	set, err := hsm.Profiles(r.Profiles)
	if err != nil {
		return nil, err
	}
	profile, err := set.Profile(r.Profile)
	if err != nil {
		return nil, fmt.Errorf("choosing the firmware profile: %w", err)
	}
	cfg := hsm.Config{Module: r.Module, Profile: profile, Serial: r.Serial, PINFile: r.PINFile, Keypad: r.Keypad, LatchFile: r.Latch, MaxSessions: usbSessions,
		Log: slog.New(slog.DiscardHandler)}
	forget := func() {}
	if !r.Keypad {
		if cfg, forget, err = withPIN(cfg); err != nil {
			return nil, err
		}
	} else {
		fmt.Fprintf(say, "type the PIN of token %s at the device\n", r.Serial)
	}
	defer forget()
	return r.plugged(ctx, cfg, say)
}

func (r keyReference) plugged(ctx context.Context, cfg hsm.Config, say io.Writer) (*hsm.Module, error) {
	wait, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	again := time.NewTicker(rescan)
	defer again.Stop()
	for told := false; ; told = true {
		m, err := hsm.Open(ctx, cfg)
		if err == nil || !errors.Is(err, hsm.ErrTokenGone) {
			return m, wrapOpening(err)
		}
		if !told && r.Wait > 0 {
			fmt.Fprintf(say, "plug in token %s\n", r.Serial)
		}
		select {
		case <-again.C:
		case <-wait.Done():
			return nil, wrapOpening(err)
		}
	}
}

func wrapOpening(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("opening your token: %w", err)
}

// tokenKey signs with a P-256 key in a token. Every signature is verified here against the public key that it should be by.
type tokenKey struct {
	ctx    context.Context // crypto.Signer takes none; it is that of the command
	token  *hsm.Module
	id     hsm.ObjectID
	public *ecdsa.PublicKey
}

func (k tokenKey) Public() crypto.PublicKey { return k.public }

var errTokenKey = errors.New("the key in the token is not that of your certificate, or the token errs")

// Sign returns DER over a SHA-256 digest; TLS and approvals use no other.
func (k tokenKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != 32 {
		return nil, fmt.Errorf("the key in the token signs SHA-256 digests, not %v", opts.HashFunc())
	}
	raw, err := k.token.Sign(k.ctx, hsm.SignRequest{Key: k.id, Algorithm: hsm.ECDSAP256, Digest: [32]byte(digest)})
	if err != nil {
		return nil, fmt.Errorf("signing with your token: %w", err)
	}
	if len(raw) != 64 {
		return nil, errTokenKey
	}
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	if !ecdsa.Verify(k.public, digest, r, s) {
		return nil, errTokenKey
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1BigInt(r); b.AddASN1BigInt(s) })
	return b.Bytes()
}

// keyInToken opens the token of a reference and returns its key as that of the given public half.
func (s *settings) keyInToken(b []byte, public crypto.PublicKey) (crypto.Signer, error) {
	r, err := readReference(s.key, b)
	if err != nil {
		return nil, err
	}
	pub, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the certificate's key is %T, not on P-256", public)
	}
	if s.opened == nil {
		if s.opened, err = r.open(s.ctx, os.Stderr); err != nil {
			return nil, err
		}
	}
	id, _ := hex.DecodeString(r.Key) // its form was checked
	return tokenKey{s.ctx, s.opened, hsm.ObjectID(id), pub}, nil
}
