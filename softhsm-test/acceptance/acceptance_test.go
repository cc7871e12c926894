package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const head = "groups:\n  - name: {zh: 试, en: try}\n    rows:\n"

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ yaml, says string }{
		"unknown key":            {head + "      - {mission: {zh: 一, en: one}, delivers: x, latter: Access}\n", "latter"},
		"unknown delivery":       {head + "      - {mission: {zh: 一, en: one}, delivers: x, later: Someday}\n", "later \"Someday\""},
		"one language":           {head + "      - {mission: {en: one}, delivers: x}\n", "both languages"},
		"nobody delivers":        {head + "      - {mission: {zh: 一, en: one}}\n", "what delivers it"},
		"key twice":              {head + "      - {mission: {zh: 一, en: one}, delivers: x, delivers: y}\n", "delivers"},
		"row twice":              {head + "      - {mission: {zh: 一, en: one}, delivers: x}\n      - {mission: {zh: 一, en: uno}, delivers: y}\n", "stands twice"},
		"test twice":             {head + "      - {mission: {zh: 一, en: one}, delivers: x, test: [./a TestA, ./a TestA]}\n", "stands twice"},
		"test without a package": {head + "      - {mission: {zh: 一, en: one}, delivers: x, test: [TestA]}\n", "TestA"},
		"a pattern for a test":   {head + "      - {mission: {zh: 一, en: one}, delivers: x, test: [./a Test.*]}\n", "Test.*"},
		"half a figure":          {head + "      - {mission: {zh: 一, en: one}, delivers: x, figure: {row: singles}}\n", "a row and a column"},
		"no rows":                {"groups: []\n", "no rows"},
		"empty":                  {"", "no rows"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load([]byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
}

// TestDecide drives the rule over tests that really run: a module with every kind of test, and one whose package does not compile.
func TestDecide(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module try\n\ngo 1.24\n",
		"a/a_test.go": `package a
import "testing"
func TestGood(t *testing.T) {}
func TestBad(t *testing.T) { t.Fatal("the reason") }
func TestSkips(t *testing.T) { t.Skip("no token") }
func TestSkipsAPart(t *testing.T) { t.Run("part", func(t *testing.T) { t.Skip("no token") }) }
`,
		"b/b_test.go":         "package b\nfunc TestGood(t *testing.T) {}\n",
		"c/c_test.go":         "package c\nimport \"testing\"\nfunc TestGood(t *testing.T) { t.Error(\"another package's test of the same name\") }\n",
		"docs/benchmarks.md":  "text\n\n| measure | goal | ratio |\n|---|---|---|\n| singles | ≥ 60 % | **61 %** |\n| batches | | |\n\n| other | table |\n|---|---|\n| singles | nothing | too much |\n",
		"docs/other/empty.md": "",
	} {
		write(t, filepath.Join(root, name), content)
	}
	rows := map[string]struct{ row, state, why string }{
		"passes":                    {"test: [./a TestGood]", "pass", ""},
		"passes so far":             {"test: [./a TestGood], later: Access", "pass; later: Access", ""},
		"later":                     {"later: Scale", "later: Scale", ""},
		"fails":                     {"test: [./a TestGood, ./a TestBad]", "FAIL", "the reason"},
		"fails in spite of later":   {"test: [./a TestBad], later: Access", "FAIL", "the reason"},
		"is skipped":                {"test: [./a TestSkips]", "FAIL", "skipped"},
		"is skipped in part":        {"test: [./a TestSkipsAPart]", "FAIL", "skipped in part: part"},
		"does not exist":            {"test: [./a TestNobodyWrote]", "FAIL", "no such test"},
		"no such package":           {"test: [./nowhere TestGood]", "FAIL", "no such test"},
		"does not compile":          {"test: [./b TestGood]", "FAIL", "undefined: testing"},
		"same name elsewhere":       {"test: [./c TestGood]", "FAIL", "same name"},
		"nothing shown or promised": {"", "FAIL", "nothing shows it"},
		"command":                   {"command: test -f go.mod", "pass", ""},
		"command fails":             {"command: echo because; exit 3", "FAIL", "because"},
		"reported":                  {"figure: {row: singles, column: ratio}", "reported: 61 %", ""},
		"reported so far":           {"figure: {row: singles, column: ratio}, later: Devices", "reported: 61 %; later: Devices", ""},
		"not reported yet":          {"figure: {row: batches, column: ratio}, later: Devices", "later: Devices", ""},
		"no such column":            {"figure: {row: singles, column: rate}", "FAIL", "reports no"},
		"never reported":            {"figure: {row: batches, column: ratio}", "FAIL", "reports no"},
	}
	var b strings.Builder
	b.WriteString(head)
	for name, r := range rows {
		b.WriteString("      - {mission: {zh: " + name + ", en: " + name + "}, delivers: x")
		if r.row != "" {
			b.WriteString(", " + r.row)
		}
		b.WriteString("}\n")
	}
	m, err := load([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	got, err := judge(t.Context(), m, bench{root, &progress})
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, v := range got.Rows {
		want := rows[v.Mission.EN]
		if v.State == fail {
			failed++
		}
		if v.State != want.state || !strings.Contains(v.Why, want.why) || want.why == "" && v.Why != "" {
			t.Errorf("%s: state %q because %q, want %q because %q", v.Mission.EN, v.State, v.Why, want.state, want.why)
		}
	}
	if len(got.Rows) != len(rows) || got.Failed != failed || got.Passed+got.Later+got.Failed != len(rows) {
		t.Errorf("%d rows, %d passed, %d later, %d failed; %d rows were wanted", len(got.Rows), got.Passed, got.Later, got.Failed, len(rows))
	}
	for _, says := range []string{"./a TestGood", "missing            ./b TestGood"} {
		if !strings.Contains(progress.String(), says) {
			t.Errorf("progress does not say %q:\n%s", says, progress.String())
		}
	}
}

func TestOutput(t *testing.T) {
	r := report{Passed: 1, Failed: 1, Rows: []verdict{
		{Group: text{"通知", "notice"}, Mission: text{"每套四枚电子印章与营业执照同步发放并且免费", "four seals"}, Delivers: "issuance",
			Tests: []shown{{named{"./a", "TestOne"}, outcome{Result: pass}}, {named{"./a", "TestTwo"}, outcome{Result: pass}}}, State: pass},
		{Group: text{"通知", "notice"}, Mission: text{"二", "two"}, Delivers: "nobody", State: fail, Why: "nothing shows it"},
	}}
	var table bytes.Buffer
	if err := r.table(&table, 80); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"通知  notice", "│   TestTwo", "FAIL  two", "2 rows: 1 shown today, 0 later, 1 fail"} {
		if !strings.Contains(table.String(), says) {
			t.Errorf("the table does not say %q:\n%s", says, table.String())
		}
	}
	for l := range strings.Lines(table.String()) {
		if n := places(strings.TrimRight(l, "\n")); n > 80 {
			t.Errorf("%d places: %s", n, l)
		}
	}
	var out bytes.Buffer
	if err := r.json(&out); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Rows []struct {
			State string
			Tests []struct{ Package, Name, Result string }
		}
		Failed int
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Failed != 1 || len(back.Rows) != 2 || back.Rows[0].Tests[1].Name != "TestTwo" || back.Rows[1].State != fail {
		t.Errorf("JSON does not come back: %v\n%s", err, out.String())
	}
}

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{"unknown flag": {"--colour"}, "unknown form": {"--output", "xml"}, "argument": {"now"}, "narrow": {"--width", "10"}} {
		t.Run(name, func(t *testing.T) {
			var out, progress bytes.Buffer
			if code, _ := run(t.Context(), args, &out, &progress); code != 1 || out.Len() > 0 {
				t.Errorf("exit code %d, output %q", code, out.String())
			}
		})
	}
}

// TestMissionIsWhole reads the real rows: they load, each names a test that is written, or what will deliver it.
func TestMissionIsWhole(t *testing.T) {
	m, err := load(missionYAML)
	if err != nil {
		t.Fatal(err)
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]map[string]bool{}
	for _, n := range m.tests() {
		if written[n.Package] == nil {
			written[n.Package] = testsIn(t, filepath.Join(root, n.Package))
		}
		if !written[n.Package][n.Name] {
			t.Errorf("mission.yaml names %s, which nobody wrote", n)
		}
	}
	for _, g := range m.Groups {
		for _, r := range g.Rows {
			if len(r.Test) == 0 && r.Command == "" && r.Figure == (figure{}) && r.Later == "" {
				t.Errorf("nothing shows %q and nothing is named to deliver it", r.Mission.EN)
			}
		}
	}
}

// testsIn lists the test functions of a folder.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				all[fn.Name.Name] = true
			}
		}
	}
	return all
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
