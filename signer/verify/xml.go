package verify

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of one XML file. They are far above what documents hold and keep memory bounded whatever the input.
const (
	maxDepth      = 200
	maxAttributes = 256     // of one element
	maxToken      = 1 << 20 // bytes of one tag or one run of text
	maxNodes      = 400_000 // elements and attributes of a file that is kept as a tree
	maxValue      = 8 << 10 // bytes of text kept of one element, beyond any path or digest
)

var errToken = errors.New("a tag or text is too long")

// tokenBudget hands out bytes one at a time until the budget of the present token is spent, so that the decoder can never build more
// than one bounded token.
type tokenBudget struct {
	in   *bufio.Reader
	left int
}

func (t *tokenBudget) ReadByte() (byte, error) {
	if t.left == 0 {
		return 0, errToken
	}
	t.left--
	return t.in.ReadByte()
}

func (t *tokenBudget) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := t.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

// walker sees the elements of one file.
type walker interface {
	start(xml.StartElement) error
	text([]byte)
	end()
}

// walkXML reads a whole file: UTF-8, no document type, one root, nothing but comments around it. name is for messages.
func walkXML(name string, r io.Reader, w walker) *refusal {
	in := bufio.NewReader(r)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\xEF\xBB\xBF" {
		in.Discard(3)
	}
	budget := &tokenBudget{in: in}
	d := xml.NewDecoder(budget)
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, refuse("xml-encoding", "%s is encoded in %s", name, charset)
	}
	depth, roots := 0, 0
	for {
		budget.left = maxToken
		token, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 && roots == 1 {
			return nil
		}
		if err != nil {
			return xmlError(name, err)
		}
		if r := oneToken(name, token, w, &depth, &roots); r != nil {
			return r
		}
	}
}

func xmlError(name string, err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, errToken):
		return refuse("xml-token", "%s: %v", name, err)
	default:
		return refuse("xml-malformed", "%s: %v", name, err)
	}
}

func oneToken(name string, token xml.Token, w walker, depth, roots *int) *refusal {
	switch t := token.(type) {
	case xml.Directive:
		return refuse("xml-dtd", "%s has a document type declaration", name)
	case xml.StartElement:
		if *depth == 0 {
			*roots++
		}
		*depth++
		switch {
		case *roots > 1:
			return refuse("xml-two-roots", "%s has more than one root element", name)
		case *depth > maxDepth:
			return refuse("xml-depth", "%s nests deeper than %d elements", name, maxDepth)
		}
		if r := checkAttributes(name, t); r != nil {
			return r
		}
		if err := w.start(t); err != nil {
			return xmlError(name, err)
		}
	case xml.EndElement:
		*depth--
		w.end()
	case xml.CharData:
		if *depth == 0 && strings.TrimSpace(string(t)) != "" {
			return refuse("xml-malformed", "%s has text outside its root element", name)
		}
		w.text(t)
	}
	return nil
}

func checkAttributes(name string, t xml.StartElement) *refusal {
	if len(t.Attr) > maxAttributes {
		return refuse("xml-attributes", "%s: an element has %d attributes", name, len(t.Attr))
	}
	for i, a := range t.Attr {
		for _, b := range t.Attr[:i] {
			if a.Name == b.Name {
				return refuse("xml-malformed", "%s: attribute %s twice in one element", name, a.Name.Local)
			}
		}
	}
	return nil
}

// node is an element of a small file. Names are local names: the namespace of OFD is written in several ways.
type node struct {
	name  string
	attrs []xml.Attr
	value string
	kids  []*node
}

// tree builds nodes.
type tree struct {
	file  string
	root  *node
	stack []*node
	count int
}

func (t *tree) start(e xml.StartElement) error {
	if t.count += 1 + len(e.Attr); t.count > maxNodes {
		return refuse("xml-elements", "%s has more than %d elements and attributes", t.file, maxNodes)
	}
	if name := twoReadings(e); name != "" {
		return refuse("xml-two-attributes", "%s: attribute %s in two namespaces of one element: readers disagree which counts", t.file, name)
	}
	if slices.ContainsFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "base" && a.Name.Space == xmlNamespace }) {
		return refuse("xml-base", "%s: xml:base on %s: readers disagree where its paths begin", t.file, e.Name.Local)
	}
	n := &node{name: e.Name.Local, attrs: e.Copy().Attr}
	if t.root == nil {
		t.root = n
	} else {
		parent := t.stack[len(t.stack)-1]
		parent.kids = append(parent.kids, n)
	}
	t.stack = append(t.stack, n)
	return nil
}

const xmlNamespace = "http://www.w3.org/XML/1998/namespace"

// twoReadings returns the local name that two attributes of an element share, declarations of namespaces aside.
func twoReadings(e xml.StartElement) string {
	for i, a := range e.Attr {
		for _, b := range e.Attr[:i] {
			if a.Name.Local == b.Name.Local && a.Name.Space != "xmlns" && b.Name.Space != "xmlns" {
				return a.Name.Local
			}
		}
	}
	return ""
}

func (t *tree) text(b []byte) {
	if len(t.stack) == 0 {
		return
	}
	if n := t.stack[len(t.stack)-1]; len(n.value) < maxValue {
		n.value += string(b)
	}
}

func (t *tree) end() { t.stack = t.stack[:len(t.stack)-1] }

// readTree keeps a whole file in memory; its root must have the given local name.
func readTree(name string, r io.Reader, root string) (*node, *refusal) {
	t := &tree{file: name}
	if r := walkXML(name, r, t); r != nil {
		return nil, r
	}
	if t.root.name != root {
		return nil, refuse("ofd-root-element", "%s begins with %q, want %s", name, t.root.name, root)
	}
	return t.root, nil
}

// all returns the children of that name.
func (n *node) all(name string) []*node {
	var out []*node
	for _, k := range n.kids {
		if k.name == name {
			out = append(out, k)
		}
	}
	return out
}

// count counts the elements of that name below n, however deep.
func (n *node) count(name string) int {
	sum := 0
	for _, k := range n.kids {
		if sum += k.count(name); k.name == name {
			sum++
		}
	}
	return sum
}

// one returns the only child of that name, nil if there is none, and an error if there are several: two readings.
func (n *node) one(name string) (*node, error) {
	found := n.all(name)
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d elements %s in %s", len(found), name, n.name)
}

// attr returns an attribute's value and whether it is there.
func (n *node) attr(name string) (string, bool) {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

func (n *node) content() string { return strings.TrimSpace(n.value) }

// strings gives every text and attribute of a file to visit; it keeps nothing.
type stringsOf struct {
	visit func(attribute, value string)
	buf   []byte
}

func (s *stringsOf) start(e xml.StartElement) error {
	s.flush()
	for _, a := range e.Attr {
		s.visit(a.Name.Local, a.Value)
	}
	return nil
}

func (s *stringsOf) text(b []byte) {
	if len(s.buf)+len(b) <= 4*maxName { // longer text is no path
		s.buf = append(s.buf, b...)
	}
}

func (s *stringsOf) end() { s.flush() }

func (s *stringsOf) flush() {
	if len(s.buf) > 0 {
		s.visit("", string(s.buf))
		s.buf = s.buf[:0]
	}
}

// nothing is the walker that only wants to know whether a file is sound.
type nothing struct{}

// rootName keeps the name of the first element and wants no more.
type rootName string

func (r *rootName) start(e xml.StartElement) error {
	*r = rootName(e.Name.Local)
	return errors.New("enough")
}
func (*rootName) text([]byte) {}
func (*rootName) end()        {}

func (nothing) start(xml.StartElement) error { return nil }
func (nothing) text([]byte)                  {}
func (nothing) end()                         {}
