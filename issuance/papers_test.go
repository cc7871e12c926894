package issuance_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/issuance/clerk"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/signer"
)

const registry = "洛阳示例登记机关"

// registered are the fields of an enterprise whose licence names the registration authority.
func registered(code string) licence.Fields {
	f := fields(code)
	f.Authority = registry
	return f
}

// clerk opens the desk over the world as it is now; after a restart it has forgotten everything.
func (w *world) clerk() *clerk.Clerk {
	w.Helper()
	acc := must(access.New(w.gate, access.Config{Audience: audience, Now: w.clock.now, Owner: w.ownerOf}))(w)
	sign := must(signer.New(signer.Config{Store: w.gate, Access: acc, Licences: w.lib, Seals: w.seals, Keys: w.keys, Refuse: func(audit.Event) {}, Now: w.clock.now}))(w)
	return must(clerk.New(clerk.Config{Store: w.gate, Library: w.lib, Register: w.seals, Access: acc, Signer: sign, Maker: "示例制作单位", Now: w.clock.now}))(w)
}

// allowed gives the appliance the institution's seal for its papers, as ceremonies would.
func (w *world) allowed(purposes []string, count uint64) access.Standing {
	w.Helper()
	f := w.ownImpression(bureau)
	must(w.iss.FileInstitution(w.ctx, nil, registrar, w.signedBy(issuance.InstitutionKind, f, w.reg.Key)))(w)
	s, d, err := w.iss.Institution(w.ctx, "ceremony/x/1", f.FilingNumber)
	if err != nil {
		w.Fatal(err)
	}
	must(w.gate.Commit(w.ctx, d.Mutation(nil)))(w)
	acc := must(access.New(w.gate, access.Config{Audience: audience, Now: w.clock.now, Owner: w.ownerOf}))(w)
	at := w.clock.now().Truncate(1e9)
	st, ch, err := acc.Stand(w.ctx, audit.Actor{Role: "operator-security", ID: "x"}, access.Standing{ID: "papers", Seal: s.ESID, Client: access.ApplianceClient, Purposes: purposes,
		Kinds: []string{"ofd"}, NotBefore: at.Add(-1e9), Expires: at.AddDate(1, 0, 0), Count: count, Ceremony: "ceremony/y/1"})
	if err != nil {
		w.Fatal(err)
	}
	must(w.gate.Commit(w.ctx, ch.Mutation(nil)))(w)
	return st
}

func (w *world) paper(id string) register.Paper {
	w.Helper()
	p, _, err := w.seals.Paper(w.ctx, id)
	return must(p, err)(w)
}

func (w *world) spent(st access.Standing) uint64 {
	w.Helper()
	return must(w.bolt.Counter(w.ctx, st.Counter()))(w)
}

var both = []string{clerk.PurposeLicence, clerk.PurposeCertificate}

// TestPapersIssued: what is owed is issued once, by the seal of the authority that the licence names, and archived under its version.
func TestPapersIssued(t *testing.T) {
	w := newInstitution(t)
	must(w.event(licence.KindEstablished, registered(uscc)))(t)
	w.fileAll(fields(uscc), types...)
	if n, err := w.iss.Finish(w.ctx); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	orders := must(w.seals.OrdersOf(w.ctx, uscc))(t)
	must(w.collect(orders[0].ID, w.assertion(uscc, person)))(t)
	c := w.clerk()
	if n, err := c.Round(w.ctx); n != 0 || err != nil {
		t.Errorf("without a standing delegation: %d issued, %v", n, err)
	}
	st := w.allowed(both, 100)
	c = w.clerk()
	if n, err := c.Round(w.ctx); n != 5 || err != nil {
		t.Errorf("%d issued, %v, want a licence and four certificates", n, err)
	}
	if n, err := c.Round(w.ctx); n != 0 || err != nil || w.spent(st) != 5 {
		t.Errorf("again: %d issued, %v, %d spent", n, err, w.spent(st))
	}
	p := w.paper(register.LicencePaper(uscc, 1, "", w.clock.now()).ID)
	files := must(w.lib.FilesOf(w.ctx, uscc, 1))(t)
	if p.Issued == nil || len(files) != 1 || files[0].SM3 != p.Issued.SM3 || files[0].Origin != licence.OriginIssued || p.Issued.Seal != st.Seal {
		t.Errorf("paper %+v, files %+v", p.Issued, files)
	}
	if b, err := w.lib.FileBytes(w.ctx, p.Issued.SM3); err != nil || len(b) != p.Issued.Size {
		t.Errorf("file of %d bytes: %v", len(b), err)
	}
	must(w.event(licence.KindCancelled, licence.Fields{USCC: uscc}))(t)
	if n, err := c.Round(w.ctx); n != 4 || err != nil {
		t.Errorf("after the licence ended: %d issued, %v, want four certificates of ending and no licence", n, err)
	}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(t) {
		if p := w.paper(register.SealPaper(register.PaperCancelled, s.ESID)); p.Issued == nil {
			t.Errorf("seal %s has no certificate of ending", s.ESID)
		}
	}
}

// TestPapersOnceOverCrash dies at every commit of a paper, before it and after it: the file is one, and so is what it spent.
func TestPapersOnceOverCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := range 2 { // the signature's commit, the paper's
			t.Run(fmt.Sprintf("commit %d, after it %v", at, after), func(t *testing.T) {
				w := newInstitution(t)
				must(w.event(licence.KindEstablished, registered(uscc)))(t)
				st := w.allowed(both, 100)
				w.gate.fail(at, after)
				if _, err := w.clerk().Round(w.ctx); !errors.Is(err, errKilled) {
					t.Fatalf("not killed: %v", err)
				}
				w.restart()
				if n, err := w.clerk().Round(w.ctx); err != nil || n > 1 {
					t.Errorf("%d issued, %v", n, err)
				}
				if files := must(w.lib.FilesOf(w.ctx, uscc, 1))(t); len(files) != 1 || w.spent(st) != 1 {
					t.Errorf("%d files, %d signatures", len(files), w.spent(st))
				}
			})
		}
	}
}

// TestPapersWait: for another authority's licence, for a purpose that was not delegated, and when the count is spent; nothing else waits.
func TestPapersWait(t *testing.T) {
	w := newInstitution(t)
	f := fields(uscc)
	f.Authority = "别处登记机关（演示）"
	must(w.event(licence.KindEstablished, f))(t)
	st := w.allowed([]string{clerk.PurposeLicence}, 1)
	if n, err := w.clerk().Round(w.ctx); n != 0 || err != nil {
		t.Errorf("another authority's: %d issued, %v", n, err)
	}
	for _, code := range []string{"91410303YYY000038M", "91410304YYY000046Y"} {
		must(w.event(licence.KindEstablished, registered(code)))(t)
	}
	w.collected("91410305YYY0000548") // without an authority's name: any will do
	if n, err := w.clerk().Round(w.ctx); n != 1 || !errors.Is(err, access.ErrDelegationSpent) || !strings.Contains(err.Error(), "paper licence/") {
		t.Errorf("spent: %d issued, %v", n, err)
	}
	if n, err := w.clerk().Round(w.ctx); n != 0 || err != nil || w.spent(st) != 1 {
		t.Errorf("afterwards: %d issued, %v", n, err)
	}
	if all := must(w.seals.OwedPapers(w.ctx, register.PaperMade, "", 100))(t); len(all) != 4 {
		t.Errorf("%d certificates owed", len(all))
	}
}

// BenchmarkPapers issues licence documents as the clerk does: written, sealed by the token, recorded, archived, one after another.
func BenchmarkPapers(b *testing.B) {
	w := newInstitution(b)
	w.allowed(both, 1<<30)
	c := w.clerk()
	for n := 0; n < b.N; n++ {
		if n == 0 {
			must(w.event(licence.KindEstablished, registered(uscc)))(b)
			continue
		}
		f := registered(uscc)
		f.Address = fmt.Sprintf("老城区示例路%d号", n)
		must(w.event(licence.KindChanged, f))(b)
	}
	b.ResetTimer()
	if n, err := c.Round(w.ctx); err != nil || n != b.N {
		b.Fatal(n, err)
	}
}
