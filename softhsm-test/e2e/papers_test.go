package e2e

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/licence"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/stage"
)

// papered lets the appliance seal the enterprise's papers, and waits until it has issued what it owes.
func (s *scene) papered(t *testing.T, dir string, e *enterprise) {
	t.Helper()
	s.stand(t, dir, "papers", s.institution(t, dir, e.Authority), "appliance", "licence-document,seal-certificate", "ofd", 1000)
	s.awaitPapers(t, e, "made", e.seals["01"], e.seals["05"])
}

// awaitPapers waits for the licence's document and for certificates of seals.
func (s *scene) awaitPapers(t *testing.T, e *enterprise, kind string, esids ...string) {
	t.Helper()
	c := s.as(t, "system")
	for _, fetch := range []func(string) ([]byte, error){
		func(string) ([]byte, error) { return c.LicenceFile(t.Context(), e.USCC) },
		func(esid string) ([]byte, error) { return c.SealPaper(t.Context(), esid, kind) },
	} {
		for _, esid := range esids {
			err := until(t.Context(), kind+" paper of "+esid, func() (bool, error) {
				_, err := fetch(esid)
				if client.Code(err) == "paper-not-issued" {
					return false, nil
				}
				return err == nil, err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// judged verifies a file offline with the real command and online, and demands the verdict.
func (s *scene) judged(t *testing.T, what string, doc []byte, verdict string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "paper.ofd")
	write(t, file, doc)
	if r := verified(t, s, file, map[string]int{"valid": 0, "invalid": 3}[verdict]); r.Verdict != verdict {
		t.Errorf("%s: offline %s, want %s: %+v", what, r.Verdict, verdict, r)
	}
	if r, err := s.as(t, "department").Verify(t.Context(), "paper.ofd", doc); err != nil || r.Verdict != verdict {
		t.Errorf("%s: online %s, %v, want %s", what, r.Verdict, err, verdict)
	}
}

// shows demands that the text of a paper can be found as text.
func shows(t *testing.T, what string, doc []byte, texts ...string) {
	t.Helper()
	p := mustOf(ofd.Open(doc, ofd.Limits{}))(t)
	for _, text := range texts {
		found := false
		for page := range p.Pages() {
			at, err := p.Find(text, page+1)
			found = found || err == nil && len(at) > 0
		}
		if !found {
			t.Errorf("%s does not show %q", what, text)
		}
	}
}

// TestPapers: licence events come first and the authority's seal later. Nothing waits for it but the papers; then the licence's document and the certificates of the
// seals are issued, verify, and do not when a byte is altered; each version keeps its own.
func TestPapers(t *testing.T) {
	s := own(t, stage.Config{})
	dir := t.TempDir()
	e := mustOf(s.establish(t.Context()))(t)
	system, owner, dept := s.as(t, "system"), s.as(t, "e-licence"), s.as(t, "department")
	_, err := system.LicenceFile(t.Context(), e.USCC)
	if client.Code(err) != "paper-not-issued" || !strings.Contains(err.Error(), e.Authority) {
		t.Errorf("without a seal of the authority: %v", err)
	}
	list := mustOf(system.SealPapers(t.Context(), e.seals["01"]))(t)
	if len(list.Items) != 1 || list.Items[0].Issued != nil || list.Items[0].Kind != "made" {
		t.Errorf("owed: %+v", list.Items)
	}
	s.papered(t, dir, e)

	first := mustOf(owner.LicenceFile(t.Context(), e.USCC))(t)
	s.judged(t, "the licence", first, "valid")
	shows(t, "the licence", first, "营业执照", e.USCC, e.LegalRep, "登记机关", e.Authority, "正本", "副本", "演示数据")
	spoilt := bytes.Clone(first)
	at := bytes.Index(spoilt, []byte("Doc_0/Pages/Page_0/Content.xml")) + len("Doc_0/Pages/Page_0/Content.xml") + 200
	spoilt[at] ^= 1
	s.judged(t, "the licence with a byte altered", spoilt, "invalid")
	if _, err := dept.LicenceFile(t.Context(), e.USCC); client.Code(err) != "not-entitled" {
		t.Errorf("a department without a grant: %v", err)
	}
	if _, err := s.as(t, "registration").LicenceFile(t.Context(), e.USCC); client.Code(err) != "not-entitled" {
		t.Errorf("a source: %v", err)
	}
	if err := s.grant(t.Context(), func(g *access.Grant) { g.Seals = []string{e.seals["01"]} }); err != nil {
		t.Fatal(err)
	}
	if b, err := dept.LicenceFile(t.Context(), e.USCC); err != nil || !bytes.Equal(b, first) {
		t.Errorf("a department with a grant: %v", err)
	}

	made := mustOf(owner.SealPaper(t.Context(), e.seals["01"], "made"))(t)
	s.judged(t, "the certificate of making", made, "valid")
	shows(t, "the certificate of making", made, "电子印章制作证书", e.seals["01"], e.USCC)
	if _, err := dept.SealPaper(t.Context(), e.seals["01"], "made"); client.Code(err) != "not-entitled" {
		t.Errorf("a department fetches a certificate: %v", err)
	}
	if _, err := system.SealPaper(t.Context(), e.seals["01"], "cancelled"); client.Code(err) != "paper-not-issued" {
		t.Errorf("of a seal that has not ended: %v", err)
	}
	before := time.Now().Add(-time.Minute)
	if err := s.moved(t, e); err != nil {
		t.Fatal(err)
	}
	if _, err := system.ChangeSeal(t.Context(), client.NewKey(), e.seals["02"], "cancel", client.Reason{Reason: "authority-decision", Evidence: "示例"}); err != nil {
		t.Fatal(err)
	}
	s.awaitPapers(t, e, "cancelled", e.seals["02"])
	ended := mustOf(owner.SealPaper(t.Context(), e.seals["02"], "cancelled"))(t)
	s.judged(t, "the certificate of ending", ended, "valid")
	shows(t, "the certificate of ending", ended, "电子印章注销证书", e.seals["02"], "主管部门决定")

	second := mustOf(owner.LicenceFile(t.Context(), e.USCC))(t)
	s.judged(t, "the next version", second, "valid")
	shows(t, "the next version", second, "示例路新址")
	old := filepath.Join(dir, "old.ofd")
	s.officer(t, "system", nil, "licence", "file", e.USCC, "--version", "1", "-f", old)
	asOf := mustOf(system.Do(t.Context(), client.Call{Method: "GET", Path: "/v1/licences/" + e.USCC + "/file", Query: url.Values{"as_of": {before.UTC().Format(time.RFC3339)}}}))(t)
	if !bytes.Equal(mustOf(os.ReadFile(old))(t), first) || !bytes.Equal(asOf.Body, first) || bytes.Equal(first, second) {
		t.Error("the first version's file is not what it was")
	}
	if _, err := system.Do(t.Context(), client.Call{Method: "GET", Path: "/v1/licences/" + e.USCC + "/file", Query: url.Values{"version": {"9"}}}); client.Code(err) != "licence-unknown" {
		t.Errorf("a version that there is not: %v", err)
	}
}

// moved tells of another address.
func (s *scene) moved(t *testing.T, e *enterprise) error {
	t.Helper()
	e.Address = "示例路新址"
	return s.tell(t.Context(), e, licence.KindChanged, 0)
}
