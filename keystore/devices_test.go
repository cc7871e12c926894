package keystore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/softhsm-test/simulator"
)

// device opens a simulated device under a profile that signs with the mechanism named.
func device(t *testing.T, id, mechanism string) *hsm.Module {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile(id)
	if err == nil {
		p, err = p.Using(mechanism)
	}
	if err != nil {
		t.Fatal(err)
	}
	k := simulator.New(t, p)
	m, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: p, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// TestLaw04OnEveryKindOfDevice: whatever a token takes and returns, what custody releases is strict DER over Z and the message, accepted by two
// implementations; a prefix may be cloned, as the signing path does.
func TestLaw04OnEveryKindOfDevice(t *testing.T) {
	for _, c := range []struct{ profile, mechanism string }{
		{"sansec", "e-raw"}, {"sansec", "e-der"}, {"sansec", "sm3-raw"}, {"sansec", "sm3-default-id-der"}, {"tass", "e"}, {"tass", "sm3"},
		{"westone-c", "e"},
	} {
		t.Run(c.profile+" "+c.mechanism, func(t *testing.T) {
			m := device(t, c.profile, c.mechanism)
			key := create(t, open(t, m, openStore(t, filepath.Join(t.TempDir(), "store.db"))), keystore.PurposeSeal, hsm.SM2)
			prefix, err := key.Begin()
			if err != nil {
				t.Fatal(err)
			}
			head := bytes.Repeat([]byte("seal"), 5000) // longer than one call takes
			prefix.Write(head)
			for i := range 34 { // the encoder's fault comes every 32nd time
				tail := sha256.Sum256([]byte{byte(i)})
				message := prefix.Clone()
				message.Write(tail[:])
				der, err := key.SignMessage(t.Context(), message)
				if err != nil {
					t.Fatal(err)
				}
				if err := key.Public().VerifyTwice(append(bytes.Clone(head), tail[:]...), der); err != nil {
					t.Fatalf("signature %x: %v", der, err)
				}
			}
			if der, err := key.Sign(t.Context(), []byte("whole")); err != nil || key.Public().Verify([]byte("whole"), der) != nil {
				t.Errorf("a whole message: %x, %v", der, err)
			}
		})
	}
}

// TestLaw11MessageOfAnotherDigest: a device that hashes is no oracle either. It gets the bytes that custody hashed, or nothing.
func TestLaw11MessageOfAnotherDigest(t *testing.T) {
	m := device(t, "sansec", "sm3-raw")
	key := create(t, open(t, m, openStore(t, filepath.Join(t.TempDir(), "store.db"))), keystore.PurposeSeal, hsm.SM2)
	r, err := hsm.Trial(key.ID(), hsm.SM2, key.PublicDER())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Sign(t.Context(), r); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*hsm.SignRequest){
		"no message":      func(r *hsm.SignRequest) { r.Message = nil },
		"another message": func(r *hsm.SignRequest) { r.Message = append(bytes.Clone(r.Message), 1) },
		"another digest":  func(r *hsm.SignRequest) { r.Digest = gm.SM3([]byte("forged")) },
	} {
		before, bad := m.Stats().Signs, r
		change(&bad)
		if _, err := m.Sign(t.Context(), bad); !errors.Is(err, hsm.ErrRefused) || m.Stats().Signs != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}
