package synthetic

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// generator draws the fields of one enterprise. Every field has a stream of its
// own, so that a new field leaves all others as they were.
type generator struct {
	seed string
	n    int
}

// draw gives 64 bits of a field, the parts kept apart by zero bytes.
func (g generator) draw(field string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "luoyang-demo/1\x00%s\x00%d\x00%s\x00", g.seed, g.n, field))
	return binary.BigEndian.Uint64(sum[:])
}

// pick draws a number from 0 to n-1; over 64 bits the bias is immaterial.
func (g generator) pick(field string, n int) int { return int(g.draw(field) % uint64(n)) }

// cast is what an enterprise is made of before any text is written.
type cast struct {
	form     form
	district district
	trade    string
	industry industry
	name     string // the whole name, where a case prescribes it
	person   string
}

// cast draws the parts. Trade and industry words come from one number that no
// two of 2,048 neighbouring ordinals share.
func (g generator) cast() cast {
	words := generator{g.seed, 0}.pick("words", len(trades)*len(industries))
	at := (words + g.n*1237) % (len(trades) * len(industries))
	c := cast{
		form:     forms[weighted(g.pick("form", 1000), func(i int) int { return forms[i].weight })],
		district: districts[weighted(g.pick("district", 1000), func(i int) int { return districts[i].weight })],
		trade:    trades[at/len(industries)],
		industry: industries[at%len(industries)],
	}
	if s, ok := cases[g.n]; ok {
		c.apply(s)
	}
	if c.form.category == cooperative.category {
		crop := crops[at%len(crops)]
		c.industry = industry{crop, crop + "种植；农产品销售"}
	}
	return c
}

// apply overrides what a case prescribes.
func (c *cast) apply(s special) {
	c.form, c.name, c.person = s.form, s.name, s.person
	for _, d := range districts {
		if d.code == s.district {
			c.district = d
		}
	}
	for _, i := range industries {
		if i.word == s.industry {
			c.industry = i
		}
	}
}

// weighted finds the entry of a table of weights that add up to more than at.
func weighted(at int, weight func(int) int) int {
	i := 0
	for at -= weight(0); at >= 0; at -= weight(i) {
		i++
	}
	return i
}

// name writes the name. After 2,048 ordinals the words repeat, and the round is
// written in Chinese numerals.
func (g generator) name(c cast) string {
	if c.name != "" {
		return c.name
	}
	place := ""
	if g.pick("place", 3) == 0 {
		place = c.district.short
	}
	round := ""
	if r := g.n / (len(trades) * len(industries)); r > 0 {
		round = numeral(r+1) + "号"
	}
	return "洛阳" + place + "示例" + c.trade + round + c.industry.word + c.form.suffix
}

// numeral writes a number below 100,000 digit by digit, as a year is written.
func numeral(n int) string {
	var out strings.Builder
	for _, d := range strconv.Itoa(n) {
		out.WriteString([]string{"〇", "一", "二", "三", "四", "五", "六", "七", "八", "九"}[d-'0'])
	}
	return out.String()
}

func (g generator) person(c cast) string {
	if c.person != "" {
		return c.person
	}
	stems := "甲乙丙丁戊己庚辛壬癸"
	stem, _ := utf8.DecodeRuneInString(stems[3*g.pick("stem", 10):])
	return surnames[g.pick("surname", len(surnames))] + "测" + string(stem)
}

// capital lies between 100,000 and 100,000,000 yuan, in ten steps a decade, so
// that every order of size is as frequent as the next.
func (g generator) capital(c cast) string {
	if c.form.category == "2" {
		return ""
	}
	step := g.pick("capital", 31)
	return strconv.Itoa(int(math.Round(math.Pow(10, 1+float64(step)/10))))
}

// The window of all dates. No clock takes part.
var (
	windowFrom = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	windowTo   = time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)
)

// date draws a day between two, both included.
func (g generator) date(field string, from, to time.Time) time.Time {
	days := int(to.Sub(from)/(24*time.Hour)) + 1
	return from.AddDate(0, 0, g.pick(field, days))
}

// termTo ends one term in three after ten to thirty years.
func (g generator) termTo(c cast, established time.Time) string {
	if c.form.category != "1" || g.pick("term", 3) != 0 {
		return ""
	}
	years := 10 * (1 + g.pick("term years", 3))
	return established.AddDate(years, 0, -1).Format(time.DateOnly)
}
