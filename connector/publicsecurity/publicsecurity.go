// Package publicsecurity connects public security's seal management system (治安印章信息管理系统): notices go out, filed impressions and answers to
// our filings come back.
//
// Its one promise: what comes back counts by public security's signature alone, never by the connection it came over. The contract is
// docs/connectors/public-security.md.
package publicsecurity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/feed"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
)

// Name is the feed's.
const Name = "public-security"

// AnswerKind is the envelope kind of public security's answer to the filing of a made seal.
const AnswerKind = "seal-filing/1"

// by is who takes what comes from there, in records.
var by = access.Actor{Client: "connector-public-security", Role: access.RolePublicSecurity, Name: "connector"}

// Outgoing is a notice on the wire.
type Outgoing struct {
	ID     string          `json:"id"`
	Notice json.RawMessage `json:"notice"` // register.Notice
}

// Incoming is the answer to a notice; Answer stands in that to a made seal, unless it comes later.
type Incoming struct {
	Answer *envelope.Envelope `json:"answer,omitempty"`
}

// Answer says how far the filing of a made seal is: payload of AnswerKind.
type Answer struct {
	ESID      string    `json:"esid"`
	State     string    `json:"state"` // their code
	Reference string    `json:"reference"`
	At        time.Time `json:"at"`
}

// Issuance is what takes filings and answers.
type Issuance interface {
	File(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (issuance.FilingOutcome, error)
	SealNotice(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (issuance.NoticeOutcome, error)
	AnswerFiling(ctx context.Context, req *keystore.Request, actor access.Actor, esid string, state register.FilingState, reference string) error
}

// Config is what the connector stands on.
type Config struct {
	Client   *wire.Client
	Pinned   []*gm.PublicKey // public security's
	Codes    Codes
	Issuance Issuance
	Register *register.Register
	Now      func() time.Time
}

// Connector speaks the contract. It is safe for concurrent use.
type Connector struct {
	Config
	pending, overdue atomic.Int64
}

// New wires a connector.
func New(c Config) *Connector {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Connector{Config: c}
}

// Deliver is delivery.Destination for register.QueueFiling.
func (c *Connector) Deliver(ctx context.Context, m delivery.Message) error {
	var in Incoming
	status, err := c.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: "/v1/notices", Key: m.Key, In: Outgoing{m.ID, m.Body}}, &in)
	if err != nil || m.Kind != "seal-made" || status == http.StatusAccepted {
		return err
	}
	var n register.Notice
	if err := json.Unmarshal(m.Body, &n); err != nil {
		return err
	}
	if in.Answer == nil {
		return fmt.Errorf("filing of seal %s: neither an answer nor status 202: %w", n.ESID, wire.ErrGarbage)
	}
	return c.answered(ctx, n.ESID, *in.Answer)
}

// answered takes the signed answer to a seal's filing; one that says nothing final changes nothing.
func (c *Connector) answered(ctx context.Context, esid string, e envelope.Envelope) error {
	var a Answer
	if err := envelope.Open(e, AnswerKind, c.Pinned, &a); err != nil {
		return fmt.Errorf("answer to the filing of seal %s: %w: %w", esid, wire.ErrGarbage, err)
	}
	if a.ESID != esid {
		return fmt.Errorf("answer to the filing of seal %s is about %.20q: %w", esid, a.ESID, wire.ErrGarbage)
	}
	s, err := c.Codes.sealFiling(a.State)
	if err != nil || s == register.FilingPending {
		return err
	}
	return c.Issuance.AnswerFiling(ctx, nil, by, esid, s, a.Reference)
}

// Page is feed.Source: filed impressions, and notices about seals.
func (c *Connector) Page(ctx context.Context, after uint64, limit int) (feed.Page, error) {
	var p feed.Page
	q := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
	_, err := c.Client.Do(ctx, wire.Call{Method: http.MethodGet, Path: "/v1/filings", Query: q}, &p)
	return p, err
}

// MaxAnswer is how long a page of filings may be: FilingsPage filings of the greatest size, in base64 twice.
const (
	FilingsPage = 4
	MaxAnswer   = FilingsPage * (register.MaxImage*16/9 + 128<<10)
)

// Feed fills in what reading filings and notices takes.
func (c *Connector) Feed(cfg feed.Config) feed.Config {
	cfg.Name, cfg.Source, cfg.Judge, cfg.Page = Name, c, judge, FilingsPage
	cfg.Open = func(e envelope.Envelope) (string, time.Time, error) {
		if e.Kind == register.SealNoticeKind {
			var n register.SealNotice
			err := envelope.Open(e, register.SealNoticeKind, c.Pinned, &n)
			return n.FilingNumber, n.At, err
		}
		var f register.Filing
		err := envelope.Open(e, register.FilingKind, c.Pinned, &f)
		return f.USCC, f.FiledAt, err
	}
	cfg.Take = func(ctx context.Context, e envelope.Envelope) error {
		var err error
		if e.Kind == register.SealNoticeKind {
			_, err = c.Issuance.SealNotice(ctx, nil, by, e)
		} else {
			_, err = c.Issuance.File(ctx, nil, by, e)
		}
		return err
	}
	return cfg
}

// judge: a filing that comes before its order, or while the order waits for a human, is tried again; what fails for want of the token too; the rest
// is for a human to decide.
func judge(err error) feed.Verdict {
	for _, again := range []error{issuance.ErrNoOrder, issuance.ErrOrderException} {
		if errors.Is(err, again) {
			return feed.Again
		}
	}
	for _, ours := range []error{access.ErrNotEntitled, keystore.ErrTokenGone, keystore.ErrLoggedOut, keystore.ErrTokenBusy, keystore.ErrPINLatched,
		keystore.ErrTokenInterrupted, keystore.ErrTokenRefused} {
		if errors.Is(err, ours) {
			return feed.Ours
		}
	}
	return feed.Human
}
