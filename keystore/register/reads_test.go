package register_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/seal/impression"
)

// TestReadsOfAYear: the report counts what was read, by purpose, in its year alone, and names who answers for an authority's inquiry.
func TestReadsOfAYear(t *testing.T) {
	d := newDesk(t)
	i := d.must(d.file(filing(t, "A-1")))
	for _, c := range []struct {
		purpose register.Purpose
		actor   audit.Actor
		times   int
	}{{register.Make, maker, 3}, {register.CompareForFiling, police, 2}, {register.AuthorityInquiry("洛公示例〔2026〕1号", security), system, 1}} {
		for range c.times {
			if _, err := d.reg.Open(d.ctx, i.ID, c.purpose, c.actor); err != nil {
				t.Fatal(err)
			}
		}
	}
	year := time.Now().UTC().Year()
	r, err := d.reg.ReadsOf(d.ctx, year)
	if err != nil {
		t.Fatal(err)
	}
	for p, n := range map[string]int{"make": 3, "remake": 0, "compare_for_filing": 2, "authority_inquiry": 1} {
		if got, listed := r.Reads[p]; !listed || got != n {
			t.Errorf("%s: %d readings, want %d, listed %v", p, got, n, listed)
		}
	}
	if len(r.Inquiries) != 1 || r.Inquiries[0].Requested != system || r.Inquiries[0].Approved != security || r.Inquiries[0].Impression != i.ID ||
		r.Inquiries[0].Reference != "洛公示例〔2026〕1号" || r.Unlisted != 0 || r.Records != d.st.State().Size {
		t.Errorf("%+v", r)
	}
	if r, err := d.reg.ReadsOf(d.ctx, year+1); err != nil || r.Records != 0 || r.Reads["make"] != 0 || r.FirstRecord != d.st.State().Size {
		t.Errorf("next year: %+v %v", r, err)
	}
	// A record that says something else is counted apart, not left out.
	odd := audit.Event{Kind: audit.KindImpressionRead, Actor: maker, Subject: i.ID, Detail: map[string]string{"purpose": "curiosity"}}
	alone := audit.Event{Kind: audit.KindImpressionRead, Actor: system, Subject: i.ID, Detail: map[string]string{"purpose": "authority_inquiry", "reference": "x"}}
	for _, e := range []audit.Event{odd, alone} {
		body, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.st.Commit(d.ctx, store.Mutation{Audit: [][]byte{body}}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err = d.reg.ReadsOf(d.ctx, year); err != nil || r.Unlisted != 2 || r.Reads["authority_inquiry"] != 1 {
		t.Errorf("unlisted: %+v %v", r, err)
	}
}

// TestLikePictureOfAnother: pixels of another enterprise in another file are refused, also when both come at once; the comparison is on record.
func TestLikePictureOfAnother(t *testing.T) {
	d := newDesk(t)
	entry := func(f register.Filing) register.Entry {
		p, err := impression.Decode(f.Image, impression.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		return register.Entry{Order: "order", Look: register.Look{Picture: p, Overlap: 1}}
	}
	draft := func(f register.Filing) (envelope.Envelope, register.Draft, error) {
		env := d.sign(f)
		_, r, err := d.reg.File(d.ctx, env, f, entry(f), police)
		return env, r, err
	}
	first := filing(t, "A-1")
	second := filing(t, "B-1")
	second.Name = "洛阳西工示例科技有限公司"
	second.USCC, second.Image = "91410303YYY000038M", append(second.Image[:len(second.Image):len(second.Image)], 0) // one byte behind the picture
	if first.SM3() == second.SM3() {
		t.Fatal("the exact digests are equal")
	}
	_, one, err := draft(first)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := draft(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.commit(one); err != nil {
		t.Fatal(err)
	}
	if err := d.commit(two); !errors.Is(err, store.ErrConflict) {
		t.Errorf("both at once: %v", err)
	}
	if _, _, err := draft(second); !errors.Is(err, register.ErrImpressionTaken) {
		t.Errorf("one after the other: %v", err)
	}
	if e := d.lastRecord(); e.Kind != audit.KindImpressionRead || e.Actor != police {
		t.Errorf("the comparison's record: %+v", e)
	}
	own := second
	own.USCC, own.FilingNumber = first.USCC, "B-2"
	for _, name := range []string{first.Name, strings.Replace(first.Name, "商", "工", 1)} {
		namesake := second
		namesake.Name = name
		if i, _, err := d.reg.File(d.ctx, d.sign(namesake), namesake, entry(namesake), police); err != nil || len(i.Warnings) != 1 {
			t.Errorf("an entity named %s: %v, warnings %v", name, err, i.Warnings)
		}
	}
	if _, _, err := draft(own); err != nil {
		t.Errorf("the enterprise's own picture again: %v", err)
	}
	other := filing(t, "C-333")
	other.USCC = second.USCC
	if _, _, err := draft(other); err != nil {
		t.Errorf("another picture: %v", err)
	}
}
