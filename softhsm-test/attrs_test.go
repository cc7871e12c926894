package softhsmtest_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/miekg/pkcs11"
)

func ulong(values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

const unavailable = ^uint64(0)

// private names the attributes an evidence of birth rests on.
type private struct {
	sensitive, alwaysSensitive, extractable, neverExtractable, local byte
	generator                                                        uint64
}

func (r *rig) private(o pkcs11.ObjectHandle) private {
	r.t.Helper()
	return private{
		r.get(o, pkcs11.CKA_SENSITIVE)[0], r.get(o, pkcs11.CKA_ALWAYS_SENSITIVE)[0],
		r.get(o, pkcs11.CKA_EXTRACTABLE)[0], r.get(o, pkcs11.CKA_NEVER_EXTRACTABLE)[0],
		r.get(o, pkcs11.CKA_LOCAL)[0],
		binary.NativeEndian.Uint64(r.get(o, pkcs11.CKA_KEY_GEN_MECHANISM)),
	}
}

func TestAttributesAtBirth(t *testing.T) {
	r := open(t)
	for _, c := range []struct {
		name  string
		extra []*pkcs11.Attribute
		want  private
	}{
		{"default", nil, private{1, 1, 0, 1, 1, mechKeyPair}},
		{"explicit", []*pkcs11.Attribute{attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_PRIVATE, true),
			attr(pkcs11.CKA_EXTRACTABLE, false)}, private{1, 1, 0, 1, 1, mechKeyPair}},
		{"extractable", []*pkcs11.Attribute{attr(pkcs11.CKA_EXTRACTABLE, true)}, private{1, 1, 1, 0, 1, mechKeyPair}},
	} {
		for _, token := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				k := r.generateAs(token, c.extra...)
				if got := r.private(k.priv); got != c.want {
					t.Errorf("token object %v: got %+v, want %+v", token, got, c.want)
				}
				if !bytes.Equal(r.get(k.pub, pkcs11.CKA_EC_PARAMS), sm2Params) ||
					!bytes.Equal(r.get(k.priv, pkcs11.CKA_EC_PARAMS), sm2Params) {
					t.Error("the pair is not on the SM2 curve")
				}
				if got := r.get(k.pub, pkcs11.CKA_KEY_GEN_MECHANISM); !bytes.Equal(got, ulong(mechKeyPair)) {
					t.Errorf("generator of the public key: %x", got)
				}
				for _, hidden := range []uint{pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_UNWRAP} {
					if r.get(k.priv, hidden)[0] != 0 {
						t.Errorf("attribute %#x shows what is kept in it", hidden)
					}
				}
			})
		}
	}
}

// The EC mechanism with the SM2 curve must make the same key, or it could
// never sign SM2 and would be readable besides.
func TestECMechanismWithSM2Curve(t *testing.T) {
	r := open(t)
	pub, priv, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, sm2Params)}, []*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true)})
	r.ok(err)
	if got, want := r.private(priv), (private{1, 1, 0, 1, 1, mechKeyPair}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	e := randomBytes(t, 32)
	sig := r.sign(mechSM2E, nil, priv, e)
	r.ok(r.p.VerifyInit(r.s, mech(mechSM2E, nil), pub))
	r.ok(r.p.Verify(r.s, e, sig))
}

// A refused value leaves the rest of the template filled in; miekg hides the
// lengths then, so the self-test in C checks that and this the code alone.
func TestValueStaysInside(t *testing.T) {
	r := open(t)
	for _, k := range []pair{r.generate(), r.generate(attr(pkcs11.CKA_EXTRACTABLE, true)), r.generateAs(false)} {
		_, err := r.p.GetAttributeValue(r.s, k.priv, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, nil)})
		refused(t, err, pkcs11.CKR_ATTRIBUTE_SENSITIVE)
	}
}

// Once closed, a key that was extractable never reads as never extractable.
func TestExtractableClosedLater(t *testing.T) {
	r := open(t)
	k := r.generate(attr(pkcs11.CKA_EXTRACTABLE, true))
	r.ok(r.p.SetAttributeValue(r.s, k.priv, []*pkcs11.Attribute{attr(pkcs11.CKA_EXTRACTABLE, false)}))
	if got, want := r.private(k.priv), (private{1, 1, 0, 0, 1, mechKeyPair}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	err := r.p.SetAttributeValue(r.s, k.priv, []*pkcs11.Attribute{attr(pkcs11.CKA_EXTRACTABLE, true)})
	refused(t, err, pkcs11.CKR_ATTRIBUTE_READ_ONLY)
}

func TestImportedKeyIsNotLocal(t *testing.T) {
	r := open(t)
	d := randomBytes(t, 32)
	d[0] = 0 // below n, and shorter than 32 bytes once stored
	template := []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		attr(pkcs11.CKA_EC_PARAMS, sm2Params), attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_VALUE, d)}
	o, err := r.p.CreateObject(r.s, template)
	r.ok(err)
	if got, want := r.private(o), (private{1, 0, 0, 0, 0, unavailable}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, err = r.p.GetAttributeValue(r.s, o, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, nil)})
	refused(t, err, pkcs11.CKR_ATTRIBUTE_SENSITIVE)
	if len(r.sign(mechSM2E, nil, o, randomBytes(t, 32))) != 64 {
		t.Error("the imported key does not sign")
	}
}

func TestCopyKeepsTheMask(t *testing.T) {
	r := open(t)
	for _, extractable := range []bool{false, true} {
		k := r.generate(attr(pkcs11.CKA_EXTRACTABLE, extractable))
		o, err := r.p.CopyObject(r.s, k.priv, []*pkcs11.Attribute{attr(pkcs11.CKA_LABEL, "copy")})
		r.ok(err)
		if got, want := r.private(o), r.private(k.priv); got != want {
			t.Errorf("copy reads %+v, the key %+v", got, want)
		}
		_, err = r.p.GetAttributeValue(r.s, o, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, nil)})
		refused(t, err, pkcs11.CKR_ATTRIBUTE_SENSITIVE)
	}
}

func TestAllowedMechanisms(t *testing.T) {
	r := open(t)
	k := r.generate(attr(pkcs11.CKA_ALLOWED_MECHANISMS, ulong(mechSM2E)))
	if got := r.get(k.priv, pkcs11.CKA_ALLOWED_MECHANISMS); !bytes.Equal(got, ulong(mechSM2E)) {
		t.Errorf("allowed mechanisms read %x", got)
	}
	if len(r.sign(mechSM2E, nil, k.priv, randomBytes(t, 32))) != 64 {
		t.Error("the allowed mechanism does not sign")
	}
	_, err := r.signIn(r.s, mechSM3SM2, nil, k.priv, []byte("message"))
	refused(t, err, pkcs11.CKR_MECHANISM_INVALID)
}

func (r *rig) find(template ...*pkcs11.Attribute) []pkcs11.ObjectHandle {
	r.t.Helper()
	r.ok(r.p.FindObjectsInit(r.s, template))
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := r.p.FindObjects(r.s, 2)
		r.ok(err)
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	r.ok(r.p.FindObjectsFinal(r.s))
	return all
}

// SoftHSM2 stores other values than a caller sees; a search must go by what is
// seen, and must not let a caller test guesses of a private value.
func TestFindGoesByTheInterface(t *testing.T) {
	r := open(t)
	closed, opened := r.generate(), r.generate(attr(pkcs11.CKA_EXTRACTABLE, true))
	d := append([]byte{0x01}, randomBytes(t, 31)...)
	imported, err := r.p.CreateObject(r.s, []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC), attr(pkcs11.CKA_EC_PARAMS, sm2Params), attr(pkcs11.CKA_VALUE, d)})
	r.ok(err)
	_, p256, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params)}, []*pkcs11.Attribute{attr(pkcs11.CKA_SENSITIVE, true)})
	r.ok(err)
	object := func(o ...pkcs11.ObjectHandle) []pkcs11.ObjectHandle { return o }
	for _, c := range []struct {
		name string
		typ  uint
		val  any
		want []pkcs11.ObjectHandle
	}{
		{"sensitive", pkcs11.CKA_SENSITIVE, true, object(closed.priv, opened.priv, imported, p256)},
		{"not sensitive", pkcs11.CKA_SENSITIVE, false, nil},
		{"extractable", pkcs11.CKA_EXTRACTABLE, true, object(opened.priv)},
		{"not extractable", pkcs11.CKA_EXTRACTABLE, false, object(closed.priv, imported, p256)},
		{"always sensitive", pkcs11.CKA_ALWAYS_SENSITIVE, true, object(closed.priv, opened.priv, p256)},
		{"never extractable", pkcs11.CKA_NEVER_EXTRACTABLE, true, object(closed.priv, p256)},
		{"value", pkcs11.CKA_VALUE, d, nil},
		{"hidden sign-recover", pkcs11.CKA_SIGN_RECOVER, true, object(p256)},
		{"generator", pkcs11.CKA_KEY_GEN_MECHANISM, uint(mechKeyPair), object(closed.priv, opened.priv)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.find(attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(c.typ, c.val))
			if !sameObjects(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

func sameObjects(a, b []pkcs11.ObjectHandle) bool {
	seen := map[pkcs11.ObjectHandle]int{}
	for _, o := range a {
		seen[o]++
	}
	for _, o := range b {
		seen[o]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return len(a) == len(b)
}
