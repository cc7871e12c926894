package pdf

import "strings"

// This file compares forms: what may be filled in, signed, and added to be signed.

// form compares the AcroForm dictionaries.
func (c *comparison) form(old, new Value) error {
	c.take(old, new)
	a, b, err := c.dicts(old, new)
	if err != nil {
		return err
	}
	return eachKey(a, b, func(key Name, old, new Value) error {
		switch key {
		case "Fields":
			return c.fields(old, new, "", nil, Nothing, 0)
		case "SigFlags":
		case "NeedAppearances":
			if new == true && old != true {
				c.report(Doubtful, "readers are asked to draw the form anew")
			}
		case "DR":
			return c.resources(old, new, 0)
		case "DA":
			if old != nil {
				c.strictly(old, new, Content, "/DA of the form")
			}
		default:
			c.strictly(old, new, Content, "/%.40s of the form", key)
		}
		return nil
	})
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
			c.strictly(old, new, Content, "default resource /%.40s of the form", key)
		}
		return nil
	})
}

// fields compares two lists of fields, of the form or of a field.
func (c *comparison) fields(old, new Value, name string, kind Value, changed Level, depth int) error {
	if depth > maxFieldDepth {
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
		if err := c.field(ref, name, kind, changed, depth); err != nil {
			return err
		}
	}
	for _, v := range b {
		ref, ok := v.(Ref)
		if ok && before[ref] {
			continue
		}
		if err := c.newField(v, kind, changed); err != nil {
			return err
		}
	}
	return nil
}

// newField judges a field that was added: it must be there to sign, and do so.
func (c *comparison) newField(v Value, kind Value, changed Level) error {
	f, err := c.doc.dict(v, c.new)
	if err != nil {
		return err
	}
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
	if changed != Nothing {
		level = changed // a widget for a field that is signed now
	} else if value == nil && f.Get("AP") != nil {
		level = Doubtful
		c.report(level, "a signature field was added that has an appearance and signs nothing")
	}
	c.fresh[ref] = level
	c.report(level, "the field of a further signature was added")
	kids, err := c.doc.array(f.Get("Kids"), c.new)
	if err != nil {
		return err
	}
	for _, k := range kids {
		if ref, ok := k.(Ref); ok && len(c.fresh) < maxFields {
			c.fresh[ref] = level
		}
	}
	return nil
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
	changed Level // the value was changed, here or above: Filling or Evidence, else Nothing
	drawn   bool  // it had an appearance before
	depth   int
}

func (c *comparison) field(ref Ref, name string, kind Value, changed Level, depth int) error {
	if !c.take(ref, ref) {
		return nil
	}
	a, b, err := c.dicts(ref, ref)
	if err != nil {
		return err
	}
	if t, ok := b.Get("T").(String); ok {
		name = strings.TrimPrefix(name+"."+text(t.Bytes), ".")
	}
	if k := a.Get("FT"); k != nil {
		kind = k
	}
	f := &oneField{comparison: c, ref: ref, name: name, kind: kind, changed: changed, depth: depth, drawn: a.Get("AP") != nil}
	if err := f.value(a.Get("V"), b.Get("V")); err != nil {
		return err
	}
	return eachKey(a, b, f.key)
}

// value finds out what happened to the value before anything else is judged by it.
func (f *oneField) value(old, new Value) error {
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
			f.changed = signing(v)
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

func (f *oneField) key(key Name, old, new Value) error {
	switch key {
	case "V", "P", "Parent":
	case "Kids":
		return f.fields(old, new, f.name, f.kind, f.changed, f.depth+1)
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

// appearance may change with the value that it shows, or be drawn for the first time.
func (f *oneField) appearance(old, new Value) {
	level := f.given()
	if level == Content && !f.drawn && !f.signed {
		level = Filling
	}
	f.strictly(old, new, level, "the appearance of field %.80q", f.name)
}
