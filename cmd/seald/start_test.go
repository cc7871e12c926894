package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore/store"
)

// TestStartThatFails: a start that cannot be names what is missing and leaves nothing open, whichever floor it got to.
func TestStartThatFails(t *testing.T) {
	dir := t.TempDir()
	cfg := &Config{Mode: "demo", Division: "410300", Store: StoreConfig{Path: filepath.Join(dir, "sealkeeper.db")}, Anchor: "token",
		Token: TokenConfig{Module: filepath.Join(dir, "none.so"), Profile: "softhsm2-sm2", Label: "none", PINFile: filepath.Join(dir, "pin")}}
	cfg.defaults()
	log := slog.New(slog.DiscardHandler)
	if _, err := build(t.Context(), cfg, log); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sealkeeper.db") {
		t.Errorf("without a store: %v", err)
	}
	if _, err := os.Stat(cfg.Store.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a start made a store: %v", err)
	}
	made, err := store.Open(store.Config{Path: cfg.Store.Path, Create: true, Collections: collections(), Now: time.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time shows that the first let go of the file
		if _, err := build(t.Context(), cfg, log); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "none.so") {
			t.Errorf("without a module: %v", err)
		}
	}
	cfg.Token.Profile = "unheard-of"
	if _, err := build(t.Context(), cfg, log); err == nil || !strings.Contains(err.Error(), "unheard-of") {
		t.Errorf("without a profile: %v", err)
	}
}
