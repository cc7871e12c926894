package main

import (
	"context"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/signer"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/tsa"
)

// openStamps opens the embedded time-stamp authority where configuration has certificates for it.
func (a *appliance) openStamps(ctx context.Context) (err error) {
	if a.cfg.PKI.TSASM2 == "" {
		return nil
	}
	sm2, err := a.stampIdentity(ctx, keystore.PurposeTSASM2, a.cfg.PKI.TSASM2)
	if err != nil {
		return err
	}
	if sm2.Chain, err = a.chainOf(sm2.Certificate); err != nil {
		return fmt.Errorf("time-stamp authority: %w", err)
	}
	p256, err := a.stampIdentity(ctx, keystore.PurposeTSAP256, a.cfg.PKI.TSAP256)
	if err != nil {
		return err
	}
	p256.Chain = a.tls.Chain()
	a.stamps, err = tsa.New(tsa.Config{Store: a.store, SM2: sm2, P256: p256, Policy: a.cfg.TSA.Policy, Now: time.Now})
	return err
}

func (a *appliance) stampIdentity(ctx context.Context, p keystore.Purpose, path string) (tsa.Identity, error) {
	key, err := a.keys.ByPurpose(ctx, p)
	if err != nil {
		return tsa.Identity{}, err
	}
	der, err := a.certificateOf(ctx, key, path)
	return tsa.Identity{Key: key, Certificate: der}, err
}

// stamper is who stamps signatures: an outside authority before the embedded one, or nobody.
func (a *appliance) stamper() (signer.Stamper, error) {
	if a.cfg.TSA.URL == "" {
		if a.stamps == nil {
			return nil, nil
		}
		return a.stamps, nil
	}
	ders, err := readCertificates(a.cfg.TSA.Roots)
	if err != nil {
		return nil, err
	}
	roots := gm.NewCertPool()
	for _, der := range ders {
		c, err := gm.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", a.cfg.TSA.Roots, err)
		}
		roots.AddCert(c)
	}
	return timestamp.NewClient(timestamp.ClientConfig{URL: a.cfg.TSA.URL, Timeout: a.cfg.TSA.Timeout, Roots: roots, Now: time.Now})
}

// sealStamp stamps seals of version 5, under the same policy as signatures when nobody can.
func (a *appliance) sealStamp(by signer.Stamper) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, sm3 []byte) ([]byte, error) {
		token, err := by.Stamp(ctx, timestamp.SM3, sm3)
		if err != nil && a.cfg.TSA.WhenDown == "sign-without" && ctx.Err() == nil {
			a.log.WarnContext(ctx, "making a seal without time stamp", "error", err.Error())
			return nil, nil
		}
		return token, err
	}
}
