package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/clerk"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
)

// institutional is the result of make-institutional-seal: what the standing delegations name.
type institutional struct {
	Seal       string    `json:"seal"`
	Name       string    `json:"name"`
	Authority  string    `json:"authority"`
	Key        string    `json:"key"`
	Cert       string    `json:"cert_sha256"`
	ESL        string    `json:"esl_sha256"`
	Impression string    `json:"impression"`
	NotAfter   time.Time `json:"not_after"`
}

// prepareInstitutional makes an institution's own seal. When the commit is refused its key waits for the next attempt; a start destroys it.
func (a *appliance) prepareInstitutional(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	made, d, err := a.issuance.Institution(ctx, s.Ref, s.Filing)
	if errors.Is(err, issuance.ErrInstitution) || errors.Is(err, register.ErrUnknown) {
		return ceremony.Prepared{}, refuse("%v", err)
	} else if err != nil {
		return ceremony.Prepared{}, err
	}
	return ceremony.Prepared{Change: access.Change{Expect: d.Expect, Put: d.Put, Spend: d.Spend, Audit: d.Audit},
		Result: institutional{made.ESID, made.Name, made.USCC, made.Key.String(), made.CertSHA256, made.ESLSHA256, made.Impression, made.NotAfter}}, nil
}

// institutionOver refuses the key of an institution's seal that has not ended for good.
func (a *appliance) institutionOver(ctx context.Context, k keystore.Listed) error {
	s, _, err := a.register.Seal(ctx, strings.TrimPrefix(k.Label, "seal-"))
	if err == nil && s.Key == k.ID && !s.State.Final() {
		return refuse("seal %s is %s and signs with key %s; cancel it first", s.ESID, s.State, k.ID)
	}
	return err
}

func (a *appliance) prepareStanding(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	d, err := standingOf(s)
	if err != nil {
		return ceremony.Prepared{}, refuse("%v", err)
	}
	d, ch, err := a.access.Stand(ctx, s.By, d)
	return standing(d, ch, err)
}

func (a *appliance) prepareRevocation(ctx context.Context, s ceremony.Running) (ceremony.Prepared, error) {
	d, ch, err := a.access.Revoke(ctx, s.By, s.Delegation, s.Ref)
	return standing(d, ch, err)
}

func standing(d access.Standing, ch access.Change, err error) (ceremony.Prepared, error) {
	if errors.Is(err, access.ErrStandingForm) || errors.Is(err, access.ErrUnknown) || errors.Is(err, access.ErrDelegationExists) {
		return ceremony.Prepared{}, refuse("%v", err)
	}
	return ceremony.Prepared{Change: ch, Result: d}, err
}

// standingOf reads the bounds of a step.
func standingOf(s ceremony.Running) (access.Standing, error) {
	d := access.Standing{ID: s.Delegation, Seal: s.Seal, Client: s.Client, Ceremony: s.Ref,
		Purposes: strings.Split(s.Purposes, ","), Kinds: strings.Split(s.Kinds, ",")}
	var err error
	if d.Count, err = strconv.ParseUint(s.Count, 10, 63); err != nil {
		return d, fmt.Errorf("count %.24q is no number of signatures", s.Count)
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"from", s.From, &d.NotBefore}, {"until", s.Until, &d.Expires}} {
		if *t.to, err = time.Parse("2006-01-02T15:04:05Z", t.text); err != nil {
			return d, fmt.Errorf("%s %.40q is not like 2026-01-31T12:00:00Z", t.name, t.text)
		}
	}
	return d, nil
}

// openClerk opens the desk that issues the bureau's papers.
func (a *appliance) openClerk(context.Context) error {
	maker, err := gm.ParseCertificate(a.issued[2])
	if err != nil {
		return fmt.Errorf("reading the maker's certificate: %w", err)
	}
	name := maker.Subject.CommonName
	if len(maker.Subject.Organization) > 0 {
		name = maker.Subject.Organization[0]
	}
	a.clerk, err = clerk.New(clerk.Config{Store: a.store, Library: a.library, Register: a.register, Access: a.access, Signer: a.signer, Maker: name, Now: time.Now, Log: a.log})
	return err
}
