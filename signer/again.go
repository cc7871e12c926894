package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// answered finds the answer that a request has had already.
func (s *Signer) answered(ctx context.Context, actor access.Actor, r Request) (Released, bool, error) {
	receipt, err := s.cfg.Store.Lookup(ctx, store.Request{Client: actor.Client, ID: r.ID, Digest: r.BodyDigest})
	if errors.Is(err, store.ErrNotFound) {
		return Released{}, false, nil
	}
	if refused := s.cfg.Access.Acting(ctx, actor, access.SignatureMake); refused != nil {
		return Released{}, false, refused // a client that was disabled since hears nothing of its former requests
	}
	if err != nil {
		return Released{}, false, fmt.Errorf("request %q: %w", r.ID, err)
	}
	receipt.Duplicate = true
	rel, err := s.again(ctx, receipt, r)
	return rel, true, err
}

// again makes the released bytes once more from the document and the record: no key is used, nothing is written. The seal may have
// been suspended since; what was released stays released.
func (s *Signer) again(ctx context.Context, receipt store.Receipt, r Request) (Released, error) {
	rec, _, err := s.recordAt(ctx, receipt.First)
	if err != nil {
		return Released{}, err
	}
	p, _ := r.profile() // check refused what has none
	u := &use{req: r, now: rec.Time, profile: p, doc: r.open(p, s.cfg.Limits), record: rec, signature: rec.Signature, token: rec.Timestamp,
		entries: entries{signature: rec.EntriesSignature, token: rec.EntriesTimestamp}}
	if rec.Options != nil {
		u.options = *rec.Options
	}
	if hexOf(u.doc.Digest()) != rec.Document || hexOf(u.doc.Placement()) != rec.Placement || r.Seal != rec.Seal || rec.Profile != "" && rec.Profile != p.name {
		return Released{}, fmt.Errorf("record %d: %w", receipt.First, ErrRecord)
	}
	if err := s.remake(ctx, u); err != nil {
		return Released{}, fmt.Errorf("record %d: %w", receipt.First, err)
	}
	return u.release(receipt), nil
}

func (s *Signer) remake(ctx context.Context, u *use) error {
	seal, version, err := s.cfg.Seals.Seal(ctx, u.record.Seal)
	if err != nil {
		return err
	}
	if u.ready, err = s.prepared(ctx, seal, version); err != nil {
		return err
	}
	p := Provider{}
	if u.record.Provider != nil {
		p = *u.record.Provider
	}
	if u.profile.companion && (u.ready.companion == nil || seal.Document.CertSHA256 != u.record.Certificate) {
		return fmt.Errorf("document key was replaced: %w", ErrRecord)
	}
	if err := u.lay(p, u.record.Stamps); err != nil {
		return err
	}
	if u.ready.eslSM3 != u.record.ESL || hexOf(u.laid.DataHash) != u.record.DataHash || u.laid.PropertyInfo != u.record.PropertyInfo {
		return ErrRecord
	}
	return u.embed()
}

// recordAt reads one signature's record.
func (s *Signer) recordAt(ctx context.Context, index uint64) (Record, store.Record, error) {
	rs, err := s.cfg.Store.Records(ctx, index, 1)
	if err != nil {
		return Record{}, store.Record{}, fmt.Errorf("reading record %d: %w", index, err)
	}
	if len(rs) == 0 {
		return Record{}, store.Record{}, fmt.Errorf("record %d: %w", index, ErrUnknown)
	}
	rec, err := signatureIn(rs[0])
	return rec, rs[0], err
}

// signatureIn reads a record of the log as a signature's.
func signatureIn(raw store.Record) (Record, error) {
	e, err := audit.ParseBody(raw.Body)
	if err != nil {
		return Record{}, fmt.Errorf("reading record %d: %w", raw.Index, err)
	}
	detail, ok := e.Detail.(json.RawMessage)
	if e.Kind != eventKind || !ok {
		return Record{}, fmt.Errorf("record %d is not of a signature: %w", raw.Index, ErrUnknown)
	}
	var rec Record
	if err := json.Unmarshal(detail, &rec); err != nil {
		return Record{}, fmt.Errorf("reading record %d: %w: %w", raw.Index, ErrRecord, err)
	}
	return rec, nil
}

// Find returns the record of a released signature by its number. A department finds its own; any other number is ErrUnknown to it.
func (s *Signer) Find(ctx context.Context, actor access.Actor, index uint64) (Record, store.Record, error) {
	rec, raw, err := s.recordAt(ctx, index)
	if err != nil {
		return Record{}, store.Record{}, err
	}
	if err := s.cfg.Access.Allow(actor, access.SignatureRead, access.Resource{Client: rec.Client}); err != nil {
		return Record{}, store.Record{}, fmt.Errorf("record %d: %w", index, ErrUnknown)
	}
	return rec, raw, nil
}
