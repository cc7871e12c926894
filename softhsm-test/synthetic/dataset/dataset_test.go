package dataset_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/synthetic/dataset"
)

func write(t testing.TB, c dataset.Config) (string, dataset.Summary) {
	t.Helper()
	c.Dir = filepath.Join(t.TempDir(), "data")
	sum, err := dataset.Write(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return c.Dir, sum
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameSeedSameBytes: twice the same, another seed another; and the tiny set is what it was when it was written down here.
func TestSameSeedSameBytes(t *testing.T) {
	one, _ := write(t, dataset.Config{Size: dataset.Size{Enterprises: 20, DPI: 150}, Seed: "1"})
	two, _ := write(t, dataset.Config{Size: dataset.Size{Enterprises: 20, DPI: 150}, Seed: "1"})
	other, _ := write(t, dataset.Config{Size: dataset.Size{Enterprises: 20}, Seed: "2"})
	for _, name := range []string{"licences.jsonl", "filings.jsonl", "filings-late.jsonl", "expected.jsonl", "summary.json", "registration.pin", "public-security.pin"} {
		if !bytes.Equal(read(t, one, name), read(t, two, name)) {
			t.Errorf("%s differs from one time to the next", name)
		}
	}
	if bytes.Equal(read(t, one, "licences.jsonl"), read(t, other, "licences.jsonl")) {
		t.Error("another seed gives the same city")
	}
	sum := sha256.Sum256(read(t, one, "licences.jsonl"))
	const golden = "136714d54c8ae1742dd10bd05b669e75c000b59935f36bccc2f89a7ff83a6e17"
	if got := hex.EncodeToString(sum[:]); got != golden {
		t.Errorf("licences.jsonl of the tiny set has SHA-256 %s, was %s", got, golden)
	}
}

// TestNobodyTakesItForReal: every enterprise in every line is marked.
func TestNobodyTakesItForReal(t *testing.T) {
	dir, sum := write(t, dataset.Config{Size: dataset.Size{Enterprises: 2000}, Seed: "marks"})
	if sum.Defective == nil || sum.Statuses["active"] < 1700 || sum.Statuses["cancelled"] == 0 || sum.Changed["name"] == 0 || sum.Changed["legal_rep"] == 0 || sum.Changed["address"] == 0 {
		t.Errorf("no city's mixture: %+v", sum)
	}
	for s := bufio.NewScanner(bytes.NewReader(read(t, dir, "expected.jsonl"))); s.Scan(); {
		var e dataset.Expected
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if !licence.IsSynthetic(e.USCC) || !strings.Contains(e.Name, "示例") || !strings.Contains(e.LegalRep, "测") {
			t.Errorf("%+v could be real", e)
		}
	}
}

func TestNotIntoAFullDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Write(t.Context(), dataset.Config{Size: dataset.Size{Enterprises: 1}, Dir: dir}); !errors.Is(err, dataset.ErrNotEmpty) {
		t.Error(err)
	}
}

func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := dataset.Config{Size: dataset.Sizes["city"], Seed: "1", Dir: t.TempDir(), Progress: func(int) { stop() }}
	if _, err := dataset.Write(ctx, c); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestLibraryAgrees imports a set and holds the library against what was expected, enterprise by enterprise; a production library takes
// nothing of it.
func TestLibraryAgrees(t *testing.T) {
	dir, sum := write(t, dataset.Config{Size: dataset.Size{Enterprises: 2000}, Seed: "1"})
	key, err := softkey.FromSeed("sealkeeper demo registration 1")
	if err != nil {
		t.Fatal(err)
	}
	if pin := strings.TrimSpace(string(read(t, dir, "registration.pin"))); pin != hex.EncodeToString(key.Public().Point()) {
		t.Errorf("registration.pin is %s", pin)
	}
	lib := library(t, licence.Demo, key)
	lines := read(t, dir, "licences.jsonl")
	got, err := lib.Import(t.Context(), bytes.NewReader(lines), audit.Actor{Role: "operator-system", ID: "t"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Lines != sum.Events || got.Taken != sum.Taken || got.Repeated != sum.Repeated || got.Rejected != sum.Rejected || sum.Rejected == 0 || sum.Repeated == 0 {
		t.Errorf("imported %+v, expected %+v", got, sum)
	}
	for s := bufio.NewScanner(bytes.NewReader(read(t, dir, "expected.jsonl"))); s.Scan(); {
		var e dataset.Expected
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		l, _, err := lib.Current(t.Context(), e.USCC)
		if err != nil || l.Name != e.Name || l.LegalRep != e.LegalRep || string(l.Status) != e.Status || l.Version != e.Versions {
			t.Errorf("enterprise %d: %v, %+v, expected %+v", e.Ordinal, err, l, e)
		}
	}
	production := library(t, licence.Production, key)
	if got, err := production.Import(t.Context(), bytes.NewReader(lines), audit.Actor{Role: "operator-system", ID: "t"}, nil, nil); err != nil || got.Taken != 0 {
		t.Errorf("production took %+v, %v", got, err)
	}
}

func library(t *testing.T, mode licence.Mode, key *softkey.Key) *licence.Library {
	t.Helper()
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Collections: licence.Collections(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	lib, err := licence.New(st, licence.Config{Mode: mode, Pinned: []*gm.PublicKey{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// TestFilingsAreSigned: every filing opens under public security's key of the seed, and there is one of each defect.
func TestFilingsAreSigned(t *testing.T) {
	dir, sum := write(t, dataset.Config{Size: dataset.Size{Enterprises: 20, DPI: 150}, Seed: "1"})
	key, err := softkey.FromSeed("sealkeeper demo public-security 1")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range []string{"filings.jsonl", "filings-late.jsonl"} {
		for d := json.NewDecoder(bytes.NewReader(read(t, dir, name))); d.More(); n++ {
			var e envelope.Envelope
			var f map[string]any
			if err := d.Decode(&e); err != nil {
				t.Fatal(err)
			}
			if err := envelope.Open(e, "impression-filing/1", []*gm.PublicKey{key.Public()}, &f); err != nil {
				t.Error(err)
			}
		}
	}
	if n != sum.Filings+sum.Late || n == 0 || len(sum.Defective) < 5 {
		t.Errorf("%d filings, %+v", n, sum)
	}
}
