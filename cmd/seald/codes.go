package main

import (
	"context"
	"time"

	"sealkeeper/licence/onecode"
	"sealkeeper/signer/verify/stated"
)

// openCodes opens the desk that makes and honours codes of enterprises. Without a key of statements it makes none.
func (a *appliance) openCodes(context.Context) (err error) {
	cfg := onecode.Config{Store: a.store, Access: a.access, Licences: a.library, Certificates: a.certificates, Appliance: a.cfg.Audience, Pages: a.cfg.Pages, Now: time.Now,
		Judge: func(der []byte, kind string, body any) error {
			_, err := stated.Open(der, stated.Trust{Roots: a.judge.own.Roots, Now: time.Now()}, kind, body)
			return err
		}}
	if a.statements != nil {
		cfg.Statements = a.statements
	}
	a.codes, err = onecode.New(cfg)
	return err
}
