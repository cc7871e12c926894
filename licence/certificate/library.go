package certificate

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// The collections. Values are JSON, files their own bytes. "certificate" holds a head per series; "certificate-version" a Row per series and
// number, written once; "certificate-file" a file per SM3, written once.
var (
	heads = &store.Collection{Name: "certificate", Codec: 1, Indexes: []store.Index{
		{Name: byHolder, Keys: indexed(func(h head) string { return h.USCC })},
		{Name: byType, Keys: indexed(func(h head) string { return h.Type })}}}
	rows  = &store.Collection{Name: "certificate-version", Codec: 1}
	files = &store.Collection{Name: "certificate-file", Codec: 1}
)

const (
	byHolder = "holder"
	byType   = "type"
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{heads, rows, files} }

// head is the small record by which a certificate is found: the identity index (主体身份索引) is its index by holder.
type head struct {
	Certificate string `json:"certificate"`
	USCC        string `json:"uscc"`
	Type        string `json:"type"`
	Rows        int    `json:"rows"`
}

func indexed(of func(head) string) func([]byte) ([][]byte, error) {
	return func(b []byte) ([][]byte, error) {
		var h head
		if err := json.Unmarshal(b, &h); err != nil {
			return nil, err
		}
		return [][]byte{[]byte(of(h))}, nil
	}
}

// Config is what the library stands on. All but Now is needed.
type Config struct {
	Store     store.Store
	Licences  *licence.Library
	Access    *access.Access
	Catalogue func() *Catalogue // as it is now
	Now       func() time.Time  // nil means time.Now
}

// Library keeps certificates. Safe for concurrent use.
type Library struct{ Config }

// New checks the configuration.
func New(c Config) (*Library, error) {
	if c.Store == nil || c.Licences == nil || c.Access == nil || c.Catalogue == nil {
		return nil, errors.New("the certificate library needs the store, the licence library, access and a catalogue")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Library{c}, nil
}

func (l *Library) now() time.Time { return l.Now().UTC().Truncate(time.Second) }

// last reads a certificate's head and last row.
func (l *Library) last(ctx context.Context, series string) (head, store.Version, Row, error) {
	var h head
	it, err := l.Store.Get(ctx, heads, []byte(series))
	if err = decode(it, err, &h); err != nil {
		return h, 0, Row{}, fmt.Errorf("reading certificate %.80s: %w", series, err)
	}
	r, err := l.row(ctx, series, h.Rows)
	return h, it.Version, r, err
}

func (l *Library) row(ctx context.Context, series string, n int) (Row, error) {
	var r Row
	it, err := l.Store.Get(ctx, rows, []byte(rowKey(series, n)))
	if err = decode(it, err, &r); err != nil {
		return r, fmt.Errorf("reading row %d of certificate %.80s: %w", n, series, err)
	}
	return r, nil
}

func rowKey(series string, n int) string { return fmt.Sprintf("%s/%08d", series, n) }

func decode(it store.Item, err error, v any) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(it.Value, v); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return nil
}

// mayRead decides whether the actor reads certificates of a type: operators, and the department that the type belongs to.
func (l *Library) mayRead(actor access.Actor, typ string) error {
	if err := l.Access.Allow(actor, access.CertificateRead, access.Resource{}); err != nil {
		return err
	}
	if actor.Role == access.RoleDepartment {
		return l.owns(actor, typ)
	}
	return nil
}

// owns is ErrNotEntitled for a client that the catalogue does not name, the same as for a type that there is not.
func (l *Library) owns(actor access.Actor, typ string) error {
	if t, ok := l.Catalogue().Lookup(typ); !ok || !t.Of(actor.Client) {
		return fmt.Errorf("certificates of type %.21s: %w", typ, access.ErrNotEntitled)
	}
	return nil
}

// typeOf is the type part of a series.
func typeOf(series string) string { return series[:typeLength] }

// View is a certificate as it is shown.
type View struct {
	Row
	State Status `json:"state"` // the status, and what the certificate's dates make of it
	Flags []Flag `json:"flags"` // empty: nothing of the licence has changed since the certificate was checked against it
}

// Flag says why a certificate has to be looked at by its department.
type Flag struct {
	Changed string    `json:"changed"` // name, status or legal_rep of the licence
	Version int       `json:"version"` // of the licence that brought it
	Since   time.Time `json:"since"`
}

// view gives a row its state at a time, and the flags that versions of the licence up to a number raise.
func (l *Library) view(ctx context.Context, r Row, at time.Time, upTo int) (View, error) {
	v := View{Row: r, State: r.state(at), Flags: []Flag{}}
	watch := watchable
	if t, ok := l.Catalogue().Lookup(r.Type); ok {
		watch = t.Watch
	}
	was, err := l.Licences.Version(ctx, r.USCC, r.Licence)
	if err != nil {
		return v, err
	}
	for n := r.Licence + 1; n <= upTo; n++ {
		is, err := l.Licences.Version(ctx, r.USCC, n)
		if err != nil {
			return v, err
		}
		for _, field := range watch {
			if watched(was, field) != watched(is, field) {
				v.Flags = append(v.Flags, Flag{field, n, is.ValidFrom})
			}
		}
		was = is
	}
	return v, nil
}

func watched(l licence.Licence, field string) string {
	switch field {
	case WatchName:
		return l.Name
	case WatchStatus:
		return string(l.Status)
	default:
		return l.LegalRep
	}
}

// Asked says which certificate is asked for, and when.
type Asked struct {
	Certificate string    // identifier or series
	AsOf        time.Time // what held then; zero means now
	KnownAt     time.Time // by what was recorded then; zero means now
}

// At returns a certificate as it was. ErrIdentifier, access.ErrNotEntitled, ErrUnknown.
func (l *Library) At(ctx context.Context, actor access.Actor, q Asked) (View, error) {
	series, err := l.readable(actor, q.Certificate)
	if err != nil {
		return View{}, err
	}
	now := l.now()
	asOf, known := otherwise(q.AsOf, now.Add(clockSkew)), otherwise(q.KnownAt, now)
	h, _, _, err := l.last(ctx, series)
	if err != nil {
		return View{}, err
	}
	for n := h.Rows; n > 0; n-- {
		r, err := l.row(ctx, series, n)
		if err != nil {
			return View{}, err
		}
		if !r.RecordedAt.After(known) && !r.EffectiveAt.After(asOf) {
			lic, err := l.licenceThen(ctx, r, asOf, known)
			if err != nil {
				return View{}, err
			}
			return l.view(ctx, r, otherwise(q.AsOf, now), lic)
		}
	}
	return View{}, fmt.Errorf("certificate %s at %s: %w", series, asOf.Format(time.RFC3339), ErrUnknown)
}

// licenceThen is the last version of the holder's licence that held and was known at these times, or the one the row was checked against.
func (l *Library) licenceThen(ctx context.Context, r Row, asOf, known time.Time) (int, error) {
	s, _, err := l.Licences.Standing(ctx, r.USCC)
	if err != nil {
		return 0, err
	}
	for n := s.Version; n > r.Licence; n-- {
		lic, err := l.Licences.Version(ctx, r.USCC, n)
		if err != nil {
			return 0, err
		}
		if !lic.ValidFrom.After(asOf) && !lic.ReceivedAt.Truncate(time.Second).After(known) {
			return n, nil
		}
	}
	return r.Licence, nil
}

func otherwise(t, or time.Time) time.Time {
	if t.IsZero() {
		return or
	}
	return t
}

func (l *Library) readable(actor access.Actor, certificate string) (string, error) {
	if err := l.Access.Allow(actor, access.CertificateRead, access.Resource{}); err != nil {
		return "", err
	}
	series, err := ParseSeries(certificate)
	if err != nil {
		return "", err
	}
	return series, l.mayRead(actor, typeOf(series))
}

// Rows returns everything that was ever stated of a certificate, the first row first.
func (l *Library) Rows(ctx context.Context, actor access.Actor, certificate string) ([]Row, error) {
	series, err := l.readable(actor, certificate)
	if err != nil {
		return nil, err
	}
	h, _, _, err := l.last(ctx, series)
	if err != nil {
		return nil, err
	}
	out := make([]Row, h.Rows)
	for n := range out {
		if out[n], err = l.row(ctx, series, n+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// File returns the file of a certificate's present version, whose digest is checked. ErrUnknown when it came without one.
func (l *Library) File(ctx context.Context, actor access.Actor, certificate string) ([]byte, Row, error) {
	series, err := l.readable(actor, certificate)
	if err != nil {
		return nil, Row{}, err
	}
	_, _, r, err := l.last(ctx, series)
	if err != nil {
		return nil, Row{}, err
	}
	it, err := l.Store.Get(ctx, files, []byte(r.FileSM3))
	if errors.Is(err, store.ErrNotFound) {
		return nil, Row{}, fmt.Errorf("certificate %s has no file: %w", series, ErrUnknown)
	}
	if err != nil {
		return nil, Row{}, fmt.Errorf("reading the file of certificate %s: %w", series, err)
	}
	if sum := gm.SM3(it.Value); hex.EncodeToString(sum[:]) != r.FileSM3 {
		return nil, Row{}, fmt.Errorf("file of certificate %s: %w", series, store.ErrCorrupt)
	}
	return it.Value, r, nil
}
