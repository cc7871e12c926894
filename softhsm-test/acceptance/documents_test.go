package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are the pages that people follow.
func documents(t *testing.T, root string) []string {
	t.Helper()
	all := []string{"README.md", "README.zh-CN.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md", "*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rel)
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	link      = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	makeCall  = regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z-]*)")
	target    = regexp.MustCompile(`(?m)^([a-z-]+):`)
	ownFolder = regexp.MustCompile(`/(?:home|root|tmp|work)/`)
)

// TestDocumentsHold: links between pages lead somewhere, the make targets that pages name exist, and no page speaks of one machine.
func TestDocumentsHold(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1) {
		targets[m[1]] = true
	}
	for _, page := range documents(t, root) {
		t.Run(page, func(t *testing.T) {
			text := read(t, filepath.Join(root, page))
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), m[1])); err != nil {
					t.Errorf("a link leads nowhere: %s", m[1])
				}
			}
			for _, m := range makeCall.FindAllStringSubmatch(text, -1) {
				if !targets[m[1]] {
					t.Errorf("make %s is no target of the Makefile", m[1])
				}
			}
			if where := ownFolder.FindString(text); where != "" {
				t.Errorf("a path of one machine: %s", where)
			}
		})
	}
}

// TestReadmesSayTheSame: both languages have the same chapters and the same commands.
func TestReadmesSayTheSame(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"README.md", "README.zh-CN.md"}, {"docs/operating.md", "docs/operating.zh-CN.md"}} {
		en, zh := read(t, filepath.Join(root, pair[0])), read(t, filepath.Join(root, pair[1]))
		if a, b := strings.Count(en, "\n## "), strings.Count(zh, "\n## "); a != b {
			t.Errorf("%s has %d chapters, %s %d", pair[0], a, pair[1], b)
		}
		for block := range blocks(en) {
			if !blocks(zh)[block] && !strings.Contains(block, "#") && !strings.Contains(block, "cmd/seald") {
				t.Errorf("%s does not have this block of %s:\n%s", pair[1], pair[0], block)
			}
		}
	}
}

// TestReadmesNameWhatIsInstalled compares the packages of the Makefile with both pages.
func TestReadmesNameWhatIsInstalled(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^DEBS +:= (.+)$`).FindStringSubmatch(read(t, filepath.Join(root, "Makefile")))
	if m == nil {
		t.Fatal("the Makefile lists no Debian packages")
	}
	for _, page := range []string{"README.md", "README.zh-CN.md"} {
		text := read(t, filepath.Join(root, page))
		for _, p := range strings.Fields(m[1]) {
			if !strings.Contains(text, "`"+p+"`") {
				t.Errorf("%s does not name %s", page, p)
			}
		}
		for _, command := range []string{"make demo ", "make test ", "make run "} {
			if !strings.Contains(text, "\n"+command) {
				t.Errorf("%s does not give the command %s", page, command)
			}
		}
	}
}

// blocks are the fenced blocks of a page.
func blocks(text string) map[string]bool {
	all := map[string]bool{}
	parts := strings.Split(text, "\n```")
	for i := 1; i < len(parts); i += 2 {
		all[parts[i]] = true
	}
	return all
}

// TestVerifierCodesAreDocumented: every code that the verifier writes stands in docs/verification.md.
func TestVerifierCodesAreDocumented(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	page := read(t, filepath.Join(root, "docs", "verification.md"))
	files, err := filepath.Glob(filepath.Join(root, "signer", "verify", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:\bCode[A-Za-z]+ += |\.find\(|\brefuse\()"([a-z0-9-]+)"`)
	seen := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(read(t, f), -1) {
			seen++
			family := slices.ContainsFunc([]string{"zip-", "xml-", "ofd-", "pdf-"}, func(p string) bool { return strings.HasPrefix(m[1], p) })
			if !family && !strings.Contains(page, "`"+m[1]+"`") {
				t.Errorf("%s is not documented (%s)", m[1], filepath.Base(f))
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d codes were found in the verifier: this test looks in the wrong place", seen)
	}
}
