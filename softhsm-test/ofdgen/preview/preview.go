// Package preview shows the pages of an OFD document (GB/T 33190) as SVG, with
// the stamps of its signatures where they stand, so that a person can look at
// what a demo made.
//
// Its one promise: every stamp stands at its Boundary and shows no more than its
// Clip, in millimetres of the page. It judges nothing: a forged signature's
// stamp is shown like any other.
//
// Limits: text, paths and stamps; no pictures of the document itself, templates
// or embedded fonts, so a page of another product may look bare. At most 4,096
// files and 16 MiB of content are read.
package preview

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// ErrPackage means the bytes are no OFD package that can be shown.
var ErrPackage = errors.New("not a readable OFD package")

// Limits on what a package may hold.
const (
	maxFiles = 4096
	maxBytes = 16 << 20
)

// Page is one page drawn. SVG is a complete element that can stand in an HTML
// page beside others.
type Page struct {
	Number            int // from 1
	WidthMM, HeightMM float64
	SVG               string
}

// Picture takes the seal out of a signature for display: name is the path of
// its Seal.esl, or of its SignedValue where the package has no copy of the seal,
// and data that file's bytes. It returns the picture and its media type; without
// a picture the stamp is shown as an empty frame.
type Picture func(name string, data []byte) (picture []byte, mediaType string)

// Pages draws every page of the first document in ofd. A nil picture shows all
// stamps as frames. Error: ErrPackage, wrapped with what was being read.
func Pages(ofd []byte, picture Picture) ([]Page, error) {
	p, err := open(ofd)
	if err != nil {
		return nil, err
	}
	doc, err := p.document()
	if err != nil {
		return nil, err
	}
	if err := p.stamps(doc, picture); err != nil {
		return nil, err
	}
	out := make([]Page, 0, len(doc.pages))
	for i, page := range doc.pages {
		drawn, err := p.page(doc, page)
		if err != nil {
			return nil, fmt.Errorf("drawing page %d: %w", i+1, err)
		}
		drawn.Number = i + 1
		out = append(out, drawn)
	}
	return out, nil
}

// archive reads files of the package while it counts what is read.
type archive struct {
	files map[string]*zip.File
	left  int64
}

func open(ofd []byte) (*archive, error) {
	r, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPackage, err)
	}
	if len(r.File) > maxFiles {
		return nil, fmt.Errorf("%w: %d files, at most %d", ErrPackage, len(r.File), maxFiles)
	}
	a := &archive{files: map[string]*zip.File{}, left: maxBytes}
	for _, f := range r.File {
		a.files[strings.TrimPrefix(f.Name, "/")] = f
	}
	return a, nil
}

// read gives one file's bytes; name is absolute, with or without its slash.
func (a *archive) read(name string) ([]byte, error) {
	f := a.files[strings.TrimPrefix(name, "/")]
	if f == nil {
		return nil, fmt.Errorf("%w: no file %q", ErrPackage, name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: opening %q: %w", ErrPackage, name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, a.left+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading %q: %w", ErrPackage, name, err)
	}
	if a.left -= int64(len(data)); a.left < 0 {
		return nil, fmt.Errorf("%w: more than %d bytes of content", ErrPackage, maxBytes)
	}
	return data, nil
}

func (a *archive) decode(name string, into any) error {
	data, err := a.read(name)
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: parsing %q: %w", ErrPackage, name, err)
	}
	return nil
}

// resolve finds the file that ref, written in the file from, means: from the
// root with a slash, else beside from, else from the root as some writers do.
func (a *archive) resolve(from, ref string) string {
	ref = strings.TrimSpace(ref)
	if strings.HasPrefix(ref, "/") {
		return path.Clean(ref)
	}
	beside := path.Join("/", path.Dir(from), ref)
	if a.files[strings.TrimPrefix(beside, "/")] == nil {
		if root := path.Join("/", ref); a.files[strings.TrimPrefix(root, "/")] != nil {
			return root
		}
	}
	return beside
}
