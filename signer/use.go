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
	"sealkeeper/signer/placement"
)

// entries is the second signature of one act: that of an integrity list.
type entries struct {
	structure structure // nil for no list
	signature []byte    // strict DER SEQUENCE{r,s}
	token     []byte    // TimeStampToken over signature, nil for none
}

// use is one act of using a seal (用印) on its way through the steps. It belongs to one goroutine.
type use struct {
	actor   access.Actor
	req     Request
	now     time.Time // whole seconds, UTC
	profile profile
	options Options
	page    string // of the public page, empty for none
	doc     Document
	want    access.Want
	expect  []store.Expect // every version read
	spend   []store.Spend

	seal     register.Seal
	version  store.Version // of seal
	grant    access.Entitlement
	licence  int // version of the licence
	ready    *ready
	evidence access.Cleared
	laid     Laid

	structure structure
	signature []byte // strict DER SEQUENCE{r,s}; set when the token has signed
	token     []byte // TimeStampToken over signature, nil for none
	noToken   string // why there is none though one was asked for
	entries   entries
	made      uint64 // signatures of the token
	value     []byte // SES_Signature or SignedData, DER
	out       []byte
	record    Record
	body      []byte // of the audit record
	after     uint64 // size of the log before the record
}

func (s *Signer) begin(actor access.Actor, r Request) *use {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	p, _ := r.profile() // check refused what has none
	u := &use{actor: actor, req: r, now: now, profile: p, want: access.Want{
		Request: r.ID, Seal: r.Seal, Kind: r.Kind, Unseen: r.unseen(), Purpose: r.Purpose, Client: actor.Client, Now: now,
	}}
	if r.Page {
		u.page = newPage()
	}
	return u
}

// entitled is question 1. The seal's record is read first, but nothing of it shows in the answer.
func (s *Signer) entitled(ctx context.Context, u *use) error {
	rec, version, err := s.cfg.Seals.Seal(ctx, u.req.Seal)
	unknown := errors.Is(err, register.ErrUnknown)
	if err != nil && !unknown {
		return err
	}
	u.seal, u.version, u.want.SealType, u.want.USCC, u.want.Institutional = rec, version, rec.Type, rec.USCC, rec.Institutional
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
		return s.standing(ctx, u)
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

// standing is question 2, and answers question 5, for an institution's own seal: a ceremony's standing delegation covers exactly this.
func (s *Signer) standing(ctx context.Context, u *use) error {
	if u.req.Approval != nil {
		return fmt.Errorf("seal %s takes no approval: %w", u.req.Seal, ErrInstitutional)
	}
	c, err := s.cfg.Access.CheckStanding(ctx, u.req.Delegation, u.want)
	if errors.Is(err, access.ErrNoStanding) {
		return fmt.Errorf("seal %s: %w: %w", u.req.Seal, ErrInstitutional, err)
	} else if err != nil {
		return fmt.Errorf("standing delegation: %w", err)
	}
	u.evidence, u.expect, u.spend = c, append(u.expect, c.Expect...), append(u.spend, c.Spend...)
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
	return u.equipped()
}

// equipped is the part of question 4 about the companion key, which lives and ends with its seal.
func (u *use) equipped() error {
	c := u.ready.companion
	switch {
	case !u.profile.companion:
		return nil
	case c == nil:
		return fmt.Errorf("seal %s: %w", u.req.Seal, ErrNoDocumentKey)
	case u.now.Before(c.from) || u.now.After(c.to):
		return fmt.Errorf("document key valid from %s to %s: %w", c.from.Format(time.RFC3339), c.to.Format(time.RFC3339), ErrCertificate)
	}
	return nil
}

// approved is question 5: exactly this document, placement, purpose, request and client.
func (s *Signer) approved(ctx context.Context, u *use) error {
	u.doc = u.req.open(u.profile, s.cfg.Limits)
	u.want.Document, u.want.Placement = u.doc.Digest(), u.doc.Placement()
	if u.seal.Institutional {
		return nil // its standing delegation was the answer to question 2
	}
	c, err := s.cfg.Access.Clear(ctx, u.grant, u.req.consent(), u.want)
	if err != nil {
		return err
	}
	u.evidence, u.expect, u.spend = c, append(u.expect, c.Expect...), append(u.spend, c.Spend...)
	return nil
}

// covered stops before the key when the record would find no space, or nobody signs for the log any more: what a stolen store could put back
// unnoticed stays small.
func (s *Signer) covered(context.Context, *use) error {
	if s.cfg.Hold == nil {
		return nil
	}
	return s.cfg.Hold()
}

// laidOut asks the container what is to be signed and builds TBS_Sign or the signed attributes around it.
func (s *Signer) laidOut(_ context.Context, u *use) error {
	u.options = s.options(u)
	return u.lay(s.cfg.Provider, nil)
}

// options are what the layout depends on beside the document; the record keeps them.
func (s *Signer) options(u *use) Options {
	o := Options{WholeDocument: u.req.WholeDocument, Integrity: u.req.Integrity}
	if u.page != "" {
		o.URL = s.cfg.Pages + "/v/" + u.page
	}
	if u.req.Kind != KindPDF {
		return o
	}
	o.Name, o.Reason, o.Location, o.Filter, o.SubFilter = u.seal.Name, u.req.Reason, u.req.Location, filterLite, filterCAdES
	o.Reserve = bareReserve + u.ready.certificates(u.profile.companion)
	if u.req.Timestamp {
		o.Reserve += tokenReserve
	}
	if u.profile.name == ProfileGM {
		o.Filter, o.SubFilter, o.OIDs = s.cfg.PDF.Filter, s.cfg.PDF.SubFilter, s.cfg.PDF.OIDs
	}
	return o
}

// lay lays the document out; stamps are nil to resolve the plan.
func (u *use) lay(p Provider, stamps []placement.Stamp) (err error) {
	l := Layout{SealDER: u.ready.esl, Picture: u.ready.picture, Image: u.ready.image, Time: u.now, Provider: p, Options: u.options, Stamps: stamps}
	if u.laid, err = u.doc.Lay(l); err != nil {
		return err
	}
	if u.laid.Entries != nil {
		if u.entries.structure, err = u.entriesData(); err != nil {
			return err
		}
	}
	if u.profile.ses {
		u.structure, err = u.ses()
	} else {
		u.structure, err = u.signedData()
	}
	return err
}

// sign asks custody, which computes e over these bytes, has the token sign it, and verifies the answer against the registered key.
func (s *Signer) sign(ctx context.Context, u *use) (err error) {
	if u.entries.structure != nil {
		if u.entries.signature, err = s.signOne(ctx, u, u.entries.structure); err != nil {
			return err
		}
	}
	u.signature, err = s.signOne(ctx, u, u.structure)
	return err
}

func (s *Signer) signOne(ctx context.Context, u *use, what structure) ([]byte, error) {
	value, err := what.sign(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing with seal %s: %w", u.seal.ESID, err)
	}
	u.made++
	s.signed.Add(1)
	return value, nil
}

// embed assembles the signature and puts it into the container.
func (s *Signer) embed(_ context.Context, u *use) error { return u.embed() }

func (u *use) embed() (err error) {
	if u.value, err = u.structure.assemble(u.signature, u.token); err != nil {
		return err
	}
	laid := u.laid
	if u.entries.structure != nil {
		value, err := u.entries.structure.assemble(u.entries.signature, u.entries.token)
		if err != nil {
			return fmt.Errorf("integrity list: %w", err)
		}
		if laid, err = laid.Entries(value); err != nil {
			return err
		}
	}
	u.out, err = laid.Embed(u.value)
	return err
}

// recorded writes what the log will say.
func (s *Signer) recorded(_ context.Context, u *use) (err error) {
	u.record = Record{
		Request: u.req.ID, Kind: u.req.Kind, Profile: u.profile.name, Seal: u.seal.ESID, USCC: u.seal.USCC, ESL: u.ready.eslSM3, Certificate: u.seal.CertSHA256,
		Licence: u.licence, Client: u.actor.Client, Grant: u.grant.ID, Purpose: u.req.Purpose,
		Document: hexOf(u.want.Document), Unseen: u.req.unseen(), Stamps: u.laid.Stamps, Placement: hexOf(u.want.Placement),
		Time: u.now, DataHash: hexOf(u.laid.DataHash), PropertyInfo: u.laid.PropertyInfo, Signature: u.signature, Consent: u.evidence.Evidence,
		Timestamp: u.token, NoTimestamp: u.noToken, Page: u.page, EntriesSignature: u.entries.signature, EntriesTimestamp: u.entries.token,
	}
	if u.req.Kind == KindOFD {
		u.record.Provider = &s.cfg.Provider
	}
	if u.options != (Options{}) {
		u.record.Options = &u.options
	}
	if p := u.req.Plan; len(p.Keywords)+len(p.Riding)+len(p.Facing) > 0 {
		u.record.Plan = &p // a plan of stamps alone is Stamps
	}
	if u.profile.companion {
		u.record.Certificate = u.seal.Document.CertSHA256
	} else if u.ready.key.Outside() {
		u.record.KeyToken = u.ready.key.Token()
	}
	u.after = s.cfg.Store.State().Size
	u.body, err = audit.Event{Kind: eventKind, Actor: u.actor.Audit(), Subject: u.seal.ESID, Detail: u.record}.Body()
	return err
}

// eventKind is the kind of a signature's audit record.
const eventKind = "signature"

// mutation is the releasing commit: the record, what it spends, the versions it relies on, the request it answers.
func (u *use) mutation() store.Mutation {
	m := store.Mutation{
		Request: &store.Request{Client: u.actor.Client, ID: u.req.ID, Digest: u.req.BodyDigest},
		Expect:  u.expect, Spend: u.spend, Audit: [][]byte{u.body},
	}
	if u.page != "" {
		m.Put, m.Expect = append(m.Put, pageAt(u.page, u.after)), append(m.Expect, store.Expect{Collection: pages, Key: []byte(u.page)})
	}
	return m
}

func (u *use) release(r store.Receipt) Released {
	rel := Released{Document: u.out, Signature: u.value, Record: u.record, PageURL: u.options.URL,
		Log: r.Log, Index: r.First, Leaf: r.Leaves[0], Recorded: r.Time, Duplicate: r.Duplicate}
	if s, ok := u.structure.(*sesStructure); ok {
		rel.Seal = Span{s.seal, s.seal + len(s.ready.esl)}
	}
	return rel
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
