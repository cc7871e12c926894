package synthetic

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write testdata/tiny.jsonl anew")

// TestCodeVectors holds codes computed elsewhere, one of each division, and the
// standard's own example by its two checks.
func TestCodeVectors(t *testing.T) {
	cases := []struct {
		kind, division string
		ordinal        int
		want           string
	}{
		{"91", "410300", 1, "91410300YYY000011J"},
		{"91", "410302", 2, "91410302YYY00002X7"},
		{"91", "410303", 3, "91410303YYY000038M"},
		{"91", "410304", 4, "91410304YYY000046Y"},
		{"91", "410305", 5, "91410305YYY0000548"},
		{"91", "410307", 6, "91410307YYY0000620"},
		{"91", "410308", 7, "91410308YYY0000709"},
		{"91", "410311", 8, "91410311YYY000089G"},
		{"91", "410323", 9, "91410323YYY000097P"},
		{"91", "410324", 10, "91410324YYY0000A51"},
		{"91", "410325", 11, "91410325YYY0000B3A"},
		{"91", "410326", 12, "91410326YYY0000C1K"},
		{"91", "410327", 13, "91410327YYY0000DXR"},
		{"91", "410328", 14, "91410328YYY0000E88"},
		{"91", "410329", 15, "91410329YYY0000F6H"},
		{"91", "410371", 16, "91410371YYY0000G46"},
		{"92", "410311", 17, "92410311YYY0000H21"},
		{"93", "410323", 18, "93410323YYY0000J91"},
	}
	for _, c := range cases {
		if got := USCC(c.kind, c.division, c.ordinal); got != c.want {
			t.Errorf("USCC(%s, %s, %d) = %s, want %s", c.kind, c.division, c.ordinal, got, c.want)
		}
	}
	if got := codeCheck("91350100M000100Y4"); got != '3' {
		t.Errorf("check of the standard's example is %c, want 3", got)
	}
}

func TestIdentityVector(t *testing.T) {
	if got, want := identityNumber(0), "990101190001010018"; got != want {
		t.Errorf("identity number %s, want %s", got, want)
	}
}

// TestTiny holds the first twenty enterprises of a seed, line by line.
func TestTiny(t *testing.T) {
	const path = "testdata/tiny.jsonl"
	var got strings.Builder
	for n := 1; n <= 20; n++ {
		line, err := json.Marshal(New("tiny", n))
		if err != nil {
			t.Fatal(err)
		}
		got.Write(append(line, '\n'))
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the first twenty differ from %s:\n%s", path, got.String())
	}
}

// TestMany holds 5,000 enterprises by one digest and looks at each.
func TestMany(t *testing.T) {
	const want = "c7427cc702a02b4f4e8bd99c5d4c249c55c25c8c316d6e28353a32ec03cdcc1a"
	code := regexp.MustCompile(`^9[123]4103[0-9]{2}YYY[0-9A-HJ-NPQRTUWXY]{6}[0-9A-HJ-NPQRTUWXY]$`)
	seen := map[string]int{}
	digest := sha256.New()
	for n := range 5000 {
		e := New("many", n)
		if line, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		} else {
			digest.Write(line)
		}
		keys := []string{e.USCC, e.Name, e.LegalRepID, e.Mobile}
		for _, s := range e.Seals {
			keys = append(keys, s.Code, s.Filing)
		}
		for _, key := range keys {
			if other, ok := seen[key]; ok {
				t.Errorf("enterprises %d and %d share %s", other, n, key)
			}
			seen[key] = n
		}
		switch {
		case !code.MatchString(e.USCC) || e.USCC[2:8] != e.Division:
			t.Errorf("enterprise %d has code %s in division %s", n, e.USCC, e.Division)
		case codeCheck(e.USCC) != e.USCC[17] || bodyCheck(e.USCC[8:]) != e.USCC[16]:
			t.Errorf("enterprise %d: a check character of %s is wrong", n, e.USCC)
		case !strings.Contains(e.Name, "示例") || !strings.Contains(e.LegalRep, "测"):
			t.Errorf("enterprise %d looks real: %s, %s", n, e.Name, e.LegalRep)
		case e.Approved < e.Established || e.Established < "2015-01-01" || e.Approved > "2026-06-30":
			t.Errorf("enterprise %d: established %s, approved %s", n, e.Established, e.Approved)
		case e.TermTo != "" && e.TermTo <= e.TermFrom:
			t.Errorf("enterprise %d: term %s to %s", n, e.TermFrom, e.TermTo)
		case utf8.RuneCountInString(e.Name) > 40:
			t.Errorf("enterprise %d: %s is longer than a seal can carry", n, e.Name)
		}
	}
	if got := fmt.Sprintf("%x", digest.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestShares compares the mix with the weights, over a fixed sample.
func TestShares(t *testing.T) {
	kinds := map[byte]int{}
	places := map[string]int{}
	const total = 20000
	for n := range total {
		e := New("shares", n)
		kinds[e.USCC[1]]++
		places[e.Division]++
	}
	for kind, share := range map[byte]int{'1': 880, '2': 100, '3': 20} {
		if got := kinds[kind] * 1000 / total; got < share*9/10 || got > share*11/10 {
			t.Errorf("category %c: %d in a thousand, want about %d", kind, got, share)
		}
	}
	sum := 0
	for _, d := range districts {
		sum += d.weight
		if got := places[d.code] * 1000 / total; got < d.weight*8/10-1 || got > d.weight*12/10+1 {
			t.Errorf("division %s: %d in a thousand, want about %d", d.code, got, d.weight)
		}
	}
	for _, f := range forms {
		sum += f.weight
	}
	if sum != 2000 || len(trades) != 64 || len(industries) != 32 {
		t.Errorf("tables: weights add up to %d, %d trades, %d industries", sum, len(trades), len(industries))
	}
}

// TestSeeds checks that seeds and ordinals matter, and that ordinals wrap.
func TestSeeds(t *testing.T) {
	a, b := New("a", 77), New("b", 77)
	if a.Address == b.Address && a.LegalRep == b.LegalRep && a.Name == b.Name {
		t.Errorf("seeds a and b give the same enterprise %+v", a)
	}
	if New("a", -1) != New("a", MaxOrdinal) || New("a", MaxOrdinal+1) != New("a", 0) {
		t.Error("ordinals do not wrap round")
	}
	if got := New("a", MaxOrdinal).USCC[8:16]; got != "YYYYYYYY" {
		t.Errorf("body of the last ordinal is %s", got)
	}
	if x := New("a", 2048*3+5); !strings.Contains(x.Name, "四号") {
		t.Errorf("name of the fourth round is %s", x.Name)
	}
}
