// Package receipt gives archive receipts (存档回执): what a department keeps to show that it relied on a licence file, and what that was worth then.
//
// Its one promise is that no receipt leaves before it is durable, in one commit with its record and the grant it spends, and that the
// licence had the stated status in that commit (law 2). The same request has the same receipt for ever, byte for byte.
//
//	Make ─► entitled ─► file of the archive ─► standing ─► signer/statement ─► commit: receipt, record, what the client archived
//	Changed ─► the library's feed ─► only what the client archived
//
// Limits: of a file from elsewhere the status is the national system's last word, with its time.
package receipt

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/presented"
	"sealkeeper/signer/statement"
)

// Kind is the kind of the statement.
const Kind = "archive-receipt/1"

var (
	// ErrForm: a request without a digest, a purpose or a business number.
	ErrForm = errors.New("not a complete request for an archive receipt")
	// ErrNone: this appliance has no key of statements.
	ErrNone = errors.New("this appliance gives no archive receipts")
)

// ArchiveRequest is what a department asks for.
type ArchiveRequest struct {
	SM3     string `json:"file_sm3"` // of a file in the archive
	Purpose string `json:"purpose"`
	BizNo   string `json:"biz_no"` // the department's own number of the case
}

// ReceiptBody is what a receipt states, beside who states it and when.
type ReceiptBody struct {
	SM3        string         `json:"file_sm3"`
	Size       int            `json:"file_size"`
	USCC       string         `json:"uscc"`
	Name       string         `json:"name"`
	Version    int            `json:"licence_version"`
	Current    int            `json:"current_version"`
	Status     licence.Status `json:"status"`
	StatusAt   time.Time      `json:"status_at"`
	StatusBy   string         `json:"status_by"` // library or national
	Origin     licence.Origin `json:"origin"`
	ArchivedAt time.Time      `json:"archived_at"`
	Purpose    string         `json:"purpose"`
	BizNo      string         `json:"biz_no"`
	Client     string         `json:"client"`
	ClientName string         `json:"client_name"`
	Grant      string         `json:"grant"`
}

// ArchiveReceipt is one that was given.
type ArchiveReceipt struct {
	ID       string      `json:"id"`
	Body     ReceiptBody `json:"receipt"`
	IssuedAt time.Time   `json:"issued_at"`
	DER      []byte      `json:"statement"` // SignedData, with its time stamp
}

// The collections: a receipt by client and request, and what a client archived, by client and code.
var (
	receipts = &store.Collection{Name: "archive-receipt", Codec: 1}
	watched  = &store.Collection{Name: "archived-licence", Codec: 1}
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{receipts, watched} }

// kept is a receipt as stored: with what it answered.
type kept struct {
	Asked string `json:"asked"` // digest of the request
	ArchiveReceipt
}

// Watch is what a client archived of an enterprise.
type Watch struct {
	Version int       `json:"version"` // that this library had when it was archived last: what came later is news
	Receipt string    `json:"receipt"`
	Since   time.Time `json:"since"`
}

// Config is what the office is made of.
type Config struct {
	Store      store.Store
	Library    *licence.Library
	Access     *access.Access
	Desk       *presented.Desk
	Statements *statement.Service // nil: no receipts
	Now        func() time.Time
}

// Office gives receipts. It is safe for concurrent use.
type Office struct{ cfg Config }

// New makes an office.
func New(cfg Config) *Office { return &Office{cfg} }

// EventKind is the kind of a receipt's audit record; it holds the receipt whole.
const EventKind = "archive-receipt"

// Make gives a receipt. Errors: access.ErrNotEntitled and those of grants, ErrForm, ErrNone, licence.ErrNoFile, store.ErrRequestReused, those of key,
// time stamp and store.
func (o *Office) Make(ctx context.Context, req store.Request, actor access.Actor, a ArchiveRequest) (ArchiveReceipt, error) {
	if err := o.cfg.Access.Acting(ctx, actor, access.LicenceArchive); err != nil {
		return ArchiveReceipt{}, err
	}
	if o.cfg.Statements == nil {
		return ArchiveReceipt{}, ErrNone
	}
	if err := a.check(); err != nil {
		return ArchiveReceipt{}, err
	}
	for {
		r, err := o.given(ctx, req)
		if !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		r, err = o.give(ctx, req, actor, a)
		if !errors.Is(err, store.ErrConflict) {
			return r, err
		}
	}
}

func (a ArchiveRequest) check() error {
	if b, err := hex.DecodeString(a.SM3); err != nil || len(b) != 32 {
		return fmt.Errorf("file_sm3 %.70q: %w", a.SM3, ErrForm)
	}
	for _, f := range []struct{ name, value string }{{"purpose", a.Purpose}, {"biz_no", a.BizNo}} {
		if f.value == "" || !utf8.ValidString(f.value) || utf8.RuneCountInString(f.value) > 64 || hasControl(f.value) {
			return fmt.Errorf("%s %.80q: %w", f.name, f.value, ErrForm)
		}
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return true
		}
	}
	return false
}

// name is the receipt's identifier: of client and request, so that a request finds its receipt however late it comes again.
func name(req store.Request) string {
	d := gm.SM3([]byte(req.Client+"\n"), []byte(req.ID))
	return hex.EncodeToString(d[:16])
}

// given finds the receipt of an earlier call. store.ErrNotFound, store.ErrRequestReused.
func (o *Office) given(ctx context.Context, req store.Request) (ArchiveReceipt, error) {
	it, err := o.cfg.Store.Get(ctx, receipts, []byte(name(req)))
	if err != nil {
		return ArchiveReceipt{}, fmt.Errorf("looking for the receipt: %w", err)
	}
	var k kept
	if err := json.Unmarshal(it.Value, &k); err != nil {
		return ArchiveReceipt{}, fmt.Errorf("receipt %s: %w: %w", it.Key, store.ErrCorrupt, err)
	}
	if k.Asked != hex.EncodeToString(req.Digest[:]) {
		return ArchiveReceipt{}, fmt.Errorf("receipt %s answered something else: %w", k.ID, store.ErrRequestReused)
	}
	return k.ArchiveReceipt, nil
}

func (o *Office) give(ctx context.Context, req store.Request, actor access.Actor, a ArchiveRequest) (ArchiveReceipt, error) {
	e, err := o.cfg.Access.EntitledRecord(ctx, actor, access.LicenceArchive, access.KindLicence, a.Purpose, o.cfg.Now())
	if err != nil {
		return ArchiveReceipt{}, err
	}
	f, err := o.cfg.Library.File(ctx, a.SM3)
	if err != nil {
		return ArchiveReceipt{}, err
	}
	s, expect, err := o.cfg.Desk.Standing(ctx, f)
	if err != nil {
		return ArchiveReceipt{}, err
	}
	r := ArchiveReceipt{ID: name(req), Body: ReceiptBody{SM3: f.SM3, Size: f.Size, USCC: f.USCC, Name: s.Name, Version: f.Version, Current: s.Current, Status: s.Status, StatusAt: s.StatusAt,
		StatusBy: s.By, Origin: f.Origin, ArchivedAt: f.ArchivedAt, Purpose: a.Purpose, BizNo: a.BizNo, Client: actor.Client, ClientName: actor.Name, Grant: e.ID}}
	signed, err := o.cfg.Statements.Sign(ctx, statement.Claim{Kind: Kind, ID: r.ID, Body: r.Body, Stamp: true})
	if err != nil {
		return ArchiveReceipt{}, err
	}
	r.DER, r.IssuedAt = signed.DER, signed.IssuedAt
	m, err := o.mutation(ctx, req, actor, r)
	if err != nil {
		return ArchiveReceipt{}, err
	}
	m.Expect = append(append(m.Expect, expect...), e.Expect...)
	m.Spend = e.Spend
	done, err := o.cfg.Store.Commit(ctx, m)
	if err == nil && done.Duplicate { // the same request came first by another connection
		return o.given(ctx, req)
	}
	if err != nil {
		return ArchiveReceipt{}, fmt.Errorf("keeping receipt %s: %w", r.ID, spent(err))
	}
	return r, nil
}

// spent gives a spent grant its name; the counter is the only one in the commit.
func spent(err error) error {
	if errors.Is(err, store.ErrLimit) {
		return fmt.Errorf("%w: %w", access.ErrGrantSpent, err)
	}
	return err
}

func (o *Office) mutation(ctx context.Context, req store.Request, actor access.Actor, r ArchiveReceipt) (store.Mutation, error) {
	m := store.Mutation{Request: &req}
	value, err := json.Marshal(kept{hex.EncodeToString(req.Digest[:]), r})
	if err != nil {
		return m, err
	}
	seen, _, err := o.cfg.Library.Standing(ctx, r.Body.USCC)
	if err != nil && !errors.Is(err, licence.ErrUnknown) {
		return m, err
	}
	watch, err := json.Marshal(Watch{seen.Version, r.ID, r.IssuedAt})
	if err != nil {
		return m, err
	}
	body, err := audit.Event{Kind: EventKind, Actor: actor.Audit(), Subject: r.Body.USCC, Detail: r}.Body()
	if err != nil {
		return m, err
	}
	key := watchKey(actor.Client, r.Body.USCC)
	m.Audit = [][]byte{body}
	m.Put = []store.Put{{Collection: receipts, Key: []byte(r.ID), Value: value}, {Collection: watched, Key: key, Value: watch}}
	m.Expect = []store.Expect{{Collection: receipts, Key: []byte(r.ID)}} // of two watches at once either will do: an older one tells more
	return m, nil
}

func watchKey(client, uscc string) []byte { return []byte(client + "/" + uscc) }
