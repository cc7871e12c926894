package register

import (
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Draft is a part of a commit: what one act changes, with its records and outbound messages.
type Draft struct {
	Expect []store.Expect
	Put    []store.Put
	Spend  []store.Spend
	Audit  [][]byte
	Outbox []store.Message
}

// Add appends other drafts.
func (d *Draft) Add(others ...Draft) {
	for _, o := range others {
		d.Expect = append(d.Expect, o.Expect...)
		d.Put = append(d.Put, o.Put...)
		d.Spend = append(d.Spend, o.Spend...)
		d.Audit = append(d.Audit, o.Audit...)
		d.Outbox = append(d.Outbox, o.Outbox...)
	}
}

// Mutation makes the whole commit; request may be nil.
func (d Draft) Mutation(request *store.Request) store.Mutation {
	return store.Mutation{Request: request, Expect: d.Expect, Put: d.Put, Spend: d.Spend, Audit: d.Audit, Outbox: d.Outbox}
}

// put writes v as JSON and expects the record to have the version that was read; zero means that it must be new.
func (d *Draft) put(c *store.Collection, key string, v any, at store.Version) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %s %s: %w", c.Name, key, err)
	}
	d.putRaw(c, key, value, at)
	return nil
}

func (d *Draft) putRaw(c *store.Collection, key string, value []byte, at store.Version) {
	d.Put = append(d.Put, store.Put{Collection: c, Key: []byte(key), Value: value})
	d.Expect = append(d.Expect, store.Expect{Collection: c, Key: []byte(key), Version: at})
}

func (d *Draft) record(e audit.Event) error {
	body, err := e.Body()
	if err != nil {
		return fmt.Errorf("recording %s of %s: %w", e.Kind, e.Subject, err)
	}
	d.Audit = append(d.Audit, body)
	return nil
}

// QueueFiling is the outbox queue of messages to public security (备案): what is expected, what was made, what changed.
const QueueFiling = "filing"

// Notice is the body of a message in QueueFiling, as JSON. Kind decides which fields are set.
type Notice struct {
	Kind   string    `json:"kind"` // expect-impressions, seal-made, seal-state, order-state
	At     time.Time `json:"at"`
	USCC   string    `json:"uscc"`
	Name   string    `json:"name,omitempty"` // of the enterprise
	Order  string    `json:"order,omitempty"`
	Types  []string  `json:"types,omitempty"`  // expect-impressions
	ESID   string    `json:"esid,omitempty"`   // seal-made, seal-state
	Type   string    `json:"type,omitempty"`   // seal-made, seal-state
	Filing string    `json:"filing,omitempty"` // seal-made: public security's filing number of the impression
	Until  time.Time `json:"until,omitzero"`   // seal-made: end of validity
	State  string    `json:"state,omitempty"`  // seal-state, order-state: the new state
	Reason string    `json:"reason,omitempty"`
}

func (d *Draft) notify(n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding %s notice: %w", n.Kind, err)
	}
	d.Outbox = append(d.Outbox, store.Message{Queue: QueueFiling, Body: body})
	return nil
}

// Change says who does something, why, on what evidence and when. It goes whole into the record.
type Change struct {
	Actor    audit.Actor
	Reason   Reason
	Evidence string // what shows it: an event id, a document number; at most 256 characters
	Time     time.Time
}
