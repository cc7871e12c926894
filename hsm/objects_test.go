package hsm_test

import (
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestDataObjects(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	m := open(t, cfg)
	ctx := t.Context()
	for _, v := range []string{"one", "two", "", "four"} {
		if err := m.SetData(ctx, "anchor", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Data(ctx, "anchor"); err != nil || string(got) != v {
			t.Errorf("%q reads back as %q, %v", v, got, err)
		}
	}
	if err := m.SetData(ctx, "other", []byte("apart")); err != nil {
		t.Fatal(err)
	}
	finds := m.Stats().FindObjects
	if err := m.SetData(ctx, "anchor", []byte("five")); err != nil {
		t.Fatal(err)
	}
	if s := m.Stats(); s.FindObjects != finds {
		t.Errorf("%d searches to write again", s.FindObjects-finds)
	}
	objects, err := m.Objects(ctx)
	if err != nil || len(objects) != 2 { // SoftHSM2's objects cannot be changed, so each value has one
		t.Errorf("%+v, %v", objects, err)
	}
	// As a write that was cut off would leave it: a younger object that is not whole.
	plant(t, m, "anchor", hsm.EncodeData(99, []byte("torn"))[:20])
	m.Forget()
	if got, err := m.Data(ctx, "anchor"); err != nil || string(got) != "five" {
		t.Errorf("after a cut-off write: %q, %v", got, err)
	}
	plant(t, m, "never whole", []byte("rubbish"))
	if got, err := m.Data(ctx, "never whole"); !errors.Is(err, hsm.ErrDamaged) {
		t.Errorf("nothing readable: %q, %v", got, err)
	}
	// As a crash between making and destroying would leave it: two whole ones.
	plant(t, m, "anchor", hsm.EncodeData(3, []byte("older")))
	m.Forget()
	if got, err := m.Data(ctx, "anchor"); err != nil || string(got) != "five" {
		t.Errorf("two whole ones: %q, %v", got, err)
	}
	if err := m.SetData(ctx, "anchor", []byte("six")); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, cfg)
	if got, err := again.Data(ctx, "anchor"); err != nil || string(got) != "six" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

// plant makes a data object as this package does, with any content.
func plant(t *testing.T, m *hsm.Module, label string, content []byte) {
	t.Helper()
	raw, h := rawSession(t, m)
	if _, err := raw.CreateObject(h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, "sealkeeper"),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_VALUE, content),
	}); err != nil {
		t.Fatal(err)
	}
	if err := raw.CloseSession(h); err != nil {
		t.Fatal(err)
	}
}

func TestObjectsAttributesDestroyRandom(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	ctx := t.Context()
	b, k := generate(t, m, hsm.SM2), generate(t, m, hsm.AES256)
	all, err := m.Objects(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	classes := map[string]int{}
	for _, o := range all {
		classes[o.Class]++
		if o.ID != b.ID && o.ID != k.ID || o.RawID != o.ID.String() || o.Label != "test:"+o.ID.String() {
			t.Errorf("object %+v", o)
		}
	}
	if classes["private"] != 1 || classes["public"] != 1 || classes["secret"] != 1 {
		t.Errorf("classes %v", classes)
	}
	again, err := m.Attributes(ctx, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range b.Attributes {
		if got := attribute(t, again, a.Name); got != a.Value {
			t.Errorf("%s was %s at birth and is %s", a.Name, a.Value, got)
		}
	}
	if err := m.Destroy(ctx, b.ID); err != nil {
		t.Fatal(err)
	}
	if err := sign(m, b.ID, hsm.SM2); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("signing after destruction: %v", err)
	}
	if all, err := m.Objects(ctx); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	x, err1 := m.Random(ctx, 32)
	y, err2 := m.Random(ctx, 32)
	if err1 != nil || err2 != nil || len(x) != 32 || string(x) == string(y) {
		t.Errorf("random %x %x, %v %v", x, y, err1, err2)
	}
}
