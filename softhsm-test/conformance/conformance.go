// Package conformance is the one body of tests that every token must pass behind keystore.Token, whatever module, profile or process it
// stands in.
//
// Its one promise: it uses nothing but the Token's messages and software of its own to check them. It makes keys under random identifiers,
// destroys what it made, and leaves everything else in the token alone. One small public data object, labelled conformance:data:…,
// stays behind, since a Token has no message that removes one.
//
// The throw-away tokens of softhsm-test run it in every test run. A real device joins by naming a configuration file:
//
//	SEALKEEPER_CONFORMANCE=/path/device.yaml go test ./softhsm-test/conformance -run Device -v
//
//	module: /usr/lib/vendor/libpkcs11.so   # PKCS#11 library
//	profile: vendor-model                  # id of a firmware profile
//	profiles: /etc/sealkeeper/profiles     # folder with more profiles, optional
//	serial: "0123456789"                   # or label:
//	pin_file: /run/credentials/pin         # mode 0400
//	latch_file: /var/lib/sealkeeper/latch.json
//	algorithms: [sm2, aes-256]             # what the device offers
//
// A wrong PIN latches as it does in production: the run stops, and nothing is retried.
package conformance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
)

// All is every algorithm of the appliance.
var All = []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048, hsm.AES256}

// Run holds tok against the whole contract of keystore.Token for the algorithms given (All when none are).
func Run(t *testing.T, tok keystore.Token, algorithms ...hsm.Algorithm) {
	t.Helper()
	if len(algorithms) == 0 {
		algorithms = All
	}
	c := &body{tok: tok}
	t.Run("info", c.info)
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Run("birth", func(t *testing.T) { c.birth(t, a) })
			t.Run("taken names", func(t *testing.T) { c.taken(t, a) })
			t.Run("destroy", func(t *testing.T) { c.destroy(t, a) })
			if a == hsm.AES256 {
				t.Run("cipher", c.cipher)
				return
			}
			t.Run("sign", func(t *testing.T) { c.sign(t, a) })
			t.Run("many at once", func(t *testing.T) { c.many(t, a) })
			t.Run("no search per signature", func(t *testing.T) { c.searches(t, a) })
		})
	}
	t.Run("wrapped", func(t *testing.T) { c.wrapped(t, algorithms) })
	t.Run("carried", c.carried)
	t.Run("wrong algorithm", func(t *testing.T) { c.wrongAlgorithm(t, algorithms) })
	t.Run("objects", func(t *testing.T) { c.objects(t, algorithms[0]) })
	t.Run("data", c.data)
	t.Run("random", c.random)
	t.Run("caller gone", func(t *testing.T) { c.callerGone(t, algorithms[0]) })
}

type body struct {
	tok    keystore.Token
	hashes bool // the token hashes SM2 messages itself
}

// request asks for a signature over something random: a digest, or a message longer than a frame where the token wants one.
func (c *body) request(b hsm.Birth, a hsm.Algorithm) hsm.SignRequest {
	r := hsm.SignRequest{Key: b.ID, Algorithm: a, Digest: digest()}
	if a != hsm.SM2 || !c.hashes {
		return r
	}
	var z [32]byte
	if key, err := gm.NewPublicKey(b.Public); err == nil { // under another algorithm any Z will do
		z = key.Z()
	}
	r.Message = append(z[:], bytes.Repeat(r.Digest[:], 300)...)
	r.Digest = gm.SM3(r.Message)
	return r
}

// make generates a key that is destroyed when the test ends.
func (c *body) make(t *testing.T, a hsm.Algorithm) hsm.Birth {
	t.Helper()
	var id hsm.ObjectID
	rand.Read(id[:])
	b, err := c.tok.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "conformance:" + id.String(), Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.tok.Destroy(context.WithoutCancel(t.Context()), id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			t.Errorf("destroying the test's key: %v", err)
		}
	})
	return b
}

func digest() (d [32]byte) {
	rand.Read(d[:])
	return d
}

// Verify checks a signature with software that shares nothing with the token.
func Verify(b hsm.Birth, d [32]byte, sig []byte) error {
	if b.Algorithm == hsm.SM2 {
		key, err := gm.NewPublicKey(b.Public)
		if err != nil {
			return err
		}
		if len(sig) != 64 {
			return gm.ErrSignatureForm
		}
		return key.VerifyE(d, [64]byte(sig))
	}
	pub, err := x509.ParsePKIXPublicKey(b.Public)
	if err != nil {
		return err
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if len(sig) != 64 || !ecdsa.Verify(k, d[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return gm.ErrSignature
		}
		return nil
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, d[:], sig)
	}
	return gm.ErrKey
}

func (c *body) info(t *testing.T) {
	i, err := c.tok.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i.Serial == "" || i.Profile == "" || len(i.ProfileSM3) != 64 || len(i.ModuleSHA256) != 64 || i.Sessions < 1 || i.Epoch < 1 {
		t.Errorf("info %+v", i)
	}
	switch i.Evidence {
	case hsm.Guessed, hsm.Simulated, hsm.Documented, hsm.Device:
	default:
		t.Errorf("evidence %q", i.Evidence)
	}
	c.hashes = i.NeedsMessage
	t.Logf("%s, serial %s, profile %s, evidence %s", i.Library, i.Serial, i.Profile, i.Evidence)
}

// mustRead are the attributes that no token may be silent about or have otherwise.
var mustRead = map[string]string{"CKA_TOKEN": "true", "CKA_PRIVATE": "true", "CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false"}

// ifRead are those that a profile may allow to be unknown, never otherwise.
var ifRead = map[string]string{"CKA_ALWAYS_SENSITIVE": "true", "CKA_NEVER_EXTRACTABLE": "true", "CKA_LOCAL": "true", "CKA_UNWRAP": "false",
	"CKA_DERIVE": "false"}

func (c *body) birth(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	again, err := c.tok.Attributes(t.Context(), b.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]hsm.Attribute{b.Attributes, again} {
		have := map[string]string{}
		for _, at := range list {
			have[at.Name] = at.Value
		}
		for name, want := range mustRead {
			if have[name] != want {
				t.Errorf("%s is %q", name, have[name])
			}
		}
		for name, want := range ifRead {
			if have[name] != want && have[name] != "unknown" {
				t.Errorf("%s is %q", name, have[name])
			}
		}
	}
	if !strings.HasPrefix(b.ValueRead, "refused: ") {
		t.Errorf("reading the private value: %q", b.ValueRead)
	}
	if b.Algorithm != a || b.Time.IsZero() || b.Token.Serial == "" {
		t.Errorf("birth %+v", b)
	}
	if a == hsm.AES256 {
		return
	}
	if len(b.Challenge) != 32 {
		t.Fatalf("challenge of %d bytes", len(b.Challenge))
	}
	if err := Verify(b, [32]byte(b.Challenge), b.Response); err != nil {
		t.Errorf("response to the challenge: %v", err)
	}
}

func (c *body) taken(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	var fresh hsm.ObjectID
	rand.Read(fresh[:])
	for name, r := range map[string]hsm.GenerateRequest{
		"identifier": {ID: b.ID, Label: "conformance:" + fresh.String(), Algorithm: a},
		"label":      {ID: fresh, Label: b.Label, Algorithm: a},
	} {
		if _, err := c.tok.Generate(t.Context(), r); !errors.Is(err, hsm.ErrExists) {
			t.Errorf("%s taken: %v", name, err)
		}
	}
}

func (c *body) destroy(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	if err := c.tok.Destroy(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.tok.Destroy(t.Context(), b.ID); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("destroying again: %v", err)
	}
	if _, err := c.tok.Attributes(t.Context(), b.ID); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("attributes of a destroyed key: %v", err)
	}
	if a != hsm.AES256 {
		if _, err := c.tok.Sign(t.Context(), c.request(b, a)); !errors.Is(err, hsm.ErrNotFound) {
			t.Errorf("signing with a destroyed key: %v", err)
		}
	}
}

func (c *body) sign(t *testing.T, a hsm.Algorithm) {
	b, other := c.make(t, a), c.make(t, a)
	for range 8 {
		r := c.request(b, a)
		sig, err := c.tok.Sign(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(b, r.Digest, sig); err != nil {
			t.Errorf("signature %x: %v", sig, err)
		}
		if Verify(other, r.Digest, sig) == nil || Verify(b, digest(), sig) == nil {
			t.Error("the signature verifies under another key or digest")
		}
	}
	// A digest that begins with zeros must not be taken for a shorter number.
	var small [32]byte
	small[31] = 1
	sig, err := c.tok.Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: a, Digest: small})
	switch {
	case a == hsm.SM2 && c.hashes:
		c.wrongMessage(t, b, err)
	case err != nil || Verify(b, small, sig) != nil:
		t.Errorf("digest 1: %x, %v", sig, err)
	}
	unknown := b
	rand.Read(unknown.ID[:])
	if _, err := c.tok.Sign(t.Context(), c.request(unknown, a)); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("unknown key: %v", err)
	}
}

// wrongMessage: a token that hashes is given nothing but the message that the host hashed.
func (c *body) wrongMessage(t *testing.T, b hsm.Birth, without error) {
	r := c.request(b, hsm.SM2)
	r.Message = append(bytes.Clone(r.Message), 0)
	_, err := c.tok.Sign(t.Context(), r)
	if !errors.Is(without, hsm.ErrRefused) || !errors.Is(err, hsm.ErrRefused) {
		t.Errorf("without a message: %v; with another: %v", without, err)
	}
}

func (c *body) many(t *testing.T, a hsm.Algorithm) {
	keys := []hsm.Birth{c.make(t, a), c.make(t, a)}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 4 {
				b := keys[(i+j)%2]
				r := c.request(b, a)
				sig, err := c.tok.Sign(t.Context(), r)
				if err != nil {
					t.Error(err)
				} else if err := Verify(b, r.Digest, sig); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func (c *body) searches(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	r := c.request(b, a)
	if _, err := c.tok.Sign(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := c.tok.Stats()
	for range 10 {
		if _, err := c.tok.Sign(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if after := c.tok.Stats(); after.FindObjects != before.FindObjects || after.Signs != before.Signs+10 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// wrongAlgorithm: a key signs by its own algorithm alone. CKM_ECDSA on an SM2 key would give 64 bytes that look right.
func (c *body) wrongAlgorithm(t *testing.T, algorithms []hsm.Algorithm) {
	for _, a := range algorithms {
		b := c.make(t, a)
		for _, other := range All {
			if other == a || other == hsm.AES256 {
				continue
			}
			_, err := c.tok.Sign(t.Context(), c.request(b, other))
			if !errors.Is(err, hsm.ErrRefused) && !errors.Is(err, hsm.ErrNotFound) && !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("%s key asked for %s: %v", a, other, err)
			}
		}
	}
}

func (c *body) cipher(t *testing.T) {
	b := c.make(t, hsm.AES256)
	for _, n := range []int{0, 32, 1024} {
		r := hsm.CipherRequest{Key: b.ID, AAD: []byte("bound to this"), Text: make([]byte, n)}
		rand.Read(r.Text)
		rand.Read(r.Nonce[:])
		sealed, err := c.tok.Encrypt(t.Context(), r)
		if err != nil || len(sealed) != n+16 {
			t.Fatalf("%d bytes become %d, %v", n, len(sealed), err)
		}
		back := r
		back.Text = sealed
		if text, err := c.tok.Decrypt(t.Context(), back); err != nil || !bytes.Equal(text, r.Text) {
			t.Errorf("%d bytes do not come back: %v", n, err)
		}
		back.AAD = []byte("bound to that")
		if _, err := c.tok.Decrypt(t.Context(), back); !errors.Is(err, hsm.ErrRefused) {
			t.Errorf("another AAD: %v", err)
		}
	}
	if _, err := c.tok.Encrypt(t.Context(), hsm.CipherRequest{Key: b.ID, Text: make([]byte, 1025)}); !errors.Is(err, hsm.ErrRefused) {
		t.Errorf("1025 bytes: %v", err)
	}
}

func (c *body) objects(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	all, err := c.tok.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.ID == b.ID && (o.Class == "private" || o.Class == "secret") && o.Label == b.Label && o.RawID == b.ID.String() {
			return
		}
	}
	t.Errorf("key %s is not among %d objects", b.ID, len(all))
}

func (c *body) data(t *testing.T) {
	var n [8]byte
	rand.Read(n[:])
	label := "conformance:data:" + new(big.Int).SetBytes(n[:]).Text(36)
	if _, err := c.tok.Data(t.Context(), label); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("never set: %v", err)
	}
	for _, v := range [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), 200), []byte("three")} {
		if err := c.tok.SetData(t.Context(), label, v); err != nil {
			t.Fatal(err)
		}
		if got, err := c.tok.Data(t.Context(), label); err != nil || !bytes.Equal(got, v) {
			t.Errorf("%.10q reads back as %.10q, %v", v, got, err)
		}
	}
}

func (c *body) random(t *testing.T) {
	x, err1 := c.tok.Random(t.Context(), 32)
	y, err2 := c.tok.Random(t.Context(), 32)
	if err1 != nil || err2 != nil || len(x) != 32 || bytes.Equal(x, y) {
		t.Errorf("%x %x, %v %v", x, y, err1, err2)
	}
}

func (c *body) callerGone(t *testing.T, a hsm.Algorithm) {
	b := c.make(t, a)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := c.tok.Attributes(gone, b.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.tok.Attributes(t.Context(), b.ID); err != nil {
		t.Errorf("the next caller: %v", err)
	}
}
