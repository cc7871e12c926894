package licence

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
)

// EventKind is the envelope kind of a licence event.
const EventKind = "licence-event/1"

// Why an event is refused. A missing or wrong signature is envelope.ErrUnsigned or envelope.ErrSignature, a payload that is not this
// structure envelope.ErrPayload.
var (
	// ErrEventKind: no such kind of event.
	ErrEventKind = errors.New("unknown kind of licence event")
	// ErrEventForm: the event's own fields are out of form (identifier, times, size).
	ErrEventForm = errors.New("licence event is out of form")
	// ErrEventFuture: the event was issued, or takes effect, later than now.
	ErrEventFuture = errors.New("licence event lies in the future")
	// ErrEventOrder: the library has a later event of this entity.
	ErrEventOrder = errors.New("licence event is older than the last one of this entity")
	// ErrEventReused: another event had the same identifier.
	ErrEventReused = errors.New("licence event identifier was used for something else")
	// ErrTransition: the kind does not follow the licence's present status.
	ErrTransition = errors.New("licence event does not follow the licence's status")
	// ErrSynthetic: production mode has no made-up enterprises.
	ErrSynthetic = errors.New("synthetic credit codes are refused in production mode")
	// ErrNotSynthetic: demo mode has nothing but made-up enterprises.
	ErrNotSynthetic = errors.New("demo mode takes synthetic credit codes only")
)

// Kind says what happened to the registration.
type Kind string

// The kinds of events.
const (
	KindEstablished Kind = "established" // also the first word about an enterprise that is older than this library
	KindChanged     Kind = "changed"     // fields change, status stays
	KindDormant     Kind = "dormant"
	KindRestored    Kind = "restored" // from dormant, revoked_open, moved_out or other back to active
	KindRevoked     Kind = "revoked"
	KindCancelled   Kind = "cancelled"
	KindAnnulled    Kind = "annulled"
	KindMovedOut    Kind = "moved_out"
	KindFlagged     Kind = "flagged" // to other: a human must look
)

type kindRule struct {
	from   []Status // empty: only as the first event of an entity
	to     Status   // empty: the status stays
	states bool     // the event states all fields; otherwise it changes none
}

var open = []Status{Active, Dormant, RevokedOpen, MovedOut, Other}

// kinds is the transition table of registrations.
var kinds = map[Kind]kindRule{
	KindEstablished: {to: Active, states: true},
	KindChanged:     {from: open, states: true},
	KindDormant:     {from: []Status{Active}, to: Dormant},
	KindRestored:    {from: []Status{Dormant, RevokedOpen, MovedOut, Other}, to: Active},
	KindRevoked:     {from: []Status{Active, Dormant, MovedOut, Other}, to: RevokedOpen},
	KindCancelled:   {from: open, to: Cancelled},
	KindAnnulled:    {from: open, to: Annulled},
	KindMovedOut:    {from: []Status{Active, Dormant}, to: MovedOut},
	KindFlagged:     {from: []Status{Active, Dormant, MovedOut}, to: Other},
}

// Event is the payload of EventKind. Kinds established and changed state every field of the licence; the others name the code alone
// or repeat the fields unchanged.
type Event struct {
	ID          string    `json:"id"` // the source's own, 1..128 characters [A-Za-z0-9._:-]; the same event keeps it for ever
	Kind        Kind      `json:"kind"`
	Licence     Fields    `json:"licence"`
	EffectiveAt time.Time `json:"effective_at"` // when the registration took effect
	IssuedAt    time.Time `json:"issued_at"`    // strictly increasing over one entity's events
	Cause       Cause     `json:"cause,omitempty"`
}

// Cause says why a registration is revoked, cancelled or flagged where that is more than the kind itself; the effect is the kind's.
type Cause string

// The causes.
const (
	CauseMerged   Cause = "merged"   // into another enterprise
	CauseSplit    Cause = "split"    // into others
	CauseBankrupt Cause = "bankrupt" // flagged while it is wound up, cancelled at its end
)

// causes lists the kinds of events that may name each cause.
var causes = map[Cause][]Kind{
	"":            nil,
	CauseMerged:   {KindCancelled},
	CauseSplit:    {KindCancelled},
	CauseBankrupt: {KindCancelled, KindFlagged},
}

const (
	maxPayload = 256 << 10
	// clockSkew is how far a source's clock may run ahead of ours.
	clockSkew = 2 * time.Minute
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// openEvent checks signature, form and mode: everything that needs no library.
func openEvent(e envelope.Envelope, cfg Config) (Event, []string, error) {
	var ev Event
	if len(e.Payload) > maxPayload {
		return ev, nil, fmt.Errorf("payload of %d bytes, at most %d: %w", len(e.Payload), maxPayload, ErrEventForm)
	}
	if err := envelope.Open(e, EventKind, cfg.Pinned, &ev); err != nil {
		return ev, nil, err
	}
	ev.EffectiveAt, ev.IssuedAt = ev.EffectiveAt.UTC(), ev.IssuedAt.UTC()
	if err := ev.check(cfg.Now()); err != nil {
		return ev, nil, err
	}
	warnings, err := CheckUSCC(ev.Licence.USCC)
	if err != nil {
		return ev, nil, err
	}
	return ev, warnings, cfg.Mode.check(ev.Licence.USCC)
}

func (ev Event) check(now time.Time) error {
	rule, known := kinds[ev.Kind]
	switch {
	case !idForm.MatchString(ev.ID):
		return fmt.Errorf("identifier %.140q: %w", ev.ID, ErrEventForm)
	case !known:
		return fmt.Errorf("%.64q: %w", ev.Kind, ErrEventKind)
	case ev.EffectiveAt.IsZero() || ev.IssuedAt.IsZero():
		return fmt.Errorf("effective_at or issued_at is missing: %w", ErrEventForm)
	case ev.EffectiveAt.After(now.Add(clockSkew)) || ev.IssuedAt.After(now.Add(clockSkew)):
		return fmt.Errorf("event %s: %w", ev.ID, ErrEventFuture)
	case ev.Cause != "" && !slices.Contains(causes[ev.Cause], ev.Kind):
		return fmt.Errorf("cause %.32q of an event %s: %w", ev.Cause, ev.Kind, ErrEventForm)
	case rule.states:
		return ev.Licence.check()
	}
	return nil
}

// follow works out the next version of a licence, or says why the event does not follow.
func (ev Event) follow(before Licence, last Standing) (Licence, error) {
	rule, first := kinds[ev.Kind], before.Version == 0
	switch {
	case first && len(rule.from) > 0:
		return Licence{}, fmt.Errorf("%s of %s, which is not in the library: %w", ev.Kind, ev.Licence.USCC, ErrTransition)
	case !first && (!ev.IssuedAt.After(last.IssuedAt) || ev.EffectiveAt.Before(last.ValidFrom)):
		return Licence{}, fmt.Errorf("event %s after %s: %w", ev.ID, last.Event, ErrEventOrder)
	case !first && !slices.Contains(rule.from, before.Status):
		return Licence{}, fmt.Errorf("%s of a licence that is %s: %w", ev.Kind, before.Status, ErrTransition)
	}
	next := Licence{Fields: ev.Licence, Status: rule.to, Version: before.Version + 1, ValidFrom: ev.EffectiveAt, Event: ev.ID, Kind: ev.Kind, Cause: ev.Cause}
	if !rule.states {
		if f := ev.Licence; f != (Fields{USCC: f.USCC}) && f != before.Fields {
			return Licence{}, fmt.Errorf("%s states other fields than the library: %w", ev.Kind, ErrFields)
		}
		next.Fields = before.Fields
	}
	if rule.to == "" {
		next.Status = before.Status
	}
	return next, nil
}

// Mode says what the appliance is for.
type Mode string

// The modes. There is no default: configuration names one.
const (
	Production Mode = "production"
	Demo       Mode = "demo"
)

func (m Mode) check(uscc string) error {
	switch synthetic := IsSynthetic(uscc); {
	case m == Production && synthetic:
		return fmt.Errorf("%s: %w", uscc, ErrSynthetic)
	case m == Demo && !synthetic:
		return fmt.Errorf("%s: %w", uscc, ErrNotSynthetic)
	}
	return nil
}

// Config is what the library needs to know. Whoever controls Pinned can put any licence into it.
type Config struct {
	Mode   Mode
	Pinned []*gm.PublicKey  // the registration system's keys; at least one
	Now    func() time.Time // nil means time.Now
}
