package paper_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sealkeeper/issuance/paper"
	"sealkeeper/licence"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/synthetic"
)

var valid = time.Date(2026, 1, 5, 17, 0, 0, 0, time.UTC) // the 6th in Beijing

func example(change func(*licence.Licence)) licence.Licence {
	e := synthetic.New("paper", 7)
	l := licence.Licence{Version: 2, ValidFrom: valid, Fields: licence.Fields{USCC: e.USCC, Name: e.Name, EntityType: e.EntityType, LegalRep: e.LegalRep, Capital: "100.5",
		Established: e.Established, TermFrom: e.TermFrom, Scope: e.Scope, Address: e.Address, Division: e.Division, Authority: e.Authority, Approved: "2026-01-05"}}
	if change != nil {
		change(&l)
	}
	return l
}

func write(t testing.TB, l licence.Licence) paper.Paper {
	t.Helper()
	p, err := paper.Licence(l, paper.LicenceSeal{Authority: "示例登记机关"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// finds counts a text on one page, or on all for 0.
func finds(t testing.TB, doc []byte, text string, page int) (n int) {
	t.Helper()
	p, err := ofd.Open(doc, ofd.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Pages() {
		if page != 0 && page != i+1 {
			continue
		}
		at, err := p.Find(text, i+1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range at {
			if r.X < 0 || r.Y < 0 || r.X+r.W > 297 || r.Y+r.H > 210 {
				t.Errorf("%q stands off page %d: %+v", text, i+1, r)
			}
		}
		n += len(at)
	}
	return n
}

// TestLicence: every field is text on both sheets, the seal has a place on each, and the mark of made-up data is there for made-up codes alone.
func TestLicence(t *testing.T) {
	l := example(nil)
	p := write(t, l)
	if len(p.Places) != 2 || p.Places[0].Page != 1 || p.Places[1].Page != 2 {
		t.Fatalf("places %+v", p.Places)
	}
	for page, name := range []string{"正本", "副本"} {
		for _, text := range []string{"营业执照", name, l.USCC, l.LegalRep, "法定代表人", "注册资本", "100.5万元人民币", "长期", "登记机关", "示例登记机关", "2026年01月05日", "自2026年01月06日起", "演示数据"} {
			if finds(t, p.OFD, text, page+1) == 0 {
				t.Errorf("page %d does not show %q", page+1, text)
			}
		}
	}
	if got := finds(t, p.OFD, "正本", 2); got != 0 {
		t.Errorf("the duplicate says 正本 %d times", got)
	}
	real := write(t, example(func(l *licence.Licence) { l.USCC, l.Scope = "91350100M000100Y43", "示例货物" }))
	if got := finds(t, real.OFD, "演示数据", 0); got != 0 {
		t.Errorf("%d marks of made-up data on a code that is not", got)
	}
}

// TestForms: what a field is called goes by the kind of entity; what a kind does not have is left out.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		uscc, entity string
		shows        []string
		hides        []string
	}{
		{"92410311YYY0000H21", "个体工商户", []string{"经营者", "经营场所"}, []string{"注册资本", "法定代表人"}},
		{"93410323YYY0000J91", "农民专业合作社", []string{"成员出资总额", "业务范围"}, []string{"注册资本"}},
		{"91410302YYY00002X7", "有限合伙企业", []string{"执行事务合伙人", "出资额", "主要经营场所"}, []string{"注册资本"}},
		{"91410302YYY00002X7", "个人独资企业", []string{"投资人"}, []string{"法定代表人"}},
		{"91410302YYY00002X7", "有限责任公司分公司", []string{"负责人"}, []string{"注册资本"}},
	} {
		p := write(t, example(func(l *licence.Licence) { l.USCC, l.EntityType, l.LegalRep = c.uscc, c.entity, "欧阳测甲" }))
		for _, text := range c.shows {
			if finds(t, p.OFD, text, 1) == 0 {
				t.Errorf("%s: does not show %q", c.entity, text)
			}
		}
		for _, text := range c.hides {
			if finds(t, p.OFD, text, 1) != 0 {
				t.Errorf("%s: shows %q", c.entity, text)
			}
		}
	}
}

// TestLong: the longest fields that the library takes stay on their pages, and nothing of a long scope is lost.
func TestLong(t *testing.T) {
	l := example(func(l *licence.Licence) {
		l.Name, l.Address, l.EntityType, l.LegalRep = strings.Repeat("名", 100), strings.Repeat("址", 300), strings.Repeat("型", 64), strings.Repeat("人", 64)
		l.Authority, l.Scope = strings.Repeat("关", 100), strings.Repeat("范围甲；", 2499)+"末尾"
	})
	p, err := paper.Licence(l, paper.LicenceSeal{Authority: l.Authority})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Places) < 3 {
		t.Fatalf("%d pages", len(p.Places))
	}
	for i, at := range p.Places {
		if at.Page != i+1 {
			t.Errorf("page %d has its seal on page %d", i+1, at.Page)
		}
	}
	if finds(t, p.OFD, "末尾", len(p.Places)) != 1 || finds(t, p.OFD, "后续内容见附页", 2) != 1 {
		t.Error("the end of the scope is lost")
	}
	count := 0
	for page := range p.Places {
		if page != 1 { // the duplicate repeats what the original shows
			count += finds(t, p.OFD, "甲", page+1)
		}
	}
	if count != 2499 {
		t.Errorf("%d of 2499 parts of the scope are shown", count)
	}
	for _, text := range []string{"名", "址", "型", "人"} {
		finds(t, p.OFD, text, 0)
	}
}

// TestSameBytes: the same facts give the same file; another fact another one, with another name inside.
func TestSameBytes(t *testing.T) {
	l := example(nil)
	first := write(t, l).OFD
	l.Warnings, l.ReceivedAt, l.ValidTo = []string{"w"}, time.Now(), time.Now() // the library's, not the licence's
	if !bytes.Equal(write(t, l).OFD, first) {
		t.Error("the same licence gave other bytes")
	}
	l.Version++
	if bytes.Equal(write(t, l).OFD, first) {
		t.Error("another version gave the same bytes")
	}
}

// TestCertificates: what a certificate states of its seal.
func TestCertificates(t *testing.T) {
	e := synthetic.New("paper", 8)
	c := paper.Certified{ESID: "41030200000001", Name: e.Name + "法定名称章", Type: "法定名称章", Holder: e.Name, USCC: e.USCC, Filing: "PS-1", Maker: "示例制作单位", NotBefore: valid,
		NotAfter: valid.AddDate(3, 0, 0), MadeAt: valid, Collected: valid, ESLSM3: strings.Repeat("ab", 32), Issuer: "示例登记机关"}
	made, err := paper.Made(c)
	if err != nil {
		t.Fatal(err)
	}
	c.EndedAt, c.EndState, c.EndReason = valid.AddDate(1, 0, 0), "注销", "名称变更"
	ended, err := paper.Cancelled(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		doc  []byte
		text []string
	}{
		{made.OFD, []string{"电子印章制作证书", c.ESID, c.USCC, "PS-1", "示例制作单位", "法定名称章", "领取日期", "2029年01月06日", c.ESLSM3, "示例登记机关", "演示数据"}},
		{ended.OFD, []string{"电子印章注销证书", c.ESID, "终止日期", "2027年01月06日", "名称变更", c.ESLSM3}},
	} {
		for _, text := range x.text {
			if finds(t, x.doc, text, 1) == 0 {
				t.Errorf("does not show %q", text)
			}
		}
	}
}

func BenchmarkLicence(b *testing.B) {
	l := example(nil)
	for b.Loop() {
		if _, err := paper.Licence(l, paper.LicenceSeal{Authority: "示例登记机关"}); err != nil {
			b.Fatal(err)
		}
	}
}
