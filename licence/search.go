package licence

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sealkeeper/keystore/store"
)

// The indexes of standings.
const (
	byName     = "name"
	byStatus   = "status"
	byDivision = "division"
	byChange   = "change"
)

// Bounds of a page.
const (
	defaultPage = 50
	maxPage     = 1000
	maxNameKey  = 200 // bytes of a name that are indexed
)

// ErrQuery: a search asks for nothing, for two things at once, or for something that there cannot be.
var ErrQuery = errors.New("search is out of form")

// ErrCursor: a cursor does not belong to this search.
var ErrCursor = store.ErrCursor

// Query asks for licences by exactly one of its fields.
type Query struct {
	Name     string // the name begins with it
	Status   Status
	Division string // the division's code begins with it: two, four or six digits
	Cursor   string // of the page before
	Limit    int    // 1..1000; 0 means 50
}

// Found is a page of a search; Next is empty at the end.
type Found struct {
	Items []Standing
	Next  string
}

// Search pages through the licences of a name, a status or a division, in the order of that key and then of the code. A licence that
// changes meanwhile may be met twice or not at all. Errors: ErrQuery, ErrCursor.
func (l *Library) Search(ctx context.Context, q Query) (Found, error) {
	index, prefix, err := q.key()
	if err != nil {
		return Found{}, err
	}
	p, err := l.st.List(ctx, standings, index, []byte(prefix), q.Cursor, pageSize(q.Limit))
	if err != nil {
		return Found{}, fmt.Errorf("searching licences by %s: %w", index, err)
	}
	items, err := standingsOf(p.Items)
	return Found{items, p.Next}, err
}

// All pages through the whole library in the order of the codes. Errors: ErrCursor.
func (l *Library) All(ctx context.Context, cursor string, limit int) (Found, error) {
	p, err := l.st.List(ctx, standings, "", nil, cursor, pageSize(limit))
	if err != nil {
		return Found{}, fmt.Errorf("listing licences: %w", err)
	}
	items, err := standingsOf(p.Items)
	return Found{items, p.Next}, err
}

func (q Query) key() (index, prefix string, err error) {
	asked := 0
	for _, k := range []struct{ index, value string }{{byName, cutName(q.Name)}, {byStatus, string(q.Status)}, {byDivision, q.Division}} {
		if k.value != "" {
			index, prefix = k.index, k.value
			asked++
		}
	}
	_, known := effects[q.Status]
	switch {
	case asked != 1:
		return "", "", fmt.Errorf("one of name, status and division, not %d: %w", asked, ErrQuery)
	case q.Status != "" && !known:
		return "", "", fmt.Errorf("%.40q: %w: %w", q.Status, ErrStatus, ErrQuery)
	case q.Division != "" && !divisionPrefix(q.Division):
		return "", "", fmt.Errorf("division %.20q is not two, four or six digits: %w", q.Division, ErrQuery)
	case !utf8.ValidString(q.Name):
		return "", "", fmt.Errorf("name is no text: %w", ErrQuery)
	}
	return index, prefix, nil
}

func divisionPrefix(s string) bool {
	return len(s) <= 6 && len(s)%2 == 0 && strings.Trim(s, "0123456789") == ""
}

// Change feed.

// grace is how far the feed stays behind the present. Every commit of an event lies within grace of the time by which the feed sorts
// it (Change.NotAfter), so nothing can appear behind a reader.
const grace = 40 * time.Second

// Changes is a page of the feed.
type Changes struct {
	Items []Standing
	Next  string    // ask with it for what comes after; never empty
	Until time.Time // everything taken up to here has been given, when the page is not full
}

// Changed lists the licences whose last event was taken after a time, or after the page that the cursor comes from, in that order and
// each once, as it stands now. It stays 40 s behind the present so that no reader misses a change that is being committed. Errors:
// ErrCursor.
func (l *Library) Changed(ctx context.Context, since time.Time, cursor string, limit int) (Changes, error) {
	limit = pageSize(limit)
	at, err := feedStart(since, cursor)
	if err != nil {
		return Changes{}, err
	}
	out := Changes{Until: l.cfg.Now().UTC().Add(-grace)}
	for page := ""; ; {
		p, err := l.st.ListFrom(ctx, standings, byChange, []byte(at.micros), page, limit)
		if err != nil {
			return Changes{}, fmt.Errorf("listing changed licences: %w", err)
		}
		items, err := standingsOf(p.Items)
		if err != nil {
			return Changes{}, err
		}
		done := out.take(items, &at, limit)
		if page = p.Next; done || page == "" {
			out.Next = at.String()
			return out, nil
		}
	}
}

// take adds what lies behind at and not beyond Until, and reports whether the page is complete.
func (c *Changes) take(items []Standing, at *feedPlace, limit int) bool {
	for _, s := range items {
		here := feedPlace{changeKey(s.TakenAt), s.USCC}
		if here.micros == at.micros && here.uscc <= at.uscc {
			continue
		}
		if s.TakenAt.After(c.Until) || len(c.Items) == limit {
			return true
		}
		c.Items, *at = append(c.Items, s), here
	}
	return len(c.Items) == limit
}

// feedPlace is the last entry a reader has seen.
type feedPlace struct{ micros, uscc string }

func (p feedPlace) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.micros + p.uscc))
}

func feedStart(since time.Time, cursor string) (feedPlace, error) {
	if cursor == "" {
		return feedPlace{changeKey(since), "~"}, nil // behind every code: strictly after since
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < changeWidth || len(raw) > changeWidth+18 || strings.Trim(string(raw[:changeWidth]), "0123456789") != "" {
		return feedPlace{}, fmt.Errorf("changed licences: %w", ErrCursor)
	}
	return feedPlace{string(raw[:changeWidth]), string(raw[changeWidth:])}, nil
}

// changeWidth is how many digits a time has in the index: microseconds since 1970 up to the year 2286.
const changeWidth = 16

func changeKey(t time.Time) string {
	return fmt.Sprintf("%0*d", changeWidth, max(t.UnixMicro(), 0))
}

// Count returns how many licences have a status. It walks the index; a city takes a second.
func (l *Library) Count(ctx context.Context, s Status) (int, error) {
	n := 0
	for cursor := ""; ; {
		p, err := l.st.List(ctx, standings, byStatus, []byte(s), cursor, maxPage)
		if err != nil {
			return n, fmt.Errorf("counting licences: %w", err)
		}
		n += len(p.Items)
		if cursor = p.Next; cursor == "" {
			return n, nil
		}
	}
}

func pageSize(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

// cutName cuts a name to what the index holds, on a character's edge.
func cutName(s string) string {
	for len(s) > maxNameKey {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func indexed(key func(Standing) string) func([]byte) ([][]byte, error) {
	return func(value []byte) ([][]byte, error) {
		var s Standing
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		if k := key(s); k != "" {
			return [][]byte{[]byte(k)}, nil
		}
		return nil, nil
	}
}

func standingsOf(items []store.Item) ([]Standing, error) {
	out := make([]Standing, len(items))
	for i, it := range items {
		if err := json.Unmarshal(it.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("licence %s: %w: %w", strconv.Quote(string(it.Key)), store.ErrCorrupt, err)
		}
	}
	return out, nil
}
