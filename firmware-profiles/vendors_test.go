package firmware_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	firmware "sealkeeper/firmware-profiles"
)

func embedded(t *testing.T) *firmware.Set {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// vendors are the module builds that ship as documents: the number that signs where one may, 0 where too little is known.
var vendors = map[string]firmware.Number{
	"sansec": 0x80008105, "sansec-itrus": 0x80008105, "sansec-ibm": 0x8005000b, "tass": 0x80008000, "thales-luna": 0x80000b21,
	"westone-a": 0x80000002, "westone-c": 0x80000002,
	"koal": 0, "zayk": 0, "trustonic": 0, "ibm-ep11": 0, "westone-b": 0, "mssince-mk1": 0, "yw-card": 0, "tmc": 0,
	"feitian": 0, "longmai": 0, "watchdata": 0, "haitai": 0,
}

// Every vendor's profile rests on documents and says which; what is not known of a device is named, and then nothing signs.
func TestVendorProfiles(t *testing.T) {
	set := embedded(t)
	for id, signs := range vendors {
		t.Run(id, func(t *testing.T) {
			p, err := set.Lookup(id)
			if err != nil {
				t.Fatal(err)
			}
			if p.Evidence.Level != firmware.Documented {
				t.Errorf("evidence %q", p.Evidence.Level)
			}
			_, err = set.Profile(id)
			if signs == 0 {
				if !errors.Is(err, firmware.ErrIncomplete) || !strings.Contains(err.Error(), p.Missing[0]) {
					t.Errorf("an incomplete profile is given out: %v", err)
				}
				return
			}
			if err != nil || p.SM2.Sign[p.SM2.Use].Mechanism != signs {
				t.Errorf("signs with %v, %v", p.SM2.Sign[p.SM2.Use], err)
			}
		})
	}
	for _, id := range set.IDs() {
		if _, known := vendors[id]; !known && id != "gm-8000" && !strings.HasPrefix(id, "softhsm2") {
			t.Errorf("profile %q is not in this test's table", id)
		}
	}
}

// A stub knows no number at all: not one was taken from a neighbour.
func TestStubsHaveNoNumbers(t *testing.T) {
	set := embedded(t)
	for _, id := range []string{"feitian", "longmai", "watchdata", "haitai", "tmc"} {
		p, err := set.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if p.SM2 != nil || p.SM3 != nil || p.SM4 != nil || len(p.Sources) != 0 || len(p.Missing) < 3 {
			t.Errorf("%s: %+v", id, p)
		}
	}
}

// One library, three numberings: the token's own list decides, and where it cannot the start stops.
func TestMatchByMechanisms(t *testing.T) {
	set := embedded(t)
	upkcs11 := func(m ...uint32) firmware.Facts {
		return firmware.Facts{LibraryFile: "/usr/lib/libupkcs11.so", LibraryVersion: firmware.Version{Major: 1}, Mechanisms: m}
	}
	standard, itrus, ibm := []uint32{0x80008001, 0x80008105, 0x80000107}, []uint32{0x80008001, 0x80008105, 0x8000a001}, []uint32{0x8005000a, 0x8005000b}
	for name, c := range map[string]struct {
		facts firmware.Facts
		id    string
		err   error
	}{
		"default":              {upkcs11(standard...), "sansec", nil},
		"ITRUS":                {upkcs11(itrus...), "sansec-itrus", nil},
		"IBM":                  {upkcs11(ibm...), "sansec-ibm", nil},
		"two numberings":       {upkcs11(append(ibm, standard...)...), "", firmware.ErrAmbiguous},
		"none":                 {upkcs11(0x1041), "", firmware.ErrNoMatch},
		"list not asked for":   {upkcs11(), "", firmware.ErrNoMatch},
		"numbers without name": {firmware.Facts{LibraryFile: "libp11.so", Mechanisms: []uint32{0x80000003, 0x80000002}}, "", firmware.ErrNoMatch},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := set.Match(c.facts)
			if !errors.Is(err, c.err) || c.err == nil && p.ID != c.id {
				t.Fatalf("got %v, %v", p, err)
			}
			if c.err == nil && len(p.Why(c.facts)) != 1+len(p.Match.Mechanisms) {
				t.Errorf("reasons: %q", p.Why(c.facts))
			}
		})
	}
	both := upkcs11(append(ibm, standard...)...)
	if _, err := set.Match(both); err == nil || !strings.Contains(err.Error(), `"sansec" and "sansec-ibm"`) {
		t.Errorf("the refusal does not name both: %v", err)
	}
}

// A device whose profile is incomplete is recognised, and refused with what is missing.
func TestMatchIncomplete(t *testing.T) {
	b, err := os.ReadFile("koal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), "id: koal\n", "id: named\n", 1)
	text = strings.Replace(text, "sm2:\n", "match: {library_manufacturer: [example works]}\nsm2:\n", 1)
	text = strings.Replace(text, "sources:\n", "sources:\n  match: {level: documented, source: example}\n", 1)
	set, err := firmware.Load(fs.FS(fstest.MapFS{"named.yaml": {Data: []byte(text)}}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Match(firmware.Facts{LibraryManufacturer: "Example Works Ltd"})
	if !errors.Is(err, firmware.ErrIncomplete) || !strings.Contains(err.Error(), "0x80008104") {
		t.Errorf("got %v", err)
	}
}

func TestUsing(t *testing.T) {
	p, err := embedded(t).Profile("sansec")
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.Using("sm3-default-id-der")
	if err != nil || q.SM2.Sign[q.SM2.Use].Input != firmware.InputZDefault || p.SM2.Use != "e-raw" {
		t.Errorf("got %+v, %v", q, err)
	}
	if _, err := p.Using("nothing"); !errors.Is(err, firmware.ErrInvalid) {
		t.Errorf("unknown name: %v", err)
	}
	plain, err := embedded(t).Profile("softhsm2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Using("e-raw"); !errors.Is(err, firmware.ErrInvalid) {
		t.Errorf("a profile without SM2: %v", err)
	}
}
