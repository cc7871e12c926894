package licence_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"sealkeeper/licence"
)

const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

// One valid made-up code for every division of Luoyang, and two other kinds of entity.
var synthetic = []string{
	"91410300YYY000011J", "91410302YYY00002X7", "91410303YYY000038M", "91410304YYY000046Y", "91410305YYY0000548",
	"91410307YYY0000620", "91410308YYY0000709", "91410311YYY000089G", "91410323YYY000097P", "91410324YYY0000A51",
	"91410325YYY0000B3A", "91410326YYY0000C1K", "91410327YYY0000DXR", "91410328YYY0000E88", "91410329YYY0000F6H",
	"91410371YYY0000G46", "92410311YYY0000H21", "93410323YYY0000J91",
}

func TestUSCCValid(t *testing.T) {
	for _, s := range synthetic {
		w, err := licence.CheckUSCC(s)
		if err != nil || len(w) != 0 || !licence.IsSynthetic(s) {
			t.Errorf("%s: %v, warnings %v, synthetic %v", s, err, w, licence.IsSynthetic(s))
		}
	}
	// The example of GB 32100 itself; its organisation code is made up.
	if _, err := licence.CheckUSCC("91350100M000100Y43"); err != nil || licence.IsSynthetic("91350100M000100Y43") {
		t.Errorf("the standard's example: %v", err)
	}
}

func TestUSCCFaults(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		at   int
		why  string
	}{
		"empty":                  {"", 0, "0 bytes"},
		"17 characters":          {"91410302YYY00002X", 0, "17 bytes"},
		"19 characters":          {"91410302YYY00002X77", 0, "19 bytes"},
		"standard's bad example": {"91350100M000100Y4Z", 18, "alphabet"},
		"letter O":               {"91410302YYYO0002X7", 12, "alphabet"},
		"lower case":             {"91410302yYY00002X7", 9, "alphabet"},
		"letter in the division": {"9141A302YYY00002X7", 5, "digit"},
		"no such department":     {"B1410302YYY00002X7", 1, "department"},
		"no such province":       {"91990302YYY00002X7", 3, "province"},
		"never in Luoyang":       {"91410399YYY00002X7", 3, "never"},
		"wrong check character":  {"91410302YYY00002X8", 18, `want '7'`},
	} {
		_, err := licence.CheckUSCC(c.code)
		var fault *licence.USCCError
		if !errors.Is(err, licence.ErrUSCC) || !errors.As(err, &fault) || fault.Position != c.at || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want position %d and %q", name, err, c.at, c.why)
		}
	}
}

// fix puts the right character at position 18.
func fix(t *testing.T, s string) string {
	t.Helper()
	for _, c := range alphabet {
		if _, err := licence.CheckUSCC(s[:17] + string(c)); err == nil {
			return s[:17] + string(c)
		}
	}
	t.Fatalf("no check character fits %s", s)
	return ""
}

func TestUSCCWarnings(t *testing.T) {
	for name, c := range map[string]struct{ code, warning string }{
		"organisation code check": {fix(t, "91410302YYY0000200"), "position 17"},
		"unknown category":        {fix(t, "97410302YYY00002X0"), "position 2"},
	} {
		w, err := licence.CheckUSCC(c.code)
		if err != nil || len(w) != 1 || !strings.Contains(w[0], c.warning) {
			t.Errorf("%s %s: %v %v", name, c.code, w, err)
		}
	}
	for _, old := range []string{"410306", "410322", "410381"} { // merged away in 2021, alive in old codes
		if _, err := licence.CheckUSCC(fix(t, "91"+old+"YYY00002X0")); err != nil {
			t.Errorf("historic division %s: %v", old, err)
		}
		if d, ok := licence.LookupDivision(old); !ok || d.Present == "" {
			t.Errorf("historic division %s names no successor", old)
		}
	}
}

// GB 32100 catches every single wrong character and every swap of neighbours.
func TestUSCCCatchesSlips(t *testing.T) {
	for _, s := range synthetic {
		for i := range s {
			for _, c := range alphabet {
				if x := s[:i] + string(c) + s[i+1:]; x != s {
					if _, err := licence.CheckUSCC(x); err == nil {
						t.Fatalf("%s passes for %s", x, s)
					}
				}
			}
			if i > 0 && s[i] != s[i-1] {
				b := []byte(s)
				b[i], b[i-1] = b[i-1], b[i]
				if _, err := licence.CheckUSCC(string(b)); err == nil {
					t.Fatalf("%s passes for %s", b, s)
				}
			}
		}
	}
}

func FuzzCheckUSCC(f *testing.F) {
	for _, s := range synthetic {
		f.Add(s)
	}
	f.Add("91350100M000100Y4Z")
	f.Add("洛阳示例洛阳")
	f.Fuzz(func(t *testing.T, s string) {
		_, err := licence.CheckUSCC(s)
		if err != nil {
			if !errors.Is(err, licence.ErrUSCC) {
				t.Fatalf("%q: unnamed error %v", s, err)
			}
			return
		}
		i := rand.IntN(len(s))
		x := s[:i] + string(alphabet[(strings.IndexByte(alphabet, s[i])+1)%31]) + s[i+1:]
		if _, err := licence.CheckUSCC(x); err == nil {
			t.Fatalf("both %s and %s pass", s, x)
		}
	})
}

func TestStatusTable(t *testing.T) {
	for text, want := range map[string]licence.Status{
		"存续": licence.Active, "存续（在营、开业、在册）": licence.Active, "存续 (在营, 开业, 在册)": licence.Active, "歇业": licence.Dormant,
		"吊销，未注销": licence.RevokedOpen, "吊销,未注销": licence.RevokedOpen, "吊销，已注销": licence.Cancelled, "注销": licence.Cancelled,
		"撤销": licence.Annulled, "迁出": licence.MovedOut, "清算中": licence.Other,
	} {
		if s, err := licence.ParseStatus(text); err != nil || s != want {
			t.Errorf("%s: %s %v, want %s", text, s, err, want)
		}
	}
	if _, err := licence.ParseStatus("正常经营中吧"); !errors.Is(err, licence.ErrStatus) {
		t.Errorf("unknown text: %v", err)
	}
	for s, want := range map[licence.Status]licence.Effect{
		licence.Active:        {Valid: true, Login: licence.LoginFull, SealUse: true, Seals: licence.SealsKept},
		licence.RevokedOpen:   {Flag: "no new business", Login: licence.LoginRestricted, Seals: licence.SealsSuspended},
		licence.Cancelled:     {Flag: "cancelled", Login: licence.LoginNone, Seals: licence.SealsCancelled, Final: true},
		"never heard of this": licence.Other.Effect(),
	} {
		if s.Effect() != want {
			t.Errorf("%s: %+v", s, s.Effect())
		}
	}
}
