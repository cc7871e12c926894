package ofd

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// signList is a Signatures.xml with what an edit of it needs.
type signList struct {
	part   string // entry name
	b      []byte
	prefix string // of the root element
	root   span   // the root's start tag
	endTag span   // the root's end tag; empty when the root closes itself
	max    *span  // the MaxSignId element, nil when absent
	last   int    // highest number found in MaxSignId and IDs
	ids    map[string]bool
	parts  []string // Signature.xml of each signature
	kinds  []string // Type of each
}

// earlier is what the signatures already present mean for the next one.
type earlier struct {
	covered map[string]bool // entry names that some signature protects
	lists   map[string]bool // the Signatures.xml of every document
	last    int             // highest number among all signature and annotation IDs: they share one counter
}

// readSignatures reads every document's list and signatures: one of another document may protect a file this one must change.
func (p *Package) readSignatures() error {
	p.earl = earlier{covered: map[string]bool{}, lists: map[string]bool{}}
	p.lists = make([]*signList, len(p.bodies))
	for i, d := range p.bodies {
		if d.signatures == "" {
			continue
		}
		b, err := p.arc.read(d.signatures, p.lim.PartBytes)
		if err != nil {
			return err
		}
		l, err := parseList(d.signatures, b, p.lim)
		if err != nil {
			return err
		}
		p.lists[i], p.earl.lists[l.part] = l, true
		p.earl.last = max(p.earl.last, l.last)
		for i, part := range l.parts {
			if err := p.readEarlier(part, l.kinds[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseList(part string, b []byte, lim Limits) (*signList, error) {
	l := &signList{part: part, b: b, ids: map[string]bool{}}
	var err error
	open := func(p []string, e xml.StartElement, at span) (bool, error) {
		switch {
		case is(p, "Signatures"):
			l.root, l.prefix = at, prefixAt(b, at.from)
		case is(p, "Signatures", "MaxSignId"):
			if l.max != nil {
				return false, fmt.Errorf("<MaxSignId> twice: %w", ErrXML)
			}
			l.max = &at
			return true, nil
		case is(p, "Signatures", "Signature"):
			return false, l.signature(e, lim)
		}
		return false, nil
	}
	closing := func(p []string, text string, at span) error {
		switch {
		case is(p, "Signatures"):
			l.endTag = at
		case is(p, "Signatures", "MaxSignId"):
			l.max.to = at.to
			return l.count(text)
		}
		return nil
	}
	err = walkXML(part, bytes.NewReader(b), "Signatures", lim, visitor{open: open, close: closing})
	return l, err
}

func (l *signList) signature(e xml.StartElement, lim Limits) error {
	id := attr(e, "ID")
	if len(l.parts) == lim.Signatures {
		return fmt.Errorf("more than %d signatures: %w", lim.Signatures, ErrTooManyEntries)
	}
	if id == "" {
		return fmt.Errorf("signature without ID: %w", ErrXML)
	}
	if l.ids[id] {
		return fmt.Errorf("signature ID %.40q: %w", id, ErrDuplicate)
	}
	part, err := resolve(l.part, attr(e, "BaseLoc"))
	if err != nil {
		return err
	}
	l.ids[id] = true
	l.parts, l.kinds = append(l.parts, part), append(l.kinds, attr(e, "Type"))
	return l.count(id)
}

func (l *signList) count(id string) error {
	n, err := idNumber(id)
	l.last = max(l.last, n)
	return err
}

// idNumber reads the number at the end of an ID: s001, 001 and 1 are all one. An ID without digits counts as 0.
func idNumber(id string) (int, error) {
	id = strings.TrimSpace(id)
	digits := id[len(strings.TrimRight(id, "0123456789")):]
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > 1_000_000_000 {
		return 0, fmt.Errorf("ID %.40q: %w", id, ErrXML)
	}
	return n, nil
}

// readEarlier reads a signature already present: what it protects, that all of it is there, and that none of it has changed.
func (p *Package) readEarlier(part, kind string) error {
	if _, err := p.arc.file(part); err != nil {
		return fmt.Errorf("%w: %w", ErrEarlierSignature, err)
	}
	r := &earlierReader{p: p, part: part, seen: once{}}
	if err := p.walk(part, "Signature", visitor{open: r.open, close: r.close}); err != nil {
		return err
	}
	if r.value == "" {
		return fmt.Errorf("%s names no SignedValue: %w", part, ErrEarlierSignature)
	}
	if p.arc.byName[r.value] == nil { // a prepared package: close has let it pass
		p.waiting = append(p.waiting, waiting{part, kind, r.value, r.seal})
	}
	return nil
}

// waiting is a signature without its value.
type waiting struct{ part, kind, value, seal string }

type earlierReader struct {
	p           *Package
	part        string
	seen        once
	sm3         bool // whether CheckMethod is one that can be checked here
	file, value string
	seal        string // Seal.esl
}

func (r *earlierReader) open(p []string, e xml.StartElement, _ span) (bool, error) {
	switch {
	case is(p, "Signature", "SignedInfo"), is(p, "Signature", "SignedInfo", "References"):
		m := strings.TrimSpace(attr(e, "CheckMethod"))
		r.sm3 = strings.EqualFold(m, "SM3") || m == checkMethod
		return false, r.seen.more(p[len(p)-1])
	case is(p, "Signature", "SignedValue"):
		return true, r.seen.more("SignedValue")
	case is(p, "Signature", "SignedInfo", "Seal", "BaseLoc"):
		return r.p.prepared, nil
	case is(p, "Signature", "SignedInfo", "StampAnnot"):
		n, err := idNumber(attr(e, "ID"))
		r.p.earl.last = max(r.p.earl.last, n)
		return false, err
	case is(p, "Signature", "SignedInfo", "References", "Reference"):
		return false, r.reference(attr(e, "FileRef"))
	case is(p, "Signature", "SignedInfo", "References", "Reference", "CheckValue"):
		return true, nil
	}
	return false, nil
}

// reference notes a protected file. FileRef is absolute by the standard; without its slash some products still mean the package's root.
func (r *earlierReader) reference(loc string) (err error) {
	if r.file, err = resolve(rootPart, loc); err != nil || r.p.arc.byName[r.file] == nil {
		r.file, err = resolve(r.part, loc)
	}
	r.p.earl.covered[r.file] = true
	return err
}

func (r *earlierReader) close(p []string, text string, _ span) error {
	switch {
	case is(p, "Signature", "SignedInfo", "References", "Reference", "CheckValue"):
		return r.check(text)
	case is(p, "Signature", "SignedInfo", "Seal", "BaseLoc") && r.p.prepared:
		var err error
		r.seal, err = resolve(r.part, text)
		return err
	case is(p, "Signature", "SignedValue"):
		var err error
		if r.value, err = resolve(r.part, text); err != nil {
			return err
		}
		if _, err = r.p.arc.file(r.value); err != nil && !r.p.prepared {
			return fmt.Errorf("%w: %w", ErrEarlierSignature, err)
		}
	}
	return nil
}

// check compares one protected file with its digest. Other methods than SM3 are left to the verifier.
func (r *earlierReader) check(value string) error {
	e, err := r.p.arc.file(r.file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEarlierSignature, err)
	}
	if !r.sm3 {
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
	if err != nil || !bytes.Equal(want, e.digest[:]) {
		return fmt.Errorf("file %.80q has changed: %w", r.file, ErrEarlierSignature)
	}
	return nil
}

// nextSign returns the number of the next Sign_<n> folder below dir: one more than the highest present, 0 in a fresh package.
func (p *Package) nextSign(dir string) int {
	next := 0
	head := fold(dir + "Sign_")
	for _, e := range p.arc.entries {
		rest, ok := strings.CutPrefix(fold(e.name), head)
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, "/")
		if n, err := strconv.Atoi(digits); err == nil && n >= next && n < 1_000_000_000 {
			next = n + 1
		}
	}
	return next
}

// listed is a signature as its list names it, with what MaxSignId becomes.
type listed struct {
	id    string
	kind  Type
	loc   string
	maxID string
}

// addSignature returns the list with one more signature and its new MaxSignId; every other byte stays.
func (l *signList) addSignature(s listed) []byte {
	name := l.prefix + "MaxSignId"
	maxElement := "<" + name + ">" + s.maxID + "</" + name + ">"
	element := s.element(l.prefix)
	var edits []edit
	switch closed := l.endTag.from == l.endTag.to; {
	case closed: // <Signatures/>: open it
		edits = []edit{{span{l.root.to - len("/>"), l.root.to}, ">" + maxElement + element + "</" + l.prefix + "Signatures>"}}
	case l.max != nil:
		edits = []edit{{*l.max, maxElement}, {span{l.endTag.from, l.endTag.from}, element}}
	default:
		edits = []edit{{span{l.root.to, l.root.to}, maxElement}, {span{l.endTag.from, l.endTag.from}, element}}
	}
	return applyEdits(l.b, edits)
}

func (s listed) element(prefix string) string {
	return "<" + prefix + `Signature ID="` + s.id + `" Type="` + s.kind.String() + `" BaseLoc="` + escape(s.loc) + `"/>`
}

func newList(s listed) []byte {
	return []byte(xmlHead + `<ofd:Signatures xmlns:ofd="` + namespace + `"><ofd:MaxSignId>` + s.maxID + "</ofd:MaxSignId>" +
		s.element("ofd:") + "</ofd:Signatures>")
}
