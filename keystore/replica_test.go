package keystore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// newReplicated is a pair whose seals are wrapped under a KEK in both tokens, with four such keys, and a resident key in each token.
func newReplicated(t *testing.T) (p *pair, e keystore.KEK, wrapped []*keystore.Key, resident [2]*keystore.Key) {
	t.Helper()
	p = newPair(t)
	resident[0], resident[1] = create(t, p.Keystore, keystore.PurposeMaker, hsm.SM2), seal(t, p.Keystore, "resident")
	e, err := p.MakeReplicatedKEK(t.Context(), "ceremony", []string{p.members[0].Serial, p.members[1].Serial}, system, security)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.UseWrapping(keystore.WrappingPolicy{Purposes: []keystore.Purpose{keystore.PurposeSeal}}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		wrapped = append(wrapped, seal(t, p.Keystore, fmt.Sprint("wrapped-", i)))
		if wrapped[i].Custody() != keystore.Wrapped {
			t.Fatal("a seal's key is not wrapped")
		}
	}
	return p, e, wrapped, resident
}

// signs counts the signatures of each token.
func (p *pair) signs() (n [2]uint64) {
	for i, s := range p.Tokens() {
		n[i] = s.Stats.Signs
	}
	return n
}

// TestReplicas: a KEK that a ceremony put into two tokens leaves neither again, nothing of the ceremony is left behind, both tokens share the load, a start
// knows both copies, and the ceremony done twice is done once.
func TestReplicas(t *testing.T) {
	p, e, wrapped, resident := newReplicated(t)
	sameIDs(t, "in the first token", p.objects(t, 0), resident[0].ID(), e.ID, e.Binder)
	sameIDs(t, "in the second token", p.objects(t, 1), resident[1].ID(), e.ID, e.Binder)
	again, err := p.MakeReplicatedKEK(t.Context(), "ceremony", e.Tokens, system, security)
	if err != nil || again.ID != e.ID {
		t.Errorf("the same ceremony again: %+v, %v", again, err)
	}
	for _, m := range p.members {
		now, err := m.Token.Attributes(t.Context(), e.ID)
		if err != nil || !slices.Contains(now, hsm.Attribute{Name: "CKA_EXTRACTABLE", Value: "false"}) {
			t.Errorf("the KEK in token %s: %v, %v", m.Serial, now, err)
		}
	}
	before := p.signs()
	for i := range 40 {
		if _, err := wrapped[i%4].Sign(t.Context(), []byte("message")); err != nil {
			t.Fatal(err)
		}
	}
	if now := p.signs(); now[0]-before[0] < 10 || now[1]-before[1] < 10 {
		t.Errorf("the load was shared as %v → %v", before, now)
	}
	next := p.open(t)
	r, err := next.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || len(r.Destroyed)+len(r.Cleared)+len(r.Orphans)+len(r.Missing)+len(r.Waiting)+len(r.Away) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := p.members[1].Token.Destroy(t.Context(), e.Binder); err != nil {
		t.Fatal(err)
	}
	if r, err = next.Reconcile(t.Context(), audit.Appliance("start")); err != nil || !slices.Equal(r.Missing, []keystore.ID{e.Binder}) {
		t.Errorf("a copy is missing: %+v, %v", r, err)
	}
	key, err := next.Key(t.Context(), wrapped[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // the token whose copy is gone cannot open it; the other can
		if _, err := key.Sign(t.Context(), []byte("message")); err != nil {
			t.Error(err)
		}
	}
}

// TestFaultReplicaGone: a token goes away and comes back while eight callers sign. No request for a key with a replica fails; a resident key of that token is
// told so by name, one of the other is served; and when the token is back it has its share again.
func TestFaultReplicaGone(t *testing.T) {
	p, _, wrapped, resident := newReplicated(t)
	var wg sync.WaitGroup
	var stop atomic.Bool
	var good, told, beside atomic.Int64
	for c := range 8 {
		wg.Go(func() {
			for r := 0; !stop.Load(); r++ {
				switch c {
				case 0:
					if _, err := resident[1].Sign(t.Context(), []byte("message")); errors.Is(err, keystore.ErrTokenGone) {
						told.Add(1)
					} else if err != nil {
						t.Errorf("a resident key of the token that goes: %v", err)
					}
				case 1:
					if _, err := resident[0].Sign(t.Context(), []byte("message")); err != nil {
						t.Errorf("a resident key of the other: %v", err)
					}
					beside.Add(1)
				default:
					if _, err := wrapped[(c+r)%4].Sign(t.Context(), []byte("message")); err != nil {
						t.Errorf("a key with a replica: %v", err)
					}
					good.Add(1)
				}
			}
		})
	}
	until := func(what string, enough func() bool) {
		for !enough() {
			if t.Failed() || t.Context().Err() != nil {
				stop.Store(true)
				t.Fatal(what)
			}
		}
	}
	until("a start", func() bool { return good.Load() > 20 })
	for range 2 {
		from := told.Load()
		p.script("* on=B absent")
		until("the loss", func() bool { return told.Load() > from+2 })
		n, m := good.Load(), beside.Load()
		until("signatures while it is away", func() bool { return good.Load() > n+40 && beside.Load() > m+5 })
		p.script()
		until("its return", func() bool { return p.Tokens()[1].Away == nil })
		back := p.signs()
		until("its share", func() bool { now := p.signs(); return now[1] > back[1]+20 && now[0] > back[0]+20 })
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d signatures with replicated keys, none refused; %d of resident keys were told", good.Load(), told.Load())
}

// What a ceremony could not finish leaves nothing in either token, and the next one starts afresh.
func TestReplicaCeremonyThatFails(t *testing.T) {
	p := newPair(t)
	both := []string{p.members[0].Serial, p.members[1].Serial}
	for _, rule := range []string{"C_UnwrapKey on=B skip=1 times=1 return=0x6A", "C_SetAttributeValue on=A times=1 return=0x10", "C_WrapKey on=A skip=3 times=1 return=0x6A"} {
		p.script(rule)
		if e, err := p.MakeReplicatedKEK(t.Context(), "ceremony "+rule, both, system, security); err == nil {
			t.Errorf("%s: it made %+v", rule, e)
		}
		p.script()
		sameIDs(t, "in the first token", p.objects(t, 0))
		sameIDs(t, "in the second token", p.objects(t, 1))
	}
	for name, serials := range map[string][]string{"one": both[:1], "the same twice": {both[0], both[0]}, "a stranger": {both[0], "0123"}} {
		if _, err := p.MakeReplicatedKEK(t.Context(), name, serials, system, security); !errors.Is(err, keystore.ErrTokens) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.MakeReplicatedKEK(t.Context(), "alone", both, system, system); !errors.Is(err, keystore.ErrCeremony) {
		t.Errorf("one officer: %v", err)
	}
	if _, err := p.MakeReplicatedKEK(t.Context(), "good", both, system, security); err != nil {
		t.Error(err)
	}
}

// forgetReplica takes the second token out of what the store knows of a KEK.
func (p *pair) forgetReplica(t *testing.T, e keystore.KEK) {
	t.Helper()
	for _, c := range keystore.Collections() {
		for _, id := range []keystore.ID{e.ID, e.Binder} {
			it, err := p.st.Get(t.Context(), c, id[:])
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			var fields map[string]any
			if err == nil {
				err = json.Unmarshal(it.Value, &fields)
			}
			if err != nil {
				t.Fatal(err)
			}
			delete(fields, "copies")
			if fields["tokens"] != nil {
				fields["tokens"] = e.Tokens[:1]
			}
			value, err := json.Marshal(fields)
			if err == nil {
				_, err = p.st.Commit(t.Context(), store.Mutation{Put: []store.Put{{Collection: c, Key: id[:], Value: value}},
					Expect: []store.Expect{{Collection: c, Key: id[:], Version: it.Version}}})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDeclaredReplica: a clone that the vendor's means made is believed when each token signs with what the other wrapped. Another key under the same
// identifiers is not.
func TestDeclaredReplica(t *testing.T) {
	p, e, wrapped, _ := newReplicated(t)
	single, err := p.MakeKEK(t.Context(), "single", system, security)
	if err != nil {
		t.Fatal(err)
	}
	other := p.members[0].Serial
	if single.Tokens[0] == other {
		other = p.members[1].Serial
	}
	declare := func() error {
		return p.DeclareReplica(t.Context(), single.ID, other, system, security, "clone")
	}
	if err := declare(); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("a clone that is not there: %v", err)
	}
	at := p.members[slices.IndexFunc(p.members, func(m keystore.Member) bool { return m.Serial == other })].Token
	for id, a := range map[keystore.ID]hsm.Algorithm{single.ID: hsm.KEK, single.Binder: hsm.AES256} {
		if _, err := at.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "impostor:" + id.String(), Algorithm: a}); err != nil {
			t.Fatal(err)
		}
	}
	if err := declare(); !errors.Is(err, keystore.ErrReplica) {
		t.Errorf("another key under the same name: %v", err)
	}
	// A true clone: the store forgets that a ceremony put the other KEK there.
	p.forgetReplica(t, e)
	next := p.open(t)
	for range 2 {
		if err := next.DeclareReplica(t.Context(), e.ID, p.members[1].Serial, system, security, "clone"); err != nil {
			t.Fatal(err)
		}
	}
	known, err := next.KEKs(t.Context())
	if err != nil || len(known[0].Tokens) != 2 {
		t.Errorf("%+v, %v", known, err)
	}
	p.script("* on=A absent")
	key, err := next.Key(t.Context(), wrapped[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(t.Context(), []byte("message")); err != nil {
		t.Errorf("the clone does not serve: %v", err)
	}
	p.script()
	if err := p.DeclareReplica(t.Context(), e.ID, other, system, security, "again"); err != nil {
		t.Errorf("a replica that is known: %v", err)
	}
	if err := p.DeclareReplica(t.Context(), e.ID, other, system, system, "alone"); !errors.Is(err, keystore.ErrCeremony) {
		t.Errorf("one officer: %v", err)
	}
	if _, err := wrapped[0].Sign(t.Context(), []byte("message")); err != nil {
		t.Error(err)
	}
}
