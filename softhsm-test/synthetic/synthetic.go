// Package synthetic makes up enterprises of Luoyang for demos and tests.
//
// Its one promise: a seed and an ordinal always give the same enterprise, on
// every machine, and no enterprise can be taken for a real one. The name holds
// 示例, the legal representative's name holds 测, the credit code's body begins
// with YYY, the identity number lies in an unassigned division and the
// telephone number in an unassigned range.
//
// Limits: it states one registration of an enterprise, the one of its approval
// date, and no history. It draws nothing: pictures of seals are the simulator's
// work.
package synthetic

import (
	"fmt"
	"strings"
	"time"
)

// Enterprise is a made-up enterprise as its registration would state it. All
// texts are in the form that a licence event carries; dates are YYYY-MM-DD.
type Enterprise struct {
	Ordinal      int
	USCC         string // 18 characters, both checks right (GB 32100, GB 11714)
	Name         string // 8 characters or more, full-width brackets
	EntityType   string
	LegalRep     string // the responsible person, whatever the type calls them
	LegalRepID   string // identity number of 18 characters (GB 11643), division 99….
	Mobile       string // 11 digits
	Capital      string // decimal, in 10,000 yuan; empty for a sole trader
	Established  string
	TermFrom     string
	TermTo       string // empty: without end (长期)
	Scope        string
	Address      string
	Division     string // six digits, present division
	DivisionName string
	Authority    string // registration authority
	Approved     string // not before Established
	Engraver     string // 12 digits: division and serial of the seal maker
	Seals        [4]Seal
}

// Seal is the physical seal that public security filed for an enterprise.
type Seal struct {
	Type   string // 01, 02, 03 or 05, in this order
	Name   string
	Code   string // 13 digits: division and seven digits of serial
	Filing string // filing number, DEMO-division-serial
}

// MaxOrdinal is the highest ordinal that five characters of the code can hold.
const MaxOrdinal = 31*31*31*31*31 - 1

// New makes up enterprise number n of a seed. Ordinals outside 0 to MaxOrdinal
// wrap round. Within one seed no two ordinals share a code, a name, a seal code
// or a filing number; ordinals 1 to 20 cover the awkward cases (short, long and
// Latin names, rare characters, sole trader, cooperative), and ordinal 1 is a
// plain limited company of the old town for demos.
func New(seed string, n int) Enterprise {
	n = ((n % (MaxOrdinal + 1)) + MaxOrdinal + 1) % (MaxOrdinal + 1)
	g := generator{seed: seed, n: n}
	c := g.cast()
	established := g.date("established", windowFrom, windowTo)
	e := Enterprise{
		Ordinal:      n,
		USCC:         USCC("9"+c.form.category, c.district.code, n),
		Name:         g.name(c),
		EntityType:   c.form.entityType,
		LegalRep:     g.person(c),
		LegalRepID:   identityNumber(n),
		Mobile:       fmt.Sprintf("120%08d", n),
		Capital:      g.capital(c),
		Established:  established.Format(time.DateOnly),
		TermFrom:     established.Format(time.DateOnly),
		TermTo:       g.termTo(c, established),
		Scope:        c.industry.scope + "（演示数据，并非真实经营范围）",
		Address:      fmt.Sprintf("河南省洛阳市%s示例路%d号", strings.TrimPrefix(c.district.name, "洛阳市"), 1+g.pick("address", 999)),
		Division:     c.district.code,
		DivisionName: c.district.name,
		Authority:    authority(c.district),
		Approved:     g.date("approved", established, windowTo).Format(time.DateOnly),
		Engraver:     fmt.Sprintf("%s%06d", c.district.code, 1+g.pick("engraver", 9)),
	}
	e.Seals = seals(e)
	return e
}

// authority names the office as synthetic, for it never saw this enterprise.
func authority(d district) string {
	if d.name == "洛阳市" {
		return "洛阳市市场监督管理局（演示）"
	}
	return "洛阳市" + d.name + "市场监督管理局（演示）"
}

// seals gives the set of four. Serials count through all seals of a seed; a
// code's seven digits would repeat after 2,500,000 enterprises of one division.
func seals(e Enterprise) [4]Seal {
	var out [4]Seal
	for i, kind := range []struct{ code, name string }{
		{"01", e.Name}, {"02", e.Name + "财务专用章"}, {"03", e.Name + "发票专用章"}, {"05", e.LegalRep + "印"},
	} {
		serial := e.Ordinal*4 + i
		out[i] = Seal{
			Type:   kind.code,
			Name:   kind.name,
			Code:   fmt.Sprintf("%s%07d", e.Division, serial%10_000_000),
			Filing: fmt.Sprintf("DEMO-%s-%09d", e.Division, serial),
		}
	}
	return out
}
