package probe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// device is what a library that no profile knows shows of its token.
func device() *hsm.Surveyed {
	return &hsm.Surveyed{Manufacturer: "Example", Description: "示例", Slots: []hsm.Slot{{Token: &hsm.Present{Label: "l", Serial: "s", Model: "Example 1", Flags: hsm.TokenFlags{Initialised: true}}}}}
}

// TestSomebodyAnswersForADevice: a real device's profile names who measured it, or is not begun.
func TestSomebodyAnswersForADevice(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin(device(), hsm.Config{Serial: "s"}, Options{Set: set}); !errors.Is(err, ErrBy) {
		t.Errorf("got %v", err)
	}
	f, err := begin(device(), hsm.Config{Serial: "s"}, Options{Set: set, By: "示例检测员"})
	if err != nil || f.Simulated {
		t.Fatalf("%+v, %v", f, err)
	}
}

// TestEvidenceOfADevice: measurements on a device make a profile that is verified on exactly that device. The measurements are those of a software
// token, whose name is exchanged afterwards; nothing else about them is.
func TestEvidenceOfADevice(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	k := softhsmtest.New(t)
	f, err := Run(t.Context(), hsm.Config{Module: k.Module, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "l")}, Options{Set: set, Signatures: 10, Sessions: 8})
	if err != nil {
		t.Fatal(err)
	}
	f.Simulated, f.By, f.Token.Model, f.wanted, f.shipped = false, "示例检测员", "Example 1", "example-1", nil
	p, text, err := f.Profile()
	want := firmware.Device{Model: "Example 1", Firmware: f.Token.Firmware, Date: f.Time.Format(time.DateOnly), By: "示例检测员"}
	if err != nil || p.ID != "example-1" || p.Evidence.Level != firmware.Verified || p.Evidence.Device == nil || *p.Evidence.Device != want {
		t.Fatalf("%v\n%s", err, text)
	}
	for path, s := range p.Sources {
		if s.Level != firmware.Verified {
			t.Errorf("%s rests on %s", path, s.Level)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "example-1.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.Profiles(dir); err != nil {
		t.Errorf("the daemon cannot read it: %v", err)
	}
}
