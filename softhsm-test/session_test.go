package softhsmtest_test

import (
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"

	softhsmtest "sealkeeper/softhsm-test"
)

// The vendor mechanisms of the SM2 module.
const (
	mechKeyPair = 0x80008001
	mechSM3SM2  = 0x80008100
	mechSM2E    = 0x80008105
)

var (
	sm2Params  = []byte{0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D}
	p256Params = []byte{0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}
)

// rig is a token opened through miekg/pkcs11, with one session logged in.
type rig struct {
	t     testing.TB
	token *softhsmtest.Token
	p     *pkcs11.Ctx
	slot  uint
	s     pkcs11.SessionHandle
}

// open loads the module of a fresh token and logs in.
func open(t testing.TB, opts ...softhsmtest.Option) *rig {
	t.Helper()
	return openToken(t, softhsmtest.New(t, opts...))
}

func openToken(t testing.TB, token *softhsmtest.Token) *rig {
	t.Helper()
	r := &rig{t: t, token: token, p: pkcs11.New(token.Module)}
	if r.p == nil {
		t.Fatalf("loading %s", token.Module)
	}
	r.start()
	t.Cleanup(func() {
		r.p.Finalize()
		r.p.Destroy()
	})
	return r
}

// start initialises the module, finds the slot by label and logs in.
func (r *rig) start() {
	r.t.Helper()
	r.ok(r.p.Initialize())
	r.slot, r.s = r.login(r.token)
}

// login finds a token's slot by label, never by number, and logs in.
func (r *rig) login(token *softhsmtest.Token) (slot uint, s pkcs11.SessionHandle) {
	r.t.Helper()
	slot = r.slotOf(token)
	s, err := r.p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	r.ok(err)
	r.ok(r.p.Login(s, pkcs11.CKU_USER, token.PIN()))
	return slot, s
}

func (r *rig) slotOf(token *softhsmtest.Token) uint {
	r.t.Helper()
	slots, err := r.p.GetSlotList(true)
	r.ok(err)
	for _, slot := range slots {
		info, err := r.p.GetTokenInfo(slot)
		r.ok(err)
		if info.Label == token.Label {
			return slot
		}
	}
	r.t.Fatalf("no token labelled %q", token.Label)
	return 0
}

func (r *rig) session() pkcs11.SessionHandle {
	r.t.Helper()
	s, err := r.p.OpenSession(r.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	r.ok(err)
	return s
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// refused fails unless err is the CKR code wanted.
func refused(t testing.TB, err error, want uint) {
	t.Helper()
	var got pkcs11.Error
	if !errors.As(err, &got) || uint(got) != want {
		t.Errorf("got %v, want %v", err, pkcs11.Error(want))
	}
}

func attr(typ uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(typ, value) }

func mech(m uint, param any) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, param)}
}

// pair is a key pair in the token.
type pair struct{ pub, priv pkcs11.ObjectHandle }

// generate makes an SM2 pair as token objects, with more private attributes.
func (r *rig) generate(extra ...*pkcs11.Attribute) pair {
	r.t.Helper()
	return r.generateAs(true, extra...)
}

func (r *rig) generateAs(token bool, extra ...*pkcs11.Attribute) pair {
	r.t.Helper()
	pub, priv, err := r.p.GenerateKeyPair(r.s, mech(mechKeyPair, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, token), attr(pkcs11.CKA_VERIFY, true), attr(pkcs11.CKA_ID, []byte("k1"))},
		append([]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, token), attr(pkcs11.CKA_SIGN, true), attr(pkcs11.CKA_ID, []byte("k1"))}, extra...))
	r.ok(err)
	return pair{pub, priv}
}

func (r *rig) get(o pkcs11.ObjectHandle, typ uint) []byte {
	r.t.Helper()
	a, err := r.p.GetAttributeValue(r.s, o, []*pkcs11.Attribute{attr(typ, nil)})
	r.ok(err)
	return a[0].Value
}

// public reads the public key of a pair.
func (r *rig) public(k pair) *ecdsa.PublicKey {
	r.t.Helper()
	var point []byte
	if _, err := asn1.Unmarshal(r.get(k.pub, pkcs11.CKA_EC_POINT), &point); err != nil {
		r.t.Fatal(err)
	}
	pub, err := sm2.NewPublicKey(point)
	r.ok(err)
	return pub
}

func (r *rig) sign(m uint, param any, priv pkcs11.ObjectHandle, data []byte) []byte {
	r.t.Helper()
	sig, err := r.signIn(r.s, m, param, priv, data)
	r.ok(err)
	return sig
}

func (r *rig) signIn(s pkcs11.SessionHandle, m uint, param any, priv pkcs11.ObjectHandle, data []byte) ([]byte, error) {
	if err := r.p.SignInit(s, mech(m, param), priv); err != nil {
		return nil, err
	}
	return r.p.Sign(s, data)
}

// halves splits r||s.
func halves(sig []byte) (r, s *big.Int) {
	return new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
}

// derSignature re-encodes r||s for OpenSSL and emmansun.
func derSignature(t testing.TB, sig []byte) []byte {
	t.Helper()
	r, s := halves(sig)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
