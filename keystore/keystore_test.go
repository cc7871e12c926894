package keystore_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// The module in this process is a Token; a worker will be another.
var _ keystore.Token = (*hsm.Module)(nil)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

var (
	system   = audit.Actor{Role: "operator-system", ID: "operator-a"}
	security = audit.Actor{Role: "operator-security", ID: "operator-b"}
)

// custody is a keystore over a real token and a real store file.
type custody struct {
	*keystore.Keystore
	tok  *hsm.Module
	st   *store.Bolt
	path string
}

func openToken(t testing.TB, sessions int) *hsm.Module {
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
	m, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json"), MaxSessions: sessions})
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

func openStore(t testing.TB, path string) *store.Bolt {
	t.Helper()
	st, err := store.Open(store.Config{Path: path, Create: true, Collections: keystore.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func open(t testing.TB, tok keystore.Token, st store.Store) *keystore.Keystore {
	t.Helper()
	k, err := keystore.Open(t.Context(), tok, st, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCustody(t testing.TB) *custody {
	t.Helper()
	c := &custody{tok: openToken(t, 0), path: filepath.Join(t.TempDir(), "store.db")}
	c.st = openStore(t, c.path)
	c.Keystore = open(t, c.tok, c.st)
	return c
}

func create(t testing.TB, k *keystore.Keystore, p keystore.Purpose, a hsm.Algorithm) *keystore.Key {
	t.Helper()
	key, err := k.Create(t.Context(), system, keystore.Want{Purpose: p, Label: "test-" + string(p), Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// events returns the kinds in the log, and the last event.
func events(t testing.TB, st store.Store) (kinds []string, last audit.Event) {
	t.Helper()
	all, err := st.Records(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if last, err = audit.ParseBody(r.Body); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, last.Kind)
	}
	return kinds, last
}

// TestLaw01BirthEvidence: what the token reports of a key is read back at its birth, kept with the key and in the log with the level of its
// evidence, and the token still says so afterwards.
func TestLaw01BirthEvidence(t *testing.T) {
	c := newCustody(t)
	key := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	again := open(t, c.tok, c.st) // nothing in memory
	birth, err := again.Birth(t.Context(), key.ID())
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.tok.Attributes(t.Context(), key.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]hsm.Attribute{birth.Attributes, now} {
		have := map[string]string{}
		for _, a := range list {
			have[a.Name] = a.Value
		}
		for name, want := range map[string]string{"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false", "CKA_ALWAYS_SENSITIVE": "true",
			"CKA_NEVER_EXTRACTABLE": "true", "CKA_LOCAL": "true", "CKA_PRIVATE": "true", "CKA_TOKEN": "true"} {
			if have[name] != want {
				t.Errorf("%s is %q", name, have[name])
			}
		}
	}
	if birth.Token.Evidence != hsm.Simulated {
		t.Errorf("the test module passes for %q", birth.Token.Evidence)
	}
	if err := key.Public().VerifyE([32]byte(birth.Challenge), [64]byte(birth.Response)); err != nil {
		t.Errorf("challenge of the birth: %v", err)
	}
	kinds, last := events(t, c.st)
	if len(kinds) != 2 || kinds[0] != audit.KindKeyIntent || kinds[1] != audit.KindKeyBirth || last.Subject != key.ID().String() {
		t.Errorf("log %v, %+v", kinds, last)
	}
	if raw, ok := last.Detail.(json.RawMessage); !ok || !bytes.Contains(raw, []byte("CKA_NEVER_EXTRACTABLE")) {
		t.Errorf("record of the birth: %s", raw)
	}
}

func TestKeys(t *testing.T) {
	c := newCustody(t)
	maker := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	root := create(t, c.Keystore, keystore.PurposeTLSRoot, hsm.ECDSAP256)
	again := open(t, c.tok, c.st)
	for name, find := range map[string]func() (*keystore.Key, error){
		"by identifier": func() (*keystore.Key, error) { return again.Key(t.Context(), maker.ID()) },
		"from memory":   func() (*keystore.Key, error) { return again.Key(t.Context(), maker.ID()) },
		"by purpose":    func() (*keystore.Key, error) { return again.ByPurpose(t.Context(), keystore.PurposeMaker) },
	} {
		k, err := find()
		if err != nil || k.ID() != maker.ID() || k.Purpose() != keystore.PurposeMaker || k.Algorithm() != hsm.SM2 ||
			!k.Public().Equal(maker.Public()) || !bytes.Equal(k.PublicDER(), maker.PublicDER()) {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if k1, _ := again.Key(t.Context(), maker.ID()); k1 != mustKey(t, again, maker.ID()) {
		t.Error("a key in memory is read again")
	}
	var unknown keystore.ID
	unknown[0] = 1
	if _, err := again.Key(t.Context(), unknown); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("unknown key: %v", err)
	}
	// "seal" is a prefix of "seal-maker", and no key of it exists.
	if _, err := again.ByPurpose(t.Context(), keystore.PurposeSeal); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("purpose without a key: %v", err)
	}
	if _, err := c.Create(t.Context(), system, keystore.Want{Purpose: keystore.PurposeMaker, Label: "second", Algorithm: hsm.SM2}); err != nil {
		t.Fatal(err)
	}
	if _, err := again.ByPurpose(t.Context(), keystore.PurposeMaker); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("two keys of one purpose: %v", err)
	}
	if ks, err := again.OfRef(t.Context(), "appliance/"+string(keystore.PurposeTLSRoot)); err != nil || len(ks) != 1 || ks[0].ID() != root.ID() {
		t.Errorf("by reference: %v, %v", ks, err)
	}
	if _, err := c.Create(t.Context(), system, keystore.Want{Purpose: keystore.PurposeTLSRoot, Label: "test-" + string(keystore.PurposeTLSRoot),
		Algorithm: hsm.ECDSAP256}); !errors.Is(err, hsm.ErrExists) {
		t.Errorf("label taken: %v", err)
	}
	if _, err := c.Intend(t.Context(), nil, system, "nothing"); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("no key wanted: %v", err)
	}
}

func mustKey(t testing.TB, k *keystore.Keystore, id keystore.ID) *keystore.Key {
	t.Helper()
	key, err := k.Key(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSign(t *testing.T) {
	c := newCustody(t)
	key := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	other := create(t, c.Keystore, keystore.PurposeSM2Root, hsm.SM2)
	for _, message := range [][]byte{nil, []byte("m"), bytes.Repeat([]byte{0}, 32), bytes.Repeat([]byte("long "), 10_000)} {
		der, err := key.Sign(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Public().VerifyTwice(message, der); err != nil { // strict DER is part of it
			t.Errorf("%d bytes: %v", len(message), err)
		}
	}
	prefix, err := key.Begin()
	if err != nil {
		t.Fatal(err)
	}
	prefix.Write([]byte("the seal, hashed once"))
	for _, tail := range []string{"", " and one document", " and another"} {
		m := prefix.Clone()
		m.Write([]byte(tail))
		der, err := key.SignMessage(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Public().Verify([]byte("the seal, hashed once"+tail), der); err != nil {
			t.Errorf("%q: %v", tail, err)
		}
	}
	for name, m := range map[string]*gm.Message{"nil": nil, "zero": {}, "begun for another key": begin(t, other)} {
		if _, err := key.SignMessage(t.Context(), m); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignStandard: P-256 and RSA keys sign whole messages; the digest is computed in custody, and what comes out is what certificates carry.
func TestSignStandard(t *testing.T) {
	c := newCustody(t)
	for a, p := range map[hsm.Algorithm]keystore.Purpose{hsm.ECDSAP256: keystore.PurposeTSAP256, hsm.RSA2048: keystore.PurposeDocument} {
		key := create(t, c.Keystore, p, a)
		for _, message := range [][]byte{nil, []byte("m"), bytes.Repeat([]byte{0}, 32), bytes.Repeat([]byte("long "), 10_000)} {
			sig, err := key.Sign(t.Context(), message)
			if err != nil {
				t.Fatal(err)
			}
			d, ok := sha256.Sum256(message), false
			switch pub := key.Standard().(type) {
			case *ecdsa.PublicKey:
				ok = ecdsa.VerifyASN1(pub, d[:], sig)
			case *rsa.PublicKey:
				ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, d[:], sig) == nil
			}
			if !ok {
				t.Errorf("%s over %d bytes does not verify", a, len(message))
			}
		}
		if _, err := key.CryptoSigner(); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%s for %s gives a signer of digests: %v", a, p, err)
		}
		if _, err := key.Begin(); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%s begins an SM2 message: %v", a, err)
		}
		for name, l := range map[string]liar{"a bit": {bit: 300}, "a byte short": {cut: true}} {
			l.Token = c.tok
			if sig, err := mustKey(t, open(t, l, c.st), key.ID()).Sign(t.Context(), []byte("m")); !errors.Is(err, keystore.ErrSignatureWrong) || sig != nil {
				t.Errorf("%s, %s: %x, %v", a, name, sig, err)
			}
		}
	}
}

func begin(t testing.TB, k *keystore.Key) *gm.Message {
	t.Helper()
	m, err := k.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCryptoSigner(t *testing.T) {
	c := newCustody(t)
	digest := sha256.Sum256([]byte("to be signed"))
	for a, p := range map[hsm.Algorithm]keystore.Purpose{hsm.ECDSAP256: keystore.PurposeTLSRoot, hsm.RSA2048: keystore.PurposeTLSClient} {
		key := create(t, c.Keystore, p, a)
		s, err := key.CryptoSigner()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		switch pub := s.Public().(type) {
		case *ecdsa.PublicKey:
			if !ecdsa.VerifyASN1(pub, digest[:], sig) {
				t.Error("ECDSA signature does not verify")
			}
		case *rsa.PublicKey:
			if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig); err != nil {
				t.Error(err)
			}
		}
		if pub, err := x509.ParsePKIXPublicKey(key.PublicDER()); err != nil || !pub.(interface{ Equal(crypto.PublicKey) bool }).Equal(s.Public()) {
			t.Errorf("public key: %v", err)
		}
		for name, bad := range map[string]struct {
			digest []byte
			opts   crypto.SignerOpts
		}{
			"no options":     {digest[:], nil},
			"another hash":   {digest[:], crypto.SHA384},
			"short digest":   {digest[:31], crypto.SHA256},
			"bare message":   {[]byte("a message that is no digest at all"), crypto.Hash(0)},
			"PSS":            {digest[:], &rsa.PSSOptions{Hash: crypto.SHA256}},
			"digest and one": {append(digest[:], 0), crypto.SHA256},
		} {
			if _, err := s.Sign(rand.Reader, bad.digest, bad.opts); !errors.Is(err, keystore.ErrKeyUse) {
				t.Errorf("%s, %s: %v", a, name, err)
			}
		}
		if _, err := key.Sign(t.Context(), []byte("m")); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%s signs an SM2 message: %v", a, err)
		}
	}
	// Only the two TLS authorities sign digests, and an SM2 key never does.
	for p, a := range map[keystore.Purpose]hsm.Algorithm{keystore.PurposeMaker: hsm.SM2, keystore.PurposeSeal: hsm.ECDSAP256, "impression-2026": hsm.AES256} {
		if s, err := create(t, c.Keystore, p, a).CryptoSigner(); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%s: %v, %v", p, s, err)
		}
	}
}

func TestSealData(t *testing.T) {
	c := newCustody(t)
	p := keystore.ImpressionPurpose(2026)
	if p != "impression-2026" {
		t.Errorf("purpose %q", p)
	}
	if _, err := c.SealData(t.Context(), p, nil, []byte("x")); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("no key of the year: %v", err)
	}
	create(t, c.Keystore, p, hsm.AES256)
	create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	secret, aad := make([]byte, 32), []byte("impression 7, digest")
	rand.Read(secret)
	s, err := c.SealData(t.Context(), p, aad, secret)
	if err != nil || bytes.Contains(s.Text, secret) || len(s.Nonce) != 12 {
		t.Fatalf("%+v, %v", s, err)
	}
	two, err := c.SealData(t.Context(), p, aad, secret)
	if err != nil || bytes.Equal(two.Nonce, s.Nonce) || bytes.Equal(two.Text, s.Text) {
		t.Errorf("the same nonce twice: %v", err)
	}
	if back, err := open(t, c.tok, c.st).OpenData(t.Context(), s, aad); err != nil || !bytes.Equal(back, secret) {
		t.Errorf("%x, %v", back, err)
	}
	for name, change := range map[string]func(*keystore.Sealed, *[]byte){
		"text":        func(s *keystore.Sealed, _ *[]byte) { s.Text[0] ^= 1 },
		"tag":         func(s *keystore.Sealed, _ *[]byte) { s.Text[len(s.Text)-1] ^= 1 },
		"nonce":       func(s *keystore.Sealed, _ *[]byte) { s.Nonce[0] ^= 1 },
		"short nonce": func(s *keystore.Sealed, _ *[]byte) { s.Nonce = s.Nonce[:11] },
		"cut":         func(s *keystore.Sealed, _ *[]byte) { s.Text = s.Text[:8] },
		"binding":     func(_ *keystore.Sealed, aad *[]byte) { *aad = []byte("impression 8, digest") },
	} {
		bad, bound := keystore.Sealed{Key: s.Key, Nonce: bytes.Clone(s.Nonce), Text: bytes.Clone(s.Text)}, bytes.Clone(aad)
		change(&bad, &bound)
		if _, err := c.OpenData(t.Context(), bad, bound); !errors.Is(err, keystore.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	foreign := s
	foreign.Key = mustPurpose(t, c.Keystore, keystore.PurposeMaker).ID()
	if _, err := c.OpenData(t.Context(), foreign, aad); !errors.Is(err, keystore.ErrSealed) {
		t.Errorf("a signing key opens data: %v", err)
	}
	if _, err := c.SealData(t.Context(), keystore.PurposeMaker, aad, secret); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("a signing key seals data: %v", err)
	}
	if _, err := c.SealData(t.Context(), p, aad, make([]byte, 1025)); !errors.Is(err, hsm.ErrRefused) {
		t.Errorf("a document: %v", err)
	}
}

func mustPurpose(t testing.TB, k *keystore.Keystore, p keystore.Purpose) *keystore.Key {
	t.Helper()
	key, err := k.ByPurpose(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// liar is a real token whose signatures have one bit flipped.
type liar struct {
	keystore.Token
	bit int // of the signature, from the left
	cut bool
}

func (l liar) Sign(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	sig, err := l.Token.Sign(ctx, r)
	if err == nil {
		sig[l.bit/8] ^= 0x80 >> (l.bit % 8)
		if l.cut {
			sig = sig[:len(sig)-1]
		}
	}
	return sig, err
}

// TestLaw04WrongSignatureIsNotReleased: a signature that does not verify under the registered key never leaves.
func TestLaw04WrongSignatureIsNotReleased(t *testing.T) {
	c := newCustody(t)
	sm2 := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	p256 := create(t, c.Keystore, keystore.PurposeTLSRoot, hsm.ECDSAP256)
	rsa2048 := create(t, c.Keystore, keystore.PurposeTLSClient, hsm.RSA2048)
	digest := sha256.Sum256([]byte("x"))
	for name, l := range map[string]liar{"first bit": {bit: 0}, "bit of r": {bit: 200}, "bit of s": {bit: 300}, "last bit": {bit: 511},
		"a byte short": {cut: true}} {
		t.Run(name, func(t *testing.T) {
			l.Token = c.tok
			k := open(t, l, c.st)
			if der, err := mustKey(t, k, sm2.ID()).Sign(t.Context(), []byte("message")); !errors.Is(err, keystore.ErrSignatureWrong) || der != nil {
				t.Errorf("SM2: %x, %v", der, err)
			}
			for _, id := range []keystore.ID{p256.ID(), rsa2048.ID()} {
				s, err := mustKey(t, k, id).CryptoSigner()
				if err != nil {
					t.Fatal(err)
				}
				if sig, err := s.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, keystore.ErrSignatureWrong) || sig != nil {
					t.Errorf("%x, %v", sig, err)
				}
			}
		})
	}
}

// A token that answers with another key's signature lies, too.
type swapper struct {
	keystore.Token
	to hsm.ObjectID
}

func (s swapper) Sign(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	r.Key = s.to
	return s.Token.Sign(ctx, r)
}

func TestLaw04AnotherKeysSignatureIsNotReleased(t *testing.T) {
	c := newCustody(t)
	a := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	b := create(t, c.Keystore, keystore.PurposeSM2Root, hsm.SM2)
	k := open(t, swapper{c.tok, b.ID()}, c.st)
	if der, err := mustKey(t, k, a.ID()).Sign(t.Context(), []byte("m")); !errors.Is(err, keystore.ErrSignatureWrong) || der != nil {
		t.Errorf("%x, %v", der, err)
	}
}

func TestTokenErrorsKeepTheirNames(t *testing.T) {
	c := newCustody(t)
	key := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	if err := c.tok.Destroy(t.Context(), key.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(t.Context(), []byte("m")); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("key gone from the token: %v", err)
	}
	if err := c.tok.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(t.Context(), []byte("m")); !errors.Is(err, keystore.ErrTokenGone) {
		t.Errorf("token closed: %v", err)
	}
	if _, err := keystore.Open(t.Context(), c.tok, c.st, slog.New(slog.DiscardHandler)); !errors.Is(err, keystore.ErrTokenGone) {
		t.Errorf("opening custody without a token: %v", err)
	}
}
