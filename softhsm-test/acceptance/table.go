package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

func (r report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// table prints four wrapped columns; a wide (Chinese) character takes two places.
func (r report) table(out io.Writer, width int) error {
	w := bufio.NewWriter(out)
	rest := width - 3*3
	columns := []int{rest * 28 / 100, rest * 28 / 100, rest * 29 / 100, rest * 15 / 100}
	rule := strings.Repeat("─", width)
	line(w, columns, []string{"the mission", "what delivers it", "test or command", "state"})
	group := text{}
	for _, v := range r.Rows {
		if v.Group != group {
			group = v.Group
			fmt.Fprintf(w, "%s\n%s  %s\n%s\n", rule, group.ZH, group.EN, rule)
		}
		line(w, columns, []string{v.Mission.ZH + "\n" + v.Mission.EN, v.Delivers, v.evidence(), v.State})
	}
	fmt.Fprintln(w, rule)
	for _, v := range r.Rows {
		if v.State == fail {
			fmt.Fprintf(w, "FAIL  %s\n%s\n", v.Mission.EN, indent(v.Why))
		}
	}
	fmt.Fprintf(w, "%d rows: %d shown today, %d later, %d fail\n", len(r.Rows), r.Passed, r.Later, r.Failed)
	return w.Flush()
}

// evidence lists the tests package by package, then the command.
func (v verdict) evidence() string {
	var b strings.Builder
	last := ""
	for _, t := range v.Tests {
		if t.Package != last {
			if last != "" {
				b.WriteByte('\n')
			}
			last = t.Package
			b.WriteString(t.Package)
		}
		b.WriteString("\n  " + t.Name)
	}
	if v.Command != "" {
		b.WriteString("\n" + v.Command)
	}
	if v.Figure != "" {
		b.WriteString("\ndocs/benchmarks.md")
	}
	return strings.TrimPrefix(b.String(), "\n")
}

func indent(s string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n      ")
}

// line prints one row of cells, as many lines high as its highest cell.
func line(w io.Writer, columns []int, cells []string) {
	lines := make([][]string, len(cells))
	height := 0
	for i, c := range cells {
		for part := range strings.SplitSeq(c, "\n") {
			lines[i] = append(lines[i], wrap(part, columns[i])...)
		}
		height = max(height, len(lines[i]))
	}
	for h := range height {
		var b strings.Builder
		for i, col := range columns {
			cell := ""
			if h < len(lines[i]) {
				cell = lines[i][h]
			}
			b.WriteString(cell + strings.Repeat(" ", max(0, col-places(cell))))
			if i < len(columns)-1 {
				b.WriteString(" │ ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// wrap breaks s into lines of at most width places: at blanks, or between wide characters.
func wrap(s string, width int) []string {
	var lines []string
	lead := s[:len(s)-len(strings.TrimLeft(s, " "))]
	now, gap := lead, ""
	for _, word := range words(s) {
		if word == " " {
			gap = " "
			continue
		}
		if now != lead && places(now+gap+word) > width {
			lines, now, gap = append(lines, now), lead, ""
		}
		if now == lead {
			gap = ""
		}
		now, gap = now+gap+word, ""
		for places(now) > width { // a word longer than the column is cut
			cut := prefix(now, width)
			lines, now = append(lines, cut), now[len(cut):]
		}
	}
	return append(lines, now)
}

// words cuts s into blanks, single wide characters and runs of narrow ones.
func words(s string) []string {
	var all []string
	start := 0
	end := func(i int) {
		if i > start {
			all = append(all, s[start:i])
		}
		start = i
	}
	for i, r := range s {
		if r == ' ' || wide(r) {
			end(i)
			n := i + utf8.RuneLen(r)
			end(n)
		}
	}
	end(len(s))
	return all
}

func prefix(s string, width int) string {
	used := 0
	for i, r := range s {
		n := 1
		if wide(r) {
			n = 2
		}
		if used += n; used > width {
			return s[:i]
		}
	}
	return s
}

func places(s string) int {
	n := 0
	for _, r := range s {
		if n++; wide(r) {
			n++
		}
	}
	return n
}

// wide reports whether a terminal gives the character two places: CJK, its punctuation, and full-width forms.
func wide(r rune) bool {
	return r >= 0x2E80 && r <= 0xA4CF || r >= 0xAC00 && r <= 0xD7A3 || r >= 0xF900 && r <= 0xFAFF || r >= 0xFE30 && r <= 0xFE4F ||
		r >= 0xFF00 && r <= 0xFF60 || r >= 0xFFE0 && r <= 0xFFE6 || r >= 0x20000 && r <= 0x3FFFD
}
