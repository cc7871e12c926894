package main

import (
	"cmp"
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
)

// authority is an SM2 issuing authority of this appliance: the one that certifies now, or one whose place it took, which still owes the revocation
// list of the certificates that it signed.
type authority struct {
	key   keystore.ID
	first bool // its list is at the address without a name, which its certificates give
	der   []byte
	ca    *ca.Embedded // nil when its key was destroyed
}

// list names its revocation list.
func (g authority) list() string {
	if g.first {
		return ""
	}
	return g.key.String()
}

// openAuthorities opens the SM2 hierarchy: root, every issuing authority that ever was, maker.
func (a *appliance) openAuthorities(ctx context.Context) error {
	if err := a.openLicensed(); err != nil {
		return err
	}
	root, err := readCertificate(a.cfg.PKI.Root)
	if err != nil {
		return err
	}
	if err := a.openIssuing(ctx, root); err != nil {
		return err
	}
	maker, err := a.keys.ByPurpose(ctx, keystore.PurposeMaker)
	if err != nil {
		return err
	}
	makerDER, err := a.certificateOf(ctx, maker, a.cfg.PKI.Maker)
	if err != nil {
		return err
	}
	a.issued = [][]byte{root, a.authorities[len(a.authorities)-1].der, makerDER}
	if err := a.openTLS(ctx); err != nil {
		return err
	}
	return a.openJudging(ctx)
}

// openIssuing opens the issuing authorities, the oldest first, the present one last.
func (a *appliance) openIssuing(ctx context.Context, root []byte) error {
	all, err := a.keys.OfPurpose(ctx, keystore.PurposeSM2Issuing)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(k, l keystore.Listed) int { return cmp.Compare(retiredAt(k), retiredAt(l)) })
	for i, k := range all {
		g := authority{key: k.ID, first: i == 0}
		if g.der, err = a.keys.Certificate(ctx, k.ID); errors.Is(err, store.ErrNotFound) {
			g.der, err = readCertificate(a.cfg.PKI.Issuing)
		}
		if err != nil {
			return err
		}
		if k.Destroyed == nil {
			if g.ca, err = a.embedded(ctx, g, root); err != nil {
				return err
			}
		}
		a.authorities = append(a.authorities, g)
	}
	if len(all) == 0 || a.authorities[len(all)-1].ca == nil || all[len(all)-1].Retired != nil {
		return fmt.Errorf("the key of the issuing authority: %w", keystore.ErrKeyNotFound)
	}
	a.authority = a.authorities[len(all)-1].ca
	return nil
}

// retiredAt orders keys whose places others took; the living one comes last.
func retiredAt(k keystore.Listed) int64 {
	if k.Retired == nil {
		return 1<<63 - 1
	}
	return k.Retired.UnixNano()
}

func (a *appliance) embedded(ctx context.Context, g authority, root []byte) (*ca.Embedded, error) {
	key, err := a.keys.Key(ctx, g.key)
	if err != nil {
		return nil, err
	}
	life := ca.DefaultLifetimes()
	life.Seal = ca.Period{Years: a.cfg.Issuance.SealYears}
	return ca.NewEmbedded(key, ca.Config{RootDER: root, IssuingDER: g.der, Lifetimes: life,
		Subject: ca.DefaultSubjectTemplate(), Endpoints: a.endpoints(g), Now: time.Now})
}

// endpoints are where certificates say that their revocation list is: under the address of the public pages.
func (a *appliance) endpoints(g authority) ca.Endpoints {
	if a.cfg.Pages == "" {
		return ca.Endpoints{}
	}
	at := a.cfg.Pages + "/v1/revocation-list"
	if name := g.list(); name != "" {
		at += "?authority=" + name
	}
	return ca.Endpoints{CRL: []string{at}}
}

// lists are the authorities that make revocation lists, by the lists' names.
func (a *appliance) lists() map[string]issuance.Revoker {
	lists := map[string]issuance.Revoker{}
	if a.cfg.Mode == "production" { // certifies no seal, so that its list would say nothing
		return lists
	}
	for _, g := range a.authorities {
		if g.ca != nil {
			lists[g.list()] = g.ca
		}
	}
	return lists
}

// formerAuthorities are the certificates of issuing authorities whose place another took: what they certified stays good.
func (a *appliance) formerAuthorities() ([]*gm.Certificate, error) {
	var all []*gm.Certificate
	for _, g := range a.authorities[:len(a.authorities)-1] {
		c, err := gm.ParseCertificate(g.der)
		if err != nil {
			return nil, fmt.Errorf("certificate of the issuing authority %s: %w", g.key, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// chainOf is the chain above a certificate of the SM2 hierarchy: the authority that signed it, and the root.
func (a *appliance) chainOf(der []byte) ([][]byte, error) {
	c, err := gm.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	for _, g := range a.authorities {
		by, err := gm.ParseCertificate(g.der)
		if err != nil {
			return nil, fmt.Errorf("certificate of the issuing authority %s: %w", g.key, err)
		}
		if string(by.RawSubject) == string(c.RawIssuer) {
			return [][]byte{g.der, a.issued[0]}, nil
		}
	}
	return nil, fmt.Errorf("certificate of %q is by no issuing authority of this appliance: %w", c.Subject.CommonName, ca.ErrAuthority)
}

// certifyIssuing has the root certify the next issuing authority. Its name tells it from those before: a revocation list is known by its issuer's.
func certifyIssuing(ctx context.Context, a *appliance, k *keystore.Key, subject pkix.Name) ([]byte, error) {
	root, err := a.keys.ByPurpose(ctx, keystore.PurposeSM2Root)
	if err != nil {
		return nil, fmt.Errorf("the key of the root: %w", err)
	}
	if living, err := a.keys.ByPurpose(ctx, keystore.PurposeSM2Issuing); err != nil || living.ID() != a.authorities[len(a.authorities)-1].key {
		return nil, errors.Join(err, refuse("the issuing authority was renewed since the daemon started; start it again first"))
	}
	subject.CommonName += fmt.Sprintf(" G%d", len(a.authorities)+1)
	life, err := a.underRoot(time.Now(), ca.DefaultLifetimes().Issuing)
	if err != nil {
		return nil, err
	}
	return ca.Issuing(ctx, root, a.issued[0], k.Public(), subject, time.Now(), life)
}

// underRoot is a life, or what the root leaves of it: an authority that is made late ends with its root.
func (a *appliance) underRoot(now time.Time, life ca.Period) (ca.Period, error) {
	root, err := gm.ParseCertificate(a.issued[0])
	if err != nil {
		return life, fmt.Errorf("reading the root: %w", err)
	}
	if life.After(now).After(root.NotAfter) {
		life = ca.Period{Days: int(root.NotAfter.Sub(now) / (24 * time.Hour))}
	}
	return life, nil
}

// listOwed refuses the end of an issuing authority's key while certificates that it signed may be valid: it signs their revocation list.
func (a *appliance) listOwed(id keystore.ID) error {
	for _, g := range a.authorities {
		if g.key != id {
			continue
		}
		c, err := gm.ParseCertificate(g.der)
		if err == nil && time.Now().After(c.NotAfter) {
			return nil
		}
		return refuse("certificates of the authority %s may be valid until %s, and it signs their revocation list", id, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return refuse("the certificate of the authority %s is not known; start the daemon again first", id)
}
