package feed

import (
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/keystore/store"
)

// Held is a message that could not be taken.
type Held struct {
	Feed   string    `json:"feed"`
	Seq    uint64    `json:"seq"`
	Entity string    `json:"entity,omitempty"` // empty for a message that is not signed by its source
	At     time.Time `json:"at,omitzero"`      // by its source's clock
	Since  time.Time `json:"since"`
	Tried  time.Time `json:"tried"`
	Again  bool      `json:"again,omitempty"` // tried by itself; otherwise a human decides
	Why    string    `json:"why"`
}

// place is how far a feed has been read.
type place struct {
	Last uint64 `json:"last"`
}

var (
	places = &store.Collection{Name: "feed", Codec: 1}
	helds  = &store.Collection{Name: "feed-held", Codec: 1, Indexes: []store.Index{
		{Name: byEntity, Keys: indexed(func(h Held) string {
			if h.Entity == "" {
				return ""
			}
			return entityKey(h.Feed, h.Entity)
		})},
		{Name: byAgain, Keys: indexed(func(h Held) string {
			if !h.Again {
				return ""
			}
			return fmt.Sprintf("%s%020d", againKey(h.Feed), h.Tried.UnixMicro())
		})},
	}}
)

const (
	byEntity = "entity"
	byAgain  = "again" // what is tried by itself, the one longest ago first
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{places, helds} }

func indexed(key func(Held) string) func([]byte) ([][]byte, error) {
	return func(value []byte) ([][]byte, error) {
		var h Held
		if err := json.Unmarshal(value, &h); err != nil {
			return nil, err
		}
		if k := key(h); k != "" {
			return [][]byte{[]byte(k)}, nil
		}
		return nil, nil
	}
}

func entityKey(feed, entity string) string { return feed + "\x00" + entity + "\x00" }
func againKey(feed string) string          { return feed + "\x00" }
func heldKey(feed string, seq uint64) []byte {
	return []byte(fmt.Sprintf("%s\x00%020d", feed, seq))
}
