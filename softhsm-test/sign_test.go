package softhsmtest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"
)

func randomBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignE(t *testing.T) {
	r := open(t)
	k := r.generate()
	pub := r.public(k)
	for range 20 {
		e := randomBytes(t, 32)
		sig := r.sign(mechSM2E, nil, k.priv, e)
		if len(sig) != 64 {
			t.Fatalf("signature has %d bytes, want 64", len(sig))
		}
		if !sm2.VerifyASN1(pub, e, derSignature(t, sig)) {
			t.Fatalf("emmansun rejects the signature %x over %x", sig, e)
		}
		sig[63] ^= 1
		if sm2.VerifyASN1(pub, e, derSignature(t, sig)) {
			t.Fatal("a changed signature verifies: the check checks nothing")
		}
	}
}

// userIDs are the identities a message is signed under; nil means the default.
var userIDs = []struct {
	name  string
	param []byte
	uid   []byte
}{
	{"default", nil, []byte("1234567812345678")},
	{"ascii", []byte("ALICE123@YAHOO.COM"), []byte("ALICE123@YAHOO.COM")},
	{"chinese", []byte("示例企业印章"), []byte("示例企业印章")},
	{"long", bytes.Repeat([]byte("x"), 8191), bytes.Repeat([]byte("x"), 8191)},
}

func TestSignMessage(t *testing.T) {
	r := open(t)
	k := r.generate()
	pub := r.public(k)
	for _, id := range userIDs {
		t.Run(id.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 63, 64, 65, 1000} {
				msg := randomBytes(t, size)
				sig := derSignature(t, r.sign(mechSM3SM2, id.param, k.priv, msg))
				if !sm2.VerifyASN1WithSM2(pub, id.uid, msg, sig) {
					t.Errorf("emmansun rejects the signature over %d bytes", size)
				}
				if sm2.VerifyASN1WithSM2(pub, []byte("somebody else"), msg, sig) {
					t.Error("the signature verifies under another identity")
				}
			}
		})
	}
}

func TestSignMessageInParts(t *testing.T) {
	r := open(t)
	k := r.generate()
	msg := randomBytes(t, 300)
	for _, cut := range []int{0, 1, 150, 300} {
		r.ok(r.p.SignInit(r.s, mech(mechSM3SM2, nil), k.priv))
		r.ok(r.p.SignUpdate(r.s, msg[:cut]))
		r.ok(r.p.SignUpdate(r.s, msg[cut:]))
		sig, err := r.p.SignFinal(r.s)
		r.ok(err)
		if !sm2.VerifyASN1WithSM2(r.public(k), []byte("1234567812345678"), msg, derSignature(t, sig)) {
			t.Errorf("cut at %d: signature does not verify", cut)
		}
		r.ok(r.p.VerifyInit(r.s, mech(mechSM3SM2, nil), k.pub))
		r.ok(r.p.VerifyUpdate(r.s, msg[:cut]))
		r.ok(r.p.VerifyUpdate(r.s, msg[cut:]))
		r.ok(r.p.VerifyFinal(r.s, sig))
	}
}

func TestVerify(t *testing.T) {
	r := open(t)
	k, other := r.generate(), r.generate()
	e := randomBytes(t, 32)
	sig := r.sign(mechSM2E, nil, k.priv, e)
	zero := make([]byte, 64)
	changedE := append([]byte{e[0] ^ 1}, e[1:]...)
	changedSig := append([]byte{sig[0] ^ 1}, sig[1:]...)
	for _, c := range []struct {
		name string
		key  pkcs11.ObjectHandle
		e    []byte
		sig  []byte
		want uint
	}{
		{"right", k.pub, e, sig, pkcs11.CKR_OK},
		{"other key", other.pub, e, sig, pkcs11.CKR_SIGNATURE_INVALID},
		{"other digest", k.pub, changedE, sig, pkcs11.CKR_SIGNATURE_INVALID},
		{"changed", k.pub, e, changedSig, pkcs11.CKR_SIGNATURE_INVALID},
		{"zero", k.pub, e, zero, pkcs11.CKR_SIGNATURE_INVALID},
		{"short", k.pub, e, sig[:63], pkcs11.CKR_SIGNATURE_LEN_RANGE},
		{"short digest", k.pub, e[:31], sig, pkcs11.CKR_DATA_LEN_RANGE},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.ok(r.p.VerifyInit(r.s, mech(mechSM2E, nil), c.key))
			err := r.p.Verify(r.s, c.e, c.sig)
			if c.want != pkcs11.CKR_OK {
				refused(t, err, c.want)
			} else if err != nil {
				t.Errorf("%v (e %s)", err, hex.EncodeToString(e))
			}
		})
	}
}
