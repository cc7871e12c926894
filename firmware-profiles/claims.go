package firmware

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// Usable reports whether the profile can stand for a device: it is no base, and it misses nothing.
func (p *Profile) Usable() bool { return !p.Abstract && len(p.Missing) == 0 }

// Refusal says why the profile cannot be used, ErrAbstract or ErrIncomplete; nil when it can.
func (p *Profile) Refusal() error {
	switch {
	case p.Abstract:
		return fmt.Errorf("%q: %w", p.ID, ErrAbstract)
	case len(p.Missing) > 0:
		return fmt.Errorf("%q: %w: the vendor must supply, or sealctl token probe must measure: %s", p.ID, ErrIncomplete,
			strings.Join(p.Missing, "; "))
	}
	return nil
}

// checkMissing: what is not complete must not look as if it could sign.
func (p *Profile) checkMissing() error {
	for _, m := range p.Missing {
		if strings.TrimSpace(m) == "" {
			return invalid("missing has an empty entry")
		}
	}
	if len(p.Missing) > 0 && (p.Abstract || p.SM2 != nil && p.SM2.Use != "") {
		return invalid("missing belongs to a profile that is no base and has no sm2.use")
	}
	return nil
}

// checkSources holds law 9: every vendor number names its source, and so does, in a profile that rests on documents, every claim of what a
// mechanism does. Nothing else is listed there.
func (p *Profile) checkSources() error {
	numbers, claims := p.numbers(), p.claims()
	for _, path := range sorted(numbers) {
		if err := p.checkSource("number", path); err != nil {
			return err
		}
	}
	for _, path := range sorted(claims) {
		if _, given := p.Sources[path]; !given && !p.restsOnDocuments() {
			continue // the device or the test module itself is the source
		}
		if err := p.checkSource("claim", path); err != nil {
			return err
		}
	}
	if err := p.checkGuesses(); err != nil {
		return err
	}
	for path := range p.Sources {
		if _, number := numbers[path]; !number && !claims[path] {
			return invalid("sources.%s speaks of nothing here", path)
		}
	}
	return nil
}

// checkGuesses: what the appliance signs with is not a guess unless the whole profile says that it is one.
func (p *Profile) checkGuesses() error {
	if p.SM2 == nil || p.SM2.Use == "" || p.Evidence.Level == Guessed {
		return nil
	}
	at := "sm2.sign." + p.SM2.Use + "."
	for _, path := range []string{at + "mechanism", at + "input", at + "sig", "sm2.keygen.mechanism", "sm2.key_type"} {
		if p.Sources[path].Level == Guessed {
			return invalid("%s is guessed, so evidence.level must be %s", path, Guessed)
		}
	}
	return nil
}

func (p *Profile) checkSource(kind, path string) error {
	s, ok := p.Sources[path]
	if !ok || strings.TrimSpace(s.Source) == "" {
		return invalid("%s %s has no source", kind, path)
	}
	return oneOf("sources."+path+".level", string(s.Level), levels)
}

func (p *Profile) restsOnDocuments() bool {
	return p.Evidence.Level == Documented || p.Evidence.Level == Guessed
}

// claims are the dotted paths of what the profile asserts about mechanisms, beyond their numbers.
func (p *Profile) claims() map[string]bool {
	c := map[string]bool{}
	if p.Match.named() {
		c["match"] = true
	}
	for algorithm, mechanism := range p.Wrap {
		if mechanism != "none" {
			c["wrap."+algorithm] = true
		}
	}
	if p.SM2 == nil {
		return c
	}
	for name, m := range p.SM2.Sign {
		if m.Input != "" {
			c["sm2.sign."+name+".input"] = true
		}
		if m.Output != "" {
			c["sm2.sign."+name+".sig"] = true
		}
	}
	if p.SM2.KeyGen.ECParams != "" {
		c["sm2.keygen.ec_params"] = true
	}
	if len(p.SM2.ECPoint.Forms) > 0 {
		c["sm2.ecpoint.forms"] = true
	}
	return c
}

// numbers are all vendor numbers that are set, by their dotted paths.
func (p *Profile) numbers() map[string]Number {
	n := map[string]Number{}
	walkNumbers(reflect.ValueOf(*p), "", n)
	return n
}

func walkNumbers(v reflect.Value, path string, out map[string]Number) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkNumbers(v.Elem(), path, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			walkNumbers(v.Field(i), strings.TrimPrefix(path+"."+name, "."), out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			walkNumbers(it.Value(), path+"."+it.Key().String(), out)
		}
	case reflect.Uint32:
		if v.Type() == reflect.TypeFor[Number]() && v.Uint() != 0 {
			out[path] = Number(v.Uint())
		}
	}
}

func sorted[V any](set map[string]V) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
