package issuance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"

	"sealkeeper/access"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// DocumentIssuer certifies the companion key of a seal; the appliance's P-256 authority.
type DocumentIssuer interface {
	IssueDocument(pub crypto.PublicKey, subject ca.SubjectTemplate, r ca.Request) (certDER []byte, chain [][]byte, err error)
}

// ErrNoDocumentAuthority: this appliance has no authority for keys other than SM2.
var ErrNoDocumentAuthority = errors.New("no authority certifies document keys here")

// DocumentKey gives an active seal a companion key of ECDSA P-256 for formats that know no SM2: born in the token behind a durable intent,
// certified for the seal's holder until the seal's own end at most, entered into the register, all three in one commit. Errors:
// access.ErrNotEntitled, register.ErrUnknown, register.ErrTransition, register.ErrEquipped, ErrNoDocumentAuthority, those of ca and
// of custody.
func (i *Issuance) DocumentKey(ctx context.Context, req *keystore.Request, actor access.Actor, esid string) (register.Seal, error) {
	if err := i.Access.Allow(actor, access.SealEquip, access.Resource{}); err != nil {
		return register.Seal{}, err
	}
	var before register.Seal
	if _, done, err := i.answered(ctx, req, audit.KindSealState, &before); done || err != nil {
		return before, err
	}
	e := &equipping{actor: actor.Audit(), esid: esid}
	if err := i.bearDocument(ctx, e); err != nil {
		return register.Seal{}, err
	}
	// From here on the key exists; a caller who leaves must not leave it behind without its record.
	ctx = context.WithoutCancel(ctx)
	s, err := again(ctx, func(ctx context.Context) (register.Seal, error) { return i.enterDocument(ctx, req, e) })
	if err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		err = errors.Join(err, i.Keys.Abandon(ctx, e.intent, e.actor))
	}
	return s, err
}

// equipping is a document key in the making.
type equipping struct {
	actor  audit.Actor
	esid   string
	intent keystore.Intent
	key    *keystore.Key
	draft  keystore.Draft
}

const (
	documentLabel     = "sealkeeper:document:" // begins a label in the token; the time follows, since a seal may get another key later
	documentAlgorithm = "ecdsa-p256"           // as package keystore names it
)

// bearDocument asks everything that could refuse the key before it is born.
func (i *Issuance) bearDocument(ctx context.Context, e *equipping) error {
	if i.Documents == nil {
		return fmt.Errorf("seal %s: %w", e.esid, ErrNoDocumentAuthority)
	}
	s, _, err := i.Register.Seal(ctx, e.esid)
	if err != nil {
		return err
	}
	if _, _, err := s.Equip(0, 0, register.DocumentKey{Since: i.now()}, nil, nil, e.actor); err != nil {
		return err
	}
	ins, err := i.Keys.Intend(ctx, nil, e.actor, "document/"+e.esid, keystore.Want{Purpose: keystore.PurposeDocument,
		Label: documentLabel + e.esid + ":" + i.now().Format("20060102150405"), Algorithm: documentAlgorithm})
	if err != nil {
		return err
	}
	e.intent = ins[0]
	e.key, e.draft, err = i.Keys.Generate(ctx, e.intent)
	return err
}

func (i *Issuance) enterDocument(ctx context.Context, req *keystore.Request, e *equipping) (register.Seal, error) {
	s, at, err := i.Register.Seal(ctx, e.esid)
	if err != nil {
		return s, err
	}
	now := i.now()
	certificate, chain, err := i.Documents.IssueDocument(e.key.Standard(), i.cfg.DocumentSubject, ca.Request{ESID: s.ESID, Name: s.Enterprise, USCC: s.USCC, NotBefore: now, NotAfter: s.NotAfter})
	if err != nil {
		return s, err
	}
	c, err := x509.ParseCertificate(certificate)
	if err != nil {
		return s, fmt.Errorf("reading the document key's certificate: %w: %w", ErrCertificateWrong, err)
	}
	if pub, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(e.key.Standard()) {
		return s, fmt.Errorf("the document key's certificate is for another key: %w", ErrCertificateWrong)
	}
	_, _, companion, err := i.Register.DocumentCertificate(ctx, e.esid)
	if err != nil {
		return s, err
	}
	k := register.DocumentKey{Key: e.key.ID(), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Since: now}
	s, d, err := s.Equip(at, companion, k, certificate, chain, e.actor)
	if err != nil {
		return s, err
	}
	d.Add(register.Draft{Put: e.draft.Put, Expect: e.draft.Expect, Spend: e.draft.Spend, Audit: e.draft.Audit})
	_, err = i.Store.Commit(ctx, d.Mutation(req))
	return s, err
}
