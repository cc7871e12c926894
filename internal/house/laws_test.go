package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
)

// laws is how many there are.
const laws = 12

// TestEveryLawIsHeld calls the roll: a law without a test is not a law. docs/laws.md names each, too.
func TestEveryLawIsHeld(t *testing.T) {
	found := map[string][]string{}
	declared := regexp.MustCompile(`(?m)^func (TestLaw(\d\d)\w*)\(t \*testing\.T\)`)
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(b), -1) {
			found[m[2]] = append(found[m[2]], m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "laws.md"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= laws; n++ {
		name := fmt.Sprintf("%02d", n)
		if len(found[name]) == 0 {
			t.Errorf("no TestLaw%s", name)
		}
		if !strings.Contains(string(page), "`TestLaw"+name) {
			t.Errorf("docs/laws.md does not name TestLaw%s", name)
		}
		delete(found, name)
	}
	for _, tests := range found {
		t.Errorf("tests of a law that there is not: %v", tests)
	}
}

// vendorNumbers is where PKCS#11 lets vendors number mechanisms, key types and attributes as they like. Only package hsm speaks of those.
const vendorNumbers = 0x80000000

// TestLaw09VendorBehaviourIsData reads the source of everything that the daemon links but the profiles: it names no device and no library that
// a profile matches, no profile, and no number that a vendor has chosen.
func TestLaw09VendorBehaviourIsData(t *testing.T) {
	names := deviceNames(t)
	all := list(t)
	looked := 0
	for _, dep := range append(all[module+"cmd/seald"].Deps, module+"cmd/seald") {
		p, ours := all[dep]
		if !ours || dep == module+"firmware-profiles" {
			continue
		}
		for _, file := range append(p.GoFiles, p.CgoFiles...) {
			looked++
			namesNoDevice(t, filepath.Join(p.Dir, file), names, dep == module+"hsm")
		}
	}
	if looked < 50 || len(names) < 4 {
		t.Errorf("looked for %d names in %d files only", len(names), looked)
	}
}

// deviceNames collects what the profiles call devices and libraries, in lower case.
func deviceNames(t *testing.T) map[string]bool {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, id := range set.IDs() {
		names[id] = true
		p, err := set.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]string{p.Match.LibraryManufacturer, p.Match.LibraryDescription, p.Match.LibraryFile, p.Match.TokenManufacturer, p.Match.TokenModel} {
			for _, name := range list {
				names[strings.ToLower(name)] = true
			}
		}
	}
	return names
}

// namesNoDevice reads identifiers and literals of one file, and its numbers where asked.
func namesNoDevice(t *testing.T, path string, names map[string]bool, numbers bool) {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution) // without comments, which may explain
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		text, ok := "", true
		switch x := n.(type) {
		case *ast.Ident:
			text = x.Name
		case *ast.BasicLit:
			text = x.Value
			v, err := strconv.ParseUint(text, 0, 64)
			ok = !numbers || x.Kind != token.INT || err != nil || v < vendorNumbers
		}
		for name := range names {
			ok = ok && !strings.Contains(strings.ToLower(text), name)
		}
		if !ok {
			t.Errorf("%s: %s belongs into a profile", files.Position(n.Pos()), text)
		}
		return true
	})
}
