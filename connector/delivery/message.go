package delivery

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
)

// State is where a message stands.
type State string

// The states. A delivered message is gone.
const (
	Waiting State = "waiting"
	Dead    State = "dead" // a human decides
)

// Message is one message on its way.
type Message struct {
	ID      string          `json:"id"`     // 16 hexadecimal digits, in the order of their commits
	Key     string          `json:"key"`    // by which the receiver knows a repetition
	Queue   string          `json:"queue"`  // which outside system
	Entity  string          `json:"entity"` // messages of one entity go one after the other
	Kind    string          `json:"kind"`
	Body    json.RawMessage `json:"body"`
	State   State           `json:"state"`
	Behind  bool            `json:"behind,omitempty"` // another message of the entity comes first
	Created time.Time       `json:"created"`
	Since   time.Time       `json:"since"` // when it was queued, or redelivered: what its age is counted from
	Due     time.Time       `json:"due"`   // not before
	Tries   int             `json:"tries"`
	Last    string          `json:"last,omitempty"` // how the last try failed
}

// messages holds what is not delivered, by ID.
var messages = &store.Collection{Name: "delivery", Codec: 1, Indexes: []store.Index{
	{Name: byTurn, Keys: indexed(func(m Message) []byte {
		if m.State != Waiting || m.Behind {
			return nil
		}
		return binary.BigEndian.AppendUint64(queueKey(m.Queue), uint64(m.Due.UnixMicro()))
	})},
	{Name: byEntity, Keys: indexed(func(m Message) []byte { return entityKey(m.Queue, m.Entity) })},
	{Name: byState, Keys: indexed(func(m Message) []byte { return stateKey(m.Queue, m.State) })},
}}

const (
	byTurn   = "turn"   // the first of each entity by the time from which it may go
	byEntity = "entity" // all of an entity, the oldest first
	byState  = "state"
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{messages} }

func indexed(key func(Message) []byte) func([]byte) ([][]byte, error) {
	return func(value []byte) ([][]byte, error) {
		var m Message
		if err := json.Unmarshal(value, &m); err != nil {
			return nil, err
		}
		if k := key(m); k != nil {
			return [][]byte{k}, nil
		}
		return nil, nil
	}
}

func queueKey(queue string) []byte { return append([]byte(queue), 0) }

func entityKey(queue, entity string) []byte { return append(append(queueKey(queue), entity...), 0) }

func stateKey(queue string, s State) []byte { return append(append(queueKey(queue), s...), 0) }

// take makes a message of an outbox job. The key depends on the body too: a store that was put back and gives a number twice gives another key.
func take(log string, j store.Job, now time.Time) (Message, error) {
	var head struct {
		USCC string `json:"uscc"`
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(j.Body, &head); err != nil {
		return Message{}, fmt.Errorf("message %d of %s: %w: %w", j.ID, j.Queue, store.ErrCorrupt, err)
	}
	d := gm.SM3([]byte(fmt.Sprintf("sealkeeper-delivery\n%s\n%d\n", log, j.ID)), j.Body)
	return Message{ID: fmt.Sprintf("%016x", j.ID), Key: hex.EncodeToString(d[:16]), Queue: j.Queue, Entity: head.USCC, Kind: head.Kind, Body: j.Body,
		State: Waiting, Created: j.Created.UTC(), Since: now, Due: now}, nil
}

func decode(it store.Item) (Message, error) {
	var m Message
	if err := json.Unmarshal(it.Value, &m); err != nil {
		return m, fmt.Errorf("reading message %s: %w: %w", it.Key, store.ErrCorrupt, err)
	}
	return m, nil
}

// put writes a message over the version that was read; zero means that it must be new.
func (m Message) put(at store.Version) (store.Mutation, error) {
	value, err := json.Marshal(m)
	if err != nil {
		return store.Mutation{}, fmt.Errorf("encoding message %s: %w", m.ID, err)
	}
	return store.Mutation{Put: []store.Put{{Collection: messages, Key: []byte(m.ID), Value: value}},
		Expect: []store.Expect{{Collection: messages, Key: []byte(m.ID), Version: at}}}, nil
}
