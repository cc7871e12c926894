package access

import (
	"context"
	"errors"
	"fmt"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ErrOperatorAlone: an operator is registered by a ceremony of two officers, never by one alone.
var ErrOperatorAlone = errors.New("an operator is registered by a ceremony, not by one officer alone")

// Officer returns an operator that may act now, and the expectation that nothing of that changes before the caller's commit.
func (a *Access) Officer(ctx context.Context, id string) (Client, store.Expect, error) {
	c, v, err := a.active(ctx, id)
	if err != nil {
		return Client{}, store.Expect{}, err
	}
	if !c.Role.Operator() {
		return Client{}, store.Expect{}, fmt.Errorf("client %.12s is no operator: %w", id, ErrNotEntitled)
	}
	return c, store.Expect{Collection: Clients, Key: []byte(id), Version: v}, nil
}

// Appoint is the registration of an operator for a ceremony's commit. ErrClientForm, ErrClientExists, ErrTwoRoles.
func (a *Access) Appoint(ctx context.Context, by audit.Actor, c Client) (Change, error) {
	if !c.Role.Operator() {
		return Change{}, fmt.Errorf("role %.40q is no operator's: %w", c.Role, ErrClientForm)
	}
	return a.registration(ctx, by, c)
}
