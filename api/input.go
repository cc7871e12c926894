package api

import (
	"net/http"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
)

// Keyed is embedded in the input of every mutating JSON route: the caller, the Idempotency-Key, and the exact body for its digest.
type Keyed struct {
	Caller
	Key     string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" pattern:"^[!-~]+$" doc:"the same key with the same body gives the same answer; with another body a conflict"`
	RawBody []byte
}

// request binds key, client, route and body.
func (k *Keyed) request(method, path string) *keystore.Request {
	return bind(k.actor.Client, k.Key, method, path, k.RawBody)
}

func bind(client, key, method, path string, body []byte) *keystore.Request {
	d := gm.SM3(body)
	return &keystore.Request{Client: client, ID: key, Digest: gm.SM3([]byte(method+"\n"+path+"\n"), d[:])}
}

// Paged is embedded in the input of every listing.
type Paged struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// page is the shape of every listing.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page, absent at the end"`
}

func paged[T any](items []T, next string) page[T] {
	if items == nil {
		items = []T{}
	}
	return page[T]{items, next}
}

// body wraps an answer as the router wants it.
type body[T any] struct{ Body T }

func answer[T any](v T) *body[T] { return &body[T]{v} }

var errorStatuses = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity,
	http.StatusTooManyRequests, http.StatusServiceUnavailable}
