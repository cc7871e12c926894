package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 9, 1, 6}, 5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.of, got, c.want)
		}
	}
}

// TestRow takes ratios within rounds, not between medians.
func TestRow(t *testing.T) {
	token := &side{took: []sample{{rate: 100}, {rate: 200}, {rate: 400}}}
	x := &side{clients: 64, batch: 1, took: []sample{{rate: 90, p50: 1}, {rate: 100, p50: 3}, {rate: 100, p50: 2}}}
	r := x.row(token, 20_000)
	if r.TokenOps != 200 || r.ServiceOps != 100 || r.Ratio != 0.5 || r.P50 != 2 || r.Clients != 64 || r.Signature != 20_000 {
		t.Errorf("%+v", r)
	}
}

// TestLoad counts what completes, and lets a refusal end everything.
func TestLoad(t *testing.T) {
	var calls atomic.Int64
	l := load{workers: 3, ramp: time.Millisecond, span: 200 * time.Millisecond, pid: os.Getpid()}
	s, err := l.run(t.Context(), func(context.Context) (int, error) {
		calls.Add(1)
		return 2, nil
	})
	if err != nil || s.rate <= 0 || s.p99 < s.p50 || s.rss <= 0 || calls.Load() == 0 {
		t.Errorf("%+v after %d calls, %v", s, calls.Load(), err)
	}
	refused := errors.New("refused")
	if _, err := l.run(t.Context(), func(context.Context) (int, error) { return 0, refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if _, err := l.run(t.Context(), func(context.Context) (int, error) { return 0, nil }); err == nil {
		t.Error("a load that completed nothing has a rate")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := l.run(stopped, func(context.Context) (int, error) { return 1, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	l.pid = 1 << 30
	if _, err := l.run(t.Context(), func(context.Context) (int, error) { return 1, nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestCeiling opens a real token by a daemon's configuration, signs on it and leaves nothing behind.
func TestCeiling(t *testing.T) {
	k := softhsmtest.New(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "seald.yaml")
	text := "mode: demo\nstore:\n  path: store.db\ntoken:\n  module: " + k.Module + "\n  profile: softhsm2-sm2\n  label: " + k.Label + "\n  pin_file: " + k.PINFile + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := tokenFlags{config: config}
	c, err := f.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := load{workers: 4, ramp: time.Millisecond, span: 300 * time.Millisecond}.run(t.Context(), c.sign)
	if err != nil || s.rate <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
	objects, err := c.token.Objects(t.Context())
	if err != nil || len(objects) == 0 || !strings.HasPrefix(objects[0].Label, "bench-") {
		t.Errorf("%v, %v", objects, err)
	}
	if err := c.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err = f.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.close(context.WithoutCancel(t.Context()))
	for _, o := range must(c.token.Objects(t.Context()))(t) {
		if o.ID != c.key {
			t.Errorf("left behind: %+v", o)
		}
	}
}

func must(objects []hsm.Object, err error) func(t *testing.T) []hsm.Object {
	return func(t *testing.T) []hsm.Object {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
}

func TestTokenFlags(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "seald.yaml")
	if err := os.WriteFile(config, []byte("store: {path: state/s.db}\ntoken: {module: lib/m.so, profile: p, label: l, pin_file: /run/pin, sessions: 8}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := (&tokenFlags{config: config, tokenSection: tokenSection{Label: "mine"}}).resolve()
	want := tokenSection{Module: filepath.Join(dir, "lib/m.so"), Profile: "p", Label: "mine", PINFile: "/run/pin", LatchFile: filepath.Join(dir, "state/pin-latch.json"), Sessions: 8}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = (&tokenFlags{tokenSection: tokenSection{Module: "m", PINFile: "/etc/pin"}}).resolve()
	if err != nil || got.LatchFile != "/etc/pin-latch.json" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := (&tokenFlags{config: "missing.yaml"}).resolve(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(config, []byte("token: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&tokenFlags{config: config}).resolve(); err == nil {
		t.Error("broken YAML was taken")
	}
}
