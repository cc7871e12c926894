package hsm_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// A library that is not the one meant, or that somebody else could exchange, is not even loaded.
func TestModuleIsAllowed(t *testing.T) {
	k := softhsmtest.New(t)
	b, err := os.ReadFile(k.Module)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(b))
	dir := filepath.Join(t.TempDir(), "lib")
	put := func(dirMode, fileMode os.FileMode) string {
		os.RemoveAll(dir)
		path := filepath.Join(dir, "sealkeeper-sm2.so")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(path, b, 0o600), os.Chmod(path, fileMode), os.Chmod(dir, dirMode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(t.TempDir(), "sealkeeper-sm2-link.so")
	if err := os.Symlink(k.Module, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		module  string
		allowed []hsm.Allowed
		refused string
	}{
		"no list":                    {k.Module, nil, ""},
		"on the list":                {k.Module, []hsm.Allowed{{Path: "/elsewhere.so"}, {Path: k.Module}}, ""},
		"on the list, by its digest": {k.Module, []hsm.Allowed{{Path: k.Module, SHA256: strings.ToUpper(sum)}}, ""},
		"by a link on either side":   {link, []hsm.Allowed{{Path: k.Module}}, ""},
		"a link on the list":         {k.Module, []hsm.Allowed{{Path: link}}, ""},
		"not on the list":            {k.Module, []hsm.Allowed{{Path: "/elsewhere.so"}}, "not on the list"},
		"another digest":             {k.Module, []hsm.Allowed{{Path: k.Module, SHA256: strings.Repeat("0", 64)}}, "has SHA-256 " + sum},
		"a relative entry":           {k.Module, []hsm.Allowed{{Path: filepath.Base(k.Module)}}, "not on the list"},
	} {
		t.Run(name, func(t *testing.T) { tryModule(t, k, c.module, c.allowed, c.refused) })
	}
	t.Run("everybody can write it", func(t *testing.T) { tryModule(t, k, put(0o755, 0o666), nil, "can be written by everybody") })
	t.Run("everybody can replace it", func(t *testing.T) { tryModule(t, k, put(0o777, 0o644), nil, "can be written by everybody") })
	t.Run("nobody else can", func(t *testing.T) { tryModule(t, k, put(0o755, 0o755), nil, "") })
}

func tryModule(t *testing.T, k *softhsmtest.Token, module string, allowed []hsm.Allowed, refused string) {
	t.Helper()
	cfg := config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.Allowed = module, allowed
	m, err := hsm.Open(t.Context(), cfg)
	if err == nil {
		err = m.Close()
	}
	switch {
	case refused == "" && err != nil:
		t.Error(err)
	case refused != "" && (!errors.Is(err, hsm.ErrModule) || !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), refused)):
		t.Errorf("got %v, want %s", err, refused)
	}
}

func TestModuleOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give a file away")
	}
	k := softhsmtest.New(t)
	b, err := os.ReadFile(k.Module)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sealkeeper-sm2.so")
	if err := errors.Join(os.WriteFile(path, b, 0o644), os.Chown(path, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	tryModule(t, k, path, nil, "belongs to another user")
	if err := errors.Join(os.Chown(path, 0, 65534), os.Chmod(path, 0o664)); err != nil {
		t.Fatal(err)
	}
	tryModule(t, k, path, nil, "can be written by another group")
}
