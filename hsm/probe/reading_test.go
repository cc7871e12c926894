package probe

import (
	"crypto/rand"
	"slices"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

// signed is a signature of a software key whose r has its top bit set, so that DER needs a sign byte.
func signed(t testing.TB, e func(p *pair) [32]byte) (*pair, [64]byte) {
	t.Helper()
	k, err := softkey.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{key: k.Public()}
	for {
		raw, err := k.SignE(e(p))
		if err != nil {
			t.Fatal(err)
		}
		if raw[0]&0x80 != 0 {
			return p, raw
		}
	}
}

// TestMatch reads one signature in every form, under every hypothesis of what was signed.
func TestMatch(t *testing.T) {
	in, id := make([]byte, 32), []byte("示例身份")
	rand.Read(in)
	for input, e := range map[string]func(p *pair) [32]byte{
		firmware.InputE32:      func(*pair) [32]byte { return [32]byte(in) },
		firmware.InputNoZ:      func(*pair) [32]byte { return gm.SM3(in) },
		firmware.InputZDefault: func(p *pair) [32]byte { return p.key.E(in) },
		firmware.InputZParam: func(p *pair) [32]byte {
			z, err := p.key.ZOf(id)
			if err != nil {
				t.Fatal(err)
			}
			return gm.SM3(z[:], in)
		},
		"": func(*pair) [32]byte { return gm.SM3(in, in) },
	} {
		p, raw := signed(t, e)
		der, err := gm.EncodeSignature(raw[:])
		if err != nil {
			t.Fatal(err)
		}
		// The sign byte of r is dropped, and both lengths with it.
		broken := slices.Concat([]byte{der[0], der[1] - 1, der[2], der[3] - 1}, der[5:])
		wide := make([]byte, 128)
		copy(wide[32:], raw[:32])
		copy(wide[96:], raw[32:])
		le := little(raw[:])
		for form, sig := range map[string][]byte{firmware.OutputRaw64: raw[:], FormLittle: le[:], firmware.OutputRaw128: wide, firmware.OutputDER: der, firmware.OutputBroken: broken} {
			inputs, got := p.match(sig, p.hypotheses(in, id))
			if input == "" {
				if len(inputs) != 0 {
					t.Errorf("%s: something else was signed, and %q explains it", form, inputs)
				}
				continue
			}
			if !slices.Equal(inputs, []string{input}) || got != form {
				t.Errorf("%s in %s: read as %q in %q", input, form, inputs, got)
			}
			sig = slices.Clone(sig)
			sig[len(sig)-1] ^= 1
			if inputs, _ := p.match(sig, p.hypotheses(in, id)); len(inputs) != 0 {
				t.Errorf("%s in %s: a changed signature is explained by %q", input, form, inputs)
			}
		}
	}
}

// FuzzReadings: whatever a device answers is read without a fault, in few forms, each of them 64 bytes that say the same again.
func FuzzReadings(f *testing.F) {
	p, raw := signed(f, func(p *pair) [32]byte { return p.key.Z() })
	der, err := gm.EncodeSignature(raw[:])
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, raw[:], der, make([]byte, 64), make([]byte, 128), {0x30, 0}, {0x30, 6, 2, 1, 0xff, 2, 1, 0x80}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		all := readings(sig)
		if len(all) > 3 {
			t.Errorf("%d forms", len(all))
		}
		for _, r := range all {
			if r.form == firmware.OutputDER {
				if again, err := gm.EncodeSignature(r.raw[:]); err != nil || !slices.Equal(again, sig) {
					t.Errorf("strict DER that is not: %x, %v", sig, err)
				}
			}
		}
		p.match(sig, p.hypotheses(sig, sig))
	})
}
