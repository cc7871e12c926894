package hsm_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// trustedKEK has the security officer make a wrapping key that is trusted. SoftHSM2 shows him public objects alone.
func trustedKEK(t *testing.T, k *softhsmtest.Token) hsm.ObjectID {
	t.Helper()
	raw := under(t, k)
	if err := raw.Initialize(); err != nil {
		t.Fatal(err)
	}
	defer raw.Finalize()
	slots, err := raw.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(k.SOPINFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		if info, err := raw.GetTokenInfo(slot); err != nil || info.SerialNumber != k.Serial {
			continue
		}
		h, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err == nil {
			err = raw.Login(h, pkcs11.CKU_SO, strings.TrimSpace(string(pin)))
		}
		id := newID()
		if err == nil {
			_, err = raw.GenerateKey(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
				pkcs11.NewAttribute(pkcs11.CKA_WRAP, true), pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true), pkcs11.NewAttribute(pkcs11.CKA_TRUSTED, true)})
		}
		if err := errors.Join(err, raw.CloseAllSessions(slot)); err != nil {
			t.Fatal(err)
		}
		return id
	}
	t.Fatal("the token is not there")
	return hsm.ObjectID{}
}

// Under a KEK that the security officer calls trusted, keys are born so that only such a one wraps them, and the birth evidence says so; so they move to the next.
func TestTrustedKEK(t *testing.T) {
	k := softhsmtest.New(t)
	one, two := trustedKEK(t, k), trustedKEK(t, k)
	m := open(t, config(t, k, "softhsm2-sm2"))
	binder := generate(t, m, hsm.AES256).ID
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
		b, err := m.GenerateWrapped(t.Context(), wrapRequest(a, hsm.Wrapping{KEK: one, Binder: binder}))
		if err != nil {
			t.Fatal(err)
		}
		if v := attributeOf(b.Birth, "CKA_WRAP_WITH_TRUSTED"); v != "true" {
			t.Errorf("%s: CKA_WRAP_WITH_TRUSTED is %q", a, v)
		}
		if b.Wrapped, err = m.Rewrap(t.Context(), hsm.RewrapRequest{Wrapped: b.Wrapped, To: hsm.Wrapping{KEK: two, Binder: binder}}); err != nil {
			t.Fatal(err)
		}
		signWrapped(t, m, b)
	}
	plain, err := m.GenerateWrapped(t.Context(), wrapRequest(hsm.SM2, wrapping(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if v := attributeOf(plain.Birth, "CKA_WRAP_WITH_TRUSTED"); v != "false" {
		t.Errorf("under a KEK that nobody called trusted: CKA_WRAP_WITH_TRUSTED is %q", v)
	}
}

func attributeOf(b hsm.Birth, name string) string {
	for _, a := range b.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}
