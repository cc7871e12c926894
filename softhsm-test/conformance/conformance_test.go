package conformance_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/conformance"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

func run(t *testing.T, set *firmware.Set, id string, cfg hsm.Config, algorithms ...hsm.Algorithm) {
	t.Helper()
	var err error
	if cfg.Profile, err = set.Profile(id); err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	conformance.Run(t, m, algorithms...)
}

func TestSM2Module(t *testing.T) {
	k := softhsmtest.New(t)
	run(t, profiles(t), "softhsm2-sm2", config(t, k))
}

func TestPlainSoftHSM2(t *testing.T) {
	k := softhsmtest.New(t, softhsmtest.Plain())
	run(t, profiles(t), "softhsm2", config(t, k), hsm.ECDSAP256, hsm.RSA2048, hsm.AES256)
}

func profiles(t *testing.T) *firmware.Set {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func config(t *testing.T, k *softhsmtest.Token) hsm.Config {
	t.Helper()
	return hsm.Config{Module: k.Module, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")}
}

// device is the file that SEALKEEPER_CONFORMANCE names; the package comment shows one.
type device struct {
	Module     string          `yaml:"module"`
	Profile    string          `yaml:"profile"`
	Profiles   string          `yaml:"profiles"`
	Serial     string          `yaml:"serial"`
	Label      string          `yaml:"label"`
	PINFile    string          `yaml:"pin_file"`
	LatchFile  string          `yaml:"latch_file"`
	Algorithms []hsm.Algorithm `yaml:"algorithms"`
}

func TestDevice(t *testing.T) {
	file := os.Getenv("SEALKEEPER_CONFORMANCE")
	if file == "" {
		t.Skip("SKIPPED, no device was tested: SEALKEEPER_CONFORMANCE names no configuration")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d device
	if err := yaml.UnmarshalWithOptions(b, &d, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	set := profiles(t)
	if d.Profiles != "" {
		if set, err = firmware.Load(os.DirFS(d.Profiles)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, set, d.Profile, hsm.Config{Module: d.Module, Serial: d.Serial, Label: d.Label, PINFile: d.PINFile, LatchFile: d.LatchFile},
		d.Algorithms...)
}
