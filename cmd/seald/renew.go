package main

import (
	"context"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// renewal is how a key of the appliance's own is made anew. The roots are not among them: whoever trusts the appliance trusts these.
type renewal struct {
	algorithm hsm.Algorithm
	name      string // of the certificate's subject
	certify   func(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error)
}

var renewals = map[keystore.Purpose]renewal{
	keystore.PurposeSM2Issuing: {hsm.SM2, "Seal Issuing CA", certifyIssuing},
	keystore.PurposeMaker: {hsm.SM2, "电子印章制作系统", func(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
		return a.authority.IssueMaker(ctx, k.Public(), subject)
	}},
	keystore.PurposeAudit: {hsm.SM2, "Audit Log", func(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
		return a.authority.IssueAudit(ctx, k.Public(), subject)
	}},
	keystore.PurposeTSASM2: {hsm.SM2, "Time Stamp SM2", func(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
		return a.authority.IssueTSA(ctx, k.Public(), subject)
	}},
	keystore.PurposeTSAP256: {hsm.ECDSAP256, "Time Stamp P-256", func(_ context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
		return a.tls.IssueTSA(k.Standard(), subject)
	}},
	keystore.PurposeStatement: {hsm.SM2, "Statements", func(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
		return a.authority.IssueStatement(ctx, k.Public(), subject)
	}},
}

// renewed is the result of a renewal: what verifiers need from now on.
type renewed struct {
	Purpose     string `json:"purpose"`
	Key         string `json:"key"`
	Retired     string `json:"retired"` // the key whose place it took
	Certificate string `json:"certificate"`
	InForce     string `json:"in_force"` // at-once or next-start
}

// prepareRenewal makes key and certificate; the old key is retired in the commit that brings the new one.
func (a *appliance) prepareRenewal(ctx context.Context, s ceremony.Running) (_ ceremony.Prepared, err error) {
	purpose := keystore.Purpose(s.Purpose)
	r, known := renewals[purpose]
	if !known {
		return ceremony.Prepared{}, refuse("keys of purpose %q are not renewed by ceremony", s.Purpose)
	}
	old, err := a.keys.ByPurpose(ctx, purpose)
	if err != nil {
		return ceremony.Prepared{}, fmt.Errorf("the key to be renewed: %w", err)
	}
	subject, err := a.subject(r.name)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	retire, err := a.keys.Retire(ctx, purpose, s.By, s.Ref)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	in, err := a.intend(ctx, s, r.algorithm)
	if err != nil {
		return ceremony.Prepared{}, err
	}
	undo := func(ctx context.Context) {
		if err := a.keys.Abandon(ctx, in, s.By); err != nil {
			a.log.WarnContext(ctx, "a key that no ceremony brought about stays until the next start", slog.String("id", in.ID.String()), slog.String("error", err.Error()))
		}
	}
	key, born, err := a.keys.Generate(ctx, in)
	if err != nil {
		undo(context.WithoutCancel(ctx))
		return ceremony.Prepared{}, err
	}
	der, err := r.certify(ctx, a, key, subject)
	if err != nil {
		undo(context.WithoutCancel(ctx))
		return ceremony.Prepared{}, err
	}
	ch := access.Change{Expect: append(retire.Expect, born.Expect...), Audit: append(retire.Audit, born.Audit...),
		Put: append(append(retire.Put, born.Put...), keystore.Certified(key.ID(), der))}
	return ceremony.Prepared{Change: ch, Undo: undo, Result: renewed{s.Purpose, key.ID().String(), old.ID().String(), string(encodeCertificates(der)), inForce(purpose)}}, nil
}

func inForce(p keystore.Purpose) string {
	if p == keystore.PurposeAudit {
		return "at-once"
	}
	return "next-start"
}

// intend promises a key for a step, under a label of its own: the retired one keeps its.
func (a *appliance) intend(ctx context.Context, s ceremony.Running, alg hsm.Algorithm) (keystore.Intent, error) {
	label := labelPrefix + s.Purpose + ":" + strings.TrimPrefix(s.Ref, "ceremony/")[:8]
	ins, err := a.keys.Intend(ctx, nil, s.By, s.Ref, keystore.Want{Purpose: keystore.Purpose(s.Purpose), Label: label, Algorithm: alg})
	if err != nil {
		return keystore.Intent{}, err
	}
	return ins[0], nil
}

// finishRenewal lets a new audit key sign at once; every other key is taken up by the next start.
func (a *appliance) finishRenewal(ctx context.Context, s ceremony.Running, result json.RawMessage) error {
	if keystore.Purpose(s.Purpose) != keystore.PurposeAudit {
		return nil
	}
	var r renewed
	if err := json.Unmarshal(result, &r); err != nil {
		return fmt.Errorf("reading the step's result: %w", err)
	}
	id, err := hex.DecodeString(r.Key)
	if err != nil || len(id) != len(keystore.ID{}) {
		return fmt.Errorf("reading the step's result: key %q: %w", r.Key, store.ErrCorrupt)
	}
	key, err := a.keys.Key(ctx, keystore.ID(id))
	if err != nil {
		return err
	}
	return a.audit.Rotate(ctx, key)
}

// certificateOf is the certificate of the living key of a purpose: the one that its ceremony made, or else the file's.
func (a *appliance) certificateOf(ctx context.Context, k *keystore.Key, file string) ([]byte, error) {
	der, err := a.keys.Certificate(ctx, k.ID())
	if errors.Is(err, store.ErrNotFound) {
		return readCertificate(file)
	}
	return der, err
}

// formerMakers are the certificates of makers whose place another took: the seals they made stay good.
func (a *appliance) formerMakers(ctx context.Context) ([]*gm.Certificate, error) {
	all, err := a.keys.OfPurpose(ctx, keystore.PurposeMaker)
	if err != nil {
		return nil, err
	}
	var makers []*gm.Certificate
	for _, k := range all {
		if k.Retired == nil {
			continue
		}
		der, err := a.keys.Certificate(ctx, k.ID)
		if errors.Is(err, store.ErrNotFound) {
			der, err = readCertificate(a.cfg.PKI.Maker)
		}
		if err != nil {
			return nil, err
		}
		c, err := gm.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate of the maker key %s: %w", k.ID, err)
		}
		makers = append(makers, c)
	}
	return makers, nil
}

// formerAudit are public keys that may have signed the anchor before the present audit key did. Each proves that it is in the token: a key
// that somebody only wrote into the store file cannot.
func formerAudit(ctx context.Context, keys *keystore.Keystore, st store.Store, log *slog.Logger) ([]*gm.PublicKey, error) {
	former, err := keys.Former(ctx, keystore.PurposeAudit)
	if err != nil {
		return nil, err
	}
	var proven []*gm.PublicKey
	for _, k := range former {
		if err := audit.Present(ctx, st, k); err != nil {
			log.WarnContext(ctx, "a former audit key does not count for the anchor", slog.String("id", k.ID().String()), slog.String("error", err.Error()))
			continue
		}
		proven = append(proven, k.Public())
	}
	return proven, nil
}

// subject is a certificate's subject under the bureau's name, which the issuing authority's own certificate tells.
func (a *appliance) subject(cn string) (pkix.Name, error) {
	issuing, err := gm.ParseCertificate(a.issued[1])
	if err != nil {
		return pkix.Name{}, fmt.Errorf("reading the issuing authority's certificate: %w", err)
	}
	if a.cfg.Mode == "demo" {
		cn = "DEMO 演示数据 " + cn
	}
	return pkix.Name{Country: []string{"CN"}, Organization: issuing.Subject.Organization, CommonName: cn}, nil
}
