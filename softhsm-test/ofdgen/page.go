package ofdgen

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// Measures of the page in millimetres. A line holds 38 full-width characters of
// a little under 12 points.
const (
	margin       = 25.0
	textWidth    = PageWidth - 2*margin
	charsPerLine = 38
	textSize     = textWidth / charsPerLine
	firstTop     = 56.0 // of the text, below the title
	laterTop     = 34.0
	lineHeight   = 7.6
	linesPerPage = 21
)

// Identifiers of the shared resources; pages and their objects follow.
const (
	fontSong = iota + 1
	fontHei
	colourSpace
	drawRule
	lastShared = drawRule
)

const namespace = `xmlns:ofd="http://www.ofdspec.org/2016"`

const header = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

var publicRes = header + `<ofd:Res ` + namespace + ` BaseLoc="Res"><ofd:Fonts>` +
	fmt.Sprintf(`<ofd:Font ID="%d" FontName="宋体" FamilyName="SimSun"/>`, fontSong) +
	fmt.Sprintf(`<ofd:Font ID="%d" FontName="黑体" FamilyName="SimHei"/>`, fontHei) +
	`</ofd:Fonts></ofd:Res>`

var documentRes = header + `<ofd:Res ` + namespace + ` BaseLoc="Res"><ofd:ColorSpaces>` +
	fmt.Sprintf(`<ofd:ColorSpace ID="%d" Type="RGB" BitsPerComponent="8"/>`, colourSpace) +
	`</ofd:ColorSpaces><ofd:DrawParams>` +
	fmt.Sprintf(`<ofd:DrawParam ID="%d" LineWidth="0.3"><ofd:StrokeColor Value="176 32 32"/></ofd:DrawParam>`, drawRule) +
	`</ofd:DrawParams></ofd:Res>`

// document collects pages while it counts identifiers.
type document struct {
	title, id string
	pages     []*page
	lastID    int
}

// page is one page: its identifier and the objects of its two layers.
type page struct {
	id                   int
	backLayer, bodyLayer int
	back, body           strings.Builder
}

// newID gives the next identifier of the document; GB/T 33190 wants each once.
func (d *document) newID() int {
	d.lastID = max(d.lastID, lastShared) + 1
	return d.lastID
}

// addPage lays down everything of page i but what depends on the page count.
func (d *document) addPage(i int, lines []textLine) {
	p := &page{id: d.newID(), backLayer: d.newID(), bodyLayer: d.newID()}
	d.pages = append(d.pages, p)
	d.watermark(p)
	d.text(&p.body, label{x: margin, y: 17, font: fontHei, size: 3.5, colour: "176 32 32", text: "演示数据"})
	d.text(&p.body, label{x: PageWidth - margin, y: 17, right: true, font: fontSong, size: 3.5, text: "仅供测试，不具有法律效力"})
	d.rule(p, 23)
	top := laterTop
	if i == 0 {
		top = firstTop
		_, width := deltaX(d.title, 1)
		size := min(7, textWidth/max(width, 1))
		d.text(&p.body, label{x: PageWidth / 2, y: 36, centre: true, font: fontHei, size: size, text: d.title})
	}
	for k, line := range lines {
		d.text(&p.body, label{x: margin + line.indent*textSize, y: top + float64(k)*lineHeight, font: fontSong, size: textSize, text: line.text})
	}
}

// finishPage adds the page number, and on the last page the words by the seals.
func (d *document) finishPage(i int) {
	p := d.pages[i]
	if i == len(d.pages)-1 {
		d.text(&p.body, label{x: margin, y: NameSealY + 18, font: fontSong, size: textSize, text: "申请单位（盖章）："})
		d.text(&p.body, label{x: PageWidth / 2, y: NameSealY + 18, font: fontSong, size: textSize, text: "法定代表人（签章）："})
	}
	d.rule(p, 277)
	number := fmt.Sprintf("第 %d 页　共 %d 页", i+1, len(d.pages))
	d.text(&p.body, label{x: PageWidth / 2, y: 280, centre: true, font: fontSong, size: 3.5, text: number})
}

// watermark writes 演示数据 large and pale across the page.
func (d *document) watermark(p *page) {
	const size, cos, sin = 30.0, 0.8192, 0.5736 // 35°
	fmt.Fprintf(&p.back, `<ofd:TextObject ID="%d" Boundary="0 0 %d %d" CTM="%g %g %g %g %g %g" Font="%d" Size="%g">`,
		d.newID(), PageWidth, PageHeight, cos, -sin, sin, cos, 45.0, 195.0, fontHei, size)
	fmt.Fprintf(&p.back, `<ofd:FillColor Value="128 128 128" Alpha="28"/><ofd:TextCode X="0" Y="0" DeltaX="g 3 %g">演示数据</ofd:TextCode></ofd:TextObject>`, size*1.15)
}

// rule draws a line across the text at height y.
func (d *document) rule(p *page, y float64) {
	fmt.Fprintf(&p.body, `<ofd:PathObject ID="%d" Boundary="%g %g %g 1" DrawParam="%d"><ofd:AbbreviatedData>M 0 0.5 L %g 0.5</ofd:AbbreviatedData></ofd:PathObject>`,
		d.newID(), margin, y, textWidth, drawRule, textWidth)
}

// label is a line of text; y is the top of its box, x its left end unless it is
// centred on x or ends there.
type label struct {
	x, y          float64
	centre, right bool
	font          int
	size          float64
	colour        string // three numbers, empty for black
	text          string
}

func (d *document) text(out *strings.Builder, l label) {
	deltas, width := deltaX(l.text, l.size)
	switch {
	case l.centre:
		l.x -= width / 2
	case l.right:
		l.x -= width
	}
	fmt.Fprintf(out, `<ofd:TextObject ID="%d" Boundary="%s %s %s %s" Font="%d" Size="%s">`,
		d.newID(), mm(l.x), mm(l.y), mm(width), mm(l.size*1.3), l.font, mm(l.size))
	if l.colour != "" {
		fmt.Fprintf(out, `<ofd:FillColor Value="%s"/>`, l.colour)
	}
	fmt.Fprintf(out, `<ofd:TextCode X="0" Y="%s"%s>%s</ofd:TextCode></ofd:TextObject>`, mm(l.size), deltas, escape(l.text))
}

// deltaX gives the distances between characters as an attribute, equal ones
// gathered by g (GB/T 33190, 11.3), and the width of the whole.
func deltaX(text string, size float64) (attribute string, width float64) {
	var steps []string
	for _, r := range text {
		steps = append(steps, mm(advance(r)*size))
		width += advance(r) * size
	}
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

// mm writes a measure to a thousandth of a millimetre.
func mm(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 3, 64), "0"), ".")
}

// escape writes text as XML; characters that XML cannot hold become U+FFFD.
func escape(text string) string {
	var out strings.Builder
	must(xml.EscapeText(&out, []byte(text)))
	return out.String()
}

func (p *page) content() string {
	return header + `<ofd:Page ` + namespace + `><ofd:Area><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:Area><ofd:Content>` +
		fmt.Sprintf(`<ofd:Layer ID="%d" Type="Background">%s</ofd:Layer>`, p.backLayer, p.back.String()) +
		fmt.Sprintf(`<ofd:Layer ID="%d" Type="Body">%s</ofd:Layer>`, p.bodyLayer, p.body.String()) +
		`</ofd:Content></ofd:Page>`
}

func (d *document) root() string {
	return header + `<ofd:OFD ` + namespace + ` DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo>` +
		`<ofd:DocID>` + d.id + `</ofd:DocID><ofd:Title>` + escape(d.title) + `</ofd:Title>` +
		`<ofd:Subject>演示数据</ofd:Subject><ofd:CreationDate>` + created.Format("2006-01-02") + `</ofd:CreationDate>` +
		`<ofd:Creator>ofdgen</ofd:Creator></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>`
}

func (d *document) body() string {
	var pages strings.Builder
	for i, p := range d.pages {
		fmt.Fprintf(&pages, `<ofd:Page ID="%d" BaseLoc="Pages/Page_%d/Content.xml"/>`, p.id, i)
	}
	return header + `<ofd:Document ` + namespace + `><ofd:CommonData>` +
		fmt.Sprintf(`<ofd:MaxUnitID>%d</ofd:MaxUnitID>`, d.lastID) +
		`<ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea>` +
		`<ofd:PublicRes>PublicRes.xml</ofd:PublicRes><ofd:DocumentRes>DocumentRes.xml</ofd:DocumentRes>` +
		fmt.Sprintf(`<ofd:DefaultCS>%d</ofd:DefaultCS></ofd:CommonData>`, colourSpace) +
		`<ofd:Pages>` + pages.String() + `</ofd:Pages></ofd:Document>`
}
