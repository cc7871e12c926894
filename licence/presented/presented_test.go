package presented_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/connector/elicence"
	licencesim "sealkeeper/connector/elicence/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/presented"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/synthetic"
)

var by = audit.Actor{Role: "department", ID: "示例部门"}

// hall is a library with one licence, a national system elsewhere, and the desk between them.
type hall struct {
	*testing.T
	*presented.Desk
	cfg    presented.Config
	lib    *licence.Library
	st     *store.Bolt
	source *softkey.Key
	office *licencesim.Office
	own    *licencesim.Press // the authority whose seals are trusted here
	trust  verify.Options
	events int
	here   string
	away   string
}

func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{T: t, here: synthetic.USCC("91", "410300", 1), away: synthetic.USCC("91", "350100", 2)}
	h.source = h.key()
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Collections: licence.Collections(), Create: true})
	h.must(err)
	t.Cleanup(func() { st.Close() })
	h.st = st
	h.lib, err = licence.New(st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{h.source.Public()}})
	h.must(err)
	national := h.key()
	h.office, err = licencesim.NewOffice(national, time.Now)
	h.must(err)
	h.own, err = licencesim.NewPress(time.Now())
	h.must(err)
	h.trust = verify.Options{Roots: []*gm.Certificate{h.own.Root}, Makers: []*gm.Certificate{h.own.Maker}}
	srv := httptest.NewServer(h.office.Routes())
	t.Cleanup(srv.Close)
	client, err := wire.New(wire.Config{Base: srv.URL, Timeout: 2 * time.Second})
	h.must(err)
	codes, err := elicence.LoadCodes("")
	h.must(err)
	h.cfg = presented.Config{Store: st, Library: h.lib, Judge: func() verify.Options { return h.trust }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Elsewhere: elicence.New(elicence.Config{Client: client, Pinned: []*gm.PublicKey{national.Public()}, Codes: codes, Now: time.Now})}
	h.Desk = presented.New(h.cfg)
	h.event(licence.KindEstablished, nil)
	return h
}

func (h *hall) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *hall) key() *softkey.Key {
	h.Helper()
	k, err := softkey.Generate(nil)
	h.must(err)
	return k
}

func (h *hall) event(kind licence.Kind, change func(*licence.Event)) {
	h.Helper()
	h.events++
	at := time.Date(2026, 1, 5, h.events, 0, 0, 0, time.UTC)
	ev := licence.Event{ID: fmt.Sprintf("e%d", h.events), Kind: kind, EffectiveAt: at, IssuedAt: at,
		Licence: licence.Fields{USCC: h.here, Name: "洛阳示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲"}}
	if change != nil {
		change(&ev)
	}
	e, err := envelope.Seal(licence.EventKind, ev, h.source.Sign)
	h.must(err)
	c, err := h.lib.Prepare(context.Background(), e, by)
	h.must(err)
	_, err = h.st.Commit(context.Background(), c.Mutation())
	h.must(err)
}

// issue archives a file of the present version under the own authority's seal.
func (h *hall) issue(version int) []byte {
	h.Helper()
	b, err := h.own.File(h.here, "洛阳示例商贸有限公司", version)
	h.must(err)
	c, err := h.lib.ArchiveFile(context.Background(), licence.FileNote{USCC: h.here, Version: version, Origin: licence.OriginIssued}, b, by)
	h.must(err)
	_, err = h.st.Commit(context.Background(), c.Mutation())
	h.must(err)
	return b
}

func (h *hall) judge(file []byte) presented.LicenceReport {
	h.Helper()
	r, err := h.Judge(context.Background(), by, "licence.ofd", file)
	h.must(err)
	return r
}

// says fails unless the report has the verdict and, for a code, the result.
func (h *hall) says(what string, r presented.LicenceReport, want verify.Verdict, findings ...string) {
	h.Helper()
	got := []string{}
	for _, c := range r.Findings {
		got = append(got, c.Code+" "+string(c.Result))
	}
	for _, f := range findings {
		if !slices.Contains(got, f) {
			h.Errorf("%s: %s is not among %q", what, f, got)
		}
	}
	if r.Verdict != want {
		h.Errorf("%s: %s, want %s: %+v", what, r.Verdict, want, r)
	}
}

// broken changes one byte inside a file of the package without touching its structure.
func broken(t *testing.T, file []byte) []byte {
	t.Helper()
	b := bytes.Clone(file)
	i := bytes.Index(b, []byte("Content.xml"))
	if i < 0 {
		t.Fatal("the package has no page")
	}
	b[i+len("Content.xml")+40] ^= 1
	return b
}

// TestIssuedHere: the current file is valid, an older one and one of a licence that is over are named, a broken one is invalid whatever is known.
func TestIssuedHere(t *testing.T) {
	h := newHall(t)
	first := h.issue(1)
	r := h.judge(first)
	h.says("current", r, verify.Valid, "licence-file pass", "licence-version pass", "licence-status pass")
	if l := r.Licence; l == nil || l.USCC != h.here || l.Version != 1 || l.Current != 1 || l.By != presented.ByLibrary || l.Origin != licence.OriginIssued {
		t.Errorf("%+v", r.Licence)
	}
	h.says("broken", h.judge(broken(t, first)), verify.Invalid, "licence-file not-checked", "national-check not-checked")
	h.event(licence.KindChanged, func(e *licence.Event) { e.Licence.Name = "洛阳示例新名称有限公司" })
	second := h.issue(2)
	h.says("older", h.judge(first), verify.Invalid, "licence-version fail", "licence-status pass")
	h.says("newer", h.judge(second), verify.Valid, "licence-version pass")
	h.event(licence.KindDormant, func(e *licence.Event) { e.Licence = licence.Fields{USCC: h.here} })
	third := h.issue(3)
	h.says("dormant", h.judge(third), verify.Valid, "licence-status note")
	h.event(licence.KindRevoked, func(e *licence.Event) { e.Licence = licence.Fields{USCC: h.here} })
	fourth := h.issue(4)
	h.says("revoked", h.judge(fourth), verify.Invalid, "licence-version pass", "licence-status fail")
	if h.office.Asked() != 0 {
		t.Errorf("the national system was asked %d times about what stands here", h.office.Asked())
	}
}

// TestNoLicence: what is no licence file says so.
func TestNoLicence(t *testing.T) {
	h := newHall(t)
	for _, b := range [][]byte{nil, []byte("garbage"), []byte("%PDF-1.7\n")} {
		h.says(string(b), h.judge(b), verify.Invalid, "licence-file not-checked", "national-check not-checked")
	}
	if n := h.office.Asked(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestFromElsewhere: a file that the national system vouches for is archived once, and judged by what it says now.
func TestFromElsewhere(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	r := h.judge(file)
	h.says("genuine", r, verify.Valid, "licence-file pass", "national-check pass", "seal-trust note", "licence-status pass")
	if l := r.Licence; l == nil || l.USCC != h.away || l.By != presented.ByNational || l.Name != "示例外省有限公司" {
		t.Errorf("%+v", r.Licence)
	}
	f, err := h.lib.File(t.Context(), r.SM3)
	if err != nil || f.Origin != licence.OriginReceived || f.USCC != h.away || f.Source == nil || f.Source.Authority == "" {
		t.Errorf("archived %+v, %v", f, err)
	}
	if b, err := h.lib.FileBytes(t.Context(), r.SM3); err != nil || !bytes.Equal(b, file) {
		t.Errorf("archived bytes: %v", err)
	}
	size := h.st.State().Size
	h.says("again", h.judge(file), verify.Valid, "national-check pass")
	if h.st.State().Size != size {
		t.Error("archived twice")
	}
	h.office.SetStatus(h.away, "2")
	h.says("revoked there", h.judge(file), verify.Invalid, "licence-status fail")
	h.office.SetStatus(h.away, "1")
	_, err = h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	h.says("older there", h.judge(file), verify.Invalid, "licence-version fail")
	h.says("broken", h.judge(broken(t, file)), verify.Invalid, "national-check not-checked")
	h.office.Forget(h.away)
	h.says("no longer known there", h.judge(file), verify.Invalid, "national-check fail")
	stray, err := h.office.Press.File(h.away, "示例外省有限公司", 9)
	h.must(err)
	h.says("unknown there", h.judge(stray), verify.Invalid, "licence-file fail")
}

// TestOwnLibraryCounts: the national system's word does not outweigh this library's.
func TestOwnLibraryCounts(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.here, "洛阳示例商贸有限公司")
	h.must(err)
	h.says("known to both", h.judge(file), verify.Valid, "licence-status pass")
	h.event(licence.KindCancelled, func(e *licence.Event) { e.Licence = licence.Fields{USCC: h.here} })
	h.says("cancelled here", h.judge(file), verify.Invalid, "licence-status fail")
}

// TestNationalSystemMisbehaves: whatever it does, no enterprise becomes unknown and no file invalid; nothing is archived on such a word.
func TestNationalSystemMisbehaves(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	check := func(what string) {
		t.Helper()
		r := h.judge(file)
		h.says(what, r, verify.IndeterminateResult, "licence-file not-checked", "national-check indeterminate")
		if _, err := h.lib.File(t.Context(), r.SM3); !errors.Is(err, licence.ErrNoFile) || r.Licence != nil {
			t.Errorf("%s: archived (%v), licence %+v", what, err, r.Licence)
		}
	}
	for _, mood := range append(slices.Clone(sim.Moods), sim.Refuse) {
		h.office.Behave(mood, -1)
		check(string(mood))
	}
	h.office.Behave(sim.Well, 0)
	for what, spoil := range map[string]func(*elicence.FileAnswer){
		"another question":  func(a *elicence.FileAnswer) { a.ID = "0" },
		"another file":      func(a *elicence.FileAnswer) { a.SM3 = strings.Repeat("0", 64) },
		"an old answer":     func(a *elicence.FileAnswer) { a.CheckedAt = a.CheckedAt.Add(-time.Hour) },
		"a clock ahead":     func(a *elicence.FileAnswer) { a.CheckedAt = a.CheckedAt.Add(time.Hour) },
		"an unknown word":   func(a *elicence.FileAnswer) { a.Result = "77" },
		"an unknown status": func(a *elicence.FileAnswer) { a.Status = "77" },
		"no name":           func(a *elicence.FileAnswer) { a.Name = "" },
		"a version ahead":   func(a *elicence.FileAnswer) { a.Version = 5 },
	} {
		h.office.Spoil = spoil
		check(what)
	}
	h.office.Spoil = nil
	h.office.Key = h.key()
	check("another key")
	none := h.cfg
	none.Elsewhere = nil
	h.Desk = presented.New(none)
	check("not connected")
}

// TestDownAfterArchiving: of a file in the archive the last word is shown, and the verdict stays open.
func TestDownAfterArchiving(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	h.says("up", h.judge(file), verify.Valid)
	h.office.Behave(sim.Down, -1)
	r := h.judge(file)
	h.says("down", r, verify.IndeterminateResult, "licence-file pass", "national-check indeterminate")
	if r.Licence == nil || r.Licence.USCC != h.away || r.Licence.Status != licence.Active {
		t.Errorf("%+v", r.Licence)
	}
}

// TestManyAtOnce: one file that many present at once is archived once.
func TestManyAtOnce(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	size := h.st.State().Size
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := h.Judge(context.Background(), by, "", file)
			if err != nil || r.Verdict != verify.Valid {
				t.Errorf("%s, %v", r.Verdict, err)
			}
		})
	}
	all.Wait()
	if got := h.st.State().Size; got != size+1 {
		t.Errorf("%d records, want one", got-size)
	}
}

// TestArchiveFails: a file that cannot be kept gets no report.
func TestArchiveFails(t *testing.T) {
	h := newHall(t)
	file, err := h.office.Issue(h.away, "示例外省有限公司")
	h.must(err)
	cfg := h.cfg
	cfg.Store = full{h.st}
	if _, err := presented.New(cfg).Judge(t.Context(), by, "", file); !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
}

type full struct{ store.Store }

func (full) Commit(context.Context, store.Mutation) (store.Receipt, error) {
	return store.Receipt{}, store.ErrFull
}
