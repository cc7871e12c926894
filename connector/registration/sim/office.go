package sim

import (
	"net/http"
	"time"

	"sealkeeper/connector/sim"
	"sealkeeper/licence"
)

// Office is the registration system with its feed of events over HTTP.
type Office struct {
	System
	sim.Manners
	sim.Feed
}

// Tell puts a change of an enterprise's registration into the feed.
func (o *Office) Tell(kind licence.Kind, f licence.Fields, at time.Time) error {
	e, err := o.Event(kind, f, at)
	if err == nil {
		o.Add(e)
	}
	return err
}

// Routes is the contract of docs/connectors/registration.md.
func (o *Office) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/events", &o.Feed)
	return o.Wrap(mux)
}
