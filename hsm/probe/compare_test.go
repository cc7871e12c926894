package probe_test

import (
	"reflect"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/probe"
)

func TestCompare(t *testing.T) {
	shipped, err := profiles(t).Profile("sansec")
	if err != nil {
		t.Fatal(err)
	}
	if d := probe.Compare(shipped, shipped); len(d) != 0 {
		t.Errorf("a profile differs from itself: %+v", d)
	}
	p, sm2 := *shipped, *shipped.SM2
	p.ID, p.Title, p.SM2, p.SM4, p.Wrap = "other", "another", &sm2, nil, map[string]string{"sm2": "aes-kwp"}
	sm2.ECPoint = firmware.ECPoint{Forms: []string{"raw65"}} // one of those that the shipped profile accepts
	sm2.KeyType = 0x80000016
	sm2.Sign = map[string]firmware.SignMechanism{}
	for name, m := range shipped.SM2.Sign {
		switch name {
		case "sm3-raw":
			continue
		case "sm3-der":
			m.Output = "der"
		}
		sm2.Sign[name] = m
	}
	want := []probe.Difference{
		{Path: "sm2.key_type", Shipped: "0x80000004", Measured: "0x80000016", Meaning: "contradicts"},
		{Path: "sm2.sign.sm3-der.sig", Shipped: "der-lenient", Measured: "der", Meaning: "contradicts"},
		{Path: "sm2.sign.sm3-raw.input", Shipped: "hash-noz", Meaning: "not confirmed"},
		{Path: "sm2.sign.sm3-raw.mechanism", Shipped: "0x80008100", Meaning: "not confirmed"},
		{Path: "sm2.sign.sm3-raw.sig", Shipped: "raw64", Meaning: "not confirmed"},
		{Path: "wrap.sm2", Measured: "aes-kwp", Meaning: "new"},
	}
	if got := probe.Compare(shipped, &p); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	sm2.ECPoint.Forms = []string{"der-bit"}
	if got := probe.Compare(shipped, &p); len(got) != len(want)+1 {
		t.Errorf("a form that is not accepted makes no difference: %+v", got)
	}
}
