// Package placement says where a seal's picture stands in a document, whatever its container: at given places, beside a keyword, across the
// edges of its pages (骑缝章), or on two facing edges (对开).
//
// Its one promise: a plan has exactly one digest, which the owner's approval signs, and together with the document exactly one set of
// stamps. Nothing else of the signing path decides about places.
//
//	Plan ─ Digest ─► what the owner approves
//	Plan + pages + text ─ Resolve ─► stamps
//
// Limits: millimetres from the page's top left corner, y downwards, to the micrometre. It reads no document: the container gives page sizes
// and finds text. Whether a stamp stays on its page is the container's to check.
package placement

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"sealkeeper/internal/gm"
)

// The named refusals.
var (
	// ErrPlan: the plan is empty, or an item of it has a size, edge, page range or count that cannot be.
	ErrPlan = errors.New("placement is not usable")
	// ErrPage: the plan names a page that the document does not have.
	ErrPage = errors.New("no such page")
	// ErrKeywordNotFound: no page of the range shows the keyword, or not as often as asked.
	ErrKeywordNotFound = errors.New("keyword is not in the document's text")
	// ErrTooMany: the plan would give more stamps than MaxStamps.
	ErrTooMany = errors.New("placement gives too many stamps")
)

// Bounds of a plan.
const (
	MaxStamps  = 5000 // of one signature
	MaxItems   = 256  // keywords, seams and facing seams of one plan
	MaxKeyword = 256  // bytes
	reachMM    = 100_000
)

// Rect is a rectangle in millimetres.
type Rect struct{ X, Y, W, H float64 }

// Stamp is one place where the seal's picture stands.
type Stamp struct {
	Page       int     // 1 for the first page
	X, Y, W, H float64 // the whole picture
	Clip       *Rect   // the visible part, relative to X, Y; nil for all of it (a riding stamp shows a strip on each page)
}

// Range is pages from one to another, both counted from 1 and both inside; the zero value is every page. To 0 with a From is to the last page.
type Range struct {
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
}

// Keyword puts the picture's centre on the centre of a text, moved by DX, DY.
type Keyword struct {
	Text       string  `json:"text"` // as it stands on the page, within one line; 1..256 bytes
	Pages      Range   `json:"pages,omitzero"`
	Occurrence int     `json:"occurrence,omitempty"` // 0 every one, n the n-th of the range from its first page on, -n the n-th from the end
	W          float64 `json:"w"`
	H          float64 `json:"h"`
	DX         float64 `json:"dx,omitempty"`
	DY         float64 `json:"dy,omitempty"`
}

// Edges of a page.
const (
	Left   = "left"
	Right  = "right"
	Top    = "top"
	Bottom = "bottom"
)

// Riding lays one picture in strips over one edge of successive pages (骑缝章).
type Riding struct {
	Edge      string   `json:"edge"`
	Pages     Range    `json:"pages,omitzero"`       // at least two
	MaxStrips int      `json:"max_strips,omitempty"` // cut into at most so many, and begin again on the next pages; 0 is one for every page
	W         float64  `json:"w"`                    // of the whole picture
	H         float64  `json:"h"`
	At        *float64 `json:"at,omitempty"`     // y on the left and right edge, x on top and bottom; centred when left out
	Margin    float64  `json:"margin,omitempty"` // how far inside the edge
}

// Facing lays one picture over the inner edges of each pair of pages that face each other (对开): its left part on the right edge of a page,
// the rest on the left edge of the next.
type Facing struct {
	Pages Range    `json:"pages,omitzero"`
	W     float64  `json:"w"`
	H     float64  `json:"h"`
	At    *float64 `json:"at,omitempty"`    // y; centred when left out
	Ratio float64  `json:"ratio,omitempty"` // share of the left part, between 0 and 1; 0 is one half
}

// Plan is all places of one signature, in this order.
type Plan struct {
	Stamps   []Stamp   `json:"stamps,omitempty"`
	Keywords []Keyword `json:"keywords,omitempty"`
	Riding   []Riding  `json:"riding,omitempty"`
	Facing   []Facing  `json:"facing,omitempty"`
}

// Empty reports whether the plan places nothing.
func (p Plan) Empty() bool {
	return len(p.Stamps)+len(p.Keywords)+len(p.Riding)+len(p.Facing) == 0
}

// Digest is what the owner's approval says about the places: SM3 over UTF-8 lines, each ended by LF. A plan of stamps alone begins with the
// line sealkeeper-placement-v1, any other with sealkeeper-placement-v2. Then comes a line for each item in order:
//
//	<page> <x> <y> <w> <h>
//	<page> <x> <y> <w> <h> clip <x> <y> <w> <h>
//	keyword <from> <to> <occurrence> <w> <h> <dx> <dy> <SM3 of the text>
//	riding <edge> <from> <to> <strips> <w> <h> <at> <margin>
//	facing <from> <to> <w> <h> <at> <ratio>
//
// Pages and counts stand in decimal, millimetres and the ratio with exactly three decimals and no sign but a minus, the text's digest in
// lower-case hexadecimal, and a place that was left out as a dash. Test vectors: the stamps {1, 150, 230.5, 40, 40} and {2, 190, 100, 40, 40,
// clip 0 0 20 40} give the text
//
//	sealkeeper-placement-v1
//	1 150.000 230.500 40.000 40.000
//	2 190.000 100.000 40.000 40.000 clip 0.000 0.000 20.000 40.000
//
// and the digest 6a6b237ddbc565c06c4381d60beb1b09d2cb7e5a2313da48435af5377461589f; docs/placement.md has one of the second kind.
func (p Plan) Digest() [32]byte { return gm.SM3([]byte(p.text())) }

func (p Plan) text() string {
	var b strings.Builder
	version := 1
	if len(p.Keywords)+len(p.Riding)+len(p.Facing) > 0 {
		version = 2
	}
	fmt.Fprintf(&b, "sealkeeper-placement-v%d\n", version)
	for _, s := range p.Stamps {
		fmt.Fprintf(&b, "%d %s", s.Page, Fixed(s.X, s.Y, s.W, s.H))
		if c := s.Clip; c != nil {
			b.WriteString(" clip " + Fixed(c.X, c.Y, c.W, c.H))
		}
		b.WriteByte('\n')
	}
	for _, k := range p.Keywords {
		fmt.Fprintf(&b, "keyword %d %d %d %s %x\n", k.Pages.From, k.Pages.To, k.Occurrence, Fixed(k.W, k.H, k.DX, k.DY), gm.SM3([]byte(k.Text)))
	}
	for _, r := range p.Riding {
		fmt.Fprintf(&b, "riding %s %d %d %d %s %s %s\n", edge(r.Edge), r.Pages.From, r.Pages.To, r.MaxStrips, Fixed(r.W, r.H), optional(r.At), Fixed(r.Margin))
	}
	for _, f := range p.Facing {
		fmt.Fprintf(&b, "facing %d %d %s %s %s\n", f.Pages.From, f.Pages.To, Fixed(f.W, f.H), optional(f.At), Fixed(f.Ratio))
	}
	return b.String()
}

// edge writes an edge; whatever else stands there, Resolve refuses, stays one word on one line.
func edge(s string) string {
	switch s {
	case Left, Right, Top, Bottom:
		return s
	}
	return fmt.Sprintf("%x", s)
}

func optional(at *float64) string {
	if at == nil {
		return "-"
	}
	return Fixed(*at)
}

// Fixed writes millimetres with three decimals, separated by blanks. Values out of reach still get a text of their own.
func Fixed(v ...float64) string {
	s := make([]string, len(v))
	for i, mm := range v {
		um, ok := Micrometres(mm)
		if !ok {
			s[i] = strconv.FormatFloat(mm, 'e', -1, 64)
			continue
		}
		minus := ""
		if um < 0 {
			minus, um = "-", -um
		}
		s[i] = fmt.Sprintf("%s%d.%03d", minus, um/1000, um%1000)
	}
	return strings.Join(s, " ")
}

// Micrometres rounds a finite coordinate within reach, halves away from zero.
func Micrometres(mm float64) (int64, bool) {
	if math.IsNaN(mm) || math.Abs(mm) > reachMM {
		return 0, false
	}
	return int64(math.Round(mm * 1000)), true
}
