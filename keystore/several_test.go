package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// pair is custody over two tokens in one library, which the fault module stands in front of.
type pair struct {
	*keystore.Keystore
	st      *store.Bolt
	faults  *softhsmtest.Faults
	members []keystore.Member
}

func profileOf(t testing.TB) *firmware.Profile {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newPair opens two tokens; script is in force meanwhile, with A and B for their serials.
func newPair(t testing.TB, script ...string) *pair {
	t.Helper()
	tokens := []*softhsmtest.Token{softhsmtest.New(t), softhsmtest.New(t)}
	p := &pair{faults: softhsmtest.WithFaults(t, tokens[0]), st: openStore(t, filepath.Join(t.TempDir(), "store.db"))}
	for i, k := range tokens {
		births := [][]string{{keystore.BirthsAppliance, keystore.BirthsSeals}, {keystore.BirthsSeals}}[i]
		p.members = append(p.members, keystore.Member{Serial: k.Serial, Label: k.Label, Births: births})
	}
	p.script(script...)
	for i, k := range tokens {
		m, err := hsm.Open(t.Context(), hsm.Config{Module: p.faults.Module, Profile: profileOf(t), Serial: k.Serial, PINFile: k.PINFile, MayBeAway: true,
			LatchFile: filepath.Join(t.TempDir(), "latch.json"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		p.members[i].Token = m
	}
	p.Keystore = p.open(t)
	return p
}

func (p *pair) script(rules ...string) {
	for i, r := range rules {
		rules[i] = strings.NewReplacer("on=A", "on="+p.members[0].Serial, "on=B", "on="+p.members[1].Serial).Replace(r)
	}
	p.faults.Script(rules...)
}

// open is another start over the same store and tokens.
func (p *pair) open(t testing.TB) *keystore.Keystore {
	t.Helper()
	k, err := keystore.OpenSeveral(t.Context(), p.members, p.st, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// seal makes a key for a seal, in whatever token.
func seal(t testing.TB, k *keystore.Keystore, label string) *keystore.Key {
	t.Helper()
	key, err := k.Create(t.Context(), system, keystore.Want{Purpose: keystore.PurposeSeal, Label: label, Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pair) objects(t *testing.T, n int) []keystore.ID {
	t.Helper()
	return held(t, &custody{tok: p.members[n].Token.(*hsm.Module)})
}

// Keys live in the token of their birth: the appliance's in the first, seals where the fewest are. A token that is away takes its own keys with it,
// is named, and is back without a restart.
func TestSeveralTokens(t *testing.T) {
	p := newPair(t)
	maker := create(t, p.Keystore, keystore.PurposeMaker, hsm.SM2)
	one, two := seal(t, p.Keystore, "one"), seal(t, p.Keystore, "two")
	a, b := p.members[0].Serial, p.members[1].Serial
	if maker.Token() != a || one.Token() != b || two.Token() != a && two.Token() != b {
		t.Fatalf("born in %s, %s, %s; the tokens are %s and %s", maker.Token(), one.Token(), two.Token(), a, b)
	}
	sameIDs(t, "in the second token", p.objects(t, 1), one.ID())
	sameIDs(t, "in the first token", p.objects(t, 0), maker.ID(), two.ID())
	again := p.open(t)
	for _, key := range []*keystore.Key{maker, one, two} {
		k, err := again.Key(t.Context(), key.ID())
		if err != nil || k.Token() != key.Token() {
			t.Fatalf("after a start the key is in %v, %v", k, err)
		}
		if _, err := k.Sign(t.Context(), []byte("message")); err != nil {
			t.Error(err)
		}
	}

	p.script("* on=B absent")
	for range 3 {
		if _, err := one.Sign(t.Context(), []byte("message")); !errors.Is(err, keystore.ErrTokenGone) || !strings.Contains(err.Error(), b) {
			t.Errorf("a key whose token is away: %v", err)
		}
		if _, err := two.Sign(t.Context(), []byte("message")); err != nil {
			t.Errorf("a key whose neighbour is away: %v", err)
		}
	}
	if away := p.Ask(t.Context()); len(away) != 1 || !errors.Is(away[b], keystore.ErrTokenGone) {
		t.Errorf("away: %v", away)
	}
	if s := p.Tokens(); s[0].Away != nil || s[1].Away == nil || s[0].Keys != 2 || s[1].Keys != 1 {
		t.Errorf("states %+v", s)
	}
	if three := seal(t, p.Keystore, "three"); three.Token() != a { // fewer keys in the other, which is away
		t.Errorf("born in %s while it is away", three.Token())
	}
	p.script()
	if _, err := one.Sign(t.Context(), []byte("message")); err != nil {
		t.Errorf("after the token came back: %v", err)
	}
	if s := p.Tokens(); s[1].Away != nil {
		t.Errorf("states %+v", s)
	}
}

// A token that is away at the start serves as soon as it is there; keys of the others serve at once.
func TestSeveralTokensOneAwayAtStart(t *testing.T) {
	p := newPair(t, "* on=B absent")
	one := seal(t, p.Keystore, "one")
	if one.Token() != p.members[0].Serial {
		t.Fatalf("born in a token that is away")
	}
	r, err := p.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || !slices.Equal(r.Away, []string{p.members[1].Serial}) || len(r.Missing)+len(r.Orphans) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	p.script()
	if two := seal(t, p.Keystore, "two"); two.Token() != p.members[1].Serial {
		t.Errorf("the token that came back bears nothing")
	}
}

// TestLaw12SeveralTokens: an intent names its token. The object of that identifier in another is not touched, nor is anything else; a token that is away
// is settled when it is back, and meanwhile its intents can become nothing.
func TestLaw12SeveralTokens(t *testing.T) {
	p := newPair(t)
	want := func(label string) keystore.Want {
		return keystore.Want{Purpose: keystore.PurposeSeal, Label: label, Algorithm: hsm.SM2}
	}
	kept := seal(t, p.Keystore, "kept") // in the first
	ins, err := p.Intend(t.Context(), nil, system, "order", want("half-a"), want("half-b"))
	if err != nil || ins[0].Token != p.members[1].Serial || ins[1].Token != ins[0].Token {
		t.Fatalf("one order in %v: %v", ins, err)
	}
	if _, _, err := p.Generate(t.Context(), ins[0]); err != nil {
		t.Fatal(err)
	}
	_, draft, err := p.Generate(t.Context(), ins[1])
	if err != nil {
		t.Fatal(err)
	}
	// The same identifier in the other token, and a stranger in each.
	stranger := hsm.ObjectID{0xaa, 2}
	for i, id := range []keystore.ID{ins[0].ID, stranger} {
		if _, err := p.members[0].Token.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: fmt.Sprint("other-", i), Algorithm: hsm.SM2}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.members[1].Token.Generate(t.Context(), hsm.GenerateRequest{ID: stranger, Label: "stranger", Algorithm: hsm.SM2}); err != nil {
		t.Fatal(err)
	}

	p.script("* on=B absent")
	next := p.open(t)
	r, err := next.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || len(r.Destroyed)+len(r.Cleared) != 0 || len(r.Orphans) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	sameIDs(t, "waiting", r.Waiting, ins[0].ID, ins[1].ID)
	sameIDs(t, "in the first token", p.objects(t, 0), kept.ID(), ins[0].ID, stranger)
	if _, err := p.st.Commit(t.Context(), store.Mutation{Put: draft.Put, Expect: draft.Expect, Audit: draft.Audit}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("releasing a key that a start gave up: %v", err)
	}
	if _, err := next.Settle(t.Context(), p.members[1].Serial, audit.Appliance("return")); !errors.Is(err, keystore.ErrTokenGone) {
		t.Errorf("settling a token that is away: %v", err)
	}

	p.script()
	between, err := next.Intend(t.Context(), nil, system, "order-2", want("new")) // while the daemon works
	if err != nil {
		t.Fatal(err)
	}
	if r, err = next.Settle(t.Context(), p.members[1].Serial, audit.Appliance("return")); err != nil {
		t.Fatal(err)
	}
	sameIDs(t, "destroyed", r.Destroyed, ins[0].ID, ins[1].ID)
	sameIDs(t, "in the first token", p.objects(t, 0), kept.ID(), ins[0].ID, stranger)
	sameIDs(t, "in the second token", p.objects(t, 1), stranger)
	if _, _, err := next.Generate(t.Context(), between[0]); err != nil {
		t.Errorf("an intent of this start after settling: %v", err)
	}
	if err := next.DestroyOrphan(t.Context(), stranger, system, security, "reason"); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("an orphan in two tokens: %v", err)
	}
}

// absent is a token that is never there.
type absent struct{ keystore.Token }

func (absent) Info(context.Context) (hsm.TokenInfo, error) { return hsm.TokenInfo{}, hsm.ErrTokenGone }

// The set of tokens is checked before anything is done with it.
func TestTokensThatDoNotGoTogether(t *testing.T) {
	p := newPair(t)
	renamed := p.members[1]
	renamed.Serial = "another"
	refused := p.members[1]
	refused.Admit = func(hsm.TokenInfo) error { return errors.New("simulated") }
	for name, members := range map[string][]keystore.Member{"none": nil, "twice": {p.members[0], p.members[0]}, "another serial": {p.members[0], renamed},
		"not admitted": {p.members[0], refused}} {
		if _, err := keystore.OpenSeveral(t.Context(), members, p.st, slog.New(slog.DiscardHandler)); !errors.Is(err, keystore.ErrTokens) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key whose token is configured no more says so.
	key := seal(t, p.Keystore, "one")
	if key.Token() != p.members[0].Serial {
		t.Fatalf("born in %s", key.Token())
	}
	other := p.members[1]
	third := other
	third.Serial, third.Admit = "0123", nil
	third.Token = absent{other.Token}
	k, err := keystore.OpenSeveral(t.Context(), []keystore.Member{other, third}, p.st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Key(t.Context(), key.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Sign(t.Context(), []byte("m")); !errors.Is(err, keystore.ErrTokenGone) || !strings.Contains(err.Error(), "not among the configured") {
		t.Errorf("got %v", err)
	}
}
