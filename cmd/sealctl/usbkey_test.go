package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// enrolled makes a key in a throw-away token with the real command and returns the prefix of its files.
func enrolled(t *testing.T, k *softhsmtest.Token, module string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "officer")
	code, _, errs := sealctl(t, "token", "enrol", "--module", module, "--profile", "softhsm2-sm2", "--serial", k.Serial, "--pin-file", k.PINFile, "--name", "示例", "--out", out, "--wait", "30s")
	if code != exitDone {
		t.Fatalf("enrol: %d %s", code, errs)
	}
	return out
}

// public is the key that the request is for.
func public(t *testing.T, prefix string) *ecdsa.PublicKey {
	t.Helper()
	b, err := os.ReadFile(prefix + ".csr")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatal("no request")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || r.CheckSignature() != nil || r.Subject.CommonName != "示例" {
		t.Fatalf("request: %v, %v", err, r)
	}
	return r.PublicKey.(*ecdsa.PublicKey)
}

// keyOf opens the key of a reference as a command does.
func keyOf(t *testing.T, prefix string, pub *ecdsa.PublicKey) (*settings, error) {
	t.Helper()
	s := &settings{key: prefix + ".key.yaml"}
	s.begin(t.Context())
	t.Cleanup(func() { s.end() })
	b, err := os.ReadFile(s.key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.keyInToken(b, pub)
	if err != nil {
		return s, err
	}
	digest := sha256.Sum256([]byte("示例"))
	sig, err := signer.Sign(rand.Reader, digest[:], sha256Opts)
	if err == nil && !ecdsa.VerifyASN1(pub, digest[:], sig) {
		t.Error("a signature that does not verify")
	}
	return s, err
}

func TestTokenEnrol(t *testing.T) {
	k := softhsmtest.New(t)
	out := enrolled(t, k, k.Module)
	if _, err := keyOf(t, out, public(t, out)); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(out + ".key.yaml")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("reference: %v, %v", info, err)
	}
	code, _, errs := sealctl(t, "token", "enrol", "--module", k.Module, "--profile", "softhsm2-sm2", "--serial", k.Serial, "--pin-file", k.PINFile, "--name", "示例", "--out", out)
	if code != exitUsage || !strings.Contains(errs, "exists") {
		t.Errorf("over what is there: %d %s", code, errs)
	}
}

// TestTokenKeyOfAnother: a certificate that is not the key's never gets a signature.
func TestTokenKeyOfAnother(t *testing.T) {
	k := softhsmtest.New(t)
	out := enrolled(t, k, k.Module)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyOf(t, out, &other.PublicKey); !errors.Is(err, errTokenKey) {
		t.Errorf("got %v", err)
	}
}

// TestTokenKeyWrongPIN: one wrong PIN, one try, and a latch that the next command finds; the right PIN is not tried before somebody clears it.
func TestTokenKeyWrongPIN(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	out := enrolled(t, k, f.Module)
	pub, before := public(t, out), f.Logins()
	right, err := os.ReadFile(k.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	pin := func(text string) {
		t.Helper()
		if err := errors.Join(os.Remove(k.PINFile), os.WriteFile(k.PINFile, []byte(text), 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	pin("wrong")
	for range 2 {
		if _, err := keyOf(t, out, pub); !errors.Is(err, hsm.ErrPINLatched) || strings.Contains(err.Error(), "wrong\n") {
			t.Errorf("a wrong PIN: %v", err)
		}
	}
	pin(string(right))
	if _, err := keyOf(t, out, pub); !errors.Is(err, hsm.ErrPINLatched) || f.Logins() != before+1 {
		t.Errorf("%v after %d tries", err, f.Logins()-before)
	}
	if err := hsm.ClearLatch(out + ".key.yaml.latch.json"); err != nil {
		t.Fatal(err)
	}
	if _, err := keyOf(t, out, pub); err != nil {
		t.Errorf("after the latch was cleared: %v", err)
	}
}

// plugger puts the token back when the command asks for it.
type plugger struct {
	f     *softhsmtest.Faults
	asked int
}

func (p *plugger) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "plug in token") {
		p.asked++
		p.f.Script()
	}
	return len(b), nil
}

// TestTokenPluggedIn: a token that is away is asked for once and found by its serial when it comes; nobody waits for one beyond what the reference says.
func TestTokenPluggedIn(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	out := enrolled(t, k, f.Module)
	b, err := os.ReadFile(out + ".key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := readReference(out+".key.yaml", b)
	if err != nil || r.Wait != 30*time.Second {
		t.Fatalf("%+v, %v", r, err)
	}
	defer func(d time.Duration) { rescan = d }(rescan)
	rescan = time.Millisecond
	f.Script("* absent")
	p := &plugger{f: f}
	m, err := r.open(t.Context(), p)
	if err != nil || p.asked != 1 {
		t.Fatalf("%v, asked %d times", err, p.asked)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	f.Script("* absent")
	r.Wait = 0
	if _, err := r.open(t.Context(), p); !errors.Is(err, hsm.ErrTokenGone) || p.asked != 1 {
		t.Errorf("without waiting: %v, asked %d times", err, p.asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Wait = time.Hour
	if _, err := r.open(ctx, &plugger{f: f}); err == nil {
		t.Error("opened for a command that was interrupted")
	}
}

func TestReferencesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": "module: m\nprofile: p\nserial: s\nkey: 00112233445566778899aabbccddeeff\npin: '1234'\n",
		"no serial":   "module: m\nprofile: p\nkey: 00112233445566778899aabbccddeeff\n",
		"short key":   "module: m\nprofile: p\nserial: s\nkey: 0011\n",
		"not YAML":    "\x00\x01",
	} {
		if _, err := readReference("f", []byte(text)); !errors.Is(err, errReference) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
