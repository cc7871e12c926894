package main

import (
	"context"
	"fmt"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/signer/statement"
	"sealkeeper/signer/timestamp"
)

// openStatements opens the key of statements where configuration has a certificate for it.
func (a *appliance) openStatements(ctx context.Context) error {
	if a.cfg.PKI.Statement == "" {
		return nil
	}
	key, err := a.keys.ByPurpose(ctx, keystore.PurposeStatement)
	if err != nil {
		return fmt.Errorf("the key of statements: %w", err)
	}
	der, err := a.certificateOf(ctx, key, a.cfg.PKI.Statement)
	if err != nil {
		return err
	}
	chain, err := a.chainOf(der)
	if err != nil {
		return fmt.Errorf("statements: %w", err)
	}
	stamper, err := a.stamper()
	if err != nil {
		return err
	}
	cfg := statement.Config{Key: key, Certificate: der, Chain: chain[:1], Appliance: a.cfg.Audience, Now: time.Now}
	if stamper != nil {
		cfg.Stamp = func(ctx context.Context, sm3 []byte) ([]byte, error) { return stamper.Stamp(ctx, timestamp.SM3, sm3) }
	}
	a.statements, err = statement.New(cfg)
	return err
}
