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
	n := len(p.bodies)
	switch {
	case n == 0 || document > n:
		return fmt.Errorf("document %d of %d: %w", max(document, 1), n, ErrDocRoot)
	case document == 0 && n > 1:
		return fmt.Errorf("%d DocBody: %w", n, ErrSeveralDocuments)
	}
	p.body = max(document, 1) - 1
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
	e, err := p.arc.file(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDocRoot, err)
	}
	d := &documentReader{part: name, lim: p.lim, seen: once{}, ids: map[string]bool{}}
	err = walkXML(name, p.arc.open(e), "Document", p.lim, visitor{open: d.open, close: d.close})
	if errors.Is(err, errRootElement) {
		return fmt.Errorf("%w: %w", ErrDocRoot, err)
	}
	if err != nil {
		return err
	}
	if len(d.pages) == 0 {
		return fmt.Errorf("%s has no page: %w", name, ErrMissingPart)
	}
	return p.readPages(d)
}

type documentReader struct {
	part  string
	lim   Limits
	seen  once
	ids   map[string]bool
	box   string // the document's PhysicalBox, "" when it has none
	pages []pageRef
}

func (d *documentReader) open(p []string, e xml.StartElement, _ span) (bool, error) {
	switch {
	case is(p, "Document", "CommonData"), is(p, "Document", "CommonData", "PageArea"), is(p, "Document", "Pages"):
		return false, d.seen.more(p[len(p)-1])
	case is(p, "Document", "CommonData", "PageArea", "PhysicalBox"):
		return true, d.seen.more("PhysicalBox")
	case is(p, "Document", "Pages", "Page"):
		return false, d.page(e)
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
	if is(p, "Document", "CommonData", "PageArea", "PhysicalBox") {
		d.box = text
	}
	return nil
}

// readPages reads each page part once, all of it: a page that does not parse cannot be shown, so it must not be signed.
func (p *Package) readPages(d *documentReader) error {
	own := map[string]string{}
	for i, ref := range d.pages {
		box, known := own[ref.part]
		if !known {
			var err error
			if box, err = p.readPage(ref.part); err != nil {
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
		p.pages = append(p.pages, Page{Index: i + 1, ID: ref.id, WidthMM: w, HeightMM: h})
	}
	return nil
}

func (p *Package) readPage(part string) (box string, err error) {
	e, err := p.arc.file(part)
	if err != nil {
		return "", err
	}
	seen := once{}
	open := func(path []string, _ xml.StartElement, _ span) (bool, error) {
		switch {
		case is(path, "Page", "Area"):
			return false, seen.more("Area")
		case is(path, "Page", "Area", "PhysicalBox"):
			return true, seen.more("PhysicalBox")
		}
		return false, nil
	}
	closing := func(path []string, text string, _ span) error {
		if is(path, "Page", "Area", "PhysicalBox") {
			box = text
		}
		return nil
	}
	return box, walkXML(part, p.arc.open(e), "Page", p.lim, visitor{open: open, close: closing})
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
