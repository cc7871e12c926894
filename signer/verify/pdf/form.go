package pdf

import "strings"

// This file compares forms: what may be filled in, signed, and added to be signed.

// form compares the AcroForm dictionaries.
func (c *comparison) form(old, new Value) error {
	a, b, err := c.dicts(old, new)
	if err != nil {
		return err
	}
	if old != nil && a == nil || b == nil {
		c.strictly(old, new, Content, "what stands for the form")
		return nil
	}
	c.take(old, new, roleForm)
	return eachKey(a, b, func(key Name, old, new Value) error {
		switch key {
		case "Fields":
			return c.fields(old, new, fieldOf{})
		case "SigFlags":
		case "NeedAppearances":
			return c.redraw(old, new)
		case "DR":
			return c.resources(old, new, 0)
		case "DA":
			if old != nil {
				c.strictly(old, new, Content, "/DA of the form")
			} else {
				c.report(Filling, "a default appearance was added to the form")
			}
		default:
			c.strictly(old, new, Content, "/%.40s of the form", key)
		}
		return nil
	})
}

// redraw judges the flag that asks readers to draw every field by its value.
func (c *comparison) redraw(old, new Value) error {
	a, err := c.doc.resolve(old, c.old)
	if err != nil {
		return err
	}
	b, err := c.doc.resolve(new, c.new)
	if err == nil && b == true && a != true {
		c.report(Doubtful, "readers are asked to draw the form anew")
	}
	return err
}

// resources lets entries be added to the form's default resources; those that were there must stay as they are.
func (c *comparison) resources(old, new Value, depth int) error {
	a, b, err := c.dicts(old, new)
	if err != nil {
		return err
	}
	return eachKey(a, b, func(key Name, old, new Value) error {
		switch {
		case old == nil:
			c.report(Filling, "default resources were added to the form")
		case depth == 0 && key != "ProcSet":
			return c.resources(old, new, 1)
		case key != "ProcSet":
			c.drawn(old, new, Content, "default resource /%.40s of the form", key)
		}
		return nil
	})
}

// fieldOf is where a list of fields stands, and what they take from there.
type fieldOf struct {
	parent  Value // Ref of the field that lists them; nil for the form's own
	name    string
	kind    Value
	changed Level // of the value above: Filling, Evidence or Annotating, else Nothing
	depth   int
}

// fields compares two lists of fields, of the form or of a field.
func (c *comparison) fields(old, new Value, in fieldOf) error {
	if in.depth > maxFieldDepth {
		return unsupported("pdf-limits", "a form deeper than %d", maxFieldDepth)
	}
	a, b, err := c.arrays(old, new)
	if err != nil {
		return err
	}
	after := map[Ref]bool{}
	for _, v := range b {
		ref, ok := v.(Ref)
		after[ref] = ok
	}
	before := map[Ref]bool{}
	for _, v := range a {
		ref, ok := v.(Ref)
		if !ok || !after[ref] {
			c.report(Content, "a form field was removed")
			continue
		}
		before[ref] = true
		if err := c.field(ref, in); err != nil {
			return err
		}
	}
	for _, v := range b {
		ref, ok := v.(Ref)
		if ok && before[ref] {
			continue
		}
		if err := c.newField(v, in); err != nil {
			return err
		}
	}
	return nil
}

// newField judges a field that was added: it must be there to sign, and do so.
func (c *comparison) newField(v Value, in fieldOf) error {
	f, err := c.doc.lenient(v, c.new)
	if err != nil {
		return err
	}
	kind := in.kind
	if k := f.Get("FT"); k != nil {
		kind = k
	}
	ref, indirect := v.(Ref)
	if kind != Name("Sig") || !indirect {
		c.report(Content, "a form field was added")
		return nil
	}
	value, err := c.doc.dict(f.Get("V"), c.new)
	if err != nil {
		return err
	}
	level := signing(value)
	if in.changed != Nothing {
		level = in.changed // a widget for a field that is signed now
	}
	kids, err := c.doc.array(f.Get("Kids"), c.new)
	if err != nil {
		return err
	}
	for _, node := range append(Array{v}, kids...) {
		worse, why, err := c.pretext(node, level, value == nil && in.changed == Nothing)
		if err != nil {
			return err
		}
		if worse > level {
			level = worse
			c.report(level, "a signature field was added %s", why)
		}
	}
	c.fresh[ref] = level
	c.report(level, "the field of a further signature was added")
	for _, k := range kids {
		if ref, ok := k.(Ref); ok && len(c.fresh) < maxFields {
			c.fresh[ref] = level
		}
	}
	return nil
}

// pretext says what else a new field or widget of a signature does than to show who signed.
func (c *comparison) pretext(v Value, level Level, unsigned bool) (Level, string, error) {
	node, err := c.doc.lenient(v, c.new)
	if err != nil || node == nil {
		return level, "", err
	}
	shown, err := c.shown(node)
	switch {
	case err != nil:
		return level, "", err
	case node.Get("A") != nil || node.Get("AA") != nil:
		return Doubtful, "that acts by itself", nil
	case unsigned && shown && (node.Get("AP") != nil || node.Get("MK") != nil):
		return Doubtful, "that has an appearance and signs nothing", nil
	case level == Evidence && shown:
		return Annotating, "for a time stamp, and is shown", nil
	}
	return level, "", nil
}

// shown reports whether a widget has a place on its page and is not hidden (ISO 32000-1 12.5.3).
func (c *comparison) shown(widget Dict) (bool, error) {
	rect, err := c.doc.array(widget.Get("Rect"), c.new)
	if err != nil {
		return false, err
	}
	flags, err := c.doc.resolve(widget.Get("F"), c.new)
	if err != nil {
		return false, err
	}
	const hidden = 1 << 1
	if n, ok := flags.(int64); ok && n&hidden != 0 || widget.Get("Rect") == nil {
		return false, nil
	}
	if len(rect) != 4 {
		return true, nil
	}
	var at [4]Value
	for i, v := range rect {
		if at[i], err = c.doc.resolve(v, c.new); err != nil {
			return false, err
		}
	}
	return !same(at[0], at[2]) && !same(at[1], at[3]), nil
}

// signing is the level of adding a signature: a document time stamp is evidence.
func signing(value Dict) Level {
	if value.Get("SubFilter") == Name("ETSI.RFC3161") {
		return Evidence
	}
	return Filling
}

// oneField is a field of both revisions while its keys are compared.
type oneField struct {
	*comparison
	ref     Ref
	name    string
	kind    Value
	signed  bool  // it held a signature before
	signs   bool  // it holds one now
	changed Level // the value was changed, here or above: Filling, Evidence or Annotating, else Nothing
	painted bool  // it had an appearance before
	depth   int
}

func (c *comparison) field(ref Ref, in fieldOf) error {
	a, b, err := c.dicts(ref, ref)
	if err != nil {
		return err
	}
	if a == nil || b == nil {
		c.strictly(ref, ref, Content, "what stands for a field")
		return nil
	}
	if !c.take(ref, ref, roleField) {
		return nil
	}
	name, kind := in.name, in.kind
	if t, ok := b.Get("T").(String); ok {
		name = strings.TrimPrefix(name+"."+text(t.Bytes), ".")
	}
	if k := a.Get("FT"); k != nil {
		kind = k
	}
	c.parent(a, b, in.parent, in.parent, Content)
	f := &oneField{comparison: c, ref: ref, name: name, kind: kind, changed: in.changed, depth: in.depth, painted: a.Get("AP") != nil}
	if err := f.value(a, b); err != nil {
		return err
	}
	return eachKey(a, b, f.key)
}

// value finds out what happened to the value before anything else is judged by it.
func (f *oneField) value(before, after Dict) error {
	old, new := before.Get("V"), after.Get("V")
	if f.kind == Name("Sig") {
		v, err := f.doc.dict(new, f.new)
		if err != nil {
			return err
		}
		f.signed, f.signs = old != nil, new != nil
		switch {
		case f.signed && f.signs:
			f.strictly(old, new, Content, "the signature in field %.80q", f.name)
		case f.signed:
			f.report(Content, "the signature in field %.80q was removed", f.name)
		case f.signs:
			if f.changed = signing(v); f.changed == Evidence { // a picture there would be nobody's
				if f.changed, err = f.stamped(after); err != nil {
					return err
				}
			}
			f.report(f.changed, "the empty signature field %.80q was signed", f.name)
		}
		return nil
	}
	a, err := f.doc.resolve(old, f.old)
	if err != nil {
		return err
	}
	b, err := f.doc.resolve(new, f.new)
	if err != nil || same(a, b) {
		return err
	}
	f.changed = Filling
	for _, l := range f.locks {
		if l.Holds(f.name) {
			f.report(Content, "field %.80q, which the signature locks, was filled in", f.name)
		}
	}
	f.report(Filling, "field %.80q was filled in", f.name)
	return nil
}

// stamped is the level of a time stamp in a field that was there: a change of what is shown, where the field shows anything.
func (f *oneField) stamped(field Dict) (Level, error) {
	kids, err := f.doc.array(field.Get("Kids"), f.new)
	if err != nil {
		return Nothing, err
	}
	for _, v := range append(Array{field}, kids...) {
		level, _, err := f.pretext(v, Evidence, false)
		if err != nil || level != Evidence {
			return level, err
		}
	}
	return Evidence, nil
}

func (f *oneField) key(key Name, old, new Value) error {
	switch key {
	case "V", "P", "Parent":
	case "Kids":
		return f.fields(old, new, fieldOf{f.ref, f.name, f.kind, f.changed, f.depth + 1})
	case "AP":
		f.appearance(old, new)
	case "AS", "I", "RV":
		f.strictly(old, new, f.given(), "the state of field %.80q", f.name)
	case "M", "StructParent", "Type", "Subtype":
		if old != nil || key == "M" {
			f.strictly(old, new, f.given(), "/%s of field %.80q", key, f.name)
		}
	case "F":
		f.strictly(old, new, f.flags(), "/F of field %.80q", f.name)
	case "Ff":
		if before, _ := old.(int64); new != before|1 { // it may become read-only
			f.strictly(old, new, Content, "/Ff of field %.80q", f.name)
		}
	default:
		f.strictly(old, new, Content, "/%.40s of field %.80q", key, f.name)
	}
	return nil
}

// given is the level of a difference that a changed value explains; without one it is a change of what is shown.
func (f *oneField) given() Level {
	if f.changed != Nothing {
		return f.changed
	}
	return Content
}

// flags: signing may show or lock the field's widget, nothing else may.
func (f *oneField) flags() Level {
	if f.signs && !f.signed {
		return f.changed
	}
	return Content
}

// appearance may change with the value that it shows. Drawn for the first time without a new value, it may show another one.
func (f *oneField) appearance(old, new Value) {
	level := f.given()
	if level == Content && !f.painted && !f.signed {
		level = Doubtful
	}
	f.comparison.drawn(old, new, level, "the appearance of field %.80q", f.name)
}
