package pdf

import (
	"bytes"
	"strings"
	"unicode/utf16"
)

const (
	maxFields     = 20_000 // of a form
	maxFieldDepth = 32
)

// Permission of a certification (DocMDP, ISO 32000-2 table 257). Zero is none stated.
type Permission int

// Signature is one signature field with a value.
type Signature struct {
	Field  string // full name, parts joined with full stops
	Ref    Ref    // of the field; zero where it is a direct object
	Value  Dict   // the signature dictionary; nil where /V is something else
	Object Ref    // of the signature dictionary; zero where it is direct

	Range    [4]int64 // ByteRange; meaningful where Problem is nil
	Contents []byte   // with its padding; meaningful where Problem is nil
	Problem  *Refusal // why ByteRange and Contents do not fit the file
	Revision int      // index of the revision that it ends; -1 where Problem says so

	Permission Permission // its own DocMDP, 0 without
	Certifies  bool       // the catalog's /Perms names it as the certification
	Locks      []Lock     // fields that it forbids to change
}

// Lock is a FieldMDP transform (ISO 32000-1 table 256).
type Lock struct {
	Action string // All, Include or Exclude
	Fields []string
}

// Holds reports whether the lock covers a field of this full name. A lock on a field holds for what is below it.
func (l Lock) Holds(name string) bool {
	named := false
	for _, f := range l.Fields {
		named = named || name == f || strings.HasPrefix(name, f+".")
	}
	switch l.Action {
	case "Include":
		return named
	case "Exclude":
		return !named
	}
	return true
}

// SubFilter is the encoding of the signature value, as written.
func (s *Signature) SubFilter() string {
	n, _ := s.Value.Get("SubFilter").(Name)
	return string(n)
}

// Text returns a text string of the signature dictionary (Name, Reason, Location, M), raw.
func (s *Signature) Text(key Name) string {
	t, _ := s.Value.Get(key).(String)
	return string(t.Bytes)
}

// Ranges are the two stretches of the file that the signature covers.
func (d *Document) Ranges(s *Signature) [2][]byte {
	r := s.Range
	return [2][]byte{d.src[:r[1]:r[1]], d.src[r[2] : r[2]+r[3] : r[2]+r[3]]}
}

// Uncovered is the extent that follows the covered ranges; empty where only a line end follows.
func (d *Document) Uncovered(s *Signature) (start, end int64) {
	start, end = s.Range[2]+s.Range[3], int64(len(d.src))
	if len(bytes.Trim(d.src[start:], "\r\n \t\f\x00")) == 0 {
		return end, end
	}
	return start, end
}

func (d *Document) last() int { return len(d.revisions) - 1 }

// catalog returns the document catalog as of a revision, with its reference.
func (d *Document) catalog(rev int) (Dict, Ref, error) {
	ref, ok := d.revisions[rev].trailer.Get("Root").(Ref)
	if !ok {
		return nil, ref, refuse("pdf-catalog", "the trailer has no /Root")
	}
	c, err := d.dict(ref, rev)
	if err == nil && c == nil {
		err = refuse("pdf-catalog", "/Root of the trailer is no dictionary")
	}
	return c, ref, err
}

// dict resolves a value that should be a dictionary; nil where it is something else.
func (d *Document) dict(v Value, rev int) (Dict, error) {
	v, err := d.resolve(v, rev)
	c, _ := v.(Dict)
	return c, err
}

// lenient is dict as products read that take a stream for its dictionary: what they would show or sign is judged.
func (d *Document) lenient(v Value, rev int) (Dict, error) {
	v, err := d.resolve(v, rev)
	if s, ok := v.(*Stream); ok {
		return s.Dict, err
	}
	c, _ := v.(Dict)
	return c, err
}

// array resolves a value that should be an array; nil where it is something else.
func (d *Document) array(v Value, rev int) (Array, error) {
	v, err := d.resolve(v, rev)
	a, _ := v.(Array)
	return a, err
}

// field is one node of the form while the tree is walked.
type field struct {
	value Value // Ref or Dict
	name  string
	kind  Value // inherited FT
	depth int
}

// Signatures lists the signature fields of the newest revision that have a value. Errors: *Refusal where the form cannot be read.
func (d *Document) Signatures() ([]*Signature, error) {
	catalog, _, err := d.catalog(d.last())
	if err != nil {
		return nil, err
	}
	form, err := d.dict(catalog.Get("AcroForm"), d.last())
	if err != nil || form == nil {
		return nil, err
	}
	list, err := d.array(form.Get("Fields"), d.last())
	if err != nil {
		return nil, err
	}
	var queue []field
	for _, v := range list {
		queue = append(queue, field{value: v})
	}
	perms, err := d.dict(catalog.Get("Perms"), d.last())
	if err != nil {
		return nil, err
	}
	w := &formWalk{doc: d, seen: map[Ref]bool{}, values: map[int64]*Signature{}, certified: perms.Get("DocMDP")}
	for ; len(queue) > 0; queue = queue[1:] {
		kids, err := w.visit(queue[0])
		if err != nil {
			return nil, err
		}
		queue = append(queue, kids...)
	}
	return w.found, nil
}

// formWalk collects signatures.
type formWalk struct {
	doc       *Document
	seen      map[Ref]bool
	values    map[int64]*Signature // by where their /Contents begin
	nodes     int
	certified Value
	found     []*Signature
}

// visit reads one node of the form and returns its kids. A node that is no dictionary is passed over: nobody shows it.
func (w *formWalk) visit(f field) ([]field, error) {
	d := w.doc
	if w.nodes++; w.nodes > maxFields || f.depth > maxFieldDepth {
		return nil, unsupported("pdf-limits", "a form of more than %d fields, or deeper than %d", maxFields, maxFieldDepth)
	}
	ref, indirect := f.value.(Ref)
	if indirect && w.seen[ref] {
		return nil, refuse("pdf-form-loop", "field %d stands twice in the form", ref.Num)
	}
	w.seen[ref] = indirect
	node, err := d.lenient(f.value, d.last())
	if err != nil || node == nil {
		return nil, err
	}
	if k := node.Get("FT"); k != nil {
		f.kind = k
	}
	if t, err := d.resolve(node.Get("T"), d.last()); err != nil {
		return nil, err
	} else if t, ok := t.(String); ok {
		f.name = strings.TrimPrefix(f.name+"."+text(t.Bytes), ".")
	}
	if v := node.Get("V"); v != nil {
		if err := w.value(f, ref, v); err != nil {
			return nil, err
		}
	}
	list, err := d.array(node.Get("Kids"), d.last())
	if err != nil {
		return nil, err
	}
	var kids []field
	for _, k := range list {
		kids = append(kids, field{value: k, name: f.name, kind: f.kind, depth: f.depth + 1})
	}
	return kids, nil
}

// value adds a signature where a field has one: by its type, or because the value is dressed as one.
func (w *formWalk) value(f field, ref Ref, v Value) error {
	d := w.doc
	resolved, err := d.resolve(v, d.last())
	if err != nil {
		return err
	}
	kind, err := d.resolve(f.kind, d.last())
	if err != nil {
		return err
	}
	dict, isDict := resolved.(Dict)
	if kind != Name("Sig") && !(isDict && (dict.Get("ByteRange") != nil || dict.Get("SubFilter") != nil)) || resolved == nil {
		return nil
	}
	s := &Signature{Field: f.name, Ref: ref, Value: dict, Revision: -1}
	s.Object, _ = v.(Ref)
	s.Certifies = w.certified != nil && same(w.certified, v)
	w.found = append(w.found, s)
	if !isDict {
		s.Problem = refuse("pdf-signature", "/V of the field is no dictionary")
		return nil
	}
	if s.Problem = d.fit(s); s.Problem == nil {
		s.Problem = w.alone(s)
	}
	if s.Problem != nil {
		s.Revision = -1
	}
	return d.transforms(s)
}

// alone demands that a value stands in one field: a second one would show somebody's signature where he did not put it, over anything. Which
// of them he did sign in cannot be told from the form.
func (w *formWalk) alone(s *Signature) *Refusal {
	other, taken := w.values[s.Range[1]]
	if !taken {
		w.values[s.Range[1]] = s
		return nil
	}
	other.Problem = refuse("pdf-signature", "one signature stands in two fields, %.80q and %.80q", other.Field, s.Field)
	other.Revision = -1
	return other.Problem
}

// text turns a text string into UTF-8 (ISO 32000-1 7.9.2.2); other encodings than UTF-16BE and UTF-8 are taken byte for byte.
func text(b []byte) string {
	if len(b) >= 3 && string(b[:3]) == "\xef\xbb\xbf" {
		return string(b[3:])
	}
	if len(b) < 2 || b[0] != 0xfe || b[1] != 0xff {
		return string(b)
	}
	var units []uint16
	for i := 2; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
	}
	return string(utf16.Decode(units))
}

// fit holds ByteRange against the file: [0 a b c], a gap that is exactly the Contents token of this dictionary, and an end that is the
// end of a revision. Whatever is looser is one of the published attacks (universal forgery, wrapping) or makes room for one.
func (d *Document) fit(s *Signature) *Refusal {
	bad := func(format string, args ...any) *Refusal { return refuse("pdf-byte-range", format, args...) }
	list, ok := s.Value.Get("ByteRange").(Array)
	if !ok || len(list) != 4 {
		return bad("/ByteRange is not an array of four numbers")
	}
	for i, v := range list {
		n, ok := v.(int64)
		if !ok || n < 0 || n > int64(len(d.src)) {
			return bad("/ByteRange holds %.40v, which is no place in a file of %d bytes", v, len(d.src))
		}
		s.Range[i] = n
	}
	a, b, end := s.Range[1], s.Range[2], s.Range[2]+s.Range[3]
	contents, ok := s.Value.Get("Contents").(String)
	switch {
	case s.Range[0] != 0 || a == 0 || s.Range[3] == 0:
		return bad("%v does not begin at 0, or has an empty part", s.Range)
	case b <= a:
		return bad("%v: the parts overlap or leave no gap", s.Range)
	case end > int64(len(d.src)):
		return bad("%v ends behind the file of %d bytes", s.Range, len(d.src))
	case !ok || !contents.Hex || contents.Start < 0:
		return bad("/Contents is not a hexadecimal string that stands in the dictionary itself")
	case contents.Start != a || contents.End != b:
		return bad("the gap from %d to %d is not the /Contents of this dictionary, which stands from %d to %d", a, b, contents.Start, contents.End)
	case int(b-a) != 2*len(contents.Bytes)+2:
		return bad("/Contents holds white space or an odd number of digits")
	case len(bytes.Trim(contents.Bytes, "\x00")) == 0:
		return bad("/Contents is empty")
	}
	s.Contents = contents.Bytes
	for i, r := range d.revisions {
		if end >= r.End && len(bytes.TrimLeft(d.src[r.End:end], "\r\n \t\f\x00")) == 0 {
			s.Revision = i
		}
	}
	if s.Revision < 0 || end-d.revisions[s.Revision].End > 2 && end != int64(len(d.src)) {
		s.Revision = -1
		return bad("%v ends at byte %d, where no revision ends", s.Range, end)
	}
	return nil
}

// transforms reads DocMDP and FieldMDP of /Reference (ISO 32000-1 12.8.2).
func (d *Document) transforms(s *Signature) error {
	list, err := d.array(s.Value.Get("Reference"), d.last())
	if err != nil {
		return err
	}
	for _, v := range list {
		ref, err := d.dict(v, d.last())
		if err != nil {
			return err
		}
		params, err := d.dict(ref.Get("TransformParams"), d.last())
		if err != nil {
			return err
		}
		switch ref.Get("TransformMethod") {
		case Name("DocMDP"):
			s.Permission = 2 // the default
			if p := params.Get("P"); p != nil {
				n, ok := p.(int64)
				if !ok || n < 1 || n > 3 {
					n = 1
				}
				s.Permission = Permission(n)
			}
		case Name("FieldMDP"):
			l, err := d.lock(params)
			if err != nil {
				return err
			}
			s.Locks = append(s.Locks, l)
		}
	}
	if s.Certifies && s.Permission == 0 {
		s.Permission = 2
	}
	return nil
}

func (d *Document) lock(params Dict) (Lock, error) {
	action, _ := params.Get("Action").(Name)
	l := Lock{Action: string(action)}
	list, err := d.array(params.Get("Fields"), d.last())
	for _, f := range list {
		if f, ok := f.(String); ok {
			l.Fields = append(l.Fields, text(f.Bytes))
		}
	}
	return l, err
}
