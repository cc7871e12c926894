package softhsmtest_test

import (
	"bytes"
	"testing"

	"github.com/miekg/pkcs11"
)

// n-1 of the SM2 curve: 1 + d has no inverse.
var orderLessOne = []byte{0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
	0x72, 0x03, 0xDF, 0x6B, 0x21, 0xC6, 0x05, 0x2B, 0x53, 0xBB, 0xF4, 0x09, 0x39, 0xD5, 0x41, 0x22}

func TestRefusedTemplates(t *testing.T) {
	r := open(t)
	for _, c := range []struct {
		name string
		pub  *pkcs11.Attribute
		priv *pkcs11.Attribute
		m    []*pkcs11.Mechanism
		want uint
	}{
		{"readable", nil, attr(pkcs11.CKA_SENSITIVE, false), nil, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"public private key", nil, attr(pkcs11.CKA_PRIVATE, false), nil, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"another curve", attr(pkcs11.CKA_EC_PARAMS, p256Params), nil, nil, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"sign recover", nil, attr(pkcs11.CKA_SIGN_RECOVER, true), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"unwrap", nil, attr(pkcs11.CKA_UNWRAP, true), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"PIN each time", nil, attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"long boolean", nil, attr(pkcs11.CKA_EXTRACTABLE, []byte{0, 0}), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"allows ECDSA", nil, attr(pkcs11.CKA_ALLOWED_MECHANISMS, ulong(pkcs11.CKM_ECDSA)), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"allows half a number", nil, attr(pkcs11.CKA_ALLOWED_MECHANISMS, []byte{1, 2, 3}), nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"mechanism parameter", nil, nil, mech(mechKeyPair, []byte{1}), pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"readable, EC mechanism", attr(pkcs11.CKA_EC_PARAMS, sm2Params), attr(pkcs11.CKA_SENSITIVE, false),
			mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil), pkcs11.CKR_TEMPLATE_INCONSISTENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			pub, priv := []*pkcs11.Attribute{}, []*pkcs11.Attribute{}
			if c.pub != nil {
				pub = append(pub, c.pub)
			}
			if c.priv != nil {
				priv = append(priv, c.priv)
			}
			if c.m == nil {
				c.m = mech(mechKeyPair, nil)
			}
			_, _, err := r.p.GenerateKeyPair(r.s, c.m, pub, priv)
			refused(t, err, c.want)
		})
	}
	if left := r.find(); len(left) != 0 {
		t.Errorf("refused calls left %d objects", len(left))
	}
}

func TestRefusedImports(t *testing.T) {
	r := open(t)
	base := []*pkcs11.Attribute{attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC), attr(pkcs11.CKA_EC_PARAMS, sm2Params)}
	private := append(base, attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY))
	public := append(base[:2:2], attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY))
	d := append([]byte{1}, make([]byte, 31)...)
	offCurve := append([]byte{0x04, 0x41, 0x04}, bytes.Repeat([]byte{1}, 64)...)
	for _, c := range []struct {
		name string
		base []*pkcs11.Attribute
		more []*pkcs11.Attribute
		want uint
	}{
		{"readable", private, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, d), attr(pkcs11.CKA_SENSITIVE, false)}, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"zero", private, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, make([]byte, 32))}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"n-1", private, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, orderLessOne)}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"too long", private, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, make([]byte, 33))}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"no value", private, nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"point off the curve", public, []*pkcs11.Attribute{attr(pkcs11.CKA_EC_POINT, offCurve)}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"no point", public, nil, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.p.CreateObject(r.s, append(c.base[:3:3], c.more...))
			refused(t, err, c.want)
		})
	}
}

func TestRefusedChanges(t *testing.T) {
	r := open(t)
	k := r.generate(attr(pkcs11.CKA_EXTRACTABLE, true))
	before := r.private(k.priv)
	for _, c := range []struct {
		name string
		a    *pkcs11.Attribute
	}{
		{"extractable", attr(pkcs11.CKA_EXTRACTABLE, true)},
		{"readable", attr(pkcs11.CKA_SENSITIVE, false)},
		{"value", attr(pkcs11.CKA_VALUE, make([]byte, 32))},
		{"curve", attr(pkcs11.CKA_EC_PARAMS, p256Params)},
		{"never extractable", attr(pkcs11.CKA_NEVER_EXTRACTABLE, true)},
		{"always sensitive", attr(pkcs11.CKA_ALWAYS_SENSITIVE, false)},
		{"sign recover", attr(pkcs11.CKA_SIGN_RECOVER, true)},
		{"unwrap", attr(pkcs11.CKA_UNWRAP, true)},
		{"private", attr(pkcs11.CKA_PRIVATE, false)},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, r.p.SetAttributeValue(r.s, k.priv, []*pkcs11.Attribute{c.a}), pkcs11.CKR_ATTRIBUTE_READ_ONLY)
			_, err := r.p.CopyObject(r.s, k.priv, []*pkcs11.Attribute{c.a})
			refused(t, err, pkcs11.CKR_ATTRIBUTE_READ_ONLY)
		})
	}
	if after := r.private(k.priv); after != before {
		t.Errorf("refused changes changed %+v to %+v", before, after)
	}
	r.ok(r.p.SetAttributeValue(r.s, k.priv, []*pkcs11.Attribute{attr(pkcs11.CKA_LABEL, "new label")}))
	if string(r.get(k.priv, pkcs11.CKA_LABEL)) != "new label" {
		t.Error("a harmless change is not made")
	}
}

func TestRefusedOperations(t *testing.T) {
	r := open(t)
	k := r.generate()
	p256pub, p256, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params)}, []*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true)})
	r.ok(err)
	unable := r.generate(attr(pkcs11.CKA_SIGN, false))
	longID := bytes.Repeat([]byte("x"), 8192)
	for _, c := range []struct {
		name  string
		m     []*pkcs11.Mechanism
		key   pkcs11.ObjectHandle
		check bool
		want  uint
	}{
		{"ECDSA with an SM2 key", mech(pkcs11.CKM_ECDSA, nil), k.priv, false, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"verify ECDSA with an SM2 key", mech(pkcs11.CKM_ECDSA, nil), k.pub, true, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"SM2 with a P-256 key", mech(mechSM2E, nil), p256, false, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"SM2 message with a P-256 key", mech(mechSM3SM2, nil), p256, false, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"verify SM2 with a P-256 key", mech(mechSM2E, nil), p256pub, true, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"sign with the public key", mech(mechSM2E, nil), k.pub, false, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"verify with the private key", mech(mechSM2E, nil), k.priv, true, pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		{"parameter beside e", mech(mechSM2E, []byte{1}), k.priv, false, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"identity too long", mech(mechSM3SM2, longID), k.priv, false, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"key may not sign", mech(mechSM2E, nil), unable.priv, false, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		{"no such key", mech(mechSM2E, nil), 99999, false, pkcs11.CKR_OBJECT_HANDLE_INVALID},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.check {
				refused(t, r.p.VerifyInit(r.s, c.m, c.key), c.want)
			} else {
				refused(t, r.p.SignInit(r.s, c.m, c.key), c.want)
			}
			// Nothing may be left active in the session.
			if sig := r.sign(mechSM2E, nil, k.priv, randomBytes(t, 32)); len(sig) != 64 {
				t.Error("the session does not sign afterwards")
			}
		})
	}
}

func TestRefusedData(t *testing.T) {
	r := open(t)
	k := r.generate()
	for _, size := range []int{0, 1, 31, 33, 64} {
		_, err := r.signIn(r.s, mechSM2E, nil, k.priv, make([]byte, size))
		refused(t, err, pkcs11.CKR_DATA_LEN_RANGE)
	}
	r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
	refused(t, r.p.SignUpdate(r.s, make([]byte, 32)), pkcs11.CKR_OPERATION_NOT_INITIALIZED)
	_, err := r.p.Sign(r.s, make([]byte, 32))
	refused(t, err, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
}

// One operation a session: SoftHSM2 cannot see the SM2 one, the module must.
func TestOneOperationPerSession(t *testing.T) {
	r := open(t)
	k := r.generate()
	_, p256, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params)}, []*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true)})
	r.ok(err)
	r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
	refused(t, r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv), pkcs11.CKR_OPERATION_ACTIVE)
	refused(t, r.p.SignInit(r.s, mech(pkcs11.CKM_ECDSA, nil), p256), pkcs11.CKR_OPERATION_ACTIVE)
	refused(t, r.p.VerifyInit(r.s, mech(mechSM2E, nil), k.pub), pkcs11.CKR_OPERATION_ACTIVE)
	refused(t, r.p.DigestInit(r.s, mech(pkcs11.CKM_SHA256, nil)), pkcs11.CKR_OPERATION_ACTIVE)
	if sig, err := r.p.Sign(r.s, make([]byte, 32)); err != nil || len(sig) != 64 {
		t.Errorf("the first operation is lost: %v", err)
	}
	r.ok(r.p.SignInit(r.s, mech(pkcs11.CKM_ECDSA, nil), p256))
	refused(t, r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv), pkcs11.CKR_OPERATION_ACTIVE)
	_, err = r.p.Sign(r.s, make([]byte, 32))
	r.ok(err)
}

func TestNoKeyAgreement(t *testing.T) {
	r := open(t)
	k := r.generate(attr(pkcs11.CKA_DERIVE, true))
	point := r.get(k.pub, pkcs11.CKA_EC_POINT)[2:]
	_, err := r.p.DeriveKey(r.s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE,
		pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, point))}, k.priv,
		[]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
			attr(pkcs11.CKA_VALUE_LEN, 32), attr(pkcs11.CKA_SENSITIVE, false), attr(pkcs11.CKA_EXTRACTABLE, true)})
	refused(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
}
