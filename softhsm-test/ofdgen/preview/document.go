package preview

import (
	"fmt"
	"strconv"
	"strings"
)

// document is what pages share.
type document struct {
	box        box
	fonts      map[string]string // name by identifier
	drawings   map[string]drawParam
	pages      []pageRef
	signatures string // path of the list, empty without one
	stamps     map[string][]stamp
}

type pageRef struct{ id, path string }

// The XML below is matched by local name alone: older writers use another
// namespace.
type (
	rootXML struct {
		DocBody []struct {
			DocRoot    string
			Signatures string
		}
	}
	documentXML struct {
		CommonData struct {
			PageArea    areaXML
			PublicRes   []string
			DocumentRes []string
		}
		Pages struct {
			Page []struct {
				ID      string `xml:",attr"`
				BaseLoc string `xml:",attr"`
			}
		}
	}
	areaXML struct{ PhysicalBox string }
	resXML  struct {
		Fonts struct {
			Font []struct {
				ID       string `xml:",attr"`
				FontName string `xml:",attr"`
			}
		}
		DrawParams struct {
			DrawParam []drawParam
		}
	}
	drawParam struct {
		ID          string `xml:",attr"`
		LineWidth   string `xml:",attr"`
		FillColor   *colourXML
		StrokeColor *colourXML
	}
	colourXML struct {
		Value string `xml:",attr"`
		Alpha string `xml:",attr"`
	}
)

// document reads everything but the pages themselves.
func (a *archive) document() (*document, error) {
	const rootPath = "/OFD.xml"
	var root rootXML
	if err := a.decode(rootPath, &root); err != nil {
		return nil, err
	}
	if len(root.DocBody) == 0 {
		return nil, fmt.Errorf("%w: no document in OFD.xml", ErrPackage)
	}
	name := a.resolve(rootPath, root.DocBody[0].DocRoot)
	var d documentXML
	if err := a.decode(name, &d); err != nil {
		return nil, err
	}
	out := &document{fonts: map[string]string{}, drawings: map[string]drawParam{}, stamps: map[string][]stamp{}}
	out.box = box{0, 0, 210, 297}
	if b, ok := parseBox(d.CommonData.PageArea.PhysicalBox); ok {
		out.box = b
	}
	if list := root.DocBody[0].Signatures; list != "" {
		out.signatures = a.resolve(rootPath, list)
	}
	for _, ref := range append(d.CommonData.PublicRes, d.CommonData.DocumentRes...) {
		if err := a.resources(out, a.resolve(name, ref)); err != nil {
			return nil, err
		}
	}
	for _, p := range d.Pages.Page {
		out.pages = append(out.pages, pageRef{p.ID, a.resolve(name, p.BaseLoc)})
	}
	return out, nil
}

// resources reads fonts and drawing parameters. A document whose resources are
// missing is shown without them.
func (a *archive) resources(d *document, name string) error {
	if a.files[strings.TrimPrefix(name, "/")] == nil {
		return nil
	}
	var res resXML
	if err := a.decode(name, &res); err != nil {
		return err
	}
	for _, f := range res.Fonts.Font {
		d.fonts[f.ID] = f.FontName
	}
	for _, p := range res.DrawParams.DrawParam {
		d.drawings[p.ID] = p
	}
	return nil
}

// box is a rectangle in millimetres, origin top left.
type box struct{ x, y, w, h float64 }

// parseBox reads "x y w h"; a box without area is refused.
func parseBox(text string) (box, bool) {
	n, ok := numbers(text)
	if !ok || len(n) != 4 || n[2] <= 0 || n[3] <= 0 {
		return box{}, false
	}
	return box{n[0], n[1], n[2], n[3]}, true
}

// numbers reads numbers between blanks, each below a kilometre.
func numbers(text string) ([]float64, bool) {
	var out []float64
	for _, field := range strings.Fields(text) {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil || !(v > -1e6 && v < 1e6) {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}
