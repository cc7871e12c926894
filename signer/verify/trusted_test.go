package verify_test

import (
	"encoding/json"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/trust"
)

// published is a trust list of another city, which names its maker, its authority and its time stamps.
func published(t *testing.T, region string, version uint64, next time.Time, entries ...trust.Item) *trust.List {
	t.Helper()
	publisher := newParty(t, "示例市场监督管理局", 31, usageSign, false, nil)
	b, err := json.Marshal(trust.Draft{Format: trust.Format, Region: region, Name: "示例市场监督管理局", Version: version, Issued: made, NextUpdate: next, Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	by := newFixture(t)
	by.signer, by.stamp = publisher, func([]byte) []byte { return nil }
	der := by.enclose(t, b, func(r *cms.Request) { r.Content = b })
	l, err := trust.Parse(der, []*gm.Certificate{publisher.cert})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTrustLists: a seal of another city is valid by that city's list alone, and the list vouches for nobody else's seals.
func TestTrustLists(t *testing.T) {
	ended := made.Add(-time.Hour)
	for name, c := range map[string]struct {
		region  string
		next    time.Time
		entry   func(*trust.Item)
		version uint64
		esid    string
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		"its own city":             {"4103", now.AddDate(0, 1, 0), nil, 1, "41030000000001", verify.CodeMakerCertificate, verify.Pass, verify.Valid},
		"another city's seal":      {"4101", now.AddDate(0, 1, 0), nil, 1, "41030000000001", verify.CodeMakerCertificate, verify.Fail, verify.IndeterminateResult},
		"the list ran out":         {"4103", now.Add(-time.Hour), nil, 1, "41030000000001", verify.CodeMakerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		"so it says":               {"4103", now.Add(-time.Hour), nil, 1, "41030000000001", "trust-list", verify.Note, verify.IndeterminateResult},
		"trust ended before":       {"4103", now.AddDate(0, 1, 0), func(i *trust.Item) { i.Until = &ended }, 1, "41030000000001", verify.CodeMakerCertificate, verify.Fail, verify.IndeterminateResult},
		"the authority's ended":    {"4103", now.AddDate(0, 1, 0), func(i *trust.Item) { only(i, trust.Authority, &ended) }, 1, "41030000000001", verify.CodeSignerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		"the time stamps' ended":   {"4103", now.AddDate(0, 1, 0), func(i *trust.Item) { only(i, trust.TimeStampAuthority, &ended) }, 1, "41030000000001", verify.CodeTimestamp, verify.Indeterminate, verify.IndeterminateResult},
		"an older version is left": {"4103", now.AddDate(0, 1, 0), nil, 5, "41030000000001", "trust-list", verify.Note, verify.Valid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.info.ESID = c.esid
			items := []trust.Item{{Kind: trust.Maker, Name: "演示制章系统", Certificate: f.maker.der}, {Kind: trust.Authority, Name: "演示根", Certificate: f.root.der},
				{Kind: trust.TimeStampAuthority, Name: "演示时间戳", Certificate: f.tsa.der}}
			for i := range items {
				if c.entry != nil {
					c.entry(&items[i])
				}
			}
			f.opts.Roots, f.opts.Makers = nil, nil
			f.opts.TrustLists = []*trust.List{published(t, c.region, c.version, c.next, items...)}
			if c.version > 1 {
				f.opts.TrustLists = append(f.opts.TrustLists, published(t, c.region, 1, c.next, items[1:]...))
			}
			r := f.judge(t)
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != c.verdict {
				t.Errorf("%s is %q, want %s, %s\n%s", c.code, got, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}

func only(i *trust.Item, kind string, until *time.Time) {
	if i.Kind == kind {
		i.Until = until
	}
}

// TestListsDoNotReplacePins: a maker that the caller pinned counts whatever the lists say of other regions.
func TestListsDoNotReplacePins(t *testing.T) {
	f := newFixture(t)
	f.opts.TrustLists = []*trust.List{published(t, "4101", 1, now.AddDate(0, 1, 0), trust.Item{Kind: trust.Maker, Name: "演示制章系统", Certificate: f.maker.der})}
	der := f.build(t)
	if r := verify.Document(t.Context(), f.name, der, f.opts); r.Verdict != verify.Valid {
		t.Error(r.Text(verify.English))
	}
	f.opts.Makers = nil
	if r := verify.Document(t.Context(), f.name, der, f.opts); r.Verdict != verify.IndeterminateResult {
		t.Error(r.Text(verify.English))
	}
}
