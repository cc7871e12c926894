package verify

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// checkCoverage lists what a signature leaves unprotected. Its own description and value, the list, OFD.xml and the files of other
// signatures are left out by nature. A page or the document itself left out means that what is shown was never signed; any other file
// that the document leads to could be exchanged unnoticed.
func (v *verifier) checkCoverage(p *pack, b *body, s *listed, d *description, apart map[string]bool) Check {
	covered := make(map[string]bool, len(d.refs))
	for _, ref := range d.refs {
		covered[ref.file] = true
	}
	var open []string
	for _, name := range p.names {
		left := apart[name] && !b.shows[name] // a forged description may call a page its seal
		if !covered[name] && !left && !p.belongsElsewhere(b, name) {
			open = append(open, name)
		}
	}
	c := Check{Code: CodeCoverage, Result: Pass, Detail: "everything but the files of signatures is protected", Clause: "GM/T 0099-2020"}
	if !covered[rootFile] {
		c.Detail = "everything but OFD.xml and the files of signatures is protected"
	}
	if len(open) > 0 {
		c.Result, c.Detail = v.judgeOpen(p, b, s, open)
	}
	if drafts := p.drafts(); !covered[rootFile] && len(drafts) > 0 && c.Result != Fail {
		c.Result = Indeterminate
		c.Detail = clean(fmt.Sprintf("OFD.xml is not protected and could have named %s as the document", some(drafts)))
		v.find("another-document", Indeterminate, "signature %s does not protect OFD.xml, and %s could be the document as well: nothing says which one was signed", s.id, some(drafts))
	}
	return c
}

// drafts finds files that could be the document (a root element Document) beside those that OFD.xml names.
func (p *pack) drafts() []string {
	if p.looked {
		return p.others
	}
	p.looked = true
	for _, name := range p.names {
		named := slices.ContainsFunc(p.bodies, func(b *body) bool { return b.root == name })
		if root := new(rootName); !named && walkXML(name, p.open(name), root) != nil && string(*root) == "Document" {
			p.others = append(p.others, name)
		}
	}
	return p.others
}

// belongsElsewhere reports whether a file is in the folder of another document of the package, and this one neither shows nor uses it.
func (p *pack) belongsElsewhere(b *body, name string) bool {
	for _, other := range p.bodies {
		dir := path.Dir(other.root)
		if other != b && dir != "." && dir != path.Dir(b.root) && strings.HasPrefix(name, dir+"/") {
			return !b.shows[name] && !p.reachable(b)[name]
		}
	}
	return false
}

func (v *verifier) judgeOpen(p *pack, b *body, s *listed, open []string) (Result, string) {
	reached := p.reachable(b)
	var content, resources, others []string
	for _, name := range open {
		switch {
		case b.shows[name]:
			content = append(content, name)
		case reached[name]:
			resources = append(resources, name)
		default:
			others = append(others, name)
		}
	}
	result := Note
	if len(others) > 0 {
		v.find("uncovered-file", Note, "signature %s does not protect %s, to which nothing leads", s.id, some(others))
	}
	if len(resources) > 0 {
		result = Indeterminate
		v.find("uncovered-resource", Indeterminate, "signature %s does not protect %s, which the document uses", s.id, some(resources))
	}
	if len(content) > 0 {
		result = Fail
		v.find("uncovered-content", Fail, "signature %s does not protect %s, which the document shows", s.id, some(content))
	}
	return result, clean("not protected: " + some(open))
}

func some(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// reachable finds the files that a document leads to, once per document. Every text and attribute of every XML file on the way counts
// as a possible path, so that no element that somebody's reader follows is forgotten.
func (p *pack) reachable(b *body) map[string]bool {
	if b.reached != nil {
		return b.reached
	}
	b.reached = map[string]bool{}
	queue := slices.Concat([]string{b.root}, b.pages, b.templates)
	for _, name := range queue {
		b.reached[name] = true
	}
	for len(queue) > 0 {
		for _, target := range p.leadsTo(queue[0]) {
			if !b.reached[target] && strings.EqualFold(path.Ext(target), ".xml") {
				queue = append(queue, target)
			}
			b.reached[target] = true
		}
		queue = queue[1:]
	}
	return b.reached
}

// leadsTo returns the files of the package that a file mentions: relative to its folder, to the package, or to a folder that it names
// as BaseLoc (the base of a resource file). A file that is no sound XML leads nowhere.
func (p *pack) leadsTo(name string) []string {
	values, bases := map[string]bool{}, []string{name}
	collect := &stringsOf{visit: func(attribute, value string) {
		if value = strings.TrimSpace(value); value == "" || len(value) > maxName {
			return
		}
		if attribute == "BaseLoc" {
			if base, r := resolve(name, value); r == nil && len(bases) < 8 {
				bases = append(bases, base+"/.")
			}
		}
		if len(values) < maxMentions && p.mentions(value) {
			values[value] = true
		}
	}}
	if r := walkXML(name, p.open(name), collect); r != nil {
		return nil
	}
	var out []string
	for value := range values {
		for _, base := range bases {
			if target, r := resolve(base, value); r == nil && p.files[target] != nil {
				out = append(out, target)
			}
		}
	}
	return out
}

const maxMentions = 50_000 // distinct paths taken from one file

// mentions is a quick look whether a text can end in the name of a file of the package.
func (p *pack) mentions(value string) bool {
	if p.endings == nil {
		p.endings = map[string]bool{}
		for _, name := range p.names {
			p.endings[path.Base(name)] = true
		}
	}
	return p.endings[path.Base(value)]
}
