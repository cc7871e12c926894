package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/internal/bare"
)

// carriers are the mechanisms by which a KEK can be carried to another token's RSA key, in order of preference, with the names of package firmware.
var carriers = []struct {
	number uint
	name   string
	param  func() any
}{
	{pkcs11.CKM_RSA_PKCS_OAEP, "rsa-oaep-sha256", func() any {
		return pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil)
	}},
	{pkcs11.CKM_RSA_PKCS_OAEP, "rsa-oaep-sha1", func() any {
		return pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil)
	}},
	{pkcs11.CKM_RSA_PKCS, "rsa-pkcs", func() any { return nil }},
}

// transportPrivate and transportPublic are the flags of the pair that carries: its private half unwraps and does nothing else.
var (
	transportPrivate = []bare.Flag{{Name: "CKA_PRIVATE", Kind: pkcs11.CKA_PRIVATE, Value: true}, {Name: "CKA_SENSITIVE", Kind: pkcs11.CKA_SENSITIVE, Value: true},
		{Name: "CKA_EXTRACTABLE", Kind: pkcs11.CKA_EXTRACTABLE}, {Name: "CKA_UNWRAP", Kind: pkcs11.CKA_UNWRAP, Value: true},
		{Name: "CKA_DECRYPT", Kind: pkcs11.CKA_DECRYPT}, {Name: "CKA_SIGN", Kind: pkcs11.CKA_SIGN}}
	transportPublic = []bare.Flag{{Name: "CKA_WRAP", Kind: pkcs11.CKA_WRAP, Value: true}, {Name: "CKA_ENCRYPT", Kind: pkcs11.CKA_ENCRYPT},
		{Name: "CKA_VERIFY", Kind: pkcs11.CKA_VERIFY}}
)

// carrying takes a KEK to an RSA key and back, and has the copy wrap what the first one wraps: key wrap gives the same blob for the same key.
func (r *run) carrying(ctx context.Context) error {
	wrap := r.plainWrap()
	if r.f.AES == nil || !r.f.AES.Works || r.f.RSA == nil || !r.f.RSA.Works || wrap == 0 {
		return nil
	}
	pub, priv, err := r.transportPair()
	if err != nil {
		r.f.note("no RSA key that unwraps and does nothing else: %v", err)
		return fatal(err)
	}
	defer r.drop(pub, priv)
	for _, c := range carriers {
		if !r.offers(c.number, pkcs11.CKF_WRAP) || !r.offers(c.number, pkcs11.CKF_UNWRAP) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		w := Wrap{Algorithm: "kek", Mechanism: firmware.Number(c.number), Name: c.name}
		err := r.carry(pub, priv, wrap, func() []*pkcs11.Mechanism { return mech(c.number, c.param()) }, &w)
		if w.Works = err == nil; err != nil {
			w.Note = err.Error()
		}
		r.f.Wrapping = append(r.f.Wrapping, w)
		if over(err) {
			return err
		}
	}
	return nil
}

// plainWrap is a listed mechanism that wraps without a nonce, 0 for none.
func (r *run) plainWrap() uint {
	for _, m := range wrapMechanisms {
		if m.number != pkcs11.CKM_AES_GCM && r.offers(m.number, pkcs11.CKF_WRAP) {
			return m.number
		}
	}
	return 0
}

func (r *run) transportPair() (pub, priv pkcs11.ObjectHandle, err error) {
	k := r.rsa2048()
	public := append(r.flagged(k.shape, pkcs11.CKO_PUBLIC_KEY, transportPublic), k.describe...)
	return r.pairOf(k.shape.number, public, r.flagged(k.shape, pkcs11.CKO_PRIVATE_KEY, transportPrivate))
}

func (r *run) carry(pub, priv pkcs11.ObjectHandle, wrap uint, m func() []*pkcs11.Mechanism, w *Wrap) error {
	kek, err := r.secret(extractable(kekFlags))
	if err != nil {
		return fmt.Errorf("making an extractable KEK: %w", err)
	}
	defer r.drop(kek)
	blob, err := r.c.WrapKey(r.t.Login, m(), pub, kek)
	if err != nil {
		return fmt.Errorf("wrapping: %w", err)
	}
	w.Bytes = len(blob)
	t := append(r.flagged(shape{keyType: pkcs11.CKK_AES, typed: true}, pkcs11.CKO_SECRET_KEY, kekFlags), attr(pkcs11.CKA_VALUE_LEN, 32))
	copied, err := r.c.UnwrapKey(r.t.Login, m(), priv, blob, t)
	if err != nil {
		copied, err = r.c.UnwrapKey(r.t.Login, m(), priv, blob, t[:len(t)-1]) // some tokens take no length here
	}
	if err != nil {
		return fmt.Errorf("unwrapping: %w", err)
	}
	r.keep("carried KEK", copied)
	defer r.drop(copied)
	return errors.Join(r.closed(copied), r.alike(wrap, kek, copied))
}

// alike has both keys wrap a third.
func (r *run) alike(wrap uint, a, b pkcs11.ObjectHandle) error {
	third, err := r.secret(extractable(kekFlags))
	if err != nil {
		return err
	}
	defer r.drop(third)
	x, err := r.c.WrapKey(r.t.Login, mech(wrap, nil), a, third)
	if err != nil {
		return fmt.Errorf("wrapping with the KEK: %w", err)
	}
	y, err := r.c.WrapKey(r.t.Login, mech(wrap, nil), b, third)
	if err != nil {
		return fmt.Errorf("wrapping with the carried KEK: %w", err)
	}
	if !bytes.Equal(x, y) {
		return errors.New("the carried KEK is another key")
	}
	return nil
}

func extractable(flags []bare.Flag) []bare.Flag {
	out := slices.Clone(flags)
	for i, f := range out {
		if f.Kind == pkcs11.CKA_EXTRACTABLE {
			out[i].Value = true
		}
	}
	return out
}
