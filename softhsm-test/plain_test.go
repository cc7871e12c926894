package softhsmtest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	softhsmtest "sealkeeper/softhsm-test"
)

// modules are the two a test may ask for; what concerns no SM2 key is the same.
var modules = []struct {
	name string
	opts []softhsmtest.Option
}{
	{"with SM2", nil},
	{"plain", []softhsmtest.Option{softhsmtest.Plain()}},
}

func TestOtherAlgorithmsPassThrough(t *testing.T) {
	for _, m := range modules {
		t.Run(m.name, func(t *testing.T) {
			r := open(t, m.opts...)
			r.checkP256()
			r.checkRSA()
			r.checkAES()
		})
	}
}

func (r *rig) checkP256() {
	r.t.Helper()
	pub, priv, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params), attr(pkcs11.CKA_TOKEN, true)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_TOKEN, true), attr(pkcs11.CKA_PRIVATE, true),
			attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_EXTRACTABLE, false)})
	r.ok(err)
	digest := randomBytes(r.t, 32)
	x, y := halves(r.sign(pkcs11.CKM_ECDSA, nil, priv, digest))
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), r.get(pub, pkcs11.CKA_EC_POINT)[2:])
	r.ok(err)
	if !ecdsa.Verify(key, digest, x, y) {
		r.t.Error("the P-256 signature does not verify")
	}
	if got, want := r.private(priv), (private{1, 1, 0, 1, 1, pkcs11.CKM_EC_KEY_PAIR_GEN}); got != want {
		r.t.Errorf("the P-256 key reads %+v, want %+v", got, want)
	}
}

func (r *rig) checkRSA() {
	r.t.Helper()
	pub, priv, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_MODULUS_BITS, 2048), attr(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true)})
	r.ok(err)
	msg := randomBytes(r.t, 100)
	r.ok(r.p.SignInit(r.s, mech(pkcs11.CKM_SHA256_RSA_PKCS, nil), priv))
	r.ok(r.p.SignUpdate(r.s, msg[:40]))
	r.ok(r.p.SignUpdate(r.s, msg[40:]))
	sig, err := r.p.SignFinal(r.s)
	r.ok(err)
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(r.get(pub, pkcs11.CKA_MODULUS)), E: 65537}
	digest := sha256.Sum256(msg)
	r.ok(rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig))
}

func (r *rig) checkAES() {
	r.t.Helper()
	key, err := r.p.GenerateKey(r.s, mech(pkcs11.CKM_AES_KEY_GEN, nil), []*pkcs11.Attribute{
		attr(pkcs11.CKA_VALUE_LEN, 32), attr(pkcs11.CKA_ENCRYPT, true), attr(pkcs11.CKA_DECRYPT, true)})
	r.ok(err)
	iv, clear := randomBytes(r.t, 16), []byte("sixteen bytes and some more")
	m := mech(pkcs11.CKM_AES_CBC_PAD, iv)
	r.ok(r.p.EncryptInit(r.s, m, key))
	sealed, err := r.p.Encrypt(r.s, clear)
	r.ok(err)
	r.ok(r.p.DecryptInit(r.s, m, key))
	opened, err := r.p.Decrypt(r.s, sealed)
	r.ok(err)
	if !bytes.Equal(opened, clear) {
		r.t.Error("AES does not decrypt what it encrypted")
	}
	wrapped, err := r.p.GenerateKey(r.s, mech(pkcs11.CKM_AES_KEY_GEN, nil), []*pkcs11.Attribute{
		attr(pkcs11.CKA_VALUE_LEN, 32), attr(pkcs11.CKA_EXTRACTABLE, true), attr(pkcs11.CKA_SENSITIVE, false)})
	r.ok(err)
	r.checkAESWrap(wrapped)
}

// An AES key wrapped and unwrapped comes back the same: secrets that hold no
// SM2 key pass the module unhindered, readable or not.
func (r *rig) checkAESWrap(key pkcs11.ObjectHandle) {
	r.t.Helper()
	kek := r.kek()
	blob, err := r.p.WrapKey(r.s, wrapMechanisms[1].m, kek, key)
	r.ok(err)
	o, err := r.p.UnwrapKey(r.s, wrapMechanisms[1].m, kek, blob, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		attr(pkcs11.CKA_SENSITIVE, false), attr(pkcs11.CKA_EXTRACTABLE, true)})
	r.ok(err)
	if !bytes.Equal(r.get(o, pkcs11.CKA_VALUE), r.get(key, pkcs11.CKA_VALUE)) {
		r.t.Error("the unwrapped AES key is not the wrapped one")
	}
}

// The fault the module exists for: plain SoftHSM2 answers with ECDSA.
func TestPlainModuleHasNoSM2(t *testing.T) {
	r := open(t, softhsmtest.Plain())
	_, _, err := r.p.GenerateKeyPair(r.s, mech(mechKeyPair, nil), nil, nil)
	refused(t, err, pkcs11.CKR_MECHANISM_INVALID)
}

func TestModuleAnnouncesItself(t *testing.T) {
	r := open(t)
	info, err := r.p.GetInfo()
	r.ok(err)
	if info.LibraryDescription != "Sealkeeper SM2 simulator" || info.ManufacturerID != "Sealkeeper (simulated)" {
		t.Errorf("the library calls itself %q of %q", info.LibraryDescription, info.ManufacturerID)
	}
	token, err := r.p.GetTokenInfo(r.slot)
	r.ok(err)
	if token.Model != "SoftHSM2+SM2 sim" || token.SerialNumber != r.token.Serial {
		t.Errorf("the token is model %q serial %q, want serial %q", token.Model, token.SerialNumber, r.token.Serial)
	}
	if !strings.HasPrefix(r.token.Label, t.Name()[:20]) {
		t.Errorf("label %q does not name the test", r.token.Label)
	}
}

func TestMechanisms(t *testing.T) {
	r := open(t)
	list, err := r.p.GetMechanismList(r.slot)
	r.ok(err)
	var types []uint
	for _, m := range list {
		types = append(types, m.Mechanism)
	}
	for _, c := range []struct {
		m     uint
		flags uint
	}{
		{mechKeyPair, pkcs11.CKF_GENERATE_KEY_PAIR},
		{mechSM3SM2, pkcs11.CKF_SIGN | pkcs11.CKF_VERIFY},
		{mechSM2E, pkcs11.CKF_SIGN | pkcs11.CKF_VERIFY},
	} {
		if !slices.Contains(types, c.m) {
			t.Errorf("mechanism %#x is not listed", c.m)
		}
		info, err := r.p.GetMechanismInfo(r.slot, mech(c.m, nil))
		r.ok(err)
		if info.Flags&c.flags != c.flags || info.MinKeySize != 256 || info.MaxKeySize != 256 {
			t.Errorf("mechanism %#x: %+v", c.m, info)
		}
		_, err = r.p.GetMechanismInfo(r.slot+1, mech(c.m, nil))
		refused(t, err, pkcs11.CKR_SLOT_ID_INVALID)
	}
	if !slices.Contains(types, pkcs11.CKM_AES_KEY_WRAP_PAD) {
		t.Error("SoftHSM2's own mechanisms are gone")
	}
}
