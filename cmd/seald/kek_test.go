package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/keystore"
)

// TestKEKCeremonies: a wrapping key is made, retired and destroyed by three officers; killed after it was made and before that was on the ceremony's
// record, it is not made twice.
func TestKEKCeremonies(t *testing.T) {
	b := newBureau(t)
	c := b.approved(access.RoleSystem, "action: make-kek")
	dying := b.acts()
	dying[ceremony.MakeKEK] = ceremony.Act{Finish: func(ctx context.Context, s ceremony.Running, r json.RawMessage) error {
		return errors.Join(b.makeNextKEK(ctx, s, r), errors.New("killed"))
	}}
	desk, err := ceremony.New(ceremony.Config{Store: b.store, Access: b.access, Log: b.audit, Appliance: b.cfg.Audience, Now: time.Now, Acts: dying})
	b.must(err)
	if _, err := desk.Execute(t.Context(), nil, b.actor(access.RoleSystem), c.ID); err == nil {
		t.Fatal("not killed")
	}
	b.die()
	b.start()
	done, err := b.ceremonies.Execute(t.Context(), nil, b.actor(access.RoleSystem), c.ID)
	if err != nil || done.State != ceremony.Executed {
		t.Fatalf("%s, %v", done.State, err)
	}
	all, err := b.appliance.keys.KEKs(t.Context())
	if err != nil || len(all) != 1 || all[0].Ref != "ceremony/"+c.ID+"/1" {
		t.Fatalf("%d wrapping keys, %v", len(all), err)
	}
	kek := all[0].ID
	for step, want := range map[string]string{"destroy-kek\nkey: " + kek.String(): "not retired", "destroy-key\nkey: " + kek.String(): "in use",
		"retire-kek\nkey: " + b.key(keystore.PurposeMaker).ID().String(): "no wrapping key", "destroy-orphan\nkey: " + kek.String(): "no key"} {
		if _, err := b.carry(access.RoleSystem, "action: "+step); !errors.Is(err, ceremony.ErrRefused) {
			t.Errorf("%s: %v, want %s", step, err, want)
		}
	}
	for _, action := range []string{"retire-kek", "destroy-kek"} {
		if _, err := b.carry(access.RoleSystem, "action: "+action+"\nkey: "+kek.String()); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	if _, err := b.carry(access.RoleSystem, "action: retire-kek\nkey: "+kek.String()); !errors.Is(err, ceremony.ErrRefused) {
		t.Errorf("retiring what is destroyed: %v", err)
	}
	objects, err := b.tokens[0].Token.Objects(t.Context())
	b.must(err)
	for _, o := range objects {
		if o.ID == kek || o.ID == all[0].Binder {
			t.Errorf("%s %s is in the token still", o.Class, o.Label)
		}
	}
}
