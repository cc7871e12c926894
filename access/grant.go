package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/store"
)

// Kinds of document that a grant or a delegation may name.
const (
	KindDigest = "digest" // a document digest comes in, the document never does (未见原文)
	KindOFD    = "ofd"
	KindPDF    = "pdf"
	KindCMS    = "cms" // SignedData: over content that comes in, or over a digest (未见原文)
)

// KindLicence in a grant, alone and without seals, lets a client archive licence files for its purposes: its count is that of archive receipts.
const KindLicence = "licence"

var kinds = []string{KindCMS, KindDigest, KindOFD, KindPDF}

// LegalRepresentative is the seal type of 法定代表人章: never delegated, never used on a bare digest.
const LegalRepresentative = "05"

// Grant lets one client ask for signatures, in bounds. It never replaces the owner's approval or delegation.
type Grant struct {
	ID         string    `json:"id"`                  // 1..64 characters, chosen by whoever writes it
	Client     string    `json:"client"`              // Client.ID
	Seals      []string  `json:"seals,omitempty"`     // esIDs, sorted; empty exactly when AnyOwner is set
	AnyOwner   bool      `json:"any_owner_approves"`  // any seal whose owner signed an approval or delegation for this client
	Kinds      []string  `json:"kinds"`               // sorted subset of cms, digest, ofd, pdf; or licence alone
	Purposes   []string  `json:"purposes"`            // sorted, each 1..64 characters; the purposes the client may state
	NotBefore  time.Time `json:"not_before"`          // whole seconds, UTC
	Expires    time.Time `json:"expires"`             // the last second that counts
	Count      uint64    `json:"count"`               // signatures in all, at least 1, spent by counter grant/<id>
	DigestOnly bool      `json:"digest_only"`         // the client may sign digests of documents the appliance never saw
	Withdrawn  string    `json:"withdrawn,omitempty"` // reason, once withdrawn
}

// Grants is the collection of grants, keyed by ID, indexed by client.
var Grants = &store.Collection{Name: "grant", Codec: 1, Indexes: []store.Index{indexBy("client", clientOf)}}

// Counter is the name under which the grant's count is spent.
func (g Grant) Counter() string { return "grant/" + g.ID }

func (g Grant) check() error {
	fault := ""
	switch {
	case !cleanText(g.ID, 64):
		fault = "identifier"
	case !isHex(g.Client, 32):
		fault = "client"
	case slices.Contains(g.Kinds, KindLicence) && (len(g.Kinds) > 1 || len(g.Seals) > 0 || g.AnyOwner || g.DigestOnly):
		fault = "kind licence stands alone: no seals, no other kind"
	case slices.Contains(g.Kinds, KindLicence) && len(g.Seals) == 0:
		return g.checkBounds()
	case (len(g.Seals) == 0) != g.AnyOwner || !cleanList(g.Seals, 64):
		fault = "seals: sorted esIDs, or any whose owner approves"
	case len(g.Kinds) == 0 || !cleanList(g.Kinds, 16) || !subset(g.Kinds, kinds):
		fault = "kinds: sorted, of cms, digest, ofd and pdf"
	case g.DigestOnly && !slices.Contains(g.Kinds, KindDigest) && !slices.Contains(g.Kinds, KindCMS):
		fault = "digest_only without kind digest or cms"
	default:
		return g.checkBounds()
	}
	return fmt.Errorf("%s: %w", fault, ErrGrantForm)
}

// checkBounds judges what every grant has.
func (g Grant) checkBounds() error {
	fault := ""
	switch {
	case len(g.Purposes) == 0 || !cleanList(g.Purposes, 64):
		fault = "purposes: sorted, at least one"
	case g.Count == 0 || !wholeWindow(g.NotBefore, g.Expires):
		fault = "count and window"
	case g.Withdrawn != "":
		fault = "withdrawn from the start"
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", fault, ErrGrantForm)
}

// covers reports whether the grant is about this use at all, whatever the time and count.
func (g Grant) covers(w Want) bool {
	return g.Withdrawn == "" && slices.Contains(g.Kinds, w.Kind) && slices.Contains(g.Purposes, w.Purpose) &&
		(g.AnyOwner || slices.Contains(g.Seals, w.Seal))
}

// PutGrant writes a new grant for a registered department. ErrNotEntitled, ErrGrantForm, ErrGrantExists, ErrUnknown.
func (a *Access) PutGrant(ctx context.Context, req *store.Request, actor Actor, g Grant) (store.Receipt, error) {
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
	if _, err := a.st.Get(ctx, Grants, []byte(g.ID)); err == nil {
		return store.Receipt{}, fmt.Errorf("grant %q: %w", g.ID, ErrGrantExists)
	}
	ch := Change{Expect: []store.Expect{{Collection: Clients, Key: []byte(g.Client), Version: version}}}
	if err := errors.Join(ch.write(Grants, g.ID, 0, g), ch.record("grant", actor.Audit(), g.ID, g)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// WithdrawGrant ends a grant; what it released stays on record. Repeating it changes nothing.
func (a *Access) WithdrawGrant(ctx context.Context, req *store.Request, actor Actor, id, reason string) (store.Receipt, error) {
	if err := a.Allow(actor, GrantWrite, Resource{}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	if !cleanText(reason, 128) {
		return store.Receipt{}, fmt.Errorf("reason of the withdrawal: %w", ErrGrantForm)
	}
	g, v, err := read(ctx, a, Grants, &a.grants, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Receipt{}, fmt.Errorf("grant %q: %w", id, ErrUnknown)
	} else if err != nil || g.Withdrawn != "" {
		return store.Receipt{}, err
	}
	g.Withdrawn = reason
	var ch Change
	if err := errors.Join(ch.write(Grants, id, v, g), ch.record("grant", actor.Audit(), id, g)); err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

// GrantsPage lists the grants of one client, or of all when client is empty; a department sees its own.
func (a *Access) GrantsPage(ctx context.Context, actor Actor, client, cursor string, limit int) ([]Grant, string, error) {
	if err := a.Allow(actor, GrantRead, Resource{Client: client}); err != nil {
		return nil, "", err
	}
	return listOf(ctx, a, Grants, &a.grants, client, cursor, limit)
}

// GrantSpent returns how many signatures a grant has released.
func (a *Access) GrantSpent(ctx context.Context, id string) (uint64, error) {
	return a.st.Counter(ctx, Grant{ID: id}.Counter())
}

func listOf[T any](ctx context.Context, a *Access, col *store.Collection, d *store.Decoded[T], client, cursor string, limit int) ([]T, string, error) {
	if client == "" {
		return page(ctx, a, col, d, "", "", cursor, limit)
	}
	return page(ctx, a, col, d, "client", client, cursor, limit)
}

// MaySeeSeal reports whether the actor may read a seal and its public file: operators, the owner's channel, and departments with a
// grant that names the seal. It returns nil or ErrNotEntitled, the same for a seal that does not exist.
func (a *Access) MaySeeSeal(ctx context.Context, actor Actor, esid string) error {
	err := a.Allow(actor, SealRead, Resource{})
	if err == nil || actor.Role != RoleDepartment {
		return err
	}
	now := a.now()
	gs, gerr := a.grantsOf(ctx, actor.Client)
	if gerr != nil {
		return gerr
	}
	for _, g := range gs {
		if g.Withdrawn == "" && slices.Contains(g.Seals, esid) && !now.Before(g.NotBefore) && !now.After(g.Expires) {
			return nil
		}
	}
	return err
}

// versioned is a grant as read, so that the releasing commit can expect it unchanged.
type versioned struct {
	Grant
	version store.Version
}

// maxGrants bounds how many grants of one client are looked at; more is a configuration fault and answered as not entitled.
const maxGrants = 1000

// grantsOf reads the grants of one client in the order of their identifiers.
func (a *Access) grantsOf(ctx context.Context, client string) ([]versioned, error) {
	p, err := a.st.List(ctx, Grants, "client", []byte(client), "", maxGrants)
	if err != nil {
		return nil, fmt.Errorf("reading grants: %w", err)
	}
	gs := make([]versioned, len(p.Items))
	for i, it := range p.Items {
		if gs[i].Grant, err = a.grants.Of(it); err != nil {
			return nil, err
		}
		gs[i].version = it.Version
	}
	return gs, nil
}

// cleanList: sorted, no repeats, every element clean text without a comma.
func cleanList(list []string, max int) bool {
	for i, v := range list {
		if !cleanText(v, max) || slices.Contains([]byte(v), ',') || i > 0 && list[i-1] >= v {
			return false
		}
	}
	return true
}

func subset(list, of []string) bool {
	for _, v := range list {
		if !slices.Contains(of, v) {
			return false
		}
	}
	return true
}

// wholeWindow: two whole seconds in order.
func wholeWindow(from, to time.Time) bool {
	return whole(from) && whole(to) && !to.Before(from)
}

func whole(t time.Time) bool {
	return !t.IsZero() && t.Nanosecond() == 0 && t.Year() >= 2000 && t.Year() <= 9999
}
