package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"sealkeeper/access/ceremony"
	"sealkeeper/hsm"
	"sealkeeper/keystore"
)

// replicated is the result of a step that puts a wrapping key into several tokens.
type replicated struct {
	KEK    string   `json:"kek,omitempty"` // of one that there was before
	Tokens []string `json:"tokens"`
}

// prepareReplicas refuses tokens that are not two or more different ones of this appliance.
func (a *appliance) prepareReplicas(_ context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	serials := strings.Split(s.Token, ",")
	for i, serial := range serials {
		if !a.hasToken(serial) || slices.Contains(serials[:i], serial) {
			return ceremony.Prepared{}, refuse("token %q is not configured here, or named twice", serial)
		}
	}
	if len(serials) < 2 {
		return ceremony.Prepared{}, refuse("a replicated wrapping key needs two tokens, and this names %q alone; make-kek makes a key in one", s.Token)
	}
	return ceremony.Prepared{Result: replicated{Tokens: serials}}, nil
}

func (a *appliance) hasToken(serial string) bool {
	return slices.ContainsFunc(a.keys.Tokens(), func(t keystore.TokenState) bool { return serial != "" && t.Serial == serial })
}

// makeReplicatedKEK is makeNextKEK over several tokens.
func (a *appliance) makeReplicatedKEK(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	_, err := a.keys.MakeReplicatedKEK(ctx, s.Ref, strings.Split(s.Token, ","), s.By, s.Second)
	return err
}

// prepareReplica refuses what is no living wrapping key, and a token that is not one of several here.
func (a *appliance) prepareReplica(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	ready, err := a.prepareKEK(ctx, s)
	if err != nil {
		return ready, err
	}
	if len(a.keys.Tokens()) < 2 || !a.hasToken(s.Token) {
		return ceremony.Prepared{}, refuse("token %q is not one of several configured here", s.Token)
	}
	return ceremony.Prepared{Result: replicated{s.Key, []string{s.Token}}}, nil
}

// replicateKEK takes a vendor's clone on record once both tokens have shown it.
func (a *appliance) replicateKEK(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	err := a.keys.DeclareReplica(ctx, keyID(s), s.Token, s.By, s.Second, s.Reason)
	if errors.Is(err, hsm.ErrNotFound) || errors.Is(err, keystore.ErrReplica) {
		return refuse("clone wrapping key %s and its binding key into token %s by the vendor's means, then execute again: %v", s.Key, s.Token, err)
	}
	return err
}
