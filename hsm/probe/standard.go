package probe

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm/internal/bare"
)

var (
	oidP256    = []byte{0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}
	digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
)

const rsaBits = 2048

// kind is a kind of key pair: how it is asked for, and how a signature of it is checked. Wrapping uses the same.
type kind struct {
	name     string // of package firmware's wrap section
	shape    shape
	describe []*pkcs11.Attribute // what the public template says beside flags
	sign     uint
	param    any
	public   func(h pkcs11.ObjectHandle) (tester, error)
}

// tester asks something of a key and checks the answer.
type tester struct {
	ask   func() []byte
	check func(in, sig []byte) error
}

func randomDigest() []byte { return append(newID(), newID()...) }

var errWrong = errors.New("the signature does not verify")

func (r *run) p256(note func(form string)) kind {
	return kind{name: "ecdsa", shape: shape{number: pkcs11.CKM_EC_KEY_PAIR_GEN, keyType: pkcs11.CKK_EC, typed: true}, sign: pkcs11.CKM_ECDSA,
		describe: []*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, oidP256)},
		public: func(h pkcs11.ObjectHandle) (tester, error) {
			b, err := r.attribute(h, pkcs11.CKA_EC_POINT)
			if err != nil {
				return tester{}, fmt.Errorf("reading CKA_EC_POINT: %w", err)
			}
			form, point := pointForm(b)
			note(form)
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
			if err != nil {
				return tester{}, fmt.Errorf("CKA_EC_POINT of %d bytes: %w", len(b), err)
			}
			return tester{randomDigest, func(digest, sig []byte) error {
				if len(sig) != 64 || !ecdsa.Verify(key, digest, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
					return errWrong
				}
				return nil
			}}, nil
		}}
}

func (r *run) rsa2048() kind {
	return kind{name: "rsa", shape: shape{number: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, keyType: pkcs11.CKK_RSA, typed: true}, sign: pkcs11.CKM_RSA_PKCS,
		describe: []*pkcs11.Attribute{attr(pkcs11.CKA_MODULUS_BITS, rsaBits), attr(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})},
		public: func(h pkcs11.ObjectHandle) (tester, error) {
			n, err := r.attribute(h, pkcs11.CKA_MODULUS)
			if err != nil {
				return tester{}, fmt.Errorf("reading CKA_MODULUS: %w", err)
			}
			key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
			ask := func() []byte { return append(bytes.Clone(digestInfo), randomDigest()...) }
			return tester{ask, func(in, sig []byte) error {
				if rsa.VerifyPKCS1v15(key, crypto.SHA256, in[len(digestInfo):], sig) != nil {
					return errWrong
				}
				return nil
			}}, nil
		}}
}

// pairs makes a pair of the kind with the appliance's flags, or with an extractable private half for wrapping.
func (r *run) pairs(k kind, extractable bool) (pub, priv pkcs11.ObjectHandle, err error) {
	private := asked(r.t.Private)
	for i, f := range private {
		if f.Kind == pkcs11.CKA_EXTRACTABLE {
			private[i].Value = extractable
		}
	}
	public := append(r.flagged(k.shape, pkcs11.CKO_PUBLIC_KEY, asked(r.t.Public)), k.describe...)
	return r.pairOf(k.shape.number, public, r.flagged(k.shape, pkcs11.CKO_PRIVATE_KEY, private))
}

// tryKey has the key sign one random input and checks the answer.
func (r *run) tryKey(k kind, priv pkcs11.ObjectHandle, t tester) error {
	in := t.ask()
	if err := r.c.SignInit(r.desk, mech(k.sign, k.param), priv); err != nil {
		return errors.Join(err, r.renew())
	}
	sig, err := r.c.Sign(r.desk, in)
	if err != nil {
		return errors.Join(err, r.renew())
	}
	return t.check(in, sig)
}

func (r *run) ecdsa(context.Context) error {
	var form string
	works, why, err := r.standard(r.p256(func(f string) { form = f }))
	if err != nil || why == notListed {
		return err
	}
	r.f.ECDSA = &Standard{Works: works, Bits: 256, Point: form, Output: "raw64", Note: why}
	if !works {
		r.f.ECDSA.Output = ""
	}
	return nil
}

func (r *run) rsa(context.Context) error {
	works, why, err := r.standard(r.rsa2048())
	if err != nil || why == notListed {
		return err
	}
	r.f.RSA = &Standard{Works: works, Bits: rsaBits, Note: why}
	return nil
}

const notListed = "not listed"

// standard tries a kind whose mechanisms the token lists.
func (r *run) standard(k kind) (works bool, why string, err error) {
	if !r.offers(k.shape.number, pkcs11.CKF_GENERATE_KEY_PAIR) || !r.offers(k.sign, pkcs11.CKF_SIGN) {
		return false, notListed, nil
	}
	pub, priv, err := r.pairs(k, false)
	if err != nil {
		return false, err.Error(), fatal(err)
	}
	defer r.drop(pub, priv)
	test, err := k.public(pub)
	if err == nil {
		err = r.tryKey(k, priv, test)
	}
	if err != nil {
		return false, err.Error(), fatal(err)
	}
	return true, "", nil
}

// fatal passes on only errors after which nothing more can be measured.
func fatal(err error) error {
	if over(err) {
		return err
	}
	return nil
}

// secret makes an AES-256 key for one of two jobs.
func (r *run) secret(flags []bare.Flag) (pkcs11.ObjectHandle, error) {
	t := r.flagged(shape{keyType: pkcs11.CKK_AES, typed: true}, pkcs11.CKO_SECRET_KEY, flags)
	h, err := r.c.GenerateKey(r.t.Login, mech(pkcs11.CKM_AES_KEY_GEN, nil), append(t, attr(pkcs11.CKA_VALUE_LEN, 32)))
	if err == nil {
		r.keep("AES key", h)
	}
	return h, err
}

func (r *run) aes(context.Context) error {
	if !r.offers(pkcs11.CKM_AES_KEY_GEN, pkcs11.CKF_GENERATE) {
		return nil
	}
	r.f.AES = &AES{}
	h, err := r.secret(asked(r.t.Secret))
	if err != nil {
		r.f.AES.Note = err.Error()
		return fatal(err)
	}
	defer r.drop(h)
	r.f.AES.Works = true
	if err := r.readBack("secret", h, r.t.Secret); err != nil {
		return err
	}
	if !r.offers(pkcs11.CKM_AES_GCM, pkcs11.CKF_ENCRYPT) || !r.offers(pkcs11.CKM_AES_GCM, pkcs11.CKF_DECRYPT) {
		r.f.AES.Note = "GCM is not listed"
		return nil
	}
	if err := r.gcm(h); err != nil {
		r.f.AES.Note = "GCM: " + err.Error()
		return errors.Join(fatal(err), r.renew())
	}
	r.f.AES.GCM = true
	return nil
}

// gcm sends a text through and back, and a changed one, which must not come back.
func (r *run) gcm(h pkcs11.ObjectHandle) error {
	nonce, text := make([]byte, 12), make([]byte, 48)
	rand.Read(nonce)
	rand.Read(text)
	through := func(in []byte, start func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error,
		end func(pkcs11.SessionHandle, []byte) ([]byte, error)) ([]byte, error) {
		p := pkcs11.NewGCMParams(nonce, []byte("probe"), 128)
		defer p.Free()
		if err := start(r.desk, mech(pkcs11.CKM_AES_GCM, p), h); err != nil {
			return nil, err
		}
		return end(r.desk, in)
	}
	sealed, err := through(text, r.c.EncryptInit, r.c.Encrypt)
	if err != nil {
		return err
	}
	back, err := through(sealed, r.c.DecryptInit, r.c.Decrypt)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, text) || len(sealed) != len(text)+16 {
		return errors.New("the text does not come back")
	}
	sealed[3] ^= 1
	if _, err := through(sealed, r.c.DecryptInit, r.c.Decrypt); err == nil {
		return errors.New("a changed text is accepted")
	}
	return r.renew()
}
