package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
)

// openCeremonies makes the desk where plans are handed in, approved and carried out.
func (a *appliance) openCeremonies(context.Context) (err error) {
	a.ceremonies, err = ceremony.New(ceremony.Config{Store: a.store, Access: a.access, Log: a.audit, Appliance: a.cfg.Audience, Now: time.Now, Acts: a.acts()})
	return err
}

// acts is what a ceremony can do on this appliance.
func (a *appliance) acts() map[ceremony.Action]ceremony.Act {
	return map[ceremony.Action]ceremony.Act{
		ceremony.RenewKey:         {Prepare: a.prepareRenewal, Finish: a.finishRenewal},
		ceremony.DestroyKey:       {Prepare: a.prepareDestruction, Finish: a.finishDestruction},
		ceremony.DestroyOrphan:    {Prepare: a.prepareOrphan, Finish: a.finishOrphan},
		ceremony.MakeKEK:          {Finish: a.makeNextKEK},
		ceremony.MakeReplicated:   {Prepare: a.prepareReplicas, Finish: a.makeReplicatedKEK},
		ceremony.ReplicateKEK:     {Prepare: a.prepareReplica, Finish: a.replicateKEK},
		ceremony.RetireKEK:        {Prepare: a.prepareKEK, Finish: a.retireKEK},
		ceremony.DestroyKEK:       {Prepare: a.prepareKEK, Finish: a.destroyKEK},
		ceremony.ClearPINLatch:    {Prepare: a.prepareLatch, Finish: a.finishLatch},
		ceremony.RegisterOperator: {Prepare: a.prepareOperator},

		ceremony.MakeInstitutional: {Prepare: a.prepareInstitutional},
		ceremony.DelegateStanding:  {Prepare: a.prepareStanding},
		ceremony.RevokeStanding:    {Prepare: a.prepareRevocation},
	}
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ceremony.ErrRefused)
}

func keyID(s ceremony.Running) keystore.ID {
	b, _ := hex.DecodeString(s.Key) // its form was checked with the plan
	return keystore.ID(b)
}

// destroyed is the result of a destruction.
type destroyed struct {
	Key     string `json:"key"`
	Purpose string `json:"purpose,omitempty"`
	Label   string `json:"label"`
}

// prepareDestruction refuses a key that something still uses.
func (a *appliance) prepareDestruction(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	k, err := a.keys.Describe(ctx, keyID(s))
	if errors.Is(err, keystore.ErrKeyNotFound) {
		return ceremony.Prepared{}, refuse("this store knows no key %s; if the token holds it, it takes destroy-orphan", s.Key)
	} else if err != nil {
		return ceremony.Prepared{}, err
	}
	if k.Destroyed != nil {
		return ceremony.Prepared{}, refuse("key %s was destroyed already", s.Key)
	}
	switch k.Purpose {
	case keystore.PurposeSeal, keystore.PurposeDocument:
		err = a.sealOver(ctx, k)
	default:
		switch {
		case k.Retired == nil:
			err = refuse("key %s is the appliance's own %s key and in use; only a key whose place another took is destroyed", s.Key, k.Purpose)
		case k.Purpose == keystore.PurposeSM2Issuing:
			err = a.listOwed(k.ID)
		}
	}
	return ceremony.Prepared{Result: destroyed{s.Key, string(k.Purpose), k.Label}}, err
}

// sealOver refuses the key of a seal that has not ended for good, or may still be made.
func (a *appliance) sealOver(ctx context.Context, k keystore.Listed) error {
	kind, of, _ := strings.Cut(k.Ref, "/")
	if kind == "document" {
		s, _, err := a.register.Seal(ctx, of)
		if err == nil && !s.State.Final() && s.Document != nil && s.Document.Key == k.ID {
			return refuse("seal %s is %s and signs documents with key %s; cancel it first", s.ESID, s.State, k.ID)
		}
		return err
	}
	if kind == "ceremony" { // an institution's own seal, whose key's label says which
		return a.institutionOver(ctx, k)
	}
	o, _, err := a.register.Order(ctx, of)
	if err != nil {
		return err
	}
	seals, err := a.register.SealsOf(ctx, o.USCC)
	if err != nil {
		return err
	}
	for _, s := range seals {
		if s.Key != k.ID {
			continue
		}
		if !s.State.Final() {
			return refuse("seal %s is %s and signs with key %s; cancel it first", s.ESID, s.State, k.ID)
		}
		return nil
	}
	return refuse("order %s made no seal with key %s yet", o.ID, k.ID)
}

func (a *appliance) finishDestruction(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	return a.keys.Destroy(ctx, keyID(s), s.By, s.Second, s.Reason)
}

func (a *appliance) prepareOrphan(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	orphans, err := a.keys.Orphans(ctx)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	for _, o := range orphans {
		if o.ID == keyID(s) && o.ID != (keystore.ID{}) {
			return ceremony.Prepared{Result: destroyed{Key: s.Key, Label: o.Label}}, nil
		}
	}
	return ceremony.Prepared{}, refuse("the token holds no key %s without a record here", s.Key)
}

func (a *appliance) finishOrphan(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	err := a.keys.DestroyOrphan(ctx, keyID(s), s.By, s.Second, s.Reason)
	if errors.Is(err, keystore.ErrKeyNotFound) {
		return nil // it went before the process died
	}
	return err
}

// latched names one latch, so that its clearing never clears a later one (law 7).
type latched struct {
	Token string `json:"token"`
	Latch string `json:"latch"` // SHA-256 of the latch's own random key
	Code  string `json:"code"`
}

// latch finds the latch of a token by its serial, and the file that it is in; nil when there is none.
func (a *appliance) latch(serial string) (*latched, string, error) {
	for _, t := range a.cfg.tokens() {
		l, err := hsm.ReadLatch(t.LatchFile)
		if err != nil {
			return nil, "", err
		}
		if l != nil && l.Serial == serial {
			d := sha256.Sum256([]byte(l.Key))
			return &latched{l.Serial, hex.EncodeToString(d[:]), l.Code}, t.LatchFile, nil
		}
	}
	return nil, "", nil
}

func (a *appliance) prepareLatch(_ context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	l, _, err := a.latch(s.Token)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	if l == nil {
		return ceremony.Prepared{}, refuse("no PIN of token %q is latched", s.Token)
	}
	return ceremony.Prepared{Result: l}, nil
}

// finishLatch clears the latch that was decided on and no other: the PIN may have been tried since, and refused again.
func (a *appliance) finishLatch(_ context.Context, _ ceremony.Running, result json.RawMessage) error {
	var decided latched
	if err := json.Unmarshal(result, &decided); err != nil {
		return fmt.Errorf("reading the step's result: %w", err)
	}
	l, file, err := a.latch(decided.Token)
	if err != nil || l == nil || *l != decided {
		return err
	}
	return hsm.ClearLatch(file)
}

// appointed is the result of a registration.
type appointed struct {
	Client      string `json:"client"`
	Certificate string `json:"certificate"` // PEM chain
}

func (a *appliance) prepareOperator(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	id, chain, err := certify(a.tls, []byte(s.CSR), s.Name)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	ch, err := a.access.Appoint(ctx, s.By, access.Client{ID: id, Name: s.Name, Role: access.Role(s.Role), Person: s.Person, Certificate: chain})
	return ceremony.Prepared{Change: ch, Result: appointed{id, chain}}, err
}
