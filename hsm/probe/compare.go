package probe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	firmware "sealkeeper/firmware-profiles"
)

// Difference is a place where the measured profile and the shipped one do not say the same.
type Difference struct {
	Path     string `json:"path"`
	Shipped  string `json:"shipped,omitempty"`
	Measured string `json:"measured,omitempty"`
	Meaning  string `json:"meaning"` // contradicts, not confirmed, new
}

// Differences holds the measured profile against the shipped one that fits; nil when none does.
func (f *Findings) Differences(measured *firmware.Profile) []Difference {
	if f.shipped == nil {
		return nil
	}
	return Compare(f.shipped, measured)
}

// Compare lists what two profiles say differently of a token's behaviour. What a profile is and rests on is no behaviour.
func Compare(shipped, measured *firmware.Profile) []Difference {
	a, b := flat(shipped), flat(measured)
	all := []Difference{}
	for path, was := range a {
		switch is, both := b[path]; {
		case !both:
			all = append(all, Difference{path, was, "", "not confirmed"})
		case strings.HasSuffix(path, "ecpoint.forms") && slices.Contains(strings.Split(was, ", "), is):
			// a profile lists what it accepts, a device has one way
		case is != was:
			all = append(all, Difference{path, was, is, "contradicts"})
		}
	}
	for path, is := range b {
		if _, both := a[path]; !both {
			all = append(all, Difference{path, "", is, "new"})
		}
	}
	slices.SortFunc(all, func(x, y Difference) int { return strings.Compare(x.Path, y.Path) })
	return all
}

// aside is what comparing leaves out: what no behaviour is, and what is not measured.
var aside = []string{"schema", "id", "title", "inherits", "abstract", "evidence", "sources", "match", "missing", "login", "quirks", "sm3", "sm4"}

// numbers are the last words of paths that hold a vendor's number.
var numbers = []string{"mechanism", "key_type", "bits_attribute", "value_attribute", "x", "y", "digest", "keygen", "ecb", "cbc"}

// flat writes a profile as dotted paths. Numbers of signing mechanisms that no profile says how to use stay out.
func flat(p *firmware.Profile) map[string]string {
	var tree map[string]any
	if err := json.Unmarshal(p.Canonical(), &tree); err != nil {
		panic("firmware profile: " + err.Error()) // Canonical is JSON
	}
	for _, key := range aside {
		delete(tree, key)
	}
	out := map[string]string{}
	walk("", tree, out)
	if p.SM2 != nil {
		for name, m := range p.SM2.Sign {
			if m.Input == "" {
				delete(out, "sm2.sign."+name+".mechanism")
			}
		}
	}
	return out
}

func walk(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			walk(strings.TrimPrefix(path+"."+key, "."), child, out)
		}
	case []any:
		var words []string
		for _, w := range v {
			words = append(words, fmt.Sprint(w))
		}
		out[path] = strings.Join(words, ", ")
	case float64:
		out[path] = fmt.Sprintf("%.0f", v)
		if slices.Contains(numbers, path[strings.LastIndex(path, ".")+1:]) {
			out[path] = firmware.Number(v).String()
		}
	case nil:
	default:
		out[path] = fmt.Sprint(v)
	}
}
