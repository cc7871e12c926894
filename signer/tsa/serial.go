package tsa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sealkeeper/keystore/store"
)

var serialRecords = &store.Collection{Name: "tsa-serial", Codec: 1}

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{serialRecords} }

var serialKey = []byte("next")

const (
	serialBlock = 4096 // serial numbers reserved by one commit
	serialShift = 20   // a block never begins below the second of its reservation times 2^20
)

// serials gives out serial numbers that never repeat: blocks are reserved durably before the first number of them is used, and what a process did
// not use is lost with it. A block also begins no lower than the clock says, so that a store which two operators took back to an earlier
// state, and which has forgotten its last blocks, gives out none of their numbers either (laws 8 and 12 keep the clock going forward).
type serials struct {
	st  store.Store
	now func() time.Time

	mu        sync.Mutex
	next, end uint64 // guarded by mu
}

// reserved is the value in the store: the first number that nobody may use yet.
type reserved struct {
	Next uint64 `json:"next"`
}

// Next returns a number that no call returned before, in this process or an earlier one.
func (s *serials) Next(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next == s.end {
		err := s.reserve(ctx)
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return 0, fmt.Errorf("reserving serial numbers of time stamps: %w", err)
		}
	}
	n := s.next
	s.next++
	return n, nil
}

func (s *serials) reserve(ctx context.Context) error {
	var at reserved
	it, err := s.st.Get(ctx, serialRecords, serialKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := json.Unmarshal(it.Value, &at); err != nil {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
	}
	first := max(at.Next, uint64(s.now().Unix())<<serialShift)
	value, err := json.Marshal(reserved{first + serialBlock})
	if err != nil {
		return err
	}
	if _, err := s.st.Commit(ctx, store.Mutation{Put: []store.Put{{Collection: serialRecords, Key: serialKey, Value: value}},
		Expect: []store.Expect{{Collection: serialRecords, Key: serialKey, Version: it.Version}}}); err != nil {
		return err
	}
	s.next, s.end = first, first+serialBlock
	return nil
}
