package probe

import (
	"bytes"
	"slices"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// Forms of a signature beside those of package firmware.
const (
	FormLittle = "raw64-le"   // r and s little-endian
	FormNone   = "unreadable" // verifies in no form
)

// reading is a signature under one form.
type reading struct {
	form string
	raw  [64]byte
}

// readings is every form that the bytes could have.
func readings(sig []byte) []reading {
	var all []reading
	switch len(sig) {
	case 64:
		all = append(all, reading{firmware.OutputRaw64, [64]byte(sig)}, reading{FormLittle, little(sig)})
	case 128:
		if empty := make([]byte, 32); bytes.Equal(sig[:32], empty) && bytes.Equal(sig[64:96], empty) {
			all = append(all, reading{firmware.OutputRaw128, [64]byte(slices.Concat(sig[32:64], sig[96:]))})
		}
	}
	if raw, err := gm.DecodeSignature(sig); err == nil {
		return append(all, reading{firmware.OutputDER, raw})
	}
	if raw, how, err := gm.DecodeLenient(sig); err == nil && how == gm.DeviationInteger {
		all = append(all, reading{firmware.OutputBroken, raw})
	}
	return all
}

func little(sig []byte) [64]byte {
	b := [64]byte(sig)
	slices.Reverse(b[:32])
	slices.Reverse(b[32:])
	return b
}

// hypothesis is what a token may have taken for e.
type hypothesis struct {
	input string
	e     [32]byte
}

// hypotheses of an input; param is the user ID that went with it, nil for none.
func (p *pair) hypotheses(in, param []byte) []hypothesis {
	z := p.key.Z()
	all := []hypothesis{{firmware.InputNoZ, gm.SM3(in)}, {firmware.InputZDefault, gm.SM3(z[:], in)}}
	if len(in) == 32 {
		all = append(all, hypothesis{firmware.InputE32, [32]byte(in)})
	}
	if param != nil {
		if z, err := p.key.ZOf(param); err == nil {
			all = append(all, hypothesis{firmware.InputZParam, gm.SM3(z[:], in)})
		}
	}
	return all
}

// match returns which hypotheses and forms a signature verifies under: none, or one, unless the token is very odd.
func (p *pair) match(sig []byte, all []hypothesis) (inputs []string, form string) {
	for _, h := range all {
		for _, r := range readings(sig) {
			if p.key.VerifyE(h.e, r.raw) == nil && !slices.Contains(inputs, h.input) {
				inputs, form = append(inputs, h.input), r.form
			}
		}
	}
	return inputs, form
}

// only is the one hypothesis that a mechanism is known to follow.
func (p *pair) only(input string, in, param []byte) []hypothesis {
	for _, h := range p.hypotheses(in, param) {
		if h.input == input {
			return []hypothesis{h}
		}
	}
	return nil
}
