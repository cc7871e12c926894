package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
func decide(g text, x row, results map[named]outcome, command outcome, figures map[figure]string) verdict {
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
	if x.Figure != (figure{}) {
		if v.Figure = figures[x.Figure]; v.Figure == "" && x.Later == "" {
			why = append(why, fmt.Sprintf("docs/benchmarks.md reports no %q of %q", x.Figure.Column, x.Figure.Row))
		}
	}
	tested := len(x.Test) > 0 || x.Command != ""
	if !tested && x.Figure == (figure{}) && x.Later == "" {
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

// readFigures collects every cell of every table of docs/benchmarks.md. A file that does not exist reports nothing.
func readFigures(path string) (map[figure]string, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	figures := map[figure]string{}
	var head []string
	for line := range strings.Lines(string(b)) {
		cells := cellsOf(line)
		if len(head) == 0 || cells == nil {
			head = cells
			continue
		}
		for i, c := range cells[1:min(len(cells), len(head))] {
			figures[figure{cells[0], head[i+1]}] = c
		}
	}
	return figures, nil
}

// cellsOf splits a row of a Markdown table and takes the marks of bold type away; nil when the line is none.
func cellsOf(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") || len(line) < 2 {
		return nil
	}
	cells := strings.Split(strings.ReplaceAll(line[1:len(line)-1], "**", ""), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}
