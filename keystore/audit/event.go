package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrBody: bytes are not the body of an audit record.
var ErrBody = errors.New("not the body of an audit record")

// Actor is who acted, as a record names them.
type Actor struct {
	Role string `json:"role"` // owner, appliance, or a client's role
	ID   string `json:"id"`   // hexadecimal SHA-256 of the key that acted, or a fixed name
}

// Event is what one audit record says. Detail is what happened; Result is what was answered, kept so that a repeated request gets the same
// answer. Both are small structs of the package that writes them; after ParseBody they are json.RawMessage.
type Event struct {
	Kind    string `json:"kind"`
	Actor   Actor  `json:"actor"`
	Subject string `json:"subject"` // what it is about: an esID, a credit code, a client
	Detail  any    `json:"detail,omitempty"`
	Result  any    `json:"result,omitempty"`
}

// Body encodes the event as JSON with fields in declared order, so equal events have equal bytes.
func (e Event) Body() ([]byte, error) {
	if e.Kind == "" || e.Actor.Role == "" {
		return nil, fmt.Errorf("encoding event: kind and actor are needed: %w", ErrBody)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encoding %s event: %w", e.Kind, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ParseBody reads a body; Detail and Result come back as json.RawMessage.
func ParseBody(b []byte) (Event, error) {
	var raw struct {
		Kind    string          `json:"kind"`
		Actor   Actor           `json:"actor"`
		Subject string          `json:"subject"`
		Detail  json.RawMessage `json:"detail"`
		Result  json.RawMessage `json:"result"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	if raw.Kind == "" || d.More() {
		return Event{}, ErrBody
	}
	e := Event{Kind: raw.Kind, Actor: raw.Actor, Subject: raw.Subject}
	if raw.Detail != nil {
		e.Detail = raw.Detail
	}
	if raw.Result != nil {
		e.Result = raw.Result
	}
	return e, nil
}
