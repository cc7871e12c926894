package hsm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// wrapping makes a KEK and its binding key.
func wrapping(t testing.TB, m *hsm.Module) hsm.Wrapping {
	t.Helper()
	return hsm.Wrapping{KEK: generate(t, m, hsm.KEK).ID, Binder: generate(t, m, hsm.AES256).ID}
}

func wrapRequest(a hsm.Algorithm, w hsm.Wrapping) hsm.WrapRequest {
	id := newID()
	return hsm.WrapRequest{GenerateRequest: hsm.GenerateRequest{ID: id, Label: "test:" + id.String(), Algorithm: a}, Wrapping: w, Context: "test"}
}

func generateWrapped(t testing.TB, m *hsm.Module, w hsm.Wrapping) hsm.WrappedBirth {
	t.Helper()
	b, err := m.GenerateWrapped(t.Context(), wrapRequest(hsm.SM2, w))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signWrapped(t testing.TB, m *hsm.Module, b hsm.WrappedBirth) {
	t.Helper()
	d := digest()
	sig, err := m.Sign(t.Context(), hsm.SignRequest{Key: b.Wrapped.Key, Algorithm: b.Wrapped.Algorithm, Digest: d, Wrapped: &b.Wrapped})
	if err != nil {
		t.Error(err)
		return
	}
	verify(t, b.Birth, d, sig)
}

// keys returns the handles of all private and secret keys that any session sees, session objects among them.
func keys(t testing.TB, raw *pkcs11.Ctx, h pkcs11.SessionHandle) (all []pkcs11.ObjectHandle) {
	t.Helper()
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY} {
		if err := raw.FindObjectsInit(h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}); err != nil {
			t.Fatal(err)
		}
		some, _, err := raw.FindObjects(h, 1000)
		if err := errors.Join(err, raw.FindObjectsFinal(h)); err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// TestLaw01WrappedKeyStaysInside: while a wrapped key is made and used, every key that anybody with a login finds in the token is sensitive, none
// gives its value away, the open keys can be neither wrapped nor copied into something weaker, and the KEK does nothing but wrap. What leaves
// the token is encrypted twice.
func TestLaw01WrappedKeyStaysInside(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	w := wrapping(t, m)
	for range 3 {
		signWrapped(t, m, generateWrapped(t, m, w))
	}
	raw, h := rawSession(t, m)
	all := keys(t, raw, h)
	if len(all) != 5 {
		t.Fatalf("%d keys in the token, want KEK, binding key and three open keys", len(all))
	}
	kek := keyOf(t, raw, h, w.KEK)
	for _, k := range all {
		a, err := raw.GetAttributeValue(h, k, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, nil)})
		if err != nil || a[0].Value[0] != 1 || a[1].Value[0] != 0 || a[2].Value[0] != 1 {
			t.Errorf("key %d reads %v, %v", k, a, err)
		}
		if _, err := raw.GetAttributeValue(h, k, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err != pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
			t.Errorf("reading the value of key %d: %v", k, err)
		}
		if _, err := raw.WrapKey(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}, kek, k); err == nil {
			t.Errorf("key %d can be wrapped", k)
		}
		if c, err := raw.CopyObject(h, k, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)}); err == nil {
			t.Errorf("key %d has an extractable copy %d", k, c)
		}
	}
	for name, begin := range map[string]func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error{
		"encrypts": raw.EncryptInit, "decrypts": raw.DecryptInit} {
		if err := begin(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}, kek); err != pkcs11.Error(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED) {
			t.Errorf("the KEK %s: %v", name, err)
		}
	}
}

func keyOf(t testing.TB, raw *pkcs11.Ctx, h pkcs11.SessionHandle, id hsm.ObjectID) pkcs11.ObjectHandle {
	t.Helper()
	if err := raw.FindObjectsInit(h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, id[:])}); err != nil {
		t.Fatal(err)
	}
	some, _, err := raw.FindObjects(h, 2)
	if err := errors.Join(err, raw.FindObjectsFinal(h)); err != nil || len(some) != 1 {
		t.Fatalf("%d objects of %s, %v", len(some), id, err)
	}
	return some[0]
}

// Open keys are as many as configured, whatever many callers do at once, and each signature is right.
func TestOpenKeysAreBounded(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	cfg.Opened.Keys = 4
	m := open(t, cfg)
	w := wrapping(t, m)
	all := make([]hsm.WrappedBirth, 12)
	for i := range all {
		all[i] = generateWrapped(t, m, w)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				signWrapped(t, m, all[(g*7+i)%len(all)])
			}
		})
	}
	wg.Wait()
	signWrapped(t, m, all[0]) // whoever opens a key next destroys what was put out
	signWrapped(t, m, all[1])
	s := m.Stats()
	if s.Unwrapped > cfg.Opened.Keys {
		t.Errorf("%d keys are open", s.Unwrapped)
	}
	raw, h := rawSession(t, m)
	if n := len(keys(t, raw, h)); n > 2+cfg.Opened.Keys+1 {
		t.Errorf("%d keys in the token", n)
	}
	if s.Epoch != 1 || s.Evictions != 0 {
		t.Errorf("%+v", s)
	}
}

// After so many unwraps the library is closed and opened again, and nobody notices.
func TestRenewalDropsNothing(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	cfg.Opened = hsm.Opened{Keys: 2, Renew: 40}
	m := open(t, cfg)
	w, resident := wrapping(t, m), generate(t, m, hsm.ECDSAP256)
	all := make([]hsm.WrappedBirth, 6)
	for i := range all {
		all[i] = generateWrapped(t, m, w)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				signWrapped(t, m, all[(g+i)%len(all)])
				if i%8 == 0 {
					mustSign(t, m, resident)
				}
			}
		})
	}
	wg.Wait()
	s := m.Stats()
	if s.Epoch < 3 {
		t.Errorf("%d unwraps in %d epochs", s.Unwraps, s.Epoch)
	}
	t.Logf("%d signatures, %d unwraps, %d epochs", s.Signs, s.Unwraps, s.Epoch)
}

// The keys that are open belong to one session; its end, or the loss of the objects, costs an unwrapping and nothing else.
func TestLostOpenKeysHeal(t *testing.T) {
	for name, strike := range map[string]func(raw *pkcs11.Ctx, m *hsm.Module) error{
		"holder closed": func(raw *pkcs11.Ctx, m *hsm.Module) error { return raw.CloseSession(m.Holder()) },
		"all closed": func(raw *pkcs11.Ctx, m *hsm.Module) error {
			_, slot := m.Raw()
			return raw.CloseAllSessions(slot)
		},
		"objects destroyed": func(_ *pkcs11.Ctx, m *hsm.Module) error {
			raw, h := rawSession(t, m)
			if err := raw.FindObjectsInit(h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)}); err != nil {
				return err
			}
			some, _, err := raw.FindObjects(h, 100)
			err = errors.Join(err, raw.FindObjectsFinal(h))
			for _, o := range some {
				err = errors.Join(err, raw.DestroyObject(h, o))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
			w := wrapping(t, m)
			a, b := generateWrapped(t, m, w), generateWrapped(t, m, w)
			signWrapped(t, m, a)
			raw, _ := m.Raw()
			if err := strike(raw, m); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				signWrapped(t, m, b)
				signWrapped(t, m, a)
			}
		})
	}
}

// A caller who leaves while a key is being opened leaves the key to the others.
func TestCallerLeavesWrappedKey(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	b := generateWrapped(t, m, wrapping(t, m))
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := m.Sign(gone, hsm.SignRequest{Key: b.Wrapped.Key, Algorithm: hsm.SM2, Wrapped: &b.Wrapped}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	signWrapped(t, m, b)
}

// Five sessions are the least that wrapped custody works with; with four it says so.
func TestWrappedCustodyNeedsASession(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.MaxSessions = 5
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := generateWrapped(t, m, wrapping(t, m))
	signWrapped(t, m, b)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxSessions = 4
	m = open(t, cfg)
	_, err = m.Sign(t.Context(), hsm.SignRequest{Key: b.Wrapped.Key, Algorithm: hsm.SM2, Wrapped: &b.Wrapped})
	if !errors.Is(err, hsm.ErrUnsupported) || !strings.Contains(err.Error(), "5 are needed") {
		t.Errorf("got %v", err)
	}
	mustSign(t, m, generate(t, m, hsm.SM2))
}

// Without evidence for the module there is no wrapped custody, and nothing is made.
func TestUnprovenWrapping(t *testing.T) {
	k := softhsmtest.New(t)
	m := open(t, config(t, k, "softhsm2-sm2"))
	w := wrapping(t, m)
	b := generateWrapped(t, m, w)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(p *firmware.Profile)
		want   string
	}{
		"only documented":    {func(p *firmware.Profile) { p.Evidence.Level = firmware.Documented }, "token probe"},
		"only guessed":       {func(p *firmware.Profile) { p.Sources["wrap.sm2"] = firmware.Source{Level: firmware.Guessed} }, "guessed"},
		"none":               {func(p *firmware.Profile) { p.Wrap["sm2"] = "none" }, "names no wrapping"},
		"not named":          {func(p *firmware.Profile) { p.Wrap = nil }, "names no wrapping"},
		"a wrapping unknown": {func(p *firmware.Profile) { p.Wrap["sm2"] = "aes-gcm" }, "aes-gcm, which is not driven"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, k, "softhsm2-sm2")
			p := *cfg.Profile
			p.Wrap, p.Sources = map[string]string{"sm2": "aes-kwp"}, map[string]firmware.Source{}
			c.change(&p)
			cfg.Profile = &p
			m := open(t, cfg)
			_, err := m.GenerateWrapped(t.Context(), wrapRequest(hsm.SM2, w))
			if !errors.Is(err, hsm.ErrUnproven) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("generating: %v", err)
			}
			if _, err := m.Sign(t.Context(), hsm.SignRequest{Key: b.Wrapped.Key, Algorithm: hsm.SM2, Wrapped: &b.Wrapped}); !errors.Is(err, hsm.ErrUnproven) {
				t.Errorf("signing: %v", err)
			}
			id := newID()
			_, err = m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "test:" + id.String(), Algorithm: hsm.KEK})
			if !errors.Is(err, hsm.ErrUnproven) && !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("making a KEK: %v", err)
			}
			raw, h := rawSession(t, m)
			if n := len(keys(t, raw, h)); n != 2 {
				t.Errorf("%d keys in the token", n)
			}
		})
	}
}
