package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/synthetic"
)

// made is one enterprise: its lines in each file.
type made struct {
	lines    [len(names)][][]byte
	expected Expected
}

// Expected is a line of expected.jsonl: what a right library knows of an enterprise after all of licences.jsonl, and what a right appliance
// says to its filings.
type Expected struct {
	Ordinal  int      `json:"ordinal"`
	USCC     string   `json:"uscc"`
	Name     string   `json:"name"`
	LegalRep string   `json:"legal_rep"`
	Status   string   `json:"status"`
	Versions int      `json:"versions"`
	Changed  string   `json:"changed,omitempty"`
	Taken    int      `json:"taken"`            // lines of licences.jsonl
	Repeated int      `json:"repeated"`         // of them
	Rejected int      `json:"rejected"`         // of them
	Defect   string   `json:"defect,omitempty"` // of a line of licences.jsonl
	Filings  []Filing `json:"filings,omitempty"`
}

// Filing is what is to come of a line of filings.jsonl or filings-late.jsonl.
type Filing struct {
	Number string `json:"number"`
	Type   string `json:"type"`
	Late   bool   `json:"late,omitempty"`
	Defect string `json:"defect,omitempty"`
	Answer string `json:"answer"` // taken, or the code of the order's exception
}

// chance gives a number below n for a purpose, the same each time.
func (w *writer) chance(ordinal int, purpose string, n uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d\x00%s", w.Seed, ordinal, purpose)
	v := h.Sum64() // FNV leaves neighbours near one another; the rest is the finish of SplitMix64
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return (v ^ v>>31) % n
}

func (w *writer) make(ordinal int) (made, error) {
	steps := synthetic.History(w.Seed, ordinal)
	last := steps[len(steps)-1]
	m := made{expected: Expected{Ordinal: ordinal, USCC: last.Enterprise.USCC, Name: last.Enterprise.Name, LegalRep: last.Enterprise.LegalRep,
		Status: statuses[last.Kind], Versions: len(steps), Changed: changed(steps)}}
	if err := w.events(&m, steps); err != nil {
		return m, fmt.Errorf("enterprise %d: %w", ordinal, err)
	}
	if licence.Status(m.expected.Status).Effect().SealUse && w.Size.DPI > 0 {
		if err := w.filings(&m, last.Enterprise); err != nil {
			return m, fmt.Errorf("enterprise %d: %w", ordinal, err)
		}
	}
	line, err := json.Marshal(m.expected)
	m.lines[3] = append(m.lines[3], line)
	return m, err
}

// statuses are what a last step leaves.
var statuses = map[string]string{synthetic.Established: "active", synthetic.Changed: "active", synthetic.Dormant: "dormant",
	synthetic.Revoked: "revoked_open", synthetic.Cancelled: "cancelled", synthetic.Annulled: "annulled", synthetic.MovedOut: "moved_out"}

func changed(steps []synthetic.Step) string {
	if len(steps) < 2 || steps[1].Kind != synthetic.Changed {
		return ""
	}
	a, b := steps[0].Enterprise, steps[1].Enterprise
	switch {
	case a.Name != b.Name:
		return "name"
	case a.LegalRep != b.LegalRep:
		return "legal_rep"
	}
	return "address"
}

// Fields is the registration of a made-up enterprise.
func Fields(e synthetic.Enterprise) licence.Fields {
	return licence.Fields{USCC: e.USCC, Name: e.Name, EntityType: e.EntityType, LegalRep: e.LegalRep, Capital: e.Capital, Established: e.Established,
		TermFrom: e.TermFrom, TermTo: e.TermTo, Scope: e.Scope, Address: e.Address, Division: e.Division, Authority: e.Authority, Approved: e.Approved}
}

// lineDefects are what may be wrong with a line, in one enterprise of a hundred. Whatever it is, the right lines are there, too.
var lineDefects = []string{"signature", "code", "form", "repeated", "early"}

func (w *writer) events(m *made, steps []synthetic.Step) error {
	for i, s := range steps {
		ev := licence.Event{ID: fmt.Sprintf("demo-%s-%d", s.Enterprise.USCC, i+1), Kind: licence.Kind(s.Kind), Licence: Fields(s.Enterprise), EffectiveAt: s.At, IssuedAt: s.At}
		if s.Kind != synthetic.Established && s.Kind != synthetic.Changed {
			ev.Licence = licence.Fields{USCC: s.Enterprise.USCC}
		}
		line, err := signed(licence.EventKind, ev, w.Events)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := w.spoil(m, ev, line); err != nil {
				return err
			}
		}
		m.lines[0] = append(m.lines[0], line)
		m.expected.Taken++
	}
	return nil
}

// spoil puts a defective line before the first right one, or that one twice.
func (w *writer) spoil(m *made, ev licence.Event, line []byte) (err error) {
	at := w.chance(m.expected.Ordinal, "line defect", uint64(100*len(lineDefects)))
	if at >= uint64(len(lineDefects)) {
		return nil
	}
	m.expected.Defect = lineDefects[at]
	wrong := bytes.Clone(line)
	switch m.expected.Defect {
	case "repeated":
		m.lines[0], m.expected.Repeated = append(m.lines[0], line), 1
		return nil // of the two the first is taken
	case "form":
		wrong = wrong[:len(wrong)/2]
	case "signature":
		other := ev
		other.ID, other.Licence.LegalRep = ev.ID+"-x", "赵测甲"
		wrong, err = signed(licence.EventKind, other, w.Filings) // of another system
	case "code":
		other := ev
		other.ID, other.Licence.USCC = ev.ID+"-x", wrongCheck(ev.Licence.USCC)
		wrong, err = signed(licence.EventKind, other, w.Events)
	case "early": // a change of what is not there yet
		other := ev
		other.ID, other.Kind = ev.ID+"-x", licence.KindChanged
		wrong, err = signed(licence.EventKind, other, w.Events)
	}
	m.lines[0], m.expected.Rejected = append(m.lines[0], wrong), 1
	return err
}

func wrongCheck(uscc string) string {
	last := byte('0')
	if uscc[17] == last {
		last = '1'
	}
	return uscc[:17] + string(last)
}

// sealDefects are what may be wrong with one filing of a hundred, and what the appliance answers.
var sealDefects = []struct {
	name   string
	defect draw.Defect
	answer string
}{
	{"wrong-name", draw.DefectNone, "name-differs"}, {"wrong-size", draw.DefectSize, "image-size"}, {"blue", draw.DefectBlue, "image-colour"},
	{"truncated", draw.DefectTruncated, "image-truncated"}, {"gif", draw.DefectGIF, "image-format"},
	{"jpeg-artefacts", draw.DefectJPEG, "taken"}, // ugly, but the picture that was filed
	{"another-units", draw.DefectNone, "image-taken"},
}

// filings draws the set of an enterprise. One enterprise in twenty-five has one defective filing; enterprises 2 to 8 have one of each kind.
func (w *writer) filings(m *made, e synthetic.Enterprise) error {
	bad, kind := -1, int(w.chance(e.Ordinal, "filing defect", uint64(25*len(sealDefects))))
	if e.Ordinal >= 2 && e.Ordinal <= 8 {
		kind = e.Ordinal - 2
	}
	if kind < len(sealDefects) {
		bad = int(w.chance(e.Ordinal, "defective seal", 3)) // 01, 02 or 03
	}
	for i := range e.Seals {
		d := struct {
			name   string
			defect draw.Defect
			answer string
		}{answer: "taken"}
		if i == bad {
			d = sealDefects[kind]
		}
		f, err := w.engrave(e, i, d.name, d.defect)
		if err != nil {
			return err
		}
		late := w.chance(e.Ordinal, "late "+f.SealType, 50) == 0
		file := 1
		if late {
			f.FiledAt, file = f.FiledAt.AddDate(0, 0, 3), 2
		}
		line, err := signed(register.FilingKind, f, w.Filings)
		if err != nil {
			return err
		}
		m.lines[file] = append(m.lines[file], line)
		m.expected.Filings = append(m.expected.Filings, Filing{f.FilingNumber, f.SealType, late, d.name, d.answer})
	}
	return nil
}

// engrave draws one seal. That of another unit is enterprise 1's, saved anew.
func (w *writer) engrave(e synthetic.Enterprise, i int, what string, defect draw.Defect) (register.Filing, error) {
	s, show := e.Seals[i], e
	if what == "another-units" {
		show = synthetic.History(w.Seed, 1)[0].Enterprise
		defect = draw.DefectJPEG
	}
	spec := draw.Spec{Type: s.Type, Name: show.Name, TaxNumber: show.USCC, Person: show.LegalRep, Code: show.Seals[i].Code, DPI: w.Size.DPI, Defect: defect}
	image, width, height, err := draw.Seal(spec)
	if err != nil {
		return register.Filing{}, err
	}
	approved, err := time.Parse(time.DateOnly, e.Approved)
	f := register.Filing{FilingNumber: s.Filing, SealCode: s.Code, SealType: s.Type, USCC: e.USCC, Name: e.Name, Format: format(image), WidthMM: float64(width),
		HeightMM: float64(height), Image: image, Engraver: e.Engraver + " 示例刻章单位", FiledAt: approved.AddDate(0, 0, 1)}
	if what == "wrong-name" {
		f.Name = "洛阳示例另一家有限公司"
	}
	return f, err
}

func format(image []byte) string {
	switch {
	case bytes.HasPrefix(image, []byte{0xff, 0xd8}):
		return "JPEG"
	case bytes.HasPrefix(image, []byte("GIF8")):
		return "GIF"
	}
	return "PNG"
}
