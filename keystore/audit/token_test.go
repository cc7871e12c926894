package audit_test

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
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

// TestTokenKeepsKeyAndAnchor drives the log with a real token: its key signs the checkpoints and its data object is the anchor, so a store
// that is put back contradicts the token.
func TestTokenKeepsKeyAndAnchor(t *testing.T) {
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tok.Close() })
	path := filepath.Join(t.TempDir(), "store.db")
	collections := append(keystore.Collections(), audit.Collections()...)
	open := func(create bool) (*store.Bolt, *keystore.Keystore) {
		st, err := store.Open(store.Config{Path: path, Create: create, Collections: collections})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		ks, err := keystore.Open(t.Context(), tok, st, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return st, ks
	}
	st, ks := open(true)
	key, err := ks.Create(t.Context(), alice, keystore.Want{Purpose: keystore.PurposeAudit, Label: "audit", Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	anchor := audit.TokenAnchor{Token: tok, Label: "sealkeeper anchor", Missing: hsm.ErrNotFound}
	if _, err := anchor.Load(t.Context()); !errors.Is(err, audit.ErrNoAnchor) {
		t.Fatalf("a fresh token has an anchor: %v", err)
	}
	l, err := audit.Open(t.Context(), st, audit.Config{Key: key, Anchor: anchor, Genesis: true})
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, path, path+".old")
	if err := l.CloseEpoch(t.Context(), k.Serial, audit.Epoch{Signs: 1, Released: 1}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(t.Context()), st.Close()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, path+".old", path)
	st, ks = open(false)
	if key, err = ks.ByPurpose(t.Context(), keystore.PurposeAudit); err != nil {
		t.Fatal(err)
	}
	if l, err = audit.Open(t.Context(), st, audit.Config{Key: key, Anchor: anchor}); err != nil {
		t.Fatal(err)
	}
	if r := l.Recovering(); !strings.Contains(r, "its anchor says") {
		t.Fatalf("recovering %q", r)
	}
	if err := l.Resynchronise(t.Context(), alice, bob); err != nil {
		t.Fatal(err)
	}
	b, err := anchor.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := audit.OpenCheckpoint(b, key.Public())
	if err != nil || c.Size != st.State().Size || c.Root != st.State().Root {
		t.Fatalf("token's anchor %+v, store %+v: %v", c, st.State(), err)
	}
}
