package authority_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sealkeeper/connector/authority"
)

// TestCodes: the embedded table reads; one that cannot say yes, or says what there is not, is refused before anything is asked.
func TestCodes(t *testing.T) {
	if _, err := authority.LoadCodes(""); err != nil {
		t.Error(err)
	}
	if _, err := authority.LoadCodes(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for name, text := range map[string]string{
		"unknown key":       "colours: {}\n",
		"unknown state":     "requests: {ok: maybe}\nrevocations: {ok: done}\nreasons: {other: '5'}\n",
		"unknown ending":    "requests: {ok: issued}\nrevocations: {ok: perhaps}\nreasons: {other: '5'}\n",
		"nothing is issued": "requests: {no: refused}\nrevocations: {ok: done}\nreasons: {other: '5'}\n",
		"nothing is done":   "requests: {ok: issued}\nrevocations: {no: refused}\nreasons: {other: '5'}\n",
		"no other reason":   "requests: {ok: issued}\nrevocations: {ok: done}\nreasons: {remade: '4'}\n",
	} {
		path := filepath.Join(t.TempDir(), "codes.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := authority.LoadCodes(path); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
