package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// DeviceFrozen answers a freeze: what was bound until now.
type DeviceFrozen struct {
	USCC    string           `json:"uscc"`
	Device  string           `json:"device"` // access.Device.KeyID
	Person  string           `json:"person"`
	Receipt keystore.Receipt `json:"-"`
}

// FreezeDevice takes an enterprise's bound device away at once: a lost phone. Approvals and delegations of the device expect its binding and fail from
// here on; the seals stay, since no key of theirs is on the phone, and whoever authenticates anew binds another device (Rebind). Errors:
// access.ErrNotEntitled, access.ErrNoDevice, register.ErrEvidence when nobody says who reported it.
func (i *Issuance) FreezeDevice(ctx context.Context, req *keystore.Request, actor access.Actor, uscc, evidence string) (DeviceFrozen, error) {
	if err := i.Access.Allow(actor, access.DeviceFreeze, access.Resource{}); err != nil {
		return DeviceFrozen{}, err
	}
	var before DeviceFrozen
	if r, done, err := i.answered(ctx, req, kindDeviceFrozen, &before); done || err != nil {
		before.Receipt = r
		return before, err
	}
	if evidence = strings.TrimSpace(evidence); evidence == "" {
		return DeviceFrozen{}, fmt.Errorf("freezing the device of %.20q: say who reported it and how: %w", uscc, register.ErrEvidence)
	}
	return again(ctx, func(ctx context.Context) (DeviceFrozen, error) {
		dev, at, err := i.Access.Device(ctx, uscc)
		if err != nil {
			return DeviceFrozen{}, fmt.Errorf("freezing the device of %.20q: %w", uscc, err)
		}
		out := DeviceFrozen{USCC: uscc, Device: dev.KeyID(), Person: dev.Person}
		d, err := unbound(kindDeviceFrozen, actor.Audit(), dev, at, cut(evidence, 256), out)
		if err != nil {
			return out, err
		}
		l, _, err := i.Library.Standing(ctx, uscc)
		if err != nil && !errors.Is(err, licence.ErrUnknown) {
			return out, err
		}
		told, err := i.tell(NoticeMessage{Kind: NoticeFrozen, USCC: uscc, Name: l.Name})
		if err != nil {
			return out, err
		}
		d.Add(told)
		out.Receipt, err = i.Store.Commit(ctx, d.Mutation(req))
		return out, err
	})
}

const kindDeviceFrozen = "device-frozen"

// unbound drafts the end of a binding; the record keeps the binding whole.
func unbound(kind string, by audit.Actor, dev access.Device, at store.Version, evidence string, result any) (register.Draft, error) {
	body, err := audit.Event{Kind: kind, Actor: by, Subject: dev.USCC, Detail: struct {
		Device   string        `json:"device"`
		Evidence string        `json:"evidence"`
		Binding  access.Device `json:"binding"`
	}{dev.KeyID(), evidence, dev}, Result: result}.Body()
	key := []byte(dev.USCC)
	return register.Draft{
		Put:    []store.Put{{Collection: access.Devices, Key: key}},
		Expect: []store.Expect{{Collection: access.Devices, Key: key, Version: at}},
		Audit:  [][]byte{body},
	}, err
}
