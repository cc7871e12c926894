package certificate

import (
	"errors"
	"strings"
	"testing"
)

// vectors are three identifiers of real certificates, and made-up ones.
var vectors = []string{
	"1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
	"1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9",
	"1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0",
	"1.2.156.3005.2.11100000YYY00AMR1B001.11410300YYY00AMR13.20260000000000000001.001.X",
	"1.2.156.3005.2.11100000YYY00AMR1B001.11410300YYY00AMR13.20260000000000000001.002.V",
	"1.2.156.3005.2.11100000YYY00AMR1B001.11410300YYY00AMR13.20260000000000000002.001.H",
}

func TestIdentifierVectors(t *testing.T) {
	if got := checkCharacter("A12"); got != 'N' {
		t.Errorf("check character of A12 is %c, want N", got)
	}
	for _, v := range vectors {
		id, err := ParseIdentifier(v)
		if err != nil {
			t.Errorf("%s: %v", v, err)
			continue
		}
		if id.String() != v {
			t.Errorf("%s reads as %s", v, id)
		}
		if series, err := ParseSeries(v); err != nil || series != id.Series() {
			t.Errorf("series of %s: %s, %v", v, series, err)
		}
		if series, err := ParseSeries(id.Series()); err != nil || series != id.Series() {
			t.Errorf("series %s again: %s, %v", id.Series(), series, err)
		}
	}
	first, err := ParseIdentifier(vectors[3])
	if err != nil || first.Next().String() != vectors[4] {
		t.Errorf("issued anew: %s, %v", first.Next(), err)
	}
}

// TestIdentifierCheckCatches changes every character into every other, and swaps neighbours.
func TestIdentifierCheckCatches(t *testing.T) {
	tried := 0
	for _, v := range vectors {
		for i := len(root); i < len(v); i++ {
			for _, c := range checkAlphabet {
				if v[i] == '.' || byte(c) == v[i] {
					continue
				}
				tried++
				if _, err := ParseIdentifier(v[:i] + string(c) + v[i+1:]); !errors.Is(err, ErrIdentifier) {
					t.Errorf("%s with %c at %d: %v", v, c, i, err)
				}
			}
			if i+1 < len(v) && v[i] != '.' && v[i+1] != '.' && v[i] != v[i+1] {
				tried++
				if _, err := ParseIdentifier(v[:i] + string([]byte{v[i+1], v[i]}) + v[i+2:]); !errors.Is(err, ErrIdentifier) {
					t.Errorf("%s with %d and %d swapped: %v", v, i, i+1, err)
				}
			}
		}
	}
	t.Logf("%d changes tried", tried)
}

func TestIdentifierFaults(t *testing.T) {
	good := vectors[3]
	for name, c := range map[string]struct{ text, part string }{
		"nothing":           {"", "root"},
		"another root":      {"1.2.156.3005.3" + good[14:], "root"},
		"a part lacking":    {strings.Replace(good, ".001.X", ".X", 1), "root"},
		"type cut short":    {strings.Replace(good, "1B001", "1B01", 1), "type"},
		"type's number":     {strings.Replace(good, "1B001", "1B0A1", 1), "type"},
		"small letter":      {strings.Replace(good, "YYY00AMR13", "yYY00AMR13", 1), "issuer"},
		"no serial":         {strings.Replace(good, "20260000000000000001", "", 1), "serial"},
		"serial too long":   {strings.Replace(good, "20260000000000000001", strings.Repeat("1", 33), 1), "serial"},
		"version of zeros":  {strings.Replace(good, ".001.", ".000.", 1), "version"},
		"version of text":   {strings.Replace(good, ".001.", ".00A.", 1), "version"},
		"wrong check":       {good[:len(good)-1] + "Y", "check"},
		"no check":          {good[:len(good)-1], "check"},
		"two checks":        {good + "X", "check"},
		"longer than it is": {good + strings.Repeat(".1", 40), "serial"},
	} {
		_, err := ParseIdentifier(c.text)
		var e *IdentifierError
		if !errors.As(err, &e) || !errors.Is(err, ErrIdentifier) || e.Part != c.part {
			t.Errorf("%s: %v, want a fault of %s", name, err, c.part)
		}
	}
	for _, s := range []string{"", "x", "a.b.c", vectors[0][len(root):], root} {
		if _, err := ParseSeries(s); !errors.Is(err, ErrIdentifier) {
			t.Errorf("series %q: %v", s, err)
		}
	}
}

func FuzzParseIdentifier(f *testing.F) {
	for _, v := range vectors {
		f.Add(v)
	}
	f.Add(root)
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentifier(s)
		if err == nil && id.String() != s {
			t.Errorf("%q reads as %q", s, id)
		}
		if err != nil && !errors.Is(err, ErrIdentifier) {
			t.Errorf("%q: %v", s, err)
		}
		if series, err := ParseSeries(s); err == nil && len(series) > 80 {
			t.Errorf("%q is series %q", s, series)
		}
	})
}
