package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// bench is where rows are put to the test.
type bench struct {
	root     string
	progress io.Writer
}

// verdict is a row and what became of it.
type verdict struct {
	Group    text    `json:"group"`
	Mission  text    `json:"mission"`
	Delivers string  `json:"delivers"`
	Tests    []shown `json:"tests,omitempty"`
	Command  string  `json:"command,omitempty"`
	Figure   string  `json:"figure,omitempty"` // as reported
	Later    string  `json:"later,omitempty"`
	State    string  `json:"state"` // pass, pass; later: …, later: …, reported: …, FAIL
	Why      string  `json:"why,omitempty"`
}

// shown is a test that a row names.
type shown struct {
	named
	outcome
}

// report is the whole table.
type report struct {
	Rows   []verdict `json:"rows"`
	Passed int       `json:"passed"` // shown today, in whole or as far as it is built
	Later  int       `json:"later"`
	Failed int       `json:"failed"`
}

// judge runs what the rows name, each test and command once, and decides every row.
func judge(ctx context.Context, m mission, b bench) (report, error) {
	tests := m.tests()
	fmt.Fprintf(b.progress, "%d tests and the commands that the rows name; this takes some minutes\n", len(tests))
	results, err := b.goTest(ctx, tests)
	if err != nil {
		return report{}, err
	}
	figures, err := readFigures(filepath.Join(b.root, "docs", "benchmarks.md"))
	if err != nil {
		return report{}, err
	}
	commands := map[string]outcome{}
	var r report
	for _, g := range m.Groups {
		for _, x := range g.Rows {
			if x.Command != "" && commands[x.Command].Result == "" {
				commands[x.Command] = b.command(ctx, x.Command)
			}
			r.add(decide(g.Name, x, results, commands[x.Command], figures))
		}
	}
	return r, ctx.Err()
}

func (r *report) add(v verdict) {
	r.Rows = append(r.Rows, v)
	switch {
	case v.State == fail:
		r.Failed++
	case strings.HasPrefix(v.State, "later"):
		r.Later++
	default:
		r.Passed++
	}
}

// command runs a row's command; its exit code decides.
func (b bench) command(ctx context.Context, line string) outcome {
	fmt.Fprintln(b.progress, "running", line)
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "REQUIRE_SOFTHSM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return outcome{Result: fail, Why: fmt.Sprintf("%s: %v\n%s", line, err, tail(nil, string(out)))}
	}
	return outcome{Result: pass}
}

// decide is the whole rule: anything named that does not hold fails the row, and so does a row with nothing to show and nothing promised.
func decide(g text, x row, results map[named]outcome, command outcome, figures map[string]string) verdict {
	v := verdict{Group: g, Mission: x.Mission, Delivers: x.Delivers, Command: x.Command, Later: x.Later}
	var why []string
	for _, t := range x.Test {
		o, ran := results[t]
		if !ran {
			o = outcome{Result: missing, Why: "did not run"}
		}
		v.Tests = append(v.Tests, shown{t, o})
		if o.Result != pass {
			why = append(why, fmt.Sprintf("%s: %s: %s", t, o.Result, o.Why))
		}
	}
	if x.Command != "" && command.Result != pass {
		why = append(why, command.Why)
	}
	if x.Figure != "" {
		if v.Figure = figures[x.Figure]; v.Figure == "" && x.Later == "" {
			why = append(why, fmt.Sprintf("docs/benchmarks.md reports no %q", x.Figure))
		}
	}
	tested := len(x.Test) > 0 || x.Command != ""
	if !tested && x.Figure == "" && x.Later == "" {
		why = append(why, "nothing shows it and nothing is named to deliver it")
	}
	v.State, v.Why = state(v, tested, len(why) > 0), strings.Join(why, "\n")
	return v
}

func state(v verdict, tested, failed bool) string {
	var parts []string
	if failed {
		return fail
	}
	if tested {
		parts = append(parts, pass)
	}
	if v.Figure != "" {
		parts = append(parts, "reported: "+v.Figure)
	}
	if v.Later != "" {
		parts = append(parts, "later: "+v.Later)
	}
	return strings.Join(parts, "; ")
}

// readFigures collects from the tables of docs/benchmarks.md what was measured: the first cell of a row names the measure, the column
// headed "figure" or "measured" holds it. A file that does not exist reports nothing.
func readFigures(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	figures := map[string]string{}
	column := -1
	for line := range strings.Lines(string(b)) {
		cells := cellsOf(line)
		switch {
		case cells == nil:
			column = -1
		case column < 0: // the table's head
			column = slices.IndexFunc(cells, func(c string) bool { return slices.Contains(figureHeads, strings.ToLower(c)) })
			if column < 0 {
				column = len(cells) // no such column: nothing of this table is taken
			}
		case column < len(cells):
			figures[cells[0]] = cells[column]
		}
	}
	return figures, nil
}

var figureHeads = []string{"figure", "measured"}

// cellsOf splits a row of a Markdown table; nil when the line is none.
func cellsOf(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") || len(line) < 2 {
		return nil
	}
	cells := strings.Split(line[1:len(line)-1], "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}
