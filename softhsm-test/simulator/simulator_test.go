package simulator_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/simulator"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

func embedded(t *testing.T) *firmware.Set {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// What cannot be a device, or could be taken for a real one, is not written out.
func TestLinesRefused(t *testing.T) {
	set := embedded(t)
	stub, err := set.Lookup("feitian")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := set.Profile("thales-luna")
	if err != nil {
		t.Fatal(err)
	}
	long, odd := *whole, *whole
	long.Match = firmware.Match{LibraryManufacturer: []string{strings.Repeat("m", 30)}, LibraryDescription: []string{strings.Repeat("d", 30)}}
	odd.Attributes.Omit = []string{"CKA_UNHEARD_OF"}
	for name, p := range map[string]*firmware.Profile{"not complete": stub, "no room to say that it is simulated": &long, "an attribute without a number": &odd} {
		if lines, err := simulator.Lines(p, "/module.so"); !errors.Is(err, simulator.ErrLines) {
			t.Errorf("%s: %q, %v", name, lines, err)
		}
	}
}

// A device lists what its profile knows, and nothing else: a number without meaning is listed and does nothing.
func TestDeviceListsItsProfile(t *testing.T) {
	p, err := embedded(t).Profile("thales-luna")
	if err != nil {
		t.Fatal(err)
	}
	k := simulator.New(t, p)
	facts, err := hsm.Identify(hsm.Config{Module: k.Module, Serial: k.Serial})
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{0x80000b01, 0x80000b10, 0x80000b11, 0x80000b12, 0x80000b20, 0x80000b21, 0x80000b22}
	slices.Sort(facts.Mechanisms)
	if !slices.Equal(facts.Mechanisms, want) {
		t.Errorf("lists %x, want %x", facts.Mechanisms, want)
	}
	if chosen, err := hsm.Choose(embedded(t), hsm.Auto, hsm.Config{Module: k.Module, Serial: k.Serial}); err != nil || chosen.ID != p.ID {
		t.Errorf("chose %v, %v", chosen, err)
	}
}

// A library whose file of lines is gone, or names itself a real device, does not open.
func TestDamagedLines(t *testing.T) {
	p, err := embedded(t).Profile("tass")
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(path string) error{
		"gone":      os.Remove,
		"not lines": func(path string) error { return os.WriteFile(path, []byte("id: tass\n"), 0o600) },
		"disguised": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "simulated", "")), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := simulator.New(t, p)
			if err := damage(k.Module + ".profile"); err != nil {
				t.Fatal(err)
			}
			cfg := hsm.Config{Module: k.Module, Profile: p, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")}
			if m, err := hsm.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrConfig) {
				t.Errorf("opened: %v, %v", m, err)
			}
			if facts, err := hsm.Identify(hsm.Config{Module: k.Module, Serial: k.Serial}); !errors.Is(err, hsm.ErrConfig) {
				t.Errorf("%+v, %v", facts, err)
			}
		})
	}
}
