// Package registration connects the registration system of market supervision: its feed of signed licence events.
//
// Its one promise: events of one entity take effect in the order in which they were issued, and an event that the library does not accept waits for
// a human. The contract is docs/connectors/registration.md.
package registration

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/feed"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// Name is the feed's.
const Name = "registration"

// by is who takes events, in records.
var by = access.Actor{Client: "connector-registration", Role: access.RoleRegistration, Name: "connector"}

// Events is the use case that takes an event; package issuance.
type Events interface {
	Event(ctx context.Context, req *store.Request, actor access.Actor, env envelope.Envelope) (issuance.EventOutcome, error)
}

// Source asks the registration system for events.
type Source struct{ Client *wire.Client }

// Page is feed.Source.
func (s Source) Page(ctx context.Context, after uint64, limit int) (feed.Page, error) {
	var p feed.Page
	q := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
	_, err := s.Client.Do(ctx, wire.Call{Method: http.MethodGet, Path: "/v1/events", Query: q}, &p)
	return p, err
}

// Feed fills in what reading licence events takes; pinned keys are the registration system's.
func Feed(source feed.Source, events Events, pinned []*gm.PublicKey, cfg feed.Config) feed.Config {
	cfg.Name, cfg.Source, cfg.Ordered, cfg.Judge = Name, source, true, judge
	cfg.Open = func(e envelope.Envelope) (string, time.Time, error) {
		var ev licence.Event
		err := envelope.Open(e, licence.EventKind, pinned, &ev)
		return ev.Licence.USCC, ev.IssuedAt, err
	}
	cfg.Take = func(ctx context.Context, e envelope.Envelope) error {
		_, err := events.Event(ctx, nil, by, e)
		return err
	}
	return cfg
}

func judge(err error) feed.Verdict {
	switch {
	case errors.Is(err, licence.ErrEventFuture): // their clock is ahead of ours
		return feed.Again
	case errors.Is(err, access.ErrNotEntitled):
		return feed.Ours
	}
	return feed.Human
}
