// Package signer is the one path from a request to a signed document.
//
//	api ─► Signer.Sign ─► keystore key ─► token session
//	  1 entitled      the client and its grant; an unentitled caller learns nothing else
//	  2 licence       the owner's licence allows its seals to be used; an institution's own seal has a standing delegation in its place
//	  3 seal          the seal is active
//	  4 certificate   seal and certificate are valid now and belong together
//	  5 approved      the owner's approval or delegation covers exactly this
//	    covered       the record has space, and checkpoints are being signed over the log, or have not been missing for long
//	  6 laid out      the container says what is to be signed, and TBS_Sign is built
//	  7 signed        in the token, over an e computed in custody; verified in software before it comes back
//	    stamped       if asked: a time stamp over the signature value
//	                  an integrity list (GM/T 0099) has a second signature by the same key, over a digest computed here too; one record holds both
//	  8 embedded
//	  9 committed     one record, one commit that expects every version read; only then is anything released
//
// Its one promise is that order (law 3), and that nothing leaves before its record is durable (law 2).
//
// An owner's approval names the document, the placement and the purpose, not the kind of signature: that is the grant's and the delegation's to
// bound.
//
// Limits: no HTTP, no module, no clock but its own.
package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/pdf"
)

// Config wires a Signer. Everything up to Refuse is required.
type Config struct {
	Store    store.Store
	Access   *access.Access
	Licences *licence.Library
	Seals    *register.Register
	Keys     *keystore.Keystore
	Refuse   func(audit.Event) // takes the record of a refusal, without waiting

	// Hold says why nothing may be signed now that could not be recorded or covered by a checkpoint: no space, or no checkpoint for too long. Nil never
	// does.
	Hold     func() error
	Log      *slog.Logger     // nil discards
	Now      func() time.Time // nil means time.Now
	Provider Provider         // who containers name as the signature's maker; Name "Sealkeeper" when empty
	Limits   Limits
	PDF      PDF
	Stamper  Stamper // nil: ErrNoAuthority when a time stamp is asked for
	// WithoutStamp releases a signature without its time stamp when there is none to be had, and says so in record and answer.
	WithoutStamp bool
	Pages        string // address of the public pages, in front of /v/…; empty: ErrNoPages when one is asked for
	Parallel     int    // signatures of one batch made at a time, best the token's sessions; 0 means 4 per processor
	WarmSeals    int    // seals kept prepared in memory, about 60 kB each; 0 means 256
}

// Limits are those of the containers.
type Limits struct {
	OFD ofd.Limits
	PDF pdf.Limits
}

// PDF names the SM2 signatures in PDF, as the platforms that read them agreed.
type PDF struct {
	Filter    string // without a slash; Adobe.PPKLite when empty
	SubFilter string // adbe.pkcs7.detached when empty
	OIDs      string // gm (default) or rfc: content types of the SignedData
}

const (
	filterLite   = "Adobe.PPKLite"
	filterPKCS7  = "adbe.pkcs7.detached"
	filterCAdES  = "ETSI.CAdES.detached"
	oidsGM       = "gm"
	oidsRFC      = "rfc"
	tokenReserve = 16 << 10 // bytes that a time stamp may take in a PDF
	bareReserve  = 4 << 10  // SignedData without certificates and time stamp
)

// Signer makes signatures. Safe for concurrent use.
type Signer struct {
	cfg  Config
	warm *warm

	reserved reservations

	signed, released, discarded, refused atomic.Uint64
}

// New checks the wiring.
func New(cfg Config) (*Signer, error) {
	if cfg.Store == nil || cfg.Access == nil || cfg.Licences == nil || cfg.Seals == nil || cfg.Keys == nil || cfg.Refuse == nil {
		return nil, errors.New("signer needs store, access, licences, seals, keys and a record of refusals")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Provider.Name == "" {
		cfg.Provider.Name = "Sealkeeper"
	}
	cfg.PDF = PDF{orText(cfg.PDF.Filter, filterLite), orText(cfg.PDF.SubFilter, filterPKCS7), orText(cfg.PDF.OIDs, oidsGM)}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 4 * runtime.GOMAXPROCS(0)
	}
	if cfg.WarmSeals <= 0 {
		cfg.WarmSeals = 256
	}
	return &Signer{cfg: cfg, warm: newWarm(cfg.WarmSeals), reserved: reservations{open: map[string]*reserved{}}}, nil
}

// Stats are counters since start; the epoch's closing record takes them.
type Stats struct {
	Signed    uint64 `json:"signed"`    // signatures that the token made and that verified; one with an integrity list is two
	Released  uint64 `json:"released"`  // of these, released with a durable record
	Discarded uint64 `json:"discarded"` // of these, never released
	Refused   uint64 `json:"refused"`   // requests refused by name
}

// Stats returns the counters. Between a signature and its commit, Signed runs ahead of the other two.
func (s *Signer) Stats() Stats {
	return Stats{s.signed.Load(), s.released.Load(), s.discarded.Load(), s.refused.Load()}
}

// Sign answers one request. The same request again is answered with the same bytes. Refusals are named by this package, access and
// signer/ofd and leave nothing changed; store.ErrRequestReused, store.ErrClock, store.ErrReadOnly, store.ErrUnavailable,
// store.ErrUnknownOutcome and the sentinels of hsm pass through.
func (s *Signer) Sign(ctx context.Context, actor access.Actor, r Request) (Released, error) {
	rel, err := s.attempt(ctx, actor, r)
	if raced(err) { // someone changed what was read, or spent what was left: decide again from the first question
		rel, err = s.attempt(ctx, actor, r)
	}
	if err != nil {
		s.refuse(actor, r, err)
	}
	return rel, err
}

// raced reports whether the commit found another state than the checks had read.
func raced(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrLimit)
}

func (s *Signer) attempt(ctx context.Context, actor access.Actor, r Request) (Released, error) {
	u, rel, err := s.make(ctx, actor, r)
	if err != nil || u == nil {
		return rel, err
	}
	return s.commit(ctx, u)
}

func (s *Signer) commit(ctx context.Context, u *use) (Released, error) {
	receipt, err := s.cfg.Store.Commit(ctx, u.mutation())
	return s.settle(ctx, u, receipt, err)
}

// make goes from the request to a signed document that only its record still holds back. A request that was answered before comes back
// as Released, with no use.
func (s *Signer) make(ctx context.Context, actor access.Actor, r Request) (*use, Released, error) {
	u, rel, err := s.decide(ctx, actor, r)
	if u == nil || err != nil {
		return nil, rel, err
	}
	return s.finish(ctx, u, s.sign)
}

// decide is the half before the key: every question of law 3 in its order, and what is to be signed laid out.
func (s *Signer) decide(ctx context.Context, actor access.Actor, r Request) (*use, Released, error) {
	if err := s.check(r); err != nil {
		return nil, Released{}, err
	}
	if rel, done, err := s.answered(ctx, actor, r); done || err != nil {
		return nil, rel, err
	}
	u := s.begin(actor, r)
	for _, step := range [...]step{s.entitled, s.licensed, s.sealActive, s.certified, s.approved, s.covered, s.laidOut} {
		if err := step(ctx, u); err != nil {
			return s.broken(ctx, u, err)
		}
	}
	return u, Released{}, nil
}

// finish is the half from the key on: signed is the step that comes by the signature, verified in software; what follows is the same for a key in the
// appliance's tokens and for one outside.
func (s *Signer) finish(ctx context.Context, u *use, signed step) (*use, Released, error) {
	for _, step := range [...]step{signed, s.stamp, s.embed, s.recorded} {
		if err := step(ctx, u); err != nil {
			return s.broken(ctx, u, err)
		}
	}
	return u, Released{}, nil
}

// step is one of the steps above; it fills in the use.
type step = func(context.Context, *use) error

// check refuses what this appliance cannot do for anybody.
func (s *Signer) check(r Request) error {
	switch err := r.check(); {
	case err != nil:
		return err
	case r.Timestamp && s.cfg.Stamper == nil:
		return ErrNoAuthority
	case r.Page && s.cfg.Pages == "":
		return ErrNoPages
	}
	return nil
}

// broken ends a use whose step failed. The same request may have been answered meanwhile, and have spent what this one lacks.
func (s *Signer) broken(ctx context.Context, u *use, err error) (*use, Released, error) {
	s.discarded.Add(u.made)
	if rel, done, lookup := s.answered(ctx, u.actor, u.req); done && lookup == nil {
		return nil, rel, nil
	}
	return nil, Released{}, err
}

// settle turns the fate of the commit into the answer.
func (s *Signer) settle(ctx context.Context, u *use, receipt store.Receipt, err error) (Released, error) {
	switch {
	case err != nil:
		s.discarded.Add(u.made)
		return Released{}, fmt.Errorf("committing the signature: %w", err)
	case receipt.Duplicate: // the same request was answered while this one was being made
		s.discarded.Add(u.made)
		return s.again(ctx, receipt, u.req)
	default:
		s.released.Add(u.made)
		return u.release(receipt), nil
	}
}
