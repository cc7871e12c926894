package hsm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

func profile(t testing.TB, id string) *firmware.Profile {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// config is a usable configuration of a throw-away token.
func config(t testing.TB, k *softhsmtest.Token, profileID string) hsm.Config {
	t.Helper()
	return hsm.Config{Module: k.Module, Profile: profile(t, profileID), Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func open(t testing.TB, cfg hsm.Config) *hsm.Module {
	t.Helper()
	m, err := hsm.Open(t.Context(), cfg)
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

func newID() (id hsm.ObjectID) {
	rand.Read(id[:])
	return id
}

func generate(t testing.TB, m *hsm.Module, a hsm.Algorithm) hsm.Birth {
	t.Helper()
	id := newID()
	b, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "test:" + id.String(), Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest() (d [32]byte) {
	rand.Read(d[:])
	return d
}

// verify holds a signature against the public key of a birth, with software that is not the module's.
func verify(t testing.TB, b hsm.Birth, d [32]byte, sig []byte) {
	t.Helper()
	switch b.Algorithm {
	case hsm.SM2:
		key, err := gm.NewPublicKey(b.Public)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.VerifyE(d, [64]byte(sig)); err != nil {
			t.Errorf("SM2: %v", err)
		}
	case hsm.ECDSAP256, hsm.RSA2048:
		key, err := x509.ParsePKIXPublicKey(b.Public)
		if err != nil {
			t.Fatal(err)
		}
		switch k := key.(type) {
		case *ecdsa.PublicKey:
			if len(sig) != 64 || !ecdsa.Verify(k, d[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
				t.Errorf("ECDSA signature of %d bytes does not verify", len(sig))
			}
		case *rsa.PublicKey:
			if err := rsa.VerifyPKCS1v15(k, crypto.SHA256, d[:], sig); err != nil {
				t.Error(err)
			}
		}
	}
}

func attribute(t testing.TB, all []hsm.Attribute, name string) string {
	t.Helper()
	for _, a := range all {
		if a.Name == name {
			return a.Value
		}
	}
	t.Errorf("no attribute %s", name)
	return ""
}

// TestGenerateAndSign is the whole life of a key of every algorithm, on the SM2 module and on plain SoftHSM2.
func TestGenerateAndSign(t *testing.T) {
	for name, c := range map[string]struct {
		options    []softhsmtest.Option
		profile    string
		algorithms []hsm.Algorithm
	}{
		"SM2 module":     {nil, "softhsm2-sm2", []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048}},
		"plain SoftHSM2": {[]softhsmtest.Option{softhsmtest.Plain()}, "softhsm2", []hsm.Algorithm{hsm.ECDSAP256, hsm.RSA2048}},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, config(t, softhsmtest.New(t, c.options...), c.profile))
			for _, a := range c.algorithms {
				t.Run(string(a), func(t *testing.T) {
					b := generate(t, m, a)
					checkBirth(t, b)
					d := digest()
					sig, err := m.Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: a, Digest: d})
					if err != nil {
						t.Fatal(err)
					}
					verify(t, b, d, sig)
				})
			}
		})
	}
}

func checkBirth(t *testing.T, b hsm.Birth) {
	t.Helper()
	for name, want := range map[string]string{"CKA_TOKEN": "true", "CKA_PRIVATE": "true", "CKA_SENSITIVE": "true",
		"CKA_EXTRACTABLE": "false", "CKA_ALWAYS_SENSITIVE": "true", "CKA_NEVER_EXTRACTABLE": "true", "CKA_LOCAL": "true",
		"CKA_SIGN": "true", "CKA_DECRYPT": "false", "CKA_UNWRAP": "false", "CKA_DERIVE": "false", "CKA_SIGN_RECOVER": "false"} {
		if got := attribute(t, b.Attributes, name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if !strings.HasPrefix(b.ValueRead, "refused: ") {
		t.Errorf("private value: %q", b.ValueRead)
	}
	verify(t, b, [32]byte(b.Challenge), b.Response)
	if b.Token.Evidence != hsm.Simulated || b.Token.ModuleSHA256 == "" || b.Token.ProfileSM3 == "" || b.Time.IsZero() {
		t.Errorf("token of the birth: %+v", b.Token)
	}
}

func TestEveryHandOverIsNamed(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	ctx := t.Context()
	sm2, aes := generate(t, m, hsm.SM2), generate(t, m, hsm.AES256)
	p256 := generate(t, m, hsm.ECDSAP256)
	long := strings.Repeat("x", 65)
	for name, c := range map[string]struct {
		do   func() error
		want error
	}{
		"unknown key":          {func() error { return sign(m, newID(), hsm.SM2) }, hsm.ErrNotFound},
		"unknown document key": {func() error { return sign(m, newID(), hsm.ECDSAP256) }, hsm.ErrNotFound},
		"unknown algorithm":    {func() error { return sign(m, sm2.ID, "sm9") }, hsm.ErrUnsupported},
		"AES signs":            {func() error { return sign(m, aes.ID, hsm.AES256) }, hsm.ErrUnsupported},
		// Law: CKM_ECDSA on the SM2 curve gives 64 bytes that are no SM2 signature.
		"ECDSA with the SM2 key": {func() error { return sign(m, sm2.ID, hsm.ECDSAP256) }, hsm.ErrRefused},
		"SM2 with the P-256 key": {func() error { return sign(m, p256.ID, hsm.SM2) }, hsm.ErrRefused},
		"RSA with the P-256 key": {func() error { return sign(m, p256.ID, hsm.RSA2048) }, hsm.ErrRefused},
		"identifier again": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{ID: sm2.ID, Label: "fresh", Algorithm: hsm.SM2})
			return err
		}, hsm.ErrExists},
		"label again": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{ID: newID(), Label: sm2.Label, Algorithm: hsm.SM2})
			return err
		}, hsm.ErrExists},
		"no identifier": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{Label: "x", Algorithm: hsm.SM2})
			return err
		}, hsm.ErrRefused},
		"long label": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{ID: newID(), Label: long, Algorithm: hsm.SM2})
			return err
		}, hsm.ErrRefused},
		"Chinese label": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{ID: newID(), Label: "印章", Algorithm: hsm.SM2})
			return err
		}, hsm.ErrRefused},
		"generate sm9": {func() error {
			_, err := m.Generate(ctx, hsm.GenerateRequest{ID: newID(), Label: "x", Algorithm: "sm9"})
			return err
		}, hsm.ErrUnsupported},
		"attributes of nothing": {func() error { _, err := m.Attributes(ctx, newID()); return err }, hsm.ErrNotFound},
		"destroy nothing":       {func() error { return m.Destroy(ctx, newID()) }, hsm.ErrNotFound},
		"destroy zero":          {func() error { return m.Destroy(ctx, hsm.ObjectID{}) }, hsm.ErrRefused},
		"data never set":        {func() error { _, err := m.Data(ctx, "nothing"); return err }, hsm.ErrNotFound},
		"big data":              {func() error { return m.SetData(ctx, "x", make([]byte, 5000)) }, hsm.ErrRefused},
		"no random":             {func() error { _, err := m.Random(ctx, 0); return err }, hsm.ErrRefused},
		"long text": {func() error {
			_, err := m.Encrypt(ctx, hsm.CipherRequest{Key: aes.ID, Text: make([]byte, 1025)})
			return err
		}, hsm.ErrRefused},
		"short cipher text": {func() error {
			_, err := m.Decrypt(ctx, hsm.CipherRequest{Key: aes.ID, Text: make([]byte, 15)})
			return err
		}, hsm.ErrRefused},
		"encrypt with a signing key": {func() error {
			_, err := m.Encrypt(ctx, hsm.CipherRequest{Key: sm2.ID, Text: []byte("x")})
			return err
		}, hsm.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if s := m.Stats(); s.Epoch != 1 {
		t.Errorf("a caller's mistake ended the epoch: %+v", s)
	}
}

func sign(m *hsm.Module, id hsm.ObjectID, a hsm.Algorithm) error {
	_, err := m.Sign(context.Background(), hsm.SignRequest{Key: id, Algorithm: a, Digest: sha256.Sum256([]byte("x"))})
	return err
}

func TestGCM(t *testing.T) {
	for name, c := range map[string]struct {
		options []softhsmtest.Option
		profile string
	}{"SM2 module": {nil, "softhsm2-sm2"}, "plain SoftHSM2": {[]softhsmtest.Option{softhsmtest.Plain()}, "softhsm2"}} {
		t.Run(name, func(t *testing.T) {
			m := open(t, config(t, softhsmtest.New(t, c.options...), c.profile))
			key := generate(t, m, hsm.AES256)
			for attr, want := range map[string]string{"CKA_ENCRYPT": "true", "CKA_DECRYPT": "true", "CKA_WRAP": "false", "CKA_UNWRAP": "false",
				"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false", "CKA_NEVER_EXTRACTABLE": "true"} {
				if got := attribute(t, key.Attributes, attr); got != want {
					t.Errorf("%s is %s", attr, got)
				}
			}
			for _, n := range []int{0, 1, 32, 1024} {
				r := hsm.CipherRequest{Key: key.ID, AAD: []byte("bound"), Text: make([]byte, n)}
				rand.Read(r.Nonce[:])
				rand.Read(r.Text)
				sealed, err := m.Encrypt(t.Context(), r)
				if err != nil || len(sealed) != n+16 {
					t.Fatalf("%d bytes: %d, %v", n, len(sealed), err)
				}
				open := r
				open.Text = sealed
				back, err := m.Decrypt(t.Context(), open)
				if err != nil || string(back) != string(r.Text) {
					t.Errorf("%d bytes do not come back: %v", n, err)
				}
				for what, change := range map[string]func(*hsm.CipherRequest){
					"text":  func(r *hsm.CipherRequest) { r.Text = append([]byte{}, r.Text...); r.Text[len(r.Text)-1] ^= 1 },
					"nonce": func(r *hsm.CipherRequest) { r.Nonce[0] ^= 1 },
					"AAD":   func(r *hsm.CipherRequest) { r.AAD = []byte("other") },
				} {
					bad := open
					change(&bad)
					if _, err := m.Decrypt(t.Context(), bad); !errors.Is(err, hsm.ErrRefused) {
						t.Errorf("%d bytes, changed %s: %v", n, what, err)
					}
				}
			}
			if s := m.Stats(); s.Epoch != 1 {
				t.Errorf("a bad tag ended the epoch: %+v", s)
			}
		})
	}
}
