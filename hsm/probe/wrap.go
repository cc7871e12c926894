package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/internal/bare"
)

// ckmKeyWrapKWP is CKM_AES_KEY_WRAP_KWP of PKCS#11 3.0, which the binding does not name.
const ckmKeyWrapKWP = 0x210B

// wrapMechanisms in order of preference, with the names of package firmware.
var wrapMechanisms = []struct {
	number uint
	name   string
}{{ckmKeyWrapKWP, "aes-kwp"}, {pkcs11.CKM_AES_KEY_WRAP_PAD, "aes-kwp"}, {pkcs11.CKM_AES_KEY_WRAP, "aes-kw"}, {pkcs11.CKM_AES_GCM, "aes-gcm"}}

// kekFlags are those of a key that wraps and does nothing else: one that could also decrypt would turn a blob into clear text.
var kekFlags = []bare.Flag{{Name: "CKA_PRIVATE", Kind: pkcs11.CKA_PRIVATE, Value: true}, {Name: "CKA_SENSITIVE", Kind: pkcs11.CKA_SENSITIVE, Value: true},
	{Name: "CKA_EXTRACTABLE", Kind: pkcs11.CKA_EXTRACTABLE}, {Name: "CKA_WRAP", Kind: pkcs11.CKA_WRAP, Value: true},
	{Name: "CKA_UNWRAP", Kind: pkcs11.CKA_UNWRAP, Value: true}, {Name: "CKA_ENCRYPT", Kind: pkcs11.CKA_ENCRYPT}, {Name: "CKA_DECRYPT", Kind: pkcs11.CKA_DECRYPT}}

// wrapping takes a private key of each kind through each mechanism and back.
func (r *run) wrapping(ctx context.Context) error {
	if r.f.AES == nil || !r.f.AES.Works {
		return nil
	}
	kek, err := r.secret(kekFlags)
	if err != nil {
		r.f.note("no key that wraps and does nothing else: %v", err)
		return fatal(err)
	}
	defer r.drop(kek)
	for _, k := range r.wrappable() {
		for _, m := range wrapMechanisms {
			if !r.offers(m.number, pkcs11.CKF_WRAP) || !r.offers(m.number, pkcs11.CKF_UNWRAP) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			w := Wrap{Algorithm: k.name, Mechanism: firmware.Number(m.number), Name: m.name}
			err := r.roundTrip(kek, k, &w)
			if w.Works = err == nil; err != nil {
				w.Note = err.Error()
			}
			r.f.Wrapping = append(r.f.Wrapping, w)
			if over(err) {
				return err
			}
		}
	}
	return nil
}

// wrappable are the kinds that work at all.
func (r *run) wrappable() []kind {
	var all []kind
	if r.sm2 != nil && r.use != nil {
		all = append(all, r.sm2Kind())
	}
	if e := r.f.ECDSA; e != nil && e.Works {
		all = append(all, r.p256(func(string) {}))
	}
	if e := r.f.RSA; e != nil && e.Works {
		all = append(all, r.rsa2048())
	}
	return all
}

// sm2Kind is SM2 as measured, for what treats all kinds alike.
func (r *run) sm2Kind() kind {
	k := kind{name: "sm2", shape: r.sm2.shape, sign: uint(r.use.Mechanism)}
	if r.use.Input == firmware.InputZParam {
		k.param = otherID
	}
	if k.shape.oid {
		k.describe = []*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, oidSM2)}
	}
	k.public = func(h pkcs11.ObjectHandle) (tester, error) {
		p := &pair{pub: h}
		if err := r.readPoint(p); err != nil {
			return tester{}, err
		}
		return r.sm2Tester(p), nil
	}
	return k
}

// sm2Tester judges by what the mechanism in use was found to do.
func (r *run) sm2Tester(p *pair) tester {
	return tester{randomDigest, func(in, sig []byte) error {
		if inputs, _ := p.match(sig, p.only(r.use.Input, in, otherID)); len(inputs) == 0 {
			return errWrong
		}
		return nil
	}}
}

// roundTrip wraps a new key, destroys it, unwraps the blob as the appliance would, and has the result sign.
func (r *run) roundTrip(kek pkcs11.ObjectHandle, k kind, w *Wrap) error {
	pub, priv, err := r.pairs(k, true)
	if err != nil {
		return fmt.Errorf("making an extractable key: %w", err)
	}
	defer r.drop(pub, priv)
	test, err := k.public(pub)
	if err != nil {
		return err
	}
	nonce := make([]byte, 12)
	rand.Read(nonce)
	mechanism := func() ([]*pkcs11.Mechanism, func()) {
		if uint(w.Mechanism) != pkcs11.CKM_AES_GCM {
			return mech(uint(w.Mechanism), nil), func() {}
		}
		p := pkcs11.NewGCMParams(nonce, nil, 128)
		return mech(uint(w.Mechanism), p), p.Free
	}
	m, free := mechanism()
	blob, err := r.c.WrapKey(r.t.Login, m, kek, priv)
	free()
	if err != nil {
		return fmt.Errorf("wrapping: %w", err)
	}
	r.drop(priv)
	w.Bytes = len(blob)
	m, free = mechanism()
	defer free()
	back, err := r.unwrap(kek, k, m, blob)
	if err != nil {
		return fmt.Errorf("unwrapping: %w", err)
	}
	defer r.drop(back)
	if err := r.tryKey(k, back, test); err != nil {
		return fmt.Errorf("signing with the unwrapped key: %w", err)
	}
	return errors.Join(r.closed(back), r.tampered(kek, k, m, blob, w))
}

// unwrap makes a session key that may sign and never leave again.
func (r *run) unwrap(kek pkcs11.ObjectHandle, k kind, m []*pkcs11.Mechanism, blob []byte) (pkcs11.ObjectHandle, error) {
	t := []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(pkcs11.CKA_KEY_TYPE, k.shape.keyType), attr(pkcs11.CKA_TOKEN, false),
		attr(pkcs11.CKA_LABEL, r.tag), attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_SIGN, true)}
	h, err := r.c.UnwrapKey(r.t.Login, m, kek, blob, t)
	if err == nil {
		r.keep("unwrapped key", h)
	}
	return h, err
}

// closed makes sure that the unwrapped key is sensitive and cannot be wrapped again.
func (r *run) closed(h pkcs11.ObjectHandle) error {
	for kind, want := range map[uint]byte{pkcs11.CKA_SENSITIVE: 1, pkcs11.CKA_EXTRACTABLE: 0} {
		if v, err := r.attribute(h, kind); err != nil || len(v) != 1 || v[0] != want {
			return fmt.Errorf("the unwrapped key's attribute 0x%x reads %x (%v), want %d", kind, v, err, want)
		}
	}
	return nil
}

// tampered turns one bit of the blob: a mechanism that accepts that protects nothing.
func (r *run) tampered(kek pkcs11.ObjectHandle, k kind, m []*pkcs11.Mechanism, blob []byte, w *Wrap) error {
	blob[len(blob)/2] ^= 1
	h, err := r.unwrap(kek, k, m, blob)
	if err == nil {
		r.drop(h)
		w.Tampered = "accepted"
		return errors.New("a blob with one bit turned is unwrapped")
	}
	w.Tampered = "refused: " + err.Error()
	return fatal(err)
}
