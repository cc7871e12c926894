package probe_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/probe"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

func profiles(t testing.TB) *firmware.Set {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func config(t testing.TB, k *softhsmtest.Token) hsm.Config {
	t.Helper()
	return hsm.Config{Module: k.Module, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")}
}

// measure probes a token and returns the findings with the profile that they make.
func measure(t testing.TB, cfg hsm.Config, o probe.Options) (*probe.Findings, *firmware.Profile) {
	t.Helper()
	o.Set = profiles(t)
	f, err := probe.Run(t.Context(), cfg, o)
	if err != nil {
		t.Fatalf("%v\n%+v", err, f)
	}
	p, text, err := f.Profile()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%s", text)
	for _, n := range f.Notes {
		t.Log("note:", n)
	}
	for _, x := range f.Trials {
		if x.Outcome != "good" {
			t.Errorf("trial of %s: %s", x.Algorithm, x.Outcome)
		}
	}
	if len(f.Left) != 0 {
		t.Errorf("left in the token: %v", f.Left)
	}
	return f, p
}

// empty makes sure that the probe left nothing in the token.
func empty(t testing.TB, k *softhsmtest.Token, p *firmware.Profile) {
	t.Helper()
	cfg := config(t, k)
	cfg.Profile = p
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if objects, err := m.Objects(t.Context()); err != nil || len(objects) != 0 {
		t.Errorf("left behind: %+v, %v", objects, err)
	}
}

func TestSM2Module(t *testing.T) {
	k := softhsmtest.New(t)
	var steps int
	f, p := measure(t, config(t, k), probe.Options{Span: 50 * time.Millisecond, Progress: func(string, int, int) { steps++ }})
	if !f.Simulated || p.Evidence.Level != firmware.Simulated || f.Shipped != "softhsm2-sm2" || steps == 0 {
		t.Errorf("evidence %q, shipped %q, %d steps", p.Evidence.Level, f.Shipped, steps)
	}
	if d := f.Differences(p); len(d) != 0 {
		t.Errorf("differs from the profile that drives the module: %+v", d)
	}
	want := map[firmware.Number][2]string{0x80008105: {"e32", "raw64"}, 0x80008100: {"hash-z-param", "raw64"}}
	for _, s := range f.SM2.Sign {
		if got := [2]string{s.Input, s.Output}; got != want[s.Mechanism] || s.Wrong != 0 || s.Signatures != probe.Enough {
			t.Errorf("%s: %+v", s.Mechanism, s)
		}
		delete(want, s.Mechanism)
	}
	if len(want) != 0 {
		t.Errorf("not found: %v", want)
	}
	if f.SM2.Point.Form != firmware.PointDEROctet || f.SM2.Point.OnPrivate {
		t.Errorf("point: %+v", f.SM2.Point)
	}
	if w := map[string]string{"sm2": "aes-kwp", "ecdsa": "aes-kwp", "rsa": "aes-kwp", "kek": "rsa-oaep-sha1"}; !reflect.DeepEqual(p.Wrap, w) {
		t.Errorf("wrapping: %v\n%+v", p.Wrap, f.Wrapping)
	}
	if f.Sessions.Open != 64 || f.Find.Max != 100 || len(f.Rates) == 0 || len(f.Trials) != 7 {
		t.Errorf("sessions %+v, find %+v, rates %v, trials %v", f.Sessions, f.Find, f.Rates, f.Trials)
	}
	empty(t, k, p)
}

func TestPlainSoftHSM2(t *testing.T) {
	k := softhsmtest.New(t, softhsmtest.Plain())
	f, p := measure(t, config(t, k), probe.Options{})
	if f.SM2 != nil || p.SM2 != nil {
		t.Errorf("SM2 was found where there is none: %+v", f.SM2)
	}
	if d := f.Differences(p); len(d) != 0 || f.Shipped != "softhsm2" {
		t.Errorf("differs from %q: %+v", f.Shipped, d)
	}
	empty(t, k, p)
}

func softhsm2sm2(t testing.TB) *firmware.Profile {
	t.Helper()
	p, err := profiles(t).Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	return p
}
