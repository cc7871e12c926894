package register

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Purposes names the closed list, in the order of a report.
var Purposes = []string{Make.name, Remake.name, CompareForFiling.name, inquiry}

// ReadReport is the yearly account of why impressions were read (企业印模不用于其他用途), taken from the log.
type ReadReport struct {
	Year        int            `json:"year"`         // of UTC
	FirstRecord uint64         `json:"first_record"` // of the log, in that year
	Records     uint64         `json:"records"`      // looked at
	Reads       map[string]int `json:"reads"`        // by purpose; every listed purpose has a line
	Unlisted    int            `json:"unlisted"`     // for no listed purpose, or two persons missing: none but in a damaged log
	Inquiries   []Inquiry      `json:"inquiries"`    // by authorities, one line each, at most MaxInquiries
}

// Inquiry is one reading for an authority.
type Inquiry struct {
	Record     uint64      `json:"record"`
	At         time.Time   `json:"at"`
	Impression string      `json:"impression"`
	Reference  string      `json:"reference"`
	Requested  audit.Actor `json:"requested"`
	Approved   audit.Actor `json:"approved"`
}

// MaxInquiries bounds the list of a report; their number in Reads is whole.
const MaxInquiries = 1000

// ReadsOf reports the readings of a year. It walks that year's part of the log.
func (r *Register) ReadsOf(ctx context.Context, year int) (ReadReport, error) {
	out := ReadReport{Year: year, Reads: map[string]int{}, Inquiries: []Inquiry{}}
	for _, p := range Purposes {
		out.Reads[p] = 0
	}
	from, err := r.firstAt(ctx, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return out, err
	}
	to, err := r.firstAt(ctx, time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return out, err
	}
	out.FirstRecord, out.Records = from, to-from
	for from < to {
		rs, err := r.st.Records(ctx, from, int(min(to-from, 1000)))
		if err != nil || len(rs) == 0 {
			return out, fmt.Errorf("reading records from %d: %w", from, err)
		}
		for _, rec := range rs {
			if err := out.add(rec); err != nil {
				return out, err
			}
		}
		from += uint64(len(rs))
	}
	return out, nil
}

// firstAt finds the first record that is not earlier; the times of the log never go back.
func (r *Register) firstAt(ctx context.Context, at time.Time) (uint64, error) {
	var failed error
	n := sort.Search(int(r.st.State().Size), func(i int) bool {
		if failed != nil {
			return false
		}
		rs, err := r.st.Records(ctx, uint64(i), 1)
		if err == nil && len(rs) == 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			failed = fmt.Errorf("reading record %d: %w", i, err)
			return false
		}
		return !rs[0].Time.Before(at)
	})
	return uint64(n), failed
}

func (o *ReadReport) add(rec store.Record) error {
	if !bytes.Contains(rec.Body, []byte(audit.KindImpressionRead)) { // most of the log
		return nil
	}
	e, err := audit.ParseBody(rec.Body)
	if err != nil {
		return fmt.Errorf("record %d: %w", rec.Index, err)
	}
	if e.Kind != audit.KindImpressionRead {
		return nil
	}
	var d readRecord
	raw, _ := e.Detail.(json.RawMessage)
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("record %d: %w: %w", rec.Index, store.ErrCorrupt, err)
	}
	p := Purpose{name: d.Purpose, reference: d.Reference}
	if d.Second != nil {
		p.second = *d.Second
	}
	if _, listed := o.Reads[d.Purpose]; !listed || p.check(e.Actor) != nil {
		o.Unlisted++
		return nil
	}
	o.Reads[d.Purpose]++
	if d.Purpose == inquiry && len(o.Inquiries) < MaxInquiries {
		o.Inquiries = append(o.Inquiries, Inquiry{rec.Index, rec.Time.UTC(), e.Subject, d.Reference, e.Actor, p.second})
	}
	return nil
}
