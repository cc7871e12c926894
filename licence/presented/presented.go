// Package presented judges a licence file that somebody presents: whether it is genuine, which version it is, what its licence is worth now.
//
// Its one promise is that silence is never taken for an answer: a file from elsewhere about which the national system says nothing is
// indeterminate, whoever it names, and never an unknown enterprise.
//
//	file ─► signer/verify: the seals ─► the archive: known by its digest? ─┬─► the library: version, status now
//	                                                                     └─► Elsewhere: genuine? ─► into the archive
//
// Limits: it says what stands in the library or what the national system says; the text on the pages is for whoever reads them.
package presented

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/signer/verify"
)

// Kind is the kind of the report.
const Kind = "licence"

// Word is what the national system says of a file.
type Word string

// The words.
const (
	Genuine Word = "genuine"
	Altered Word = "altered" // a licence of that enterprise, but not these bytes
	Unknown Word = "unknown" // no licence file of any enterprise
)

// Answer is the national system's answer about one file.
type Answer struct {
	Word      Word
	USCC      string
	Name      string
	Version   int // of the file
	Current   int // the latest of the licence
	Status    licence.Status
	Authority string
	CheckedAt time.Time
}

// Elsewhere asks the national system. An error means that there is no answer, for whatever reason.
type Elsewhere interface {
	CheckFile(ctx context.Context, sm3 string, file []byte) (Answer, error)
}

// Config is what the desk is made of.
type Config struct {
	Store     store.Store
	Library   *licence.Library
	Judge     func() verify.Options
	Elsewhere Elsewhere // nil when the national system is not connected
	Log       *slog.Logger
	Now       func() time.Time
}

// Desk judges. It is safe for concurrent use.
type Desk struct{ cfg Config }

// New makes a desk.
func New(cfg Config) *Desk { return &Desk{cfg} }

// Worth is what a licence is worth at a moment, and who says so.
type Worth struct {
	USCC     string         `json:"uscc"`
	Name     string         `json:"name"`
	Version  int            `json:"version"`         // of the file
	Current  int            `json:"current_version"` // the latest of the licence
	Status   licence.Status `json:"status"`
	StatusAt time.Time      `json:"status_at"` // when that was so
	By       string         `json:"status_by"` // library or national
	Origin   licence.Origin `json:"origin"`
}

// LicenceReport is a verification report with what the file is.
type LicenceReport struct {
	verify.Report
	SM3     string `json:"sm3"`
	Licence *Worth `json:"licence,omitempty"` // nil when nobody said what the file is
}

// Judge judges a file. One from elsewhere that the national system vouches for enters the archive before the report leaves. Errors: those of
// the store; what is wrong with the file is in the report.
func (d *Desk) Judge(ctx context.Context, by audit.Actor, name string, file []byte) (LicenceReport, error) {
	opts := d.cfg.Judge()
	document := verify.Document(ctx, name, file, opts)
	j := &judgement{LicenceReport: LicenceReport{Report: document, SM3: licence.FileSM3(file)}, seals: document.Verdict}
	if document.Kind != verify.KindOFD {
		j.add(verify.CodeStructure, verify.Fail, "a licence file is an OFD document, not %q", document.Kind)
	}
	j.Kind = Kind
	f, err := d.cfg.Library.File(ctx, j.SM3)
	switch {
	case err == nil:
		err = d.known(ctx, j, f, file)
	case errors.Is(err, licence.ErrNoFile):
		err = d.foreign(ctx, j, by, file)
	}
	if err != nil {
		return LicenceReport{}, fmt.Errorf("judging licence file %s: %w", j.SM3, err)
	}
	j.Verdict = j.verdict()
	return j.LicenceReport, nil
}

// judgement is one call of Judge.
type judgement struct {
	LicenceReport
	seals   verify.Verdict // on the document by itself
	vouched bool           // the national system knows the file, whoever's root its seal hangs from
}

func (j *judgement) add(code string, r verify.Result, format string, args ...any) {
	j.Findings = append(j.Findings, verify.Check{Code: code, Result: r, Detail: fmt.Sprintf(format, args...)})
}

// verdict: a broken seal, an old version or a licence that is over makes the file invalid; whatever nobody answered leaves it open.
func (j *judgement) verdict() verify.Verdict {
	v := j.seals
	if v == verify.IndeterminateResult && j.vouched {
		v = verify.Valid
	}
	for _, c := range j.Findings {
		switch c.Code {
		case verify.CodeLicenceFile, verify.CodeLicenceVersion, verify.CodeLicenceStatus, verify.CodeNationalCheck, verify.CodeStructure:
		default:
			continue // the document's own, which its verdict has counted
		}
		switch {
		case c.Result == verify.Fail:
			return verify.Invalid
		case c.Result == verify.Indeterminate && v == verify.Valid:
			v = verify.IndeterminateResult
		}
	}
	return v
}

// known is a file of the archive.
func (d *Desk) known(ctx context.Context, j *judgement, f licence.File, file []byte) error {
	j.add(verify.CodeLicenceFile, verify.Pass, "file of %s, version %d, %s and archived %s", f.USCC, f.Version, f.Origin, f.ArchivedAt.Format(time.RFC3339))
	if f.Origin == licence.OriginReceived {
		return d.again(ctx, j, f, file)
	}
	s, _, err := d.Standing(ctx, f)
	if err != nil {
		return err
	}
	j.stands(s)
	return nil
}

// again asks anew about a file from elsewhere; without an answer, what was heard last is shown and the verdict stays open.
func (d *Desk) again(ctx context.Context, j *judgement, f licence.File, file []byte) error {
	a, err := d.ask(ctx, j.SM3, file)
	if err != nil {
		s, _, local := d.Standing(ctx, f)
		if local != nil {
			return local
		}
		j.Licence = &s
		j.add(verify.CodeNationalCheck, verify.Indeterminate, "%v; it was %s on %s", err, s.Status, s.StatusAt.Format(time.RFC3339))
		return nil
	}
	if a.Word != Genuine || a.USCC != f.USCC || a.Version != f.Version {
		j.add(verify.CodeNationalCheck, verify.Fail, "the national system now calls it %s, version %d of %s", a.Word, a.Version, a.USCC)
		return nil
	}
	return d.vouch(ctx, j, a)
}

// foreign is a file that the archive does not hold.
func (d *Desk) foreign(ctx context.Context, j *judgement, by audit.Actor, file []byte) error {
	if j.seals == verify.Invalid || j.verdict() == verify.Invalid {
		j.add(verify.CodeLicenceFile, verify.NotChecked, "not a file of the archive")
		j.add(verify.CodeNationalCheck, verify.NotChecked, "not asked: the file is broken")
		return nil
	}
	a, err := d.ask(ctx, j.SM3, file)
	switch {
	case err != nil:
		j.add(verify.CodeLicenceFile, verify.NotChecked, "not a file of the archive")
		j.add(verify.CodeNationalCheck, verify.Indeterminate, "%v", err)
		return nil
	case a.Word != Genuine:
		j.add(verify.CodeLicenceFile, verify.Fail, "the national system calls the file %s", a.Word)
		return nil
	}
	if err := d.keep(ctx, a, by, file); err != nil {
		return err
	}
	j.add(verify.CodeLicenceFile, verify.Pass, "file of %s, version %d, from elsewhere", a.USCC, a.Version)
	return d.vouch(ctx, j, a)
}

// Why there is no answer, as callers may know it; addresses and answers of the other side are for the log.
var (
	errNotConnected = errors.New("the national system is not connected")
	errNoAnswer     = errors.New("the national system gives no answer that counts; ask again later")
)

func (d *Desk) ask(ctx context.Context, sm3 string, file []byte) (Answer, error) {
	if d.cfg.Elsewhere == nil {
		return Answer{}, errNotConnected
	}
	a, err := d.cfg.Elsewhere.CheckFile(ctx, sm3, file)
	if err != nil {
		d.cfg.Log.WarnContext(ctx, "no word of the national system on a licence file", "error", err.Error())
		return Answer{}, errNoAnswer
	}
	return a, nil
}

// vouch takes the national system's answer. Where the library knows the enterprise too, its status counts beside it.
func (d *Desk) vouch(ctx context.Context, j *judgement, a Answer) error {
	j.vouched = true
	j.add(verify.CodeNationalCheck, verify.Pass, "genuine, by %s", a.CheckedAt.UTC().Format(time.RFC3339))
	if j.seals == verify.IndeterminateResult {
		j.add("seal-trust", verify.Note, "the seals lead to no anchor of this appliance; the national system vouches for the file")
	}
	j.stands(Worth{USCC: a.USCC, Name: a.Name, Version: a.Version, Current: a.Current, Status: a.Status, StatusAt: a.CheckedAt, By: ByNational, Origin: licence.OriginReceived})
	own, _, err := d.cfg.Library.Standing(ctx, a.USCC)
	switch {
	case errors.Is(err, licence.ErrUnknown):
		return nil
	case err != nil:
		return err
	case !own.Status.Effect().Valid:
		j.add(verify.CodeLicenceStatus, verify.Fail, "this library says %s since %s", own.Status, own.ValidFrom.UTC().Format(time.RFC3339))
	}
	return nil
}

// stands adds version and status.
func (j *judgement) stands(s Worth) {
	j.Licence = &s
	if s.Version < s.Current {
		j.add(verify.CodeLicenceVersion, verify.Fail, "version %d; the licence is at version %d", s.Version, s.Current)
	} else {
		j.add(verify.CodeLicenceVersion, verify.Pass, "version %d is the current one", s.Version)
	}
	e := s.Status.Effect()
	switch at := s.StatusAt.UTC().Format(time.RFC3339); {
	case !e.Valid:
		j.add(verify.CodeLicenceStatus, verify.Fail, "%s at %s: %s", s.Status, at, e.Flag)
	case e.Flag != "":
		j.add(verify.CodeLicenceStatus, verify.Note, "%s at %s: %s", s.Status, at, e.Flag)
	default:
		j.add(verify.CodeLicenceStatus, verify.Pass, "%s at %s", s.Status, at)
	}
}

// Who says what a status is.
const (
	ByLibrary  = "library"
	ByNational = "national"
)

// Standing is what the licence of an archived file is worth, without asking anybody outside: of one issued here now, with what a commit that
// relies on it expects; of one from elsewhere when the national system was last heard.
func (d *Desk) Standing(ctx context.Context, f licence.File) (Worth, []store.Expect, error) {
	if f.Origin == licence.OriginReceived {
		return Worth{USCC: f.USCC, Name: f.Source.Name, Version: f.Version, Current: f.Source.Current, Status: f.Source.Status, StatusAt: f.Source.CheckedAt, By: ByNational,
			Origin: f.Origin}, nil, nil
	}
	s, at, err := d.cfg.Library.Standing(ctx, f.USCC)
	if err != nil {
		return Worth{}, nil, err
	}
	return Worth{USCC: s.USCC, Name: s.Name, Version: f.Version, Current: s.Version, Status: s.Status, StatusAt: d.cfg.Now().UTC().Truncate(time.Second), By: ByLibrary,
		Origin: f.Origin}, []store.Expect{licence.Expect(f.USCC, at)}, nil
}

// keep enters a file from elsewhere into the archive; another caller may have come first.
func (d *Desk) keep(ctx context.Context, a Answer, by audit.Actor, file []byte) error {
	note := licence.FileNote{USCC: a.USCC, Version: a.Version, Origin: licence.OriginReceived,
		Source: &licence.Source{Name: a.Name, Status: a.Status, Current: a.Current, CheckedAt: a.CheckedAt, Authority: a.Authority}}
	for {
		c, err := d.cfg.Library.ArchiveFile(ctx, note, file, by)
		if err != nil || c.Repeated {
			return err
		}
		if _, err = d.cfg.Store.Commit(ctx, c.Mutation()); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
