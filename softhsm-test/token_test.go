package softhsmtest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
)

// available skips aloud where no token can be made.
func available(t *testing.T) {
	t.Helper()
	softhsmtest.New(t)
}

func TestInitToken(t *testing.T) {
	available(t)
	dir := filepath.Join(t.TempDir(), "made", "by-the-call")
	first, err := softhsmtest.InitToken(t.Context(), dir, "first")
	if err != nil {
		t.Fatal(err)
	}
	second, err := softhsmtest.InitToken(t.Context(), dir, "second")
	if err != nil {
		t.Fatal(err)
	}
	if first.Conf != second.Conf || first.Serial == second.Serial || first.PIN() == second.PIN() {
		t.Errorf("two tokens of one directory: %v, %v", first, second)
	}
	for _, k := range []*softhsmtest.Token{first, second} {
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(k.Serial) {
			t.Errorf("serial %q", k.Serial)
		}
		checkPINFile(t, k.PINFile, k.PIN())
		checkMode(t, k.SOPINFile, 0o400)
	}
	checkMode(t, dir, 0o700)
}

func checkPINFile(t *testing.T, path, pin string) {
	t.Helper()
	checkMode(t, path, 0o400)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSuffix(string(text), "\n") != pin || len(pin) != 12 {
		t.Errorf("%s does not hold the PIN alone", filepath.Base(path))
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, want)
	}
}

func TestInitTokenRefusals(t *testing.T) {
	available(t)
	dir := t.TempDir()
	if _, err := softhsmtest.InitToken(t.Context(), dir, "one"); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	for _, c := range []struct {
		name, label string
		want        error
	}{
		{"no label", "", softhsmtest.ErrLabel},
		{"33 characters", strings.Repeat("x", 33), softhsmtest.ErrLabel},
		{"path in the label", "../one", softhsmtest.ErrLabel},
		{"blank", "a b", softhsmtest.ErrLabel},
		{"taken", "one", softhsmtest.ErrExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := softhsmtest.InitToken(t.Context(), dir, c.label); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if after := listing(t, dir); after != before {
		t.Errorf("refused calls changed the directory from\n%s\nto\n%s", before, after)
	}
	if _, err := softhsmtest.InitToken(t.Context(), filepath.Join(dir, "a#b"), "two"); err == nil {
		t.Error("a path that SoftHSM2's configuration cannot hold is accepted")
	}
}

// listing names every file below dir.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTokenPrintsNoPIN(t *testing.T) {
	k := softhsmtest.New(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{k, *k} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, k.PIN()) {
				t.Errorf("%s prints the PIN: %s", format, text)
			}
		}
	}
}

func TestNewCleansUp(t *testing.T) {
	var gone, stays *softhsmtest.Token
	stays = softhsmtest.New(t)
	t.Run("inner", func(t *testing.T) {
		gone = softhsmtest.New(t)
		if os.Getenv("SOFTHSM2_CONF") != gone.Conf || gone.Conf != stays.Conf {
			t.Errorf("SOFTHSM2_CONF is %s, tokens use %s and %s", os.Getenv("SOFTHSM2_CONF"), gone.Conf, stays.Conf)
		}
	})
	for _, path := range []string{gone.PINFile, gone.SOPINFile} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left after its test: %v", filepath.Base(path), err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(stays.Dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d tokens in the directory, want the one in use", len(entries))
	}
	openToken(t, stays).generate() // its neighbour's end did it no harm
}

func TestDirectoryGoesWithItsLastToken(t *testing.T) {
	var first, second *softhsmtest.Token
	t.Run("first", func(t *testing.T) { first = softhsmtest.New(t) })
	if _, err := os.Stat(first.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the directory outlives its last token: %v", err)
	}
	t.Run("second", func(t *testing.T) {
		second = softhsmtest.New(t)
		openToken(t, second).generate()
	})
	if first.Dir != second.Dir {
		t.Error("the process changed its token directory, which an open module would not notice")
	}
}
