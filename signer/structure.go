package signer

import (
	"context"
	"fmt"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/seal"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/timestamp"
)

// structure is what stands around a signature value: built here, signed in custody, assembled with the value.
type structure interface {
	// sign has custody sign what this structure says is signed. The value verified against the registered key.
	sign(ctx context.Context) (value []byte, err error)
	// content is what is signed, whole.
	content() []byte
	// assemble joins value and time stamp, nil for none. The same value and token give the same bytes.
	assemble(value, token []byte) ([]byte, error)
	// imprint is the hash of the time stamp over the value.
	imprint() timestamp.Imprint
}

// sesStructure is SES_Signature of GB/T 38540 around TBS_Sign, which is kept in two parts: nothing copies the seal's 20 kB before assemble does, once.
type sesStructure struct {
	ready    *ready
	prefix   []byte // of TBS_Sign, DER; it ends with the seal and is shared
	variable []byte
	property int // length of propertyInfo
	seal     int // where the seal stands in what assemble returned
}

func (u *use) ses() (structure, error) {
	prefix, variable, err := u.ready.signing.TBS(u.now, u.laid.DataHash, u.laid.PropertyInfo)
	if err != nil {
		return nil, err
	}
	return &sesStructure{ready: u.ready, prefix: prefix, variable: variable, property: len(u.laid.PropertyInfo)}, nil
}

// sign hashes the seal's prefix once per length of propertyInfo.
func (s *sesStructure) sign(ctx context.Context) ([]byte, error) {
	m, err := s.ready.message(s.prefix, s.property)
	if err != nil {
		return nil, err
	}
	m.Write(s.variable)
	return s.ready.key.SignMessage(ctx, m)
}

func (s *sesStructure) assemble(value, token []byte) ([]byte, error) {
	der, at, err := seal.AssembleParts(s.prefix, s.variable, s.ready.cert, value, token)
	s.seal = at + len(s.prefix) - len(s.ready.esl)
	return der, err
}

func (s *sesStructure) content() []byte { return append(s.prefix, s.variable...) } // the prefix has no room behind it: a copy

func (s *sesStructure) imprint() timestamp.Imprint { return timestamp.SM3 }

// cmsStructure is SignedData around signed attributes that are built here from the digest (law 11).
type cmsStructure struct {
	key   *keystore.Key
	draft *cms.Draft
	hash  timestamp.Imprint
}

func (u *use) signedData() (structure, error) {
	c := u.ready.own
	r := cms.Request{Form: u.profile.form, Algorithm: cms.SM2, Digest: u.laid.DataHash, Content: u.laid.Content, SigningTime: u.now}
	s := &cmsStructure{hash: timestamp.SM3}
	if u.profile.companion {
		c, r.Algorithm, s.hash = *u.ready.companion, cms.ECDSAP256, timestamp.SHA256
	}
	if u.profile.pades {
		r.SigningTime, r.SigningCertificateV2 = time.Time{}, true
	}
	if u.options.OIDs == oidsRFC {
		r.Form = cms.RFC
	}
	var err error
	if r.Signatory, err = c.cms(); err != nil {
		return nil, fmt.Errorf("building signed attributes: %w", err)
	}
	s.key = c.key
	if s.draft, err = cms.Prepare(r); err != nil {
		return nil, fmt.Errorf("building signed attributes: %w", err)
	}
	return s, nil
}

// entriesData is the SignedData of an integrity list (GM/T 0099): detached, by the seal's own key, whatever the profile of the signature beside it.
func (u *use) entriesData() (structure, error) {
	c := u.ready.own
	by, err := c.cms()
	if err != nil {
		return nil, fmt.Errorf("building signed attributes of the integrity list: %w", err)
	}
	draft, err := cms.Prepare(cms.Request{Form: cms.GM, Algorithm: cms.SM2, Digest: u.laid.EntriesHash, SigningTime: u.now, Signatory: by})
	if err != nil {
		return nil, fmt.Errorf("building signed attributes of the integrity list: %w", err)
	}
	return &cmsStructure{key: c.key, draft: draft, hash: timestamp.SM3}, nil
}

func (s *cmsStructure) sign(ctx context.Context) ([]byte, error) {
	return s.key.Sign(ctx, s.draft.Attributes())
}

func (s *cmsStructure) assemble(value, token []byte) ([]byte, error) {
	return s.draft.AssembleVerified(value, token) // custody, or the record of what it returned
}

func (s *cmsStructure) content() []byte { return s.draft.Attributes() }

func (s *cmsStructure) imprint() timestamp.Imprint { return s.hash }
