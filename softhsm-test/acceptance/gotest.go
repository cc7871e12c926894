package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Results of a test. Missing: it does not exist, or its package does not build.
const (
	pass    = "pass"
	fail    = "FAIL"
	skipped = "skipped"
	missing = "missing"
)

// outcome is what became of one test.
type outcome struct {
	Result  string  `json:"result"`
	Seconds float64 `json:"seconds"`
	Why     string  `json:"why,omitempty"`
}

// event is a line of go test -json, as far as it is needed.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Elapsed    float64
	Output     string
}

// goTest runs tests in one invocation of go test, so that nothing is built or run twice, and tells what became of each.
func (b bench) goTest(ctx context.Context, tests []named) (map[named]outcome, error) {
	if len(tests) == 0 {
		return nil, nil
	}
	module, err := b.module()
	if err != nil {
		return nil, err
	}
	var names, packages []string
	for _, t := range tests {
		names, packages = append(names, t.Name), append(packages, t.Package)
	}
	names, packages = unique(names), unique(packages)
	args := append([]string{"test", "-json", "-count=1", "-timeout", "30m", "-run", "^(" + strings.Join(names, "|") + ")$"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "REQUIRE_SOFTHSM=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("running go test: %w", err)
	}
	w := newWatch(tests, module, b.progress)
	err = w.read(out)
	err = errors.Join(err, ctx.Err())
	if werr := cmd.Wait(); err == nil && len(w.seen) == 0 { // otherwise the exit code says no more than the events did
		err = fmt.Errorf("running go test: %w\n%s", werr, stderr.String())
	}
	return w.outcomes(), err
}

// module is the module path of go.mod.
func (b bench) module() (string, error) {
	f, err := os.ReadFile(b.root + "/go.mod")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(f)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", errors.New("go.mod names no module")
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// watch follows the events of one go test.
type watch struct {
	module   string
	progress io.Writer
	wanted   map[named]bool
	done     int
	seen     map[named]outcome
	said     map[named][]byte  // the tail of a test's output
	skips    map[named]string  // a subtest that was skipped
	broken   map[string][]byte // packages' own and the compiler's output
}

func newWatch(tests []named, module string, progress io.Writer) *watch {
	w := &watch{module: module, progress: progress, wanted: map[named]bool{}, seen: map[named]outcome{}, said: map[named][]byte{},
		skips: map[named]string{}, broken: map[string][]byte{}}
	for _, t := range tests {
		w.wanted[t] = true
	}
	return w
}

func (w *watch) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) == nil { // anything else on standard output is no event
			w.take(e)
		}
	}
	return s.Err()
}

func (w *watch) take(e event) {
	path, _, _ := strings.Cut(e.Package+e.ImportPath, " ") // "sealkeeper/api [sealkeeper/api.test]" of build output
	test, sub, nested := strings.Cut(e.Test, "/")
	t := named{"." + strings.TrimPrefix(path, w.module), test}
	switch {
	case test == "":
		if e.Output != "" {
			w.broken[t.Package] = tail(w.broken[t.Package], e.Output)
		}
	case !w.wanted[t]:
	case e.Action == "output":
		w.said[t] = tail(w.said[t], e.Output)
	case nested && e.Action == "skip":
		w.skips[t] = sub
	case !nested && (e.Action == pass || e.Action == "fail" || e.Action == "skip"):
		w.end(t, e)
	}
}

// tail keeps the last of what was said, enough to see why a test failed.
func tail(b []byte, more string) []byte {
	const keep = 16_000
	b = append(b, more...)
	return b[max(0, len(b)-keep):]
}

func (w *watch) end(t named, e event) {
	o := outcome{Result: pass, Seconds: e.Elapsed}
	switch {
	case e.Action == "fail":
		o.Result, o.Why = fail, complaint(w.said[t])
	case e.Action == "skip":
		o.Result, o.Why = skipped, "skipped"
	case w.skips[t] != "":
		o.Result, o.Why = skipped, "skipped in part: "+w.skips[t]
	}
	w.seen[t] = o
	w.done++
	fmt.Fprintf(w.progress, "%4d/%d  %-7s  %6.1f s  %s\n", w.done, len(w.wanted), o.Result, o.Seconds, t)
}

// complaint leaves out of a test's output what only says that something ran or passed.
func complaint(said []byte) string {
	var b strings.Builder
	for l := range strings.Lines(string(said)) {
		if s := strings.TrimSpace(l); !strings.HasPrefix(s, "=== ") && !strings.HasPrefix(s, "--- PASS") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// outcomes says of every wanted test what became of it.
func (w *watch) outcomes() map[named]outcome {
	all := map[named]outcome{}
	for t := range w.wanted {
		o, ok := w.seen[t]
		if !ok {
			o = outcome{Result: missing, Why: "no such test ran"}
			if said := strings.TrimSpace(string(w.broken[t.Package])); said != "" && !strings.HasPrefix(said, "ok") && said != "PASS" {
				o.Why += ": " + said
			}
			fmt.Fprintf(w.progress, "          missing            %s\n", t)
		}
		all[t] = o
	}
	return all
}
