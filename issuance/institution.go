package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// InstitutionKind is the envelope kind of the impression of an institution's own seal, whose payload is a register.Filing. The institution
// signs it: no order asks for it, and public security has no part in it.
const InstitutionKind = "institution-impression/1"

// ErrInstitution: this is not a filing of an institution's own seal, or no seal can be made of it now; the reason is wrapped around it.
var ErrInstitution = errors.New("not an institution's own seal")

// FileInstitution takes the impression of an institution's own seal. Making the seal takes a ceremony. The same filing again changes nothing.
// Errors: those of package envelope, register.ErrFilingForm, licence.ErrUSCC, register.ErrFilingReused, ErrInstitution, ErrPayloadSize, those
// of the picture; access.ErrNotEntitled and those of the store.
func (i *Issuance) FileInstitution(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (FilingOutcome, error) {
	if err := i.Access.Allow(actor, access.InstitutionPut, access.Resource{}); err != nil {
		return FilingOutcome{}, err
	}
	f, err := i.openAs(env, InstitutionKind, i.cfg.Institutions)
	if err != nil {
		return FilingOutcome{}, err
	}
	return again(ctx, func(ctx context.Context) (FilingOutcome, error) {
		imp, seen, err := i.Register.Filed(ctx, f, hexSM3(env.Payload))
		if seen || err != nil {
			return FilingOutcome{Impression: imp, Repeated: true}, err
		}
		if err := i.institution(ctx, f.USCC, f.SealType); err != nil {
			return FilingOutcome{}, fmt.Errorf("filing %s: %w", f.FilingNumber, err)
		}
		look, err := i.look(f)
		if err != nil {
			return FilingOutcome{}, err
		}
		imp, d, err := i.Register.File(ctx, env, f, register.Entry{Look: look, Institution: true}, actor.Audit())
		if err != nil {
			return FilingOutcome{}, err
		}
		receipt, err := i.Store.Commit(ctx, d.Mutation(req))
		if err != nil {
			return FilingOutcome{}, fmt.Errorf("filing %s: %w", f.FilingNumber, err)
		}
		return FilingOutcome{Impression: imp, Receipt: receipt}, nil
	})
}

// institution refuses whoever has a licence: their seals come by order, under their own control.
func (i *Issuance) institution(ctx context.Context, uscc, sealType string) error {
	if _, known := i.cfg.Types[sealType]; !known || sealType == legalRep {
		return fmt.Errorf("type %s: %w", sealType, ErrInstitution)
	}
	_, _, err := i.Library.Standing(ctx, uscc)
	if errors.Is(err, licence.ErrUnknown) {
		return nil
	} else if err != nil {
		return err
	}
	return fmt.Errorf("%s has a licence, and its seals come by order: %w", uscc, ErrInstitution)
}

// Institution makes an institution's own seal from the impression it filed under a number, for the commit of the ceremony step ref. The key is in
// the token when this returns; it serves the step's next attempt, or is destroyed by the next start when none comes. Errors: ErrInstitution,
// register.ErrUnknown, those of making a seal.
func (i *Issuance) Institution(ctx context.Context, ref, filing string) (register.Seal, register.Draft, error) {
	imp, err := i.ofInstitution(ctx, filing)
	if err != nil {
		return register.Seal{}, register.Draft{}, err
	}
	m, release := i.making.take(ref)
	defer release()
	s := &set{institutional: true, order: register.Order{ID: ref, USCC: imp.USCC}, licence: licence.Licence{Fields: licence.Fields{USCC: imp.USCC, Name: imp.Name}},
		sheets: []*sheet{{request: register.Request{Type: imp.Type, Impression: imp.ID}}}}
	s.from = i.now().Truncate(time.Second)
	s.to = s.from.AddDate(i.cfg.SealYears, 0, 0)
	for _, step := range []func(context.Context, *making, *set) error{i.number, i.prepare, i.seal} {
		if err := step(ctx, m, s); err != nil {
			return register.Seal{}, register.Draft{}, fmt.Errorf("seal of %s: %w", imp.Name, err)
		}
	}
	made, d, err := s.sheets[0].enter(s)
	if err != nil {
		return made, d, err
	}
	last, err := register.Numbered(made.ESID)
	d.Add(last)
	return made, d, err
}

// ofInstitution finds the filed impression and refuses one whose seal is alive.
func (i *Issuance) ofInstitution(ctx context.Context, filing string) (register.Impression, error) {
	imp, err := i.Register.ByFiling(ctx, filing)
	if err != nil {
		return imp, err
	}
	if !imp.Institution {
		return imp, fmt.Errorf("filing %s is an enterprise's: %w", filing, ErrInstitution)
	}
	if err := i.institution(ctx, imp.USCC, imp.Type); err != nil {
		return imp, err
	}
	seals, err := i.Register.SealsOf(ctx, imp.USCC)
	if err != nil {
		return imp, err
	}
	for _, s := range seals {
		if s.Impression == imp.ID && !s.State.Final() {
			return imp, fmt.Errorf("seal %s of filing %s is %s: %w", s.ESID, filing, s.State, ErrInstitution)
		}
	}
	return imp, nil
}
