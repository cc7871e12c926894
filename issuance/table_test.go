package issuance_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

var updateTable = flag.Bool("update-lifecycle", false, "write docs/lifecycle.md's table from the rows of this test")

// happening is one row of the table: what happens to an enterprise with a collected set, and what that did, in one commit.
type happening struct {
	trigger string
	do      func(w *world) error
	seals   string // states by type; a seal that did not change is not named
	revoked int    // certificates that the next revocation list names
	device  string // kept or lapsed
	order   string // types that are ordered anew
	told    string // kinds of messages that went out
	note    string
	cfg     func(c *issuance.Config)
}

func to(kind licence.Kind, change func(*licence.Event)) func(w *world) error {
	return func(w *world) error {
		w.clock.passes(time.Second)
		at := w.clock.now()
		ev := licence.Event{ID: fmt.Sprintf("reg-%d", at.UnixNano()), Kind: kind, Licence: licence.Fields{USCC: uscc}, EffectiveAt: at, IssuedAt: at}
		if change != nil {
			change(&ev)
		}
		_, err := w.iss.Event(w.ctx, nil, registrar, must(w.reg.Sign(ev))(w))
		return err
	}
}

func cause(c licence.Cause) func(*licence.Event) { return func(ev *licence.Event) { ev.Cause = c } }

func changed(change func(f *licence.Fields)) func(w *world) error {
	return to(licence.KindChanged, func(ev *licence.Event) {
		ev.Licence = fields(uscc)
		change(&ev.Licence)
	})
}

func rename(f *licence.Fields) { f.Name = "洛阳老城示例新商贸有限公司" }

func (w *world) sealOf(sealType string) register.Seal {
	w.Helper()
	all := must(w.seals.SealsOf(w.ctx, uscc))(w)
	for _, s := range slices.Backward(all) {
		if s.Type == sealType {
			return s
		}
	}
	w.Fatalf("no seal of type %s", sealType)
	return register.Seal{}
}

func (w *world) notify(what register.NoticeWhat, reference string) (issuance.NoticeOutcome, error) {
	w.Helper()
	imp, _, err := w.seals.Impression(w.ctx, w.sealOf("01").Impression)
	n := register.SealNotice{ID: fmt.Sprintf("N-%d", w.clock.now().UnixNano()), What: what, FilingNumber: must(imp, err)(w).Filing, Reference: reference, At: w.clock.now()}
	return w.iss.SealNotice(w.ctx, nil, police, must(w.ps.Notice(n))(w))
}

func notified(what register.NoticeWhat) func(w *world) error {
	return func(w *world) error {
		_, err := w.notify(what, "示例公字1号")
		return err
	}
}

func suspended(reason register.Reason) func(w *world) error {
	return func(w *world) error {
		_, err := w.iss.Suspend(w.ctx, nil, security, w.sealOf("01").ESID, reason, "(2026)豫示例执1号")
		return err
	}
}

// happenings is the table of domain §4.3 with §3.4.
var happenings = []happening{
	{"更名登记 the name changes", changed(rename), "01 cancelled (renamed), 02 cancelled (renamed), 03 cancelled (renamed)", 3, "kept", "01 02 03",
		"account: change; notice: seals-ended, seals-ordered; public security: expect-impressions, seal-state", "new impressions are awaited; the new seals name those they replace", nil},
	{"更名登记，法定代表人章载有企业名称 the same, `issuance.rename_ends_personal`", changed(rename), "01 cancelled (renamed), 02 cancelled (renamed), 03 cancelled (renamed), 05 cancelled (renamed)", 4, "kept", "01 02 03 05",
		"account: change; notice: seals-ended, seals-ordered; public security: expect-impressions, seal-state", "", func(c *issuance.Config) { c.RenameEndsPersonal = true }},
	{"法定代表人变更 another legal representative", changed(func(f *licence.Fields) { f.LegalRep = "司马测乙" }), "05 cancelled (legal-rep-changed)", 1, "lapsed", "05",
		"account: change; notice: seals-ended, seals-ordered; public security: expect-impressions, seal-state", "every approval and delegation of the old device fails; the successor collects and binds anew", nil},
	{"住所、经营范围变更 address or scope changes", changed(func(f *licence.Fields) { f.Address = "老城区示例路2号" }), "", 0, "kept", "", "", "a new version of the licence; nothing else", nil},
	{"手机丢失 the phone is lost", func(w *world) error {
		_, err := w.iss.FreezeDevice(w.ctx, nil, national, uscc, "示例：本人电话挂失")
		return err
	}, "", 0, "lapsed", "", "notice: device-frozen", "`sealctl device freeze`; another device is bound after authentication anew", nil},
	{"疑似冒用 misuse is suspected", suspended(register.ReasonMisuse), "01 suspended (misuse-suspected)", 0, "kept", "", "public security: seal-state", "`sealctl seal suspend`; only a security officer lifts it", nil},
	{"实物印章丢失、重刻 the physical seal is lost or engraved anew", notified(register.NoticeLost), "01 suspended (physical-seal-lost)", 0, "kept", "01",
		"notice: seals-ordered; public security: expect-impressions, seal-state", "public security's signed notice; the seal made from the new impression supersedes it when collected", nil},
	{"公安机关冻结 frozen by public security", notified(register.NoticeFreeze), "01 suspended (public-security-freeze)", 0, "kept", "", "public security: seal-state", "lifted by public security alone, under the same reference", nil},
	{"法院冻结 frozen by a court", suspended(register.ReasonCourtFreeze), "01 suspended (court-freeze)", 0, "kept", "", "public security: seal-state", "lifted under the same reference alone; a new edition inherits it", nil},
	{"证书或印章将到期 certificate or seal expires soon", func(w *world) error {
		w.clock.passes(w.sealOf("01").NotAfter.Sub(w.clock.now()) - 24*time.Hour)
		_, err := w.iss.Reissue(w.ctx, nil, system, w.sealOf("01").ESID, "示例：到期换发")
		return err
	}, "", 0, "kept", "01", "notice: seals-ordered", "`issuance.remake_before` or `sealctl seal reissue`: the same impression, edition +1; superseded when the next is collected", nil},
	{"歇业 registered dormancy", to(licence.KindDormant, nil), "", 0, "kept", "", "", "seals may be used", nil},
	{"吊销 the licence is revoked", to(licence.KindRevoked, nil), "01 suspended (licence-revoked), 02 suspended (licence-revoked), 03 suspended (licence-revoked), 05 suspended (licence-revoked)", 0, "kept", "",
		"public security: seal-state", "cancelled by decision (art. 18): `sealctl seal cancel --reason authority-decision`", nil},
	{"破产清算 wound up, bankrupt", to(licence.KindFlagged, cause(licence.CauseBankrupt)), "01 suspended (licence-flagged), 02 suspended (licence-flagged), 03 suspended (licence-flagged), 05 suspended (licence-flagged)", 0, "kept", "",
		"public security: seal-state", "a human looks; cancelled with the registration", nil},
	{"注销 the registration is cancelled", to(licence.KindCancelled, nil), gone("licence-cancelled"), 4, "lapsed", "", "account: close; notice: seals-ended; public security: seal-state", "", nil},
	{"合并 merged into another", to(licence.KindCancelled, cause(licence.CauseMerged)), gone("licence-cancelled"), 4, "lapsed", "", "account: close; notice: seals-ended; public security: seal-state", "the version says why", nil},
	{"分立 split into others", to(licence.KindCancelled, cause(licence.CauseSplit)), gone("licence-cancelled"), 4, "lapsed", "", "account: close; notice: seals-ended; public security: seal-state", "the version says why", nil},
	{"撤销登记 the registration is annulled", to(licence.KindAnnulled, nil), gone("licence-annulled"), 4, "lapsed", "", "account: close; notice: seals-ended; public security: seal-state", "", nil},
	{"迁出 moved out", to(licence.KindMovedOut, nil), "", 0, "kept", "", "", "in use until the receiving place has issued; then `sealctl seal cancel --reason moved-out`", nil},
	{"主管部门决定 decided by the authority (art. 18)", func(w *world) error {
		_, err := w.iss.Cancel(w.ctx, nil, system, w.sealOf("01").ESID, register.ReasonAuthorityDecision, "示例决定1号")
		return err
	}, "01 cancelled (authority-decision)", 1, "kept", "", "public security: seal-state", "", nil},
}

func gone(why string) string {
	var all []string
	for _, t := range types {
		all = append(all, t+" cancelled ("+why+")")
	}
	return strings.Join(all, ", ")
}

// TestLifecycleTable lets every row of the table happen to an enterprise with a collected set, over the real paths, and compares what it did to seals,
// certificates, device, orders and outgoing messages. Each happens in one commit, and what a signature in flight had read no longer stands.
func TestLifecycleTable(t *testing.T) {
	for _, h := range happenings {
		t.Run(strings.Fields(h.trigger)[0], func(t *testing.T) {
			w := newWorld(t, func(c *issuance.Config) {
				c.Accounts, c.Notices = true, true
				if h.cfg != nil {
					h.cfg(c)
				}
			})
			w.collected(uscc)
			w.messages() // of the way there
			before := w.look()
			commits := 0
			w.gate.before(func() { commits++ })
			if err := h.do(w); err != nil {
				t.Fatal(err)
			}
			w.gate.before(nil)
			if commits != 1 {
				t.Errorf("%d commits", commits)
			}
			after := w.look()
			for part, got := range map[string][2]string{
				"seals": {after.changes(before), h.seals}, "revoked": {fmt.Sprint(w.revoked()), fmt.Sprint(h.revoked)}, "device": {after.device, h.device},
				"order": {after.ordered(before), h.order}, "messages": {w.messages(), h.told},
			} {
				if got[0] != got[1] {
					t.Errorf("%s: %q, the table says %q", part, got[0], got[1])
				}
			}
			for esid, was := range before.seals {
				now, ok := after.seals[esid]
				if !ok {
					t.Errorf("seal %s is no longer there", esid)
				}
				if _, err := w.seals.ESL(w.ctx, esid); err != nil {
					t.Errorf("the seal data of %s: %v", esid, err)
				}
				if now.State != was.State && now.State == register.Active {
					t.Errorf("seal %s became usable", esid)
				}
			}
		})
	}
}

// view is what the table is about.
type view struct {
	seals  map[string]register.Seal
	orders map[string]register.Order
	device string
}

func (w *world) look() view {
	w.Helper()
	v := view{map[string]register.Seal{}, map[string]register.Order{}, "kept"}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(w) {
		v.seals[s.ESID] = s
	}
	for _, o := range must(w.seals.OrdersOf(w.ctx, uscc))(w) {
		v.orders[o.ID] = o
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); errors.Is(err, access.ErrNoDevice) {
		v.device = "lapsed"
	}
	return v
}

func (v view) changes(before view) string {
	var all []string
	for esid, s := range v.seals {
		if s.State == before.seals[esid].State {
			continue
		}
		why := s.EndReason
		if len(s.Holds) > 0 && why == "" {
			why = s.Holds[len(s.Holds)-1].Reason
		}
		all = append(all, fmt.Sprintf("%s %s (%s)", s.Type, s.State, why))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (v view) ordered(before view) string {
	var all []string
	for id, o := range v.orders {
		if _, old := before.orders[id]; old {
			continue
		}
		for _, q := range o.Requests {
			if s, known := v.seals[q.Replaces]; !known || s.Type != q.Type {
				q.Type += " replacing nothing"
			}
			all = append(all, q.Type)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// revoked counts what the list names that is handed out a minute later.
func (w *world) revoked() int {
	w.Helper()
	w.clock.passes(2 * time.Minute)
	list := must(x509.ParseRevocationList(must(w.iss.RevocationList(w.ctx, ""))(w)))(w)
	return len(list.RevokedCertificateEntries)
}

// messages takes what waits in the outbox and names the kinds.
func (w *world) messages() string {
	w.Helper()
	var out []string
	for _, q := range []struct{ title, queue string }{{"account", issuance.QueueAccount}, {"notice", issuance.QueueNotice}, {"public security", register.QueueFiling}} {
		var kinds []string
		for _, j := range must(w.bolt.Claim(w.ctx, q.queue, 1000, 100*365*24*time.Hour))(w) {
			var m struct {
				Kind string `json:"kind"`
			}
			if err := json.Unmarshal(j.Body, &m); err != nil {
				w.Fatal(err)
			}
			kinds = append(kinds, m.Kind)
		}
		slices.Sort(kinds)
		if kinds = slices.Compact(kinds); len(kinds) > 0 {
			out = append(out, q.title+": "+strings.Join(kinds, ", "))
		}
	}
	return strings.Join(out, "; ")
}

const tableFile = "../docs/lifecycle.md"

// TestLifecycleDocument holds the table in the documents to the rows that are driven.
func TestLifecycleDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("| what happens | seals | certificates revoked | device | ordered anew | messages out | |\n|---|---|---|---|---|---|---|\n")
	dash := func(s string) string {
		if s == "" {
			return "–"
		}
		return s
	}
	for _, h := range happenings {
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s |\n", h.trigger, dash(h.seals), h.revoked, h.device, dash(h.order), dash(h.told), dash(h.note))
	}
	const begin, end = "<!-- table -->\n", "<!-- /table -->\n"
	file := string(must(os.ReadFile(tableFile))(t))
	head, rest, ok := strings.Cut(file, begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", tableFile)
	}
	if *updateTable {
		if err := os.WriteFile(tableFile, []byte(head+begin+b.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != b.String() {
		t.Errorf("%s differs from the rows; run go test ./issuance -run TestLifecycleDocument -update-lifecycle", tableFile)
	}
}

// TestNextEdition: a seal is made again from its own impression and superseded when the next is collected; then that one from a new impression, since
// the physical seal was lost.
func TestNextEdition(t *testing.T) {
	w := newWorld(t, func(c *issuance.Config) { c.RemakeBefore = 30 * 24 * time.Hour })
	w.collected(uscc)
	first := w.sealOf("01")
	if _, err := w.iss.Reissue(w.ctx, nil, security, first.ESID, "x"); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("reissued by a security officer: %v", err)
	}
	if ended, ordered, err := w.iss.ExpireSeals(w.ctx); ended+ordered != 0 || err != nil {
		t.Errorf("long before the end: %d ended, %d ordered, %v", ended, ordered, err)
	}
	w.clock.passes(first.NotAfter.Sub(w.clock.now()) - 10*24*time.Hour)
	for n, want := range []int{4, 0} { // once
		if ended, ordered, err := w.iss.ExpireSeals(w.ctx); ended != 0 || ordered != want || err != nil {
			t.Fatalf("round %d: %d ended, %d ordered, %v", n, ended, ordered, err)
		}
	}
	if _, err := w.iss.Reissue(w.ctx, nil, system, first.ESID, "示例"); !errors.Is(err, issuance.ErrReplacing) {
		t.Errorf("ordered twice: %v", err)
	}
	if n, err := w.iss.Finish(w.ctx); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	second := w.sealOf("01")
	if second.Edition != 2 || second.Replaces != first.ESID || second.Impression != first.Impression || second.State != register.Made || w.sealByNumber(first.ESID).State != register.Active {
		t.Errorf("made: %+v", second)
	}
	if n := w.reads(register.Remake); n != 4 {
		t.Errorf("%d impressions were opened to make seals again", n)
	}
	must(w.collect(second.Order, w.assertion(uscc, person)))(t)
	if was := w.sealByNumber(first.ESID); was.State != register.Superseded || was.ReplacedBy != second.ESID || was.EndReason != register.ReasonRemade || w.sealOf("01").State != register.Active {
		t.Errorf("collected: %+v", was)
	}
	// The rest was never collected: the old ones end when their time is over.
	w.clock.passes(11 * 24 * time.Hour)
	if ended, _, err := w.iss.ExpireSeals(w.ctx); ended != 3 || err != nil {
		t.Errorf("%d ended, %v", ended, err)
	}
	out := must(w.notify(register.NoticeLost, "示例报失1号"))(t)
	if w.sealOf("01").State != register.Suspended || out.Order == "" || !slices.Equal(out.Seals, []string{second.ESID}) {
		t.Errorf("lost: %+v", out)
	}
	w.fileAll(fields(uscc), "01")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	must(w.collect(out.Order, w.assertion(uscc, person)))(t)
	third := w.sealOf("01")
	if third.Edition != 3 || third.State != register.Active || third.Impression == second.Impression || w.sealByNumber(second.ESID).State != register.Superseded {
		t.Errorf("the third: %+v", third)
	}
}

func (w *world) sealByNumber(esid string) register.Seal {
	w.Helper()
	s, _, err := w.seals.Seal(w.ctx, esid)
	return must(s, err)(w)
}

// reads counts the records of impressions opened for a purpose.
func (w *world) reads(p register.Purpose) int {
	w.Helper()
	n := 0
	for _, r := range must(w.bolt.Records(w.ctx, 0, 100000))(w) {
		e := must(audit.ParseBody(r.Body))(w)
		if e.Kind == audit.KindImpressionRead && strings.Contains(fmt.Sprintf("%s", e.Detail), `"purpose":"`+p.String()+`"`) {
			n++
		}
	}
	return n
}

// TestOnlyTheSameAuthorityLifts: a freeze is lifted by who ordered it, under the reference of the order, and neither a renaming nor a new edition
// leaves it behind.
func TestOnlyTheSameAuthorityLifts(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	esid := w.sealOf("01").ESID
	must(w.iss.Suspend(w.ctx, nil, security, esid, register.ReasonCourtFreeze, "(2026)豫示例执1号"))(t)
	must(w.notify(register.NoticeFreeze, "示例公字1号"))(t)
	lift := func(a access.Actor, r register.Reason, ref string) error {
		_, err := w.iss.Resume(w.ctx, nil, a, esid, r, ref)
		return err
	}
	_, otherOrder := w.notify(register.NoticeLift, "示例公字2号")
	for what, c := range map[string]struct{ err, want error }{
		"another court's reference": {lift(security, register.ReasonCourtFreeze, "(2026)豫示例执2号"), register.ErrRole},
		"public security's, by us":  {lift(security, register.ReasonPoliceFreeze, "示例公字1号"), register.ErrRole},
		"another order of police":   {otherOrder, register.ErrRole},
		"the court's, by the owner": {lift(national, register.ReasonCourtFreeze, "(2026)豫示例执1号"), access.ErrNotEntitled},
		"reissuing what is frozen":  {func() error { _, err := w.iss.Reissue(w.ctx, nil, system, esid, "x"); return err }(), register.ErrTransition},
		"a filing nobody knows":     {func() error { return w.noticeAbout("PS-none") }(), register.ErrUnknown},
		"a notice by a department": {func() error {
			_, err := w.iss.SealNotice(w.ctx, nil, tax, w.sign(w.engrave(fields(uscc), "01", 0)))
			return err
		}(), access.ErrNotEntitled},
		"frozen twice, another paper": {func() error { _, err := w.notify(register.NoticeFreeze, "示例公字1号"); return err }(), register.ErrHeld},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	out := must(w.event(licence.KindChanged, func() licence.Fields { f := fields(uscc); rename(&f); return f }()))(t)
	f := fields(uscc)
	rename(&f)
	w.fileAll(f, "01", "02", "03")
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	must(w.collect(out.Order, w.assertion(uscc, person)))(t)
	s := w.sealOf("01")
	if s.State != register.Suspended || len(s.Holds) != 2 || w.sealOf("02").State != register.Active {
		t.Fatalf("the freeze was left behind: %+v", s)
	}
	esid = s.ESID
	if err := lift(security, register.ReasonCourtFreeze, "(2026)豫示例执1号"); err != nil || w.sealOf("01").State != register.Suspended {
		t.Errorf("one of two lifted: %v, %s", err, w.sealOf("01").State)
	}
	must(w.notify(register.NoticeLift, "示例公字1号"))(t)
	if w.sealOf("01").State != register.Active {
		t.Errorf("both lifted: %s", w.sealOf("01").State)
	}
}

func (w *world) noticeAbout(filing string) error {
	w.Helper()
	_, err := w.iss.SealNotice(w.ctx, nil, police, must(w.ps.Notice(register.SealNotice{ID: "N-0", What: register.NoticeLost, FilingNumber: filing, Reference: "示例", At: w.clock.now()}))(w))
	return err
}

// TestSealNotices: the same notice again changes nothing, other content under its number is refused, and what is out of form or unsigned, too.
func TestSealNotices(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	imp, _, err := w.seals.Impression(w.ctx, w.sealOf("01").Impression)
	n := register.SealNotice{ID: "N-1", What: register.NoticeLost, FilingNumber: must(imp, err)(t).Filing, Reference: "示例报失1号", At: w.clock.now()}
	send := func(n register.SealNotice) (issuance.NoticeOutcome, error) {
		return w.iss.SealNotice(w.ctx, nil, police, must(w.ps.Notice(n))(t))
	}
	first := must(send(n))(t)
	before := w.bolt.State()
	if again := must(send(n))(t); !again.Repeated || again.Order != first.Order || w.bolt.State() != before {
		t.Errorf("again: %+v", again)
	}
	for what, c := range map[string]struct {
		change func(n *register.SealNotice)
		want   error
	}{
		"other content": {func(n *register.SealNotice) { n.Reference = "示例报失2号" }, register.ErrNoticeReused},
		"no reference":  {func(n *register.SealNotice) { n.ID, n.Reference = "N-2", "" }, register.ErrNoticeForm},
		"no such thing": {func(n *register.SealNotice) { n.ID, n.What = "N-2", "melt" }, register.ErrNoticeForm},
		"the future":    {func(n *register.SealNotice) { n.ID, n.At = "N-2", n.At.Add(time.Hour) }, register.ErrNoticeForm},
		"no identifier": {func(n *register.SealNotice) { n.ID = "" }, register.ErrNoticeForm},
	} {
		m := n
		c.change(&m)
		if _, err := send(m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(w.event(licence.KindCancelled, licence.Fields{USCC: uscc}))(t)
	n.ID = "N-3"
	if _, err := send(n); !errors.Is(err, issuance.ErrNoSeal) {
		t.Errorf("about a seal that ended: %v", err)
	}
}

// TestLostPhone: once frozen, nothing of the device counts; whoever authenticates anew binds another.
func TestLostPhone(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	_, at, err := w.acc.Device(w.ctx, uscc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.iss.FreezeDevice(w.ctx, nil, tax, uscc, "x"); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by a department: %v", err)
	}
	if _, err := w.iss.FreezeDevice(w.ctx, nil, security, uscc, " "); !errors.Is(err, register.ErrEvidence) {
		t.Errorf("nobody reported it: %v", err)
	}
	frozen := must(w.iss.FreezeDevice(w.ctx, nil, security, uscc, "示例：本人到窗口挂失"))(t)
	if frozen.Person != person || frozen.Device == "" {
		t.Errorf("%+v", frozen)
	}
	if _, _, err := w.acc.Device(w.ctx, uscc); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("the frozen device (of version %d): %v", at, err)
	}
	if _, err := w.iss.FreezeDevice(w.ctx, nil, security, uscc, "x"); !errors.Is(err, access.ErrNoDevice) {
		t.Errorf("frozen twice: %v", err)
	}
	must(w.iss.Rebind(w.ctx, nil, national, uscc, must(w.el.Sign(w.assertion(uscc, person)))(t)))(t)
	if got := w.states(uscc); got != fourActive {
		t.Errorf("seals: %s", got)
	}
}

// TestCauses: a cause stands with the kinds of events that it can explain, and in the version.
func TestCauses(t *testing.T) {
	w := newWorld(t)
	w.establish(uscc)
	for _, c := range []licence.Cause{"mood", licence.CauseMerged} {
		if err := to(licence.KindRevoked, cause(c))(w); !errors.Is(err, licence.ErrEventForm) {
			t.Errorf("revoked, %s: %v", c, err)
		}
	}
	if err := to(licence.KindCancelled, cause(licence.CauseMerged))(w); err != nil {
		t.Fatal(err)
	}
	if l, _, err := w.lib.Current(w.ctx, uscc); err != nil || l.Cause != licence.CauseMerged {
		t.Errorf("%+v %v", l, err)
	}
}
