package access

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/store"
)

// EntitledRecord decides whether the actor may act on a record of a kind for a purpose, under a grant of that kind. The commit that follows expects
// client and grant as read, and spends the grant. ErrNotEntitled, ErrGrantWindow, ErrGrantSpent.
func (a *Access) EntitledRecord(ctx context.Context, actor Actor, action Action, kind, purpose string, now time.Time) (Entitlement, error) {
	var e Entitlement
	if err := a.Allow(actor, action, Resource{Client: actor.Client}); err != nil {
		return e, err
	}
	client, version, err := a.active(ctx, actor.Client)
	if err != nil {
		return e, err
	}
	if client.Role != actor.Role {
		return e, fmt.Errorf("client's role has changed: %w", ErrNotEntitled)
	}
	e.Expect = append(e.Expect, store.Expect{Collection: Clients, Key: []byte(client.ID), Version: version})
	gs, err := a.grantsOf(ctx, actor.Client)
	if err != nil {
		return e, err
	}
	refusal := error(nil)
	for _, g := range gs {
		if g.Withdrawn != "" || !slices.Contains(g.Kinds, kind) || !slices.Contains(g.Purposes, purpose) {
			continue
		}
		err := a.usable(ctx, g.Grant, Want{Kind: kind, Now: now})
		if err == nil {
			e.take(g)
			return e, nil
		}
		refusal = firstOf(refusal, err)
	}
	return e, firstOf(refusal, fmt.Errorf("no grant of kind %s for purpose %.64q: %w", kind, purpose, ErrNotEntitled))
}
