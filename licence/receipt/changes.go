package receipt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// ArchivedChange is news of a licence that the client archived.
type ArchivedChange struct {
	USCC     string         `json:"uscc"`
	Name     string         `json:"name"`
	Version  int            `json:"version"`
	Status   licence.Status `json:"status"`
	TakenAt  time.Time      `json:"taken_at"`
	Archived int            `json:"archived_version"` // the licence's version when the client archived it last
	Receipt  string         `json:"receipt"`
}

// Changes is a page of a client's feed.
type Changes struct {
	Items []ArchivedChange
	Next  string    // ask with it for what comes after; never empty
	Until time.Time // everything up to here has been given; zero while there is more to look through
}

// pagesAtOnce bounds how much of the city's feed one call looks through.
const pagesAtOnce = 10

// Changed lists the licences that changed after the client archived them, as they stand now, in the order of the library's feed and with its
// cursor: nothing is kept for the reader, so nothing is lost with it. A page may hold less than there is, or nothing: Until says when it is all.
// Errors: access.ErrNotEntitled, licence.ErrCursor.
func (o *Office) Changed(ctx context.Context, actor access.Actor, since time.Time, cursor string, limit int) (Changes, error) {
	if err := o.cfg.Access.Acting(ctx, actor, access.LicenceWatch); err != nil {
		return Changes{}, err
	}
	out := Changes{Next: cursor}
	for range pagesAtOnce {
		page, err := o.cfg.Library.Changed(ctx, since, out.Next, limit)
		if err != nil {
			return Changes{}, err
		}
		out.Next = page.Next
		for _, s := range page.Items {
			c, news, err := o.news(ctx, actor.Client, s)
			if err != nil {
				return Changes{}, err
			}
			if news {
				out.Items = append(out.Items, c)
			}
		}
		if len(page.Items) < limit {
			out.Until = page.Until
			return out, nil
		}
		if len(out.Items) > 0 {
			return out, nil
		}
	}
	return out, nil
}

// news is a standing that is younger than what the client archived.
func (o *Office) news(ctx context.Context, client string, s licence.Standing) (ArchivedChange, bool, error) {
	it, err := o.cfg.Store.Get(ctx, watched, watchKey(client, s.USCC))
	if errors.Is(err, store.ErrNotFound) {
		return ArchivedChange{}, false, nil
	}
	if err != nil {
		return ArchivedChange{}, false, fmt.Errorf("reading what was archived of %s: %w", s.USCC, err)
	}
	var w Watch
	if err := json.Unmarshal(it.Value, &w); err != nil {
		return ArchivedChange{}, false, fmt.Errorf("what was archived of %s: %w: %w", s.USCC, store.ErrCorrupt, err)
	}
	return ArchivedChange{s.USCC, s.Name, s.Version, s.Status, s.TakenAt, w.Version, w.Receipt}, s.Version > w.Version, nil
}
