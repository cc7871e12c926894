// Package sim plays the provider of real-name and face checks: it signs whatever it is told that it saw.
package sim

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/person"
	"sealkeeper/connector/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
)

// Office checks persons. Everybody passes until it is told otherwise.
type Office struct {
	sim.Manners
	Key *softkey.Key
	Now func() time.Time

	mu     sync.Mutex
	spoil  func(r *person.Result)
	number int
}

// Spoil changes results before they are signed; nil undoes it.
func (o *Office) Spoil(f func(r *person.Result)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spoil = f
}

// Routes is the contract of docs/connectors/person-check.md.
func (o *Office) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/person-checks", &sim.Desk[issuance.PersonQuestion]{Take: o.check})
	return o.Wrap(mux)
}

func (o *Office) check(_ string, q issuance.PersonQuestion) (int, any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number++
	r := person.Result{ID: fmt.Sprintf("RP-%06d", o.number), PersonQuestion: q, RealName: "00", Face: "00", At: o.Now().UTC().Truncate(time.Second)}
	if o.spoil != nil {
		o.spoil(&r)
	}
	e, err := envelope.Seal(person.ResultKind, r, o.Key.Sign)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, e
}
