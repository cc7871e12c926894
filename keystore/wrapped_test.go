package keystore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

var wrapSeals = keystore.WrappingPolicy{Purposes: []keystore.Purpose{keystore.PurposeSeal, keystore.PurposeDocument}}

func useWrapping(t testing.TB, k *keystore.Keystore, p keystore.WrappingPolicy) {
	t.Helper()
	if err := k.UseWrapping(p); err != nil {
		t.Fatal(err)
	}
}

func makeKEK(t testing.TB, k *keystore.Keystore, ref string) keystore.KEK {
	t.Helper()
	e, err := k.MakeKEK(t.Context(), ref, system, security)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// bear makes a key as issuance does: intent, birth, one commit.
func bear(k *keystore.Keystore, t testing.TB, st store.Store, esid string, a hsm.Algorithm) (*keystore.Key, error) {
	t.Helper()
	p := keystore.PurposeSeal
	if a == hsm.ECDSAP256 {
		p = keystore.PurposeDocument
	}
	ins, err := k.Intend(t.Context(), nil, system, "order/"+esid, keystore.Want{Purpose: p, Label: "seal-" + esid, Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	key, d, err := k.Generate(t.Context(), ins[0])
	if err != nil {
		return nil, errors.Join(err, k.Abandon(t.Context(), ins[0], system))
	}
	_, err = st.Commit(t.Context(), store.Mutation{Put: d.Put, Expect: d.Expect, Spend: d.Spend, Audit: d.Audit})
	return key, err
}

func mustBear(t testing.TB, k *keystore.Keystore, st store.Store, esid string) *keystore.Key {
	t.Helper()
	key, err := bear(k, t, st, esid, hsm.SM2)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustSign(t testing.TB, key *keystore.Key) {
	t.Helper()
	message := []byte("to be signed")
	sig, err := key.Sign(t.Context(), message)
	if err != nil {
		t.Error(err)
		return
	}
	if key.Public() != nil && key.Public().Verify(message, sig) != nil {
		t.Error("the signature does not verify")
	}
}

// newWrappedCustody bears seals wrapped, under one KEK.
func newWrappedCustody(t testing.TB) (*custody, keystore.KEK) {
	t.Helper()
	c := newCustody(t)
	useWrapping(t, c.Keystore, wrapSeals)
	return c, makeKEK(t, c.Keystore, "ceremony/1")
}

// A wrapped key signs like any other, from memory and from the store, and the token keeps nothing of it.
func TestWrappedKey(t *testing.T) {
	c, kek := newWrappedCustody(t)
	seal := mustBear(t, c.Keystore, c.st, "41030000000001")
	document, err := bear(c.Keystore, t, c.st, "41030000000001", hsm.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	maker := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	if seal.Custody() != keystore.Wrapped || document.Custody() != keystore.Wrapped || maker.Custody() != keystore.Resident {
		t.Errorf("custody %s, %s, %s", seal.Custody(), document.Custody(), maker.Custody())
	}
	sameIDs(t, "in the token", held(t, c), kek.ID, kek.Binder, maker.ID())
	again := open(t, c.tok, c.st)
	for _, id := range []keystore.ID{seal.ID(), document.ID()} {
		mustSign(t, mustKey(t, again, id))
	}
	if keys, err := again.OfRef(t.Context(), "order/41030000000001"); err != nil || len(keys) != 2 {
		t.Errorf("by reference: %v, %v", keys, err)
	}
	if n, err := again.LivesUnder(t.Context(), kek.ID); err != nil || n != 2 {
		t.Errorf("%d keys live under the KEK, %v", n, err)
	}
	r, err := again.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || len(r.Missing)+len(r.Orphans)+len(r.Destroyed)+len(r.Cleared) != 0 {
		t.Errorf("reconciled: %+v, %v", r, err)
	}
}

// TestLaw01WrappedBirth: a wrapped key's birth evidence says what it was: made in the token, sensitive from the first moment, extractable by
// wrapping alone; the log tells it and holds nothing that could become the key.
func TestLaw01WrappedBirth(t *testing.T) {
	c, kek := newWrappedCustody(t)
	key := mustBear(t, c.Keystore, c.st, "41030000000001")
	birth, err := open(t, c.tok, c.st).Birth(t.Context(), key.ID())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, a := range birth.Attributes {
		have[a.Name] = a.Value
	}
	for name, want := range map[string]string{"CKA_TOKEN": "false", "CKA_PRIVATE": "true", "CKA_SENSITIVE": "true", "CKA_ALWAYS_SENSITIVE": "true",
		"CKA_EXTRACTABLE": "true", "CKA_NEVER_EXTRACTABLE": "false", "CKA_LOCAL": "true"} {
		if have[name] != want {
			t.Errorf("%s is %q, want %s", name, have[name], want)
		}
	}
	if !strings.HasPrefix(birth.ValueRead, "refused: ") || birth.Token.Evidence != hsm.Simulated {
		t.Errorf("value %q, evidence %q", birth.ValueRead, birth.Token.Evidence)
	}
	kekBirth, err := c.Birth(t.Context(), kek.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range kekBirth.Attributes {
		if a.Name == "CKA_EXTRACTABLE" && a.Value != "false" || a.Name == "CKA_NEVER_EXTRACTABLE" && a.Value != "true" {
			t.Errorf("KEK: %+v", a)
		}
	}
	_, item := storedWrapped(t, c.st, key.ID())
	var stored struct{ Wrapped struct{ Blob string } }
	if err := json.Unmarshal(item.Value, &stored); err != nil || stored.Wrapped.Blob == "" {
		t.Fatalf("stored %s, %v", item.Value, err)
	}
	_, last := events(t, c.st)
	raw, _ := last.Detail.(json.RawMessage)
	if last.Kind != audit.KindKeyBirth || !bytes.Contains(raw, []byte(kek.ID.String())) || bytes.Contains(raw, []byte(stored.Wrapped.Blob)) {
		t.Errorf("record %s: %s", last.Kind, raw)
	}
}

// wrappedCollection is where wrapped keys are stored.
func wrappedCollection(t testing.TB) *store.Collection {
	t.Helper()
	for _, c := range keystore.Collections() {
		if c.Name == "wrapped-key" {
			return c
		}
	}
	t.Fatal("no collection of wrapped keys")
	return nil
}

func storedWrapped(t testing.TB, st store.Store, id keystore.ID) (*store.Collection, store.Item) {
	t.Helper()
	c := wrappedCollection(t)
	it, err := st.Get(t.Context(), c, id[:])
	if err != nil {
		t.Fatal(err)
	}
	return c, it
}

// tamper changes the stored record of a wrapped key behind custody's back.
func tamper(t testing.TB, st store.Store, id keystore.ID, change func(r map[string]any, wrapped map[string]any)) {
	t.Helper()
	c, it := storedWrapped(t, st, id)
	var r map[string]any
	if err := json.Unmarshal(it.Value, &r); err != nil {
		t.Fatal(err)
	}
	change(r, r["wrapped"].(map[string]any))
	value, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), store.Mutation{Put: []store.Put{{Collection: c, Key: id[:], Value: value}}}); err != nil {
		t.Fatal(err)
	}
}

// What was changed in the store does not open: each case is refused by name, and the token signs nothing.
func TestTamperedWrappedKey(t *testing.T) {
	c, _ := newWrappedCustody(t)
	other := makeKEK(t, c.Keystore, "ceremony/2")
	victim, twin := mustBear(t, c.Keystore, c.st, "41030000000001"), mustBear(t, c.Keystore, c.st, "41030000000002")
	_, it := storedWrapped(t, c.st, twin.ID())
	var of struct{ Wrapped map[string]any }
	if err := json.Unmarshal(it.Value, &of); err != nil {
		t.Fatal(err)
	}
	_, whole := storedWrapped(t, c.st, victim.ID())
	for name, change := range map[string]func(r, w map[string]any){
		"blob of another seal":       func(r, _ map[string]any) { r["wrapped"] = of.Wrapped },
		"truncated":                  func(_, w map[string]any) { w["blob"] = w["blob"].(string)[:64] },
		"gone":                       func(_, w map[string]any) { delete(w, "blob") },
		"altered":                    func(_, w map[string]any) { w["blob"] = "AAAA" + w["blob"].(string)[4:] },
		"nonce altered":              func(_, w map[string]any) { w["nonce"] = "AAAA" + w["nonce"].(string)[4:] },
		"said to be of another KEK":  func(_, w map[string]any) { w["kek"] = other.ID.String() },
		"said to be of another pair": func(_, w map[string]any) { w["kek"], w["binder"] = other.ID.String(), other.Binder.String() },
		"another purpose":            func(r, _ map[string]any) { r["purpose"] = "seal-maker" },
		"another seal's label":       func(r, _ map[string]any) { r["label"] = "seal-41030000000002" },
		"another order":              func(r, _ map[string]any) { r["ref"] = "order/41030000000002" },
		"another binding policy":     func(_, w map[string]any) { w["policy"] = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			tamper(t, c.st, victim.ID(), change)
			defer func() {
				if _, err := c.st.Commit(t.Context(), store.Mutation{Put: []store.Put{{Collection: wrappedCollection(t), Key: whole.Key, Value: whole.Value}}}); err != nil {
					t.Fatal(err)
				}
			}()
			before := c.Stats()
			key, err := open(t, c.tok, c.st).Key(t.Context(), victim.ID())
			if err != nil {
				t.Fatal(err)
			}
			sig, err := key.Sign(t.Context(), []byte("to be signed"))
			if !errors.Is(err, keystore.ErrBlob) || sig != nil {
				t.Errorf("got %x, %v", sig, err)
			}
			if after := c.Stats(); after.Signs != before.Signs || after.Unwraps != before.Unwraps {
				t.Errorf("the token was made to work: %+v, %+v", before, after)
			}
		})
	}
	mustSign(t, mustKey(t, open(t, c.tok, c.st), victim.ID()))
}

// Only seals and their document keys are ever wrapped; the appliance's own few keys stay.
func TestWrappingPolicy(t *testing.T) {
	c := newCustody(t)
	if err := c.UseWrapping(keystore.WrappingPolicy{Purposes: []keystore.Purpose{keystore.PurposeAudit}}); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("audit keys: %v", err)
	}
	if err := c.UseWrapping(keystore.WrappingPolicy{KeysPerKEK: -1}); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("fewer than no keys: %v", err)
	}
	useWrapping(t, c.Keystore, wrapSeals)
	if _, err := bear(c.Keystore, t, c.st, "41030000000001", hsm.SM2); !errors.Is(err, keystore.ErrNoKEK) {
		t.Errorf("without a KEK: %v", err)
	}
	sameIDs(t, "in the token", held(t, c))
}

// A KEK takes so many keys and no more, over restarts too; the next takes over.
func TestKeysPerKEK(t *testing.T) {
	c := newCustody(t)
	two := wrapSeals
	two.KeysPerKEK = 2
	useWrapping(t, c.Keystore, two)
	first := makeKEK(t, c.Keystore, "ceremony/1")
	mustBear(t, c.Keystore, c.st, "41030000000001")
	again := open(t, c.tok, c.st)
	useWrapping(t, again, two)
	mustBear(t, again, c.st, "41030000000002")
	if _, err := bear(again, t, c.st, "41030000000003", hsm.SM2); !errors.Is(err, keystore.ErrNoKEK) {
		t.Errorf("the third key: %v", err)
	}
	second := makeKEK(t, again, "ceremony/2")
	mustBear(t, again, c.st, "41030000000003")
	for kek, want := range map[keystore.ID]int{first.ID: 2, second.ID: 1} {
		if n, err := again.LivesUnder(t.Context(), kek); err != nil || n != want {
			t.Errorf("%d keys live under %s, %v", n, kek, err)
		}
	}
	// Custody that knows nothing of the others is held by the store's counter.
	if _, err := bear(c.Keystore, t, c.st, "41030000000004", hsm.SM2); !errors.Is(err, store.ErrLimit) {
		t.Errorf("a birth decided on an old count: %v", err)
	}
}

// One ceremony makes one KEK, however often it is carried out; another token's refusal leaves nothing.
func TestMakeKEKOnce(t *testing.T) {
	c := newCustody(t)
	one := makeKEK(t, c.Keystore, "ceremony/1")
	if again := makeKEK(t, c.Keystore, "ceremony/1"); again.ID != one.ID {
		t.Errorf("%s, then %s", one.ID, again.ID)
	}
	sameIDs(t, "in the token", held(t, c), one.ID, one.Binder)
	if info, err := c.Token(t.Context()); err != nil || len(one.Tokens) != 1 || one.Tokens[0] != info.Serial {
		t.Errorf("tokens %v, %v", one.Tokens, err)
	}
	kinds, last := events(t, c.st)
	if last.Kind != keystore.KindKEKMade || last.Actor != system || count(kinds, keystore.KindKEKMade) != 1 || count(kinds, audit.KindKeyBirth) != 2 {
		t.Errorf("records %v, last %+v", kinds, last)
	}
	if _, err := open(t, forgetter{c.tok}, c.st).MakeKEK(t.Context(), "ceremony/2", system, security); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("token away: %v", err)
	}
	sameIDs(t, "in the token", held(t, c), one.ID, one.Binder)
	if err := c.Destroy(t.Context(), one.ID, system, security, "reason"); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("a KEK destroyed like any key: %v", err)
	}
}

// A module whose wrapping is only documented gets resident custody or a refusal that says what is missing, never a key on trust.
func TestUnprovenModule(t *testing.T) {
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	p := *profile
	p.Evidence.Level = firmware.Documented
	m, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: &p, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	c := &custody{tok: m, st: openStore(t, filepath.Join(t.TempDir(), "store.db"))}
	c.Keystore = open(t, m, c.st)
	useWrapping(t, c.Keystore, wrapSeals)
	if _, err := c.MakeKEK(t.Context(), "ceremony/1", system, security); !errors.Is(err, keystore.ErrUnproven) || !strings.Contains(err.Error(), "token probe") {
		t.Errorf("making a KEK: %v", err)
	}
	sameIDs(t, "in the token", held(t, c))
}

// A resident key is not moved, and the refusal says why.
func TestResidentKeyIsNotMoved(t *testing.T) {
	c, _ := newWrappedCustody(t)
	maker, seal := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2), mustBear(t, c.Keystore, c.st, "41030000000001")
	if err := c.MoveToWrapped(t.Context(), maker.ID()); !errors.Is(err, keystore.ErrNotExtractable) || !strings.Contains(err.Error(), "reissue") {
		t.Errorf("resident: %v", err)
	}
	if err := c.MoveToWrapped(t.Context(), seal.ID()); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("wrapped: %v", err)
	}
	if err := c.MoveToWrapped(t.Context(), keystore.ID{1}); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("unknown: %v", err)
	}
	mustSign(t, maker)
}

// The end of a wrapped key takes its blob out of the store and what is open of it out of the token.
func TestDestroyWrappedKey(t *testing.T) {
	c, kek := newWrappedCustody(t)
	key := mustBear(t, c.Keystore, c.st, "41030000000001")
	mustSign(t, key)
	if c.Stats().Unwrapped != 1 {
		t.Errorf("%+v", c.Stats())
	}
	if err := c.Destroy(t.Context(), key.ID(), system, security, "seal cancelled"); err != nil {
		t.Fatal(err)
	}
	if c.Stats().Unwrapped != 0 {
		t.Errorf("the key is open still: %+v", c.Stats())
	}
	if _, err := c.Key(t.Context(), key.ID()); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("got %v", err)
	}
	if _, it := storedWrapped(t, c.st, key.ID()); bytes.Contains(it.Value, []byte(`"blob"`)) || !bytes.Contains(it.Value, []byte("CKA_LOCAL")) {
		t.Errorf("stored %s", it.Value)
	}
	if n, err := c.LivesUnder(t.Context(), kek.ID); err != nil || n != 0 {
		t.Errorf("%d live under the KEK, %v", n, err)
	}
}

// TestLaw12WrappedIntent: the intent of a wrapped key that never was is cleared at the next start; there is no object to destroy, and nothing else is.
func TestLaw12WrappedIntent(t *testing.T) {
	c, kek := newWrappedCustody(t)
	kept := mustBear(t, c.Keystore, c.st, "41030000000001")
	ins, err := c.Intend(t.Context(), nil, system, "order/2", keystore.Want{Purpose: keystore.PurposeSeal, Label: "seal-41030000000002", Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := c.Generate(t.Context(), ins[0])
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, c.tok, c.st)
	r, err := again.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || len(r.Destroyed)+len(r.Orphans)+len(r.Missing) != 0 {
		t.Errorf("reconciled: %+v, %v", r, err)
	}
	sameIDs(t, "cleared", r.Cleared, ins[0].ID)
	sameIDs(t, "in the token", held(t, c), kek.ID, kek.Binder)
	if _, err := c.st.Commit(t.Context(), store.Mutation{Put: d.Put, Expect: d.Expect, Spend: d.Spend, Audit: d.Audit}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the birth after its intent was given up: %v", err)
	}
	mustSign(t, mustKey(t, again, kept.ID()))
}
