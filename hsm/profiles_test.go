package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestProfiles: a profile of a folder drives a token as a shipped one does.
func TestProfiles(t *testing.T) {
	own := *profile(t, "softhsm2-sm2")
	own.ID, own.Inherits = "own", ""
	text, err := own.Print()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := hsm.Profiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	if cfg.Profile, err = set.Profile("own"); err != nil {
		t.Fatal(err)
	}
	m := open(t, cfg)
	mustSign(t, m, generate(t, m, hsm.SM2))
	if _, err := set.Profile("softhsm2"); err != nil {
		t.Errorf("the shipped profiles are gone: %v", err)
	}
}

func TestProfilesAreRefusedByName(t *testing.T) {
	good, err := os.ReadFile("../firmware-profiles/testdata/good/device.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file string
		text string
		mode os.FileMode // of the file
		dir  os.FileMode
		want error
		says string
	}{
		"writable file":   {"device.yaml", string(good), 0o666, 0o700, nil, "can be written by everybody"},
		"writable folder": {"device.yaml", string(good), 0o600, 0o777, nil, "can be written by everybody"},
		"shipped twice":   {"softhsm2.yaml", strings.Replace(string(good), "id: device", "id: softhsm2", 1), 0o600, 0o700, firmware.ErrDuplicate, ""},
		"unknown key":     {"device.yaml", string(good) + "mood: 1\n", 0o600, 0o700, firmware.ErrSyntax, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "profiles")
			file := filepath.Join(dir, c.file)
			if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, []byte(c.text), 0o600), os.Chmod(file, c.mode), os.Chmod(dir, c.dir)); err != nil {
				t.Fatal(err)
			}
			_, err := hsm.Profiles(dir)
			if !errors.Is(err, hsm.ErrConfig) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := hsm.Profiles(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
