package firmware

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestPrintAndRead: what is printed reads back as the same profile, numbers in hexadecimal.
func TestPrintAndRead(t *testing.T) {
	set, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range set.IDs() {
		p, err := set.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if p.Abstract {
			continue
		}
		alone := *p
		alone.Inherits = "" // resolved already
		b, err := alone.Print()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(b)
		if err != nil || !reflect.DeepEqual(got, &alone) {
			t.Errorf("%s came back as\n%+v\nwant\n%+v\n%v\n%s", id, got, &alone, err, b)
		}
		if p.SM2 != nil && p.SM2.KeyGen.Mechanism != 0 && !bytes.Contains(b, []byte("mechanism: "+p.SM2.KeyGen.Mechanism.String())) {
			t.Errorf("%s: numbers are not hexadecimal:\n%s", id, b)
		}
	}
}

func TestReadIsStrict(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if filepath.Base(f) == "wrong-name.yaml" {
			continue // good but for the name of its file
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(b); err == nil {
			t.Errorf("%s was read", f)
		}
	}
	good, err := os.ReadFile("testdata/good/device.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Read(good); err != nil || p.ID != "device" {
		t.Errorf("%+v, %v", p, err)
	}
}
