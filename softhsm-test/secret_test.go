package softhsmtest_test

import (
	"testing"

	"github.com/miekg/pkcs11"

	softhsmtest "sealkeeper/softhsm-test"
)

// through opens the token of r again, through another module.
func (r *rig) through(module string) *rig {
	r.t.Helper()
	r.ok(r.p.Finalize())
	token := *r.token
	token.Module = module
	return openToken(r.t, &token)
}

// What the README says, held as a test: the module protects the interface, not
// the secret. If this fails, the README promises too little.
func TestSecretIsNotProtectedFromSoftHSM(t *testing.T) {
	r := open(t)
	r.generate()
	plain, err := softhsmtest.PlainModule()
	r.ok(err)
	q := r.through(plain)
	if value := q.get(q.privateByID("k1"), pkcs11.CKA_VALUE); len(value) == 0 || len(value) > 32 {
		t.Errorf("SoftHSM2 alone reads %d bytes", len(value))
	}
}

// A key on the SM2 curve made without the module is closed for it too: it is
// described as SoftHSM2 keeps it, and it signs neither way.
func TestKeyMadeWithoutTheModule(t *testing.T) {
	r := open(t, softhsmtest.Plain())
	_, _, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, sm2Params), attr(pkcs11.CKA_TOKEN, true)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, true), attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_ID, []byte("k1")),
			attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_EXTRACTABLE, false)})
	r.ok(err)
	module, err := softhsmtest.Module(t.Context())
	r.ok(err)
	q := r.through(module)
	k := q.privateByID("k1")
	if got, want := q.private(k), (private{1, 1, 0, 1, 1, mechKeyPair}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, err = q.signIn(q.s, mechSM2E, nil, k, make([]byte, 32))
	refused(t, err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	_, err = q.signIn(q.s, pkcs11.CKM_ECDSA, nil, k, make([]byte, 32))
	refused(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
}
