package main

import (
	"context"
	"encoding/json"
	"errors"

	"sealkeeper/access/ceremony"
	"sealkeeper/keystore"
)

// makeNextKEK makes a wrapping key in commits of custody's own; asked again for the same step it finds what it made.
func (a *appliance) makeNextKEK(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	_, err := a.keys.MakeKEK(ctx, s.Ref, s.By, s.Second)
	return err
}

// prepareKEK refuses what is no wrapping key, and the end of one that keys live under.
func (a *appliance) prepareKEK(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	all, err := a.keys.KEKs(ctx)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	for _, k := range all {
		switch {
		case k.ID != keyID(s):
			continue
		case k.Destroyed != nil:
			return ceremony.Prepared{}, refuse("wrapping key %s was destroyed already", s.Key)
		case s.Action == ceremony.DestroyKEK && k.Retired == nil:
			return ceremony.Prepared{}, refuse("wrapping key %s is not retired; retire-kek comes first", s.Key)
		}
		return ceremony.Prepared{Result: k}, nil
	}
	return ceremony.Prepared{}, refuse("there is no wrapping key %s", s.Key)
}

func (a *appliance) retireKEK(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	return a.keys.RetireKEK(ctx, keyID(s), s.By, s.Second, s.Reason)
}

func (a *appliance) destroyKEK(ctx context.Context, s ceremony.Running, _ json.RawMessage) error {
	err := a.keys.DestroyKEK(ctx, keyID(s), s.By, s.Second, s.Reason)
	if errors.Is(err, keystore.ErrKEKInUse) {
		return refuse("keys live under wrapping key %s still; execute again once they have moved: %v", s.Key, err)
	}
	return err
}
