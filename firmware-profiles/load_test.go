package firmware_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	firmware "sealkeeper/firmware-profiles"
)

var names = map[string]error{
	"ErrSyntax": firmware.ErrSyntax, "ErrInvalid": firmware.ErrInvalid, "ErrInherits": firmware.ErrInherits,
}

func one(t *testing.T, file string) fs.FS {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{filepath.Base(file): {Data: b}}
}

func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(b), "\n")
			want, ok := names[strings.TrimPrefix(line, "# error: ")]
			if !ok {
				t.Fatalf("first line %q names no error", line)
			}
			if _, err := firmware.Load(one(t, f)); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	set, err := firmware.Load(one(t, "testdata/good/device.yaml"), one(t, "testdata/good/decimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile("device")
	if err != nil {
		t.Fatal(err)
	}
	if p.SM2.KeyType != 0x80000004 || p.SM2.KeyGen.Mechanism != 0x80008001 || p.SM2.Sign["e-der"].Mechanism != 0x80008104 {
		t.Errorf("inherited numbers: %+v", p.SM2)
	}
	if use := p.SM2.Sign[p.SM2.Use]; use.Input != firmware.InputE32 || use.Output != firmware.OutputBroken {
		t.Errorf("own semantics: %+v", use)
	}
	if other := p.SM2.Sign["e-raw"]; other.Input != "" {
		t.Errorf("a base profile lent more than its number: %+v", other)
	}
	if p.Abstract || p.ID != "device" || p.Evidence.Device.Date != "2026-03-01" {
		t.Errorf("own head: %+v", p)
	}
	if s := p.Sources["sm2.key_type"]; s.Level != firmware.Documented || s.Source == "" {
		t.Errorf("source of an inherited number: %+v", s)
	}
	if d, err := set.Profile("decimal"); err != nil || d.Login.UserType != 1 {
		t.Errorf("decimal: %+v, %v", d, err)
	}
}

func TestEmbedded(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Profile("gm-8000"); !errors.Is(err, firmware.ErrAbstract) {
		t.Errorf("gm-8000: %v", err)
	}
	if _, err := set.Profile("gm-9000"); !errors.Is(err, firmware.ErrUnknownProfile) {
		t.Errorf("gm-9000: %v", err)
	}
	sm2, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	if u := sm2.SM2.Sign[sm2.SM2.Use]; u.Mechanism != 0x80008105 || u.Input != "e32" || u.Output != "raw64" {
		t.Errorf("softhsm2-sm2 signs with %+v", u)
	}
	if sm2.Evidence.Level != firmware.Simulated {
		t.Errorf("softhsm2-sm2 claims %q", sm2.Evidence.Level)
	}
	again, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	twin, _ := again.Profile("softhsm2-sm2")
	if !bytes.Equal(sm2.Canonical(), twin.Canonical()) || len(sm2.Canonical()) == 0 {
		t.Error("the canonical bytes differ between two loads")
	}
}

func TestDuplicateID(t *testing.T) {
	b, err := fs.ReadFile(one(t, "testdata/good/device.yaml"), "device.yaml")
	if err != nil {
		t.Fatal(err)
	}
	two := fstest.MapFS{"device.yaml": {Data: b}}
	if _, err := firmware.Load(two, two); !errors.Is(err, firmware.ErrDuplicate) {
		t.Errorf("got %v", err)
	}
}

func TestMatch(t *testing.T) {
	set, err := firmware.Load(one(t, "testdata/good/device.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plain := firmware.Facts{LibraryManufacturer: "SoftHSM", LibraryDescription: "Implementation of PKCS11",
		LibraryFile: "/usr/lib/softhsm/libsofthsm2.so", LibraryVersion: firmware.Version{Major: 2, Minor: 6},
		TokenManufacturer: "SoftHSM project", TokenModel: "SoftHSM v2", Firmware: firmware.Version{Major: 2, Minor: 6}}
	simulator := plain
	simulator.LibraryManufacturer, simulator.LibraryDescription = "Sealkeeper (simulated)", "Sealkeeper SM2 simulator"
	simulator.LibraryFile = "/x/libsealkeeper-sm2.so"
	device := firmware.Facts{LibraryManufacturer: "The EXAMPLE company", LibraryVersion: firmware.Version{Major: 1},
		Firmware: firmware.Version{Major: 4, Minor: 7}}
	old, oldFirmware := plain, device
	old.LibraryVersion = firmware.Version{Major: 1, Minor: 3}
	oldFirmware.Firmware = firmware.Version{Major: 3, Minor: 9}
	for name, c := range map[string]struct {
		facts firmware.Facts
		id    string
	}{
		"plain SoftHSM2":        {plain, "softhsm2"},
		"simulator":             {simulator, "softhsm2-sm2"},
		"device, without case":  {device, "device"},
		"SoftHSM 1.3":           {old, ""},
		"device, old firmware":  {oldFirmware, ""},
		"nothing known":         {firmware.Facts{}, ""},
		"manufacturer alone":    {firmware.Facts{LibraryManufacturer: "SoftHSM"}, ""},
		"minor counts as minor": {firmware.Facts{LibraryManufacturer: "example", LibraryVersion: firmware.Version{Major: 3, Minor: 10}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := set.Match(c.facts)
			if c.id == "" {
				if !errors.Is(err, firmware.ErrNoMatch) {
					t.Errorf("got %v, %v", p, err)
				}
				return
			}
			if err != nil || p.ID != c.id {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}

func TestAmbiguous(t *testing.T) {
	b, err := os.ReadFile("testdata/good/device.yaml")
	if err != nil {
		t.Fatal(err)
	}
	twin := bytes.Replace(b, []byte("id: device\n"), []byte("id: twin\n"), 1)
	set, err := firmware.Load(fstest.MapFS{"device.yaml": {Data: b}, "twin.yaml": {Data: twin}})
	if err != nil {
		t.Fatal(err)
	}
	facts := firmware.Facts{LibraryManufacturer: "example", LibraryVersion: firmware.Version{Major: 2}, Firmware: firmware.Version{Major: 4}}
	if _, err := set.Match(facts); !errors.Is(err, firmware.ErrAmbiguous) {
		t.Errorf("got %v", err)
	}
}

// FuzzLoad: whatever the bytes, the loader answers with a named error or with a profile that loads again to the same bytes.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/good", "testdata/bad"} {
		files, err := filepath.Glob(dir + "/*.yaml")
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.ReplaceAll(b, []byte("id: device\n"), []byte("id: fuzz\n")))
		}
	}
	named := []error{firmware.ErrSyntax, firmware.ErrInvalid, firmware.ErrInherits}
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := firmware.Load(fstest.MapFS{"fuzz.yaml": {Data: b}})
		if err != nil {
			for _, want := range named {
				if errors.Is(err, want) {
					return
				}
			}
			t.Fatalf("unnamed error: %v", err)
		}
		p, err := set.Profile("fuzz")
		if errors.Is(err, firmware.ErrAbstract) {
			return
		}
		if err != nil || len(p.Sources) == 0 && p.Login.UserType != 0 {
			t.Fatalf("accepted %+v, %v", p, err)
		}
	})
}
