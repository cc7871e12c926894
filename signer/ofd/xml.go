package ofd

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// span is a half-open range of byte offsets in an XML part.
type span struct{ from, to int }

// visitor sees the elements of a part. The path holds local names from the root down to the element itself; namespaces vary between
// producers (http://www.ofdspec.org and …/2016) and are not compared.
type visitor struct {
	open  func(path []string, e xml.StartElement, at span) (keepText bool, err error) // at: the start tag
	close func(path []string, text string, at span) error                             // at: the end tag, empty for <a/>
	text  int                                                                         // bytes of a kept element; 0 for maxText
}

// xmlSource feeds the decoder byte by byte and ends input whose tokens grow beyond limit, since the decoder holds a token in memory.
type xmlSource struct {
	r     *bufio.Reader
	run   int // bytes since the last angle bracket
	limit int
	err   error
}

func (s *xmlSource) ReadByte() (byte, error) {
	if s.err != nil {
		return 0, s.err
	}
	c, err := s.r.ReadByte()
	if s.run++; c == '<' || c == '>' {
		s.run = 0
	}
	if err == nil && s.run > s.limit {
		err = fmt.Errorf("token of more than %d bytes: %w", s.limit, ErrXML)
	}
	s.err = err
	return c, err
}

// Read is what the decoder's signature asks for; it reads through ReadByte alone.
func (s *xmlSource) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

// errRootElement is ErrXML for a part that is some other part.
var errRootElement = fmt.Errorf("unexpected root element: %w", ErrXML)

const maxText = 4096 // bytes of a kept element: none but a text is longer than a path

// walkXML reads one part strictly: UTF-8, one root of the given local name (any for ""), no document type definition, bounded depth and tokens.
func walkXML(part string, r io.Reader, root string, lim Limits, v visitor) error {
	w := &xmlWalk{part: part, root: root, lim: lim, v: v, src: &xmlSource{r: bufio.NewReader(r), limit: lim.TokenBytes}}
	if bom, _ := w.src.r.Peek(3); string(bom) == "\xEF\xBB\xBF" {
		w.base, _ = w.src.r.Discard(3)
	}
	w.dec = xml.NewDecoder(w.src)
	for {
		from := w.offset()
		t, err := w.dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return w.refuse(err)
		}
		if err := w.token(t, span{from, w.offset()}); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	if w.roots == 0 {
		return fmt.Errorf("%s: no root element: %w", part, ErrXML)
	}
	return nil
}

type xmlWalk struct {
	part, root string
	lim        Limits
	v          visitor
	src        *xmlSource
	dec        *xml.Decoder
	base       int // length of the byte order mark
	roots      int
	path       []string
	text       []*strings.Builder // nil where the text is not kept
}

func (w *xmlWalk) offset() int { return w.base + int(w.dec.InputOffset()) }

func (w *xmlWalk) refuse(err error) error {
	if w.src.err != nil && w.src.err != io.EOF {
		return fmt.Errorf("%s: %w", w.part, w.src.err)
	}
	return fmt.Errorf("%s: %.120q: %w", w.part, err.Error(), ErrXML)
}

func (w *xmlWalk) token(t xml.Token, at span) error {
	switch t := t.(type) {
	case xml.Directive:
		return ErrEntity
	case xml.CharData:
		return w.chars(t)
	case xml.StartElement:
		return w.start(t, at)
	case xml.EndElement:
		n := len(w.path) - 1
		text := ""
		if w.text[n] != nil {
			text = w.text[n].String()
		}
		var err error
		if w.v.close != nil {
			err = w.v.close(w.path, text, at)
		}
		w.path, w.text = w.path[:n], w.text[:n]
		return err
	}
	return nil // comments and processing instructions
}

func (w *xmlWalk) chars(t xml.CharData) error {
	if len(w.path) == 0 {
		if strings.TrimSpace(string(t)) != "" {
			return fmt.Errorf("text outside the root element: %w", ErrXML)
		}
		return nil
	}
	b := w.text[len(w.text)-1]
	if b == nil {
		return nil
	}
	if b.Len()+len(t) > cmp.Or(w.v.text, maxText) {
		return fmt.Errorf("text of <%s> is too long: %w", w.path[len(w.path)-1], ErrXML)
	}
	b.Write(t)
	return nil
}

func (w *xmlWalk) start(t xml.StartElement, at span) error {
	switch {
	case len(w.path) == 0 && w.roots > 0:
		return fmt.Errorf("second root element: %w", ErrXML)
	case len(w.path) == 0 && w.root != "" && t.Name.Local != w.root:
		return fmt.Errorf("root element is <%.40s>, not <%s>: %w", t.Name.Local, w.root, errRootElement)
	case len(w.path) >= w.lim.Depth:
		return fmt.Errorf("more than %d levels: %w", w.lim.Depth, ErrDepth)
	case len(t.Attr) > w.lim.Attributes:
		return fmt.Errorf("%d attributes: %w", len(t.Attr), ErrXML)
	}
	for i, a := range t.Attr {
		if slices.ContainsFunc(t.Attr[:i], func(b xml.Attr) bool { return a.Name == b.Name }) {
			return fmt.Errorf("attribute %.40q twice: %w", a.Name.Local, ErrXML)
		}
	}
	if len(w.path) == 0 {
		w.roots++
	}
	w.path = append(w.path, t.Name.Local)
	keep, err := w.v.open(w.path, t, at)
	var b *strings.Builder
	if keep {
		b = new(strings.Builder)
	}
	w.text = append(w.text, b)
	return err
}

// attr returns an attribute without namespace, or "".
func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func is(path []string, want ...string) bool { return slices.Equal(path, want) }

// once counts single-valued elements: two of them are two readings.
type once map[string]int

func (o once) more(what string) error {
	if o[what]++; o[what] > 1 {
		return fmt.Errorf("<%s> twice: %w", what, ErrXML)
	}
	return nil
}
