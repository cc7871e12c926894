package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// under returns a second raw context on the same library, as foreign code in the process would have it.
func under(t testing.TB, k *softhsmtest.Token) *pkcs11.Ctx {
	t.Helper()
	raw := pkcs11.New(k.Module)
	if raw == nil {
		t.Fatalf("cannot load %s", k.Module)
	}
	return raw
}

func rawSession(t testing.TB, m *hsm.Module) (*pkcs11.Ctx, pkcs11.SessionHandle) {
	t.Helper()
	raw, slot := m.Raw()
	h, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	return raw, h
}

func mustSign(t testing.TB, m *hsm.Module, b hsm.Birth) {
	t.Helper()
	d := digest()
	sig, err := m.Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, b, d, sig)
}

func TestLostLoginHeals(t *testing.T) {
	for name, strike := range map[string]func(t *testing.T, m *hsm.Module){
		"logged out": func(t *testing.T, m *hsm.Module) {
			raw, h := rawSession(t, m)
			if err := raw.Logout(h); err != nil {
				t.Fatal(err)
			}
		},
		"all sessions closed": func(t *testing.T, m *hsm.Module) {
			raw, slot := m.Raw()
			if err := raw.CloseAllSessions(slot); err != nil {
				t.Fatal(err)
			}
		},
		"module finalised": func(t *testing.T, m *hsm.Module) {
			raw, _ := m.Raw()
			if err := raw.Finalize(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048} {
			t.Run(name+" "+string(a), func(t *testing.T) {
				m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
				b := generate(t, m, a)
				mustSign(t, m, b)
				strike(t, m)
				mustSign(t, m, b)
				if s := m.Stats(); s.Epoch != 2 || s.Relogins != 1 {
					t.Errorf("stats %+v", s)
				}
				mustSign(t, m, b)
				if s := m.Stats(); s.Epoch != 2 {
					t.Errorf("the epoch ended again: %+v", s)
				}
			})
		}
	}
}

// Everything that waits when the login is lost is served by one new epoch.
func TestLostLoginHealsOnceForMany(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	b, d := generate(t, m, hsm.SM2), generate(t, m, hsm.ECDSAP256)
	raw, h := rawSession(t, m)
	if err := raw.Logout(h); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if i%2 == 0 {
				mustSign(t, m, b)
			} else {
				mustSign(t, m, d)
			}
		})
	}
	wg.Wait()
	if s := m.Stats(); s.Epoch != 2 || s.Relogins != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestManualLoginStaysLost(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	cfg.ManualLogin = true
	m := open(t, cfg)
	b := generate(t, m, hsm.SM2)
	raw, h := rawSession(t, m)
	if err := raw.Logout(h); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sign(m, b.ID, hsm.SM2); !errors.Is(err, hsm.ErrLoggedOut) {
			t.Errorf("got %v", err)
		}
	}
	if s := m.Stats(); s.Relogins != 0 {
		t.Errorf("it logged in by itself: %+v", s)
	}
	if err := m.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustSign(t, m, b)
	if err := m.Reopen(t.Context()); err != nil || m.Stats().Epoch != 2 {
		t.Errorf("reopening what is open: %v, %+v", err, m.Stats())
	}
}

func TestOneSessionClosedUnderneath(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	b := generate(t, m, hsm.SM2)
	raw, _ := m.Raw()
	idle := m.Idle()
	if len(idle) != 1 {
		t.Fatalf("%d idle sessions", len(idle))
	}
	if err := raw.CloseSession(idle[0]); err != nil {
		t.Fatal(err)
	}
	mustSign(t, m, b)
	if s := m.Stats(); s.Evictions != 1 || s.Epoch != 1 || s.Relogins != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestObjectDeletedUnderneath(t *testing.T) {
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
		t.Run(string(a), func(t *testing.T) {
			m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
			b, other := generate(t, m, a), generate(t, m, a)
			mustSign(t, m, b)
			raw, h := rawSession(t, m)
			if err := raw.FindObjectsInit(h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, b.ID[:])}); err != nil {
				t.Fatal(err)
			}
			all, _, err := raw.FindObjects(h, 10)
			if err != nil || len(all) != 2 {
				t.Fatalf("%d objects, %v", len(all), err)
			}
			for _, o := range all {
				if err := raw.DestroyObject(h, o); err != nil {
					t.Fatal(err)
				}
			}
			if err := sign(m, b.ID, a); !errors.Is(err, hsm.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			mustSign(t, m, other)
			if s := m.Stats(); s.Epoch != 1 {
				t.Errorf("the epoch ended: %+v", s)
			}
			if _, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: b.ID, Label: b.Label, Algorithm: a}); err != nil {
				t.Errorf("identifier and label are free again: %v", err)
			}
		})
	}
}

// tokenDir is the folder that SoftHSM2 keeps the token in.
func tokenDir(t testing.TB, k *softhsmtest.Token) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(k.Dir, "tokens", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if strings.HasSuffix(strings.ReplaceAll(filepath.Base(d), "-", ""), k.Serial) {
			return d
		}
	}
	t.Fatalf("no folder of token %s", k.Serial)
	return ""
}

func TestTokenPulledAndPutBack(t *testing.T) {
	k := softhsmtest.New(t)
	m := open(t, config(t, k, "softhsm2-sm2"))
	b := generate(t, m, hsm.SM2)
	if err := m.SetData(t.Context(), "anchor", []byte("value")); err != nil {
		t.Fatal(err)
	}
	dir := tokenDir(t, k)
	away := dir + "-away"
	if err := os.Rename(dir, filepath.Join(k.Dir, filepath.Base(away))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sign(m, b.ID, hsm.SM2); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("signing: %v", err)
		}
		if _, err := m.Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("asking: %v", err)
		}
		if _, err := m.Data(t.Context(), "anchor"); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("reading data: %v", err) // never ErrNotFound: a lost anchor is not a missing one
		}
		if _, err := m.Objects(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("listing: %v", err) // never an empty list
		}
	}
	if err := os.Rename(filepath.Join(k.Dir, filepath.Base(away)), dir); err != nil {
		t.Fatal(err)
	}
	mustSign(t, m, b)
	if v, err := m.Data(t.Context(), "anchor"); err != nil || string(v) != "value" {
		t.Errorf("data: %q, %v", v, err)
	}
}

// The reactions that no software token produces, by the same door that real codes take.
func TestReactions(t *testing.T) {
	k := softhsmtest.New(t)
	m := open(t, config(t, k, "softhsm2-sm2"))
	for name, c := range map[string]struct {
		code  uint
		final bool
		tries int
		want  error
		epoch uint64 // how many epochs it costs
	}{
		"stuck operation":     {pkcs11.CKR_OPERATION_ACTIVE, false, 4, hsm.ErrTokenGone, 3},
		"token unplugged":     {pkcs11.CKR_DEVICE_REMOVED, false, 3, hsm.ErrTokenGone, 3},
		"device error":        {pkcs11.CKR_DEVICE_ERROR, false, 4, hsm.ErrTokenGone, 3},
		"general error":       {pkcs11.CKR_GENERAL_ERROR, false, 2, hsm.ErrRefused, 0},
		"vendor code":         {0x80000123, false, 2, hsm.ErrRefused, 0},
		"key function":        {pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, false, 1, hsm.ErrRefused, 0},
		"template":            {pkcs11.CKR_TEMPLATE_INCONSISTENT, false, 1, hsm.ErrRefused, 0},
		"no mechanism":        {pkcs11.CKR_MECHANISM_INVALID, false, 1, hsm.ErrUnsupported, 0},
		"no session":          {pkcs11.CKR_SESSION_COUNT, false, 1, hsm.ErrBusy, 0},
		"PIN expired":         {pkcs11.CKR_PIN_EXPIRED, false, 1, hsm.ErrLoggedOut, 0},
		"handle always stale": {pkcs11.CKR_OBJECT_HANDLE_INVALID, false, 4, hsm.ErrNotFound, 3},
		"after a change":      {pkcs11.CKR_SESSION_CLOSED, true, 1, hsm.ErrTokenGone, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.Info(t.Context()); err != nil { // begin in a living epoch
				t.Fatal(err)
			}
			before := m.Stats().Epoch
			tries, err := m.FailWith(t.Context(), pkcs11.Error(c.code), c.final)
			if tries != c.tries || !errors.Is(err, c.want) || !errors.Is(err, pkcs11.Error(c.code)) {
				t.Errorf("%d tries, %v", tries, err)
			}
			if _, err := m.Info(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := m.Stats().Epoch - before; got != c.epoch {
				t.Errorf("%d epochs ended, want %d", got, c.epoch)
			}
		})
	}
}

func TestBirthThatGoesWrongLeavesNothing(t *testing.T) {
	for name, omit := range map[string][]string{
		"DECRYPT stays on":      {"CKA_DECRYPT"},
		"SIGN_RECOVER stays on": {"CKA_SIGN_RECOVER"},
		"not a token object":    {"CKA_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, softhsmtest.New(t, softhsmtest.Plain()), "softhsm2")
			p := *cfg.Profile
			p.Attributes.Omit = omit
			cfg.Profile = &p
			m := open(t, cfg)
			_, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: newID(), Label: "wrong", Algorithm: hsm.ECDSAP256})
			if !errors.Is(err, hsm.ErrBirth) {
				t.Errorf("got %v", err)
			}
			raw, h := rawSession(t, m)
			if err := raw.FindObjectsInit(h, nil); err != nil {
				t.Fatal(err)
			}
			if all, _, err := raw.FindObjects(h, 10); err != nil || len(all) != 0 {
				t.Errorf("%d objects left, %v", len(all), err)
			}
		})
	}
}
