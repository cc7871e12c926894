// Package clerk issues the papers that the bureau owes: written, sealed and filed one after another in the background.
//
// Its one promise: a paper that was owed is issued once, whatever dies in between. That it is owed stands in the commit of what it is about; it
// is sealed through signer.Sign under a request that names paper and content, so that doing it again gives the same file and spends nothing; file,
// record and the end of the debt are one commit.
//
//	owed ─► facts ─► package paper ─► signer.Sign ─► ONE commit: archive or register, paper issued
//
// Whose seal a paper gets is decided by the appliance's standing delegations: for licences those with purpose PurposeLicence, of the very
// authority that the licence names; for certificates those with PurposeCertificate. Without one, papers wait, and nothing else does.
package clerk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance/paper"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
)

// Purposes of the standing delegations under which papers are sealed.
const (
	PurposeLicence     = "licence-document"
	PurposeCertificate = "seal-certificate"
)

// Config is what a Clerk stands on; all of it is needed but Now, Every and Log.
type Config struct {
	Store    store.Store
	Library  *licence.Library
	Register *register.Register
	Access   *access.Access
	Signer   *signer.Signer
	Maker    string        // who makes seals, as certificates name it
	Every    time.Duration // how often Run looks; 0 means a second
	Now      func() time.Time
	Log      *slog.Logger
}

// Clerk issues papers. Rounds do not run at once.
type Clerk struct {
	cfg  Config
	said string // the last complaint, so that it is not repeated every second
}

// New checks the wiring.
func New(cfg Config) (*Clerk, error) {
	if cfg.Store == nil || cfg.Library == nil || cfg.Register == nil || cfg.Access == nil || cfg.Signer == nil || cfg.Maker == "" {
		return nil, errors.New("papers need a store, the licence library, the register, access, a signer and the maker's name")
	}
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Clerk{cfg: cfg}, nil
}

// Run issues papers until ctx ends.
func (c *Clerk) Run(ctx context.Context) {
	timer := time.NewTicker(c.cfg.Every)
	defer timer.Stop()
	for {
		if _, err := c.Round(ctx); ctx.Err() == nil {
			c.complain(ctx, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (c *Clerk) complain(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != c.said {
		c.cfg.Log.WarnContext(ctx, "papers that could not be issued", slog.String("error", text))
	}
	c.said = text
}

// issuer is a seal with the standing delegation to use it.
type issuer struct {
	standing access.Standing
	seal     register.Seal
	w, h     float64 // of the picture, millimetres
}

// Round issues every paper that can be issued now, and returns how many.
func (c *Clerk) Round(ctx context.Context) (int, error) {
	issued := 0
	var errs []error
	for _, k := range []struct {
		purpose string
		kind    register.PaperKind
	}{{PurposeLicence, register.PaperLicence}, {PurposeCertificate, register.PaperMade}} {
		by, err := c.issuers(ctx, k.purpose)
		errs = append(errs, err)
		for _, b := range by {
			n, err := c.owed(ctx, b, k.kind)
			issued += n
			errs = append(errs, err)
		}
	}
	return issued, errors.Join(errs...)
}

// issuers are the active seals that the appliance may use for a purpose now.
func (c *Clerk) issuers(ctx context.Context, purpose string) ([]issuer, error) {
	all, err := c.cfg.Access.StandingFor(ctx, purpose, access.KindOFD)
	if err != nil {
		return nil, err
	}
	var out []issuer
	for _, d := range all {
		b := issuer{standing: d}
		if b.seal, _, err = c.cfg.Register.Seal(ctx, d.Seal); err != nil {
			return nil, err
		}
		if b.seal.State != register.Active {
			continue
		}
		esl, err := c.cfg.Register.ESL(ctx, d.Seal)
		if err != nil {
			return nil, err
		}
		s, err := seal.Parse(esl)
		if err != nil {
			return nil, fmt.Errorf("seal %s: %w", d.Seal, err)
		}
		b.w, b.h = float64(s.Info.Picture.WidthMM), float64(s.Info.Picture.HeightMM)
		out = append(out, b)
	}
	return out, nil
}

// page bounds how many papers are read at a time.
const page = 50

// owed issues the papers that wait for this issuer, or for any. The first that fails ends it: what ails one mostly ails the next.
func (c *Clerk) owed(ctx context.Context, by issuer, kind register.PaperKind) (n int, err error) {
	for _, name := range []string{by.seal.Enterprise, ""} {
		for {
			ps, err := c.cfg.Register.OwedPapers(ctx, kind, name, page)
			if err != nil || len(ps) == 0 {
				if err != nil {
					return n, err
				}
				break
			}
			for _, p := range ps {
				if err := ctx.Err(); err != nil {
					return n, err
				}
				if err := c.Issue(ctx, by, p.ID); err != nil {
					return n, fmt.Errorf("paper %s: %w", p.ID, err)
				}
				n++
			}
		}
	}
	return n, nil
}

// self is who issues, as records name it.
var self = audit.Actor{Role: string(access.RoleAppliance), ID: "clerk"}

// Issue issues one paper that is owed; one that was issued already stays as it is.
func (c *Clerk) Issue(ctx context.Context, by issuer, id string) error {
	p, at, err := c.cfg.Register.Paper(ctx, id)
	if err != nil || p.Issued != nil {
		return err
	}
	written, err := c.write(ctx, p, by)
	if err != nil {
		return err
	}
	rel, err := c.sealed(ctx, p, written, by)
	if err != nil {
		return err
	}
	d, err := c.filed(ctx, p, at, rel, by)
	if err != nil {
		return err
	}
	_, err = c.cfg.Store.Commit(ctx, d.Mutation(nil))
	return err
}

// sealed goes the one signing path. The same paper for the same seal is the same request, which is answered from its record.
func (c *Clerk) sealed(ctx context.Context, p register.Paper, w paper.Paper, by issuer) (signer.Released, error) {
	digest := gm.SM3([]byte(by.seal.ESID+"\n"+p.ID+"\n"), w.OFD)
	var stamps []placement.Stamp
	for _, at := range w.Places {
		stamps = append(stamps, placement.Stamp{Page: at.Page, X: at.X - by.w/2, Y: at.Y - by.h/2, W: by.w, H: by.h})
	}
	purpose := PurposeCertificate
	if p.Kind == register.PaperLicence {
		purpose = PurposeLicence
	}
	return c.cfg.Signer.Sign(ctx, access.ApplianceActor, signer.Request{ID: "paper/" + p.ID + "/" + hex.EncodeToString(digest[:8]), BodyDigest: digest, Kind: signer.KindOFD,
		Seal: by.seal.ESID, Document: w.OFD, Plan: placement.Plan{Stamps: stamps}, Purpose: purpose, Delegation: by.standing.ID})
}

// filed drafts the one commit.
func (c *Clerk) filed(ctx context.Context, p register.Paper, at store.Version, rel signer.Released, by issuer) (register.Draft, error) {
	i := register.Issued{At: rel.Record.Time, SM3: licence.FileSM3(rel.Document), Size: len(rel.Document), Seal: by.seal.ESID, Standing: by.standing.ID, Entry: rel.Index}
	_, d, err := p.Issue(at, i, rel.Document, self)
	if err != nil || p.Kind != register.PaperLicence {
		return d, err
	}
	a, err := c.cfg.Library.ArchiveFile(ctx, licence.FileNote{USCC: p.USCC, Version: p.Version, Origin: licence.OriginIssued}, rel.Document, self)
	d.Add(register.Draft{Put: a.Put, Expect: a.Expect, Audit: a.Audit})
	return d, err
}
