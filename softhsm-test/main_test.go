package softhsmtest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	softhsmtest "sealkeeper/softhsm-test"
)

// kept, in the environment, has this binary run as one that uses Main.
const kept = "SEALKEEPER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(kept) != "" {
		os.Exit(softhsmtest.Main(m))
	}
	os.Exit(m.Run())
}

// again runs one test of this binary in a process of its own.
func again(t *testing.T, test string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", "^"+test+"$")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestMainKeepsTheDirectory(t *testing.T) {
	available(t)
	out, err := again(t, "TestKeptAcrossTests", kept+"=1")
	dir := regexp.MustCompile(`directory (\S+)`).FindStringSubmatch(out)
	if err != nil || dir == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(dir[1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Main leaves the token directory behind: %v", err)
	}
}

// TestKeptAcrossTests is a part of TestMainKeepsTheDirectory.
func TestKeptAcrossTests(t *testing.T) {
	if os.Getenv(kept) == "" {
		t.Skip("runs in a process of its own, from TestMainKeepsTheDirectory")
	}
	var k *softhsmtest.Token
	t.Run("token", func(t *testing.T) { k = softhsmtest.New(t) })
	if _, err := os.Stat(k.Conf); err != nil {
		t.Errorf("the directory did not outlive its last token: %v", err)
	}
	if _, err := os.Stat(k.PINFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the token outlived its test: %v", err)
	}
	fmt.Println("directory", k.Dir)
}

// Where SoftHSM2 is missing, tests say that they tested nothing, or fail.
func TestMissingSoftHSM(t *testing.T) {
	for _, c := range []struct {
		require string
		passes  bool
		says    string
	}{
		{"0", true, "SKIPPED, nothing was tested: the SoftHSM2 test tools are not installed"},
		{"1", false, "the SoftHSM2 test tools are not installed"},
	} {
		t.Run("REQUIRE_SOFTHSM="+c.require, func(t *testing.T) {
			out, err := again(t, "TestSignE", "SOFTHSM2_LIB=/nonexistent/libsofthsm2.so", "REQUIRE_SOFTHSM="+c.require)
			if (err == nil) != c.passes || !strings.Contains(out, c.says) {
				t.Errorf("passes: %v, want %v\n%s", err == nil, c.passes, out)
			}
		})
	}
}
