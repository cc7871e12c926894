package trust_test

import (
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/trust"
)

var issued = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

type publisher struct {
	key  *softkey.Key
	der  []byte
	cert *gm.Certificate
}

func newPublisher(t testing.TB, serial int64) publisher {
	t.Helper()
	scalar := make([]byte, 32)
	scalar[0], scalar[31] = 1, byte(serial)
	key, err := softkey.FromScalar(scalar)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "示例市场监督管理局"}, NotBefore: issued.AddDate(-1, 0, 0),
		NotAfter: issued.AddDate(1, 0, 0), KeyUsage: 1, SignatureAlgorithm: gm.SM2WithSM3}
	p := publisher{key: key}
	if p.der, err = gm.CreateCertificate(template, template, key.Public().ECDSA(), key.Signer()); err != nil {
		t.Fatal(err)
	}
	if p.cert, err = gm.ParseCertificate(p.der); err != nil {
		t.Fatal(err)
	}
	return p
}

func draft(certificate []byte) trust.Draft {
	return trust.Draft{Format: trust.Format, Region: "4101", Name: "示例市场监督管理局", Version: 3, Issued: issued, NextUpdate: issued.AddDate(0, 3, 0),
		Entries: []trust.Item{{Kind: trust.Maker, Name: "演示制章系统", Certificate: certificate}}}
}

func (p publisher) sign(t testing.TB, content []byte, change func(*cms.Request)) []byte {
	t.Helper()
	r := cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: p.der, Digest: gm.SM3(content), Content: content, SigningTime: issued}
	if change != nil {
		change(&r)
	}
	d, err := cms.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	value, err := p.key.Sign(d.Attributes())
	if err != nil {
		t.Fatal(err)
	}
	der, err := d.Assemble(value, nil)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (p publisher) publish(t testing.TB, d trust.Draft) []byte {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return p.sign(t, b, nil)
}

func TestParse(t *testing.T) {
	p := newPublisher(t, 1)
	l, err := trust.Parse(p.publish(t, draft(p.der)), []*gm.Certificate{newPublisher(t, 2).cert, p.cert})
	if err != nil {
		t.Fatal(err)
	}
	if l.Region != "4101" || l.Version != 3 || l.Signer != p.cert || l.String() != "trust list of region 4101, version 3" || !l.Current(issued) || l.Current(l.NextUpdate) {
		t.Errorf("%+v", l)
	}
}

// TestParseRefuses: nothing of a list counts before its signature, its publisher and its form do.
func TestParseRefuses(t *testing.T) {
	p, stranger := newPublisher(t, 1), newPublisher(t, 2)
	form := func(change func(*trust.Draft)) []byte {
		d := draft(p.der)
		change(&d)
		return p.publish(t, d)
	}
	good := p.publish(t, draft(p.der))
	raw, err := json.Marshal(draft(p.der))
	if err != nil {
		t.Fatal(err)
	}
	before := issued.Add(-time.Hour)
	changed := []byte(strings.Replace(string(good), `"version":3`, `"version":9`, 1))
	if string(changed) == string(good) {
		t.Fatal("nothing was changed")
	}
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"a stranger's":                 {stranger.publish(t, draft(p.der)), trust.ErrSigner},
		"changed":                      {changed, trust.ErrSigner},
		"detached":                     {p.sign(t, raw, func(r *cms.Request) { r.Content = nil }), trust.ErrFormat},
		"without the certificate":      {p.sign(t, raw, func(r *cms.Request) { r.WithoutCertificates = true }), trust.ErrSigner},
		"unsigned":                     {raw, trust.ErrFormat},
		"cut":                          {good[:len(good)-1], trust.ErrFormat},
		"bytes behind":                 {append(good[:len(good):len(good)], 0), trust.ErrFormat},
		"too large":                    {make([]byte, trust.MaxSize+1), trust.ErrFormat},
		"not JSON":                     {p.sign(t, []byte("x"), nil), trust.ErrFormat},
		"two values":                   {p.sign(t, append(raw[:len(raw):len(raw)], raw...), nil), trust.ErrFormat},
		"unknown member":               {p.sign(t, []byte(strings.Replace(string(raw), `"region"`, `"x":1,"region"`, 1)), nil), trust.ErrFormat},
		"another format":               {form(func(d *trust.Draft) { d.Format = "x" }), trust.ErrFormat},
		"a region of letters":          {form(func(d *trust.Draft) { d.Region = "41x" }), trust.ErrFormat},
		"the whole country":            {form(func(d *trust.Draft) { d.Region = "4" }), trust.ErrFormat},
		"version 0":                    {form(func(d *trust.Draft) { d.Version = 0 }), trust.ErrFormat},
		"no name":                      {form(func(d *trust.Draft) { d.Name = "" }), trust.ErrFormat},
		"updated before it was issued": {form(func(d *trust.Draft) { d.NextUpdate = before }), trust.ErrFormat},
		"issued outside the publisher's certificate": {form(func(d *trust.Draft) { d.Issued = issued.AddDate(-2, 0, 0) }), trust.ErrSigner},
		"no entries":                    {form(func(d *trust.Draft) { d.Entries = nil }), trust.ErrFormat},
		"an entry of another kind":      {form(func(d *trust.Draft) { d.Entries[0].Kind = "x" }), trust.ErrFormat},
		"an entry without a name":       {form(func(d *trust.Draft) { d.Entries[0].Name = "" }), trust.ErrFormat},
		"seals of another region":       {form(func(d *trust.Draft) { d.Entries[0].ESID = []string{"4102"} }), trust.ErrFormat},
		"trusted until before it began": {form(func(d *trust.Draft) { d.Entries[0].From, d.Entries[0].Until = &issued, &before }), trust.ErrFormat},
		"a certificate that is none":    {form(func(d *trust.Draft) { d.Entries[0].Certificate = []byte("x") }), trust.ErrFormat},
	} {
		if _, err := trust.Parse(c.der, []*gm.Certificate{p.cert}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestVouches(t *testing.T) {
	p, other := newPublisher(t, 1), newPublisher(t, 2)
	until := issued.AddDate(0, 1, 0)
	d := draft(p.der)
	d.Entries = []trust.Item{
		{Kind: trust.Maker, Name: "甲", Certificate: p.der, Until: &until},
		{Kind: trust.Maker, Name: "乙", Certificate: other.der, ESID: []string{"410105", "410106"}},
		{Kind: trust.Authority, Name: "丙", Certificate: other.der, From: &until},
		{Kind: trust.TimeStampAuthority, Name: "丁", Certificate: p.der},
	}
	l, err := trust.Parse(p.publish(t, d), []*gm.Certificate{p.cert})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		maker []byte
		esid  string
		at    time.Time
		named bool
		err   error
	}{
		"its own region":            {p.der, "41010000000001", issued, true, nil},
		"another region":            {p.der, "41030000000001", issued, true, trust.ErrMaker},
		"after trust ended":         {p.der, "41010000000001", until, true, trust.ErrMaker},
		"one of its districts":      {other.der, "41010600000001", issued, true, nil},
		"another of its districts":  {other.der, "41010700000001", issued, true, trust.ErrMaker},
		"a maker that is not named": {[]byte("x"), "41010000000001", issued, false, nil},
	} {
		if named, err := l.Vouches(c.maker, c.esid, c.at); named != c.named || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, named, err)
		}
	}
	if !l.HasMakers() || len(l.Anchors("41010000000001", issued)) != 0 || len(l.Anchors("41010000000001", until)) != 1 ||
		len(l.Anchors("41030000000001", until)) != 0 || len(l.Anchors("", until)) != 1 || len(l.Stampers(issued)) != 1 {
		t.Error("anchors of another region or time count")
	}
}

func TestNewest(t *testing.T) {
	p := newPublisher(t, 1)
	make := func(name, region string, version uint64) *trust.List {
		d := draft(p.der)
		d.Name, d.Region, d.Version = name, region, version
		l, err := trust.Parse(p.publish(t, d), []*gm.Certificate{p.cert})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b, c, d := make("甲", "4101", 3), make("甲", "4101", 4), make("乙", "4101", 1), make("甲", "4103", 1)
	newest, older := trust.Newest([]*trust.List{a, b, c, d, a})
	if len(newest) != 3 || newest[0] != b || newest[1] != c || newest[2] != d || len(older) != 2 || older[0] != a || older[1] != a {
		t.Errorf("newest %v, older %v", newest, older)
	}
}

func FuzzParse(f *testing.F) {
	p := newPublisher(f, 1)
	f.Add(p.publish(f, draft(p.der)))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := trust.Parse(b, []*gm.Certificate{p.cert})
		if err == nil && l.Check() != nil {
			t.Error("a list that contradicts itself was taken")
		}
		if err != nil && !errors.Is(err, trust.ErrFormat) && !errors.Is(err, trust.ErrSigner) {
			t.Errorf("unnamed error %v", err)
		}
	})
}
