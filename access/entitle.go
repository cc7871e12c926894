package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sealkeeper/keystore/store"
)

// Want is one intended use of one seal: what an approval or a delegation must cover exactly.
type Want struct {
	Request   string   // Idempotency-Key
	Seal      string   // esID
	SealType  string   // 01 … 05
	USCC      string   // owner of the seal; empty when no such seal exists
	Kind      string   // one of the kinds of this package
	Unseen    bool     // the document stays with the client: its digest alone comes in (未见原文); always so for KindDigest
	Document  [32]byte // SM3 of the document as received; kind digest: the digest itself
	Placement [32]byte // digest of the stamps; zero for kind digest
	Purpose   string
	Client    string // who asks
	Now       time.Time
	// Institutional: the seal is an institution's own; a standing delegation takes the place of licence and owner's consent.
	Institutional bool
}

func (w Want) unseen() bool { return w.Unseen || w.Kind == KindDigest }

// Consent is what a request presents as the owner's will: an approval or the identifier of a registered delegation, never both.
type Consent struct {
	Approval   *SignedApproval
	Delegation string
}

// Entitlement is the answer to the first question of law 3: this client may ask for this seal.
type Entitlement struct {
	Grant
	Change         // the releasing commit expects client and grant as read, and spends the grant
	owner  *speaks // set when the owner's signature had to be checked for the entitlement already
}

// errNotOwners is the one answer to a caller whose only claim is the owner's consent, when that consent is not the owner's: it is the
// same for a seal that does not exist, so nothing is learnt by trying.
var errNotOwners = fmt.Errorf("consent is not by the owner of this seal: %w: %w", ErrNotEntitled, ErrApprovalAltered)

// Entitled decides whether the actor may ask for this use, without a look at any state of licence or seal. A grant that names the
// seal suffices. Under a grant for any seal whose owner approves, the owner's signature for this seal and client is checked here.
// ErrNotEntitled, ErrGrantWindow, ErrGrantSpent, ErrDigestOnly; under the second kind of grant also the approval's errors.
func (a *Access) Entitled(ctx context.Context, actor Actor, w Want, c Consent) (Entitlement, error) {
	var e Entitlement
	if err := a.Allow(actor, SignatureMake, Resource{Client: w.Client}); err != nil {
		return e, err
	}
	if actor.Role == RoleAppliance {
		return e, a.applianceEntitled(ctx, w, c)
	}
	client, version, err := a.active(ctx, actor.Client)
	if err != nil {
		return e, err
	}
	if client.Role != actor.Role {
		return e, fmt.Errorf("client's role has changed: %w", ErrNotEntitled)
	}
	e.Expect = append(e.Expect, store.Expect{Collection: Clients, Key: []byte(client.ID), Version: version})
	if err := a.pickGrant(ctx, &e, w); err != nil {
		return e, err
	}
	if e.AnyOwner {
		if err := a.ownerSpeaks(ctx, &e, w, c); err != nil {
			return e, err
		}
	}
	if w.unseen() && (!e.DigestOnly || w.SealType == LegalRepresentative) {
		return e, ErrDigestOnly
	}
	return e, nil
}

// pickGrant takes the first grant in force that covers the use, one that names the seal before one for any owner.
func (a *Access) pickGrant(ctx context.Context, e *Entitlement, w Want) error {
	gs, err := a.grantsOf(ctx, w.Client)
	if err != nil {
		return err
	}
	refusal := error(nil)
	for _, anyOwner := range []bool{false, true} {
		for _, g := range gs {
			if g.AnyOwner != anyOwner || !g.covers(w) {
				continue
			}
			err := a.usable(ctx, g.Grant, w)
			if err == nil {
				e.take(g)
				return nil
			}
			refusal = firstOf(refusal, err)
		}
	}
	return firstOf(refusal, fmt.Errorf("no grant for this use: %w", ErrNotEntitled))
}

func (e *Entitlement) take(g versioned) {
	e.Grant = g.Grant
	e.Expect = append(e.Expect, store.Expect{Collection: Grants, Key: []byte(g.ID), Version: g.version})
	e.Spend = append(e.Spend, store.Spend{Counter: g.Counter(), N: 1, Limit: g.Count})
}

// usable reports whether a covering grant is in force with something left.
func (a *Access) usable(ctx context.Context, g Grant, w Want) error {
	if w.Now.Before(g.NotBefore) || w.Now.After(g.Expires) {
		return fmt.Errorf("grant %q: %w", g.ID, ErrGrantWindow)
	}
	if w.unseen() && !g.DigestOnly {
		return fmt.Errorf("grant %q: %w", g.ID, ErrDigestOnly)
	}
	spent, err := a.st.Counter(ctx, g.Counter())
	if err == nil && spent >= g.Count {
		err = fmt.Errorf("grant %q: %w", g.ID, ErrGrantSpent)
	}
	return err
}

// ownerSpeaks is the entitlement under a grant for any owner.
func (a *Access) ownerSpeaks(ctx context.Context, e *Entitlement, w Want, c Consent) error {
	switch {
	case c.Approval != nil:
		s, err := a.speaks(ctx, *c.Approval, w)
		if errors.Is(err, ErrApprovalAltered) || errors.Is(err, ErrNoDevice) {
			return errNotOwners
		}
		if err == nil {
			e.owner = &s
		}
		return err
	case c.Delegation != "":
		d, _, err := a.delegation(ctx, c.Delegation)
		if err == nil && !d.of(w) {
			err = errNoDelegation
		}
		return err
	default:
		return ErrApprovalMissing
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
