package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

const oneType = `types:
  - {type: 11100000YYY00AMR1B001, title: 食品经营许可证（示例）, department: 示例市市场监督管理局, issuers: [11410300YYY00AMR13]}
`

// TestCatalogueIsReadAgain: a change counts at once, a fault changes nothing, and at the start a fault stops it.
func TestCatalogueIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalogue.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openCatalogue(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started without the file")
	}
	write("kinds: []\n")
	if _, err := openCatalogue(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started with an unknown key")
	}
	write("types: []\n")
	f, err := openCatalogue(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text string
		want int
	}{{"types: []\n", 0}, {oneType, 1}, {oneType + "x: 1\n", 1}, {"types: [] # again\n", 0}} {
		write(step.text)
		if got := len(f.now().Types()); got != step.want {
			t.Errorf("%q: %d types, want %d", step.text, got, step.want)
		}
	}
	if none, err := openCatalogue("", slog.New(slog.DiscardHandler)); err != nil || len(none.now().Types()) != 0 {
		t.Errorf("without a file: %v", err)
	}
}
