package verify

import (
	"fmt"
	"slices"
	"strings"

	"sealkeeper/seal"
)

const (
	entriesFile   = "OFDEntries.xml"
	clauseEntries = "GM/T 0099-2020 8"
)

// judgeEntries judges the integrity list: it is signed, it names files that are there, and no file of the package lies outside it, the list and
// its value excepted.
func (v *verifier) judgeEntries(p *pack) {
	if _, ok := p.files[entriesFile]; !ok {
		return
	}
	out := Signature{ID: entriesFile, Type: "sign", Generation: "cms", Checks: []Check{}}
	defer func() { v.report.Signatures = append(v.report.Signatures, out) }()
	raw, r := p.content(entriesFile, maxDescription)
	if r != nil {
		out.add(CodeStructure, Fail, clauseEntries, "%s: %s", r.code, r.detail)
		return
	}
	value, files, r := p.readEntries()
	if r != nil {
		out.add(CodeStructure, Fail, clauseEntries, "%s: %s", r.code, r.detail)
		return
	}
	b, r := p.content(value, seal.MaxSize)
	if r != nil {
		out.add(CodeStructure, Fail, clauseEntries, "%s: %s", r.code, r.detail)
		return
	}
	v.judgeSign(&out, b, raw)
	out.Checks = append(out.Checks, p.checkEntries(value, files))
}

// readEntries returns where the value is, and the files that the list names.
func (p *pack) readEntries() (value string, files map[string]bool, r *refusal) {
	root, r := p.tree(entriesFile, "DocEntries")
	if r != nil {
		return "", nil, r
	}
	loc, err := root.one("SignedValueLoc")
	if err != nil || loc == nil {
		return "", nil, refuse("ofd-entries", "%s has no single SignedValueLoc: %v", entriesFile, err)
	}
	if value, r = resolve(rootFile, loc.content()); r != nil {
		return "", nil, r
	}
	files = map[string]bool{}
	for _, list := range root.all("FileList") {
		for _, n := range list.all("File") {
			written, _ := n.attr("FileLoc")
			name, r := resolve(rootFile, written)
			if r != nil {
				return "", nil, r
			}
			files[name] = true
		}
	}
	return value, files, nil
}

func (p *pack) checkEntries(value string, files map[string]bool) Check {
	var wrong []string
	for name := range p.files {
		if !files[name] && name != entriesFile && name != value {
			wrong = append(wrong, name+" is not in the list")
		}
	}
	for name := range files {
		if _, ok := p.files[name]; !ok {
			wrong = append(wrong, name+" is missing")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return Check{CodeReferences, Fail, clean(fmt.Sprintf("%d deviations: %s", len(wrong), strings.Join(wrong, ", "))), clauseEntries}
	}
	return Check{CodeReferences, Pass, fmt.Sprintf("the package has the %d files of the list and no other", len(files)), clauseEntries}
}
