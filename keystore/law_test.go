package keystore_test

import (
	"errors"
	"hash"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// TestLaw11NoDigestComesIn walks everything that can be reached from custody and finds no way in for a finished digest.
func TestLaw11NoDigestComesIn(t *testing.T) {
	forbidden := []reflect.Type{reflect.TypeFor[hsm.SignRequest](), reflect.TypeFor[hash.Hash](), reflect.TypeFor[keystore.Token](),
		reflect.TypeFor[[64]byte]()}
	seen := map[reflect.Type]bool{}
	methods := 0
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		if seen[typ] || !strings.HasPrefix(typ.String(), "*keystore.") {
			return
		}
		seen[typ] = true
		for i := range typ.NumMethod() {
			methods++
			m := typ.Method(i)
			for in := 1; in < m.Type.NumIn(); in++ {
				p := m.Type.In(in)
				if slices.Contains(forbidden, p) || isDigest(p) {
					t.Errorf("%s.%s takes a %s", typ, m.Name, p)
				}
			}
			for out := range m.Type.NumOut() {
				walk(m.Type.Out(out))
				if r := m.Type.Out(out); r == reflect.TypeFor[hsm.SignRequest]() || r == reflect.TypeFor[keystore.Token]() {
					t.Errorf("%s.%s gives the token away", typ, m.Name)
				}
			}
		}
	}
	walk(reflect.TypeFor[*keystore.Keystore]())
	if !seen[reflect.TypeFor[*keystore.Key]()] || methods < 15 {
		t.Errorf("the walk saw %d methods of %v", methods, seen)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[keystore.Keystore](), reflect.TypeFor[keystore.Key]()} {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				t.Errorf("%s has the open field %s", typ, f.Name)
			}
		}
	}
}

// isDigest reports whether a parameter is a fixed-size byte array other than a key's identifier.
func isDigest(p reflect.Type) bool {
	return p.Kind() == reflect.Array && p.Elem().Kind() == reflect.Uint8 && p != reflect.TypeFor[keystore.ID]()
}

// TestLaw11AMessageIsAlwaysHashed: 32 bytes that look like an e are a message like any other.
func TestLaw11AMessageIsAlwaysHashed(t *testing.T) {
	c := newCustody(t)
	key := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	wish := gm.SM3([]byte("a structure that somebody else built"))
	der, err := key.Sign(t.Context(), wish[:])
	if err != nil {
		t.Fatal(err)
	}
	raw, err := gm.DecodeSignature(der)
	if err != nil {
		t.Fatal(err)
	}
	if key.Public().VerifyE(wish, raw) == nil {
		t.Error("custody signed a ready-made digest")
	}
	if err := key.Public().VerifyE(key.Public().E(wish[:]), raw); err != nil {
		t.Errorf("it did not sign the message either: %v", err)
	}
	if s, err := key.CryptoSigner(); err == nil {
		t.Errorf("an SM2 key gives a signer of digests: %v", s.Public())
	}
}

func generateFor(t *testing.T, c *custody, ref string, n int) (ins []keystore.Intent, keys []*keystore.Key, drafts []keystore.Draft) {
	t.Helper()
	var wants []keystore.Want
	for i := range n {
		wants = append(wants, keystore.Want{Purpose: keystore.PurposeSeal, Label: ref + "-" + string(rune('a'+i)), Algorithm: hsm.SM2})
	}
	ins, err := c.Intend(t.Context(), nil, system, ref, wants...)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range ins {
		key, d, err := c.Generate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		keys, drafts = append(keys, key), append(drafts, d)
	}
	return ins, keys, drafts
}

func release(t *testing.T, st store.Store, drafts ...keystore.Draft) {
	t.Helper()
	var m store.Mutation
	for _, d := range drafts {
		m.Put, m.Expect, m.Audit = append(m.Put, d.Put...), append(m.Expect, d.Expect...), append(m.Audit, d.Audit...)
	}
	if _, err := st.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func held(t *testing.T, c *custody) []keystore.ID {
	t.Helper()
	all, err := c.tok.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []keystore.ID
	for _, o := range all {
		if o.Class == "private" || o.Class == "secret" {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// TestLaw12Reconcile: a start destroys what has a durable intent here and went no further, and nothing else.
func TestLaw12Reconcile(t *testing.T) {
	c := newCustody(t)
	_, released, drafts := generateFor(t, c, "order-1", 2)
	release(t, c.st, drafts...)
	_, halfway, _ := generateFor(t, c, "order-2", 2) // generated, never released
	never, err := c.Intend(t.Context(), nil, system, "order-3", keystore.Want{Purpose: keystore.PurposeSeal, Label: "order-3-a", Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	// A stranger's key, and one of ours that somebody took out of the token.
	stranger := hsm.ObjectID{0xaa, 1}
	if _, err := c.tok.Generate(t.Context(), hsm.GenerateRequest{ID: stranger, Label: "stranger", Algorithm: hsm.SM2}); err != nil {
		t.Fatal(err)
	}
	if err := c.tok.Destroy(t.Context(), released[1].ID()); err != nil {
		t.Fatal(err)
	}

	r, err := open(t, c.tok, c.st).Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil {
		t.Fatal(err)
	}
	sameIDs(t, "destroyed", r.Destroyed, halfway[0].ID(), halfway[1].ID())
	sameIDs(t, "cleared", r.Cleared, never[0].ID)
	sameIDs(t, "missing", r.Missing, released[1].ID())
	if len(r.Orphans) != 1 || r.Orphans[0].ID != stranger || r.Orphans[0].Label != "stranger" {
		t.Errorf("orphans %+v", r.Orphans)
	}
	sameIDs(t, "in the token", held(t, c), released[0].ID(), stranger)
	kinds, _ := events(t, c.st)
	if n := count(kinds, audit.KindKeyDestroyed); n != 3 {
		t.Errorf("%d records of destruction in %v", n, kinds)
	}
	if _, err := released[0].Sign(t.Context(), []byte("m")); err != nil {
		t.Errorf("a released key after the start: %v", err)
	}
	// A second start has nothing to do.
	if r, err = c.Reconcile(t.Context(), audit.Appliance("start")); err != nil || len(r.Destroyed)+len(r.Cleared) != 0 || len(r.Orphans) != 1 {
		t.Errorf("second start: %+v, %v", r, err)
	}
	// The identifier's intent is gone, so a late release fails and leaves no half set.
	if _, err := c.st.Commit(t.Context(), store.Mutation{Put: drafts[0].Put, Expect: drafts[0].Expect, Audit: drafts[0].Audit}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("releasing twice: %v", err)
	}
}

// TestLaw12LateReleaseAfterAStart: once a start has decided on an intent, no commit can turn it into a key.
func TestLaw12LateReleaseAfterAStart(t *testing.T) {
	c := newCustody(t)
	_, _, drafts := generateFor(t, c, "order", 1)
	if _, err := c.Reconcile(t.Context(), audit.Appliance("start")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.st.Commit(t.Context(), store.Mutation{Put: drafts[0].Put, Expect: drafts[0].Expect, Audit: drafts[0].Audit}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v", err)
	}
}

// TestLaw12OlderStoreDestroysNothing: a store put back to a time when a key of today was still an intent, or not even that, leaves the
// token alone while it is recovering.
func TestLaw12OlderStoreDestroysNothing(t *testing.T) {
	c := newCustody(t)
	_, keys, drafts := generateFor(t, c, "order-1", 1)
	old := filepath.Join(t.TempDir(), "old.db") // knows the intent only
	backup(t, c.st, old)
	release(t, c.st, drafts...)
	_, later, drafts := generateFor(t, c, "order-2", 1) // the old store never heard of it
	release(t, c.st, drafts...)

	st := openStore(t, old)
	st.SetReadOnly("older than its anchor")
	k := open(t, c.tok, st)
	if _, err := k.Reconcile(t.Context(), audit.Appliance("start")); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("reconciling while recovering: %v", err)
	}
	sameIDs(t, "in the token", held(t, c), keys[0].ID(), later[0].ID())

	// Even after two operators took the old store for right, the key it never heard of is listed and stays.
	st.SetReadOnly("")
	r, err := k.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || len(r.Orphans) != 1 || r.Orphans[0].ID != later[0].ID() {
		t.Errorf("%+v, %v", r, err)
	}
	if !slices.Contains(held(t, c), later[0].ID()) {
		t.Error("a key that the store never heard of was destroyed")
	}
}

func backup(t *testing.T, st store.Store, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := st.Backup(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// A start that is cut off between its decision and the destruction goes on at the next one.
func TestReconcileGoesOn(t *testing.T) {
	c := newCustody(t)
	_, keys, _ := generateFor(t, c, "order", 1)
	stuck := open(t, stubborn{c.tok}, c.st)
	if _, err := stuck.Reconcile(t.Context(), audit.Appliance("start")); !errors.Is(err, hsm.ErrTokenGone) {
		t.Fatalf("got %v", err)
	}
	sameIDs(t, "in the token", held(t, c), keys[0].ID())
	r, err := c.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil {
		t.Fatal(err)
	}
	sameIDs(t, "destroyed", r.Destroyed, keys[0].ID())
	kinds, _ := events(t, c.st)
	if n := count(kinds, audit.KindKeyDestroyed); n != 1 {
		t.Errorf("%d records of one decision", n)
	}
}

func TestDestroyByCeremony(t *testing.T) {
	c := newCustody(t)
	key := create(t, c.Keystore, keystore.PurposeMaker, hsm.SM2)
	orphan := hsm.ObjectID{0xbb}
	if _, err := c.tok.Generate(t.Context(), hsm.GenerateRequest{ID: orphan, Label: "lost seal", Algorithm: hsm.SM2}); err != nil {
		t.Fatal(err)
	}
	nobody := audit.Actor{Role: "operator-system"}
	for name, err := range map[string]error{
		"one officer twice":  c.Destroy(t.Context(), key.ID(), system, system, "reason"),
		"no second officer":  c.Destroy(t.Context(), key.ID(), system, nobody, "reason"),
		"no reason":          c.Destroy(t.Context(), key.ID(), system, security, ""),
		"orphan, one person": c.DestroyOrphan(t.Context(), orphan, security, security, "reason"),
	} {
		if !errors.Is(err, keystore.ErrCeremony) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Destroy(t.Context(), orphan, system, security, "reason"); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("an orphan as a key: %v", err)
	}
	if err := c.DestroyOrphan(t.Context(), key.ID(), system, security, "reason"); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("a key as an orphan: %v", err)
	}
	if err := c.DestroyOrphan(t.Context(), hsm.ObjectID{1}, system, security, "reason"); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("nothing as an orphan: %v", err)
	}
	sameIDs(t, "in the token", held(t, c), key.ID(), orphan)

	// The token refuses at first: the decision is on record, the key is not usable, and the ceremony can be finished.
	if err := open(t, stubborn{c.tok}, c.st).Destroy(t.Context(), key.ID(), system, security, "end of life"); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("token away: %v", err)
	}
	again := open(t, c.tok, c.st)
	if _, err := again.Key(t.Context(), key.ID()); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("a key condemned: %v", err)
	}
	if r, err := again.Reconcile(t.Context(), audit.Appliance("start")); err != nil || len(r.Orphans) != 2 || len(r.Destroyed) != 0 {
		t.Errorf("what a ceremony left is listed, not destroyed: %+v, %v", r, err)
	}
	if err := again.Destroy(t.Context(), key.ID(), system, security, "end of life, finished"); err != nil {
		t.Fatal(err)
	}
	if err := again.DestroyOrphan(t.Context(), orphan, system, security, "seal replaced"); err != nil {
		t.Fatal(err)
	}
	sameIDs(t, "in the token", held(t, c))
	if _, err := again.ByPurpose(t.Context(), keystore.PurposeMaker); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("by purpose: %v", err)
	}
	if b, err := again.Birth(t.Context(), key.ID()); err != nil || b.ID != key.ID() {
		t.Errorf("the evidence stays: %+v, %v", b, err)
	}
	_, last := events(t, c.st)
	if last.Kind != audit.KindKeyDestroyed || last.Subject != orphan.String() || last.Actor != system {
		t.Errorf("record %+v", last)
	}
}

// A generation that fails leaves neither an object nor a blocked label.
func TestFailedGenerationIsCleanedUp(t *testing.T) {
	c := newCustody(t)
	want := keystore.Want{Purpose: keystore.PurposeSeal, Label: "seal-41030000000001", Algorithm: hsm.SM2}
	forgetful := open(t, forgetter{c.tok}, c.st)
	ins, err := forgetful.Intend(t.Context(), nil, system, "order", want)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := forgetful.Generate(t.Context(), ins[0]); !errors.Is(err, hsm.ErrTokenGone) {
		t.Fatalf("got %v", err)
	}
	sameIDs(t, "in the token", held(t, c))
	ins, err = c.Intend(t.Context(), nil, system, "order", want)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Generate(t.Context(), ins[0]); err != nil {
		t.Errorf("the same label again: %v", err)
	}
}

func sameIDs(t *testing.T, what string, got []keystore.ID, want ...keystore.ID) {
	t.Helper()
	order := func(a, b keystore.ID) int { return strings.Compare(a.String(), b.String()) }
	got, want = slices.Clone(got), slices.Clone(want)
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
