package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/store"
)

// SharingGrant lets one department read an enterprise's licence together with its certificates of listed types, for listed purposes, in
// bounds. Whatever it does not list is not shown.
type SharingGrant struct {
	ID        string    `json:"id"`     // 1..64 characters, chosen by whoever writes it
	Client    string    `json:"client"` // Client.ID
	Types     []string  `json:"types"`  // certificate types, sorted, at least one
	Purposes  []string  `json:"purposes"`
	NotBefore time.Time `json:"not_before"` // whole seconds, UTC
	Expires   time.Time `json:"expires"`    // the last second that counts
	Count     uint64    `json:"count"`      // reads in all, at least 1, spent by counter sharing/<id>
	Withdrawn string    `json:"withdrawn,omitempty"`
}

// sharingGrants is the collection of sharing grants, keyed by ID, indexed by client.
var sharingGrants = &store.Collection{Name: "sharing-grant", Codec: 1, Indexes: []store.Index{indexBy("client", clientOf)}}

// Counter is the name under which the grant's count is spent.
func (g SharingGrant) Counter() string { return "sharing/" + g.ID }

func (g SharingGrant) check() error {
	fault := ""
	switch {
	case !cleanText(g.ID, 64):
		fault = "identifier"
	case !isHex(g.Client, 32):
		fault = "client"
	case len(g.Types) == 0 || len(g.Types) > 500 || !cleanList(g.Types, 32):
		fault = "types: sorted, 1 to 500"
	case len(g.Purposes) == 0 || len(g.Purposes) > 100 || !cleanList(g.Purposes, 64):
		fault = "purposes: sorted, 1 to 100"
	case g.Count == 0 || !wholeWindow(g.NotBefore, g.Expires):
		fault = "count and window"
	case g.Withdrawn != "":
		fault = "withdrawn from the start"
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", fault, ErrGrantForm)
}

// PutSharing writes a new sharing grant for a registered department. ErrNotEntitled, ErrGrantForm, ErrGrantExists, ErrUnknown.
func (a *Access) PutSharing(ctx context.Context, req *store.Request, actor Actor, g SharingGrant) (store.Receipt, error) {
	if err := a.Allow(actor, GrantWrite, Resource{}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	if err := g.check(); err != nil {
		return store.Receipt{}, err
	}
	c, version, err := a.active(ctx, g.Client)
	if err != nil || c.Role != RoleDepartment {
		return store.Receipt{}, fmt.Errorf("granting to %.12s, which is no active department: %w", g.Client, ErrUnknown)
	}
	if _, err := a.st.Get(ctx, sharingGrants, []byte(g.ID)); err == nil {
		return store.Receipt{}, fmt.Errorf("sharing grant %q: %w", g.ID, ErrGrantExists)
	}
	ch := Change{Expect: []store.Expect{{Collection: Clients, Key: []byte(g.Client), Version: version}}}
	if err := errors.Join(ch.write(sharingGrants, g.ID, 0, g), ch.record("sharing-grant", actor.Audit(), g.ID, g)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// WithdrawSharing ends a sharing grant. Repeating it changes nothing.
func (a *Access) WithdrawSharing(ctx context.Context, req *store.Request, actor Actor, id, reason string) (store.Receipt, error) {
	if err := a.Allow(actor, GrantWrite, Resource{}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	if !cleanText(reason, 128) {
		return store.Receipt{}, fmt.Errorf("reason of the withdrawal: %w", ErrGrantForm)
	}
	g, v, err := read(ctx, a, sharingGrants, &a.sharing, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Receipt{}, fmt.Errorf("sharing grant %q: %w", id, ErrUnknown)
	} else if err != nil || g.Withdrawn != "" {
		return store.Receipt{}, err
	}
	g.Withdrawn = reason
	var ch Change
	if err := errors.Join(ch.write(sharingGrants, id, v, g), ch.record("sharing-grant", actor.Audit(), id, g)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// SharingPage lists the sharing grants of one client, or of all when client is empty; a department sees its own.
func (a *Access) SharingPage(ctx context.Context, actor Actor, client, cursor string, limit int) ([]SharingGrant, string, error) {
	if err := a.Allow(actor, GrantRead, Resource{Client: client}); err != nil {
		return nil, "", err
	}
	return listOf(ctx, a, sharingGrants, &a.sharing, client, cursor, limit)
}

// Shared is the answer that this department may read these types now for this purpose, and what the reading commit spends and expects.
type Shared struct {
	SharingGrant
	Change
}

// MayShare decides whether the actor may read under the grant for the purpose, without a look at any licence. A grant that is unknown,
// withdrawn, another client's or for other purposes is the same ErrNotEntitled; then ErrGrantWindow, ErrGrantSpent.
func (a *Access) MayShare(ctx context.Context, actor Actor, grant, purpose string) (Shared, error) {
	var s Shared
	if err := a.Allow(actor, CertificateShare, Resource{}); err != nil {
		return s, err
	}
	client, version, err := a.active(ctx, actor.Client)
	if err != nil {
		return s, err
	}
	g, gv, err := read(ctx, a, sharingGrants, &a.sharing, grant)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return s, fmt.Errorf("reading sharing grant: %w", err)
	}
	if err != nil || client.Role != RoleDepartment || g.Client != client.ID || g.Withdrawn != "" || !slices.Contains(g.Purposes, purpose) {
		return s, fmt.Errorf("no sharing grant for this purpose: %w", ErrNotEntitled)
	}
	if now := a.now(); now.Before(g.NotBefore) || now.After(g.Expires) {
		return s, fmt.Errorf("sharing grant %q: %w", g.ID, ErrGrantWindow)
	}
	spent, err := a.st.Counter(ctx, g.Counter())
	if err != nil {
		return s, err
	}
	if spent >= g.Count {
		return s, fmt.Errorf("sharing grant %q: %w", g.ID, ErrGrantSpent)
	}
	s.SharingGrant = g
	s.Expect = []store.Expect{{Collection: Clients, Key: []byte(client.ID), Version: version}, {Collection: sharingGrants, Key: []byte(g.ID), Version: gv}}
	s.Spend = []store.Spend{{Counter: g.Counter(), N: 1, Limit: g.Count}}
	return s, nil
}

// Registered decides as Acting does, and returns the expectation that the client is not disabled before the caller's commit.
func (a *Access) Registered(ctx context.Context, actor Actor, action Action) (store.Expect, error) {
	c, v, err := a.active(ctx, actor.Client)
	if err != nil {
		return store.Expect{}, err
	}
	return store.Expect{Collection: Clients, Key: []byte(c.ID), Version: v}, a.Allow(c.Actor(), action, Resource{Client: c.ID})
}
