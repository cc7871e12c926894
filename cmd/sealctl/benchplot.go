package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"strings"
)

// The drawing: concurrency across in steps of two, rate upwards from zero.
const (
	plotWidth, plotHeight = 860, 480
	plotLeft, plotRight   = 80, 250 // the curves' names stand on the right
	plotTop, plotBottom   = 30, 50
)

var plotColours = []string{"#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b9770e", "#34495e", "#148f77", "#884ea0"}

// writePlot draws rate against concurrency into a file.
func writePlot(file string, c curves) error {
	if err := os.WriteFile(file, []byte(drawPlot(c)), 0o644); err != nil {
		return fmt.Errorf("writing the drawing: %w", err)
	}
	return nil
}

// frame maps rates and concurrency to the drawing.
type plotFrame struct{ steps, top float64 }

func (f plotFrame) x(at int) float64 {
	return plotLeft + math.Log2(float64(at))/f.steps*(plotWidth-plotLeft-plotRight)
}

func (f plotFrame) y(ops float64) float64 {
	return plotHeight - plotBottom - ops/f.top*(plotHeight-plotTop-plotBottom)
}

func drawPlot(c curves) string {
	f := plotFrame{steps: 1, top: 1}
	for _, v := range c {
		for _, d := range v.Dots {
			f.steps, f.top = max(f.steps, math.Log2(float64(d.At))), max(f.top, d.Ops)
		}
	}
	f.top *= 1.05
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	f.grid(&b)
	for i, v := range c {
		f.curve(&b, v, i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (f plotFrame) grid(b *strings.Builder) {
	for i := range 6 {
		ops := f.top * float64(i) / 5
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			plotLeft, f.y(ops), plotWidth-plotRight, f.y(ops), plotLeft-8, f.y(ops)+4, ops)
	}
	for at := 1; float64(at) <= math.Exp2(f.steps)+.5; at *= 2 {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", f.x(at), plotHeight-plotBottom+20, at)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">sessions of the token, clients of the service</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-10)
	fmt.Fprintf(b, `<text x="%d" y="18">signatures per second</text>`+"\n", plotLeft)
}

func (f plotFrame) curve(b *strings.Builder, v curve, i int) {
	colour, dash := plotColours[i%len(plotColours)], ""
	if !v.token {
		dash = ` stroke-dasharray="6 3"`
	}
	var points []string
	for _, d := range v.Dots {
		points = append(points, fmt.Sprintf("%.1f,%.1f", f.x(d.At), f.y(d.Ops)))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", f.x(d.At), f.y(d.Ops), colour)
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(points, " "), colour, dash)
	y := plotTop + 20*i + 10
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d">`, plotWidth-plotRight+15, y, plotWidth-plotRight+45, y, colour, dash,
		plotWidth-plotRight+52, y+4)
	xml.EscapeText(b, []byte(v.Name)) // a Builder takes everything
	b.WriteString("</text>\n")
}
