package timestamp_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify/signeddata"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

func openKeys(t testing.TB) *keystore.Keystore {
	t.Helper()
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	token, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(dir, "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	st, err := store.Open(store.Config{Path: filepath.Join(dir, "store.db"), Create: true, Collections: keystore.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := keystore.Open(t.Context(), token, st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestKeysInToken: the authority's keys live in a PKCS#11 token, SM2 and P-256 alike; the P-256 stamp satisfies OpenSSL.
func TestKeysInToken(t *testing.T) {
	keys := openKeys(t)
	create := func(p keystore.Purpose, a hsm.Algorithm) *keystore.Key {
		k, err := keys.Create(t.Context(), audit.Actor{Role: "operator-system", ID: "operator-a"}, keystore.Want{Purpose: p, Label: string(p), Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, sm2 := range []bool{true, false} {
		w := newWorld(t, sm2)
		var key *keystore.Key
		if sm2 {
			key = create(keystore.PurposeTSASM2, hsm.SM2)
			w.cert = w.issue(w.template(), key.Public().ECDSA())
		} else {
			key = create(keystore.PurposeTSAP256, hsm.ECDSAP256)
			w.cert = w.issue(w.template(), key.Standard())
		}
		a := w.authority(t, func(c *timestamp.AuthorityConfig) { c.Key = key })
		der, err := w.client(t, honest(t, a), nil).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signeddata.ParseToken(der)
		if err == nil {
			err = errors.Join(token.Verify(), token.Covers(message))
		}
		if err != nil {
			t.Error(err)
		}
		if sm2 {
			continue
		}
		f := newFolder(t)
		f.write("data", message)
		f.write("root.pem", w.pem)
		f.write("t.der", der)
		if out := f.must("ts -verify -data data -in t.der -token_in -CAfile root.pem"); !strings.Contains(out, "Verification: OK") {
			t.Error(out)
		}
	}
}
