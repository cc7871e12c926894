package draw

import (
	"fmt"
	"math"
	"strings"
)

// The four templates. Only the invoice seal's measures are laid down to the
// millimetre (State Administration of Taxation, notice 7 of 2011); the others
// follow common practice.

// edge keeps the outermost hundredth of a millimetre clear, so that the
// border's own anti-aliasing is inside the picture.
const edge = 0.02

func drawName(p *pen, s Spec) error {
	p.ring(20-edge, 20-edge, 1.0)
	p.star(7)
	text := arcText{a: 15.6, b: 15.6, height: 4.6, maxWidth: 4.0, spanDeg: 250, maxSlot: 6.4}
	if err := text.draw(p, s.Name); err != nil {
		return err
	}
	return printedCode(p, s.Code, 17.6, 17.6, 1.2, 1.25)
}

func drawFinance(p *pen, s Spec) error {
	p.ring(19-edge, 19-edge, 1.0)
	p.star(5)
	text := arcText{a: 15.2, b: 15.2, height: 4.4, maxWidth: 3.8, spanDeg: 250, maxSlot: 6.2}
	if err := text.draw(p, s.Name); err != nil {
		return err
	}
	if err := line(p, "财务专用章", 11, 3, 4, 0.35); err != nil {
		return err
	}
	return printedCode(p, s.Code, 16.7, 16.7, 1.2, 1.25)
}

func drawInvoice(p *pen, s Spec) error {
	const a, b, border = 20.0, 15.0, 1.0
	const inset = border + 0.5 + 2.1 // border, clear 0.5 mm, half the character
	p.ring(a-edge, b-edge, border)
	text := arcText{a: a - inset, b: b - inset, height: 4.2, maxWidth: 3.6, spanDeg: 236, maxSlot: 5.6}
	if err := text.draw(p, s.Name); err != nil {
		return err
	}
	// 18 characters in 26 mm, each 3.7 mm high and 1.3 mm wide.
	if err := digitLine(p, s.TaxNumber, 0, 26, 1.3, 3.7); err != nil {
		return err
	}
	// The line's top lies 4.2 mm below the centre, its characters are 4.6 high.
	if err := line(p, "发票专用章", 6.5, 3, 4.6, 0.35); err != nil {
		return err
	}
	return printedCode(p, s.Code, 17.8, 12.8, 1.2, 1.25)
}

func drawPerson(p *pen, s Spec) error {
	p.frame(10-edge, 1.0)
	face, err := newTypeface(song)
	if err != nil {
		return err
	}
	columns, err := personColumns(s.Person)
	if err != nil {
		return err
	}
	const side = 17.0 // inside of the frame less half a millimetre each side
	w := side / float64(len(columns))
	for i, column := range columns {
		x := side/2 - w*(float64(i)+0.5)
		h := side / float64(len(column))
		for j, r := range column {
			g, err := face.glyph(r)
			if err != nil {
				return err
			}
			y := h*(float64(j)+0.5) - side/2
			p.shape(g.contours, g.inBox(w-0.3, h-0.3).then(shifted(x, y)))
		}
	}
	return nil
}

// personColumns lays a name out in columns, right column first. Three
// characters and 印 make the classic square of four, as do two with 之印; a name
// of four stands alone, and a name with dots gets a column for each part.
func personColumns(person string) ([][]rune, error) {
	if strings.ContainsRune(person, '·') {
		return dottedColumns(person)
	}
	runes := []rune(person)
	switch len(runes) {
	case 1:
		runes = append(runes, '印')
	case 2:
		runes = append(runes, '之', '印')
	case 3:
		runes = append(runes, '印')
	}
	rows := int(math.Ceil(math.Sqrt(float64(len(runes)))))
	var out [][]rune
	for len(runes) > 0 {
		n := min(rows, len(runes))
		out, runes = append(out, runes[:n]), runes[n:]
	}
	return out, nil
}

func dottedColumns(person string) ([][]rune, error) {
	var out [][]rune
	for _, part := range strings.Split(person, "·") {
		if part == "" {
			return nil, fmt.Errorf("%w: person %q has an empty part", ErrText, person)
		}
		out = append(out, []rune(part))
	}
	return out, nil
}
