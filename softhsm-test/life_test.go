package softhsmtest_test

import (
	"crypto/ecdsa"
	"fmt"
	"sync"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"

	softhsmtest "sealkeeper/softhsm-test"
)

// privateByID finds the token's private key by class and ID.
func (r *rig) privateByID(id string) pkcs11.ObjectHandle {
	r.t.Helper()
	found := r.find(attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(pkcs11.CKA_ID, []byte(id)))
	if len(found) != 1 {
		r.t.Fatalf("found %d private keys of ID %q, want 1", len(found), id)
	}
	return found[0]
}

func checkSigns(r *rig, pub *ecdsa.PublicKey, priv pkcs11.ObjectHandle) {
	r.t.Helper()
	e := randomBytes(r.t, 32)
	if !sm2.VerifyASN1(pub, e, derSignature(r.t, r.sign(mechSM2E, nil, priv, e))) {
		r.t.Error("signature does not verify")
	}
}

func TestKeysOutliveTheModule(t *testing.T) {
	r := open(t)
	k := r.generate()
	pub, born := r.public(k), r.private(k.priv)
	checkSigns(r, pub, k.priv)
	for range 3 {
		r.ok(r.p.Finalize())
		r.start()
		again := r.privateByID("k1")
		if got := r.private(again); got != born {
			t.Errorf("after a restart the key reads %+v, at birth %+v", got, born)
		}
		checkSigns(r, pub, again)
	}
}

// Handles start again at 1 after C_Finalize. What the module remembers of the
// old ones must not be taken for the new.
func TestHandlesOfAnEarlierLife(t *testing.T) {
	r := open(t)
	first := r.generateAs(false)
	checkSigns(r, r.public(first), first.priv)
	r.ok(r.p.Finalize())
	r.start()
	second := r.generateAs(false)
	if first.priv != second.priv {
		t.Fatalf("handles did not start again: %d, then %d", first.priv, second.priv)
	}
	checkSigns(r, r.public(second), second.priv)
	r.ok(r.p.Finalize())
	r.start()
	_, p256, err := r.p.GenerateKeyPair(r.s, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, p256Params)}, []*pkcs11.Attribute{attr(pkcs11.CKA_SIGN, true)})
	r.ok(err)
	if p256 != first.priv {
		t.Fatalf("handles did not start again: %d, then %d", first.priv, p256)
	}
	_, err = r.signIn(r.s, mechSM2E, nil, p256, make([]byte, 32))
	refused(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
	_, err = r.signIn(r.s, pkcs11.CKM_ECDSA, nil, p256, make([]byte, 32))
	r.ok(err)
}

// The module keeps decoded keys, but never skips SoftHSM2's own check.
func TestCachedKeyIsNoPermission(t *testing.T) {
	e := make([]byte, 32)
	t.Run("logout", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		r.sign(mechSM2E, nil, k.priv, e)
		r.ok(r.p.Logout(r.s))
		_, err := r.signIn(r.s, mechSM2E, nil, k.priv, e)
		refused(t, err, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		r.ok(r.p.Login(r.s, pkcs11.CKU_USER, r.token.PIN()))
		_, err = r.signIn(r.s, mechSM2E, nil, k.priv, e)
		refused(t, err, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		r.sign(mechSM2E, nil, r.privateByID("k1"), e)
	})
	t.Run("logout within", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.Logout(r.s))
		_, err := r.p.Sign(r.s, e)
		refused(t, err, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
	})
	t.Run("destroyed", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		r.sign(mechSM2E, nil, k.priv, e)
		r.ok(r.p.DestroyObject(r.s, k.priv))
		_, err := r.signIn(r.s, mechSM2E, nil, k.priv, e)
		refused(t, err, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	})
	t.Run("destroyed within", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		other := r.session()
		r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.DestroyObject(other, k.priv))
		_, err := r.p.Sign(r.s, e)
		refused(t, err, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
	})
	t.Run("owner session closed", func(t *testing.T) {
		r := open(t)
		keep := r.s
		r.s = r.session()
		k := r.generateAs(false)
		_, err := r.signIn(keep, mechSM2E, nil, k.priv, e)
		r.ok(err)
		r.ok(r.p.CloseSession(r.s))
		_, err = r.signIn(keep, mechSM2E, nil, k.priv, e)
		refused(t, err, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	})
	t.Run("session closed within", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		s := r.session()
		r.ok(r.p.SignInit(s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.CloseSession(s))
		_, err := r.p.Sign(s, e)
		refused(t, err, pkcs11.CKR_SESSION_HANDLE_INVALID)
	})
	t.Run("all sessions closed", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.CloseAllSessions(r.slot))
		_, err := r.p.Sign(r.s, e)
		refused(t, err, pkcs11.CKR_SESSION_HANDLE_INVALID)
		_, err = r.signIn(r.session(), mechSM2E, nil, k.priv, e)
		if err == nil {
			t.Error("a key signs without a login")
		}
	})
	t.Run("finalised", func(t *testing.T) {
		r := open(t)
		k := r.generate()
		r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.Finalize())
		_, err := r.p.Sign(r.s, e)
		refused(t, err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	})
	t.Run("session number of an earlier life", func(t *testing.T) {
		r := open(t)
		k, before := r.generate(), r.s
		r.ok(r.p.SignInit(r.s, mech(mechSM2E, nil), k.priv))
		r.ok(r.p.Finalize())
		r.start()
		if r.s != before {
			t.Fatalf("session numbers did not start again: %d, then %d", before, r.s)
		}
		_, err := r.p.Sign(r.s, e)
		refused(t, err, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
	})
}

// Logging out of one token leaves an operation on another alone.
func TestTokensAreApart(t *testing.T) {
	first := softhsmtest.New(t)
	r := open(t) // initialises the module, which sees both tokens
	q := *r
	q.token = first
	q.slot, q.s = r.login(first)
	k, other := r.generate(), q.generate()
	pub := q.public(other)
	r.sign(mechSM2E, nil, k.priv, make([]byte, 32))
	e := randomBytes(t, 32)
	r.ok(q.p.SignInit(q.s, mech(mechSM2E, nil), other.priv))
	r.ok(r.p.Logout(r.s))
	sig, err := q.p.Sign(q.s, e)
	r.ok(err)
	if !sm2.VerifyASN1(pub, e, derSignature(t, sig)) {
		t.Error("signature does not verify")
	}
}

// Sixty-four threads, each with its own session, on shared keys; some sessions
// come and go, some keys too.
func TestManyThreads(t *testing.T) {
	r := open(t)
	const threads, each = 64, 20
	keys := make([]pair, 4)
	pubs := make([]*ecdsa.PublicKey, len(keys))
	for i := range keys {
		keys[i] = r.generateAs(i%2 == 0)
		pubs[i] = r.public(keys[i])
	}
	sessions := make([]pkcs11.SessionHandle, threads)
	for i := range sessions {
		sessions[i] = r.session()
	}
	var wg sync.WaitGroup
	errs := make(chan error, threads)
	for i, s := range sessions {
		wg.Go(func() { errs <- r.signMany(s, keys[i%len(keys)], pubs[i%len(keys)], i, each) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// signMany alternates the two mechanisms and checks each signature; threads of
// odd number also make, use and destroy a key of their own.
func (r *rig) signMany(s pkcs11.SessionHandle, k pair, pub *ecdsa.PublicKey, thread, n int) error {
	for i := range n {
		data := make([]byte, 32)
		data[0], data[1] = byte(thread), byte(i)
		m := uint(mechSM2E)
		if i%2 == 1 {
			m = mechSM3SM2
		}
		sig, err := r.signIn(s, m, nil, k.priv, data)
		if err != nil {
			return fmt.Errorf("thread %d, signature %d: %w", thread, i, err)
		}
		if !verifies(pub, m, data, sig) {
			return fmt.Errorf("thread %d, signature %d is wrong", thread, i)
		}
		if thread%2 == 1 && i%10 == 0 {
			if err := r.shortLived(s, data); err != nil {
				return fmt.Errorf("thread %d, key %d: %w", thread, i, err)
			}
		}
	}
	return nil
}

func verifies(pub *ecdsa.PublicKey, m uint, data, sig []byte) bool {
	x, y := halves(sig)
	if m == mechSM2E {
		return sm2.Verify(pub, data, x, y)
	}
	e, err := sm2.CalculateSM2Hash(pub, data, nil)
	return err == nil && sm2.Verify(pub, e, x, y)
}

func (r *rig) shortLived(s pkcs11.SessionHandle, e []byte) error {
	pub, priv, err := r.p.GenerateKeyPair(s, mech(mechKeyPair, nil),
		[]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false)}, []*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_SIGN, true)})
	if err != nil {
		return err
	}
	sig, err := r.signIn(s, mechSM2E, nil, priv, e)
	if err != nil {
		return err
	}
	if err := r.p.VerifyInit(s, mech(mechSM2E, nil), pub); err != nil {
		return err
	}
	if err := r.p.Verify(s, e, sig); err != nil {
		return err
	}
	if err := r.p.DestroyObject(s, priv); err != nil {
		return err
	}
	return r.p.DestroyObject(s, pub)
}

// Unwraps on several threads beside searches: no search ever sees the readable
// object that lives within an unwrap.
func TestUnwrapBesideSearches(t *testing.T) {
	r := open(t)
	kek := r.kek()
	k := r.generateAs(false, attr(pkcs11.CKA_EXTRACTABLE, true))
	pub := r.public(k)
	blob, err := r.p.WrapKey(r.s, wrapMechanisms[1].m, kek, k.priv)
	r.ok(err)
	var wg sync.WaitGroup
	done := make(chan struct{})
	errs := make(chan error, 4)
	for range 3 {
		s := r.session()
		wg.Go(func() { errs <- r.unwrapMany(s, kek, blob, pub, 60) })
	}
	go func() { wg.Wait(); close(done) }()
	for searching := true; searching; {
		select {
		case <-done:
			searching = false
		default:
			if got := r.find(attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)); len(got) != 1 {
				t.Errorf("a search beside an unwrap found %d secret keys, want the one that wraps", len(got))
			}
		}
	}
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func (r *rig) unwrapMany(s pkcs11.SessionHandle, kek pkcs11.ObjectHandle, blob []byte, pub *ecdsa.PublicKey, n int) error {
	e := make([]byte, 32)
	for range n {
		o, err := r.p.UnwrapKey(s, wrapMechanisms[1].m, kek, blob, ecTemplate())
		if err != nil {
			return err
		}
		sig, err := r.signIn(s, mechSM2E, nil, o, e)
		if err != nil {
			return err
		}
		if !verifies(pub, mechSM2E, e, sig) {
			return fmt.Errorf("an unwrapped key signs wrongly")
		}
		if err := r.p.DestroyObject(s, o); err != nil {
			return err
		}
	}
	return nil
}
