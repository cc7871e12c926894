package preview

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

type (
	pageXML struct {
		Area    areaXML
		Content struct {
			Layer []objectXML
		}
	}
	// objectXML is a layer, a block of objects, a text or a path: whatever
	// stands in a page, in the order of painting.
	objectXML struct {
		XMLName   xml.Name
		Boundary  string `xml:",attr"`
		CTM       string `xml:",attr"`
		Font      string `xml:",attr"`
		Size      string `xml:",attr"`
		LineWidth string `xml:",attr"`
		DrawParam string `xml:",attr"`
		Fill      string `xml:",attr"`
		Stroke    string `xml:",attr"`

		// Of a colour, of a TextCode, and their text.
		colourXML
		X      string `xml:",attr"`
		Y      string `xml:",attr"`
		DeltaX string `xml:",attr"`
		DeltaY string `xml:",attr"`
		Text   string `xml:",chardata"`

		Children []objectXML `xml:",any"`
	}
)

// page draws one page: paper, objects, stamps.
func (a *archive) page(d *document, ref pageRef) (Page, error) {
	var p pageXML
	if err := a.decode(ref.path, &p); err != nil {
		return Page{}, err
	}
	area := d.box
	if b, ok := parseBox(p.Area.PhysicalBox); ok {
		area = b
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%gmm" height="%gmm" viewBox="%g %g %g %g">`,
		area.w, area.h, area.x, area.y, area.w, area.h)
	fmt.Fprintf(&out, `<rect x="%g" y="%g" width="%g" height="%g" fill="#fff"/>`, area.x, area.y, area.w, area.h)
	for _, layer := range p.Content.Layer {
		d.objects(&out, layer)
	}
	for _, s := range d.stamps[ref.id] {
		s.draw(&out)
	}
	out.WriteString("</svg>")
	return Page{WidthMM: area.w, HeightMM: area.h, SVG: out.String()}, nil
}

// objects draws what stands in a layer or block. The decoder bounds the depth.
func (d *document) objects(out *strings.Builder, parent objectXML) {
	for _, o := range parent.Children {
		switch o.XMLName.Local {
		case "PageBlock":
			d.objects(out, o)
		case "TextObject", "PathObject":
			d.object(out, o)
		}
	}
}

// object draws a text or a path in its own coordinates: the transformation CTM
// first, then the corner of its Boundary.
func (d *document) object(out *strings.Builder, o objectXML) {
	b, ok := parseBox(o.Boundary)
	if !ok {
		return
	}
	fmt.Fprintf(out, `<g transform="translate(%g %g)`, b.x, b.y)
	if m, ok := numbers(o.CTM); ok && len(m) == 6 {
		fmt.Fprintf(out, ` matrix(%g %g %g %g %g %g)`, m[0], m[1], m[2], m[3], m[4], m[5])
	}
	out.WriteString(`">`)
	if o.XMLName.Local == "TextObject" {
		d.text(out, o)
	} else {
		d.path(out, o)
	}
	out.WriteString("</g>")
}

func (d *document) text(out *strings.Builder, o objectXML) {
	size, err := strconv.ParseFloat(o.Size, 64)
	if err != nil || size <= 0 {
		return
	}
	style := d.style(o, true)
	for _, code := range o.Children {
		if code.XMLName.Local != "TextCode" {
			continue
		}
		characters := []rune(strings.TrimSpace(code.Text))
		fmt.Fprintf(out, `<text font-family="%s" font-size="%g" x="%s" y="%s"%s>%s</text>`,
			escape(d.family(o.Font)), size, positions(code.X, code.DeltaX, len(characters)),
			positions(code.Y, code.DeltaY, len(characters)), style, escape(string(characters)))
	}
}

// family names the document's font and what stands in for it where it is not
// installed, for documents of this kind embed none.
func (d *document) family(id string) string {
	name := strings.NewReplacer(`'`, "", `\`, "").Replace(d.fonts[id])
	if strings.Contains(name, "黑") || strings.Contains(name, "Hei") {
		return "'" + name + "','SimHei','Noto Sans CJK SC','PingFang SC',sans-serif"
	}
	return "'" + name + "','SimSun','Noto Serif CJK SC','Songti SC',serif"
}

// positions lists the place of each character: start, then start plus the
// distances so far. Distances may be gathered, "g 3 5" meaning 5 5 5 (GB/T
// 33190, 11.3). The list ends where the distances do; what follows is set on.
func positions(start, deltas string, characters int) string {
	at, err := strconv.ParseFloat(strings.TrimSpace(start), 64)
	if err != nil {
		at = 0
	}
	out := []string{short(at)}
	fields := strings.Fields(deltas)
	for i := 0; i < len(fields) && len(out) < characters; i++ {
		times := 1
		if fields[i] == "g" && i+2 < len(fields) {
			times, _ = strconv.Atoi(fields[i+1])
			i += 2
		}
		step, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			break
		}
		for ; times > 0 && len(out) < characters; times-- {
			at += step
			out = append(out, short(at))
		}
	}
	return strings.Join(out, " ")
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// commands maps the letters of AbbreviatedData to those of SVG.
var commands = map[string]string{"S": "M", "M": "M", "L": "L", "Q": "Q", "B": "C", "A": "A", "C": "Z"}

func (d *document) path(out *strings.Builder, o objectXML) {
	for _, child := range o.Children {
		if child.XMLName.Local != "AbbreviatedData" {
			continue
		}
		var data []string
		for _, field := range strings.Fields(child.Text) {
			if command, ok := commands[field]; ok {
				data = append(data, command)
			} else if v, err := strconv.ParseFloat(field, 64); err == nil {
				data = append(data, short(v))
			} else {
				return
			}
		}
		fmt.Fprintf(out, `<path d="%s"%s/>`, strings.Join(data, " "), d.style(o, false))
	}
}

// style gives fill and stroke: the object's own, else its DrawParam's, else
// black. Text is filled and paths are stroked unless they say otherwise.
func (d *document) style(o objectXML, isText bool) string {
	shared := d.drawings[o.DrawParam]
	fill, stroke := shared.FillColor, shared.StrokeColor
	for _, child := range o.Children {
		switch child.XMLName.Local {
		case "FillColor":
			fill = &child.colourXML
		case "StrokeColor":
			stroke = &child.colourXML
		}
	}
	out := ` fill="none"`
	if o.Fill == "true" || isText && o.Fill != "false" {
		out = fill.attributes("fill")
	}
	if o.Stroke == "true" || !isText && o.Stroke != "false" {
		width, err := strconv.ParseFloat(cmp.Or(o.LineWidth, shared.LineWidth), 64)
		if err != nil {
			width = 0.353 // the default of GB/T 33190, 8.2
		}
		out += stroke.attributes("stroke") + ` stroke-width="` + short(width) + `"`
	}
	return out
}

// attributes writes the colour as an attribute of that name, with its opacity.
// Colours that are not three numbers (of other spaces) are shown black.
func (c *colourXML) attributes(name string) string {
	if c == nil {
		return ` ` + name + `="#000"`
	}
	value := "#000"
	if n, ok := numbers(c.Value); ok && len(n) == 3 {
		value = fmt.Sprintf("rgb(%g,%g,%g)", n[0], n[1], n[2])
	}
	out := ` ` + name + `="` + value + `"`
	if alpha, ok := numbers(c.Alpha); ok && len(alpha) == 1 {
		out += fmt.Sprintf(` %s-opacity="%.3g"`, name, alpha[0]/255)
	}
	return out
}

func escape(text string) string {
	var out strings.Builder
	if err := xml.EscapeText(&out, []byte(text)); err != nil {
		return "" // a strings.Builder takes everything
	}
	return out.String()
}
