package paper

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"github.com/skip2/go-qrcode"
)

// Every page is A4 across, in millimetres.
const (
	pageWidth  = 297.0
	pageHeight = 210.0
)

// Identifiers of the shared resources; pages and their objects follow.
const (
	fontSong = iota + 1
	fontHei
	fontKai
	colourSpace
	lastShared = colourSpace
)

const (
	namespace = `xmlns:ofd="http://www.ofdspec.org/2016"`
	header    = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	gold      = "168 122 46"
	red       = "176 32 32"
	grey      = "96 96 96"
)

var publicRes = header + `<ofd:Res ` + namespace + ` BaseLoc="Res"><ofd:Fonts>` +
	fmt.Sprintf(`<ofd:Font ID="%d" FontName="宋体" FamilyName="SimSun"/>`, fontSong) +
	fmt.Sprintf(`<ofd:Font ID="%d" FontName="黑体" FamilyName="SimHei"/>`, fontHei) +
	fmt.Sprintf(`<ofd:Font ID="%d" FontName="楷体" FamilyName="KaiTi"/>`, fontKai) +
	`</ofd:Fonts></ofd:Res>`

var documentRes = header + `<ofd:Res ` + namespace + ` BaseLoc="Res"><ofd:ColorSpaces>` +
	fmt.Sprintf(`<ofd:ColorSpace ID="%d" Type="RGB" BitsPerComponent="8"/>`, colourSpace) + `</ofd:ColorSpaces></ofd:Res>`

// sheet is one page: the objects of its two layers.
type sheet struct {
	d                *document
	id               int
	backLayer, layer int
	back, front      strings.Builder
}

// newSheet begins a page with its frame; of made-up facts, with their mark.
func (d *document) newSheet() *sheet {
	s := &sheet{d: d, id: d.newID(), backLayer: d.newID(), layer: d.newID()}
	d.sheets = append(d.sheets, s)
	s.frame(8, 0.9)
	s.frame(10, 0.3)
	if d.synthetic {
		s.watermark("演示数据")
		s.put(label{x: pageWidth / 2, y: 12, at: centre, font: fontHei, size: 3.4, colour: red, text: "演示数据，仅供测试，不具有法律效力"})
	}
	return s
}

func (s *sheet) frame(inset, width float64) {
	w, h := pageWidth-2*inset, pageHeight-2*inset
	fmt.Fprintf(&s.back, `<ofd:PathObject ID="%d" Boundary="%s %s %s %s" LineWidth="%s"><ofd:StrokeColor Value="%s"/><ofd:AbbreviatedData>M 0 0 L %s 0 L %s %s L 0 %s C</ofd:AbbreviatedData></ofd:PathObject>`,
		s.d.newID(), mm(inset), mm(inset), mm(w), mm(h), mm(width), gold, mm(w), mm(w), mm(h), mm(h))
}

// watermark writes a text three times across the page, pale.
func (s *sheet) watermark(text string) {
	const size, cos, sin = 22.0, 0.9397, 0.3420 // 20°
	deltas, width := spread(text, size, 0)
	for _, x := range []float64{12, 104, 196} {
		fmt.Fprintf(&s.back, `<ofd:TextObject ID="%d" Boundary="0 0 %s %s" CTM="%g %g %g %g %s %s" Font="%d" Size="%s">`,
			s.d.newID(), mm(pageWidth), mm(pageHeight), cos, -sin, sin, cos, mm(x), mm(pageHeight/2+width*sin/2+8), fontHei, mm(size))
		fmt.Fprintf(&s.back, `<ofd:FillColor Value="128 128 128" Alpha="30"/><ofd:TextCode X="0" Y="0"%s>%s</ofd:TextCode></ofd:TextObject>`, deltas, escape(text))
	}
}

// rule draws a line across.
func (s *sheet) rule(x, y, width float64) {
	fmt.Fprintf(&s.front, `<ofd:PathObject ID="%d" Boundary="%s %s %s 1" LineWidth="0.25"><ofd:StrokeColor Value="%s"/><ofd:AbbreviatedData>M 0 0.5 L %s 0.5</ofd:AbbreviatedData></ofd:PathObject>`,
		s.d.newID(), mm(x), mm(y), mm(width), gold, mm(width))
}

type align byte

const (
	left align = iota
	centre
	right
)

// label is a line of text; y is the top of its box, x its left end, its middle or its right end.
type label struct {
	x, y   float64
	at     align
	font   int
	size   float64
	bold   bool
	gap    float64 // between characters, in full-width characters
	colour string  // three numbers, empty for black
	text   string
}

func (s *sheet) put(l label) {
	deltas, width := spread(l.text, l.size, l.gap)
	switch l.at {
	case centre:
		l.x -= width / 2
	case right:
		l.x -= width
	}
	weight := ""
	if l.bold {
		weight = ` Weight="700"`
	}
	fmt.Fprintf(&s.front, `<ofd:TextObject ID="%d" Boundary="%s %s %s %s" Font="%d" Size="%s"%s>`,
		s.d.newID(), mm(l.x), mm(l.y), mm(width), mm(l.size*1.3), l.font, mm(l.size), weight)
	if l.colour != "" {
		fmt.Fprintf(&s.front, `<ofd:FillColor Value="%s"/>`, l.colour)
	}
	fmt.Fprintf(&s.front, `<ofd:TextCode X="0" Y="%s"%s>%s</ofd:TextCode></ofd:TextObject>`, mm(l.size), deltas, escape(l.text))
}

// code draws a QR code, as many modules on a side as it takes.
func (s *sheet) code(x, y, side float64, text string) error {
	m, err := s.d.modulesOf(text)
	if err != nil {
		return err
	}
	scale := fine(side / float64(m.n))
	fmt.Fprintf(&s.front, `<ofd:PathObject ID="%d" Boundary="%s %s %s %s" CTM="%s 0 0 %s 0 0" LineWidth="1" Cap="Butt"><ofd:StrokeColor Value="0 0 0"/><ofd:AbbreviatedData>%s</ofd:AbbreviatedData></ofd:PathObject>`,
		s.d.newID(), mm(x), mm(y), mm(side), mm(side), scale, scale, m.strokes)
	return nil
}

// modules are a QR code's: n on a side, the dark ones as strokes, one for each run in a row.
type modules struct {
	text, strokes string
	n             int
}

// modulesOf works a code out once for all pages: that is most of the work of a paper.
func (d *document) modulesOf(text string) (modules, error) {
	if d.code.text == text && d.code.n > 0 {
		return d.code, nil
	}
	q, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		return modules{}, fmt.Errorf("drawing the QR code of %d bytes: %w", len(text), err)
	}
	q.DisableBorder = true // the paper is white around it
	var out strings.Builder
	rows := q.Bitmap()
	for r, row := range rows {
		for c := 0; c < len(row); c++ {
			from := c
			for c < len(row) && row[c] {
				c++
			}
			if c > from {
				fmt.Fprintf(&out, "M %d %d.5 L %d %d.5 ", from, r, c, r)
			}
		}
	}
	d.code = modules{text, out.String(), len(rows)}
	return d.code, nil
}

// spread gives the distances between characters as an attribute, equal ones gathered by g (GB/T 33190, 11.3), and the width of the whole.
func spread(text string, size, gap float64) (attribute string, width float64) {
	var steps []string
	for _, r := range text {
		steps = append(steps, mm((advance(r)+gap)*size))
		width += (advance(r) + gap) * size
	}
	width -= gap * size
	if len(steps) < 2 {
		return "", width
	}
	steps = steps[:len(steps)-1]
	var out []string
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n] == steps[0] {
			n++
		}
		if n > 2 {
			out = append(out, "g", strconv.Itoa(n), steps[0])
		} else {
			out = append(out, steps[:n]...)
		}
		steps = steps[n:]
	}
	return ` DeltaX="` + strings.Join(out, " ") + `"`, width
}

// advance is the width of a character in full-width characters.
func advance(r rune) float64 {
	if r < 0x2000 && r != '·' && r != '×' {
		return 0.5
	}
	return 1
}

// mm writes a measure to a thousandth of a millimetre.
func mm(v float64) string { return number(v, 3) }

// fine writes a factor.
func fine(v float64) string { return number(v, 6) }

func number(v float64, places int) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', places, 64), "0"), ".")
}

// escape writes text as XML; characters that XML cannot hold become U+FFFD.
func escape(text string) string {
	var out strings.Builder
	if err := xml.EscapeText(&out, []byte(text)); err != nil {
		return "" // a strings.Builder takes everything
	}
	return out.String()
}

func (s *sheet) content() string {
	return header + `<ofd:Page ` + namespace + `><ofd:Area><ofd:PhysicalBox>0 0 297 210</ofd:PhysicalBox></ofd:Area><ofd:Content>` +
		fmt.Sprintf(`<ofd:Layer ID="%d" Type="Background">%s</ofd:Layer>`, s.backLayer, s.back.String()) +
		fmt.Sprintf(`<ofd:Layer ID="%d" Type="Body">%s</ofd:Layer>`, s.layer, s.front.String()) +
		`</ofd:Content></ofd:Page>`
}

func (d *document) root() string {
	subject := ""
	if d.synthetic {
		subject = `<ofd:Subject>演示数据</ofd:Subject>`
	}
	return header + `<ofd:OFD ` + namespace + ` DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo>` +
		`<ofd:DocID>` + d.id + `</ofd:DocID><ofd:Title>` + escape(d.title) + `</ofd:Title>` + subject +
		`<ofd:CreationDate>` + escape(d.created) + `</ofd:CreationDate><ofd:Creator>Sealkeeper</ofd:Creator>` +
		`</ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>`
}

func (d *document) body() string {
	var pages strings.Builder
	for i, s := range d.sheets {
		fmt.Fprintf(&pages, `<ofd:Page ID="%d" BaseLoc="Pages/Page_%d/Content.xml"/>`, s.id, i)
	}
	return header + `<ofd:Document ` + namespace + `><ofd:CommonData>` +
		fmt.Sprintf(`<ofd:MaxUnitID>%d</ofd:MaxUnitID>`, d.lastID) +
		`<ofd:PageArea><ofd:PhysicalBox>0 0 297 210</ofd:PhysicalBox></ofd:PageArea>` +
		`<ofd:PublicRes>PublicRes.xml</ofd:PublicRes><ofd:DocumentRes>DocumentRes.xml</ofd:DocumentRes>` +
		fmt.Sprintf(`<ofd:DefaultCS>%d</ofd:DefaultCS></ofd:CommonData>`, colourSpace) +
		`<ofd:Pages>` + pages.String() + `</ofd:Pages></ofd:Document>`
}
