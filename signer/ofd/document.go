package ofd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// docBody is one DocBody of OFD.xml with what an edit of it needs.
type docBody struct {
	prefix     string // namespace prefix of DocBody with its colon, or ""
	docRoot    string // entry name
	signatures string // entry name of the list, or "" when none is named
	emptyList  *span  // an existing <Signatures/> without a path
	endTag     int    // offset of </DocBody>
}

// dir is the folder of Document.xml, where Signs belongs; "" or ending with a slash.
func (d docBody) dir() string {
	if dir := path.Dir(d.docRoot); dir != "." {
		return dir + "/"
	}
	return ""
}

// readRoot reads OFD.xml and chooses the document.
func (p *Package) readRoot(document int) error {
	var err error
	if p.root, err = p.arc.read(rootPart, p.lim.PartBytes); err != nil {
		return err
	}
	if p.bodies, err = parseRoot(p.root, p.lim); err != nil {
		return err
	}
	if document > len(p.bodies) {
		return fmt.Errorf("document %d of %d: %w", document, len(p.bodies), ErrDocRoot)
	}
	p.body = document - 1
	used := map[string]bool{}
	for _, d := range p.bodies {
		if used[d.docRoot] || d.signatures != "" && used[d.signatures] {
			return fmt.Errorf("%.80q: %w", d.docRoot, ErrSeveralDocuments)
		}
		used[d.docRoot], used[d.signatures] = true, true
	}
	return nil
}

func parseRoot(b []byte, lim Limits) ([]docBody, error) {
	r := &rootReader{b: b}
	err := walkXML(rootPart, bytes.NewReader(b), "OFD", lim, visitor{open: r.open, close: r.close})
	return r.bodies, err
}

type rootReader struct {
	b      []byte
	bodies []docBody
	seen   once
	list   span // of the Signatures element being read
}

func (r *rootReader) open(p []string, _ xml.StartElement, at span) (bool, error) {
	switch {
	case is(p, "OFD", "DocBody"):
		r.seen = once{}
		r.bodies = append(r.bodies, docBody{prefix: prefixAt(r.b, at.from)})
	case is(p, "OFD", "DocBody", "DocRoot"):
		if err := r.seen.more("DocRoot"); err != nil {
			return false, fmt.Errorf("%w: %w", ErrDocRoot, err)
		}
		return true, nil
	case is(p, "OFD", "DocBody", "Signatures"):
		r.list = at
		return true, r.seen.more("Signatures")
	}
	return false, nil
}

func (r *rootReader) close(p []string, text string, at span) (err error) {
	if len(r.bodies) == 0 {
		return nil
	}
	d := &r.bodies[len(r.bodies)-1]
	switch {
	case is(p, "OFD", "DocBody", "DocRoot"):
		if d.docRoot, err = resolve(rootPart, text); err != nil {
			return fmt.Errorf("%w: %w", ErrDocRoot, err)
		}
	case is(p, "OFD", "DocBody", "Signatures"):
		if strings.TrimSpace(text) == "" {
			d.emptyList = &span{r.list.from, at.to}
			return nil
		}
		d.signatures, err = resolve(rootPart, text)
	case is(p, "OFD", "DocBody"):
		d.endTag = at.from
		if d.docRoot == "" {
			return fmt.Errorf("DocBody without DocRoot: %w", ErrDocRoot)
		}
	}
	return err
}

// pageRef is one Page of Document.xml.
type pageRef struct{ id, part string }

// readDocument reads the chosen Document.xml and every page's size.
func (p *Package) readDocument() error {
	name := p.bodies[p.body].docRoot
	if _, err := p.arc.file(name); err != nil {
		return fmt.Errorf("%w: %w", ErrDocRoot, err)
	}
	d := &documentReader{part: name, lim: p.lim, seen: once{}, ids: map[string]bool{}, templates: map[string]string{}}
	err := p.walk(name, "Document", visitor{open: d.open, close: d.close})
	if errors.Is(err, errRootElement) {
		return fmt.Errorf("%w: %w", ErrDocRoot, err)
	}
	if err != nil {
		return err
	}
	if len(d.pages) == 0 {
		return fmt.Errorf("%s has no page: %w", name, ErrMissingPart)
	}
	if err := p.readPages(d); err != nil {
		return err
	}
	p.templates = d.templates
	return p.readShown(d.shown)
}

// walk reads one part as XML and counts what was read: the work stays bounded although parts may be named many times.
func (p *Package) walk(part, root string, v visitor) error {
	e, err := p.arc.file(part)
	if err != nil {
		return err
	}
	if p.xml += int64(e.usize); p.xml > p.lim.XMLBytes {
		return fmt.Errorf("more than %d bytes of XML: %w", p.lim.XMLBytes, ErrBomb)
	}
	return walkXML(part, p.arc.open(e), root, p.lim, v)
}

type documentReader struct {
	part  string
	lim   Limits
	seen  once
	ids   map[string]bool
	box   string // the document's PhysicalBox, "" when it has none
	pages []pageRef
	shown []string // other XML parts that make up what is shown

	templates map[string]string // part of a template page, by identifier
}

// show notes a part that the document's appearance hangs on.
func (d *documentReader) show(loc string) error {
	part, err := resolve(d.part, loc)
	d.shown = append(d.shown, part)
	return err
}

// template notes a template page. Of two with one identifier the first is searched; both are protected.
func (d *documentReader) template(e xml.StartElement) error {
	if err := d.show(attr(e, "BaseLoc")); err != nil {
		return err
	}
	if id := attr(e, "ID"); d.templates[id] == "" {
		d.templates[id] = d.shown[len(d.shown)-1]
	}
	return nil
}

func (d *documentReader) open(p []string, e xml.StartElement, _ span) (bool, error) {
	switch {
	case is(p, "Document", "CommonData"), is(p, "Document", "CommonData", "PageArea"), is(p, "Document", "Pages"):
		return false, d.seen.more(p[len(p)-1])
	case is(p, "Document", "CommonData", "PageArea", "PhysicalBox"):
		return true, d.seen.more("PhysicalBox")
	case is(p, "Document", "Pages", "Page"):
		return false, d.page(e)
	case is(p, "Document", "CommonData", "TemplatePage"):
		return false, d.template(e)
	case is(p, "Document", "CommonData", "PublicRes"), is(p, "Document", "CommonData", "DocumentRes"), is(p, "Document", "Annotations"):
		return true, nil
	}
	return false, nil
}

func (d *documentReader) page(e xml.StartElement) error {
	id := attr(e, "ID")
	if len(d.pages) == d.lim.Pages {
		return fmt.Errorf("more than %d: %w", d.lim.Pages, ErrTooManyPages)
	}
	if id == "" || len(id) > 64 || strings.ContainsAny(id, " \t\r\n") {
		return fmt.Errorf("page with ID %.70q: %w", id, ErrXML)
	}
	if d.ids[id] {
		return fmt.Errorf("page ID %q: %w", id, ErrDuplicate)
	}
	d.ids[id] = true
	part, err := resolve(d.part, attr(e, "BaseLoc"))
	d.pages = append(d.pages, pageRef{id, part})
	return err
}

func (d *documentReader) close(p []string, text string, _ span) error {
	switch {
	case is(p, "Document", "CommonData", "PageArea", "PhysicalBox"):
		d.box = text
	case is(p, "Document", "CommonData", "PublicRes"), is(p, "Document", "CommonData", "DocumentRes"), is(p, "Document", "Annotations"):
		if strings.TrimSpace(text) != "" {
			return d.show(text)
		}
	}
	return nil
}

// readShown reads resources, templates and annotations for their form alone: like a page, they must be XML of one reading. A part that
// is named and absent shows nothing, so it is passed over, as readers do.
func (p *Package) readShown(parts []string) error {
	known := map[string]bool{}
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		if known[part] || p.arc.byName[part] == nil {
			continue
		}
		known[part] = true
		open := func(path []string, _ xml.StartElement, _ span) (bool, error) {
			return is(path, "Annotations", "Page", "FileLoc"), nil
		}
		closing := func(path []string, text string, _ span) error {
			if !is(path, "Annotations", "Page", "FileLoc") {
				return nil
			}
			file, err := resolve(part, text)
			parts = append(parts, file)
			return err
		}
		if err := p.walk(part, "", visitor{open: open, close: closing}); err != nil {
			return err
		}
	}
	return nil
}

// readPages reads each page part once, all of it: a page that does not parse cannot be shown, so it must not be signed.
func (p *Package) readPages(d *documentReader) error {
	own := map[string]string{} // a page's own PhysicalBox, by part
	for i, ref := range d.pages {
		box, known := own[ref.part]
		if !known {
			var err error
			if box, err = p.readPage(d, ref.part); err != nil {
				return err
			}
			own[ref.part] = box
		}
		if box == "" {
			box = d.box
		}
		w, h, err := parseBox(box, p.lim.PageMM)
		if err != nil {
			return fmt.Errorf("page %d: %w", i+1, err)
		}
		p.parts = append(p.parts, ref.part)
		p.pages = append(p.pages, Page{Index: i + 1, ID: ref.id, WidthMM: w, HeightMM: h})
	}
	return nil
}

func (p *Package) readPage(d *documentReader, part string) (box string, err error) {
	seen := once{}
	open := func(path []string, _ xml.StartElement, _ span) (bool, error) {
		switch {
		case is(path, "Page", "Area"):
			return false, seen.more("Area")
		case is(path, "Page", "Area", "PhysicalBox"):
			return true, seen.more("PhysicalBox")
		}
		return is(path, "Page", "PageRes"), nil
	}
	closing := func(path []string, text string, _ span) error {
		switch {
		case is(path, "Page", "Area", "PhysicalBox"):
			box = text
		case is(path, "Page", "PageRes") && strings.TrimSpace(text) != "":
			res, err := resolve(part, text)
			d.shown = append(d.shown, res)
			return err
		}
		return nil
	}
	err = p.walk(part, "Page", visitor{open: open, close: closing})
	return box, err
}

// parseBox reads an ST_Box "x y w h" in millimetres; its corner is the origin of the page's coordinates, so only the size matters here.
func parseBox(s string, limit float64) (w, h float64, err error) {
	f := strings.Fields(s)
	if len(f) != 4 {
		return 0, 0, fmt.Errorf("PhysicalBox %.80q: %w", s, ErrPageBox)
	}
	var v [4]float64
	for i := range v {
		v[i], err = strconv.ParseFloat(f[i], 64)
		if err != nil || strings.Trim(f[i], "+-.0123456789eE") != "" || math.Abs(v[i]) > limit {
			return 0, 0, fmt.Errorf("PhysicalBox %.80q: %w", s, ErrPageBox)
		}
	}
	if !(v[2] > 0 && v[3] > 0) {
		return 0, 0, fmt.Errorf("PhysicalBox %.80q: %w", s, ErrPageBox)
	}
	return v[2], v[3], nil
}
