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
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// EventKind is the kind of a row's audit record.
const EventKind = "certificate"

// recorded is its detail: which row, and the SM3 of the row's stored bytes, so that the log vouches for them.
type recorded struct {
	Identifier string `json:"identifier"`
	Number     int    `json:"number"`
	Act        Act    `json:"act"`
	USCC       string `json:"uscc"`
	Status     Status `json:"status"`
	Licence    int    `json:"licence"`
	File       string `json:"file_sm3,omitempty"`
	Row        string `json:"row_sm3"`
}

// Stated is what an act recorded.
type Stated struct {
	Row     Row
	Receipt store.Receipt
}

// Put takes a new certificate, or the next version of one, from the department that the catalogue names. The same request again gives the same
// row. ErrIdentifier, access.ErrNotEntitled, ErrForm, ErrType, ErrFile, ErrHolder, ErrFull, ErrSequence, ErrTransition; store.ErrConflict when
// the licence or the certificate changed meanwhile.
func (l *Library) Put(ctx context.Context, req *store.Request, actor access.Actor, d Draft) (Stated, error) {
	id, t, client, err := l.entitled(ctx, actor, d.Identifier)
	if err != nil {
		return Stated{}, err
	}
	if s, done, err := l.again(ctx, req, id.Series()); done || err != nil {
		return s, err
	}
	now := l.now()
	d.EffectiveAt = otherwise(d.EffectiveAt, now).UTC()
	if err := d.check(t, now); err != nil {
		return Stated{}, fmt.Errorf("certificate %s: %w", d.Identifier, err)
	}
	checked, standing, err := l.holder(ctx, d.USCC, d.Name)
	if err != nil {
		return Stated{}, fmt.Errorf("certificate %s: %w", d.Identifier, err)
	}
	next := Row{Certificate: id.Series(), Act: Issued, Identifier: d.Identifier, Type: t.Type, Title: t.Title, USCC: d.USCC, Name: d.Name, Status: Valid,
		ValidFrom: d.ValidFrom, ValidTo: d.ValidTo, Attributes: d.Attributes, Licence: checked, EffectiveAt: d.EffectiveAt}
	before, h, at, err := l.before(ctx, id, next)
	if err != nil {
		return Stated{}, fmt.Errorf("certificate %s: %w", d.Identifier, err)
	}
	if before.Number > 0 {
		next.Act = Reissued
	}
	w := write{Library: l, head: h, version: at, expect: []store.Expect{client, standing}, file: d.File}
	return w.commit(ctx, req, actor, next)
}

// entitled asks whether the actor's department issues the type and the issuer part of an identifier.
func (l *Library) entitled(ctx context.Context, actor access.Actor, identifier string) (Identifier, Type, store.Expect, error) {
	client, err := l.Access.Registered(ctx, actor, access.CertificatePut)
	if err != nil {
		return Identifier{}, Type{}, client, err
	}
	id, err := ParseIdentifier(identifier)
	if err != nil {
		return id, Type{}, client, err
	}
	if err := l.owns(actor, id.Type); err != nil {
		return id, Type{}, client, err
	}
	t, _ := l.Catalogue().Lookup(id.Type)
	if !contains(t.Issuers, id.Issuer) {
		return id, t, client, fmt.Errorf("issuer %s of type %s: %w", id.Issuer, id.Type, ErrType)
	}
	return id, t, client, nil
}

func contains(list []string, s string) bool { return !all(list, func(v string) bool { return v != s }) }

// holder finds the last version of the licence under the name that the certificate gives its holder: from there on changes flag it.
func (l *Library) holder(ctx context.Context, uscc, name string) (int, store.Expect, error) {
	s, at, err := l.Licences.Standing(ctx, uscc)
	if errors.Is(err, licence.ErrUnknown) {
		return 0, store.Expect{}, fmt.Errorf("%.18s has no licence here: %w", uscc, ErrHolder)
	} else if err != nil {
		return 0, store.Expect{}, err
	}
	for n := s.Version; n > 0; n-- {
		lic, err := l.Licences.Version(ctx, uscc, n)
		if err != nil {
			return 0, store.Expect{}, err
		}
		if lic.Name == name {
			return n, licence.Expect(uscc, at), nil
		}
	}
	return 0, store.Expect{}, fmt.Errorf("%s never had the name %.100q: %w", uscc, name, ErrHolder)
}

// before reads what the new row follows: nothing, or an earlier version of the same holder's certificate.
func (l *Library) before(ctx context.Context, id Identifier, next Row) (Row, head, store.Version, error) {
	h, at, last, err := l.last(ctx, id.Series())
	if errors.Is(err, ErrUnknown) {
		h = head{Certificate: id.Series(), USCC: next.USCC, Type: id.Type}
		return Row{}, h, 0, l.room(ctx, id, next.USCC)
	}
	if err != nil {
		return last, h, at, err
	}
	was, err := ParseIdentifier(last.Identifier)
	switch {
	case err != nil:
		return last, h, at, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	case id != was.Next():
		return last, h, at, fmt.Errorf("version %03d after %03d: %w", id.Version, was.Version, ErrSequence)
	case next.USCC != last.USCC:
		return last, h, at, fmt.Errorf("it belongs to another enterprise: %w", ErrHolder)
	}
	return last, h, at, follow(last, next.EffectiveAt)
}

func (l *Library) room(ctx context.Context, id Identifier, uscc string) error {
	if id.Version != 1 {
		return fmt.Errorf("the first version is 001, not %03d: %w", id.Version, ErrSequence)
	}
	p, err := l.Store.List(ctx, heads, byHolder, []byte(uscc), "", maxOfHolder)
	if err == nil && len(p.Items) >= maxOfHolder {
		err = fmt.Errorf("%s has %d: %w", uscc, maxOfHolder, ErrFull)
	}
	return err
}

func follow(last Row, effective time.Time) error {
	switch {
	case effective.Before(last.EffectiveAt):
		return fmt.Errorf("effective %s, before the last row: %w", effective.Format(time.RFC3339), ErrTransition)
	case last.Number >= maxRows:
		return fmt.Errorf("it has %d rows: %w", maxRows, ErrFull)
	}
	return nil
}

// Restatement is a change of a certificate's status.
type Restatement struct {
	Status      Status    `json:"status" enum:"valid,suspended,revoked,cancelled,annulled"`
	Reason      string    `json:"reason" minLength:"1" maxLength:"200"`
	EffectiveAt time.Time `json:"effective_at,omitzero" required:"false" doc:"now when left out"`
}

// SetStatus changes a certificate's status. ErrIdentifier, access.ErrNotEntitled, ErrUnknown, ErrForm, ErrTransition.
func (l *Library) SetStatus(ctx context.Context, req *store.Request, actor access.Actor, certificate string, s Restatement) (Stated, error) {
	return l.restate(ctx, req, actor, certificate, func(r *Row, _ licence.Standing) error {
		if !r.Status.mayBecome(s.Status) {
			return fmt.Errorf("%.20s after %s: %w", s.Status, r.Status, ErrTransition)
		}
		r.Act, r.Status, r.Reason, r.EffectiveAt = Restated, s.Status, s.Reason, otherwise(s.EffectiveAt, l.now()).UTC()
		return nil
	})
}

// Confirmation says that a certificate holds under a version of the licence.
type Confirmation struct {
	Licence int    `json:"licence" minimum:"1" doc:"the version of the licence that was looked at"`
	Reason  string `json:"reason" minLength:"1" maxLength:"200"`
}

// Confirm lifts a certificate's flags: its department has looked at the licence as it is now. Errors as SetStatus, and ErrLicenceMoved.
func (l *Library) Confirm(ctx context.Context, req *store.Request, actor access.Actor, certificate string, c Confirmation) (Stated, error) {
	return l.restate(ctx, req, actor, certificate, func(r *Row, s licence.Standing) error {
		if s.Version != c.Licence {
			return fmt.Errorf("version %d was looked at, it is version %d now: %w", c.Licence, s.Version, ErrLicenceMoved)
		}
		r.Act, r.Licence, r.Name, r.Reason, r.EffectiveAt = Confirmed, c.Licence, s.Name, c.Reason, l.now()
		return nil
	})
}

// restate appends a row that differs from the last one by change.
func (l *Library) restate(ctx context.Context, req *store.Request, actor access.Actor, certificate string, change func(*Row, licence.Standing) error) (Stated, error) {
	client, series, err := l.own(ctx, actor, certificate)
	if err != nil {
		return Stated{}, err
	}
	if s, done, err := l.again(ctx, req, series); done || err != nil {
		return s, err
	}
	h, at, next, err := l.last(ctx, series)
	if err != nil {
		return Stated{}, err
	}
	standing, sv, err := l.Licences.Standing(ctx, next.USCC)
	if err != nil {
		return Stated{}, err
	}
	last := next
	if err := change(&next, standing); err != nil {
		return Stated{}, fmt.Errorf("certificate %s: %w", series, err)
	}
	if !cleanText(next.Reason, maxReason) {
		return Stated{}, fmt.Errorf("reason is no text of at most %d characters: %w", maxReason, ErrForm)
	}
	if err := errors.Join(timely(next.EffectiveAt, l.now()), follow(last, next.EffectiveAt)); err != nil {
		return Stated{}, fmt.Errorf("certificate %s: %w", series, err)
	}
	w := write{Library: l, head: h, version: at, expect: []store.Expect{client, licence.Expect(next.USCC, sv)}}
	return w.commit(ctx, req, actor, next)
}

func (l *Library) own(ctx context.Context, actor access.Actor, certificate string) (store.Expect, string, error) {
	client, err := l.Access.Registered(ctx, actor, access.CertificatePut)
	if err != nil {
		return client, "", err
	}
	series, err := ParseSeries(certificate)
	if err != nil {
		return client, "", err
	}
	return client, series, l.owns(actor, typeOf(series))
}

// again finds the row that a repeated request made.
func (l *Library) again(ctx context.Context, req *store.Request, series string) (Stated, bool, error) {
	receipt, err := l.Store.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return Stated{}, false, nil
	} else if err != nil {
		return Stated{}, false, err
	}
	h, _, _, err := l.last(ctx, series)
	for n := h.Rows; n > 0 && err == nil; n-- {
		var r Row
		if r, err = l.row(ctx, series, n); err == nil && r.Client == req.Client && r.Request == req.ID {
			receipt.Duplicate = true
			return Stated{r, receipt}, true, nil
		}
	}
	return Stated{}, false, errors.Join(err, fmt.Errorf("the row of request %.40q is not there: %w", req.ID, store.ErrCorrupt))
}

// write is one row on its way into the store.
type write struct {
	*Library
	head    head
	version store.Version
	expect  []store.Expect
	file    []byte
}

func (w write) commit(ctx context.Context, req *store.Request, actor access.Actor, r Row) (Stated, error) {
	w.head.Rows++
	r.Number, r.RecordedAt, r.Client, r.Request = w.head.Rows, w.now(), actor.Client, req.ID
	m := store.Mutation{Request: req, Expect: w.expect}
	if err := w.addFile(ctx, &m, &r); err != nil {
		return Stated{}, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return Stated{}, err
	}
	h, err := json.Marshal(w.head)
	if err != nil {
		return Stated{}, err
	}
	series, key, sum := []byte(r.Certificate), []byte(rowKey(r.Certificate, r.Number)), gm.SM3(body)
	m.Expect = append(m.Expect, store.Expect{Collection: heads, Key: series, Version: w.version}, store.Expect{Collection: rows, Key: key})
	m.Put = append(m.Put, store.Put{Collection: heads, Key: series, Value: h}, store.Put{Collection: rows, Key: key, Value: body})
	event, err := audit.Event{Kind: EventKind, Actor: actor.Audit(), Subject: r.Certificate, Detail: recorded{r.Identifier, r.Number, r.Act, r.USCC, r.Status, r.Licence,
		r.FileSM3, hex.EncodeToString(sum[:])}}.Body()
	if err != nil {
		return Stated{}, err
	}
	m.Audit = [][]byte{event}
	receipt, err := w.Store.Commit(ctx, m)
	if err != nil {
		return Stated{}, fmt.Errorf("recording certificate %s: %w", r.Certificate, err)
	}
	return Stated{r, receipt}, nil
}

// addFile stores a file under its SM3, once.
func (w write) addFile(ctx context.Context, m *store.Mutation, r *Row) error {
	if len(w.file) == 0 {
		return nil
	}
	sum := gm.SM3(w.file)
	r.FileSM3 = hex.EncodeToString(sum[:])
	_, err := w.Store.Get(ctx, files, []byte(r.FileSM3))
	if errors.Is(err, store.ErrNotFound) {
		m.Put = append(m.Put, store.Put{Collection: files, Key: []byte(r.FileSM3), Value: w.file})
		return nil
	}
	return err
}
