package synthetic

import (
	"strings"
	"time"
)

// What a Step of a history is; the words are those of licence events.
const (
	Established = "established"
	Changed     = "changed"
	Dormant     = "dormant"
	Revoked     = "revoked"
	Cancelled   = "cancelled"
	Annulled    = "annulled"
	MovedOut    = "moved_out"
)

// Step is one registration of an enterprise's life.
type Step struct {
	Kind       string
	Enterprise Enterprise // as it is afterwards
	At         time.Time
}

// fates are how registrations stand in the end, with their share in a thousand; the other 900 are active.
var fates = []struct {
	kind   string
	weight int
}{{"", 900}, {Revoked, 30}, {Cancelled, 40}, {Annulled, 5}, {MovedOut, 15}, {Dormant, 10}}

// changes are what one enterprise in seven changed once: name, legal representative, address.
var changes = []struct {
	what   string
	weight int
}{{"", 850}, {"name", 40}, {"person", 60}, {"address", 50}}

// History is the life of enterprise number n of a seed, in order of time: its establishment, perhaps a change, perhaps an end. Each step is
// some time after the one before, and none later than the window of all dates and a few hours.
func History(seed string, n int) []Step {
	g := generator{seed: seed, n: n}
	e := New(seed, n)
	at, _ := time.Parse(time.DateOnly, e.Established) // New wrote it
	steps := []Step{{Established, e, at.Add(time.Hour)}}
	next := func(kind, field string) {
		at = g.date(field, at.Truncate(24*time.Hour), windowTo)
		steps = append(steps, Step{kind, e, at.Add(time.Duration(1+len(steps)) * time.Hour)})
	}
	if what := changes[weighted(g.pick("change", 1000), func(i int) int { return changes[i].weight })].what; what != "" {
		g.change(&e, what)
		next(Changed, "changed at")
		e.Approved = at.Format(time.DateOnly)
		steps[1].Enterprise = e
	}
	if fate := fates[weighted(g.pick("fate", 1000), func(i int) int { return fates[i].weight })].kind; fate != "" {
		next(fate, "ended at")
	}
	return steps
}

// change gives an enterprise another name, representative or address. 示例新 stands in no drawn name.
func (g generator) change(e *Enterprise, what string) {
	switch what {
	case "name":
		e.Name = strings.Replace(e.Name, "示例", "示例新", 1)
	case "person":
		for round := "person again"; ; round += "." {
			again := generator{g.seed + round, g.n}
			if p := again.person(cast{}); p != e.LegalRep {
				e.LegalRep = p
				break
			}
		}
	case "address":
		e.Address += "（示例新址）"
	}
	e.Seals = seals(*e)
}
