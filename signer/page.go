package signer

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sealkeeper/keystore/store"
)

// pages keeps for each public page where to begin looking for its record: a record's place is not known before its commit.
var pages = &store.Collection{Name: "signature-page", Codec: 1}

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{pages} }

type pageRecord struct {
	After uint64 `json:"after"` // size of the log when the record was written down
}

// pageChars is the length of a page's name: 128 random bits in base32.
const pageChars = 26

var pageText = base32.StdEncoding.WithPadding(base32.NoPadding)

func newPage() string {
	var b [16]byte
	rand.Read(b[:])
	return strings.ToLower(pageText.EncodeToString(b[:]))
}

func pageAt(id string, after uint64) store.Put {
	value, err := json.Marshal(pageRecord{after})
	if err != nil {
		value = []byte(`{}`) // one number: it has no failing path
	}
	return store.Put{Collection: pages, Key: []byte(id), Value: value}
}

// pageReach bounds the search for a record behind its page's beginning: as many records as can come between reading the log's size and the
// commit, with room.
const pageReach = 1 << 16

// FindPage returns the record behind a public page. A name that was never given out is ErrUnknown, whatever its form.
func (s *Signer) FindPage(ctx context.Context, id string) (Record, store.Record, error) {
	unknown := fmt.Errorf("page: %w", ErrUnknown)
	if len(id) != pageChars {
		return Record{}, store.Record{}, unknown
	}
	it, err := s.cfg.Store.Get(ctx, pages, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return Record{}, store.Record{}, unknown
	} else if err != nil {
		return Record{}, store.Record{}, fmt.Errorf("reading page: %w", err)
	}
	var at pageRecord
	if err := json.Unmarshal(it.Value, &at); err != nil {
		return Record{}, store.Record{}, fmt.Errorf("reading page: %w: %w", store.ErrCorrupt, err)
	}
	for from := at.After; from < at.After+pageReach; {
		rs, err := s.cfg.Store.Records(ctx, from, 256)
		if err != nil {
			return Record{}, store.Record{}, fmt.Errorf("reading page: %w", err)
		}
		if len(rs) == 0 {
			break
		}
		for _, raw := range rs {
			if rec, err := signatureIn(raw); err == nil && rec.Page == id {
				return rec, raw, nil
			}
		}
		from += uint64(len(rs))
	}
	return Record{}, store.Record{}, fmt.Errorf("page without its record: %w", store.ErrCorrupt)
}
