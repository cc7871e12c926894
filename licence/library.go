package licence

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ErrUnknown: the library has no licence with that code, or had none at that time.
var ErrUnknown = errors.New("no such licence")

// The collections. Values are JSON. "licence" holds a Standing per code; "licence-version" a Licence per code and number, written once;
// "licence-event" the signed envelope per event identifier, written once.
var (
	standings = &store.Collection{Name: "licence", Codec: 1, Indexes: []store.Index{
		{Name: byName, Keys: indexed(func(s Standing) string { return cutName(s.Name) })},
		{Name: byStatus, Keys: indexed(func(s Standing) string { return string(s.Status) })},
		{Name: byDivision, Keys: indexed(func(s Standing) string { return s.Division })},
		{Name: byChange, Keys: indexed(func(s Standing) string { return changeKey(s.TakenAt) })},
	}}
	versions = &store.Collection{Name: "licence-version", Codec: 1}
	events   = &store.Collection{Name: "licence-event", Codec: 1}
)

// Collections lists what this package stores.
func Collections() []*store.Collection {
	return []*store.Collection{standings, versions, events, files, fileBytes}
}

// Library answers for licences. It is safe for concurrent use.
type Library struct {
	st  store.Store
	cfg Config
	hot store.Decoded[Standing]
}

// New checks the configuration.
func New(st store.Store, cfg Config) (*Library, error) {
	if cfg.Mode != Production && cfg.Mode != Demo {
		return nil, fmt.Errorf("licence library: mode is %q, want production or demo", cfg.Mode)
	}
	if len(cfg.Pinned) == 0 {
		return nil, errors.New("licence library: no key of the registration system is pinned")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Library{st: st, cfg: cfg}, nil
}

// Change is what an event does, as pieces of the caller's commit. When Repeated is true there is nothing to commit: the same event
// was taken before and Licence is the version that it made.
type Change struct {
	Event    Event
	Licence  Licence
	Before   Licence // Version 0 when the entity is new
	Repeated bool
	Put      []store.Put
	Expect   []store.Expect
	Audit    [][]byte
	NotAfter time.Time // the commit's; later it is store.ErrLate, and the event must be prepared again
}

// Mutation is the change as a commit of its own.
func (c Change) Mutation() store.Mutation {
	return store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit, NotAfter: c.NotAfter}
}

// storedEvent keeps the evidence of a version.
type storedEvent struct {
	USCC     string            `json:"uscc"`
	Version  int               `json:"version"`
	SM3      string            `json:"payload_sm3"`
	Envelope envelope.Envelope `json:"envelope"`
}

// record is the detail of the audit record.
type record struct {
	Event     string `json:"event"`
	Kind      Kind   `json:"kind"`
	Version   int    `json:"version"`
	Status    Status `json:"status"`
	Payload   string `json:"payload_sm3"`
	Signature []byte `json:"signature"`
}

// Admit says whether the mode has room for a credit code: production has none for made-up enterprises, a demonstration for nobody else. Errors:
// ErrSynthetic, ErrNotSynthetic.
func (l *Library) Admit(uscc string) error { return l.cfg.Mode.check(uscc) }

// Prepare checks a signed event and works out what it changes. Nothing is stored. Errors: those of package envelope, ErrUSCC, ErrFields,
// the ErrEvent… family, ErrTransition, ErrSynthetic, ErrNotSynthetic. The caller's commit fails with store.ErrConflict when another event
// of the entity came first; preparing again then gives the true answer.
func (l *Library) Prepare(ctx context.Context, env envelope.Envelope, actor audit.Actor) (Change, error) {
	ev, warnings, err := openEvent(env, l.cfg)
	if err != nil {
		return Change{}, err
	}
	if c, seen, err := l.repeated(ctx, ev, env); seen || err != nil {
		return c, err
	}
	last, at, err := l.Standing(ctx, ev.Licence.USCC)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return Change{}, err
	}
	c := Change{Event: ev}
	if last.Version > 0 {
		if c.Before, err = l.Version(ctx, last.USCC, last.Version); err != nil {
			return Change{}, err
		}
	}
	if c.Licence, err = ev.follow(c.Before, last); err != nil {
		return Change{}, err
	}
	c.Licence.ReceivedAt, c.Licence.Warnings = l.cfg.Now().UTC(), warnings
	c.NotAfter = c.Licence.ReceivedAt.Add(grace)
	return c, c.fill(env, at, actor)
}

// repeated finds the first answer to an event. The payload decides: a source may sign the same bytes anew.
func (l *Library) repeated(ctx context.Context, ev Event, env envelope.Envelope) (Change, bool, error) {
	it, err := l.st.Get(ctx, events, []byte(ev.ID))
	if errors.Is(err, store.ErrNotFound) {
		return Change{}, false, nil
	}
	var was storedEvent
	if err := decode(it, err, &was); err != nil {
		return Change{}, false, fmt.Errorf("reading licence event %s: %w", ev.ID, err)
	}
	if was.SM3 != digest(env) {
		return Change{}, false, fmt.Errorf("event %s: %w", ev.ID, ErrEventReused)
	}
	lic, err := l.Version(ctx, was.USCC, was.Version)
	return Change{Event: ev, Licence: lic, Repeated: true}, true, err
}

func (c *Change) fill(env envelope.Envelope, at store.Version, actor audit.Actor) error {
	n, ev := c.Licence, c.Event
	body, err := audit.Event{Kind: audit.KindLicenceEvent, Actor: actor, Subject: n.USCC,
		Detail: record{ev.ID, ev.Kind, n.Version, n.Status, digest(env), env.Signature}}.Body()
	if err != nil {
		return fmt.Errorf("recording licence event %s: %w", ev.ID, err)
	}
	c.Audit = [][]byte{body}
	for _, w := range []struct {
		c   *store.Collection
		key string
		v   any
		at  store.Version
	}{
		{standings, n.USCC, n.standing(ev.IssuedAt), at},
		{versions, versionKey(n.USCC, n.Version), n, 0},
		{events, ev.ID, storedEvent{n.USCC, n.Version, digest(env), env}, 0},
	} {
		value, err := json.Marshal(w.v)
		if err != nil {
			return fmt.Errorf("encoding licence event %s: %w", ev.ID, err)
		}
		c.Put = append(c.Put, store.Put{Collection: w.c, Key: []byte(w.key), Value: value})
		c.Expect = append(c.Expect, store.Expect{Collection: w.c, Key: []byte(w.key), Version: w.at})
	}
	return nil
}

// Standing reads the small record of a licence: what law 3 asks before every signature. The version belongs into the releasing
// commit's expectations, as Expect makes them.
func (l *Library) Standing(ctx context.Context, uscc string) (Standing, store.Version, error) {
	it, err := l.st.Get(ctx, standings, []byte(uscc))
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return Standing{}, 0, fmt.Errorf("reading licence %.20q: %w", uscc, err)
	}
	s, err := l.hot.Of(it)
	return s, it.Version, err
}

// Expect requires a licence to be unchanged since it was read.
func Expect(uscc string, v store.Version) store.Expect {
	return store.Expect{Collection: standings, Key: []byte(uscc), Version: v}
}

// Current returns the last version of a licence and the store's version of its Standing.
func (l *Library) Current(ctx context.Context, uscc string) (Licence, store.Version, error) {
	s, at, err := l.Standing(ctx, uscc)
	if err != nil {
		return Licence{}, 0, err
	}
	lic, err := l.Version(ctx, uscc, s.Version)
	return lic, at, err
}

// At returns the version that was valid at a time; ErrUnknown before the first.
func (l *Library) At(ctx context.Context, uscc string, asOf time.Time) (Licence, error) {
	s, _, err := l.Standing(ctx, uscc)
	if err != nil {
		return Licence{}, err
	}
	var until time.Time
	for n := s.Version; n > 0; n-- {
		lic, err := l.Version(ctx, uscc, n)
		if err != nil {
			return Licence{}, err
		}
		if !lic.ValidFrom.After(asOf) {
			lic.ValidTo = until
			return lic, nil
		}
		until = lic.ValidFrom
	}
	return Licence{}, fmt.Errorf("licence %s at %s: %w", uscc, asOf.UTC().Format(time.RFC3339), ErrUnknown)
}

// Versions returns every version of a licence, the first one first.
func (l *Library) Versions(ctx context.Context, uscc string) ([]Licence, error) {
	s, _, err := l.Standing(ctx, uscc)
	if err != nil {
		return nil, err
	}
	out := make([]Licence, s.Version)
	for n := s.Version; n > 0; n-- {
		if out[n-1], err = l.Version(ctx, uscc, n); err != nil {
			return nil, err
		}
		if n < s.Version {
			out[n-1].ValidTo = out[n].ValidFrom
		}
	}
	return out, nil
}

// Evidence returns the signed envelope that made a version.
func (l *Library) Evidence(ctx context.Context, event string) (envelope.Envelope, error) {
	var e storedEvent
	it, err := l.st.Get(ctx, events, []byte(event))
	if err := decode(it, err, &e); err != nil {
		return envelope.Envelope{}, fmt.Errorf("reading licence event %.140q: %w", event, err)
	}
	return e.Envelope, nil
}

// Version returns one version of a licence, as it was taken.
func (l *Library) Version(ctx context.Context, uscc string, n int) (Licence, error) {
	var lic Licence
	it, err := l.st.Get(ctx, versions, []byte(versionKey(uscc, n)))
	if err := decode(it, err, &lic); err != nil {
		return lic, fmt.Errorf("reading licence %s version %d: %w", uscc, n, err)
	}
	return lic, nil
}

func versionKey(uscc string, n int) string { return fmt.Sprintf("%s/%08d", uscc, n) }

func digest(e envelope.Envelope) string {
	d := gm.SM3(e.Payload)
	return hex.EncodeToString(d[:])
}

func decode(it store.Item, err error, v any) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(it.Value, v); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return nil
}
