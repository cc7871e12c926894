package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
)

// try opens the token as the appliance does, under the measured profile, and has a key of each algorithm made, used and destroyed.
func (f *Findings) try(ctx context.Context, cfg hsm.Config, o Options) error {
	p, _, err := f.Profile()
	if errors.Is(err, ErrNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	o.Progress("trial under the measured profile", 0, 0)
	cfg.Profile, cfg.Proven = p, true // the PIN logged in a moment ago
	m, err := hsm.Open(ctx, cfg)
	if err != nil {
		f.note("the appliance cannot open the token under the measured profile: %v", err)
		return nil
	}
	take := func(t Trial, left string, err error) {
		if t.Outcome = Good; err != nil {
			t.Outcome = err.Error()
		}
		if left != "" {
			f.Left = append(f.Left, left)
		}
		f.Trials = append(f.Trials, t)
	}
	for _, a := range Algorithms(p) {
		left, err := Once(ctx, m, a)
		take(Trial{Algorithm: a}, left, err)
	}
	for _, a := range Wrappable(p) {
		left, err := OnceWrapped(ctx, m, a)
		take(Trial{Algorithm: a, Wrapped: true}, left, err)
	}
	return m.Close()
}

// Good is the outcome of a trial that went well.
const Good = "good"

// Algorithms are those that the profile offers the appliance.
func Algorithms(p *firmware.Profile) []hsm.Algorithm {
	var all []hsm.Algorithm
	for _, a := range []struct {
		name hsm.Algorithm
		has  bool
	}{{hsm.SM2, p.SM2 != nil}, {hsm.ECDSAP256, p.ECDSA != nil}, {hsm.RSA2048, p.RSA != nil},
		{hsm.AES256, p.AES != nil && p.AES.GCM}} {
		if a.has {
			all = append(all, a.name)
		}
	}
	return all
}

// Keeper is what Once needs of a token, in this process or in a worker.
type Keeper interface {
	Generate(context.Context, hsm.GenerateRequest) (hsm.Birth, error)
	Sign(context.Context, hsm.SignRequest) ([]byte, error)
	Destroy(context.Context, hsm.ObjectID) error
}

// Once makes a key as the appliance makes its own, with the evidence of its birth, signs once more, and destroys it. Left says what stayed.
func Once(ctx context.Context, k Keeper, a hsm.Algorithm) (left string, err error) {
	var id hsm.ObjectID
	rand.Read(id[:]) // never returns an error
	label := Label + hex.EncodeToString(id[:8])
	b, err := k.Generate(ctx, hsm.GenerateRequest{ID: id, Label: label, Algorithm: a})
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	if a != hsm.AES256 {
		err = signOnce(ctx, k, b, nil)
	}
	if gone := k.Destroy(context.WithoutCancel(ctx), id); gone != nil {
		left = fmt.Sprintf("%s key %s labelled %s", a, id, label)
		err = errors.Join(err, fmt.Errorf("destroying the key: %w", gone))
	}
	return left, err
}

// signOnce has a key sign something random, and verifies it. For a token that hashes itself the random bytes are the message.
func signOnce(ctx context.Context, k Keeper, b hsm.Birth, w *hsm.Wrapped) error {
	r := hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Wrapped: w}
	rand.Read(r.Digest[:])
	if b.Algorithm == hsm.SM2 {
		key, err := gm.NewPublicKey(b.Public)
		if err != nil {
			return err
		}
		z := key.Z()
		r.Message = append(z[:], r.Digest[:]...)
		r.Digest = gm.SM3(r.Message)
	}
	sig, err := k.Sign(ctx, r)
	if err != nil {
		return err
	}
	return verify(b, r.Digest, sig)
}
