package probe_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/probe"
	"sealkeeper/softhsm-test/simulator"
)

// TestSimulatedDevices probes a simulator of every shipped profile: what is measured must be what drives the simulator.
func TestSimulatedDevices(t *testing.T) {
	set := profiles(t)
	seen := 0
	for _, id := range set.IDs() {
		p, err := set.Profile(id)
		if errors.Is(err, firmware.ErrAbstract) || errors.Is(err, firmware.ErrIncomplete) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.SM2 == nil {
			continue
		}
		seen++
		t.Run(id, func(t *testing.T) {
			k := simulator.New(t, p)
			f, got := measure(t, config(t, k), probe.Options{Against: id, Signatures: 100})
			for _, d := range f.Differences(got) {
				if d.Meaning != "new" {
					t.Errorf("%+v", d)
				}
			}
			if got.Evidence.Level != firmware.Simulated {
				t.Errorf("evidence %s", got.Evidence.Level)
			}
			empty(t, k, got)
		})
	}
	if seen < 8 {
		t.Errorf("only %d profiles have SM2", seen)
	}
}

// TestUnknownDevice probes simulators of devices that no shipped profile fits by name: their ways are found without a hint.
func TestUnknownDevice(t *testing.T) {
	for _, id := range []string{"sansec", "tass", "westone-c"} {
		t.Run(id, func(t *testing.T) {
			set := profiles(t)
			shipped, err := set.Profile(id)
			if err != nil {
				t.Fatal(err)
			}
			p := *shipped
			p.ID = "nobody-knows" // the simulator's file is named after it
			p.Match = firmware.Match{LibraryDescription: []string{"device"}}
			f, got := measure(t, config(t, simulator.New(t, &p)), probe.Options{Signatures: 100})
			if f.Shipped != "" {
				t.Fatalf("it fits %s", f.Shipped)
			}
			if want, have := ways(&p), ways(got); !maps.Equal(want, have) {
				t.Errorf("measured %v, want %v", have, want)
			}
			a, b := p.SM2, got.SM2
			if a.KeyType != b.KeyType || a.KeyGen != b.KeyGen || a.ECPoint.Forms[0] != b.ECPoint.Forms[0] || a.ECPoint.X != b.ECPoint.X || a.ValueAttribute != b.ValueAttribute {
				t.Errorf("measured %+v, want %+v", b, a)
			}
		})
	}
}

// ways are what is known of each signing mechanism.
func ways(p *firmware.Profile) map[firmware.Number][2]string {
	out := map[firmware.Number][2]string{}
	for _, m := range p.SM2.Sign {
		if m.Input != "" {
			out[m.Mechanism] = [2]string{m.Input, m.Output}
		}
	}
	return out
}

// TestBrokenDER meets the firmware that drops sign bytes in the many signatures, not in the first.
func TestBrokenDER(t *testing.T) {
	p, err := profiles(t).Profile("sansec")
	if err != nil {
		t.Fatal(err)
	}
	f, got := measure(t, config(t, simulator.New(t, p)), probe.Options{Signatures: 100})
	i := slices.IndexFunc(f.SM2.Sign, func(s probe.Sign) bool { return s.Mechanism == 0x80008104 })
	if i < 0 || f.SM2.Sign[i].Output != firmware.OutputBroken || f.SM2.Sign[i].Forms[firmware.OutputBroken] == 0 || f.SM2.Sign[i].Forms[firmware.OutputDER] == 0 || f.SM2.Sign[i].Wrong != 0 {
		t.Errorf("%+v", f.SM2.Sign)
	}
	if got.SM2.Use != "e-raw" {
		t.Errorf("signs with %s", got.SM2.Use)
	}
}

// TestHashingDevice: a device that signs no finished e is found out, and the appliance signs on it all the same.
func TestHashingDevice(t *testing.T) {
	shipped, err := profiles(t).Profile("sansec")
	if err != nil {
		t.Fatal(err)
	}
	p, sm2 := *shipped, *shipped.SM2
	p.ID, p.Match, p.SM2 = "nobody-knows", firmware.Match{LibraryDescription: []string{"device"}}, &sm2
	sm2.Sign, sm2.Use = map[string]firmware.SignMechanism{"sm3": {Mechanism: 0x80008101, Input: firmware.InputNoZ, Output: firmware.OutputBroken}}, "sm3"
	f, got := measure(t, config(t, simulator.New(t, &p)), probe.Options{Signatures: 100, Span: 20 * time.Millisecond})
	if w := ways(got); len(w) != 1 || w[0x80008101] != [2]string{firmware.InputNoZ, firmware.OutputBroken} || got.SM2.Use != "sm3-der" {
		t.Errorf("%v, signs with %s", w, got.SM2.Use)
	}
	if len(f.Trials) != 1 || len(f.Rates) == 0 {
		t.Errorf("%+v, %+v", f.Trials, f.Rates)
	}
}

// TestDeviceIsNotAsDocumented: a device whose mechanism does something else than its profile says is found out.
func TestDeviceIsNotAsDocumented(t *testing.T) {
	shipped, err := profiles(t).Profile("tass")
	if err != nil {
		t.Fatal(err)
	}
	p, sm2 := *shipped, *shipped.SM2
	p.SM2 = &sm2
	sm2.Sign = maps.Clone(sm2.Sign)
	sm2.Sign["sm3"] = firmware.SignMechanism{Mechanism: 0x80008100, Input: firmware.InputNoZ, Output: firmware.OutputRaw64}
	f, got := measure(t, config(t, simulator.New(t, &p, "unreadable 0x163", "refused 0x170", "refused 0x171")), probe.Options{Signatures: 100})
	found := map[string]string{}
	for _, d := range f.Differences(got) {
		found[d.Path] = d.Measured
	}
	want := map[string]string{"sm2.sign.sm3.input": "hash-noz", "sm2.sign.sm3.sig": "raw64", "attributes.unreadable_ok": "CKA_LOCAL",
		"attributes.omit": "CKA_MODIFIABLE, CKA_COPYABLE"}
	for path, v := range want {
		if found[path] != v {
			t.Errorf("%s: found %q, want %q in %v", path, found[path], v, found)
		}
	}
}
