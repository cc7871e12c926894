package certificate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// ShareKind is the kind of a sharing's audit record.
const ShareKind = "certificate-share"

// Sharing is what a department asks for: one enterprise, under one of its grants, for one of the grant's purposes.
type Sharing struct {
	Grant   string `json:"grant" minLength:"1" maxLength:"64" doc:"identifier of a sharing grant of yours"`
	Purpose string `json:"purpose" minLength:"1" maxLength:"64" doc:"one of the grant's"`
	USCC    string `json:"uscc" maxLength:"18"`
}

// Folder is the answer: the licence, and those of its certificates that the grant's types cover.
type Folder struct {
	Licence      licence.Licence `json:"licence"`
	Certificates []View          `json:"certificates"`
	At           time.Time       `json:"at"` // of the record that tells of this read
}

// Read is what a record keeps of a folder: enough to make the same folder again.
type Read struct {
	USCC    string   `json:"uscc"`
	Licence int      `json:"licence"` // its version
	Rows    []RowRef `json:"certificates"`
}

// RowRef names a row.
type RowRef struct {
	Certificate string `json:"certificate"`
	Number      int    `json:"number"`
}

// shared is the detail of a sharing's record.
type shared struct {
	Grant   string `json:"grant"`
	Purpose string `json:"purpose"`
	Read
}

// Share answers with licence and certificates in one. The read is on record before the answer leaves, and spends the grant. The same request
// again gives the same answer. licence.ErrUSCC, access.ErrNotEntitled, access.ErrGrantWindow, access.ErrGrantSpent, licence.ErrUnknown.
func (l *Library) Share(ctx context.Context, req *store.Request, actor access.Actor, s Sharing) (Folder, error) {
	if err := l.Access.Allow(actor, access.CertificateShare, access.Resource{}); err != nil {
		return Folder{}, err
	}
	if _, err := licence.CheckUSCC(s.USCC); err != nil {
		return Folder{}, err
	}
	if f, done, err := l.sharedBefore(ctx, req); done || err != nil {
		return f, err
	}
	may, err := l.Access.MayShare(ctx, actor, s.Grant, s.Purpose)
	if err != nil {
		return Folder{}, err
	}
	read, err := l.Look(ctx, s.USCC, func(r Row) bool { return slices.Contains(may.Types, r.Type) })
	if err != nil {
		return Folder{}, err
	}
	body, err := audit.Event{Kind: ShareKind, Actor: actor.Audit(), Subject: s.USCC, Detail: shared{s.Grant, s.Purpose, read}}.Body()
	if err != nil {
		return Folder{}, err
	}
	_, err = l.Store.Commit(ctx, store.Mutation{Request: req, Expect: may.Expect, Spend: may.Spend, Audit: [][]byte{body}})
	if errors.Is(err, store.ErrLimit) {
		return Folder{}, fmt.Errorf("sharing grant %q: %w: %w", s.Grant, access.ErrGrantSpent, err)
	} else if err != nil {
		return Folder{}, fmt.Errorf("recording the reading of %s: %w", s.USCC, err)
	}
	f, _, err := l.sharedBefore(ctx, req) // what is answered is made from the record, now and whenever the request comes again
	return f, err
}

func (l *Library) sharedBefore(ctx context.Context, req *store.Request) (Folder, bool, error) {
	var s shared
	receipt, done, err := Before(ctx, l.Store, req, ShareKind, &s)
	if !done || err != nil {
		return Folder{}, false, err
	}
	f, err := l.Folder(ctx, s.Read, receipt.Time)
	return f, true, err
}

// Before finds the record of a request that was answered before, and reads its detail.
func Before(ctx context.Context, st store.Store, req *store.Request, kind string, detail any) (store.Receipt, bool, error) {
	receipt, err := st.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return receipt, false, nil
	} else if err != nil {
		return receipt, false, err
	}
	records, err := st.Records(ctx, receipt.First, 1)
	if err != nil {
		return receipt, false, fmt.Errorf("reading the record of request %.40q: %w", req.ID, err)
	}
	if len(records) != 1 {
		return receipt, false, fmt.Errorf("record %d is not there: %w", receipt.First, store.ErrCorrupt)
	}
	e, err := audit.ParseBody(records[0].Body)
	if err != nil || e.Kind != kind {
		return receipt, false, fmt.Errorf("record %d is no %s: %w", receipt.First, kind, store.ErrCorrupt)
	}
	raw, _ := e.Detail.(json.RawMessage)
	if err := json.Unmarshal(raw, detail); err != nil {
		return receipt, false, fmt.Errorf("record %d: %w: %w", receipt.First, store.ErrCorrupt, err)
	}
	return receipt, true, nil
}

// Look finds the licence's present version, and the last rows of those of its certificates that wanted names. Who may see them is the
// caller's question.
func (l *Library) Look(ctx context.Context, uscc string, wanted func(Row) bool) (Read, error) {
	s, _, err := l.Licences.Standing(ctx, uscc)
	if err != nil {
		return Read{}, err
	}
	out := Read{USCC: uscc, Licence: s.Version, Rows: []RowRef{}}
	all, err := l.ofHolder(ctx, uscc)
	for _, r := range all {
		if wanted(r) {
			out.Rows = append(out.Rows, RowRef{r.Certificate, r.Number})
		}
	}
	return out, err
}

// ofHolder reads the last row of every certificate of an enterprise.
func (l *Library) ofHolder(ctx context.Context, uscc string) ([]Row, error) {
	p, err := l.Store.List(ctx, heads, byHolder, []byte(uscc), "", maxOfHolder)
	if err != nil {
		return nil, fmt.Errorf("listing certificates of %.18s: %w", uscc, err)
	}
	return l.lastRows(ctx, p.Items)
}

func (l *Library) lastRows(ctx context.Context, items []store.Item) ([]Row, error) {
	out := make([]Row, 0, len(items))
	for _, it := range items {
		var h head
		if err := decode(it, nil, &h); err != nil {
			return nil, err
		}
		r, err := l.row(ctx, h.Certificate, h.Rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Folder makes the answer of a read as it was at its record's time.
func (l *Library) Folder(ctx context.Context, read Read, at time.Time) (Folder, error) {
	lic, err := l.Licences.Version(ctx, read.USCC, read.Licence)
	if err != nil {
		return Folder{}, err
	}
	f := Folder{Licence: lic, Certificates: []View{}, At: at}
	for _, ref := range read.Rows {
		r, err := l.row(ctx, ref.Certificate, ref.Number)
		if err != nil {
			return Folder{}, err
		}
		v, err := l.view(ctx, r, at, read.Licence)
		if err != nil {
			return Folder{}, err
		}
		f.Certificates = append(f.Certificates, v)
	}
	return f, nil
}

// ErrQuery: a listing asks for nothing, or for two things at once.
var ErrQuery = errors.New("search for certificates is out of form")

// Query lists the certificates of one enterprise or of one type.
type Query struct {
	USCC, Type string
	Flagged    bool // only those that wait for their department; a page may then hold few
	Cursor     string
	Limit      int
}

// List pages through certificates as they are now. A department sees those of its types, and under a type of others nothing at all.
// access.ErrNotEntitled, ErrQuery, licence.ErrUSCC, store.ErrCursor.
func (l *Library) List(ctx context.Context, actor access.Actor, q Query) ([]View, string, error) {
	if err := l.Access.Allow(actor, access.CertificateRead, access.Resource{}); err != nil {
		return nil, "", err
	}
	switch _, err := licence.CheckUSCC(q.USCC); {
	case (q.USCC == "") == (q.Type == ""):
		return nil, "", fmt.Errorf("one of uscc and type: %w", ErrQuery)
	case q.Type == "" && err != nil:
		return nil, "", err
	case q.USCC == "" && len(q.Type) != typeLength:
		return nil, "", fmt.Errorf("a type has %d characters: %w", typeLength, ErrQuery)
	}
	index, key := byHolder, q.USCC
	if q.Type != "" {
		if err := l.mayRead(actor, q.Type); err != nil {
			return nil, "", err
		}
		index, key = byType, q.Type
	}
	p, err := l.Store.List(ctx, heads, index, []byte(key), q.Cursor, q.Limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing certificates: %w", err)
	}
	found, err := l.lastRows(ctx, p.Items)
	if err != nil {
		return nil, "", err
	}
	out := []View{}
	for _, r := range found {
		v, err := l.present(ctx, r)
		if err != nil {
			return nil, "", err
		}
		if l.mayRead(actor, r.Type) == nil && (!q.Flagged || len(v.Flags) > 0) {
			out = append(out, v)
		}
	}
	return out, p.Next, nil
}

// present is a last row as it is now.
func (l *Library) present(ctx context.Context, r Row) (View, error) {
	s, _, err := l.Licences.Standing(ctx, r.USCC)
	if err != nil {
		return View{}, err
	}
	return l.view(ctx, r, l.now(), s.Version)
}

// Notice is what anybody may know of a certificate: that there is one of this title, until when, and whether it holds.
type Notice struct {
	Title     string `json:"title"`
	ValidFrom string `json:"valid_from"`
	ValidTo   string `json:"valid_to,omitempty"`
	State     Status `json:"state"`
	Pending   bool   `json:"pending"` // the licence has changed, and the department has not looked at it yet
}

// Notices lists an enterprise's certificates of the types that the catalogue calls public.
func (l *Library) Notices(ctx context.Context, uscc string) ([]Notice, error) {
	all, err := l.ofHolder(ctx, uscc)
	if err != nil {
		return nil, err
	}
	out := []Notice{}
	for _, r := range all {
		t, ok := l.Catalogue().Lookup(r.Type)
		if !ok || !t.Public {
			continue
		}
		v, err := l.present(ctx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, Notice{r.Title, r.ValidFrom, r.ValidTo, v.State, len(v.Flags) > 0})
	}
	return out, nil
}
