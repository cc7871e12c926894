package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ApplianceClient is how the appliance itself stands in the place of a client's identifier, which is always hexadecimal.
const ApplianceClient = "appliance"

// ApplianceActor is the appliance asking for signatures on its own papers.
var ApplianceActor = Actor{Client: ApplianceClient, Role: RoleAppliance, Name: "掌印"}

// Standing is a delegation that a ceremony signs for an institution's own seal, which has no licence and no owner with a phone: it takes
// the place of both in law 3. Its count is spent in the releasing commit, like every delegation's.
type Standing struct {
	ID        string    `json:"id"` // 1..64 characters, unique
	Seal      string    `json:"seal"`
	Authority string    `json:"authority"`  // USCC of the institution
	Client    string    `json:"client"`     // Client.ID, or ApplianceClient
	Purposes  []string  `json:"purposes"`   // sorted, at least one
	Kinds     []string  `json:"kinds"`      // sorted subset of cms, digest, ofd, pdf
	NotBefore time.Time `json:"not_before"` // whole seconds, UTC
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"`
	Ceremony  string    `json:"ceremony"` // the step it was signed by
	Since     time.Time `json:"since"`
	Revoked   string    `json:"revoked,omitempty"` // the step it was revoked by
}

// Standings is the collection of standing delegations, keyed by ID, indexed by client.
var Standings = &store.Collection{Name: "standing-delegation", Codec: 1, Indexes: []store.Index{indexBy("client", clientOf)}}

// Counter is the name under which the count is spent.
func (s Standing) Counter() string { return "standing/" + s.ID }

func (s Standing) check() error {
	fault := ""
	switch {
	case !cleanText(s.ID, 64):
		fault = "identifier"
	case s.Client != ApplianceClient && !isHex(s.Client, 32):
		fault = "client: a client's identifier, or " + ApplianceClient
	case len(s.Kinds) == 0 || !cleanList(s.Kinds, 16) || !subset(s.Kinds, kinds):
		fault = "kinds: sorted, of cms, digest, ofd and pdf"
	case s.Client == ApplianceClient && slices.Contains(s.Kinds, KindDigest):
		fault = "kinds: the appliance signs no bare digests"
	case len(s.Purposes) == 0 || !cleanList(s.Purposes, 64):
		fault = "purposes: sorted, at least one"
	case s.Count == 0 || !wholeWindow(s.NotBefore, s.Expires):
		fault = "count and window"
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", fault, ErrStandingForm)
}

// Stand drafts a new standing delegation, for the commit of the ceremony that signed it. Authority and Since are filled in. Errors:
// ErrStandingForm, also for a seal that is no institution's; ErrUnknown for a client that is no active department; ErrDelegationExists.
func (a *Access) Stand(ctx context.Context, by audit.Actor, s Standing) (Standing, Change, error) {
	var ch Change
	if err := s.check(); err != nil {
		return s, ch, err
	}
	owner, err := a.cfg.Owner(ctx, s.Seal)
	if errors.Is(err, store.ErrNotFound) || err == nil && !owner.Institutional {
		return s, ch, fmt.Errorf("seal %.64q is no institution's own: %w", s.Seal, ErrStandingForm)
	} else if err != nil {
		return s, ch, err
	}
	now := a.now().Truncate(time.Second)
	if now.After(s.Expires) {
		return s, ch, fmt.Errorf("its window is over: %w", ErrStandingForm)
	}
	if err := a.forDepartment(ctx, &ch, s.Client); err != nil {
		return s, ch, err
	}
	if _, err := a.st.Get(ctx, Standings, []byte(s.ID)); err == nil {
		return s, ch, fmt.Errorf("standing delegation %q: %w", s.ID, ErrDelegationExists)
	}
	s.Authority, s.Since, s.Revoked = owner.USCC, now, ""
	err = errors.Join(ch.write(Standings, s.ID, 0, s), ch.record("standing-delegation", by, s.ID, s))
	return s, ch, err
}

// forDepartment demands that the client is an active department, or the appliance itself.
func (a *Access) forDepartment(ctx context.Context, ch *Change, client string) error {
	if client == ApplianceClient {
		return nil
	}
	c, version, err := a.active(ctx, client)
	if err != nil || c.Role != RoleDepartment {
		return fmt.Errorf("delegating to %.12s, which is no active department: %w", client, ErrUnknown)
	}
	ch.Expect = append(ch.Expect, store.Expect{Collection: Clients, Key: []byte(client), Version: version})
	return nil
}

// Revoke drafts the end of a standing delegation, for the commit of the ceremony that decided it. ErrUnknown when there is none that stands.
func (a *Access) Revoke(ctx context.Context, by audit.Actor, id, ceremony string) (Standing, Change, error) {
	var ch Change
	s, version, err := a.standing(ctx, id)
	if errors.Is(err, ErrNoStanding) || err == nil && s.Revoked != "" {
		return s, ch, fmt.Errorf("standing delegation %.64q, not revoked yet: %w", id, ErrUnknown)
	} else if err != nil {
		return s, ch, err
	}
	s.Revoked = ceremony
	err = errors.Join(ch.write(Standings, id, version, s), ch.record("standing-delegation", by, id, s))
	return s, ch, err
}

// StandingsPage lists the standing delegations of one client, or of all when client is empty; a department sees its own.
func (a *Access) StandingsPage(ctx context.Context, actor Actor, client, cursor string, limit int) ([]Standing, string, error) {
	if err := a.Allow(actor, DelegationRead, Resource{Client: client}); err != nil {
		return nil, "", err
	}
	return listOf(ctx, a, Standings, &a.standings, client, cursor, limit)
}

// StandingSpent returns how many signatures a standing delegation has released.
func (a *Access) StandingSpent(ctx context.Context, id string) (uint64, error) {
	return a.st.Counter(ctx, Standing{ID: id}.Counter())
}

// StandingFor lists the appliance's own standing delegations that cover a use now and have something left, by identifier.
func (a *Access) StandingFor(ctx context.Context, purpose, kind string) ([]Standing, error) {
	p, err := a.st.List(ctx, Standings, "client", []byte(ApplianceClient), "", maxGrants)
	if err != nil {
		return nil, fmt.Errorf("reading standing delegations: %w", err)
	}
	var all []Standing
	for _, it := range p.Items {
		s, err := a.standings.Of(it)
		if err != nil {
			return nil, err
		}
		if s.outOfBounds(Want{Purpose: purpose, Kind: kind, Now: a.now()}) != "" {
			continue
		}
		if spent, err := a.StandingSpent(ctx, s.ID); err != nil {
			return nil, err
		} else if spent < s.Count {
			all = append(all, s)
		}
	}
	return all, nil
}

func (a *Access) standing(ctx context.Context, id string) (Standing, store.Version, error) {
	s, v, err := read(ctx, a, Standings, &a.standings, id)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%.64q: %w", id, ErrNoStanding)
	}
	return s, v, err
}

// CheckStanding verifies that a standing delegation covers the wanted use of an institution's seal. ErrNoStanding when none is named, there
// is none of that name, or it is another client's or seal's; ErrDelegationOutOfBounds; ErrDelegationSpent. Its count is spent by the releasing
// commit, which expects it unrevoked.
func (a *Access) CheckStanding(ctx context.Context, id string, w Want) (Cleared, error) {
	if id == "" {
		return Cleared{}, fmt.Errorf("none is named: %w", ErrNoStanding)
	}
	s, version, err := a.standing(ctx, id)
	if err != nil {
		return Cleared{}, err
	}
	if !w.Institutional || s.Seal != w.Seal || s.Client != w.Client || s.Authority != w.USCC {
		return Cleared{}, fmt.Errorf("%.64q: %w", id, ErrNoStanding)
	}
	if out := s.outOfBounds(w); out != "" {
		return Cleared{}, fmt.Errorf("%s: %w", out, ErrDelegationOutOfBounds)
	}
	if spent, err := a.StandingSpent(ctx, id); err != nil {
		return Cleared{}, err
	} else if spent >= s.Count {
		return Cleared{}, ErrDelegationSpent
	}
	ev, err := json.Marshal(Evidence{Standing: id})
	return Cleared{
		Spend:    []store.Spend{{Counter: s.Counter(), N: 1, Limit: s.Count}},
		Expect:   []store.Expect{{Collection: Standings, Key: []byte(id), Version: version}},
		Evidence: ev,
	}, err
}

func (s Standing) outOfBounds(w Want) string {
	switch {
	case s.Revoked != "":
		return "revoked"
	case !slices.Contains(s.Kinds, w.Kind):
		return "another kind of document"
	case !slices.Contains(s.Purposes, w.Purpose):
		return "another purpose"
	case w.Now.Before(s.NotBefore), w.Now.After(s.Expires):
		return "outside its window"
	default:
		return ""
	}
}

// applianceEntitled is the first question for the appliance itself: it has no grants, so a standing delegation that names it is what entitles it.
func (a *Access) applianceEntitled(ctx context.Context, w Want, c Consent) error {
	s, _, err := a.standing(ctx, c.Delegation)
	if errors.Is(err, ErrNoStanding) || err == nil && (!w.Institutional || w.unseen() || s.Client != ApplianceClient || s.Seal != w.Seal) {
		return fmt.Errorf("no standing delegation of the appliance's for this use: %w", ErrNotEntitled)
	}
	return err
}
