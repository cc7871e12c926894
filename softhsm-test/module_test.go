package softhsmtest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	softhsmtest "sealkeeper/softhsm-test"
)

// The C self-test under the address and undefined-behaviour sanitizers.
func TestSanitizers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: builds the module with sanitizers")
	}
	available(t)
	module, err := softhsmtest.Module(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sources := filepath.Join(filepath.Dir(filepath.Dir(module)), "softhsm-test", "module")
	t.Setenv("MAKEFLAGS", "")
	out, err := run(t, "make", "-C", sources, "OUT="+t.TempDir(), "asan")
	if err != nil || !strings.Contains(out, "self-test of the SM2 module: 0 failures") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Sign rates on one session; CPU and ratios tell more than the wall clock.
func BenchmarkSign(b *testing.B) {
	r := open(b)
	sm2Token, sm2Session := r.generateAs(true), r.generateAs(false)
	_, p256, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params), attr(pkcs11.CKA_TOKEN, true)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_TOKEN, true)})
	r.ok(err)
	data := make([]byte, 32)
	for _, c := range []struct {
		name string
		m    uint
		key  pkcs11.ObjectHandle
	}{
		{"sm2-e-token", mechSM2E, sm2Token.priv},
		{"sm2-e-session", mechSM2E, sm2Session.priv},
		{"sm2-message-token", mechSM3SM2, sm2Token.priv},
		{"p256-token", pkcs11.CKM_ECDSA, p256},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				r.sign(c.m, nil, c.key, data)
			}
		})
	}
}

func BenchmarkUnwrap(b *testing.B) {
	r := open(b)
	kek := r.kek()
	k := r.generateAs(false, attr(pkcs11.CKA_EXTRACTABLE, true))
	blob, err := r.p.WrapKey(r.s, wrapMechanisms[1].m, kek, k.priv)
	r.ok(err)
	for b.Loop() {
		o, err := r.p.UnwrapKey(r.s, wrapMechanisms[1].m, kek, blob, ecTemplate())
		r.ok(err)
		r.ok(r.p.DestroyObject(r.s, o))
	}
}
