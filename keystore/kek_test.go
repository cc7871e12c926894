package keystore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// The whole life of a KEK: keys are born under it, it is retired, its keys move, it is destroyed; every step needs two officers, and none goes
// before the one it stands on.
func TestKEKRotation(t *testing.T) {
	c, old := newWrappedCustody(t)
	var keys []keystore.ID
	for i := range 5 {
		keys = append(keys, mustBear(t, c.Keystore, c.st, fmt.Sprintf("4103000000000%d", i)).ID())
	}
	for name, err := range map[string]error{
		"retired by one":    c.RetireKEK(t.Context(), old.ID, system, system, "rotation"),
		"destroyed by one":  c.DestroyKEK(t.Context(), old.ID, system, system, "rotation"),
		"without a reason":  c.RetireKEK(t.Context(), old.ID, system, security, ""),
		"destroyed unasked": c.DestroyKEK(t.Context(), old.ID, system, security, ""),
	} {
		if !errors.Is(err, keystore.ErrCeremony) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.RetireKEK(t.Context(), keystore.ID{1}, system, security, "rotation"); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("unknown KEK: %v", err)
	}
	if err := c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); !errors.Is(err, keystore.ErrKEKInUse) {
		t.Errorf("destroyed before it is retired: %v", err)
	}
	if err := c.RetireKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Fatal(err)
	}
	if err := c.RewrapRetired(t.Context(), system); !errors.Is(err, keystore.ErrNoKEK) {
		t.Errorf("keys moved to nowhere: %v", err)
	}
	if _, err := bear(c.Keystore, t, c.st, "41030000000009", hsm.SM2); !errors.Is(err, keystore.ErrNoKEK) {
		t.Errorf("born under a retired KEK: %v", err)
	}
	next := makeKEK(t, c.Keystore, "ceremony/2")
	if err := c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); !errors.Is(err, keystore.ErrKEKInUse) {
		t.Errorf("destroyed with keys under it: %v", err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	f, err := os.Create(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.st.Backup(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := c.RewrapRetired(t.Context(), system); err != nil {
		t.Fatal(err)
	}
	if p := c.Progress()[old.ID]; p.Moved != 5 || p.Failed != 0 {
		t.Errorf("progress %+v", p)
	}
	if err := c.RewrapRetired(t.Context(), system); err != nil {
		t.Errorf("again: %v", err)
	}
	kinds, last := events(t, c.st)
	if last.Kind != keystore.KindKeyRewrapped || count(kinds, keystore.KindKeyRewrapped) != 1 {
		t.Errorf("records %v", kinds)
	}
	if err := c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Fatal(err)
	}
	if err := c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Errorf("the same ceremony again: %v", err)
	}
	sameIDs(t, "in the token", held(t, c), next.ID, next.Binder)
	for _, k := range []*keystore.Keystore{c.Keystore, open(t, c.tok, c.st)} {
		for _, id := range keys {
			mustSign(t, mustKey(t, k, id))
		}
	}
	lost := open(t, c.tok, openStore(t, backup))
	if _, err := mustKey(t, lost, keys[0]).Sign(t.Context(), []byte("to be signed")); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("a key from a backup, whose KEK is gone: %v", err)
	}
}

// A key that is born while its KEK is being destroyed does not come to be: a key without a KEK would be lost.
func TestBirthUnderDestroyedKEK(t *testing.T) {
	c, old := newWrappedCustody(t)
	ins, err := c.Intend(t.Context(), nil, system, "order/1", keystore.Want{Purpose: keystore.PurposeSeal, Label: "seal-41030000000001", Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := c.Generate(t.Context(), ins[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.RetireKEK(t.Context(), old.ID, system, security, "rotation"), c.DestroyKEK(t.Context(), old.ID, system, security, "rotation")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.st.Commit(t.Context(), store.Mutation{Put: d.Put, Expect: d.Expect, Spend: d.Spend, Audit: d.Audit}); !errors.Is(err, store.ErrLimit) {
		t.Errorf("got %v", err)
	}
}

// A damaged key stays where it is and is named; the others move, and its KEK is not destroyed.
func TestDamagedKeyDoesNotMove(t *testing.T) {
	c, old := newWrappedCustody(t)
	var keys []keystore.ID
	for i := range 3 {
		keys = append(keys, mustBear(t, c.Keystore, c.st, fmt.Sprintf("4103000000000%d", i)).ID())
	}
	tamper(t, c.st, keys[1], func(_, w map[string]any) { w["blob"] = "AAAA" + w["blob"].(string)[4:] })
	makeKEK(t, c.Keystore, "ceremony/2")
	if err := c.RetireKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Fatal(err)
	}
	if err := c.RewrapRetired(t.Context(), system); !errors.Is(err, keystore.ErrBlob) || !strings.Contains(err.Error(), keys[1].String()) {
		t.Errorf("got %v", err)
	}
	if p := c.Progress()[old.ID]; p.Moved != 2 || p.Failed != 1 {
		t.Errorf("progress %+v", p)
	}
	if err := c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); !errors.Is(err, keystore.ErrKEKInUse) {
		t.Errorf("destroying the old KEK: %v", err)
	}
	mustSign(t, mustKey(t, open(t, c.tok, c.st), keys[0]))
}

// A key that is destroyed while it is on its way to another KEK stays destroyed.
func TestKeyDestroyedOnTheWay(t *testing.T) {
	c, old := newWrappedCustody(t)
	a, b := mustBear(t, c.Keystore, c.st, "41030000000001"), mustBear(t, c.Keystore, c.st, "41030000000002")
	makeKEK(t, c.Keystore, "ceremony/2")
	if err := c.RetireKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Fatal(err)
	}
	other := open(t, meanwhile{c.tok, func() {
		if err := c.Destroy(t.Context(), a.ID(), system, security, "seal cancelled"); err != nil && !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
	}}, c.st)
	if err := other.RewrapRetired(t.Context(), system); err != nil {
		t.Fatal(err)
	}
	if err := other.RewrapRetired(t.Context(), system); err != nil {
		t.Fatal(err)
	}
	again := open(t, c.tok, c.st)
	if _, err := again.Key(t.Context(), a.ID()); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("the destroyed key: %v", err)
	}
	mustSign(t, mustKey(t, again, b.ID()))
	if n, err := again.LivesUnder(t.Context(), old.ID); err != nil || n != 0 {
		t.Errorf("%d keys under the old KEK, %v", n, err)
	}
}

// meanwhile is a real token; something happens while it wraps a key anew.
type meanwhile struct {
	keystore.Token
	happens func()
}

func (m meanwhile) Rewrap(ctx context.Context, r hsm.RewrapRequest) (hsm.Wrapped, error) {
	m.happens()
	return m.Token.Rewrap(ctx, r)
}

// The variables of TestRewrapChild.
const (
	childStore = "SEALKEEPER_REWRAP_STORE"
	childToken = "SEALKEEPER_REWRAP_TOKEN" // module|serial|PIN file
)

func openNamed(t testing.TB, module, serial, pinFile string) *hsm.Module {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	m, err := hsm.Open(t.Context(), hsm.Config{Module: module, Profile: profile, Serial: serial, PINFile: pinFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRewrapChild is the process that TestRewrapSurvivesKill kills.
func TestRewrapChild(t *testing.T) {
	if os.Getenv(childStore) == "" {
		t.Skip("SKIPPED: the other half of TestRewrapSurvivesKill")
	}
	at := strings.Split(os.Getenv(childToken), "|")
	m := openNamed(t, at[0], at[1], at[2])
	k, err := keystore.Open(t.Context(), m, openStore(t, os.Getenv(childStore)), slog.New(slog.NewTextHandler(os.Stdout, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(k.RewrapRetired(t.Context(), system))
}

// Killed in the middle, re-wrapping goes on where it was; at no time is a key without a KEK that opens it.
func TestRewrapSurvivesKill(t *testing.T) {
	tok := softhsmtest.New(t)
	path := filepath.Join(t.TempDir(), "store.db")
	m, st := openNamed(t, tok.Module, tok.Serial, tok.PINFile), openStore(t, path)
	k := open(t, m, st)
	useWrapping(t, k, wrapSeals)
	old := makeKEK(t, k, "ceremony/1")
	const n = 230
	for i := range n {
		mustBear(t, k, st, fmt.Sprintf("41030000%06d", i))
	}
	next := makeKEK(t, k, "ceremony/2")
	if err := errors.Join(k.RetireKEK(t.Context(), old.ID, system, security, "rotation"), st.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(os.Args[0], "-test.run=^TestRewrapChild$")
	cmd.Env = append(os.Environ(), childStore+"="+path, childToken+"="+strings.Join([]string{tok.Module, tok.Serial, tok.PINFile}, "|"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "keys moved to another wrapping key") {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as its state says

	m, st = openNamed(t, tok.Module, tok.Serial, tok.PINFile), openStore(t, path)
	t.Cleanup(func() { m.Close() })
	k = open(t, m, st)
	left, err := k.LivesUnder(t.Context(), old.ID)
	if err != nil || left == 0 || left == n {
		t.Fatalf("%d of %d keys left, %v: killed too late or too early", left, n, err)
	}
	everyKeySigns(t, k, n)
	if err := k.RewrapRetired(t.Context(), system); err != nil {
		t.Fatal(err)
	}
	if moved := k.Progress()[old.ID].Moved; moved != left {
		t.Errorf("%d moved, %d were left", moved, left)
	}
	if err := k.DestroyKEK(t.Context(), old.ID, system, security, "rotation"); err != nil {
		t.Fatal(err)
	}
	everyKeySigns(t, open(t, m, st), n)
	if under, err := k.LivesUnder(t.Context(), next.ID); err != nil || under != n {
		t.Errorf("%d under the new KEK, %v", under, err)
	}
}

func everyKeySigns(t *testing.T, k *keystore.Keystore, n int) {
	t.Helper()
	for i := range n {
		keys, err := k.OfRef(t.Context(), fmt.Sprintf("order/41030000%06d", i))
		if err != nil || len(keys) != 1 {
			t.Fatalf("key %d: %v, %v", i, keys, err)
		}
		mustSign(t, keys[0])
	}
}
