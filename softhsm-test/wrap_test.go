package softhsmtest_test

import (
	"bytes"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"
)

// kek makes an AES key that wraps and unwraps.
func (r *rig) kek() pkcs11.ObjectHandle {
	r.t.Helper()
	o, err := r.p.GenerateKey(r.s, mech(pkcs11.CKM_AES_KEY_GEN, nil), []*pkcs11.Attribute{
		attr(pkcs11.CKA_TOKEN, true), attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_VALUE_LEN, 32), attr(pkcs11.CKA_WRAP, true), attr(pkcs11.CKA_UNWRAP, true)})
	r.ok(err)
	return o
}

// ecTemplate describes an unwrapped private key, with more attributes.
func ecTemplate(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_SIGN, true)}, more...)
}

var wrapMechanisms = []struct {
	name string
	m    []*pkcs11.Mechanism
}{
	{"KW", mech(pkcs11.CKM_AES_KEY_WRAP, nil)},
	{"KWP", mech(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)},
}

func TestWrapRoundTrip(t *testing.T) {
	r := open(t)
	kek := r.kek()
	for _, w := range wrapMechanisms {
		t.Run(w.name, func(t *testing.T) {
			k := r.generateAs(false, attr(pkcs11.CKA_EXTRACTABLE, true))
			pub := r.public(k)
			blob, err := r.p.WrapKey(r.s, w.m, kek, k.priv)
			r.ok(err)
			if len(blob) != 80 {
				t.Errorf("the blob has %d bytes, want 80", len(blob))
			}
			r.ok(r.p.DestroyObject(r.s, k.priv))
			o, err := r.p.UnwrapKey(r.s, w.m, kek, blob, ecTemplate())
			r.ok(err)
			e := randomBytes(t, 32)
			if !sm2.VerifyASN1(pub, e, derSignature(t, r.sign(mechSM2E, nil, o, e))) {
				t.Error("the unwrapped key is not the wrapped one")
			}
			if got, want := r.private(o), (private{1, 0, 0, 0, 0, unavailable}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			_, err = r.p.WrapKey(r.s, w.m, kek, o)
			refused(t, err, pkcs11.CKR_KEY_UNEXTRACTABLE)
			_, err = r.p.GetAttributeValue(r.s, o, []*pkcs11.Attribute{attr(pkcs11.CKA_VALUE, nil)})
			refused(t, err, pkcs11.CKR_ATTRIBUTE_SENSITIVE)
			if secrets := r.find(attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)); !sameObjects(secrets, []pkcs11.ObjectHandle{kek}) {
				t.Errorf("unwrapping left secret objects: %v", secrets)
			}
		})
	}
}

func TestUnwrapRefusals(t *testing.T) {
	r := open(t)
	kek, other := r.kek(), r.kek()
	kwp := wrapMechanisms[1].m
	k := r.generateAs(false, attr(pkcs11.CKA_EXTRACTABLE, true))
	blob, err := r.p.WrapKey(r.s, kwp, kek, k.priv)
	r.ok(err)
	changed := bytes.Clone(blob)
	changed[40] ^= 1
	before := len(r.find())
	for _, c := range []struct {
		name     string
		kek      pkcs11.ObjectHandle
		blob     []byte
		template []*pkcs11.Attribute
		want     uint
	}{
		{"changed blob", kek, changed, ecTemplate(), pkcs11.CKR_GENERAL_ERROR},
		{"cut blob", kek, blob[:72], ecTemplate(), pkcs11.CKR_GENERAL_ERROR},
		{"length no multiple of 8", kek, blob[:79], ecTemplate(), pkcs11.CKR_WRAPPED_KEY_LEN_RANGE},
		{"other key", other, blob, ecTemplate(), pkcs11.CKR_GENERAL_ERROR},
		{"readable", kek, blob, ecTemplate()[:4], pkcs11.CKR_OK},
		{"value given", kek, blob, ecTemplate(attr(pkcs11.CKA_VALUE, make([]byte, 32))), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"another curve", kek, blob, ecTemplate(attr(pkcs11.CKA_EC_PARAMS, p256Params)), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"not sensitive", kek, blob, append(ecTemplate()[:4:4], attr(pkcs11.CKA_SENSITIVE, false)), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"as a readable secret", kek, blob, []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), attr(pkcs11.CKA_SENSITIVE, false), attr(pkcs11.CKA_EXTRACTABLE, true)},
			pkcs11.CKR_TEMPLATE_INCONSISTENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := r.p.UnwrapKey(r.s, kwp, c.kek, c.blob, c.template)
			if c.want != pkcs11.CKR_OK {
				refused(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			} else if got := r.private(o); got.sensitive != 1 || got.extractable != 0 {
				t.Errorf("left to the module, the key reads %+v", got)
			} else {
				r.ok(r.p.DestroyObject(r.s, o))
			}
		})
	}
	if after := len(r.find()); after != before {
		t.Errorf("refused calls changed the number of objects from %d to %d", before, after)
	}
}

// A resident key stays: it can be neither wrapped nor opened for wrapping.
func TestResidentKeyIsNotWrapped(t *testing.T) {
	r := open(t)
	kek, k := r.kek(), r.generate()
	for _, w := range wrapMechanisms {
		_, err := r.p.WrapKey(r.s, w.m, kek, k.priv)
		refused(t, err, pkcs11.CKR_KEY_UNEXTRACTABLE)
	}
}

// P-256 keys take SoftHSM2's own way.
func TestUnwrapOtherCurve(t *testing.T) {
	r := open(t)
	kek := r.kek()
	pub, priv, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_EXTRACTABLE, true)})
	r.ok(err)
	blob, err := r.p.WrapKey(r.s, wrapMechanisms[1].m, kek, priv)
	r.ok(err)
	o, err := r.p.UnwrapKey(r.s, wrapMechanisms[1].m, kek, blob, ecTemplate())
	r.ok(err)
	digest := randomBytes(t, 32)
	sig := r.sign(pkcs11.CKM_ECDSA, nil, o, digest)
	r.ok(r.p.VerifyInit(r.s, mech(pkcs11.CKM_ECDSA, nil), pub))
	r.ok(r.p.Verify(r.s, digest, sig))
}
