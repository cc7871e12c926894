package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/signer/placement"
)

// placing are the flags that say where the seal's picture stands. They give the same plan to the phone, which signs its digest, to the appliance,
// which resolves it, and to prepare, which resolves it here.
type placing struct {
	stamps   stamps
	keywords keywords
	riding   ridings
	facing   facings
}

func (p *placing) flags(cmd *cobra.Command) {
	p.stamps.flag(cmd)
	f := cmd.Flags()
	f.Var(&p.keywords, "keyword", "`text=…,w=40,h=40[,pages=1-3][,nth=1][,dx=0][,dy=0]`: the picture's centre on a word of the text; nth 1 the first, -1 the last, 0 (default) each; repeated")
	f.Var(&p.riding, "riding", "`edge=right,w=40,h=40[,pages=1-5][,max=N][,at=MM][,margin=MM]`: one picture over the edges of several pages (骑缝章); repeated")
	f.Var(&p.facing, "facing", "`w=40,h=40[,pages=2-3][,at=MM][,ratio=0.5]`: one picture over two facing pages (对开); repeated")
}

// names are the flags, for demands that one of them is given.
func (*placing) names() []string { return []string{"stamp", "keyword", "riding", "facing"} }

func (p *placing) plan() placement.Plan {
	return placement.Plan{Stamps: p.stamps, Keywords: p.keywords, Riding: p.riding, Facing: p.facing}
}

// wire is the plan as the API takes it.
func (p *placing) wire(r *client.SignatureRequest) {
	r.Stamps = p.stamps.wire()
	for _, k := range p.keywords {
		r.Keywords = append(r.Keywords, client.Keyword{Text: k.Text, Pages: client.Range(k.Pages), Occurrence: k.Occurrence, W: k.W, H: k.H, DX: k.DX, DY: k.DY})
	}
	for _, k := range p.riding {
		r.Riding = append(r.Riding, client.Riding{Edge: k.Edge, Pages: client.Range(k.Pages), MaxStrips: k.MaxStrips, W: k.W, H: k.H, At: k.At, Margin: k.Margin})
	}
	for _, k := range p.facing {
		r.Facing = append(r.Facing, client.Facing{Pages: client.Range(k.Pages), W: k.W, H: k.H, At: k.At, Ratio: k.Ratio})
	}
}

// describe tells the owner in words what stands behind the placement's digest.
func (p *placing) describe() note {
	var lines []string
	if n := describeStamps(p.stamps); n.text != "" {
		lines = append(lines, n.text)
	}
	for _, k := range p.keywords {
		which := map[int]string{0: "每一处", -1: "最后一处"}[k.Occurrence]
		if which == "" {
			which = fmt.Sprintf("第 %d 处", k.Occurrence)
		}
		lines = append(lines, fmt.Sprintf("关键字“%s”%s，%s：宽 %.3f mm，高 %.3f mm，偏移 %.3f、%.3f mm", k.Text, which, pagesInWords(k.Pages), k.W, k.H, k.DX, k.DY))
	}
	for _, k := range p.riding {
		lines = append(lines, fmt.Sprintf("骑缝章，%s边，%s：宽 %.3f mm，高 %.3f mm", map[string]string{"left": "左", "right": "右", "top": "上", "bottom": "下"}[k.Edge], pagesInWords(k.Pages), k.W, k.H))
	}
	for _, k := range p.facing {
		lines = append(lines, fmt.Sprintf("对开章，%s：宽 %.3f mm，高 %.3f mm", pagesInWords(k.Pages), k.W, k.H))
	}
	return note{"placement", strings.Join(lines, "\n")}
}

func pagesInWords(r placement.Range) string {
	switch {
	case r == placement.Range{}:
		return "全部页"
	case r.To == 0:
		return fmt.Sprintf("第 %d 页起", r.From)
	}
	return fmt.Sprintf("第 %d 至 %d 页", r.From, r.To)
}

// settingsOf reads name=value pairs between commas into the places of the given names; whatever is not named stays.
func settingsOf(text string, places map[string]any) error {
	for _, part := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		place, known := places[name]
		if !ok || !known {
			return fmt.Errorf("%q is no setting here", part)
		}
		if err := set(place, value); err != nil {
			return fmt.Errorf("%s %q: %w", name, value, err)
		}
	}
	return nil
}

func set(place any, value string) (err error) {
	switch p := place.(type) {
	case *string:
		*p = value
	case *int:
		*p, err = strconv.Atoi(value)
	case *float64:
		*p, err = strconv.ParseFloat(value, 64)
	case **float64:
		var v float64
		v, err = strconv.ParseFloat(value, 64)
		*p = &v
	case *placement.Range:
		from, to, span := strings.Cut(value, "-")
		if p.From, err = strconv.Atoi(from); err == nil && span {
			p.To, err = strconv.Atoi(to)
		} else if err == nil {
			p.To = p.From
		}
	}
	if err != nil {
		return fmt.Errorf("no usable number")
	}
	return nil
}

type keywords []placement.Keyword

func (*keywords) Type() string     { return "settings" }
func (k *keywords) String() string { return count(len(*k)) }

// Set reads one keyword.
func (k *keywords) Set(text string) error {
	var v placement.Keyword
	if err := settingsOf(text, map[string]any{"text": &v.Text, "w": &v.W, "h": &v.H, "pages": &v.Pages, "nth": &v.Occurrence, "dx": &v.DX, "dy": &v.DY}); err != nil {
		return err
	}
	if v.Text == "" || v.W <= 0 || v.H <= 0 {
		return fmt.Errorf("want at least text, w and h")
	}
	*k = append(*k, v)
	return nil
}

type ridings []placement.Riding

func (*ridings) Type() string     { return "settings" }
func (k *ridings) String() string { return count(len(*k)) }

// Set reads one riding seam.
func (k *ridings) Set(text string) error {
	v := placement.Riding{Edge: "right"}
	if err := settingsOf(text, map[string]any{"edge": &v.Edge, "w": &v.W, "h": &v.H, "pages": &v.Pages, "max": &v.MaxStrips, "at": &v.At, "margin": &v.Margin}); err != nil {
		return err
	}
	if v.W <= 0 || v.H <= 0 {
		return fmt.Errorf("want at least w and h")
	}
	*k = append(*k, v)
	return nil
}

type facings []placement.Facing

func (*facings) Type() string     { return "settings" }
func (k *facings) String() string { return count(len(*k)) }

// Set reads one facing seam.
func (k *facings) Set(text string) error {
	var v placement.Facing
	if err := settingsOf(text, map[string]any{"w": &v.W, "h": &v.H, "pages": &v.Pages, "at": &v.At, "ratio": &v.Ratio}); err != nil {
		return err
	}
	if v.W <= 0 || v.H <= 0 {
		return fmt.Errorf("want at least w and h")
	}
	*k = append(*k, v)
	return nil
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
