package audit

import (
	"context"
	"fmt"
	"time"
)

// Entry is one record as a reader of the log sees it.
type Entry struct {
	Index   uint64
	Time    time.Time
	Leaf    Hash
	Request string // identifier of the request that caused it; only on the first record of a commit
	Event   Event  // Detail and Result are json.RawMessage
}

// Entries reads records from an index on, at most limit of them, fewer at the end of the log.
func (l *Log) Entries(ctx context.Context, from uint64, limit int) ([]Entry, error) {
	rs, err := l.st.Records(ctx, from, limit)
	if err != nil {
		return nil, fmt.Errorf("reading records from %d: %w", from, err)
	}
	all := make([]Entry, 0, len(rs))
	for _, r := range rs {
		ev, err := ParseBody(r.Body)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", r.Index, err)
		}
		e := Entry{Index: r.Index, Time: r.Time, Leaf: Hash(l.hasher.Leaf(r.Raw)), Event: ev}
		if r.Request != nil {
			e.Request = r.Request.ID
		}
		all = append(all, e)
	}
	return all, nil
}
