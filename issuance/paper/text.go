package paper

import (
	"fmt"
	"strings"
	"time"
)

// box is a place for running text.
type box struct{ x, y, w, h float64 }

const leading = 1.55 // line height in sizes

// wrap breaks text into lines of a width in full-width characters; a closing mark never begins a line but hangs over.
func wrap(text string, width float64) []string {
	var out []string
	var line strings.Builder
	used := 0.0
	for _, r := range text {
		w := advance(r)
		if used+w > width && !strings.ContainsRune("，。；：、！？）》」』”’…", r) {
			out = append(out, line.String())
			line.Reset()
			used = 0
		}
		line.WriteRune(r)
		used += w
	}
	if line.Len() > 0 {
		out = append(out, line.String())
	}
	return out
}

// fit chooses the largest of sizes at which the text fits the box; at the smallest it returns what does not.
func (b box) fit(text string, sizes ...float64) (lines []string, size float64, rest []string) {
	for _, size = range sizes {
		lines = wrap(text, b.w/size)
		room := int(b.h / (size * leading))
		if len(lines) <= room {
			return lines, size, nil
		}
		rest = lines[max(room, 0):]
		lines = lines[:max(room, 0)]
	}
	return lines, size, rest
}

// fill writes lines from the box's top.
func (s *sheet) fill(b box, lines []string, font int, size float64) {
	for n, text := range lines {
		s.put(label{x: b.x, y: b.y + float64(n)*size*leading, font: font, size: size, text: text})
	}
}

// day writes a date as papers do. What is no date stays as it is.
func day(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return onDay(t)
}

// beijing is the time zone of every date on a paper: law has one for the whole country.
var beijing = time.FixedZone("CST", 8*60*60)

func onDay(t time.Time) string {
	return fmt.Sprintf("%d年%02d月%02d日", t.Year(), t.Month(), t.Day())
}

func inBeijing(t time.Time) string { return onDay(t.In(beijing)) }
