package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// addToken starts the appliance again with one more token and returns the serials of both.
func (b *bureau) addToken(second *softhsmtest.Token) (serials [2]string) {
	b.t.Helper()
	info, err := b.tokens[0].Token.Info(b.t.Context())
	b.must(err)
	b.must(b.appliance.close(b.t.Context()))
	b.appliance = nil
	file := filepath.Join(b.plan.State, "seald.yaml")
	cfg, err := LoadConfig(file)
	b.must(err)
	cfg.Token.Serial = info.Serial
	further := cfg.Token
	further.Serial, further.Label, further.PINFile, further.Births = second.Serial, second.Label, second.PINFile, []string{keystore.BirthsSeals}
	further.LatchFile = filepath.Join(b.plan.State, "second-latch.json")
	cfg.FurtherTokens = []TokenConfig{further}
	text, err := yaml.Marshal(cfg)
	b.must(err)
	b.must(os.WriteFile(file, text, 0o600))
	b.start()
	return [2]string{info.Serial, second.Serial}
}

// mortal is a token at whose first lock the store is gone, as for a process that is killed there.
type mortal struct {
	keystore.Token
	kill func() error
}

func (m mortal) Lock(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	b, err := m.Token.Lock(ctx, r)
	return b, errors.Join(err, m.kill())
}

// executeKilled carries an approved plan out with other acts, which end in death.
func (b *bureau) executeKilled(id string, acts map[ceremony.Action]ceremony.Act) {
	b.t.Helper()
	desk, err := ceremony.New(ceremony.Config{Store: b.store, Access: b.access, Log: b.audit, Appliance: b.cfg.Audience, Now: time.Now, Acts: acts})
	b.must(err)
	if _, err := desk.Execute(b.t.Context(), nil, b.actor(access.RoleSystem), id); err == nil {
		b.t.Fatal("not killed")
	}
}

// executed carries on with a ceremony to its end.
func (b *bureau) executed(id string) {
	b.t.Helper()
	if done, err := b.ceremonies.Execute(b.t.Context(), nil, b.actor(access.RoleSystem), id); err != nil || done.State != ceremony.Executed {
		b.t.Fatalf("%s, %v", done.State, err)
	}
}

// wrapping are the identifiers of the wrapping, binding and transport keys in token i.
func (b *bureau) wrapping(i int) (ids []keystore.ID) {
	b.t.Helper()
	all, err := b.tokens[i].Token.Objects(b.t.Context())
	b.must(err)
	for _, o := range all {
		if strings.HasPrefix(o.Label, "sealkeeper:kek:") && !slices.Contains(ids, o.ID) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (b *bureau) onlyKEK(ref string, serials ...string) keystore.KEK {
	b.t.Helper()
	all, err := b.appliance.keys.KEKs(b.t.Context())
	if err != nil || len(all) != 1 || all[0].Ref != ref || !slices.Equal(all[0].Tokens, serials) {
		b.t.Fatalf("wrapping keys %+v, %v; want one of %s in %v", all, err, ref, serials)
	}
	return all[0]
}

// TestReplicatedKEKCeremonies: three officers make a wrapping key in two tokens. Killed when both hold it and no record says so, the next start leaves nothing
// of it in either and the ceremony makes it afresh; killed after that record and before the ceremony's, it is not made twice. A clone is declared as safely.
func TestReplicatedKEKCeremonies(t *testing.T) {
	second := softhsmtest.New(t)
	b := newBureau(t)
	two := b.addToken(second)
	for step, want := range map[string]string{two[0]: "one", two[0] + "," + two[0]: "the same twice", two[0] + ",0123": "a stranger", ",": "none"} {
		if _, err := b.carry(access.RoleSystem, "action: make-replicated-kek\ntoken: '"+step+"'"); !errors.Is(err, ceremony.ErrRefused) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := b.approved(access.RoleSystem, fmt.Sprintf("action: make-replicated-kek\ntoken: '%s,%s'", two[0], two[1]))
	members := slices.Clone(b.tokens)
	members[0].Token = mortal{members[0].Token, b.store.Close}
	var err error
	b.appliance.keys, err = keystore.OpenSeveral(t.Context(), members, b.store, slog.New(slog.DiscardHandler))
	b.must(err)
	b.executeKilled(c.ID, b.acts())
	for i := range 2 {
		if held := b.wrapping(i); len(held) < 2 {
			t.Fatalf("killed with %d keys of the ceremony in token %d; this shows nothing", len(held), i)
		}
	}
	b.must(closeTokens(b.tokens))
	b.appliance = nil
	b.start()
	for i := range 2 {
		if held := b.wrapping(i); len(held) != 0 {
			t.Errorf("a start left %v in token %d", held, i)
		}
	}
	dying := b.acts()
	dying[ceremony.MakeReplicated] = ceremony.Act{Finish: func(ctx context.Context, s ceremony.Running, r json.RawMessage) error {
		return errors.Join(b.makeReplicatedKEK(ctx, s, r), errors.New("killed"))
	}}
	b.executeKilled(c.ID, dying)
	made := b.onlyKEK("ceremony/"+c.ID+"/1", two[:]...)
	b.die()
	b.start()
	b.executed(c.ID)
	if again := b.onlyKEK("ceremony/"+c.ID+"/1", two[:]...); again.ID != made.ID {
		t.Errorf("made %s, then %s", made.ID, again.ID)
	}
	for i := range 2 {
		if held := b.wrapping(i); len(held) != 2 || !slices.Contains(held, made.ID) || !slices.Contains(held, made.Binder) {
			t.Errorf("token %d holds %v, want %s and %s", i, held, made.ID, made.Binder)
		}
	}
	b.declares(made, two)
	for _, action := range []string{"retire-kek", "destroy-kek"} {
		if _, err := b.carry(access.RoleSystem, "action: "+action+"\nkey: "+made.ID.String()); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	for i := range 2 {
		if held := b.wrapping(i); slices.Contains(held, made.ID) || slices.Contains(held, made.Binder) {
			t.Errorf("destroyed, and token %d holds %v still", i, held)
		}
	}
}

// declares has the clone that is there taken on record after the store forgot it, with a death after that record and before the ceremony's.
func (b *bureau) declares(made keystore.KEK, two [2]string) {
	b.t.Helper()
	step := "action: replicate-kek\nkey: %s\ntoken: '%s'"
	for what, s := range map[string]string{"no wrapping key": fmt.Sprintf(step, b.key(keystore.PurposeMaker).ID(), two[1]), "a stranger": fmt.Sprintf(step, made.ID, "0123")} {
		if _, err := b.carry(access.RoleSystem, s); !errors.Is(err, ceremony.ErrRefused) {
			b.t.Errorf("%s: %v", what, err)
		}
	}
	b.forgetReplica(made)
	b.onlyKEK(made.Ref, two[0])
	c := b.approved(access.RoleSystem, fmt.Sprintf(step, made.ID, two[1]))
	dying := b.acts()
	dying[ceremony.ReplicateKEK] = ceremony.Act{Prepare: b.prepareReplica, Finish: func(ctx context.Context, s ceremony.Running, r json.RawMessage) error {
		return errors.Join(b.replicateKEK(ctx, s, r), errors.New("killed"))
	}}
	b.executeKilled(c.ID, dying)
	b.die()
	b.start()
	b.executed(c.ID)
	b.onlyKEK(made.Ref, two[:]...)
	if _, err := b.carry(access.RoleSystem, "action: make-kek"); err != nil {
		b.t.Fatal(err)
	}
	all, err := b.appliance.keys.KEKs(b.t.Context())
	b.must(err)
	for _, single := range all {
		if single.ID == made.ID {
			continue
		}
		other := two[0]
		if single.Tokens[0] == other {
			other = two[1]
		}
		if _, err := b.carry(access.RoleSystem, fmt.Sprintf(step, single.ID, other)); !errors.Is(err, ceremony.ErrRefused) {
			b.t.Errorf("a clone that is not there: %v", err)
		}
	}
}

// forgetReplica takes the second token out of what the store knows of a wrapping key: what stands there is then a clone that nobody declared.
func (b *bureau) forgetReplica(e keystore.KEK) {
	b.t.Helper()
	for _, c := range keystore.Collections() {
		for _, id := range []keystore.ID{e.ID, e.Binder} {
			it, err := b.store.Get(b.t.Context(), c, id[:])
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			b.must(err)
			var fields map[string]any
			b.must(json.Unmarshal(it.Value, &fields))
			delete(fields, "copies")
			if fields["tokens"] != nil {
				fields["tokens"] = e.Tokens[:1]
			}
			value, err := json.Marshal(fields)
			b.must(err)
			_, err = b.store.Commit(b.t.Context(), store.Mutation{Put: []store.Put{{Collection: c, Key: id[:], Value: value}},
				Expect: []store.Expect{{Collection: c, Key: id[:], Version: it.Version}}})
			b.must(err)
		}
	}
}
