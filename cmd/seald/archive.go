package main

import (
	"context"
	"fmt"
	"time"

	"sealkeeper/connector/elicence"
	"sealkeeper/licence/presented"
	"sealkeeper/licence/receipt"
)

// openArchive opens the desk where licence files are judged, and the office of archive receipts.
func (a *appliance) openArchive(context.Context) error {
	elsewhere, err := a.elsewhere()
	if err != nil {
		return fmt.Errorf("connecting %s: %w", sysELicence, err)
	}
	a.presented = presented.New(presented.Config{Store: a.store, Library: a.library, Judge: a.judge.options, Elsewhere: elsewhere, Log: a.log, Now: time.Now})
	a.receipts = receipt.New(receipt.Config{Store: a.store, Library: a.library, Access: a.access, Desk: a.presented, Statements: a.statements, Now: time.Now})
	return nil
}

// elsewhere is the national e-licence system, nil when it is not connected.
func (a *appliance) elsewhere() (presented.Elsewhere, error) {
	s, connected := a.cfg.Connectors.system(sysELicence)
	if !connected {
		return nil, nil
	}
	cl, err := s.client(0)
	if err != nil {
		return nil, err
	}
	pinned, err := points(a.cfg.Sources.ELicence)
	if err != nil {
		return nil, err
	}
	codes, err := elicence.LoadCodes(s.Codes)
	if err != nil {
		return nil, err
	}
	return elicence.New(elicence.Config{Client: cl, Pinned: pinned, Codes: codes, Audience: a.cfg.Audience, Now: time.Now}), nil
}
