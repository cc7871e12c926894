package keystore_test

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	softhsmtest "sealkeeper/softhsm-test"
)

// newFaulty is custody over a token behind the fault module.
func newFaulty(t *testing.T) (*custody, *softhsmtest.Faults) {
	t.Helper()
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	m, err := hsm.Open(t.Context(), hsm.Config{Module: f.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &custody{tok: m, path: filepath.Join(t.TempDir(), "store.db")}
	c.st = openStore(t, c.path)
	c.Keystore = open(t, m, c.st)
	return c, f
}

// A corrupt answer of the token never leaves custody, whatever the algorithm; nobody else's does, and the next is right without a restart.
func TestFaultWrongAnswer(t *testing.T) {
	c, f := newFaulty(t)
	for name, key := range map[string]*keystore.Key{"sm2": create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2),
		"ecdsa-p256": create(t, c.Keystore, keystore.PurposeTSAP256, hsm.ECDSAP256)} {
		t.Run(name, func(t *testing.T) {
			before := f.Strikes("C_Sign")
			var wrong atomic.Int32
			var wg sync.WaitGroup
			f.Script("C_Sign skip=5 times=3 corrupt")
			from := time.Now()
			for range 8 {
				wg.Go(func() {
					for range 10 {
						sig, err := key.Sign(t.Context(), []byte("message"))
						switch {
						case errors.Is(err, keystore.ErrSignatureWrong):
							wrong.Add(1)
							if sig != nil {
								t.Errorf("the wrong signature came along: %x", sig)
							}
						case err != nil:
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if n := f.Strikes("C_Sign") - before; n != 3 || wrong.Load() != 3 {
				t.Errorf("%d corrupt answers, %d refused", n, wrong.Load())
			}
			t.Logf("80 signatures, 3 of them refused, in %v", time.Since(from))
		})
	}
}

// A key that answers its birth challenge wrongly is not born, and nothing of it is left.
func TestFaultWrongAnswerAtBirth(t *testing.T) {
	c, f := newFaulty(t)
	f.Script("C_Sign corrupt")
	_, err := c.Create(t.Context(), system, keystore.Want{Purpose: keystore.PurposeMaker, Label: "wrong", Algorithm: hsm.SM2})
	if !errors.Is(err, hsm.ErrBirth) {
		t.Errorf("got %v", err)
	}
	f.Script()
	if all, err := c.tok.Objects(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d objects are left, %v", len(all), err)
	}
	create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
}

// A device that is taken away in the middle of a key's birth leaves no key that the store does not know.
func TestFaultWhileAKeyIsBorn(t *testing.T) {
	c, f := newFaulty(t)
	f.Script("C_GenerateKeyPair times=1 after=0x32")
	_, err := c.Create(t.Context(), system, keystore.Want{Purpose: keystore.PurposeMaker, Label: "cut off", Algorithm: hsm.SM2})
	if !errors.Is(err, keystore.ErrTokenGone) {
		t.Errorf("got %v", err)
	}
	f.Script()
	if all, err := c.tok.Objects(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d objects are left, %v", len(all), err)
	}
	create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
}
