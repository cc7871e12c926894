package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// TestRows takes ratios within rounds, not between medians, and lets a mechanism that no service uses stand alone.
func TestRows(t *testing.T) {
	token := &side{mechanism: hsm.SM2, clients: 4, took: []sample{{rate: 100}, {rate: 200}, {rate: 400}}}
	x := &side{mechanism: hsm.SM2, kind: "digest", clients: 64, batch: 1, signature: 20_000, took: []sample{{rate: 90, p50: 1}, {rate: 100, p50: 3}, {rate: 100, p50: 2}}}
	c := curves{{mechanism: hsm.SM2, token: true, Dots: []dot{{1, 50, 9}, {4, 190, 9}, {8, 180, 9}}}, {mechanism: hsm.RSA2048, token: true, Dots: []dot{{1, 10, 80}, {2, 20, 90}}}}
	chance := &side{mechanism: hsm.SM2, clients: 1, took: []sample{{rate: 400}, {rate: 90}, {rate: 80}}} // best once, not in the median
	all := rows([]*side{chance, token}, []*side{x}, c)
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	if r := all[0]; r.TokenOps != 200 || *r.ServiceOps != 100 || *r.Ratio != 0.5 || *r.P50 != 2 || r.Clients != 64 || r.Sessions != 4 || r.CPU != nil || len(r.BySessions) != 3 {
		t.Errorf("%+v", r)
	}
	if r := all[1]; r.Mechanism != "rsa-2048" || r.TokenOps != 20 || r.Sessions != 2 || r.ServiceOps != nil || r.Ratio != nil {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(all)
	if err != nil || strings.Count(string(text), `"ratio":null`) != 1 {
		t.Errorf("%s, %v", text, err)
	}
	var table strings.Builder
	result{all, c}.show(&table)
	for _, want := range []string{"50 %", "rsa-2048", strings.Repeat("█", 40) + "\t4\t190", strings.Repeat("█", 10) + "\t1\t50"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, table.String())
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct {
		best, pool, processors int
		want                   []int
	}{{1, 9, 2, []int{1, 4, 9}}, {9, 9, 2, []int{4, 9}}, {3, 3, 2, []int{3}}, {1, 1, 8, []int{1}}} {
		if got := candidates(c.best, c.pool, c.processors); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestPlot draws what is well-formed, one line for each curve, the higher rate higher up.
func TestPlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rate.svg")
	c := curves{{token: true, Name: "sm2 token", Dots: []dot{{1, 100, 0}, {2, 200, 0}}}, {Name: "<&> service", Dots: []dot{{64, 50, 0}}}}
	if err := writePlot(file, c); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var svg struct {
		Lines []struct {
			Points string `xml:"points,attr"`
		} `xml:"polyline"`
		Dots []struct {
			X float64 `xml:"cx,attr"`
			Y float64 `xml:"cy,attr"`
		} `xml:"circle"`
		Texts []string `xml:"text"`
	}
	if err := xml.Unmarshal(b, &svg); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if len(svg.Lines) != 2 || len(svg.Dots) != 3 || svg.Dots[1].Y >= svg.Dots[0].Y || svg.Dots[1].X <= svg.Dots[0].X || svg.Dots[2].X <= svg.Dots[1].X || !slices.Contains(svg.Texts, "<&> service") {
		t.Errorf("%+v", svg)
	}
	if err := writePlot(filepath.Join(file, "under a file"), c); err == nil {
		t.Error("a drawing that cannot be written was written")
	}
}

func TestLadder(t *testing.T) {
	for _, c := range []struct {
		most, factor int
		want         []int
	}{{1, 2, []int{1}}, {16, 2, []int{1, 2, 4, 8, 16}}, {12, 2, []int{1, 2, 4, 8, 12}}, {64, 4, []int{1, 4, 16, 64}}} {
		if got := ladder(c.most, c.factor); !slices.Equal(got, c.want) {
			t.Errorf("to %d by %d: %v", c.most, c.factor, got)
		}
	}
}

func TestKinds(t *testing.T) {
	for kind, want := range map[string]hsm.Algorithm{"digest": hsm.SM2, "cms": hsm.SM2, "cms:pades": hsm.ECDSAP256, "cms:rfc": hsm.ECDSAP256} {
		if got := mechanismOf(kind); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
	b := benchmark{kinds: []string{"digest", "ofd"}, clients: 1, batchClients: 1, batch: 1, rounds: 1, span: time.Second}
	if err := b.check(); err == nil || !strings.Contains(err.Error(), `"ofd"`) {
		t.Errorf("%v", err)
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
	if got := c.mechanisms(); !slices.Equal(got, benched) || c.sessions < 2 {
		t.Errorf("%v over %d sessions", got, c.sessions)
	}
	bench := &benchmark{span: 300 * time.Millisecond}
	curves, err := bench.curves(t.Context(), c, nil, io.Discard)
	if err != nil || len(curves) != len(benched) || len(curves[0].Dots) != len(ladder(c.sessions, 2)) || curves[0].Dots[0].Ops <= 0 || curves.best(hsm.SM2) < 1 {
		t.Errorf("%+v, %v", curves, err)
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
		if !slices.ContainsFunc(slices.Collect(maps.Values(c.keys)), func(r hsm.SignRequest) bool { return r.Key == o.ID }) {
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

// TestCeilingOfAnotherToken: a token that the configuration does not know gets no PIN of one that it knows.
func TestCeilingOfAnotherToken(t *testing.T) {
	k, other := softhsmtest.New(t), softhsmtest.New(t)
	config := filepath.Join(t.TempDir(), "seald.yaml")
	text := "store: {path: store.db}\ntoken: {module: " + k.Module + ", profile: auto, serial: " + k.Serial + ", pin_file: " + k.PINFile + "}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger := tokenFlags{config: config, tokenSection: tokenSection{Serial: other.Serial, Profile: "softhsm2-sm2"}}
	if c, err := stranger.open(t.Context()); err == nil {
		t.Error("opened with another token's PIN", c.close(t.Context()))
	} else if !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("%v", err)
	}
	known := tokenFlags{config: config}
	c, err := known.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(t.Context()); err != nil {
		t.Error(err)
	}
}
