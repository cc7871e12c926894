// Package audit is the record of what the appliance did: events that enter the store's log in the same commit as what they tell of, signed
// checkpoints over that log, anchors outside it, and proofs.
//
// Its one promise: the past cannot be put back or altered without a contradiction that a check finds. A store that is older than its
// anchor starts as recovering and stays read-only until two operators re-synchronise it (law 12).
//
// Limits: someone who holds the store file, the anchor and the audit key's token with its PIN can write another past; only witnesses
// outside, to whom checkpoints are posted, stand against that. Nobody reads this log to decide something.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// ErrEvent says that an event, or the body of a record, has not the form below.
var ErrEvent = errors.New("not an audit event")

// Kinds of events. The owner of each subject defines its Detail and Result.
const (
	KindGenesis        = "genesis"     // first record of a log: names the log, its hash and the audit key
	KindKeyIntent      = "key-intent"  // keys will be generated under these identifiers
	KindKeyBirth       = "key-birth"   // a key with its attributes and their evidence
	KindKeyRetired     = "key-retired" // another key of the same purpose took its place
	KindKeyDestroyed   = "key-destroyed"
	KindLicenceEvent   = "licence-event"
	KindLicenceFile    = "licence-file" // a licence file entered the archive
	KindImpression     = "impression-filed"
	KindImpressionRead = "impression-read" // an impression was decrypted, with the purpose
	KindOrder          = "order"           // an order changed its state
	KindSetMade        = "set-made"
	KindCollected      = "collected"
	KindSealState      = "seal-state"
	KindClient         = "client"
	KindGrant          = "grant"
	KindDelegation     = "delegation"
	KindSignature      = "signature" // one released signature
	KindRevocationList = "revocation-list"
	KindRefusal        = "refusal" // refusals of one client with one code in one second, with their number
	KindEpoch          = "epoch"   // an epoch of a token was closed, with its counts
	KindCeremony       = "ceremony"
	KindClockAccepted  = "clock-accepted" // an operator took the clock for right; its time may lie before the record in front
	KindResynchronised = "resynchronised" // two operators took a store for right that differs from its anchor
)

// Actor is who caused an event. Roles: owner, department, operator-system, operator-security, operator-audit, source-registration,
// source-public-security, source-elicence, appliance.
type Actor struct {
	Role string `json:"role"`
	ID   string `json:"id"` // client identifier, operator's identifier, or the name of a part of the appliance
}

// Appliance is the actor of what nobody asked for.
func Appliance(part string) Actor { return Actor{Role: "appliance", ID: part} }

// Event is one audit record's content. Detail says what was asked, Result what came of it; both are small structs of the package that owns
// the subject, nil where there is nothing to say.
type Event struct {
	Kind    string
	Actor   Actor
	Subject string // what it is about: an esID, USCC, order, key or client identifier
	Detail  any
	Result  any
}

// wire fixes the order of the fields.
type wire struct {
	Kind    string          `json:"kind"`
	Actor   Actor           `json:"actor"`
	Subject string          `json:"subject,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
}

var kindForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// Body returns the bytes for store.Mutation.Audit: JSON, fields in the order kind, actor{role,id}, subject, detail, result, without HTML
// escapes. Detail and Result must have a deterministic encoding (structs; maps are sorted by encoding/json).
func (e Event) Body() ([]byte, error) {
	if !kindForm.MatchString(e.Kind) || e.Actor.Role == "" {
		return nil, fmt.Errorf("kind %q by role %q: %w", e.Kind, e.Actor.Role, ErrEvent)
	}
	var b bytes.Buffer
	b.Grow(2 << 10) // a signature's record
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Part by part into one buffer: as fields of a struct, Detail and Result would be encoded, checked and copied once more.
	b.WriteString(`{"kind":"` + e.Kind)
	for _, part := range []struct {
		name  string
		value any
		leave bool
	}{{`","actor":`, e.Actor, false}, {`,"subject":`, e.Subject, e.Subject == ""}, {`,"detail":`, e.Detail, e.Detail == nil}, {`,"result":`, e.Result, e.Result == nil}} {
		if part.leave {
			continue
		}
		b.WriteString(part.name)
		if err := enc.Encode(part.value); err != nil {
			return nil, fmt.Errorf("%s of %s: %w: %w", strings.Trim(part.name, `":,`), e.Kind, ErrEvent, err)
		}
		b.Truncate(b.Len() - 1) // the encoder's newline
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// ParseBody reads a record's body. Detail and Result come back as json.RawMessage, or nil. Unknown fields and anything behind the object
// are ErrEvent.
func ParseBody(b []byte) (Event, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var w wire
	if err := dec.Decode(&w); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Event{}, fmt.Errorf("bytes behind the object: %w", ErrEvent)
	}
	if !kindForm.MatchString(w.Kind) || w.Actor.Role == "" {
		return Event{}, fmt.Errorf("kind %q by role %q: %w", w.Kind, w.Actor.Role, ErrEvent)
	}
	e := Event{Kind: w.Kind, Actor: w.Actor, Subject: w.Subject}
	if w.Detail != nil {
		e.Detail = w.Detail
	}
	if w.Result != nil {
		e.Result = w.Result
	}
	return e, nil
}
