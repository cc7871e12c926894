package main

import (
	"context"
	"errors"
	"time"

	certifier "sealkeeper/connector/authority"
	"sealkeeper/connector/person"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
)

// openLicensed connects the outside authority that certifies enterprise seals. Production does not start without one.
func (a *appliance) openLicensed() error {
	s, connected := a.cfg.Connectors.system(sysAuthority)
	if !connected && a.cfg.Mode == "production" {
		return errors.New("production mode refuses the embedded authority for enterprise seals: connect a licensed one (connectors.systems, system: authority)")
	}
	if !connected {
		return nil
	}
	anchors, err := parsed([]string{s.Anchors})
	if err != nil {
		return err
	}
	codes, err := certifier.LoadCodes(s.Codes)
	if err != nil {
		return err
	}
	cl, err := a.client(s, 0)
	if err != nil {
		return err
	}
	a.licensed = certifier.New(certifier.Config{Client: cl, Store: a.store, Register: a.register, Anchors: anchors, Subject: ca.DefaultSubjectTemplate(),
		Codes: codes, Now: time.Now})
	return nil
}

// issuer certifies the keys of enterprise seals.
func (a *appliance) issuer() issuance.Issuer {
	if a.licensed != nil {
		return a.licensed
	}
	return a.authority
}

// personCheck is whoever checks the persons that take seals over; nil where none is connected.
func (a *appliance) personCheck() (issuance.PersonCheck, error) {
	s, connected := a.cfg.Connectors.system(sysPersonCheck)
	if !connected {
		return nil, nil
	}
	pinned, err := points(a.cfg.Sources.PersonCheck)
	if err != nil {
		return nil, err
	}
	codes, err := person.LoadCodes(s.Codes)
	if err != nil {
		return nil, err
	}
	cl, err := a.client(s, 0)
	if err != nil {
		return nil, err
	}
	return &person.Connector{Client: cl, Pinned: pinned, Codes: codes, Now: time.Now}, nil
}

// sealAnchors are whom verifications trust for seals beside the appliance's own root.
func (a *appliance) sealAnchors() []*gm.Certificate {
	if a.licensed == nil {
		return nil
	}
	return a.licensed.Anchors
}

// outsideCollections are what the connectors store.
func outsideCollections() []*store.Collection { return certifier.Collections() }

// client is the way to one system outside, signed where configuration says so.
func (a *appliance) client(s SystemConfig, answer int64) (*wire.Client, error) {
	cl, err := s.client(answer)
	if err != nil || !a.cfg.Connectors.Sign {
		return cl, err
	}
	return cl.Signed(func(ctx context.Context, message []byte) ([]byte, error) {
		key, err := a.keys.ByPurpose(ctx, keystore.PurposeStatement) // asked each time: a renewal counts at once
		if err != nil {
			return nil, err
		}
		return key.Sign(ctx, message)
	}), nil
}
