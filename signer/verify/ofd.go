package verify

import (
	"io"
	"slices"
)

// Bounds of one package.
const (
	maxSignatures = 256
	maxStructure  = 16 << 20 // bytes of one XML file that is kept as a tree
)

// pack is an opened OFD package.
type pack struct {
	*archive
	bodies  []*body
	endings map[string]bool // last path elements of all names; made when first asked for
	looked  bool            // others were looked for
	others  []string        // files that could be documents and are not named as such
}

// body is one document of a package (DocBody).
type body struct {
	root      string // Document.xml
	list      string // Signatures.xml, empty when there is none
	pages     []string
	templates []string
	shows     map[string]bool // root and pages: without them there is no content
	reached   map[string]bool // every file it leads to; made when first asked for
	pageIDs   map[string]bool
	signed    []*listed
}

// listed is one entry of a Signatures list.
type listed struct {
	id, kind string // kind: Seal or Sign
	file     string // Signature.xml
	relative bool   // refers to a base signature (GM/T 0099-2020)
}

func (p *pack) tree(name, root string) (*node, *refusal) {
	f, ok := p.files[name]
	if !ok {
		return nil, refuse("ofd-missing-file", "%s is not in the package", name)
	}
	if f.size > maxStructure {
		return nil, refuse("ofd-too-large", "%s has %d bytes, limit %d", name, f.size, maxStructure)
	}
	return readTree(name, p.open(name), root)
}

// content returns the bytes of a small file.
func (p *pack) content(name string, limit int64) ([]byte, *refusal) {
	f, ok := p.files[name]
	if !ok {
		return nil, refuse("ofd-missing-file", "%s is not in the package", name)
	}
	if f.size > limit {
		return nil, refuse("ofd-too-large", "%s has %d bytes, limit %d", name, f.size, limit)
	}
	b, err := io.ReadAll(p.open(name))
	if err != nil {
		return nil, xmlError(name, err)
	}
	return b, nil
}

const rootFile = "OFD.xml"

// openPack reads OFD.xml and every document it names (GB/T 33190-2016). Findings that do not stop the work go to v.
func (v *verifier) openPack(a *archive) (*pack, *refusal) {
	p := &pack{archive: a}
	root, r := p.tree(rootFile, "OFD")
	if r != nil {
		return nil, r
	}
	found := root.all("DocBody")
	if len(found) == 0 {
		return nil, refuse("ofd-no-document", "%s names no document", rootFile)
	}
	for _, n := range found {
		b, r := v.readBody(p, n)
		if r != nil {
			return nil, r
		}
		p.bodies = append(p.bodies, b)
	}
	if len(p.bodies) > 1 {
		v.find("several-documents", Note, "the package holds %d documents", len(p.bodies))
	}
	return p, nil
}

func (v *verifier) readBody(p *pack, n *node) (*body, *refusal) {
	loc, err := n.one("DocRoot")
	if err != nil {
		return nil, refuse("ofd-docroot", "%v", err)
	}
	if loc == nil || loc.content() == "" {
		return nil, refuse("ofd-docroot", "a DocBody has no DocRoot")
	}
	if len(loc.kids) > 0 {
		return nil, refuse("ofd-docroot", "DocRoot holds elements: readers disagree what it names")
	}
	if len(n.all("Versions")) > 0 {
		v.find("versions", Indeterminate, "the document has several versions: which one is shown depends on the reader")
	}
	b := &body{pageIDs: map[string]bool{}, shows: map[string]bool{}}
	var r *refusal
	if b.root, r = resolve(rootFile, loc.content()); r != nil {
		return nil, r
	}
	if b.root == rootFile {
		return nil, refuse("ofd-docroot", "DocRoot leads back to %s", rootFile)
	}
	list, err := n.one("Signatures")
	if err != nil {
		v.find("two-signature-lists", Fail, "%v: readers disagree which list counts", err)
		return b, v.readDocument(p, b)
	}
	if list != nil && list.content() != "" {
		if b.list, r = resolve(rootFile, list.content()); r != nil {
			return nil, r
		}
	}
	return b, v.readDocument(p, b)
}

// readDocument reads Document.xml and looks through every page, so that no page is left unread that a reader would show.
func (v *verifier) readDocument(p *pack, b *body) *refusal {
	root, r := p.tree(b.root, "Document")
	if r != nil {
		return r
	}
	b.shows[b.root] = true
	for _, common := range root.all("CommonData") {
		for _, t := range common.all("TemplatePage") {
			if r := v.readPage(p, b, t, &b.templates); r != nil {
				return r
			}
		}
	}
	for _, pages := range root.all("Pages") {
		for _, page := range pages.all("Page") {
			if r := v.readPage(p, b, page, &b.pages); r != nil {
				return r
			}
			if id, ok := page.attr("ID"); ok {
				b.pageIDs[id] = true
			}
		}
	}
	for _, name := range b.pages {
		b.shows[name] = true
	}
	for _, name := range slices.Concat(b.pages, b.templates) {
		if r := walkXML(name, p.open(name), nothing{}); r != nil {
			return r
		}
	}
	return nil
}

// readPage resolves one page and collects each file once.
func (v *verifier) readPage(p *pack, b *body, n *node, into *[]string) *refusal {
	loc, _ := n.attr("BaseLoc")
	name, r := resolve(b.root, loc)
	if r != nil {
		return r
	}
	if _, ok := p.files[name]; !ok {
		v.find("page-missing", Indeterminate, "page %s is not in the package", name)
		return nil
	}
	if !p.seen(b, name) {
		*into = append(*into, name)
	}
	return nil
}

// seen reports whether a page file was met before; several pages may share one.
func (p *pack) seen(b *body, name string) bool {
	f := p.files[name]
	if f.page == b {
		return true
	}
	f.page = b
	return false
}

// readList reads a Signatures list.
func (v *verifier) readList(p *pack, b *body) *refusal {
	if b.list == "" {
		return nil
	}
	root, r := p.tree(b.list, "Signatures")
	if r != nil {
		return r
	}
	listed := root.all("Signature")
	if root.count("Signature") > len(listed) {
		v.find("hidden-signature", Indeterminate, "%s holds a Signature inside another element: readers disagree whether it counts", b.list)
	}
	ids, files := map[string]bool{}, map[string]bool{}
	for _, n := range listed {
		if len(b.signed) == maxSignatures {
			return refuse("ofd-signatures", "more than %d signatures", maxSignatures)
		}
		s, r := readListed(b.list, n)
		if r != nil {
			return r
		}
		if ids[s.id] || files[s.file] {
			v.find("duplicate-signature", Indeterminate, "signature %q or its file is listed twice: readers disagree which counts", s.id)
			continue
		}
		ids[s.id], files[s.file] = true, true
		b.signed = append(b.signed, s)
	}
	return nil
}

func readListed(list string, n *node) (*listed, *refusal) {
	s := &listed{kind: "Seal"}
	s.id, _ = n.attr("ID")
	if kind, ok := n.attr("Type"); ok {
		s.kind = kind
	}
	_, s.relative = n.attr("Relative")
	loc, _ := n.attr("BaseLoc")
	var r *refusal
	s.file, r = resolve(list, loc)
	if r == nil && s.kind != "Seal" && s.kind != "Sign" {
		r = refuse("ofd-signature-type", "signature %q has the type %q", s.id, s.kind)
	}
	return s, r
}

// judgeOFD judges a package: every signature of every document, and what no signature protects.
func (v *verifier) judgeOFD(b []byte) {
	a, r := openArchive(v.ctx, b)
	if r != nil {
		v.refused(r)
		return
	}
	if a.comment {
		v.find("zip-comment", Note, "the package ends in a comment, which no signature protects")
	}
	p, r := v.openPack(a)
	if r != nil {
		v.refused(r)
		return
	}
	total := 0
	for _, b := range p.bodies {
		if r := v.readList(p, b); r != nil {
			v.refused(r)
			return
		}
		total += len(b.signed)
	}
	v.judgeEntries(p)
	if total == 0 {
		v.find("unsigned", Indeterminate, "the package holds no signature")
		return
	}
	for _, b := range p.bodies {
		v.judgeBody(p, b)
	}
}

func (v *verifier) judgeBody(p *pack, b *body) {
	if len(b.signed) == 0 {
		v.find("unsigned-document", Indeterminate, "document %s has no signature", b.root)
		return
	}
	apart := map[string]bool{rootFile: true} // files that signatures leave out by nature
	for _, other := range p.bodies {
		apart[other.list] = true
	}
	values := map[[32]byte]bool{}
	for _, s := range b.signed {
		d := p.describe(s)
		apart[d.file], apart[d.valueFile] = true, true
		v.replayed(p, s, d, values)
		if s.kind == "Seal" { // whose copy must equal the seal inside the signature; nothing holds a signature without one to what it names
			apart[d.sealFile] = true
		}
	}
	for _, s := range b.signed {
		if v.ctx.Err() != nil {
			v.find("interrupted", Indeterminate, "%v", v.ctx.Err())
			return
		}
		// Described a second time, so that only one description is held at a time.
		v.report.Signatures = append(v.report.Signatures, v.judgeListed(p, b, s, p.describe(s), apart))
	}
}

// replayed finds a value that stands in the list before, in a file of another name: one signature counts once.
func (v *verifier) replayed(p *pack, s *listed, d *description, values map[[32]byte]bool) {
	f, ok := p.files[d.valueFile]
	if !ok {
		return
	}
	if values[f.digest] {
		v.find("duplicate-signature", Indeterminate, "signature %q has the value of one listed before it: it was signed once", s.id)
	}
	values[f.digest] = true
}

// refused turns a refusal into the finding that ends the work. What this reader cannot do, and a caller that gave up, are no fault of
// the document.
func (v *verifier) refused(r *refusal) {
	result := Fail
	switch r.code {
	case "interrupted", "zip-zip64", "xml-encoding":
		result = Indeterminate
	}
	v.find(r.code, result, "%s", r.detail)
}
