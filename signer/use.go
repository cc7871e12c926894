package signer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal"
)

// use is one act of using a seal (用印) on its way through the steps. It belongs to one goroutine.
type use struct {
	actor  access.Actor
	req    Request
	now    time.Time // whole seconds, UTC
	doc    Document
	want   access.Want
	expect []store.Expect // every version read
	spend  []store.Spend

	seal     register.Seal
	version  store.Version // of seal
	grant    access.Entitlement
	licence  int // version of the licence
	ready    *ready
	evidence access.Cleared
	laid     Laid

	tbs       []byte // TBS_Sign, DER
	prefix    int    // how much of tbs is the seal's prefix
	signature []byte // strict DER SEQUENCE{r,s}; set when the token has signed
	value     []byte // SES_Signature, DER
	out       []byte
	record    Record
	body      []byte // of the audit record
}

func (s *Signer) begin(actor access.Actor, r Request) *use {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	return &use{actor: actor, req: r, now: now, want: access.Want{
		Request: r.ID, Seal: r.Seal, Kind: r.Kind, Purpose: r.Purpose, Client: actor.Client, Now: now,
	}}
}

// entitled is question 1. The seal's record is read first, but nothing of it shows in the answer.
func (s *Signer) entitled(ctx context.Context, u *use) error {
	rec, version, err := s.cfg.Seals.Seal(ctx, u.req.Seal)
	unknown := errors.Is(err, register.ErrUnknown)
	if err != nil && !unknown {
		return err
	}
	u.seal, u.version, u.want.SealType, u.want.USCC = rec, version, rec.Type, rec.USCC
	if u.grant, err = s.cfg.Access.Entitled(ctx, u.actor, u.want, u.req.consent()); err != nil {
		return err
	}
	if unknown {
		return fmt.Errorf("no grant for this use: %w", access.ErrNotEntitled)
	}
	u.expect, u.spend = append(u.expect, u.grant.Expect...), append(u.spend, u.grant.Spend...)
	return nil
}

// licensed is question 2.
func (s *Signer) licensed(ctx context.Context, u *use) error {
	if u.seal.Institutional {
		return fmt.Errorf("seal %s: %w", u.req.Seal, ErrInstitutional)
	}
	l, version, err := s.cfg.Licences.Standing(ctx, u.seal.USCC)
	if errors.Is(err, licence.ErrUnknown) {
		return fmt.Errorf("no licence: %w", ErrLicenceInactive)
	} else if err != nil {
		return err
	}
	if !l.Status.Effect().SealUse {
		return fmt.Errorf("licence is %s: %w", l.Status, ErrLicenceInactive)
	}
	u.licence, u.expect = l.Version, append(u.expect, licence.Expect(u.seal.USCC, version))
	return nil
}

// sealActive is question 3.
func (s *Signer) sealActive(_ context.Context, u *use) error {
	if u.seal.State != register.Active {
		return fmt.Errorf("seal is %s: %w", u.seal.State, ErrSealInactive)
	}
	u.expect = append(u.expect, register.ExpectSeal(u.seal.ESID, u.version))
	return nil
}

// certified is question 4.
func (s *Signer) certified(ctx context.Context, u *use) error {
	r, err := s.prepared(ctx, u.seal, u.version)
	if err != nil {
		return err
	}
	if u.now.Before(r.from) || u.now.After(r.to) {
		return fmt.Errorf("valid from %s to %s: %w", r.from.Format(time.RFC3339), r.to.Format(time.RFC3339), ErrCertificate)
	}
	u.ready = r
	return nil
}

// approved is question 5: exactly this document, placement, purpose, request and client.
func (s *Signer) approved(ctx context.Context, u *use) error {
	u.doc = u.req.open(s.cfg.OFD)
	u.want.Document, u.want.Placement = u.doc.Digest(), u.doc.Placement()
	c, err := s.cfg.Access.Clear(ctx, u.grant, u.req.consent(), u.want)
	if err != nil {
		return err
	}
	u.evidence, u.expect, u.spend = c, append(u.expect, c.Expect...), append(u.spend, c.Spend...)
	return nil
}

// laidOut asks the container what is to be signed and builds TBS_Sign around it.
func (s *Signer) laidOut(_ context.Context, u *use) error {
	return u.lay(s.cfg.Provider)
}

func (u *use) lay(p Provider) (err error) {
	if u.laid, err = u.doc.Lay(Layout{SealDER: u.ready.esl, Time: u.now, Provider: p}); err != nil {
		return err
	}
	prefix, tail, err := u.ready.signing.TBS(u.now, u.laid.DataHash, u.laid.PropertyInfo)
	if err != nil {
		return err
	}
	u.prefix = len(prefix)
	u.tbs = append(append(make([]byte, 0, len(prefix)+len(tail)), prefix...), tail...)
	return nil
}

// sign asks custody, which computes e over these bytes, has the token sign it, and verifies the answer against the registered key.
func (s *Signer) sign(ctx context.Context, u *use) (err error) {
	m, err := u.ready.message(u.tbs[:u.prefix], len(u.laid.PropertyInfo))
	if err != nil {
		return err
	}
	m.Write(u.tbs[u.prefix:])
	if u.signature, err = u.ready.key.SignMessage(ctx, m); err != nil {
		return fmt.Errorf("signing with seal %s: %w", u.seal.ESID, err)
	}
	s.signed.Add(1)
	return nil
}

// embed assembles SES_Signature and puts it into the container.
func (s *Signer) embed(_ context.Context, u *use) error { return u.embed() }

func (u *use) embed() (err error) {
	if u.value, err = seal.AssembleSignature(u.tbs, u.ready.cert, u.signature, nil); err != nil {
		return err
	}
	u.out, err = u.laid.Embed(u.value)
	return err
}

// recorded writes what the log will say.
func (s *Signer) recorded(_ context.Context, u *use) (err error) {
	u.record = Record{
		Request: u.req.ID, Kind: u.req.Kind, Seal: u.seal.ESID, USCC: u.seal.USCC, ESL: u.ready.eslSM3, Certificate: u.seal.CertSHA256,
		Licence: u.licence, Client: u.actor.Client, Grant: u.grant.ID, Purpose: u.req.Purpose,
		Document: hexOf(u.want.Document), Unseen: u.req.Kind == KindDigest, Stamps: u.req.Stamps, Placement: hexOf(u.want.Placement),
		Time: u.now, DataHash: hexOf(u.laid.DataHash), PropertyInfo: u.laid.PropertyInfo, Signature: u.signature, Consent: u.evidence.Evidence,
	}
	if u.req.Kind != KindDigest {
		u.record.Provider = &s.cfg.Provider
	}
	u.body, err = audit.Event{Kind: eventKind, Actor: u.actor.Audit(), Subject: u.seal.ESID, Detail: u.record}.Body()
	return err
}

// eventKind is the kind of a signature's audit record.
const eventKind = "signature"

// mutation is the releasing commit: the record, what it spends, the versions it relies on, the request it answers.
func (u *use) mutation() store.Mutation {
	return store.Mutation{
		Request: &store.Request{Client: u.actor.Client, ID: u.req.ID, Digest: u.req.BodyDigest},
		Expect:  u.expect, Spend: u.spend, Audit: [][]byte{u.body},
	}
}

func (u *use) release(r store.Receipt) Released {
	return Released{Document: u.out, Signature: u.value, Record: u.record,
		Log: r.Log, Index: r.First, Leaf: r.Leaves[0], Recorded: r.Time, Duplicate: r.Duplicate}
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
