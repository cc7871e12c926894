package hsm_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
)

func portable(t testing.TB, m *hsm.Module, a hsm.Algorithm) hsm.GenerateRequest {
	t.Helper()
	id := newID()
	r := hsm.GenerateRequest{ID: id, Label: "test:" + id.String(), Algorithm: a, Portable: true}
	b, err := m.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if v := attribute(t, b.Attributes, "CKA_EXTRACTABLE"); v != "true" {
		t.Errorf("a portable key reads CKA_EXTRACTABLE %s", v)
	}
	return r
}

// TestLaw01CarriedKEK: a KEK with its binding key goes from one token to another encrypted to a key of the other's that does nothing but unwrap. Afterwards
// neither copy can be got out, the evidence says that both once could, and keys wrapped in one token sign in the other.
func TestLaw01CarriedKEK(t *testing.T) {
	n := openNeighbours(t)
	from, to := n.m[0], n.m[1]
	transport := generate(t, to, hsm.Transport)
	kek, binder := portable(t, from, hsm.KEK), portable(t, from, hsm.AES256)
	w := hsm.Wrapping{KEK: kek.ID, Binder: binder.ID}
	for _, r := range []hsm.GenerateRequest{kek, binder} {
		blob, err := from.Export(t.Context(), hsm.ExportRequest{Key: r.ID, Algorithm: r.Algorithm, To: transport.Public})
		if err != nil || len(blob) != 256 {
			t.Fatalf("%d bytes, %v", len(blob), err)
		}
		damaged := append([]byte{}, blob...)
		damaged[100] ^= 1
		if _, err := to.Import(t.Context(), hsm.ImportRequest{GenerateRequest: r, Transport: transport.ID, Blob: damaged}); err == nil {
			t.Error("a damaged blob was taken over")
		}
		copied, err := to.Import(t.Context(), hsm.ImportRequest{GenerateRequest: r, Transport: transport.ID, Blob: blob})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Import(t.Context(), hsm.ImportRequest{GenerateRequest: r, Transport: transport.ID, Blob: blob}); !errors.Is(err, hsm.ErrExists) {
			t.Errorf("taking over twice: %v", err)
		}
		if _, err := to.Export(t.Context(), hsm.ExportRequest{Key: r.ID, Algorithm: r.Algorithm, To: transport.Public}); !errors.Is(err, hsm.ErrRefused) {
			t.Errorf("the copy leaves again: %v", err)
		}
		for range 2 { // it may be repeated
			locked, err := from.Lock(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range []hsm.Birth{copied, locked} {
				for name, want := range map[string]string{"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false", "CKA_NEVER_EXTRACTABLE": "false"} {
					if v := attribute(t, b.Attributes, name); v != want {
						t.Errorf("token %s: %s is %s", b.Token.Serial, name, v)
					}
				}
			}
		}
		if _, err := from.Export(t.Context(), hsm.ExportRequest{Key: r.ID, Algorithm: r.Algorithm, To: transport.Public}); !errors.Is(err, hsm.ErrRefused) {
			t.Errorf("a locked key leaves: %v", err)
		}
	}
	if err := to.Destroy(t.Context(), transport.ID); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*hsm.Module{from, to} {
		b := generateWrapped(t, m, w)
		signWrapped(t, from, b)
		signWrapped(t, to, b)
	}
	copied, there := rawSession(t, to)
	if o, err := copied.CopyObject(there, keyOf(t, copied, there, kek.ID), []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)}); err == nil {
		t.Errorf("the copy has an extractable copy %d", o)
	}
	raw, h := rawSession(t, from)
	if err := raw.SetAttributeValue(h, keyOf(t, raw, h, kek.ID), []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)}); err == nil {
		t.Error("a locked key can be unlocked")
	}
}

// What is not made to be carried is not, and a transport key does nothing else.
func TestWhatIsNotCarried(t *testing.T) {
	n := openNeighbours(t)
	m := n.m[0]
	transport := generate(t, m, hsm.Transport)
	kek := generate(t, m, hsm.KEK)
	if _, err := m.Export(t.Context(), hsm.ExportRequest{Key: kek.ID, Algorithm: hsm.KEK, To: transport.Public}); !errors.Is(err, hsm.ErrRefused) {
		t.Errorf("an ordinary KEK: %v", err)
	}
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.RSA2048, hsm.Transport} {
		id := newID()
		if _, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: id.String(), Algorithm: a, Portable: true}); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("a portable %s key: %v", a, err)
		}
	}
	if _, err := m.Export(t.Context(), hsm.ExportRequest{Key: n.keys[0][0].ID, Algorithm: hsm.SM2, To: transport.Public}); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a signing key: %v", err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := x509.MarshalPKIXPublicKey(small.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string][]byte{"weak": weak, "no key": []byte("key"), "none": nil} {
		if _, err := m.Export(t.Context(), hsm.ExportRequest{Key: portable(t, m, hsm.KEK).ID, Algorithm: hsm.KEK, To: to}); !errors.Is(err, hsm.ErrRefused) {
			t.Errorf("a transport key that is %s: %v", name, err)
		}
	}
	raw, h := rawSession(t, m)
	o := private(t, raw, h, transport.ID)
	for name, begin := range map[string]func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error{"decrypts": raw.DecryptInit, "signs": raw.SignInit} {
		if err := begin(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil)}, o); err != pkcs11.Error(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED) {
			t.Errorf("the transport key %s: %v", name, err)
		}
	}
}

func private(t testing.TB, raw *pkcs11.Ctx, h pkcs11.SessionHandle, id hsm.ObjectID) pkcs11.ObjectHandle {
	t.Helper()
	if err := raw.FindObjectsInit(h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]), pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}); err != nil {
		t.Fatal(err)
	}
	some, _, err := raw.FindObjects(h, 2)
	if err := errors.Join(err, raw.FindObjectsFinal(h)); err != nil || len(some) != 1 {
		t.Fatalf("%d objects, %v", len(some), err)
	}
	return some[0]
}
