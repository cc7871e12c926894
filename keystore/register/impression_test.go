package register_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

func TestImpressionEncryptedAtRest(t *testing.T) {
	d := newDesk(t)
	f := filing(t, "A-1")
	i := d.must(d.file(f))
	raw, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	// The payload holds the picture in base64: three alignments of any run of its bytes, and the bytes themselves.
	run := f.Image[len(f.Image)/2:][:48]
	for name, b := range map[string][]byte{"picture": run, "base64": []byte(base64.StdEncoding.EncodeToString(run)),
		"base64 shifted by one": []byte(base64.StdEncoding.EncodeToString(run[1:46])),
		"base64 shifted by two": []byte(base64.StdEncoding.EncodeToString(run[2:47]))} {
		if bytes.Contains(raw, b) {
			t.Errorf("the store file holds the picture as %s", name)
		}
	}
	if !bytes.Contains(raw, []byte(i.SM3)) {
		t.Error("the store file does not even hold the digest: was the right file read?")
	}
	got, err := d.reg.Open(d.ctx, i.ID, register.Make, maker)
	if err != nil || !bytes.Equal(got, f.Image) {
		t.Errorf("opened %d bytes of %d: %v", len(got), len(f.Image), err)
	}
}

func TestImpressionReadIsRecordedFirst(t *testing.T) {
	d := newDesk(t)
	i := d.must(d.file(filing(t, "A-1")))
	inquiry := register.AuthorityInquiry("洛公示例〔2026〕1号", security)
	for _, c := range []struct {
		purpose register.Purpose
		actor   audit.Actor
	}{{register.Make, maker}, {register.Remake, maker}, {register.CompareForFiling, police}, {inquiry, system}} {
		size := d.st.State().Size
		if _, err := d.reg.Open(d.ctx, i.ID, c.purpose, c.actor); err != nil {
			t.Fatalf("%s: %v", c.purpose, err)
		}
		e := d.lastRecord()
		var detail struct {
			Purpose, Reference, Filing, SM3 string
			Second                          *audit.Actor
		}
		raw, _ := e.Detail.(json.RawMessage)
		if err := json.Unmarshal(raw, &detail); err != nil {
			t.Fatal(err)
		}
		if d.st.State().Size != size+1 || e.Kind != "impression-read" || e.Subject != i.ID || e.Actor != c.actor ||
			detail.Purpose != c.purpose.String() || detail.SM3 != i.SM3 || (detail.Second != nil) != (detail.Reference != "") {
			t.Errorf("%s: record %+v %+v", c.purpose, e, detail)
		}
	}
	// No record, no picture.
	d.st.SetReadOnly("test")
	if b, err := d.reg.Open(d.ctx, i.ID, register.Make, maker); !errors.Is(err, store.ErrReadOnly) || b != nil {
		t.Errorf("opened without a record: %d bytes, %v", len(b), err)
	}
	d.st.SetReadOnly("")
}

func TestImpressionPurposesAreClosed(t *testing.T) {
	d := newDesk(t)
	i := d.must(d.file(filing(t, "A-1")))
	before := d.st.State()
	for name, c := range map[string]struct {
		purpose register.Purpose
		actor   audit.Actor
	}{
		"none":                         {register.Purpose{}, maker},
		"inquiry without reference":    {register.AuthorityInquiry("", security), system},
		"inquiry by one operator":      {register.AuthorityInquiry("ref", system), system},
		"inquiry by the appliance":     {register.AuthorityInquiry("ref", security), maker},
		"inquiry with a stranger":      {register.AuthorityInquiry("ref", police), system},
		"inquiry without a second man": {register.AuthorityInquiry("ref", audit.Actor{}), system},
	} {
		if b, err := d.reg.Open(d.ctx, i.ID, c.purpose, c.actor); !errors.Is(err, register.ErrPurpose) || b != nil {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if _, err := d.reg.Open(d.ctx, "00", register.Make, maker); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("unknown impression: %v", err)
	}
	if d.st.State() != before {
		t.Error("a refused reading moved the log")
	}
	// The list itself: a purpose has no field that another package could fill.
	for n := range reflect.TypeFor[register.Purpose]().NumField() {
		if reflect.TypeFor[register.Purpose]().Field(n).IsExported() {
			t.Error("Purpose can be made up outside its package")
		}
	}
}

// Whatever this package exports gives bytes for a purpose only, the public seal data, certificates and papers apart.
func TestNoBytesWithoutPurpose(t *testing.T) {
	public := map[string]bool{"ESL": true, "Certificate": true, "Chain": true, "DocumentCertificate": true, "PaperFile": true}
	purpose := reflect.TypeFor[register.Purpose]()
	reg := reflect.TypeFor[*register.Register]()
	for n := range reg.NumMethod() {
		m := reg.Method(n)
		takes := false
		for a := range m.Type.NumIn() {
			takes = takes || m.Type.In(a) == purpose
		}
		for o := range m.Type.NumOut() {
			if holdsBytes(m.Type.Out(o), map[reflect.Type]bool{}) && !takes && !public[m.Name] {
				t.Errorf("%s returns %s without a purpose", m.Name, m.Type.Out(o))
			}
		}
	}
	if takes := reg.NumMethod(); takes < 10 {
		t.Errorf("only %d methods were looked at", takes)
	}
}

// holdsBytes reports whether a value of the type can carry a picture. A Draft carries the encrypted one, signatures are small and named.
func holdsBytes(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t == reflect.TypeFor[register.Draft]() {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice || holdsBytes(t.Elem(), seen)
	case reflect.Struct:
		for n := range t.NumField() {
			if f := t.Field(n); f.Name != "Signature" && f.PkgPath == "" && holdsBytes(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func TestImpressionBinding(t *testing.T) {
	d := newDesk(t)
	a := d.must(d.file(filing(t, "A-1")))
	b := d.must(d.file(filing(t, "A-22")))
	pictures := collection(t, "impression-data")
	get := func(id string) store.Item {
		it, err := d.st.Get(d.ctx, pictures, []byte(id))
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	set := func(id string, v []byte) {
		if _, err := d.st.Commit(d.ctx, store.Mutation{Put: []store.Put{{Collection: pictures, Key: []byte(id), Value: v}}}); err != nil {
			t.Fatal(err)
		}
	}
	own := get(a.ID).Value
	flipped := bytes.Clone(own)
	flipped[len(flipped)-1] ^= 1
	for name, v := range map[string][]byte{"another impression's": get(b.ID).Value, "last bit": flipped, "cut": own[:3], "empty header": {0, 0, 0, 0},
		"header beyond the end": {0xff, 0xff, 0xff, 0xff, 1}} {
		set(a.ID, v)
		if got, err := d.reg.Open(d.ctx, a.ID, register.Make, maker); got != nil ||
			!errors.Is(err, register.ErrImpressionDamaged) && !errors.Is(err, keystore.ErrSealed) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	set(a.ID, own)
	if _, err := d.reg.Open(d.ctx, a.ID, register.Make, maker); err != nil {
		t.Errorf("put back: %v", err)
	}
}

func collection(t testing.TB, name string) *store.Collection {
	t.Helper()
	for _, c := range register.Collections() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no collection %s", name)
	return nil
}

func TestFilingKeys(t *testing.T) {
	d := newDesk(t)
	first := filing(t, "A-1")
	first.SealCode = "4103020000001"
	i := d.must(d.file(first))

	n := uint64(100)
	same := func(change func(*register.Filing)) register.Filing {
		n++
		f := filing(t, fmt.Sprintf("B-%d", n))
		f.Image = picture(t, n)
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		f    register.Filing
		want error
	}{
		"filing number again":        {same(func(f *register.Filing) { f.FilingNumber = "A-1" }), register.ErrFilingReused},
		"seal code again":            {same(func(f *register.Filing) { f.SealCode = first.SealCode }), register.ErrSealCodeTaken},
		"picture of another entity":  {same(func(f *register.Filing) { f.Image, f.USCC = first.Image, "91410303YYY000038M" }), register.ErrImpressionTaken},
		"picture of the same entity": {same(func(f *register.Filing) { f.Image = first.Image }), nil},
		"no seal code twice":         {same(func(f *register.Filing) { f.SealCode = "" }), nil},
	} {
		if _, err := d.file(c.f); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}

	// Name seals of people of one name look alike.
	d.person = "欧阳测甲"
	named := same(func(*register.Filing) {})
	d.must(d.file(named))
	namesake := same(func(f *register.Filing) { f.Image, f.USCC = named.Image, "91410304YYY000046Y" })
	d.must(d.file(namesake))
	d.person = "司马测乙"
	namesake.FilingNumber, namesake.USCC = "B-other", "91410305YYY0000548"
	if _, err := d.file(namesake); !errors.Is(err, register.ErrImpressionTaken) {
		t.Errorf("name seal of another name: %v", err)
	}

	if got, seen, err := d.reg.Filed(d.ctx, first, i.PayloadSM3); err != nil || !seen || got.ID != i.ID {
		t.Errorf("the same filing: %v %v %v", got.ID, seen, err)
	}
	if _, _, err := d.reg.Filed(d.ctx, first, strings.Repeat("0", 64)); !errors.Is(err, register.ErrFilingReused) {
		t.Errorf("same number, other content: %v", err)
	}
	if _, seen, err := d.reg.Filed(d.ctx, filing(t, "new"), ""); seen || err != nil {
		t.Errorf("unknown number: %v %v", seen, err)
	}
	all, err := d.reg.ImpressionsOf(d.ctx, uscc)
	if err != nil || len(all) != 4 {
		t.Errorf("%d impressions, %v", len(all), err)
	}
}

func TestSameFilingTwiceAtOnce(t *testing.T) {
	d := newDesk(t)
	f := filing(t, "A-1")
	var drafts []register.Draft
	for range 2 {
		_, r, err := d.reg.File(d.ctx, d.sign(f), f, register.Entry{Order: "order"}, police)
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, r)
	}
	if err := d.commit(drafts[0]); err != nil {
		t.Fatal(err)
	}
	if err := d.commit(drafts[1]); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second: %v", err)
	}
}

func TestFilingForm(t *testing.T) {
	now := time.Now()
	for name, change := range map[string]func(*register.Filing){
		"no number":           func(f *register.Filing) { f.FilingNumber = "" },
		"number with blank":   func(f *register.Filing) { f.FilingNumber = "A 1" },
		"12 digits":           func(f *register.Filing) { f.SealCode = "410302000000" },
		"15 digits":           func(f *register.Filing) { f.SealCode = "410302000000123" },
		"letters in the code": func(f *register.Filing) { f.SealCode = "41030200000AB" },
		"unknown type":        func(f *register.Filing) { f.SealType = "1" },
		"no name":             func(f *register.Filing) { f.Name = "" },
		"control character":   func(f *register.Filing) { f.Name = "示例\n公司" },
		"no picture":          func(f *register.Filing) { f.Image = nil },
		"huge picture":        func(f *register.Filing) { f.Image = make([]byte, register.MaxImage+1) },
		"no width":            func(f *register.Filing) { f.WidthMM = 0 },
		"too high":            func(f *register.Filing) { f.HeightMM = 101 },
		"filed tomorrow":      func(f *register.Filing) { f.FiledAt = now.Add(24 * time.Hour) },
		"never filed":         func(f *register.Filing) { f.FiledAt = time.Time{} },
	} {
		f := filing(t, "A-1")
		change(&f)
		if _, err := f.Check(now); !errors.Is(err, register.ErrFilingForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := filing(t, "A-1")
	f.SealCode = "1301020100002"
	if w, err := f.Check(now); err != nil || len(w) != 1 {
		t.Errorf("seal code of elsewhere: %v %v", w, err)
	}
}

func FuzzFiling(f *testing.F) {
	good, err := json.Marshal(filing(f, "A-1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"filing_number":"A-1","image":"////"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v register.Filing
		if json.Unmarshal(b, &v) != nil {
			return
		}
		if _, err := v.Check(time.Now()); err != nil && !errors.Is(err, register.ErrFilingForm) {
			t.Fatalf("unnamed error %v", err)
		}
	})
}

func TestYearKeyIsMadeOnce(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	errs := make(chan error, 4)
	for n := range 4 {
		go func() {
			f := filing(t, "A-"+strings.Repeat("1", n+1))
			_, _, err := d.reg.File(ctx, d.sign(f), f, register.Entry{Order: "order"}, police)
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := d.keys.ByPurpose(ctx, keystore.ImpressionPurpose(time.Now().UTC().Year())); err != nil {
		t.Error(err)
	}
}
