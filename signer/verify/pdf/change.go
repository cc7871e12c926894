package pdf

import (
	"fmt"
	"slices"
)

// Level ranks a change that was made after a signature, by what a permission must allow for it.
type Level int

// The levels, from harmless on.
const (
	Nothing    Level = iota
	Evidence         // validation data, document time stamps, metadata: nothing that is shown (ISO 32000-2 12.8.2.2.2)
	Filling          // forms filled in, further signatures: DocMDP 2
	Annotating       // annotations: DocMDP 3
	Doubtful         // cannot be told from a change of what is shown or read out
	Content          // anything else: what is shown, or how the document behaves
)

// Change is one change.
type Change struct {
	Level  Level
	Detail string
}

const maxChanges = 50

// Changes compares the document as a signature's revision left it with the newest one, from the trailers on, object by object. A place
// is judged by every path that leads to it, so that an object cannot be exchanged under the pretext of a harmless use of it.
func (d *Document) Changes(s *Signature) ([]Change, error) {
	if s.Revision < 0 || s.Revision == d.last() {
		return nil, nil
	}
	c := &comparison{doc: d, old: s.Revision, new: d.last(), locks: s.Locks, own: map[pair]role{}, seen: map[visit]Level{}, fresh: map[Ref]Level{}}
	if err := c.run(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.found, func(a, b Change) int { return int(b.Level) - int(a.Level) })
	return c.found, nil
}

// pair is an object before and after.
type pair struct{ old, new Ref }

// role is what an object is for that is compared by rules of its own.
type role string

// The roles. An annotation that belongs to a field is a field.
const (
	roleCatalog    role = "the catalog"
	roleForm       role = "the form"
	roleField      role = "a field"
	rolePage       role = "a page"
	roleAnnotation role = "an annotation"
)

// visit is a pair on a way that ends at objects with rules of their own, or on one that does not.
type visit struct {
	pair
	drawn bool
}

// task is a comparison that allows no difference, to be made when every place with rules of its own is known.
type task struct {
	old, new Value
	level    Level // of a difference
	drawn    bool  // it is drawn with: what has rules of its own elsewhere is here a resource like any other, and must not change at all
	what     string
}

type comparison struct {
	doc      *Document
	old, new int // revisions
	locks    []Lock
	own      map[pair]role   // objects that are compared by rules of their own
	seen     map[visit]Level // pairs compared strictly, and the level then
	fresh    map[Ref]Level   // new signature fields and their widgets, and what adding them means
	tasks    []task
	found    []Change
}

func (c *comparison) report(level Level, format string, args ...any) {
	if level == Nothing {
		return
	}
	change := Change{level, fmt.Sprintf(format, args...)}
	if slices.Contains(c.found, change) {
		return
	}
	if len(c.found) < maxChanges {
		c.found = append(c.found, change)
		return
	}
	for i, f := range c.found { // the worst are kept
		if f.Level < level {
			c.found[i] = change
			return
		}
	}
}

func (c *comparison) strictly(old, new Value, level Level, format string, args ...any) {
	c.tasks = append(c.tasks, task{old, new, level, false, fmt.Sprintf(format, args...)})
}

// drawn compares what the page is drawn with: no object there has another use that would excuse a change.
func (c *comparison) drawn(old, new Value, level Level, format string, args ...any) {
	c.tasks = append(c.tasks, task{old, new, level, true, fmt.Sprintf(format, args...)})
}

// dicts resolves both sides; a value that is no dictionary counts as an empty one where the other side is judged key by key.
func (c *comparison) dicts(old, new Value) (a, b Dict, err error) {
	if a, err = c.doc.dict(old, c.old); err != nil {
		return nil, nil, err
	}
	b, err = c.doc.dict(new, c.new)
	return a, b, err
}

func (c *comparison) arrays(old, new Value) (a, b Array, err error) {
	if a, err = c.doc.array(old, c.old); err != nil {
		return nil, nil, err
	}
	b, err = c.doc.array(new, c.new)
	return a, b, err
}

// take marks a pair as compared by the rules of a role. It reports false where that was done before.
func (c *comparison) take(old, new Value, as role) bool {
	a, ok := old.(Ref)
	b, ok2 := new.(Ref)
	if !ok || !ok2 {
		return true
	}
	p := pair{a, b}
	before, taken := c.own[p]
	if taken && before != as && !(before == roleField && as == roleAnnotation) {
		c.report(Content, "one object is %s and %s", before, as)
	}
	if !taken {
		c.own[p] = as
	}
	return !taken
}

// eachKey calls f for every key of either dictionary, in order.
func eachKey(a, b Dict, f func(key Name, old, new Value) error) error {
	for i, j := 0, 0; i < len(a) || j < len(b); {
		var err error
		switch {
		case j == len(b) || i < len(a) && a[i].Key < b[j].Key:
			err = f(a[i].Key, a[i].Value, nil)
			i++
		case i == len(a) || b[j].Key < a[i].Key:
			err = f(b[j].Key, nil, b[j].Value)
			j++
		default:
			err = f(a[i].Key, a[i].Value, b[j].Value)
			i, j = i+1, j+1
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) run() error {
	d := c.doc
	if err := eachKey(d.revisions[c.old].trailer, d.revisions[c.new].trailer, c.trailerKey); err != nil {
		return err
	}
	old, oldRef, err := d.catalog(c.old)
	if err != nil {
		return err
	}
	new, newRef, err := d.catalog(c.new)
	if err != nil {
		return err
	}
	if oldRef != newRef {
		c.report(Content, "the trailer names another catalog")
	}
	c.take(oldRef, newRef, roleCatalog)
	if err := c.form(old.Get("AcroForm"), new.Get("AcroForm")); err != nil { // before the pages, whose annotations belong to it
		return err
	}
	if err := eachKey(old, new, c.catalogKey); err != nil {
		return err
	}
	for len(c.tasks) > 0 {
		t := c.tasks[len(c.tasks)-1]
		c.tasks = c.tasks[:len(c.tasks)-1]
		if err := c.compare(t, t.old, t.new); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) trailerKey(key Name, old, new Value) error {
	switch key {
	case "Root", "Size", "Prev", "XRefStm", "ID", "Type", "W", "Index", "Filter", "DecodeParms", "Length", "DocChecksum":
	case "Info":
		if !same(old, new) {
			c.report(Evidence, "the document information was changed")
		}
	default:
		if new == nil { // many writers leave private keys of the trailer out; what they led to must stay as it was all the same
			new = old
		}
		if old != nil {
			c.strictly(old, new, Content, "/%.40s of the trailer", key)
		}
	}
	return nil
}

func (c *comparison) catalogKey(key Name, old, new Value) error {
	switch key {
	case "AcroForm":
	case "Pages":
		return c.pages(old, new, pageOf{})
	case "DSS", "Extensions", "Version":
		if !same(old, new) {
			c.report(Evidence, "/%s of the catalog was changed", key)
		}
	case "Metadata":
		if !same(old, new) {
			c.report(Evidence, "the metadata were changed")
		}
	case "StructTreeRoot", "MarkInfo":
		c.strictly(old, new, Doubtful, "the structure that is read out (/%s)", key)
	case "Perms":
		a, b, err := c.dicts(old, new)
		if err != nil {
			return err
		}
		return eachKey(a, b, func(key Name, old, new Value) error {
			c.strictly(old, new, Content, "the permission /%.40s", key)
			return nil
		})
	default:
		c.strictly(old, new, Content, "/%.40s of the catalog", key)
	}
	return nil
}

// compare follows two values that should be the same. Objects with rules of their own end the way.
func (c *comparison) compare(t task, old, new Value) error {
	a, isRef := old.(Ref)
	b, isRef2 := new.(Ref)
	if isRef && isRef2 {
		v := visit{pair{a, b}, t.drawn}
		if c.own[v.pair] != "" && !t.drawn || c.done(v, t.level) {
			return c.doc.spend(1)
		}
		if c.seen[v] = t.level; len(c.seen) > 4*c.doc.entries+1000 {
			return unsupported("pdf-limits", "more than %d objects to compare", len(c.seen))
		}
		if c.unmoved(a, b) {
			return c.inside(t, a)
		}
	}
	old, err := c.doc.resolve(old, c.old)
	if err != nil {
		return err
	}
	if new, err = c.doc.resolve(new, c.new); err != nil {
		return err
	}
	return c.resolved(t, old, new)
}

// done reports whether a pair was compared as strictly before.
func (c *comparison) done(v visit, level Level) bool {
	before, done := c.seen[v]
	return done && before >= level
}

// unmoved reports whether both references lead to the same bytes.
func (c *comparison) unmoved(a, b Ref) bool {
	e, w, ok := c.doc.find(a.Num, c.old)
	f, v, ok2 := c.doc.find(b.Num, c.new)
	return a == b && ok == ok2 && e == f && w == v && e.kind == plain
}

// inside follows what an object leads to that stands at the same place in both revisions: its own bytes are the same.
func (c *comparison) inside(t task, ref Ref) error {
	v, err := c.doc.get(ref, c.new)
	if err != nil {
		before, beforeErr := c.doc.get(ref, c.old)
		if beforeErr != nil && before == nil { // unreadable then and now
			return c.tolerable(err)
		}
		return err
	}
	return c.resolved(t, v, v)
}

// tolerable passes over an object that could not be read even as it was signed; what has no limits is not tolerated.
func (c *comparison) tolerable(err error) error {
	if r, ok := err.(*Refusal); ok && r.Code != "pdf-limits" {
		return nil
	}
	return err
}

func (c *comparison) resolved(t task, old, new Value) error {
	switch a := old.(type) {
	case Array:
		b, ok := new.(Array)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			if err := c.step(t, a[i], b[i]); err != nil {
				return err
			}
		}
		return nil
	case Dict:
		if b, ok := new.(Dict); ok {
			return c.keys(t, a, b, "")
		}
	case *Stream:
		b, ok := new.(*Stream)
		if !ok || !same(String{Bytes: a.Raw}, String{Bytes: b.Raw}) {
			break
		}
		return c.keys(t, a.Dict, b.Dict, "Length")
	default:
		if same(old, new) {
			return nil
		}
	}
	c.report(t.level, "%s was changed", t.what)
	return nil
}

func (c *comparison) keys(t task, a, b Dict, but Name) error {
	return eachKey(a, b, func(key Name, old, new Value) error {
		if key == but && !isReference(old) && !isReference(new) {
			return nil // the bytes were compared; an indirect length may change what they are
		}
		return c.step(t, old, new)
	})
}

// step compares direct values at once and leaves references for later, so that the depth of a walk is that of one object.
func (c *comparison) step(t task, old, new Value) error {
	if err := c.doc.spend(1); err != nil {
		return err
	}
	a, isRef := old.(Ref)
	b, isRef2 := new.(Ref)
	if isRef && isRef2 {
		if _, _, found := c.doc.find(b.Num, c.new); c.done(visit{pair{a, b}, t.drawn}, t.level) || a == b && !found {
			return nil
		}
	}
	if isRef || isRef2 {
		c.tasks = append(c.tasks, task{old, new, t.level, t.drawn, t.what})
		return nil
	}
	return c.resolved(t, old, new)
}

func isReference(v Value) bool {
	_, ok := v.(Ref)
	return ok
}
