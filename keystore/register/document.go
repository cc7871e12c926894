package register

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ErrEquipped: the seal has a document key that is valid still.
var ErrEquipped = errors.New("the seal has a document key already")

// DocumentKey is a seal's companion key, ECDSA P-256, with its certificate for the seal's own holder. It shares the seal's life: whoever may not
// use the seal may not use it.
type DocumentKey struct {
	Key        keystore.ID `json:"key"`
	CertSHA256 string      `json:"cert_sha256"`
	NotBefore  time.Time   `json:"not_before"`
	NotAfter   time.Time   `json:"not_after"`
	Since      time.Time   `json:"since"`
}

// Equip drafts the entry of a document key with its certificate. Only an active seal takes one (ErrTransition), and only when it has none that is
// valid (ErrEquipped). The key's own draft has to enter the same commit.
func (s Seal) Equip(at, companion store.Version, k DocumentKey, certificate []byte, chain [][]byte, by audit.Actor) (Seal, Draft, error) {
	var d Draft
	if s.State != Active {
		return s, d, fmt.Errorf("document key for seal %s, which is %s: %w", s.ESID, s.State, ErrTransition)
	}
	if s.Document != nil && !k.Since.After(s.Document.NotAfter) {
		return s, d, fmt.Errorf("seal %s: %w", s.ESID, ErrEquipped)
	}
	sum := sha256.Sum256(certificate)
	k.CertSHA256 = hex.EncodeToString(sum[:])
	s.Document = &k
	err := errors.Join(
		d.put(seals, s.ESID, s, at),
		d.put(companions, s.ESID, storedCertificate{certificate, chain}, companion),
		d.record(audit.Event{Kind: audit.KindSealState, Actor: by, Subject: s.ESID, Detail: equipment{k}, Result: s}),
	)
	return s, d, err
}

// equipment is the detail of the record of a document key.
type equipment struct {
	Document DocumentKey `json:"document_key"`
}

// DocumentCertificate returns the certificate of a seal's document key and the certificates above it, DER, with the version of their record; all zero
// when there is none.
func (r *Register) DocumentCertificate(ctx context.Context, esid string) (der []byte, chain [][]byte, at store.Version, err error) {
	var c storedCertificate
	at, _, err = r.lookup(ctx, companions, esid, &c)
	return c.Certificate, c.Chain, at, err
}
