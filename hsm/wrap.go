package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/pkcs11"
)

// GenerateWrapped makes a key pair in the token as session objects, reads back what the token says of it, wraps the private half, destroys
// both, and proves that what is left works: it opens the result again and has that sign the challenge. The token keeps no object of the key.
// ErrUnproven when the profile has no evidence for wrapping keys of this algorithm; ErrBirth on any mismatch.
func (m *Module) GenerateWrapped(ctx context.Context, r WrapRequest) (WrappedBirth, error) {
	if err := r.check(); err != nil {
		return WrappedBirth{}, err
	}
	var b WrappedBirth
	err := m.callWrapping(ctx, fmt.Sprintf("generating wrapped %s key %s", r.Algorithm, r.ID), r.Wrapping, func(s *session) (err error) {
		b, err = s.generateWrapped(r)
		return err
	})
	if err != nil {
		return WrappedBirth{}, err
	}
	return b, nil
}

// Rewrap moves a key from under one KEK to another, inside the token. On the way it is a session object that can be wrapped and cannot sign.
// Like a birth it proves the result before it returns it; the old blob stays good as long as its KEK.
func (m *Module) Rewrap(ctx context.Context, r RewrapRequest) (Wrapped, error) {
	if err := r.Wrapped.check(); err != nil {
		return Wrapped{}, err
	}
	w := r.Wrapped
	w.Wrapping = r.To
	err := m.callWrapping(ctx, fmt.Sprintf("wrapping key %s anew", w.Key), r.To, func(s *session) error { return s.rewrap(r.Wrapped, &w) })
	if err != nil {
		return Wrapped{}, err
	}
	return w, nil
}

// callWrapping is call for what uses wrapping keys: a stale handle of either is forgotten.
func (m *Module) callWrapping(ctx context.Context, act string, w Wrapping, f func(s *session) error) error {
	return m.call(ctx, act, func(s *session) error {
		err := f(s)
		if classify(err) == classHandle {
			s.e.keys.forget(w.KEK)
			s.e.keys.forget(w.Binder)
		}
		return err
	})
}

func (s *session) generateWrapped(r WrapRequest) (WrappedBirth, error) {
	u, err := s.wrapping(r.Algorithm, r.Wrapping)
	if err == nil {
		err = s.readTrusted(&u)
	}
	if err == nil {
		err = s.vacant(r.GenerateRequest)
	}
	if err != nil {
		return WrappedBirth{}, err
	}
	b, blob, err := s.bear(u, r.GenerateRequest)
	if err != nil {
		return WrappedBirth{}, err
	}
	w := Wrapped{Key: r.ID, Algorithm: r.Algorithm, Public: b.Public, Context: r.Context, Wrapping: r.Wrapping, Mechanism: u.name}
	if err := s.bind(u, &w, blob); err != nil {
		return WrappedBirth{}, err
	}
	if b.Challenge, b.Response, err = s.prove(u, w); err != nil {
		return WrappedBirth{}, err
	}
	t, err := s.e.raw.GetTokenInfo(s.e.slot)
	if err != nil {
		return WrappedBirth{}, fmt.Errorf("asking token: %w", err)
	}
	b.Token, b.Time = s.m.describe(s.e, t), time.Now().UTC()
	return WrappedBirth{b, w}, nil
}

// bear makes the pair, judges it, wraps the private half and destroys both.
func (s *session) bear(u wrapping, r GenerateRequest) (b Birth, blob []byte, err error) {
	a := *u.suite
	a.working, a.other = bornFlags(u.trusted), passingPublicFlags
	b = Birth{ID: r.ID, Label: r.Label, Algorithm: r.Algorithm}
	pub, work, err := s.make(&a, r)
	if err != nil {
		return b, nil, err
	}
	defer func() { err = s.destroy(err, pub, work) }()
	if b.Attributes, err = s.judge(&a, r, work); err != nil {
		return b, nil, err
	}
	if b.ValueRead, err = s.tryValue(&a, work); err != nil {
		return b, nil, err
	}
	if err = s.readPublic(&a, &b, pub); err != nil {
		return b, nil, err
	}
	if blob, err = s.e.raw.WrapKey(s.h, u.mechanism, u.kek, work); err != nil {
		return b, nil, fmt.Errorf("wrapping: %w", err)
	}
	return b, blob, nil
}

// destroy ends session objects, whether or not something failed before.
func (s *session) destroy(cause error, handles ...pkcs11.ObjectHandle) error {
	for _, h := range handles {
		if h == 0 {
			continue
		}
		if err := s.e.raw.DestroyObject(s.h, h); err != nil {
			cause = errors.Join(cause, fmt.Errorf("destroying session object: %w", err))
		}
	}
	return cause
}

// bind encrypts a fresh blob under the binding key, bound to everything else in w.
func (s *session) bind(u wrapping, w *Wrapped, blob []byte) error {
	sum := w.sum()
	r := CipherRequest{AAD: sum[:], Text: blob}
	rand.Read(r.Nonce[:]) // never returns an error
	sealed, err := s.cipher(u.binder, r, true)
	if err != nil {
		return fmt.Errorf("binding: %w", err)
	}
	w.Nonce, w.Blob = r.Nonce[:], sealed
	return nil
}

// unbind returns the blob as the KEK made it: ErrBlob when anything was changed.
func (s *session) unbind(u wrapping, w Wrapped) ([]byte, error) {
	if w.Mechanism != u.name {
		return nil, fmt.Errorf("key %s is wrapped by %s, the profile says %s: %w", w.Key, w.Mechanism, u.name, ErrUnsupported)
	}
	sum := w.sum()
	blob, err := s.cipher(u.binder, CipherRequest{Nonce: [12]byte(w.Nonce), AAD: sum[:], Text: w.Blob}, false)
	switch classify(err) {
	case classNone:
		return blob, err
	case classRefused, classDevice:
		return nil, fmt.Errorf("key %s: %w: %w", w.Key, ErrBlob, err)
	}
	return nil, err
}

// unwrap makes a session object of a blob and reads back that it is no more than what was asked for.
func (s *session) unwrap(u wrapping, blob []byte, flags []flag) (pkcs11.ObjectHandle, error) {
	t := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, u.suite.class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, u.suite.keyType)}
	for _, f := range flags {
		if f.report != told && !s.m.cfg.Profile.Attributes.Omits(f.name) {
			t = append(t, pkcs11.NewAttribute(f.kind, f.value))
		}
	}
	h, err := s.e.raw.UnwrapKey(s.h, u.mechanism, u.kek, blob, t)
	s.m.unwraps.Add(1)
	s.e.opened.count()
	if err != nil {
		return 0, fmt.Errorf("unwrapping: %w", err)
	}
	for _, f := range flags {
		if f.report != must {
			continue
		}
		v, err := s.attribute(h, f.kind)
		if err == nil && !bytes.Equal(v, pkcs11.NewAttribute(f.kind, f.value).Value) {
			err = fmt.Errorf("%s of the unwrapped key reads back as %x, want %v: %w", f.name, v, f.value, ErrRefused)
		}
		if err != nil {
			return 0, s.destroy(err, h)
		}
	}
	return h, nil
}

// useFlags is what a wrapped key has while it signs.
var useFlags = sessionFlags(false, true)

// prove opens what was just wrapped, has it sign a challenge and destroys it again.
func (s *session) prove(u wrapping, w Wrapped) (challenge, response []byte, err error) {
	blob, err := s.unbind(u, w)
	if err != nil {
		return nil, nil, err
	}
	h, err := s.unwrap(u, blob, useFlags)
	if err != nil {
		return nil, nil, err
	}
	b := Birth{Public: w.Public}
	err = s.destroy(s.challenge(u.suite, &b, h), h)
	return b.Challenge, b.Response, err
}

func (s *session) rewrap(from Wrapped, to *Wrapped) error {
	old, err := s.wrapping(from.Algorithm, from.Wrapping)
	if err != nil {
		return err
	}
	u, err := s.wrapping(to.Algorithm, to.Wrapping)
	if err == nil {
		err = s.readTrusted(&u)
	}
	if err != nil {
		return err
	}
	blob, err := s.unbind(old, from)
	if err != nil {
		return err
	}
	h, err := s.unwrap(old, blob, append(sessionFlags(true, false), withTrusted(u.trusted)))
	if err != nil {
		return err
	}
	blob, err = s.e.raw.WrapKey(s.h, u.mechanism, u.kek, h)
	if err = s.destroy(err, h); err != nil {
		return fmt.Errorf("wrapping: %w", err)
	}
	to.Mechanism = u.name
	if err := s.bind(u, to, blob); err != nil {
		return err
	}
	_, _, err = s.prove(u, *to)
	return err
}

// tryKEK has a new wrapping key wrap and unwrap a key of the first algorithm that can be wrapped here.
func (s *session) tryKEK(work pkcs11.ObjectHandle) error {
	a, name, err := s.wrappable()
	if err != nil {
		return err
	}
	u := wrapping{suite: s.e.suites[a], kek: work, name: name, mechanism: []*pkcs11.Mechanism{pkcs11.NewMechanism(s.e.wraps[name], nil)}}
	if err := s.readTrusted(&u); err != nil {
		return err
	}
	var id ObjectID
	rand.Read(id[:])
	b, blob, err := s.bear(u, GenerateRequest{ID: id, Label: "passing:" + id.String(), Algorithm: a})
	if err != nil {
		return err
	}
	h, err := s.unwrap(u, blob, useFlags)
	if err != nil {
		return err
	}
	return s.destroy(s.challenge(u.suite, &b, h), h)
}

// wrappable returns the first algorithm that profile and token wrap.
func (s *session) wrappable() (Algorithm, string, error) {
	why := ErrUnproven
	for _, a := range []Algorithm{SM2, ECDSAP256, RSA2048} {
		name, err := proven(s.m.cfg.Profile, a)
		if err == nil && s.e.wraps[name] != 0 && s.e.suites[a] != nil {
			return a, name, nil
		}
		if err == nil {
			err = fmt.Errorf("the token does not wrap %s keys by %s: %w", a, name, ErrUnsupported)
		}
		why = fmt.Errorf("%w; %w", why, err)
	}
	return "", "", why
}
